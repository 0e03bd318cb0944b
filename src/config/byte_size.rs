use std::fmt;
use std::str::FromStr;

use jeton_oauth::Invalid;

/// An amount of memory in octets. On the command line `512MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [("GiB", 30), ("MiB", 20), ("KiB", 10)]
            .iter()
            .find_map(|(unit, shift)| {
                text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift)
            })
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(format!("{text:?} is not a size: write it as 512MiB or 2GiB"))
            })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}MiB", self.0 >> 20)
    }
}
