//! One replica: the real executable at default settings, under an address that it keeps.

use std::net::{SocketAddr, TcpListener};

use tokio::task::spawn_blocking;

use crate::harness::Executable;

/// How often a start is tried when another process took the port meanwhile.
const ATTEMPTS_MAX: usize = 5;

/// `jeton serve`, which may be stopped and started again.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    /// The command that becomes it, such as `env NAME=VALUE`.
    by: Vec<String>,
    pub(crate) arguments: Vec<String>,
    process: Option<Executable>,
    /// What was logged by the processes that have ended.
    log: String,
}

/// A port that is free now, below those that the system gives to whoever connects.
pub(crate) fn choose_port() -> SocketAddr {
    loop {
        let port = rand::random_range(10_000..20_000);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn texts(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

impl Replica {
    /// A replica on this database that is not started yet.
    pub(crate) fn new(database: &str, master_key: &str) -> Self {
        let arguments = [
            ["--database", database],
            ["--master-key-file", master_key],
            ["--issuer", "http://localhost"],
        ];
        let arguments = arguments.concat().into_iter().map(str::to_owned).collect();
        let log = String::new();
        Self { address: choose_port(), by: Vec::new(), arguments, process: None, log }
    }

    /// Has it started by a command that becomes it from now on.
    pub(crate) fn start_by<By: IntoIterator<Item: Into<String>>>(&mut self, by: By) {
        self.by = by.into_iter().map(Into::into).collect();
    }

    /// Starts it; what it logged if it does not serve within half a minute.
    pub(crate) async fn start(&mut self) -> Result<(), String> {
        for attempt in 1.. {
            let (by, mut arguments) = (self.by.clone(), self.arguments.clone());
            arguments.extend(["--listen".to_owned(), self.address.to_string()]);
            let starting =
                spawn_blocking(move || Executable::try_serve_by(&texts(&by), &texts(&arguments)));
            match starting.await.expect("no panic") {
                Ok(process) => {
                    self.process = Some(process);
                    return Ok(());
                }
                Err(log) if log.contains("in use") && attempt < ATTEMPTS_MAX => {
                    if self.log.is_empty() {
                        self.address = choose_port();
                    }
                }
                Err(log) => return Err(log),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Sends a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().expect("it runs").signal(name);
    }

    /// Ends it at once by `kill -9`, and keeps what it logged.
    pub(crate) async fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal("KILL");
        let log = spawn_blocking(move || {
            process.wait();
            process.log_to_its_end()
        });
        self.log += &log.await.expect("no panic");
    }

    /// The process while it runs.
    pub(crate) fn process(&self) -> &Executable {
        self.process.as_ref().expect("it runs")
    }

    /// What all its processes logged so far.
    pub(crate) fn log(&self) -> String {
        let of_process = self.process.as_ref().map(Executable::log).unwrap_or_default();
        format!("{}{of_process}", self.log)
    }
}
