//! Where a fault happens: a database, replicas on it at default settings, clients at work, and somebody
//! who counts the connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep};
use tokio_postgres::NoTls;

use crate::harness::postgres_server::PostgresServer;
use crate::harness::{Database, Engine};
use crate::load::{Load, Session};
use crate::replica::Replica;
use crate::report::Outcome;
use crate::template::Template;

/// The most connections that a replica may have.
const POOL: usize = 16;
/// How long clients are watched after a fault at least: what was abandoned may come to light late.
const OBSERVED_MIN: Duration = Duration::from_secs(8);
/// How long all answers must have been right before a fault counts as over.
const QUIET: Duration = Duration::from_secs(4);
/// A recovery that takes so many times its target fails the run. Less does not: a machine that is busy
/// with other work is no fault of the service, and the time is reported.
const TARGETS_MAX: u32 = 5;
/// How often connections are counted.
const SAMPLING: Duration = Duration::from_millis(250);

/// How soon all answers are to be right again.
pub(crate) const USUAL: Duration = Duration::from_secs(2);
/// The same where another server has to be found first.
pub(crate) const OTHER_SERVER: Duration = Duration::from_secs(10);

/// What a fault is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) engine: Engine,
    pub(crate) replicas: usize,
}

pub(crate) const SQLITE: Setting = Setting { engine: Engine::Sqlite, replicas: 1 };
pub(crate) const POSTGRES: Setting = Setting { engine: Engine::Postgres, replicas: 2 };
pub(crate) const THREE_REPLICAS: Setting = Setting { engine: Engine::Postgres, replicas: 3 };

impl std::fmt::Display for Setting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.engine {
            Engine::Sqlite => write!(formatter, "SQLite"),
            Engine::Postgres => write!(formatter, "PostgreSQL, {} replicas", self.replicas),
        }
    }
}

/// Where one fault happens.
pub(crate) struct Stage {
    on: Setting,
    template: &'static Template,
    pub(crate) database: Database,
    server: Option<Arc<PostgresServer>>,
    pub(crate) replicas: Vec<Replica>,
    load: Option<Load>,
    connections: Option<Connections>,
    /// How many processes have connections, at most at once.
    pub(crate) processes: usize,
    /// What else was wrong.
    wrong: Vec<String>,
}

impl Stage {
    /// A database with sessions, and nothing that serves it.
    pub(crate) async fn prepare(on: Setting) -> Self {
        let template = Template::of(on.engine).await;
        let (database, server) = template.copy().await;
        let (server, load) = (server.map(Arc::new), None);
        let connections = server.as_ref().map(|server| Connections::count(&server.url));
        let (replicas, processes, wrong) = (Vec::new(), on.replicas, Vec::new());
        Self { on, template, database, server, replicas, load, connections, processes, wrong }
    }

    /// The same with replicas and clients at work, none of which is without an answer.
    pub(crate) async fn open(on: Setting) -> Self {
        let mut stage = Self::prepare(on).await;
        let url = stage.database.url.clone();
        stage.serve(&url).await;
        stage.begin(|_| true).await;
        stage
    }

    /// A replica that is not started.
    pub(crate) fn replica(&self, url: &str) -> Replica {
        Replica::new(url, &self.master_key())
    }

    /// Starts the replicas, which find the database at this URL.
    pub(crate) async fn serve(&mut self, url: &str) {
        for _ in 0..self.on.replicas {
            let mut replica = self.replica(url);
            replica
                .start()
                .await
                .unwrap_or_else(|log| panic!("it does not start: {}", log.trim_end()));
            self.replicas.push(replica);
        }
    }

    /// Sets the clients of these sessions to work, and waits until each was answered.
    pub(crate) async fn begin(&mut self, with: impl Fn(&Session) -> bool) {
        self.begin_anyhow(with);
        let all_served = self.load().goes_on(Duration::from_mins(1)).await;
        assert!(all_served, "a client was not served before the fault began");
    }

    /// The same, without waiting.
    pub(crate) fn begin_anyhow(&mut self, with: impl Fn(&Session) -> bool) {
        let sessions: Vec<Session> =
            self.template.sessions.iter().filter(|session| with(session)).cloned().collect();
        self.load = Some(Load::start(self.addresses(), &sessions, &self.template.fixtures));
    }

    /// Where the replicas are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.address).collect()
    }

    pub(crate) fn master_key(&self) -> String {
        self.template.fixtures.master_key.display().to_string()
    }

    pub(crate) fn secret(&self, client_id: &str) -> &'static str {
        self.template.fixtures.secret(client_id)
    }

    pub(crate) fn load(&self) -> &Load {
        self.load.as_ref().expect("clients are at work")
    }

    /// Does something with the PostgreSQL server that takes a while.
    pub(crate) async fn with_server<T: Send + 'static>(
        &self,
        act: impl FnOnce(&PostgresServer) -> T + Send + 'static,
    ) -> T {
        let server = Arc::clone(self.server.as_ref().expect("PostgreSQL"));
        spawn_blocking(move || act(&server)).await.expect("no panic")
    }

    /// Where the PostgreSQL server listens.
    pub(crate) fn server_address(&self) -> SocketAddr {
        let server = self.server.as_ref().expect("PostgreSQL");
        server.address().parse().expect("an address of IPv4")
    }

    /// A connection of an administrator to the PostgreSQL server.
    pub(crate) async fn administrator(&self) -> tokio_postgres::Client {
        connect(&self.database.url).await.expect("the server answers")
    }

    /// Notes something that must not be, beside what clients are answered.
    pub(crate) fn reproach(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Watches the clients after the fault has ended, and sums up. `ended` is the moment from which on
    /// right answers were possible again.
    pub(crate) async fn conclude(mut self, ended: Instant, target: Duration) -> Outcome {
        let load = self.load.take().expect("clients are at work");
        load.work();
        let longest = OBSERVED_MIN.max(target * TARGETS_MAX + QUIET);
        let recovery = loop {
            sleep(Duration::from_millis(200)).await;
            let recovery = load.ledger.recovery_since(ended);
            let observed = ended.elapsed();
            if observed > longest {
                break recovery;
            }
            let is_quiet = observed > OBSERVED_MIN && observed > recovery + QUIET;
            // It may be quiet because all of them wait.
            if is_quiet && load.goes_on(longest.saturating_sub(observed)).await {
                let then = load.ledger.recovery_since(ended);
                if then == recovery {
                    break recovery;
                }
            }
        };
        if recovery > target * TARGETS_MAX {
            self.reproach("not recovered");
        }
        let ledger = Arc::clone(&load.ledger);
        let unanswered = load.finish().await;
        if unanswered > 0 {
            self.reproach(format!("{unanswered} clients without an answer in the end"));
        }
        let logs: Vec<String> = self.replicas.iter().map(Replica::log).collect();
        let is_reuse = |line: &&str| line.contains(r#""event":"refresh_token_reused""#);
        let reused = logs.iter().flat_map(|log| log.lines()).filter(is_reuse).count();
        if reused > 0 {
            self.reproach(format!("{reused} × `refresh_token_reused`"));
        }
        let most = POOL * self.processes;
        let connections = self.connections.as_ref().map(Connections::most);
        if connections.is_some_and(|counted| counted > most) {
            self.reproach(format!("more than {most} connections"));
        }
        Outcome {
            counts: ledger.counts(),
            wrong: self.wrong,
            recovery,
            target,
            connections,
            examples: ledger.examples(),
            logs,
        }
    }

    /// A file in the folder of this stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.database.folder.join(name)
    }
}

async fn connect(url: &str) -> Option<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// Counts the connections that Jeton has to a PostgreSQL server, from the server's side: one that was
/// given up and still holds a lock there counts.
struct Connections {
    most: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Connections {
    fn count(url: &str) -> Self {
        const COUNT: &str =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jeton'";
        let most = Arc::new(AtomicUsize::new(0));
        let (counted, url) = (Arc::clone(&most), url.to_owned());
        let task = tokio::spawn(async move {
            loop {
                if let Some(client) = connect(&url).await {
                    while let Ok(row) = client.query_one(COUNT, &[]).await {
                        let count = usize::try_from(row.get::<_, i64>(0)).unwrap_or_default();
                        counted.fetch_max(count, Ordering::SeqCst);
                        sleep(SAMPLING).await;
                    }
                }
                sleep(SAMPLING).await;
            }
        });
        Self { most, task: task.abort_handle() }
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.task.abort();
    }
}
