//! The processes of a run, and the faults that they suffer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::harness::chance::choose_port;
use crate::harness::chaos_proxy::Outage;
use crate::harness::database::SCRYPT;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::{Database, Engine, Executable};
use crate::real::{Replicas, add_client};

/// More sessions than a run opens: what has no answer stays behind, and must not end the others.
const SESSIONS_MAX: [&str; 2] = ["--sessions-per-user-and-client", "10000"];
/// The longest pause of a replica, and of the database, in milliseconds.
const REPLICA_PAUSE_MAX: u64 = 15_000;
const DATABASE_PAUSE_MAX: u64 = 10_000;

/// A thing that happens to the service. Pauses and cuts last so many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// `kill -9`, and a new start.
    KillReplica(usize),
    /// SIGSTOP, and SIGCONT.
    PauseReplica(usize, u64),
    /// `kill -9` of all processes, and a new start.
    KillDatabase,
    /// SIGSTOP of all processes, and SIGCONT.
    PauseDatabase(u64),
    /// The connections of one replica to the database are closed, and none is made.
    Cut(usize, u64),
}

/// A replica: where its database is for it, and the process.
struct Replica {
    arguments: Vec<String>,
    outage: Outage,
    /// `None` while it is started again.
    process: Option<Executable>,
}

/// All that runs.
pub(crate) struct World {
    /// Dropped before the database that they use.
    processes: Vec<Replica>,
    /// What the clients know of them.
    pub(crate) replicas: Arc<Replicas>,
    /// What was logged by processes that have ended.
    logs: String,
    server: Option<Arc<PostgresServer>>,
    _database: Database,
}

impl World {
    /// Starts replicas on a database of their own: one on SQLite, two on PostgreSQL, which writes through
    /// to the disk.
    pub(crate) async fn start(engine: Engine, random: &mut StdRng) -> Self {
        let (server, database, master_key) = match engine {
            Engine::Sqlite => {
                let (database, fixtures) = Database::filled(engine).await;
                (None, database, fixtures.master_key.clone())
            }
            Engine::Postgres => {
                let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
                let (database, fixtures) = Database::fill(&server.url).await;
                (Some(Arc::new(server)), database, fixtures.master_key)
            }
        };
        let secret = add_client(&database.url);
        let mut processes = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..if server.is_some() { 2 } else { 1 } {
            let (url, outage) = Outage::before(&database).await;
            let address = choose_port(random);
            addresses.push(address);
            let (listen, master_key) = (address.to_string(), master_key.display().to_string());
            let own = ["--database", &url, "--listen", &listen, "--master-key-file", &master_key];
            let all = ["--issuer", "http://localhost", "--scrypt", SCRYPT];
            let arguments = [&own[..], &all, &SESSIONS_MAX].concat();
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            let process = Some(serve(arguments.clone()).await);
            processes.push(Replica { arguments, outage, process });
        }
        let replicas = Arc::new(Replicas::new(addresses, secret));
        Self { processes, replicas, logs: String::new(), server, _database: database }
    }

    /// Chooses what happens next.
    pub(crate) fn choose(&self, random: &mut StdRng) -> Fault {
        let replica = random.random_range(0..self.processes.len());
        // More short ones than long ones.
        let mut pause = |max: u64| {
            let longest = random.random_range(1_000..=max);
            random.random_range(1_000..=longest)
        };
        let (of_replica, of_database) = (pause(REPLICA_PAUSE_MAX), pause(DATABASE_PAUSE_MAX));
        match random.random_range(0..100) {
            ..30 => Fault::PauseReplica(replica, of_replica),
            ..60 if self.server.is_none() => Fault::PauseReplica(replica, of_replica),
            30..60 => Fault::PauseDatabase(of_database),
            60..75 if self.server.is_some() => Fault::KillDatabase,
            75..90 if self.server.is_some() => Fault::Cut(replica, of_database),
            _ => Fault::KillReplica(replica),
        }
    }

    /// Has it happen, until it is over.
    pub(crate) async fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::KillReplica(index) => {
                self.kill(index, "KILL").await;
                let arguments = self.processes[index].arguments.clone();
                self.processes[index].process = Some(serve(arguments).await);
            }
            Fault::PauseReplica(index, milliseconds) => {
                let process = self.processes[index].process.as_ref().expect("it runs");
                self.replicas.begin_standstill(index);
                process.signal("STOP");
                sleep(Duration::from_millis(milliseconds)).await;
                process.signal("CONT");
                self.replicas.end_standstill(index);
            }
            Fault::KillDatabase => {
                self.at_server(|server| {
                    server.kill();
                    server.restart();
                })
                .await;
            }
            Fault::PauseDatabase(milliseconds) => {
                self.at_server(PostgresServer::freeze).await;
                sleep(Duration::from_millis(milliseconds)).await;
                self.at_server(PostgresServer::thaw).await;
            }
            Fault::Cut(index, milliseconds) => {
                self.processes[index].outage.begin();
                sleep(Duration::from_millis(milliseconds)).await;
                self.processes[index].outage.end();
            }
        }
    }

    /// Ends all replicas, and returns everything that they logged.
    pub(crate) async fn stop(mut self) -> String {
        for index in 0..self.processes.len() {
            self.kill(index, "TERM").await;
        }
        self.logs
    }

    async fn kill(&mut self, index: usize, signal: &'static str) {
        let mut process = self.processes[index].process.take().expect("it runs");
        let log = spawn_blocking(move || {
            process.signal(signal);
            process.wait();
            process.log_to_its_end()
        });
        self.logs += &log.await.expect("it ends");
    }

    async fn at_server(&self, act: impl FnOnce(&PostgresServer) + Send + 'static) {
        let server = Arc::clone(self.server.as_ref().expect("only SQLite has none"));
        spawn_blocking(move || act(&server)).await.expect("the server obeys");
    }
}

/// Starts a replica.
async fn serve(arguments: Vec<String>) -> Executable {
    let serve = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Executable::serve(&arguments)
    };
    spawn_blocking(serve).await.expect("it starts")
}

impl fmt::Display for Fault {
    #[expect(clippy::cast_precision_loss, reason = "a pause is short")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |milliseconds: u64| milliseconds as f64 / 1_000.0;
        match *self {
            Self::KillReplica(index) => write!(f, "kill replica {index}"),
            Self::PauseReplica(index, pause) => {
                write!(f, "pause replica {index} for {:.1} s", seconds(pause))
            }
            Self::KillDatabase => f.write_str("kill the database"),
            Self::PauseDatabase(pause) => {
                write!(f, "pause the database for {:.1} s", seconds(pause))
            }
            Self::Cut(index, cut) => {
                write!(f, "cut replica {index} off the database for {:.1} s", seconds(cut))
            }
        }
    }
}
