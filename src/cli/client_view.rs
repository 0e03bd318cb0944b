//! Clients as they are listed and shown. Of a secret it is shown how it is stored, and nothing that helps to guess.

use serde::Serialize;

use super::listing::{self, Column, Width};
use super::output;
use jeton_crypto::password::{PasswordHash, PasswordHashError};
use jeton_oauth::client::GrantType;
use jeton_oauth::{Client, ClientSettings, Seconds, Timestamp};
use jeton_store::clients::{StoredClient, StoredSecret};

/// A client as JSON.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(flatten)]
    client: &'a Client,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    secrets: Vec<ShownSecret>,
}

#[derive(Serialize)]
struct ShownSecret {
    number: i64,
    stored_as: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(stored: &'a StoredClient) -> Self {
        let secret = |secret: &StoredSecret| ShownSecret {
            number: secret.number,
            stored_as: stored_as(secret),
            created_at: secret.created_at,
            expires_at: secret.expires_at,
            last_used_at: secret.last_used_at,
        };
        Self {
            client: &stored.client,
            created_at: stored.created_at,
            disabled_at: stored.disabled_at,
            last_used_at: stored.last_used_at,
            secrets: stored.secrets.iter().map(secret).collect(),
        }
    }
}

/// `sha256` for a digest, or the function and the cost of a hash that came from another service, unless it is sealed.
fn stored_as(secret: &StoredSecret) -> String {
    let Some(hash) = &secret.hash else { return "sha256".to_owned() };
    match PasswordHash::parse(hash.expose(), u64::MAX) {
        Ok(hash) => hash.to_string(),
        Err(PasswordHashError::Sealed) => "(sealed)".to_owned(),
        Err(PasswordHashError::Unknown | PasswordHashError::TooExpensive) => {
            "(unusable)".to_owned()
        }
    }
}

/// Lists clients.
pub(super) fn list(clients: &[StoredClient], width: Width) {
    let columns = [
        Column::cut("ID", 16),
        Column::whole("TYPE"),
        Column::whole("STATE"),
        Column::cut("GRANTS", 8),
        Column::cut("SCOPE", 8),
        Column::wide("AUDIENCES"),
        Column::wide("INTROSPECTS"),
        Column::wide("ADDED"),
        Column::whole("LAST USED"),
    ];
    let rows = clients.iter().map(|stored| {
        let Client { id, settings } = &stored.client;
        [
            id.to_string(),
            kind(settings).to_owned(),
            if stored.disabled_at.is_some() { "disabled" } else { "enabled" }.to_owned(),
            words(&settings.grants),
            settings.scope.to_string(),
            words(&settings.audiences),
            words(&settings.introspects),
            width.day(stored.created_at),
            last_used_at(stored).map_or("never".to_owned(), |at| width.day(at)),
        ]
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
}

fn kind(settings: &ClientSettings) -> &'static str {
    if settings.public { "public" } else { "confidential" }
}

/// When a client was last used, as far as that is recorded.
fn last_used_at(stored: &StoredClient) -> Option<Timestamp> {
    let of_secrets = stored.secrets.iter().filter_map(|secret| secret.last_used_at).max();
    stored.last_used_at.max(of_secrets)
}

/// Shows all that a client is set to.
pub(super) fn show(stored: &StoredClient) {
    let Client { id, settings } = &stored.client;
    let since = |at: Timestamp| format!("disabled since {at}");
    let moment = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
    let mut entries = vec![
        ("Client", id.to_string()),
        ("Type", kind(settings).to_owned()),
        ("State", stored.disabled_at.map_or("enabled".to_owned(), since)),
        ("Added", stored.created_at.to_string()),
        ("Last used", moment(last_used_at(stored))),
    ];
    entries.extend(settings_of(&stored.client));
    listing::details(&entries);
    if settings.public {
        return;
    }
    output::line("");
    let rows = stored.secrets.iter().map(|secret| {
        [
            secret.number.to_string(),
            stored_as(secret),
            secret.created_at.to_string(),
            moment(secret.expires_at),
            moment(secret.last_used_at),
        ]
    });
    listing::table(
        ["SECRET", "STORED AS", "ADDED", "EXPIRES", "LAST USED"],
        &rows.collect::<Vec<_>>(),
    );
}

/// What was decided about a client, in the order of the options of `jeton client set`.
fn settings_of(client: &Client) -> Vec<(&'static str, String)> {
    // All of them are named here, so that a new one is not forgotten.
    let ClientSettings {
        public: _,
        grants,
        scope,
        default_scope,
        audiences,
        audience_scopes,
        audience_array,
        access_token_typ,
        access_token_lifetime,
        refresh_token_idle,
        session_lifetime,
        refresh_retry_window: _,
        claims,
        authentication_method,
        forwards_end_user_ip,
        introspects,
        introspects_username,
        requires_mfa,
        mfa_scope,
        tells_second_factor,
    } = &client.settings;
    let own = |span: Option<Seconds>, setting: &str| match span {
        Some(span) => format!("{span}, the client's own"),
        None => format!("as {setting} of `jeton serve` says"),
    };
    let yes = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    let bound = audience_scopes.iter().map(|(audience, scope)| {
        scope.to_string().split(' ').map(|token| format!("{audience}={token}")).collect::<Vec<_>>()
    });
    let method = authentication_method.map_or("any".to_owned(), |method| method.to_string());
    vec![
        ("Grants", or_none(words(grants))),
        ("Scope", or_none(scope.to_string())),
        ("Default scope", or_none(default_scope.to_string())),
        ("Audiences", or_none(words(audiences))),
        ("Audience scope", or_none(bound.flatten().collect::<Vec<_>>().join(" "))),
        ("Audience array", yes(*audience_array)),
        ("Access token typ", access_token_typ.to_string()),
        ("Access token lifetime", own(*access_token_lifetime, "--access-token-lifetime")),
        ("Refresh token idle", own(*refresh_token_idle, "--refresh-token-idle")),
        ("Session lifetime", own(*session_lifetime, "--session-lifetime")),
        ("Refresh retry window", retry_window(client)),
        ("Claims", or_none(words(claims))),
        ("Authentication method", method),
        ("Forwards end user's IP", yes(*forwards_end_user_ip)),
        ("Introspects", or_none(words(introspects))),
        ("Introspects username", yes(*introspects_username)),
        ("Requires MFA", yes(*requires_mfa)),
        ("Requires MFA scope", or_none(mfa_scope.to_string())),
        ("Tells second factor", yes(*tells_second_factor)),
    ]
}

/// For how long the client's exchanged refresh tokens are answered again, if it gets any.
fn retry_window(client: &Client) -> String {
    let settings = &client.settings;
    if !settings.grants.contains(&GrantType::RefreshToken) {
        return "(none)".to_owned();
    }
    let window = client.retry_window(None);
    match settings.refresh_retry_window {
        Some(_) => format!("{window}, the client's own"),
        None => format!("{window}, unless --refresh-retry-window of `jeton serve` is set"),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "(none)".to_owned() } else { text }
}

fn words<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> String {
    items.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
