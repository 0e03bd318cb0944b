//! The cost of a password hash: the value of `--scrypt`, and the limit for stored hashes.

use std::fmt;
use std::str::FromStr;

use crate::Invalid;

/// The cost of a scrypt hash (RFC 7914 §2): `N = 2^ln`, block size `r`, parallelisation `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    /// The binary logarithm of `N`.
    pub ln: u8,
    /// The block size.
    pub r: u32,
    /// How many times the memory is filled.
    pub p: u32,
}

impl ScryptCost {
    /// What the OWASP Password Storage Cheat Sheet recommends: 128 MiB.
    pub const RECOMMENDED: Self = Self { ln: 17, r: 8, p: 1 };

    /// The most work that a hash may take, in octets filled: 16 times that of the recommendation.
    pub const WORK_MAX: u64 = 16 * ((128 * 8) << 17);

    /// The memory of one hash in octets: `128 · N · r`, with `r` rounded up to a multiple of 8.
    #[must_use]
    pub fn memory(self) -> u64 {
        (1_024 * u64::from(self.r.div_ceil(8))) << self.ln.min(40)
    }

    /// The work of one hash, in octets filled.
    #[must_use]
    pub fn work(self) -> u64 {
        self.memory().saturating_mul(self.p.into())
    }

    /// Whether new hashes may have this cost: at least what OWASP ASVS 5.0 approves, at most what can be verified.
    fn is_approved(self) -> bool {
        let least_ln = match self.p {
            0 => return false,
            1 => 17,
            2 => 16,
            _ => 15,
        };
        self.ln >= least_ln && (8..=32).contains(&self.r) && self.work() <= Self::WORK_MAX
    }
}

impl fmt::Display for ScryptCost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ln={},r={},p={}", self.ln, self.r, self.p)
    }
}

impl FromStr for ScryptCost {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let mut parts = text.split(',');
            let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse::<u32>().ok();
            let (ln, r, p) = (number("ln=")?, number("r=")?, number("p=")?);
            let cost = Self { ln: u8::try_from(ln).ok()?, r, p };
            (parts.next().is_none() && cost.is_approved()).then_some(cost)
        };
        parse().ok_or_else(|| {
            Invalid::new(
                "write it as ln=17,r=8,p=1, with r of 8 to 32 and ln of at least 17 (16 with p=2, 15 with \
                 p of 3 or more), and at most 16 times the work of that",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_absurd_costs_are_refused() {
        for good in [
            "ln=21,r=8,p=1",
            "ln=17,r=8,p=16",
            "ln=17,r=8,p=1",
            "ln=16,r=8,p=2",
            "ln=15,r=8,p=3",
            "ln=18,r=16,p=1",
        ] {
            assert_eq!(good.parse::<ScryptCost>().map(|cost| cost.to_string()), Ok(good.into()));
        }
        for bad in [
            "",
            "ln=10,r=8,p=1",
            "ln=16,r=8,p=1",
            "ln=17,r=1,p=1",
            "ln=17,r=8",
            "ln=40,r=8,p=1",
            "ln=22,r=8,p=1",
            "ln=17,r=8,p=17",
        ] {
            assert!(bad.parse::<ScryptCost>().is_err(), "{bad}");
        }
    }
}
