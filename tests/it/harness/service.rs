//! The service in the test's own process, with a clock that the test moves.

use std::net::SocketAddr;

use clap::Parser;
use jeton::cli::serve::Service;
use jeton::config::ServeSettings;
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use serde_json::Value;

use super::audit_events;
use super::chaos_proxy::Outage;
use super::client::{Request, percent_encode};
use super::database::{Database, Engine, Fixtures, PASSWORD, SCRYPT};
use super::{Reply, run, run_with_input};

/// A service on a database of its own.
pub(crate) struct Jeton {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    pub(crate) fixtures: &'static Fixtures,
    pub(crate) database: Database,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: ServeSettings,
}

/// The settings that these arguments make, on free ports, with cheap hashes and patience.
pub(crate) fn settings(arguments: &[&str]) -> ServeSettings {
    let usual = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let patient = ["--login-deadline", "1m", "--scrypt", SCRYPT];
    let mut all = vec!["jeton"];
    for pair in usual.chunks(2).chain(patient.chunks(2)) {
        if !arguments.contains(&pair[0]) {
            all.extend(pair);
        }
    }
    all.extend(arguments);
    Arguments::try_parse_from(all).expect("valid settings").settings
}

/// The present, to set a clock to.
pub(crate) fn clock() -> Clock {
    Clock::settable(Timestamp(Clock::System.now().0))
}

impl Jeton {
    /// Starts a service on a copy of the template.
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// Starts a service on a database with tables and nothing in them.
    pub(crate) async fn start_bare(engine: Engine) -> Self {
        let (database, fixtures) = Database::bare(engine).await;
        let clock = clock();
        let service = start(&database.url, fixtures, clock.clone(), &[]).await;
        Self { service, clock, fixtures, database }
    }

    /// Starts a service with this behind the URL of its database.
    pub(crate) async fn start_on(engine: Engine, options: &str) -> Self {
        let (mut database, fixtures) = Database::filled(engine).await;
        database.url += options;
        let clock = clock();
        let service = start(&database.url, fixtures, clock.clone(), &[]).await;
        Self { service, clock, fixtures, database }
    }

    /// Starts a service with further settings.
    pub(crate) async fn start_with(engine: Engine, arguments: &[&str]) -> Self {
        let (database, fixtures) = Database::filled(engine).await;
        let clock = clock();
        let service = start(&database.url, fixtures, clock.clone(), arguments).await;
        Self { service, clock, fixtures, database }
    }

    /// Starts a service that reaches its database by another URL.
    pub(crate) async fn start_at(
        url: &str,
        database: Database,
        fixtures: &'static Fixtures,
    ) -> Self {
        let clock = clock();
        let service = start(url, fixtures, clock.clone(), &[]).await;
        Self { service, clock, fixtures, database }
    }

    /// Starts a service whose database can be cut off.
    pub(crate) async fn start_before_outage(engine: Engine) -> (Self, Outage) {
        Self::start_before_outage_with(engine, &[]).await
    }

    /// Starts a service with further settings whose database can be cut off.
    pub(crate) async fn start_before_outage_with(
        engine: Engine,
        arguments: &[&str],
    ) -> (Self, Outage) {
        let (database, fixtures) = Database::filled(engine).await;
        let (url, outage) = Outage::before(&database).await;
        let clock = clock();
        let service = start(&url, fixtures, clock.clone(), arguments).await;
        (Self { service, clock, fixtures, database }, outage)
    }

    /// Starts one more replica on the same database and clock, with the same issuer.
    pub(crate) async fn replica(&self) -> Service {
        self.replica_with(&[]).await
    }

    /// Starts one more replica with further settings.
    pub(crate) async fn replica_with(&self, arguments: &[&str]) -> Service {
        let all = [&["--issuer", self.service.issuer.as_str()], arguments].concat();
        start(&self.database.url, self.fixtures, self.clock.clone(), &all).await
    }

    /// Starts one more replica that reaches the database by another URL.
    pub(crate) async fn replica_at(&self, url: &str) -> Service {
        let issuer = ["--issuer", self.service.issuer.as_str()];
        start(url, self.fixtures, self.clock.clone(), &issuer).await
    }

    /// A request to the public listener.
    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request::new(self.service.public, method, target)
    }

    /// A request to the management listener.
    pub(crate) fn manage(&self, target: &str) -> Request {
        Request::new(self.service.management, "GET", target)
    }

    /// A form posted without client credentials.
    pub(crate) fn post(&self, target: &str, form: &str) -> Request {
        self.request("POST", target).form(form)
    }

    /// A form posted with the Basic credentials of a client, or with its name if it has no secret.
    pub(crate) fn post_as(&self, client_id: &str, target: &str, form: &str) -> Request {
        match self.fixtures.find_secret(client_id) {
            Some(secret) => self.post(target, form).basic(client_id, secret),
            None => self.post(target, &format!("{form}&client_id={client_id}")),
        }
    }

    /// A token request of `web`.
    pub(crate) async fn token(&self, form: &str) -> Reply {
        self.post_as("web", "/token", form).send().await
    }

    /// Logs alice in through a client, with further parameters such as `&scope=read`.
    pub(crate) async fn login_through(&self, client_id: &str, further: &str) -> Reply {
        let form = login_form("alice", PASSWORD) + further;
        self.post_as(client_id, "/token", &form).send().await
    }

    /// Logs alice in through `web` and returns the access token.
    pub(crate) async fn access_token(&self) -> String {
        self.login_through("web", "").await.access_token()
    }

    /// Introspects a token as a resource server, and returns the answer's JSON.
    pub(crate) async fn introspect_as(&self, client_id: &str, token: &str) -> Value {
        let form = format!("token={}", percent_encode(token));
        let reply = self.post_as(client_id, "/introspect", &form).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// Whether `rs1` sees the token as active.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.introspect_as("rs1", token).await["active"] == true
    }

    /// How many passwords the service has hashed so far, right ones and wrong ones.
    pub(crate) async fn passwords_verified(&self) -> u64 {
        self.metric("jeton_hashing_verified_total").await
    }

    /// Forgets every failure that was counted, for a test that tries more than anyone may.
    pub(crate) async fn forget_failures(&self) {
        self.database.query("DELETE FROM login_throttle").await;
    }

    /// Adds a user through the command line.
    pub(crate) async fn add_user(&self, name: &str, password: &str) {
        self.run(&["user", "add", name, "--password-stdin", "--scrypt", SCRYPT], password).await;
    }

    /// Runs a command of the real executable on the service's database, with this on its standard
    /// input; it must succeed. Returns what it printed.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        all.extend(["--database".to_owned(), self.database.url.clone()]);
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let output = run_with_input(&all, &input);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("UTF-8")
        });
        run.await.expect("a command that succeeds")
    }

    /// Runs a command of the real executable on the service's database; it must succeed.
    pub(crate) async fn command(&self, arguments: &str) {
        let url = self.database.url.clone();
        let arguments = arguments.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let mut all: Vec<&str> = arguments.split_whitespace().collect();
            all.extend(["--database", &url]);
            let output = run(&all);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        });
        run.await.expect("a command that succeeds");
    }

    /// Adds a user with this password, hashed at the cost of the tests; whether it was added.
    pub(crate) async fn try_add_user(&self, name: &str, password: &str, options: &[&str]) -> bool {
        let mut all = vec!["user", "add", name, "--password-stdin", "--scrypt", SCRYPT];
        all.extend(options);
        self.try_command(&all, &format!("{password}\n")).await
    }

    /// Sets another password of a user; whether it was set.
    pub(crate) async fn try_change_password(&self, name: &str, password: &str) -> bool {
        let all = ["user", "passwd", name, "--password-stdin", "--scrypt", SCRYPT];
        self.try_command(&all, &format!("{password}\n")).await
    }

    /// Adds a public client for the password grant at api1; whether it was added.
    pub(crate) async fn try_add_client(&self, id: &str, options: &[&str]) -> bool {
        let mut all = vec!["client", "add", id, "--public", "--grant", "password"];
        all.extend(["--audience", "https://api1.example"]);
        all.extend(options);
        self.try_command(&all, "").await
    }

    /// Runs a command with this on its standard input; whether it succeeded.
    async fn try_command(&self, arguments: &[&str], input: &str) -> bool {
        let mut all: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        all.extend(["--database".to_owned(), self.database.url.clone()]);
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            run_with_input(&all, &input).status.success()
        });
        run.await.expect("the command ends")
    }

    /// The value of a metric, with its labels or of all together.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        self.manage("/metrics").send().await.metric(name)
    }
}

async fn start(url: &str, fixtures: &Fixtures, clock: Clock, arguments: &[&str]) -> Service {
    audit_events::watch_this_process();
    let master_key = fixtures.master_key.display().to_string();
    let mut all = vec!["--database", url];
    if !arguments.contains(&"--master-key-file") {
        all.extend(["--master-key-file", &master_key]);
    }
    all.extend(arguments);
    Service::start(settings(&all), clock).await.expect("the service starts")
}

/// What `/readyz` of a management listener answers once the database takes writes, which may take a while on a busy
/// machine.
pub(crate) async fn readiness(management: SocketAddr) -> (u16, Value) {
    loop {
        let reply = Request::new(management, "GET", "/readyz").send().await;
        let answer = reply.json();
        if answer["database"] == "takes writes" {
            return (reply.status, answer);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The form of a password request.
pub(crate) fn login_form(username: &str, password: &str) -> String {
    let (username, password) = (percent_encode(username), percent_encode(password));
    format!("grant_type=password&username={username}&password={password}")
}
