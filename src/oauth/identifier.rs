//! The identifiers in tokens and tables.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Longest client identifier, in characters.
pub const CLIENT_ID_LENGTH_MAX: usize = 128;

/// A client identifier (RFC 6749 §2.2): 1 to 128 characters of `[A-Za-z0-9._-]`, compared exactly. Form-encoding does
/// not change these characters, so both spellings of Basic are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

impl ClientId {
    /// Reads an identifier; `None` if no client can have it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=CLIENT_ID_LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed))
            .then(|| Self(text.to_owned()))
    }

    /// The identifier as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text).ok_or_else(|| {
            Invalid::new(format!(
                "a client id has 1 to {CLIENT_ID_LENGTH_MAX} characters of A-Z a-z 0-9 . _ -, \
                 which {text:?} has not"
            ))
        })
    }
}

impl std::str::FromStr for ClientId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Longest `sub`, in characters.
const SUB_LENGTH_MAX: usize = 255;
/// Longest identifier that Jeton makes itself, in characters: 48 octets.
const OWN_LENGTH_MAX: usize = 64;

/// Declares an identifier. `$may_be` tests its text, `$rule` is the error if the test fails.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $may_be:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier made of these 1 to 48 octets in base64url.
            #[must_use]
            pub fn from_octets<const N: usize>(octets: &[u8; N]) -> Self {
                const { assert!(1 <= N && N <= OWN_LENGTH_MAX / 4 * 3) };
                Self(URL_SAFE_NO_PAD.encode(octets))
            }

            /// The identifier as it is sent and stored.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                if $may_be(&text) { Ok(Self(text)) } else { Err(Invalid::new($rule)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::try_from(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

fn is_sub(text: &str) -> bool {
    (1..=SUB_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic())
}

fn is_own(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    (1..=OWN_LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

identifier! {
    /// The permanent identifier of a user, `sub` in tokens. No other user ever gets it (RFC 7519 §4.1.2, RFC 9068 §5).
    /// Jeton makes it, or an import brings it.
    UserId, is_sub, "cannot be a sub: that has 1 to 255 printable ASCII characters, no blanks"
}
identifier! {
    /// The identifier of a session, which is one login; `sid` in tokens. Jeton makes it.
    SessionId, is_own, "cannot be a session: its id has 1 to 64 characters of A-Z a-z 0-9 - _"
}
identifier! {
    /// The identifier of a key, `kid` in tokens. Jeton makes it; for a signing key it is the RFC 7638 thumbprint.
    KeyId, is_own, "cannot be a key: its kid has 1 to 64 characters of A-Z a-z 0-9 - _"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_what_its_rule_allows() {
        let is_user = |text: &str| text.parse::<UserId>().is_ok();
        let is_key = |text: &str| text.parse::<KeyId>().is_ok();
        assert!(
            is_user("auth0|5f7c")
                && is_user(&"a".repeat(255))
                && is_key("a-Z_9")
                && is_key(&"a".repeat(64))
        );
        assert!(!is_user(&"a".repeat(256)) && !is_key("auth0|5f7c") && !is_key(&"a".repeat(65)));
        for none in ["", "a b", "\u{e9}", "a\n"] {
            assert!(!is_user(none) && !is_key(none), "{none:?}");
            let json = serde_json::Value::from(none);
            assert!(serde_json::from_value::<UserId>(json.clone()).is_err(), "{none:?}");
            assert!(serde_json::from_value::<SessionId>(json).is_err(), "{none:?}");
        }
        let id = SessionId::from_octets(&[255; 48]);
        assert_eq!(id.as_str().parse(), Ok(id));
    }
}
