//! Scope (RFC 6749 §3.3): a list of case-sensitive tokens whose order does not matter.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::Reason;
use crate::Invalid;

/// A set of scope tokens in the order of their first naming. Empty only where nothing is allowed, never in a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Vec<String>);

impl Scope {
    /// Reads `scope-token *( SP scope-token )`; a repeated token counts once.
    ///
    /// # Errors
    /// [`Reason::MalformedScope`] for anything else, also for doubled or outer spaces.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let mut tokens: Vec<String> = Vec::new();
        for token in text.split(' ') {
            if !is_scope_token(token) {
                return Err(Reason::MalformedScope);
            }
            if !tokens.iter().any(|known| known == token) {
                tokens.push(token.to_owned());
            }
        }
        Ok(Self(tokens))
    }

    /// Whether it has no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has this token.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|own| own == token)
    }

    /// Whether every token of `self` is in `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|token| other.contains(token))
    }

    /// The tokens that `pass` accepts, in the same order.
    #[must_use]
    pub fn filter(&self, pass: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|token| pass(token)).cloned().collect())
    }

    /// The tokens of both.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for token in &other.0 {
            if !self.contains(token) {
                self.0.push(token.clone());
            }
        }
        self
    }

    /// The tokens, one by one.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope_token(text: &str) -> bool {
    let allowed = |byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.bytes().all(allowed)
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

impl TryFrom<String> for Scope {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&text)
            .map_err(|_| Invalid::new("a scope is tokens of printable ASCII without \" and \\"))
    }
}

impl std::str::FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_exact() {
        for good in ["read", "read write", "a:b/*", "!#[]~"] {
            assert_eq!(Scope::parse(good).map(|scope| scope.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", " ", " read", "read ", "read  write", "a\"b", "a\\b", "é", "a\tb", "\x7f"]
        {
            assert_eq!(Scope::parse(bad), Err(Reason::MalformedScope), "{bad:?}");
        }
        assert_eq!(Scope::parse("read read").map(|s| s.to_string()), Ok("read".to_owned()));
    }
}
