//! `jeton demo`: the service on a throw-away store, with something in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use super::serve::{Service, told_to_stop};
use super::settings::without_empty_variables;
use super::{Failure, log, make_store, output};
use crate::config::{LogSettings, ServeSettings, address};
use jeton_crypto::digest::SecretDigest;
use jeton_crypto::{password, random};
use jeton_oauth::{Client, ClientSettings, ScryptCost, Secret, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_store::Store;
use jeton_store::clients::AddClient;
use jeton_store::data_keys::StoredUnder;
use jeton_store::users::AddUser;

/// The user, as in the FastAPI tutorial; the password would be refused by `jeton user add`.
const USERNAME: &str = "johndoe";
const PASSWORD: &str = "secret";
/// The clients.
const PUBLIC_CLIENT: &str = "demo-app";
const CONFIDENTIAL_CLIENT: &str = "demo-web";
const RESOURCE_SERVER: &str = "demo-api";
/// The audience of the tokens.
const AUDIENCE: &str = "https://api.demo.example";

/// The options of `jeton demo`.
#[derive(Args, Debug)]
pub struct Options {
    /// The address of the public listener
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The address of the management listener
    #[arg(long, default_value = "127.0.0.1:8081", value_parser = address, value_name = "ADDRESS")]
    management_listen: SocketAddr,
    /// Logging.
    #[command(flatten)]
    log: LogSettings,
}

/// The settings of `serve`, to be read from a list.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: ServeSettings,
}

/// A folder that is gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("jeton-demo-{}", random::request_id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    log::start(&options.log)?;
    // Before there is anything to throw away.
    let told_to_stop = told_to_stop()?;
    let folder = Folder::make()?;
    let settings = settings(&options, &folder.0)?;
    let store = make_store(&settings.database).await?;
    let secrets = fill(&store, Clock::System.now()).await?;
    let service = Service::start(settings, Clock::System).await?;
    explain(&service, &secrets);
    told_to_stop.await;
    service.stop().await;
    output::line("Stopped; everything was thrown away.");
    Ok(())
}

/// The settings of a service on a folder and on loopback.
fn settings(options: &Options, folder: &Path) -> Result<ServeSettings, Failure> {
    let database = format!("sqlite:{}", folder.join("jeton.db").display());
    let master_key = folder.join("master.jwk").display().to_string();
    let (listen, management) = (options.listen.to_string(), options.management_listen.to_string());
    let arguments = [
        "jeton",
        "--database",
        &database,
        "--master-key-file",
        &master_key,
        "--listen",
        &listen,
        "--management-listen",
        &management,
        "--default-client",
        PUBLIC_CLIENT,
        "--cors-origin",
        "loopback",
    ];
    let command = without_empty_variables(Arguments::command());
    let parsed = command.try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    // Not even the environment makes a demonstration public.
    let mut settings = parsed.map_err(|error| Failure::failed(error.to_string()))?.settings;
    (settings.issuer, settings.behind_tls_proxy) = (None, false);
    (settings.tls_certificate, settings.tls_key) = (None, None);
    Ok(settings)
}

/// The secrets of the confidential client and of the resource server.
struct Secrets {
    confidential_client: Secret,
    resource_server: Secret,
}

async fn fill(store: &Store, now: Timestamp) -> Result<Secrets, Failure> {
    let password = Secret::new(PASSWORD.to_owned());
    let user = AddUser {
        id: random::user_id(),
        username: USERNAME.parse()?,
        password_hash: StoredUnder {
            hashes: Secret::new(password::hash(&password, ScryptCost::RECOMMENDED)?),
            data_key: None,
        },
        scope: None,
        roles: vec!["user".to_owned()],
        now,
        disabled_at: None,
        mfa_required_at: None,
        decoy_number: random::decoy_number(),
    };
    store.perform(user).await?;

    let gets_tokens = ClientSettings {
        grants: ["password".parse()?, "refresh_token".parse()?].into(),
        scope: "read write".parse()?,
        default_scope: "read".parse()?,
        audiences: vec![AUDIENCE.parse()?],
        ..ClientSettings::default()
    };
    let introspects = ClientSettings {
        introspects: [AUDIENCE.parse()?].into(),
        introspects_username: true,
        ..ClientSettings::default()
    };
    let secrets = Secrets {
        confidential_client: random::client_secret(),
        resource_server: random::client_secret(),
    };
    let public = ClientSettings { public: true, ..gets_tokens.clone() };
    for (id, settings, secret) in [
        (PUBLIC_CLIENT, public, None),
        (CONFIDENTIAL_CLIENT, gets_tokens, Some(&secrets.confidential_client)),
        (RESOURCE_SERVER, introspects, Some(&secrets.resource_server)),
    ] {
        let secret = secret.map(|secret| SecretDigest::of(secret).as_bytes().to_vec());
        let client = Client { id: id.parse()?, settings };
        store.perform(AddClient { client, secret, now }).await?;
    }
    Ok(secrets)
}

fn explain(service: &Service, secrets: &Secrets) {
    let issuer = service.issuer.as_str();
    output::lines(&format!(
        "Jeton runs at {issuer} until Ctrl-C, on a store that is thrown away then.
User {USERNAME} / {PASSWORD}; public client {PUBLIC_CLIENT}, confidential client {CONFIDENTIAL_CLIENT},
resource server {RESOURCE_SERVER}. Health and metrics are at http://{management}.

A token for the public client, which is also the client of requests that name none:

  curl -s {issuer}/token -d grant_type=password -d username={USERNAME} -d password={PASSWORD} -d client_id={PUBLIC_CLIENT}

A token for the confidential client, kept in a variable:

  TOKEN=$(curl -s {issuer}/token -u {CONFIDENTIAL_CLIENT}:{confidential} -d grant_type=password -d username={USERNAME} -d password={PASSWORD} -d 'scope=read write' | sed -E 's/.*\"access_token\":\"([^\"]+)\".*/\\1/')

What a resource server needs to verify tokens by itself:

  curl -s {issuer}/.well-known/jwks.json
  curl -s {issuer}/.well-known/oauth-authorization-server

Or it asks, and sees at once when a session has ended:

  curl -s {issuer}/introspect -u {RESOURCE_SERVER}:{server} -d token=$TOKEN

The answers above have a refresh token. It is good for one exchange, and for as many retries of it as it takes:

  REFRESH=$(curl -s {issuer}/token -u {CONFIDENTIAL_CLIENT}:{confidential} -d grant_type=password -d username={USERNAME} -d password={PASSWORD} | sed -E 's/.*\"refresh_token\":\"([^\"]+)\".*/\\1/')
  curl -s {issuer}/token -u {CONFIDENTIAL_CLIENT}:{confidential} -d grant_type=refresh_token -d refresh_token=$REFRESH

Revoking it ends the session, access tokens included:

  curl -s {issuer}/revoke -u {CONFIDENTIAL_CLIENT}:{confidential} -d token=$REFRESH
",
        management = service.management,
        confidential = secrets.confidential_client.expose(),
        server = secrets.resource_server.expose(),
    ));
}
