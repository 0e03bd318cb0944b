//! The release build of the service as a process of its own, as it is operated.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load;

const USERNAME: &str = "johndoe";
const PASSWORD: &str = "tuesday fern lamp";
const AUDIENCE: &str = "https://api.example";

/// A running service with a user, a client and a resource server.
pub(crate) struct Jeton {
    process: Child,
    folder: PathBuf,
    database: String,
    secrets: [String; 2],
    pub(crate) public: SocketAddr,
    pub(crate) hashing_threads: usize,
    pub(crate) hashing_memory_mib: u64,
    /// From the start of the process to its first answer.
    pub(crate) first_answer: Duration,
}

impl Drop for Jeton {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn jeton(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs a command and returns its JSON.
fn run(arguments: &[&str], input: &str) -> Value {
    let mut child = jeton(arguments).spawn().expect("the executable");
    let mut stdin = child.stdin.take().expect("it was piped");
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A new folder for one service.
fn new_folder() -> PathBuf {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("jeton-bench-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl Jeton {
    pub(crate) fn start_sqlite() -> Self {
        let folder = new_folder();
        let database = format!("sqlite:{}", folder.join("jeton.db").display());
        Self::start(folder, database)
    }

    /// On the server that `JETON_TEST_POSTGRES` names, if it names one.
    pub(crate) async fn start_postgres(statements: &str) -> Option<Self> {
        let server = std::env::var("JETON_TEST_POSTGRES").ok()?;
        let (client, connection) =
            tokio_postgres::connect(&server, tokio_postgres::NoTls).await.expect("the server");
        tokio::spawn(connection);
        let name = format!("jeton_bench_{statements}_{}", std::process::id());
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        let (before, _) = server.rsplit_once('/').expect("a URL that names a database");
        Some(Self::start(new_folder(), format!("{before}/{name}?statements={statements}")))
    }

    fn start(folder: PathBuf, database: String) -> Self {
        let at = ["--database", &database, "--json"];
        let user = ["user", "add", USERNAME, "--password-stdin"];
        run(&[&user[..], &at].concat(), PASSWORD);
        let web = ["client", "add", "web", "--grant", "password", "--scope", "read"];
        let further = ["--default-scope", "read", "--audience", AUDIENCE];
        let api = ["client", "add", "api", "--introspects", AUDIENCE];
        let secret = |arguments: &[&str]| {
            run(arguments, "")["client_secret"].as_str().expect("a secret").to_owned()
        };
        let secrets =
            [secret(&[&web[..], &further, &at].concat()), secret(&[&api[..], &at].concat())];
        Self::serve(folder, database, secrets)
    }

    fn serve(folder: PathBuf, database: String, secrets: [String; 2]) -> Self {
        let started = Instant::now();
        let master_key = folder.join("master.jwk").display().to_string();
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let rest = ["--database", &database, "--master-key-file", &master_key];
        // The audit log of a service is on; where it goes costs what it costs there.
        let arguments = [&["serve", "--log-format", "json"][..], &free, &rest].concat();
        let mut process = jeton(&arguments).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it was piped")).lines();
        let entry = loop {
            let line = lines.next().expect("it serves").expect("text");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "serving" {
                break entry;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let public: SocketAddr =
            entry["public"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let mut stream = std::net::TcpStream::connect(public).expect("it listens");
        stream.write_all(&load::get(public, "/.well-known/jwks.json")).expect("it reads");
        std::io::Read::read(&mut stream, &mut [0; 16]).expect("it answers");
        let number = |name: &str| entry[name].as_u64().expect("a number");
        Self {
            first_answer: started.elapsed(),
            process,
            folder,
            database,
            secrets,
            public,
            hashing_threads: number("hashing_threads") as usize,
            hashing_memory_mib: number("hashing_memory_mib"),
        }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) fn restart(mut self) -> Self {
        self.process.kill().ok();
        self.process.wait().ok();
        let folder = std::mem::take(&mut self.folder);
        Self::serve(folder, self.database.clone(), self.secrets.clone())
    }

    pub(crate) fn login_request(&self) -> Vec<u8> {
        let password = PASSWORD.replace(' ', "+");
        let form = format!("grant_type=password&username={USERNAME}&password={password}");
        load::post(self.public, "/token", ("web", &self.secrets[0]), &form)
    }

    pub(crate) async fn token(&self) -> String {
        let content = load::fetch(self.public, &self.login_request()).await;
        let answer: Value = serde_json::from_slice(&content).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    pub(crate) fn introspection_request(&self, token: &str) -> Vec<u8> {
        let form = format!("token={token}");
        load::post(self.public, "/introspect", ("api", &self.secrets[1]), &form)
    }

    /// A line of the process's status, in MiB.
    pub(crate) fn resident_mib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
    }
}
