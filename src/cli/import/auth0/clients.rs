//! Applications as `auth0 apps list --reveal-secrets --json` prints them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::entry::{Entry, FoundClient, Place, SecretForm, WITHOUT_PASSWORD};
use jeton_oauth::client::GrantType;
use jeton_oauth::{ClientSettings, Seconds, Secret};

/// Auth0's own name of the password grant, with a connection.
const PASSWORD_REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

#[derive(Default, Deserialize)]
#[serde(default)]
struct App {
    client_id: String,
    client_secret: Option<String>,
    global: bool,
    grant_types: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    client_authentication_methods: Option<Value>,
    refresh_token: Option<RefreshToken>,
    client_metadata: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefreshToken {
    #[serde(rename = "infinite_token_lifetime")]
    is_infinite: bool,
    #[serde(rename = "infinite_idle_token_lifetime")]
    idle_is_infinite: bool,
    #[serde(rename = "token_lifetime")]
    lifetime: Option<i64>,
    #[serde(rename = "idle_token_lifetime")]
    idle: Option<i64>,
}

/// What an application is here.
pub(super) fn entry(place: Place, values: Map<String, Value>) -> Entry {
    let id = values.get("client_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    // serde_json repeats what it does not take.
    let (app, wrong) = if let Ok(app) = serde_json::from_value::<App>(Value::Object(values)) {
        (app, None)
    } else {
        let sentence = "a member of it is not as `auth0 apps list --json` prints it".to_owned();
        let app = App { client_id: id, grant_types: vec!["password".to_owned()], ..App::default() };
        (app, Some(sentence))
    };
    if app.global {
        return Entry::LeftOut("client of Auth0 itself".to_owned());
    }
    let secret = app.client_secret.clone().filter(|_| !app.is_public());
    let logs_in = app.logs_in();
    if !logs_in && secret.is_none() {
        return Entry::LeftOut(WITHOUT_PASSWORD.to_owned());
    }
    let mut found = FoundClient {
        place,
        settings: wrong.map_or_else(|| app.settings(), Err),
        scope: Vec::new(),
        default_scope: Vec::new(),
        audiences: Vec::new(),
        secrets: secret
            .map(|text| SecretForm::Readable(Secret::new(text)).into())
            .into_iter()
            .collect(),
        disabled: false,
        left_out: app.left_out(),
        unused: (!logs_in).then_some(WITHOUT_PASSWORD),
        id: app.client_id,
    };
    found.shorten_lifetimes();
    Entry::Client(Box::new(found))
}

impl App {
    fn uses(&self, grant: &str) -> bool {
        self.grant_types.iter().any(|own| own == grant)
    }

    fn logs_in(&self) -> bool {
        self.uses("password") || self.uses(PASSWORD_REALM)
    }

    fn is_public(&self) -> bool {
        self.token_endpoint_auth_method.as_deref() == Some("none")
    }

    fn settings(&self) -> Result<ClientSettings, String> {
        if self.client_authentication_methods.as_ref().is_some_and(|methods| !methods.is_null()) {
            return Err(
                "it authenticates by a key or a certificate, and Jeton knows secrets only: give it a secret there, or \
                 leave it out in [clients] of a mapping"
                    .to_owned(),
            );
        }
        if !self.is_public() && self.client_secret.as_deref().is_none_or(str::is_empty) {
            return Err(
                "it has no client_secret, which only `auth0 apps list --reveal-secrets --json` prints".to_owned()
            );
        }
        let mut settings = ClientSettings { public: self.is_public(), ..ClientSettings::default() };
        if !self.logs_in() {
            return Ok(settings);
        }
        settings.grants.insert(GrantType::Password);
        if self.uses("refresh_token") {
            settings.grants.insert(GrantType::RefreshToken);
        }
        if let Some(refresh) = &self.refresh_token {
            let seconds = |number: Option<i64>, infinite: bool| {
                number.filter(|number| !infinite && *number > 0).map(Seconds::new)
            };
            settings.session_lifetime = seconds(refresh.lifetime, refresh.is_infinite);
            settings.refresh_token_idle = seconds(refresh.idle, refresh.idle_is_infinite);
        }
        Ok(settings)
    }

    /// What the application does there and cannot do here.
    fn left_out(&self) -> Vec<String> {
        let grants = [
            ("authorization_code", "authorization code flow"),
            ("implicit", "implicit flow"),
            ("client_credentials", "client credentials grant"),
        ];
        let used = grants.into_iter().filter(|(grant, _)| self.uses(grant));
        let mut names: Vec<String> = used.map(|(_, name)| name.to_owned()).collect();
        if !self.client_metadata.is_empty() {
            names.push("client_metadata".to_owned());
        }
        names
    }
}
