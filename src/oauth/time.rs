//! Durations and times, in whole seconds as OAuth counts them (`expires_in`, `NumericDate`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A duration in whole seconds, never negative. On the command line `90s`, `10m`, `1h` or `30d`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64")]
pub struct Seconds(i64);

impl Seconds {
    const UNITS: [(&str, i64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

    /// A duration of this many seconds. A negative number becomes zero.
    #[must_use]
    pub const fn new(seconds: i64) -> Self {
        Self(if seconds < 0 { 0 } else { seconds })
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// How much longer this is than `earlier`; zero if it is not longer.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self::new(self.0.saturating_sub(earlier.0))
    }
}

/// Refuses a negative number, because none is ever stored: something else went wrong before.
impl TryFrom<i64> for Seconds {
    type Error = Invalid;

    fn try_from(seconds: i64) -> Result<Self, Invalid> {
        if seconds < 0 {
            return Err(Invalid::new(format!(
                "{seconds} seconds are negative, and no duration is"
            )));
        }
        Ok(Self(seconds))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, size): &&(&str, i64)| self.0 != 0 && self.0 % size == 0;
        let (unit, size) = Self::UNITS.iter().find(exact).unwrap_or(&("s", 1));
        write!(formatter, "{}{unit}", self.0 / size)
    }
}

impl FromStr for Seconds {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.find(|character: char| !character.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        Self::UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, size)| number.parse::<i64>().ok()?.checked_mul(*size))
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(format!("{text:?} is not a duration: write it as 90s, 10m, 1h or 30d"))
            })
    }
}

/// A time: whole seconds since the epoch, as a JWT's `NumericDate` (RFC 7519 §2).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time this long after `self`, at most the largest one that there is.
    #[must_use]
    pub fn after(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.get()))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Seconds {
        Seconds::new(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl fmt::Display for Timestamp {
    /// The time as RFC 3339 in UTC, for people.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days to a date of the proleptic Gregorian calendar, in eras of 400 years that begin on 1 March, so that the
        // leap day is the last of its year.
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for text in ["90s", "10m", "1h", "30d", "0s"] {
            assert_eq!(text.parse::<Seconds>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "10", "m", "-1s", "1.5h", "10 m", "99999999999999999d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text:?}");
        }
    }

    /// A computed duration ends at zero; a stored one must not be negative.
    #[test]
    fn no_duration_is_negative() {
        assert_eq!(Seconds::new(-1), Seconds::default());
        let read = |json: &str| serde_json::from_str::<Seconds>(json).ok().map(Seconds::get);
        assert_eq!([read("0"), read("5"), read("-1")], [Some(0), Some(5), None]);
        assert_eq!(serde_json::to_string(&Seconds::new(5)).ok().as_deref(), Some("5"));
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(seconds).to_string(), text);
        }
    }
}
