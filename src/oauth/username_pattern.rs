//! What is asked of user names where users are looked for.

use std::str::FromStr;

use crate::Invalid;
use crate::resource_owner::Username;

/// A pattern of user names, in which `*` stands for any characters. The rest is compared in the form in which names
/// are stored: `ALI*` finds `alice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsernamePattern(Vec<String>);

impl UsernamePattern {
    /// What stands between the asterisks. A name begins with the first, ends with the last, and has the others between
    /// them in this order.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for UsernamePattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let map = |part: &str| match part {
            "" => Some(String::new()),
            part => Username::parse(part).map(|mapped| mapped.as_str().to_owned()),
        };
        let parts = text.split('*').map(map).collect::<Option<_>>().filter(|_| !text.is_empty());
        parts.map(Self).ok_or(Invalid::new(
            "no user can have such a name: write a name, or a part of one with * for the rest, as 'ali*'",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_asterisk_is_mapped_like_a_name() {
        let parts = |text: &str| text.parse().map(|pattern: UsernamePattern| pattern.0);
        let texts = |texts: &[&str]| Ok(texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(parts("ALICE"), texts(&["alice"]));
        assert_eq!(parts("e\u{301}*@Example.com"), texts(&["\u{e9}", "@example.com"]));
        assert_eq!(parts("*"), texts(&["", ""]));
        for refused in ["", "a b*", "*\u{200b}"] {
            assert!(parts(refused).is_err(), "{refused:?}");
        }
    }
}
