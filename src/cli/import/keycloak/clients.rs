//! The clients of a realm.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::realm::{KeycloakClient, Mapper, OWN_CLIENTS, Realm};
use crate::cli::import::entry::{Entry, FoundClient, FoundSecret, Place, SecretForm};
use crate::cli::import::mapping::FURTHER_AUDIENCE;
use jeton_oauth::client::{AccessTokenType, GrantType, OptionalClaim};
use jeton_oauth::{ClientSettings, Seconds, Secret};

/// What Keycloak's consoles show instead of a secret.
const MASKED: &str = "**********";
/// Mappers whose claims tokens of Jeton have anyhow, or by a setting of the client.
const KNOWN_MAPPERS: [&str; 6] = [
    "oidc-audience-mapper",
    "oidc-audience-resolve-mapper",
    "oidc-sub-mapper",
    "oidc-usermodel-client-role-mapper",
    "oidc-usermodel-realm-role-mapper",
    "oidc-usersessionmodel-note-mapper",
];

/// What a realm has beside users.
pub(super) fn entries(realm: &Realm) -> VecDeque<Entry> {
    let mut entries = VecDeque::new();
    for (name, values) in [
        ("identity provider", realm.identity_providers.len()),
        ("organization", realm.organizations.len()),
        ("federated user", realm.federated_users.len()),
    ] {
        entries.extend((0..values).map(|_| Entry::LeftOut(name.to_owned())));
    }
    let own = |client: &&KeycloakClient| OWN_CLIENTS.contains(&client.client_id.as_str());
    for (at, client) in realm.clients.iter().enumerate().filter(|(_, client)| !own(client)) {
        entries.push_back(entry(realm, client, at));
    }
    entries
}

fn entry(realm: &Realm, client: &KeycloakClient, at: usize) -> Entry {
    let uses_password = client.direct_access_grants_enabled && !client.bearer_only;
    let introspects = !client.public_client && client.secret.is_some();
    if client.protocol.as_deref().is_some_and(|protocol| protocol != "openid-connect") {
        return Entry::LeftOut("client of another protocol than OpenID Connect".to_owned());
    }
    if !uses_password && !introspects {
        return Entry::LeftOut(
            "client that neither uses the password grant nor has a secret".to_owned(),
        );
    }
    let mut found = FoundClient {
        place: Place::Named(format!("clients[{at}], {}", client.client_id)),
        id: client.client_id.clone(),
        settings: settings(realm, client, uses_password),
        scope: if uses_password { scope(realm, client, true) } else { Vec::new() },
        default_scope: if uses_password { scope(realm, client, false) } else { Vec::new() },
        audiences: if uses_password { audiences(realm, client) } else { Vec::new() },
        secrets: secret(client),
        disabled: !client.enabled,
        left_out: left_out(client),
        unused: None,
    };
    // Tokens there have all of them at once.
    let others = found.audiences.iter().skip(1);
    found.left_out.extend(others.map(|name| format!("{FURTHER_AUDIENCE}{name}")));
    found.shorten_lifetimes();
    Entry::Client(Box::new(found))
}

fn secret(client: &KeycloakClient) -> Vec<FoundSecret> {
    let secret = client.secret.as_ref().filter(|_| !client.public_client);
    secret
        .map(|secret| SecretForm::Readable(Secret::new(secret.clone())).into())
        .into_iter()
        .collect()
}

fn settings(
    realm: &Realm,
    client: &KeycloakClient,
    uses_password: bool,
) -> Result<ClientSettings, String> {
    if client.secret.as_deref() == Some(MASKED) {
        return Err(
            "its secret is masked, as in a partial export of the console: use `kc.sh export`"
                .to_owned(),
        );
    }
    let authenticator = client.client_authenticator_type.as_deref().unwrap_or("client-secret");
    if !client.public_client && authenticator != "client-secret" {
        return Err(format!(
            "it authenticates by {authenticator}, and Jeton knows secrets only: give it a secret there, or leave it \
             out in [clients] of a mapping"
        ));
    }
    let mut settings = ClientSettings { public: client.public_client, ..ClientSettings::default() };
    // Any client with a secret may introspect there. Here it may introspect the tokens that are for it.
    if !client.public_client && (client.service_accounts_enabled || !uses_password) {
        let own =
            client.client_id.parse().map_err(|error: jeton_oauth::Invalid| error.to_string())?;
        settings.introspects.insert(own);
        settings.introspects_username = true;
    }
    if !uses_password {
        return Ok(settings);
    }
    settings.grants.insert(GrantType::Password);
    let attribute = |name: &str| client.attributes.get(name).map(String::as_str);
    if attribute("use.refresh.tokens") != Some("false") {
        settings.grants.insert(GrantType::RefreshToken);
    }
    if attribute("access.token.header.type.rfc9068") != Some("true") {
        settings.access_token_typ = AccessTokenType::Jwt;
    }
    let seconds = |name: &str, of_realm: Option<i64>| {
        let own = attribute(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        own.or(of_realm).filter(|number| *number > 0).map(Seconds::new)
    };
    settings.access_token_lifetime = seconds("access.token.lifespan", realm.access_token_lifespan);
    settings.session_lifetime =
        seconds("client.session.max.lifespan", realm.sso_session_max_lifespan);
    let idle = seconds("client.session.idle.timeout", realm.sso_session_idle_timeout);
    // There, the shorter of the two counts.
    settings.refresh_token_idle =
        idle.map(|idle| settings.session_lifetime.map_or(idle, |lifetime| idle.min(lifetime)));
    let scopes = &client.default_client_scopes;
    let has = |name: &str| scopes.iter().any(|scope| scope == name);
    if has("roles") {
        settings.claims.insert(OptionalClaim::Roles);
    }
    if has("profile") {
        settings.claims.insert(OptionalClaim::PreferredUsername);
    }
    Ok(settings)
}

/// The scope tokens of a client: those that it gets by default, and all that it may ask for. `openid` may be asked for
/// everywhere.
fn scope(realm: &Realm, client: &KeycloakClient, with_optional: bool) -> Vec<String> {
    let hidden = |name: &str| {
        let scope = realm.client_scopes.iter().find(|scope| scope.name == name);
        let said = scope.and_then(|scope| scope.attributes.get("include.in.token.scope"));
        said.is_some_and(|said| said == "false")
    };
    let optional = client.optional_client_scopes.iter().filter(|_| with_optional);
    let names = client.default_client_scopes.iter().chain(optional);
    let mut scope: Vec<String> = names.filter(|name| !hidden(name)).cloned().collect();
    if with_optional || scope.is_empty() {
        scope.insert(0, "openid".to_owned());
    }
    scope
}

/// The audiences that mappers of the client, or of its scopes, put into its tokens.
fn audiences(realm: &Realm, client: &KeycloakClient) -> Vec<String> {
    let is_default = |name: &String| client.default_client_scopes.contains(name);
    let scopes = realm.client_scopes.iter().filter(|scope| is_default(&scope.name));
    let mappers =
        client.protocol_mappers.iter().chain(scopes.flat_map(|scope| &scope.protocol_mappers));
    let mut seen = BTreeSet::new();
    mappers.filter_map(audience).filter(|name| seen.insert(name.clone())).collect()
}

fn audience(mapper: &Mapper) -> Option<String> {
    let text = |name: &str| {
        mapper.config.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    if mapper.protocol_mapper != "oidc-audience-mapper"
        || text("access.token.claim") == Some("false")
    {
        return None;
    }
    text("included.client.audience").or(text("included.custom.audience")).map(str::to_owned)
}

/// What the client does there and cannot do here.
fn left_out(client: &KeycloakClient) -> Vec<String> {
    let mut names: Vec<String> = [
        ("authorization code flow", client.standard_flow_enabled),
        ("implicit flow", client.implicit_flow_enabled),
        ("client credentials grant", client.service_accounts_enabled),
        ("authorization services", client.authorization_services_enabled),
    ]
    .into_iter()
    .filter(|(_, enabled)| *enabled)
    .map(|(name, _)| name.to_owned())
    .collect();
    let other = |mapper: &&Mapper| !KNOWN_MAPPERS.contains(&mapper.protocol_mapper.as_str());
    let mappers = client.protocol_mappers.iter().filter(other);
    names.extend(mappers.map(|mapper| format!("claim by {}", mapper.protocol_mapper)));
    names
}
