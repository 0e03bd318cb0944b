//! PostgreSQL that keeps its callers waiting: on locks, and on a synchronous standby. Neither is there on
//! SQLite, and the settings are those of a whole server, so each test has one of its own.

use std::net::SocketAddr;

use tokio::task::{JoinSet, spawn_blocking};
use tokio_postgres::{Client, NoTls};

use crate::harness::database::PASSWORD;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::service::login_form;
use crate::harness::{Database, Executable, Fixtures, Reply, Request, refresh_form};

/// The most connections of one replica.
const CONNECTIONS_MAX: i64 = 16;
/// More than the connections of all replicas together that change something.
const HOLDERS: usize = 24;
/// So long that every retry of the test falls into the window, and no login waits for too many hashes.
const SETTINGS: [&str; 4] = ["--refresh-retry-window", "10m", "--login-deadline", "1m"];

/// A server with two replicas, and somebody who has it wait.
struct Scene {
    replicas: Vec<Executable>,
    admin: Client,
    fixtures: Fixtures,
    // Ends after the replicas.
    _database: Database,
    _server: PostgresServer,
}

impl Scene {
    async fn start(replicas: usize) -> Self {
        let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
        let (database, fixtures) = Database::fill(&server.url).await;
        let start = |_| Executable::serve_on(&database, &fixtures, &SETTINGS);
        let replicas = (0..replicas).map(start).collect();
        let admin = connect(&server.url).await;
        Self { replicas, admin, fixtures, _database: database, _server: server }
    }

    fn address(&self, number: usize) -> SocketAddr {
        self.replicas[number % self.replicas.len()].public
    }

    fn post(&self, number: usize, client_id: &str, path: &str, form: &str) -> Request {
        let request = Request::new(self.address(number), "POST", path).form(form);
        request.basic(client_id, self.fixtures.secret(client_id))
    }

    fn log_in(&self, number: usize, username: &str) -> Request {
        self.post(number, "web", "/token", &login_form(username, PASSWORD))
    }

    /// Sends a request of each of these again and again until each had an answer twice. Requires that
    /// every answer is 503, and that the server never has more connections than the pools have places.
    async fn refuse_all(&self, requests: &[Request]) {
        let mut tasks = JoinSet::new();
        for request in requests {
            let request = request.clone();
            tasks.spawn(async move { [request.send().await, request.send().await] });
        }
        let most = CONNECTIONS_MAX * i64::try_from(self.replicas.len()).expect("a few");
        loop {
            tokio::select! {
                biased;
                ended = tasks.join_next() => {
                    let Some(answers) = ended else { break };
                    for answer in answers.expect("no panic") {
                        answer.assert_error(503, "temporarily_unavailable");
                    }
                }
                now = self.count("state IS NOT NULL") => assert!(now <= most, "{now} connections"),
            }
        }
    }

    /// How many connections of replicas are so.
    async fn count(&self, condition: &str) -> i64 {
        let statement = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jeton' AND {condition}"
        );
        // A transaction goes on seeing what it saw first.
        self.act("SELECT pg_stat_clear_snapshot()").await;
        self.admin.query_one(&statement, &[]).await.expect("a count").get(0)
    }

    /// Waits until so many connections of replicas are so.
    async fn wait_until(&self, condition: &str, is_met: impl Fn(i64) -> bool) {
        while !is_met(self.count(condition).await) {}
    }

    async fn act(&self, script: &str) {
        self.admin.batch_execute(script).await.expect("a script of the test");
    }

    /// Has every commit from now on wait for this standby.
    async fn wait_for_standby(&self, name: &str) {
        self.act(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await;
        self.act("SELECT pg_reload_conf()").await;
        // A session sees it when it begins its next statement.
        let shown = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'";
        while self.admin.query_one(shown, &[]).await.expect("a setting").get::<_, &str>(0) != name {
        }
    }

    /// Logs in so often, and returns the requests that refresh.
    async fn sessions(&self, number: usize) -> Vec<Request> {
        let mut all = Vec::new();
        for index in 0..number {
            let token = self.log_in(index, "alice").send().await.refresh_token();
            all.push(self.post(index, "web", "/token", &refresh_form(&token)));
        }
        all
    }

    /// Requires that each of these requests is answered a token, and that nothing looked like a theft.
    async fn finish(mut self, requests: &[Request]) {
        for request in requests {
            let answer = until_available(request).await;
            answer.refresh_token();
        }
        for replica in &mut self.replicas {
            let log = replica.stop_and_read_log();
            assert!(!log.contains("refresh_token_reused"), "{log}");
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server");
    tokio::spawn(connection);
    client
}

/// Sends a request until it is answered anything but 503.
async fn until_available(request: &Request) -> Reply {
    loop {
        let answer = request.send().await;
        if answer.status != 503 {
            return answer;
        }
    }
}

/// Whatever is locked, a replica has no more connections than its pool; what was answered 503 took no
/// effect, so each client goes on with the token that it has.
#[tokio::test]
async fn a_locked_table_costs_nobody_a_session_or_a_connection() {
    let scene = Scene::start(2).await;
    let requests = scene.sessions(HOLDERS).await;
    let access = scene.log_in(0, "alice").send().await.access_token();
    // What `CREATE INDEX` takes: reading goes on.
    scene.act("BEGIN; LOCK TABLE sessions IN SHARE MODE").await;
    scene.refuse_all(&requests).await;
    let introspection = scene.post(0, "rs1", "/introspect", &format!("token={access}"));
    assert_eq!(introspection.send().await.json()["active"], true);
    // What `ALTER TABLE` takes: nothing goes on.
    scene.act("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await;
    scene.refuse_all(&vec![introspection.clone(); HOLDERS]).await;
    scene.act("ROLLBACK").await;
    assert_eq!(until_available(&introspection).await.json()["active"], true);
    let generations = scene.admin.query_one("SELECT max(generation) FROM sessions", &[]).await;
    assert_eq!(generations.expect("a number").get::<_, i64>(0), 0, "nothing took effect");
    scene.finish(&requests).await;
}

/// A transaction that somebody forgot holds the row of a session: whoever refreshes that one waits, and those who share
/// a statement with it do not.
#[tokio::test]
async fn a_locked_session_holds_up_no_other() {
    let scene = Scene::start(1).await;
    let requests = scene.sessions(HOLDERS).await;
    let one = "SELECT min(session_id) FROM sessions";
    scene
        .act(&format!("BEGIN; SELECT 1 FROM sessions WHERE session_id = ({one}) FOR UPDATE"))
        .await;
    let mut tasks = JoinSet::new();
    for request in requests.clone() {
        tasks.spawn(async move { request.send().await.status });
    }
    let mut answers = tasks.join_all().await;
    answers.sort_unstable();
    let (refused, refreshed) = answers.split_last().expect("answers");
    assert_eq!(*refused, 503);
    assert!(refreshed.iter().all(|status| *status == 200), "{answers:?}");
    scene.act("ROLLBACK").await;
    scene.finish(&requests).await;
}

/// A transaction that somebody forgot holds the row of a user, who logs in again and again: that keeps
/// one connection, and others log in.
#[tokio::test]
async fn a_locked_user_keeps_nobody_else_from_logging_in() {
    let scene = Scene::start(1).await;
    scene.act("BEGIN; UPDATE users SET scope = scope WHERE username = 'alice'").await;
    let mut tasks = JoinSet::new();
    for _ in 0..HOLDERS {
        let login = scene.log_in(0, "alice");
        tasks.spawn(async move { login.send().await });
    }
    scene.wait_until("wait_event_type = 'Lock'", |count| count == 1).await;
    scene.log_in(0, "bob").send().await.access_token();
    while let Some(answer) = tasks.join_next().await {
        assert!(scene.count("wait_event_type = 'Lock'").await <= 2);
        assert!([503, 429].contains(&answer.expect("no panic").status));
    }
    scene.act("ROLLBACK").await;
    scene.log_in(0, "bob").send().await.access_token();
    scene.finish(&[]).await;
}

/// A transaction that somebody forgot holds the row of a client. Its use is noted beside its requests: that keeps one
/// connection, and nobody waits for it.
#[tokio::test]
async fn a_locked_client_keeps_nobody_from_logging_in() {
    let scene = Scene::start(1).await;
    scene.act("UPDATE clients SET last_used_at = NULL").await;
    scene.act("BEGIN; UPDATE clients SET created_at = created_at WHERE client_id = 'web'").await;
    for _ in 0..5 {
        scene.log_in(0, "alice").send().await.access_token();
        assert!(scene.count("wait_event_type = 'Lock'").await <= 1);
    }
    scene.act("ROLLBACK").await;
    scene.finish(&[]).await;
}

/// A commit that waits for a standby which does not answer is not cancelled, because PostgreSQL would call
/// it done though nothing was replicated; and where an administrator does that, the answer is that nobody
/// knows.
#[tokio::test]
async fn a_commit_that_waits_for_a_standby_is_neither_cancelled_nor_done() {
    const WAITING: &str = "wait_event = 'SyncRep'";
    let scene = Scene::start(1).await;
    let requests = scene.sessions(HOLDERS).await;
    let access = scene.log_in(0, "alice").send().await.access_token();
    scene.wait_for_standby("nobody").await;

    let refresh = requests[0].clone();
    let refused = tokio::spawn(async move { refresh.send().await });
    scene.wait_until(WAITING, |count| count == 1).await;
    let cancel = format!("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {WAITING}");
    scene.act(&cancel).await;
    refused.await.expect("no panic").assert_error(503, "temporarily_unavailable");

    scene.refuse_all(&requests[1..]).await;
    assert!(scene.count(WAITING).await > 0, "given up, and not cancelled");
    let introspection = scene.post(0, "rs1", "/introspect", &format!("token={access}"));
    assert_eq!(introspection.send().await.json()["active"], true, "reading goes on");

    scene.wait_for_standby("").await;
    scene.finish(&requests).await;
}
