//! A registered client (RFC 6749 §2) and what follows from its registration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::Reason;
use super::identifier::ClientId;
use super::scope::Scope;
use super::session::SessionLifetimes;
use crate::lifetime::{ACCESS_TOKEN_LIFETIME_MAX, SESSION_LIFETIME_MAX};
use crate::{Invalid, RetryWindow, Seconds};

/// Declares an enum whose variants have the same spelling in settings and on the wire.
macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// The spelling.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(Invalid::new(format!("{text:?} is none of {}", [$($text),+].join(", ")))),
                }
            }
        }
    };
}

spelled! {
    /// A grant that a client can be registered for.
    GrantType {
        /// RFC 6749 §4.3.
        Password = "password",
        /// RFC 6749 §6.
        RefreshToken = "refresh_token",
    }
}

spelled! {
    /// How a client authenticates; the names are those of RFC 8414 §2.
    ClientAuthenticationMethod {
        /// HTTP Basic (RFC 6749 §2.3.1).
        ClientSecretBasic = "client_secret_basic",
        /// `client_id` and `client_secret` in the form (RFC 6749 §2.3.1).
        ClientSecretPost = "client_secret_post",
    }
}

spelled! {
    /// A claim that tokens have only for clients that are configured to get it.
    OptionalClaim {
        /// RFC 9068 §2.2.3.1.
        Roles = "roles",
        /// The user's name, to show to people.
        PreferredUsername = "preferred_username",
    }
}

spelled! {
    /// The `typ` in the header of an access token.
    #[derive(Default)]
    AccessTokenType {
        /// RFC 9068 §2.1: no verifier can take the token for another kind of JWT.
        #[default]
        AccessToken = "at+jwt",
        /// RFC 7519 §5.1, for verifiers that refuse every other type. They cannot tell an access token from another
        /// kind of JWT with the same issuer and audience (RFC 9068 §4, RFC 8725 §3.11).
        Jwt = "JWT",
    }
}

/// Longest audience, in characters.
const AUDIENCE_LENGTH_MAX: usize = 512;

/// The name of a resource server in `aud`: printable ASCII without blanks. A client can ask for it with `resource` only
/// if it is an absolute URI (RFC 8707 §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(String);

impl Audience {
    /// Reads a `resource` parameter: an absolute URI without fragment.
    ///
    /// # Errors
    /// [`Reason::MalformedResource`] for anything else.
    pub fn from_resource(text: &str) -> Result<Self, Reason> {
        let (scheme, rest) = text.split_once(':').ok_or(Reason::MalformedResource)?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        let is_uri_octet =
            |octet: u8| octet.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&octet);
        // RFC 3986 §2.1: a percent sign and two hexadecimal digits.
        let is_escape =
            |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        let is_encoded = rest.split('%').skip(1).all(is_escape);
        if !is_scheme || rest.is_empty() || !rest.bytes().all(is_uri_octet) || !is_encoded {
            return Err(Reason::MalformedResource);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it stands in `aud`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Audience {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let fits = (1..=AUDIENCE_LENGTH_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Invalid::new(format!(
                "an audience has 1 to {AUDIENCE_LENGTH_MAX} characters of printable ASCII, \
                 which {text:?} has not"
            )));
        }
        // RFC 7519 §2: a StringOrURI with a colon must be a URI.
        if text.contains(':') && Self::from_resource(&text).is_err() {
            return Err(Invalid::new(format!(
                "an audience with a colon must be an absolute URI without fragment, \
                 which {text:?} is not"
            )));
        }
        Ok(Self(text))
    }
}

impl FromStr for Audience {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::try_from(text.to_owned())
    }
}

impl From<Audience> for String {
    fn from(audience: Audience) -> Self {
        audience.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The operator's settings of a client. Everything is off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub struct ClientSettings {
    /// Whether the client is public: it has no secret and cannot be given one (RFC 6749 §2.1).
    pub public: bool,
    /// The grants it may use.
    pub grants: BTreeSet<GrantType>,
    /// The largest scope that it may ask for.
    pub scope: Scope,
    /// The scope that it gets if it asks for none. If this is empty, such a request is refused with `invalid_scope`.
    pub default_scope: Scope,
    /// The resource servers that its tokens may be for; the first is the default.
    pub audiences: Vec<Audience>,
    /// The scope tokens that mean something at one audience only. All others mean the same at every audience.
    pub audience_scopes: BTreeMap<Audience, Scope>,
    /// Whether `aud` is an array even when it holds one audience.
    pub audience_array: bool,
    /// The `typ` in the header of its access tokens.
    pub access_token_typ: AccessTokenType,
    /// How long its access tokens live; the service's setting if absent.
    pub access_token_lifetime: Option<Seconds>,
    /// How long its sessions live after the last refresh; the service's setting if absent.
    pub refresh_token_idle: Option<Seconds>,
    /// How long its sessions live in total; the service's setting if absent.
    pub session_lifetime: Option<Seconds>,
    /// How long its exchanged refresh tokens may be retried; the service's setting if absent.
    pub refresh_retry_window: Option<RetryWindow>,
    /// The optional claims its tokens carry.
    pub claims: BTreeSet<OptionalClaim>,
    /// The only method it may authenticate with; if absent, it may use any (RFC 7591 §2).
    pub authentication_method: Option<ClientAuthenticationMethod>,
    /// Whether the last address of its `X-Forwarded-For` is the end user's.
    pub forwards_end_user_ip: bool,
    /// The audiences whose tokens it may introspect.
    pub introspects: BTreeSet<Audience>,
    /// Whether introspection tells it the user's name beside `sub` (RFC 7662 §5).
    pub introspects_username: bool,
    /// Whether it logs in only users who use a second factor.
    pub requires_mfa: bool,
    /// The scope tokens that only logins with a second factor get.
    pub mfa_scope: Scope,
    /// Whether it is told that a password was right and a one-time password is missing.
    pub tells_second_factor: bool,
}

impl ClientSettings {
    /// Checks that the settings fit together.
    ///
    /// # Errors
    /// A sentence that names the option and says what to do.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.public && !self.introspects.is_empty() {
            return Err(Invalid::new(
                "a public client cannot introspect: leave out --public or --introspects \
                 (RFC 7662 §4)",
            ));
        }
        if self.public && self.authentication_method.is_some() {
            return Err(Invalid::new(
                "a public client does not authenticate: leave out --public or \
                 --authentication-method",
            ));
        }
        if self.public && self.forwards_end_user_ip {
            return Err(Invalid::new(
                "a public client is not believed what it says of its end user's address: \
                 leave out --public or --forwards-end-user-ip",
            ));
        }
        if !self.grants.is_empty() && self.audiences.is_empty() {
            return Err(Invalid::new(
                "a client with a grant needs --audience: the resource server that its \
                 tokens are for (RFC 9068 §3)",
            ));
        }
        if !self.grants.is_empty() && self.scope.is_empty() {
            return Err(Invalid::new(
                "a client with a grant needs --scope: what it may ask for \
                 (RFC 6749 §3.3)",
            ));
        }
        for (flag, span, most) in [
            ("--access-token-lifetime", self.access_token_lifetime, ACCESS_TOKEN_LIFETIME_MAX),
            ("--refresh-token-idle", self.refresh_token_idle, SESSION_LIFETIME_MAX),
            ("--session-lifetime", self.session_lifetime, SESSION_LIFETIME_MAX),
        ] {
            if span.is_some_and(|span| span == Seconds::default() || span > most) {
                return Err(Invalid::new(format!("{flag} must be 1s to {most}")));
            }
        }
        if let (Some(idle), Some(lifetime)) = (self.refresh_token_idle, self.session_lifetime)
            && idle > lifetime
        {
            return Err(Invalid::new(format!(
                "--refresh-token-idle {idle} is longer than --session-lifetime {lifetime}: no \
                 session lives that long"
            )));
        }
        if !self.default_scope.is_within(&self.scope) {
            return Err(Invalid::new("--default-scope names tokens that --scope does not"));
        }
        if !self.mfa_scope.is_within(&self.scope) {
            return Err(Invalid::new("--requires-mfa-scope names tokens that --scope does not"));
        }
        for (audience, scope) in &self.audience_scopes {
            if !self.audiences.contains(audience) {
                return Err(Invalid::new(format!(
                    "--audience-scope names {audience}, which --audience does not"
                )));
            }
            if !scope.is_within(&self.scope) {
                return Err(Invalid::new("--audience-scope names tokens that --scope does not"));
            }
        }
        Ok(())
    }
}

/// A registered client.
#[derive(Clone, Debug, Serialize)]
pub struct Client {
    /// Its identifier.
    #[serde(rename = "client_id")]
    pub id: ClientId,
    /// Its settings.
    #[serde(flatten)]
    pub settings: ClientSettings,
}

impl Client {
    /// How long the client's sessions live: as set for the client, else as `usual`.
    #[must_use]
    pub fn session_lifetimes(&self, usual: SessionLifetimes) -> SessionLifetimes {
        SessionLifetimes {
            idle: self.settings.refresh_token_idle.unwrap_or(usual.idle),
            absolute: self.settings.session_lifetime.unwrap_or(usual.absolute),
        }
    }

    /// How long the client's exchanged refresh tokens may be retried: as set for the client, else as set for the
    /// service, else the default of the client's type.
    #[must_use]
    pub fn retry_window(&self, of_service: Option<RetryWindow>) -> RetryWindow {
        let usual = if self.settings.public {
            RetryWindow::OF_PUBLIC_CLIENTS
        } else {
            RetryWindow::OF_CONFIDENTIAL_CLIENTS
        };
        self.settings.refresh_retry_window.or(of_service).unwrap_or(usual)
    }

    /// The scope tokens that a login does not get because it used no second factor.
    #[must_use]
    pub fn withheld_scope(&self, second_factor: bool) -> Scope {
        if second_factor { Scope::default() } else { self.settings.mfa_scope.clone() }
    }

    /// Requires that the client may use this grant.
    ///
    /// # Errors
    /// [`Reason::GrantNotAllowed`] if it may not.
    pub fn require_grant(&self, grant: GrantType) -> Result<(), Reason> {
        if self.settings.grants.contains(&grant) { Ok(()) } else { Err(Reason::GrantNotAllowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_absolute_uri_without_fragment() {
        for good in ["https://api1/", "urn:example:api", "a+b-c.d:x"] {
            assert!(Audience::from_resource(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "api",
            "/api",
            ":x",
            "1a:x",
            "https:",
            "https://a/#x",
            "https://a b",
            "é:x",
            "a:%2x",
        ] {
            assert_eq!(Audience::from_resource(bad), Err(Reason::MalformedResource), "{bad}");
        }
    }
}
