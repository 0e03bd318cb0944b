//! The parameters of all endpoints: names, lengths and characters.

use super::identifier::CLIENT_ID_LENGTH_MAX;

/// A parameter of some endpoint. Every endpoint recognises all of them, so each may occur only once in any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// RFC 6749 §4.3.2.
    GrantType,
    /// RFC 6749 §4.3.2.
    Username,
    /// RFC 6749 §4.3.2.
    Password,
    /// RFC 6749 §3.3.
    Scope,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §2.3.1.
    ClientId,
    /// RFC 6749 §2.3.1.
    ClientSecret,
    /// RFC 7521 §4.2.
    ClientAssertion,
    /// RFC 7521 §4.2.
    ClientAssertionType,
    /// RFC 8707 §2. It is the only one that may be repeated.
    Resource,
    /// RFC 7662 §2.1, RFC 7009 §2.1.
    Token,
    /// RFC 7662 §2.1, RFC 7009 §2.1.
    TokenTypeHint,
    /// A one-time password beside the password: Jeton's own, see docs/protocol.md. It has two names.
    Otp,
}

impl Parameter {
    const ALL: [Self; 13] = [
        Self::GrantType,
        Self::Username,
        Self::Password,
        Self::Scope,
        Self::RefreshToken,
        Self::ClientId,
        Self::ClientSecret,
        Self::ClientAssertion,
        Self::ClientAssertionType,
        Self::Resource,
        Self::Token,
        Self::TokenTypeHint,
        Self::Otp,
    ];
    /// What Keycloak's clients call [`Self::Otp`]. Who sends both repeats the parameter.
    const OTP_OF_KEYCLOAK: &'static str = "totp";

    /// The name on the wire, compared exactly (RFC 6749 §1.9).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GrantType => "grant_type",
            Self::Username => "username",
            Self::Password => "password",
            Self::Scope => "scope",
            Self::RefreshToken => "refresh_token",
            Self::ClientId => "client_id",
            Self::ClientSecret => "client_secret",
            Self::ClientAssertion => "client_assertion",
            Self::ClientAssertionType => "client_assertion_type",
            Self::Resource => "resource",
            Self::Token => "token",
            Self::TokenTypeHint => "token_type_hint",
            Self::Otp => "otp",
        }
    }

    /// The longest value, in octets of UTF-8. A longer one is refused, never cut. `token` has no limit: a resource
    /// server passes on what it is sent, and a value that is no token is no error (RFC 7662 §2.2, RFC 7009 §2.2).
    #[must_use]
    pub fn length_max(self) -> usize {
        match self {
            Self::Otp => 64,
            Self::GrantType | Self::ClientAssertionType | Self::TokenTypeHint => 128,
            Self::ClientId => CLIENT_ID_LENGTH_MAX,
            Self::ClientSecret => 256,
            Self::Resource => 512,
            Self::Username | Self::Password => 1_024,
            Self::Scope => 2_048,
            Self::RefreshToken | Self::ClientAssertion => 8_192,
            Self::Token => usize::MAX,
        }
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        let name = if name == Self::OTP_OF_KEYCLOAK { Self::Otp.name() } else { name };
        Self::ALL.into_iter().find(|parameter| parameter.name() == name)
    }

    /// Whether the parameter may contain this character. NUL is refused where the value may reach the database, whose
    /// texts cannot hold it. User name and password are `UNICODECHARNOCRLF` (RFC 6749 Appendix A.15, A.16).
    pub(super) fn allows(self, character: char) -> bool {
        match self {
            Self::Username | Self::Password => !matches!(
                character,
                '\0'..='\x08' | '\x0a'..='\x1f' | '\x7f' | '\u{fffe}' | '\u{ffff}'
            ),
            Self::Token => true,
            _ => character != '\0',
        }
    }
}
