//! Times as other programs write them.

use serde_json::Value;

use jeton_oauth::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Numbers above this are milliseconds: as seconds they would be after the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// The begin of the year 1. Nobody was made before.
const FIRST: Timestamp = Timestamp(-62_135_596_800);

/// The end of the year 9999, for whatever is later.
const LAST: Timestamp = Timestamp(253_402_300_799);

/// Reads a time: seconds or milliseconds since the epoch as a number or as text, RFC 3339, the forms of SQL (a text
/// without a zone is in UTC), of LDAP (RFC 4517 §3.3.13), and of .NET's invariant culture.
///
/// # Errors
/// A sentence.
pub fn read_time(value: &Value) -> Result<Timestamp, String> {
    let read = match value {
        Value::Number(number) => number.as_i64().and_then(of_number),
        Value::String(text) => of_text(text.trim()),
        _ => None,
    };
    read.ok_or_else(|| "is no time: write it as 2026-01-31T12:00:00Z".to_owned())
}

fn of_number(number: i64) -> Option<Timestamp> {
    let is_in_milliseconds = number.unsigned_abs() > SECONDS_MAX.unsigned_abs();
    let time = Timestamp(if is_in_milliseconds { number / 1_000 } else { number });
    (time >= FIRST).then_some(time.min(LAST))
}

fn of_text(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse() {
        return of_number(number);
    }
    // PostgreSQL's «infinity», and what is rounded up to the year 10000.
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    if text == "infinity" || year == 5 && text.as_bytes().get(5) == Some(&b'-') {
        return Some(LAST);
    }
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(time.as_second()));
    }
    // PostgreSQL writes «+00», and .NET a blank before the offset.
    for format in
        ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %:z", "%m/%d/%Y %I:%M:%S %p %:z"]
    {
        if let Some(time) =
            strtime::parse(format, text).ok().and_then(|time| time.to_timestamp().ok())
        {
            return Some(Timestamp(time.as_second()));
        }
    }
    if let Some(text) = text.strip_suffix('Z') {
        let text = text.split('.').next().unwrap_or(text);
        let time = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
        return in_utc(time);
    }
    let forms = ["%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f"];
    let read = text
        .parse()
        .ok()
        .or_else(|| forms.iter().find_map(|format| DateTime::strptime(format, text).ok()));
    in_utc(read?)
}

fn in_utc(time: DateTime) -> Option<Timestamp> {
    time.to_zoned(TimeZone::UTC).ok().map(|time| Timestamp(time.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_other_programs_are_read() {
        let later = [json!("infinity"), json!("10000-01-01T00:00:00+00:00"), json!(i64::MAX)];
        for value in later {
            assert_eq!(read_time(&value), Ok(LAST), "{value}");
        }
        for value in [
            json!(1_769_860_800),
            json!(1_769_860_800_123_i64),
            json!("1769860800"),
            json!("1769860800123"),
            json!("2026-01-31T12:00:00Z"),
            json!("2026-01-31T12:00:00.123Z"),
            json!("2026-01-31T13:00:00+01:00"),
            json!("2026-01-31T12:00:00.123456+00:00"),
            json!("2026-01-31 12:00:00"),
            json!("2026-01-31 12:00:00.123456"),
            json!("2026-01-31 12:00:00.123456+00"),
            json!("2026-01-31 13:00:00+01"),
            json!("2026-01-31 12:00:00 UTC"),
            json!("2026-01-31 12:00:00.1234567 +00:00"),
            json!("1/31/2026 12:00:00 PM +00:00"),
            json!("20260131120000Z"),
            json!("20260131120000.0Z"),
        ] {
            assert_eq!(read_time(&value), Ok(Timestamp(1_769_860_800)), "{value}");
        }
        for value in [
            json!(true),
            json!(1.5),
            json!(""),
            json!("yesterday"),
            json!("2026-13-31T12:00:00Z"),
            json!(i64::MIN),
            json!(u64::MAX),
            json!("-9223372036854775808"),
        ] {
            assert!(read_time(&value).is_err(), "{value}");
        }
    }
}
