//! What metadata and key set have in common: everyone may read them, and caches may keep them.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AGE, DATE, ETAG};
use serde_json::{Map, Value};

use super::answer::foreign_answer;
use super::client::Answer;
use super::report::{Fault, Finding, fault, judge, quote};
use jeton_oauth::Timestamp;

/// The largest `max-age` that Jeton sends, in seconds.
const MAX_AGE_MAX: i64 = 3_600;
/// How far two clocks may differ, in seconds.
const OFFSET_MAX: i64 = 30;

/// The document, or what is wrong with it.
pub(super) fn read(path: &str, answer: &Answer) -> Result<Map<String, Value>, Fault> {
    if answer.status.as_u16() == 404 && answer.error_code().is_some() {
        return Err(fault(
            format!("there is nothing at {path}"),
            "see that the URL is the issuer, and that a proxy passes this path on as it is; a path of the \
             issuer stands after that of a well-known document, before those of the endpoints (RFC 8414 \
             §3.1)",
        ));
    }
    if let Some(fault) = foreign_answer(path, answer) {
        return Err(fault);
    }
    if answer.status.as_u16() != 200 {
        let found = format!("{path} answers {}", answer.summary());
        return Err(fault(found, "let the proxy pass this path on to Jeton"));
    }
    let media_type = answer.media_type();
    if !matches!(&*media_type, "application/json" | "application/jwk-set+json") {
        return Err(fault(
            format!("{path} is sent as {}", quote(&media_type)),
            "let the proxy leave Content-Type as it is: verifiers insist on JSON",
        ));
    }
    answer.object().ok_or_else(|| {
        fault(
            format!("{path} is no JSON object"),
            "let the proxy leave the content as it is, and pass this path on to Jeton",
        )
    })
}

/// What is wrong with how long caches may keep a document.
fn caching_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    let Some(max_age) = answer.max_age() else {
        return vec![fault(
            format!("{path} does not say for how long it may be kept"),
            "let the proxy leave Cache-Control as it is: max-age tells verifiers when to ask again",
        )];
    };
    let mut faults = Vec::new();
    if max_age > MAX_AGE_MAX {
        faults.push(fault(
            format!("{path} may be kept for {max_age} s: Jeton never says more than {MAX_AGE_MAX}"),
            "let the proxy leave Cache-Control as it is: a new key would be unknown for so long",
        ));
    }
    if max_age <= 0 {
        faults.push(fault(
            format!("{path} may not be kept at all"),
            "ask /readyz: a replica that cannot reach its database shortens max-age; or \
             let the proxy leave Cache-Control as it is",
        ));
    }
    let age: Option<i64> = answer.field(&AGE).parse().ok();
    if let Some(age) = age.filter(|age| *age > max_age) {
        faults.push(fault(
            format!("{path} comes out of a cache that kept it for {age} s, longer than it may"),
            "let the proxy forget it after max-age, or not keep it at all",
        ));
    }
    if !answer.headers.contains_key(ETAG) {
        faults.push(fault(
            format!("{path} has no ETag"),
            "let the proxy leave ETag as it is: with it, asking again costs nearly nothing",
        ));
    }
    faults
}

/// What is wrong with the answer to a caller that has the document already.
pub(super) fn not_modified_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    if answer.status.as_u16() == 304 {
        return Vec::new();
    }
    vec![fault(
        format!("a caller that has {path} already gets {} instead of 304", answer.summary()),
        "let the proxy pass If-None-Match on, and leave ETag in answers as it is",
    )]
}

/// What is wrong with the origins that may read a document.
fn cors_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    let seen = answer.field(&ACCESS_CONTROL_ALLOW_ORIGIN);
    if seen == "*" {
        return Vec::new();
    }
    let seen = if seen.is_empty() { "none".to_owned() } else { quote(&seen) };
    vec![fault(
        format!("Access-Control-Allow-Origin of {path} is {seen} instead of *"),
        "let the proxy leave Access-Control-Allow-Origin to Jeton, and add none of its own",
    )]
}

/// What is wrong with the clock of the server that answered.
pub(super) fn clock_faults(answer: &Answer) -> Vec<Fault> {
    let field = answer.field(&DATE);
    let Ok(date) = httpdate::parse_http_date(&field) else {
        return vec![fault(
            format!("Date is {}, which is no date", quote(&field)),
            "let the proxy leave Date in answers (RFC 9110 §6.6.1)",
        )];
    };
    let date = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let date = Timestamp(i64::try_from(date.as_secs()).unwrap_or(i64::MAX));
    offset_fault("Date", date, answer.at).into_iter().collect()
}

/// The fault of two clocks that differ too much.
pub(super) fn offset_fault(name: &str, there: Timestamp, here: Timestamp) -> Option<Fault> {
    let offset = there.0.saturating_sub(here.0);
    if offset.abs() <= OFFSET_MAX {
        return None;
    }
    let side = if offset > 0 { "ahead of" } else { "behind" };
    let by = match offset.saturating_abs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.saturating_add(30) / 60),
    };
    Some(fault(
        format!("{name} says {there}, {by} {side} the clock here"),
        "set both clocks by NTP: verifiers refuse tokens from the future, and those that expired",
    ))
}

/// Checks whether caches may keep a document, and whether pages may read it. `checks` are the names of the two checks.
pub(super) fn judge_headers(
    checks: [&'static str; 2],
    path: &str,
    answer: &Answer,
) -> Vec<Finding> {
    let [caching, cors] = checks;
    let mut findings =
        judge(caching, "it says for how long it may be kept", caching_faults(path, answer));
    findings.extend(judge(cors, "a page of any origin may read it", cors_faults(path, answer)));
    findings
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn a_document_is_read_as_verifiers_do() {
        assert!(read("/x", &answer(200, &[JSON], "{}")).is_ok());
        for bad in [
            answer(404, &[JSON], "{}"),
            answer(200, &[("content-type", "text/plain")], "{}"),
            answer(200, &[JSON], "[]"),
            answer(200, &[JSON], "{"),
            answer(204, &[JSON], ""),
        ] {
            assert!(read("/x", &bad).is_err(), "{}", bad.summary());
        }
    }

    #[test]
    fn documents_are_kept_as_long_as_jeton_says() {
        let count = |control, age: Option<&'static str>, etag| {
            let fields = [Some(("cache-control", control)), age.map(|age| ("age", age)), etag];
            let fields: Vec<_> = fields.into_iter().flatten().collect();
            caching_faults("/x", &answer(200, &fields, "{}")).len()
        };
        let etag = Some(("etag", "\"x\""));
        assert_eq!(count("public, max-age=600", None, etag), 0);
        assert_eq!(count("Public,Max-Age=600", Some("600"), etag), 0);
        assert_eq!(count("max-age=600", Some("601"), etag), 1);
        assert_eq!(count("max-age=86400", None, etag), 1);
        assert_eq!(count("no-store", None, etag), 1);
        assert_eq!(count("max-age=0", None, etag), 1);
        assert_eq!(count("max-age=600", None, None), 1);
    }

    #[test]
    fn clocks_may_differ_by_half_a_minute() {
        // The answers of these tests arrive at the first of these times.
        for (date, good) in [
            ("Tue, 14 Nov 2023 22:13:20 GMT", true),
            ("Tue, 14 Nov 2023 22:13:50 GMT", true),
            ("Tue, 14 Nov 2023 22:13:51 GMT", false),
            ("Tue, 14 Nov 2023 22:12:49 GMT", false),
            ("yesterday", false),
        ] {
            assert_eq!(
                clock_faults(&answer(200, &[("date", date)], "")).is_empty(),
                good,
                "{date}"
            );
        }
        let (found, _) = offset_fault("iat", Timestamp(4_000), Timestamp(400)).expect("a fault");
        assert!(found.ends_with("60 min ahead of the clock here"), "{found}");
    }
}
