//! What every run begins with: a database with users, clients and sessions that are open already,
//! because opening them takes a password hash each.

use std::path::PathBuf;

use tokio::sync::OnceCell;
use tokio::task::{JoinSet, spawn_blocking};

use crate::harness::database::{PASSWORD, new_folder};
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

/// Fills an empty database, and opens the sessions by logging in.
async fn fill(url: &str) -> (Fixtures, Vec<Session>) {
    let (database, fixtures) = Database::fill(url).await;
    let mut service = Executable::serve_on(&database, &fixtures, &["--login-deadline", "1m"]);
    let mut logins = JoinSet::new();
    for index in 0..SESSIONS {
        let client_id = CLIENTS[index % CLIENTS.len()];
        let request = Request::new(service.public, "POST", "/token");
        let form = login_form("alice", PASSWORD) + "&scope=read";
        let request = match fixtures.find_secret(client_id) {
            Some(secret) => request.basic(client_id, secret).form(&form),
            None => request.form(&format!("{form}&client_id={client_id}")),
        };
        logins.spawn(async move {
            Session { client_id, refresh_token: request.send().await.refresh_token() }
        });
    }
    let sessions = logins.join_all().await;
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    // A copy of the file alone must hold everything.
    if url.starts_with("sqlite:") {
        database.query("PRAGMA wal_checkpoint(TRUNCATE)").await;
    }
    // The master key stays in its folder for all copies.
    std::mem::forget(database);
    (fixtures, sessions)
}
