//! What every run begins with: a database with users, clients and sessions that are open already. To open
//! so many by logins would take a password hash each.

use std::net::SocketAddr;
use std::path::PathBuf;

use jeton_crypto::key_lifecycle::KeyDates;
use jeton_crypto::refresh_keys::{RefreshKey, RefreshKeys};
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_oauth::refresh_token::RefreshTokenClaims;
use jeton_oauth::{KeyId, Timestamp};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::harness::database::{PASSWORD, new_folder};
use crate::harness::forge::encode;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Executable, Fixtures, Request};
use crate::load::Session;

/// How many sessions there are, and so clients. Two thirds are those of confidential clients.
pub(crate) const SESSIONS: usize = 60;
/// Whose sessions they are.
const CLIENTS: [&str; 3] = ["web", "other", "spa"];

/// A filled database that is copied and never used itself.
pub(crate) struct Template {
    place: Place,
    pub(crate) fixtures: Fixtures,
    pub(crate) sessions: Vec<Session>,
}

enum Place {
    File(PathBuf),
    /// A server that was stopped.
    Server(PostgresServer),
}

impl Template {
    pub(crate) async fn of(engine: Engine) -> &'static Self {
        static SQLITE: OnceCell<Template> = OnceCell::const_new();
        static POSTGRES: OnceCell<Template> = OnceCell::const_new();
        match engine {
            Engine::Sqlite => SQLITE.get_or_init(Self::make_sqlite).await,
            Engine::Postgres => POSTGRES.get_or_init(Self::make_postgres).await,
        }
    }

    async fn make_sqlite() -> Self {
        let file = new_folder().join("template.db");
        let (fixtures, sessions) = fill(&format!("sqlite:{}", file.display())).await;
        Self { place: Place::File(file), fixtures, sessions }
    }

    async fn make_postgres() -> Self {
        let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
        let (fixtures, sessions) = fill(&server.url).await;
        let database = Database { url: server.url.clone(), folder: new_folder() };
        // PostgreSQL's default, with which connections that nobody gives back are felt.
        database.query("ALTER SYSTEM SET max_connections = 100").await;
        server.stop();
        Self { place: Place::Server(server), fixtures, sessions }
    }

    /// A copy for one run, and its server where there is one.
    pub(crate) async fn copy(&'static self) -> (Database, Option<PostgresServer>) {
        let folder = new_folder();
        match &self.place {
            Place::File(template) => {
                let file = folder.join("jeton.db");
                std::fs::copy(template, &file).expect("a copy of the template");
                (Database { url: format!("sqlite:{}", file.display()), folder }, None)
            }
            Place::Server(template) => {
                let copying = spawn_blocking(|| PostgresServer::copy_of(template));
                let server = copying.await.expect("it starts");
                (Database { url: server.url.clone(), folder }, Some(server))
            }
        }
    }
}

fn login(service: SocketAddr, client_id: &str, fixtures: &Fixtures) -> Request {
    let request = Request::new(service, "POST", "/token");
    let form = login_form("alice", PASSWORD) + "&scope=read";
    match fixtures.find_secret(client_id) {
        Some(secret) => request.basic(client_id, secret).form(&form),
        None => request.form(&format!("{form}&client_id={client_id}")),
    }
}

/// Fills an empty database, and opens a session of each client by a login. The others are copies of
/// these rows under other names.
pub(crate) async fn fill(url: &str) -> (Fixtures, Vec<Session>) {
    let (database, fixtures) = Database::fill(url).await;
    let mut service = Executable::serve_on(&database, &fixtures, &[]);
    for client_id in CLIENTS {
        let mut status = 503;
        while status == 503 {
            status = login(service.public, client_id, &fixtures).send().await.status;
        }
        assert_eq!(status, 200, "{client_id} logs in");
    }
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    let keys = refresh_keys(&database, &fixtures).await;
    let mut sessions = Vec::new();
    database.query("CREATE TABLE copied AS SELECT * FROM sessions").await;
    for index in 0..SESSIONS {
        let client_id = CLIENTS[index % CLIENTS.len()];
        let id = encode(rand::random::<[u8; 16]>());
        let of_client = format!("WHERE client_id = '{client_id}'");
        database.query(&format!("UPDATE copied SET session_id = '{id}' {of_client}")).await;
        database.query(&format!("INSERT INTO sessions SELECT * FROM copied {of_client}")).await;
        let claims =
            RefreshTokenClaims { session: id.parse().expect("it is base64url"), generation: 0 };
        let token = keys.derive(&claims, Timestamp(0)).expect("the service's key");
        sessions.push(Session { client_id, refresh_token: token.expose().to_owned() });
    }
    database.query("DROP TABLE copied").await;
    // A copy of the file alone must hold everything.
    if url.starts_with("sqlite:") {
        database.query("PRAGMA wal_checkpoint(TRUNCATE)").await;
    }
    // The master key stays in its folder for all copies.
    std::mem::forget(database);
    (fixtures, sessions)
}

/// The service's own refresh key, with which the first token of a copied session is what a login would
/// have answered.
async fn refresh_keys(database: &Database, fixtures: &Fixtures) -> RefreshKeys {
    let purpose = KeyPurpose::Refresh.as_str();
    let select = format!("SELECT kid, sealed_key FROM keys WHERE purpose = '{purpose}'");
    let row = database.query(&select).await.remove(0);
    let mut texts = row.into_iter().map(|text| text.expect("it is not null"));
    let (id, sealed) = (texts.next().and_then(|id| id.parse::<KeyId>().ok()), texts.next());
    let (id, sealed) = (id.expect("a column"), sealed.expect("a column"));
    let masters =
        MasterKeys::load(std::slice::from_ref(&fixtures.master_key), true).expect("the master key");
    let secret = masters.open(KeyPurpose::Refresh, &id, &sealed).expect("the refresh key");
    let long_ago = Timestamp(0);
    let dates = KeyDates { created_at: long_ago, activates_at: long_ago, revoked_at: None };
    RefreshKeys::new([RefreshKey::from_secret(id, dates, &secret).expect("a key")], long_ago)
}
