//! The identifiers that tokens and tables carry.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Longest client identifier, in characters.
pub const CLIENT_ID_LENGTH_MAX: usize = 128;

/// A client identifier (RFC 6749 §2.2): 1 to 128 characters of `[A-Za-z0-9._-]`, on which the
/// raw and the form-encoded spelling of Basic mean the same. Compared exactly.
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

/// Declares an identifier that Jeton makes itself: opaque, random, never reused.
macro_rules! opaque_identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that was made as such an identifier.
            #[must_use]
            pub fn from_text(text: String) -> Self {
                Self(text)
            }

            /// The identifier as it is sent and stored.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

opaque_identifier! {
    /// The machine name of a user, `sub` in tokens: never chosen by anyone, never given to
    /// another user (RFC 7519 §4.1.2, RFC 9068 §5).
    UserId
}
opaque_identifier! {
    /// The name of a session, `sid` in tokens: one login.
    SessionId
}
opaque_identifier! {
    /// The name of a key, `kid` in tokens: the RFC 7638 thumbprint of a signing key.
    KeyId
}
