//! The release build of the service as a process of its own, as it is operated.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jeton_crypto::password::{HashingMemory, NewHash, make_together};
use jeton_oauth::{ScryptCost, Secret};
use serde_json::Value;

use super::{bare, load};

const USERNAME: &str = "johndoe";
const PASSWORD: &str = "tuesday fern lamp";
pub(crate) const AUDIENCE: &str = "https://api.example";

/// Whose password hash other users may be given.
pub(crate) const PASSWORD_HASH_OF: &str = USERNAME;

/// What the service stores in.
#[derive(Clone, Copy)]
pub(crate) enum Engine {
    Sqlite,
    /// With this value of `statements` in the URL.
    Postgres(&'static str),
}

impl Engine {
    pub(crate) const ALL: [Self; 3] =
        [Self::Sqlite, Self::Postgres("unnamed"), Self::Postgres("prepared")];

    /// Whether `JETON_BENCH_ENGINE` names it, or none.
    pub(crate) fn is_wanted(self) -> bool {
        let own = match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(statements) => statements,
        };
        std::env::var("JETON_BENCH_ENGINE").map_or(true, |named| named == own)
    }

    /// The name of the program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite => write!(formatter, "SQLite"),
            Self::Postgres(statements) => write!(formatter, "PostgreSQL, statements={statements}"),
        }
    }
}

/// The URL of the PostgreSQL that is to be measured, if there is one.
fn postgres_url() -> Option<String> {
    std::env::var("JETON_TEST_POSTGRES").ok()
}

/// A connection to a database of PostgreSQL.
pub(crate) async fn connect(database: &str) -> tokio_postgres::Client {
    let url = database.split('?').next().unwrap_or_default();
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the server");
    tokio::spawn(connection);
    client
}

/// What the PostgreSQL that is measured promises of a commit.
pub(crate) async fn postgres_durability() -> Option<String> {
    let server = connect(&postgres_url()?).await;
    let mut settings = Vec::new();
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        let row = server.query_one(&format!("SHOW {name}"), &[]).await.expect("a setting");
        settings.push(format!("{name}={}", row.get::<_, String>(0)));
    }
    Some(settings.join(" "))
}

/// A folder and an empty database, both gone when this is.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) database: String,
    postgres_name: Option<String>,
}

impl Place {
    fn on_sqlite() -> Self {
        let folder = new_folder(&std::env::temp_dir());
        let database = format!("sqlite:{}", folder.join("jeton.db").display());
        Self { folder, database, postgres_name: None }
    }

    /// PostgreSQL is the server that `JETON_TEST_POSTGRES` names, if it names one.
    pub(crate) async fn new(engine: Engine) -> Option<Self> {
        let Engine::Postgres(statements) = engine else { return Some(Self::on_sqlite()) };
        let server = postgres_url()?;
        let folder = new_folder(&std::env::temp_dir());
        let name = folder.file_name().and_then(|name| name.to_str()).expect("plain names");
        let name = name.replace('-', "_");
        let create = format!("CREATE DATABASE {name}");
        connect(&server).await.batch_execute(&create).await.expect("a database");
        let (before, _) = server.rsplit_once('/').expect("a URL that names a database");
        let database = format!("{before}/{name}?statements={statements}");
        Some(Self { folder, database, postgres_name: Some(name) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
        if let Some(name) = self.postgres_name.take() {
            drop_database(name);
        }
    }
}

/// A running service with a user, a client and a resource server.
pub(crate) struct Jeton {
    process: Child,
    /// The services of one database share it.
    place: Arc<Place>,
    pub(crate) database: String,
    secrets: [String; 2],
    pub(crate) public: SocketAddr,
    management: SocketAddr,
    pub(crate) hashing_threads: usize,
    /// How many hashes each of them computes at once.
    pub(crate) hashing_lanes: usize,
    pub(crate) hashing_memory_mib: u64,
    /// From the start of the process to its first answer, and until it is ready.
    pub(crate) first_answer: Duration,
    pub(crate) first_ready: Duration,
    /// How long its main thread ran until the first answer, whatever else the machine did meanwhile.
    pub(crate) main_thread: Duration,
}

impl Drop for Jeton {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Drops a database of PostgreSQL, so that a million rows do not stay behind.
fn drop_database(name: String) {
    let drop_it = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a thread").block_on(async {
            let server = connect(&postgres_url().expect("it was there")).await;
            server.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.ok();
        });
    };
    std::thread::spawn(drop_it).join().ok();
}

fn jeton(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs a command and returns its JSON.
pub(crate) fn run(arguments: &[&str], input: &str) -> Value {
    let mut child = jeton(arguments).spawn().expect("the executable");
    let mut stdin = child.stdin.take().expect("it was piped");
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a command took that ran to its end.
pub(crate) struct Taken {
    pub(crate) time: Duration,
    /// The most memory that it had.
    pub(crate) peak_mib: f64,
    /// What it printed.
    pub(crate) said: Value,
}

/// Runs a command that needs no input and prints little, and watches it.
pub(crate) async fn watch(arguments: &[&str]) -> Taken {
    let started = Instant::now();
    let mut child = jeton(arguments).spawn().expect("the executable");
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let mut peak_kib = 0;
    let ended = loop {
        // The most so far, so that only what comes after the last look can be missed.
        peak_kib = peak_kib.max(resident_kib(child.id(), "VmHWM"));
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        looks.tick().await;
    };
    let time = started.elapsed();
    assert!(ended.success(), "{arguments:?}");
    let said = serde_json::from_reader(child.stdout.take().expect("it was piped"));
    Taken { time, peak_mib: peak_kib as f64 / 1_024.0, said: said.expect("JSON") }
}

fn master_key_file(folder: &Path) -> String {
    folder.join("master.jwk").display().to_string()
}

/// A new folder for one service: a database that is closed late takes no file of the next with it.
pub(crate) fn new_folder(parent: &Path) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = parent.join(format!("jeton-bench-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl Jeton {
    pub(crate) fn start_sqlite() -> Self {
        Self::start(Place::on_sqlite())
    }

    /// PostgreSQL is the server that `JETON_TEST_POSTGRES` names, if it names one.
    pub(crate) async fn start_on(engine: Engine) -> Option<Self> {
        Place::new(engine).await.map(Self::start)
    }

    fn start(place: Place) -> Self {
        let at = ["--database", &place.database, "--json"];
        let user = ["user", "add", USERNAME, "--password-stdin"];
        run(&[&user[..], &at].concat(), PASSWORD);
        let web = ["client", "add", "web", "--grant", "password", "--grant", "refresh_token"];
        let further = ["--scope", "read", "--default-scope", "read", "--audience", AUDIENCE];
        let api = ["client", "add", "api", "--introspects", AUDIENCE];
        let secret = |arguments: &[&str]| {
            run(arguments, "")["client_secret"].as_str().expect("a secret").to_owned()
        };
        let secrets =
            [secret(&[&web[..], &further, &at].concat()), secret(&[&api[..], &at].concat())];
        Self::serve(Arc::new(place), secrets, jeton(&[]))
    }

    /// One more replica on the same database, on this core alone if one is named.
    pub(crate) fn replica(&self, core: Option<usize>) -> Self {
        let mut program = jeton(&[]);
        if let Some(core) = core {
            let bound = ["-c", &core.to_string(), env!("CARGO_BIN_EXE_jeton")].map(str::to_owned);
            program = Command::new("taskset");
            program.args(bound).stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        program.env("JETON_ISSUER", format!("http://{}", self.public));
        Self::serve(Arc::clone(&self.place), self.secrets.clone(), program)
    }

    /// Has the program serve.
    fn serve(place: Arc<Place>, secrets: [String; 2], mut program: Command) -> Self {
        let started = Instant::now();
        let master_key = master_key_file(&place.folder);
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let rest = ["--database", &place.database, "--master-key-file", &master_key];
        // The audit log of a service is on; where it goes costs what it costs there.
        let arguments = [&["serve", "--log-format", "json"][..], &free, &rest].concat();
        let program = program.args(arguments).stderr(Stdio::piped());
        let mut process = program.spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it was piped")).lines();
        let entry = loop {
            let line = lines.next().expect("it serves").expect("text");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "serving" {
                break entry;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| -> SocketAddr {
            entry[name].as_str().and_then(|text| text.parse().ok()).expect("an address")
        };
        let public = address("public");
        while !answers_200(public, "/.well-known/jwks.json") {}
        let first_answer = started.elapsed();
        let main_thread = main_thread_time(process.id());
        let management = address("management");
        while !answers_200(management, "/readyz") {}
        let number = |name: &str| entry[name].as_u64().expect("a number");
        Self {
            first_answer,
            first_ready: started.elapsed(),
            main_thread,
            process,
            database: place.database.clone(),
            place,
            secrets,
            public,
            management,
            hashing_threads: number("hashing_threads") as usize,
            hashing_lanes: number("hashing_lanes") as usize,
            hashing_memory_mib: number("hashing_memory_mib"),
        }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) fn restart(mut self) -> Self {
        self.process.kill().ok();
        self.process.wait().ok();
        Self::serve(Arc::clone(&self.place), self.secrets.clone(), jeton(&[]))
    }

    /// Runs a command on the same database, as an administrator would, and returns what it says last.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let mut command = jeton(&[arguments, &["--database", &self.database]].concat());
        let ended = tokio::task::spawn_blocking(move || command.output().expect("it ends"));
        let output = ended.await.expect("no panic");
        assert!(output.status.success(), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().last().unwrap_or_default().to_owned()
    }

    /// Where it has its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// How many logins are hashed at once.
    pub(crate) fn logins_at_once(&self) -> usize {
        self.hashing_threads * self.hashing_lanes
    }

    /// Has so many users imported, each with a hash of its own of [`PASSWORD`]; returns the login of each.
    pub(crate) fn import_users(&self, users: usize) -> Vec<Vec<u8>> {
        let path = self.place.folder.join("users.csv");
        let names: Vec<_> = (0..users).map(|number| format!("imported{number}")).collect();
        let mut text = "username,password_hash\n".to_owned();
        for (name, hash) in names.iter().zip(hashes(users)) {
            text.extend([name.as_str(), ",\"", &hash, "\"\n"]);
        }
        std::fs::write(&path, text).expect("space");
        let path = path.display().to_string();
        run(&["user", "import", &path, "--database", &self.database, "--json"], "");
        names.iter().map(|name| self.login_request_of(name)).collect()
    }

    pub(crate) fn login_request(&self) -> Vec<u8> {
        self.login_request_of(USERNAME)
    }

    pub(crate) fn login_request_of(&self, username: &str) -> Vec<u8> {
        let password = PASSWORD.replace(' ', "+");
        let form = format!("grant_type=password&username={username}&password={password}");
        load::post(self.public, "/token", ("web", &self.secrets[0]), &form)
    }

    pub(crate) fn refresh_request(&self, token: &str) -> Vec<u8> {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        load::post(self.public, "/token", ("web", &self.secrets[0]), &form)
    }

    pub(crate) fn introspection_request(&self, token: &str) -> Vec<u8> {
        let form = format!("token={token}");
        load::post(self.public, "/introspect", ("api", &self.secrets[1]), &form)
    }

    pub(crate) fn guess_request(&self, username: &str) -> Vec<u8> {
        let form = format!("grant_type=password&username={username}&password=tuesday+fern+lamb");
        load::post(self.public, "/token", ("web", &self.secrets[0]), &form)
    }

    pub(crate) fn revocation_request(&self, token: &str) -> Vec<u8> {
        load::post(self.public, "/revoke", ("web", &self.secrets[0]), &format!("token={token}"))
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let statement = format!("SELECT COUNT(*) FROM {table}");
        if let Some(path) = self.database.strip_prefix("sqlite:") {
            let connection = rusqlite::Connection::open(path).expect("the database");
            return connection.query_row(&statement, [], |row| row.get(0)).expect("a number");
        }
        let row = connect(&self.database).await.query_one(&statement, &[]).await.expect("a number");
        row.get(0)
    }

    /// How many files the service has open, connections among them.
    pub(crate) fn open_files(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        files.map_or(0, Iterator::count)
    }

    /// The name of the refresh key, and the key as it is stored.
    pub(crate) async fn sealed_refresh_key(&self) -> (String, String) {
        let statement = "SELECT kid, sealed_key FROM keys WHERE purpose = 'refresh'";
        if let Some(path) = self.database.strip_prefix("sqlite:") {
            let connection = rusqlite::Connection::open(path).expect("the database");
            let read = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?));
            return connection.query_row(statement, [], read).expect("a key");
        }
        let row = connect(&self.database).await.query_one(statement, &[]).await.expect("a key");
        (row.get(0), row.get(1))
    }

    pub(crate) fn master_key_file(&self) -> String {
        master_key_file(&self.place.folder)
    }

    /// What the service counts under this name.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let request = load::get(self.management, "/metrics");
        let page = load::fetch(self.management, &request).await;
        let page = String::from_utf8(page).expect("text");
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)).expect("a metric");
        value.trim().parse().expect("a number")
    }

    /// How long its threads have run, all together.
    pub(crate) fn processor_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.id());
        let status = std::fs::read_to_string(path).expect("Linux");
        // In ticks, of which there are a hundred a second: what follows the name in parentheses is its
        // 3rd field, and the times in user and kernel mode are the 14th and the 15th.
        let (_, fields) = status.rsplit_once(')').expect("a name in parentheses");
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Its memory in MiB, where what several processes share is split among them (PSS): its own, and what is
    /// mapped from files, the program and its libraries above all.
    pub(crate) fn proportional_mib(&self) -> [f64; 2] {
        let path = format!("/proc/{}/smaps_rollup", self.process.id());
        let lines = std::fs::read_to_string(path).expect("Linux 5.4 or later, and the same user");
        ["Pss_Anon:", "Pss_File:"].map(|name| {
            let line = lines.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a number");
            kib.parse::<f64>().expect("a number") / 1_024.0
        })
    }

    /// A line of the process's status, in MiB.
    pub(crate) fn resident_mib(&self, name: &str) -> u64 {
        resident_kib(self.process.id(), name) / 1_024
    }
}

/// Whether a path is answered with 200.
fn answers_200(address: SocketAddr, path: &str) -> bool {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.write_all(&load::get(address, path)).expect("it reads");
    let mut status_line = String::new();
    BufReader::new(stream).read_line(&mut status_line).expect("it answers");
    status_line.starts_with("HTTP/1.1 200 ")
}

/// How long the main thread of a process has run.
fn main_thread_time(process: u32) -> Duration {
    let times = std::fs::read_to_string(format!("/proc/{process}/task/{process}/schedstat"));
    let times = times.expect("Linux");
    let nanoseconds = times.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// A line of the status of a process, in KiB; 0 if there is none.
fn resident_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

/// So many hashes of [`PASSWORD`] at the usual cost, each with a salt of its own.
fn hashes(count: usize) -> Vec<String> {
    const AT_ONCE: usize = 4;
    let cost = ScryptCost::RECOMMENDED;
    let share = count.div_ceil(bare::cores()).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .step_by(share)
            .map(|from| {
                let count = share.min(count - from);
                scope.spawn(move || {
                    let memory = HashingMemory::reserve(AT_ONCE as u64 * cost.memory());
                    let password = Secret::new(PASSWORD.to_owned());
                    let new: Vec<_> = (0..count).map(|_| NewHash::of(&password)).collect();
                    make_together(&new, cost, &mut memory.expect("the memory of the hashes"))
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}
