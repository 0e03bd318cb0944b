//! What `jeton client add` and `jeton client set` decide about a client.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Args;

use crate::config::{session_lifetime, switch};
use jeton_oauth::client::{
    AccessTokenType, Audience, ClientAuthenticationMethod, GrantType, OptionalClaim,
};
use jeton_oauth::lifetime::ACCESS_TOKEN_LIFETIME_MAX;
use jeton_oauth::{ClientSettings, Invalid, RetryWindow, Scope, Seconds};

/// What is decided about a client. Each replaces what was decided before.
#[derive(Args, Debug, Default, PartialEq)]
pub(super) struct Decisions {
    /// A grant that the client may use: password or `refresh_token`; repeatable
    #[arg(long, value_name = "GRANT")]
    grant: Option<Vec<GrantType>>,
    /// What the client may ask for; repeatable
    #[arg(long, value_name = "SCOPE")]
    scope: Option<Vec<Scope>>,
    /// What the client gets when it asks for nothing; repeatable. Without it such a request is
    /// `invalid_scope`
    #[arg(long, value_name = "SCOPE")]
    default_scope: Option<Vec<Scope>>,
    /// A resource server that the client's tokens are for; repeatable, the first is the default,
    /// and those that are URLs can be asked for with `resource`
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<Vec<Audience>>,
    /// Scope that means something at one audience only, as AUDIENCE=SCOPE; repeatable
    #[arg(long, value_name = "AUDIENCE=SCOPE")]
    audience_scope: Option<Vec<AudienceScope>>,
    /// Whether `aud` is an array even when it holds one audience
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    audience_array: Option<bool>,
    /// What the header of the client's access tokens calls them: at+jwt (RFC 9068), which is the default, or JWT for
    /// verifiers that refuse all else, as Spring Security does by default. What verifies JWT cannot tell an access
    /// token from another kind of JWT of the same issuer and audience (RFC 9068 §4)
    #[arg(long, value_name = "TYPE")]
    access_token_typ: Option<AccessTokenType>,
    /// How long the client's access tokens live, at most 1h, instead of the service's setting
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    access_token_lifetime: Option<Seconds>,
    /// How long the client's sessions live without being refreshed, instead of the service's setting
    #[arg(long, value_name = "DURATION", value_parser = session_lifetime)]
    refresh_token_idle: Option<Seconds>,
    /// How long the client's sessions live at all, instead of the service's setting
    #[arg(long, value_name = "DURATION", value_parser = session_lifetime)]
    session_lifetime: Option<Seconds>,
    /// For how long an exchanged refresh token of the client is answered with the same successor again,
    /// while that was not used, instead of the service's setting: 0s to 10m, until-used, or default for
    /// the service's setting again
    #[arg(long, value_name = "DURATION|until-used|default")]
    refresh_retry_window: Option<OwnRetryWindow>,
    /// A claim that the client's tokens carry: roles or `preferred_username`; repeatable
    #[arg(long, value_name = "CLAIM")]
    claim: Option<Vec<OptionalClaim>>,
    /// The one way the client may authenticate: `client_secret_basic` or `client_secret_post`
    #[arg(long, value_name = "METHOD")]
    authentication_method: Option<ClientAuthenticationMethod>,
    /// Whether the client sends its end user's address as the last of X-Forwarded-For, so that failed
    /// logins count against that address. Only for one that never passes on what it was sent itself
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    forwards_end_user_ip: Option<bool>,
    /// An audience whose tokens the client may introspect; repeatable
    #[arg(long, value_name = "AUDIENCE")]
    introspects: Option<Vec<Audience>>,
    /// Whether introspection tells the client the user's name
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    introspects_username: Option<bool>,
    /// Whether the client logs in only users who use a second factor
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    requires_mfa: Option<bool>,
    /// Scope that only logins with a second factor get; repeatable, --requires-mfa-scope= for none
    #[arg(long, value_name = "SCOPE", value_parser = scope_or_none)]
    requires_mfa_scope: Option<Vec<Scope>>,
    /// Whether the client is told `mfa_required` when a password is right and a one-time password is missing, so that it
    /// can ask for one. Whoever uses the client learns then that a guessed password is right
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    tells_second_factor: Option<bool>,
}

/// Scope, or nothing.
fn scope_or_none(text: &str) -> Result<Scope, Invalid> {
    if text.is_empty() { Ok(Scope::default()) } else { text.parse() }
}

/// `AUDIENCE=SCOPE` on the command line.
#[derive(Clone, Debug, PartialEq)]
struct AudienceScope(Audience, Scope);

impl FromStr for AudienceScope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (audience, scope) =
            text.rsplit_once('=').ok_or(Invalid::new("write it as AUDIENCE=SCOPE"))?;
        Ok(Self(audience.parse()?, scope.parse()?))
    }
}

/// A retry window of the client's own, or none, on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct OwnRetryWindow(Option<RetryWindow>);

impl FromStr for OwnRetryWindow {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "default" { Ok(Self(None)) } else { text.parse().map(Some).map(Self) }
    }
}

fn lifetime(text: &str) -> Result<Seconds, Invalid> {
    let span: Seconds = text.parse()?;
    if span == Seconds::default() || span > ACCESS_TOKEN_LIFETIME_MAX {
        return Err(Invalid::new(format!("it must be 1s to {ACCESS_TOKEN_LIFETIME_MAX}")));
    }
    Ok(span)
}

impl Decisions {
    /// Whether by these a client wants a second factor, always or for some scope.
    pub(super) fn require_second_factor(&self) -> bool {
        let mut scopes = self.requires_mfa_scope.iter().flatten();
        self.requires_mfa == Some(true) || scopes.any(|scope| !scope.is_empty())
    }

    /// Puts what was decided into the settings, and checks that they make sense together.
    pub(super) fn apply(&self, settings: &mut ClientSettings) -> Result<(), Invalid> {
        /// Replaces a setting if there is something to replace it with.
        fn replace<T>(place: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *place = new;
            }
        }
        fn set<T: Clone + Ord>(items: Option<&Vec<T>>) -> Option<BTreeSet<T>> {
            items.map(|items| items.iter().cloned().collect())
        }
        let join = |scopes: Option<&Vec<Scope>>| {
            scopes.map(|scopes| scopes.iter().fold(Scope::default(), Scope::union))
        };
        replace(&mut settings.grants, set(self.grant.as_ref()));
        replace(&mut settings.scope, join(self.scope.as_ref()));
        replace(&mut settings.default_scope, join(self.default_scope.as_ref()));
        replace(&mut settings.audiences, self.audience.clone());
        replace(&mut settings.audience_array, self.audience_array);
        replace(&mut settings.access_token_typ, self.access_token_typ);
        replace(&mut settings.claims, set(self.claim.as_ref()));
        replace(&mut settings.forwards_end_user_ip, self.forwards_end_user_ip);
        replace(&mut settings.introspects, set(self.introspects.as_ref()));
        replace(&mut settings.introspects_username, self.introspects_username);
        replace(&mut settings.requires_mfa, self.requires_mfa);
        replace(&mut settings.mfa_scope, join(self.requires_mfa_scope.as_ref()));
        replace(&mut settings.tells_second_factor, self.tells_second_factor);
        if let Some(bindings) = &self.audience_scope {
            settings.audience_scopes.clear();
            for AudienceScope(audience, scope) in bindings {
                let bound = settings.audience_scopes.entry(audience.clone()).or_default();
                *bound = std::mem::take(bound).union(scope);
            }
        }
        settings.access_token_lifetime =
            self.access_token_lifetime.or(settings.access_token_lifetime);
        settings.refresh_token_idle = self.refresh_token_idle.or(settings.refresh_token_idle);
        settings.session_lifetime = self.session_lifetime.or(settings.session_lifetime);
        let retry_window = self.refresh_retry_window.map(|OwnRetryWindow(window)| window);
        replace(&mut settings.refresh_retry_window, retry_window);
        settings.authentication_method =
            self.authentication_method.or(settings.authentication_method);
        settings.check()
    }
}
