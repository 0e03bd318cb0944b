//! `kill -9` at any moment, of the service and of the database, while clients refresh: nobody is
//! logged out, and no answer that a client has was a lie.
//!
//! The moments are random; the seed is printed, and `JETON_TEST_SEED` sets it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::harness::chance::{choices, choose_port, seed};
use crate::harness::database::PASSWORD;
use crate::harness::forge::claims;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::service::login_form;
use crate::harness::{
    Database, Engine, Executable, Fixtures, RefreshToken, Reply, Request, refresh_form,
};

/// How many clients refresh at once, each a session of its own.
const HOLDERS: usize = 16;
/// How often the service is killed, on each engine.
const SERVICE_KILLS: u64 = 100;
/// How often the database is killed.
const DATABASE_KILLS: u64 = 60;
/// The longest time between a start and the next kill, in milliseconds.
const UPTIME_MAX: u64 = 250;
/// How long a client that got no answer waits before it asks again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client with a session: it keeps the last token that it got an answer for, and presents it until
/// it gets the next one.
struct Holder {
    client_id: &'static str,
    /// Absent for a public client.
    secret: Option<String>,
    sub: String,
    sid: String,
    token: Mutex<String>,
    /// How many rotations were answered.
    answered: AtomicU64,
    /// How many requests had no answer, or 503.
    unanswered: AtomicU64,
}

/// A token request of a client, public or not.
fn post(address: SocketAddr, client_id: &str, secret: Option<&str>, form: &str) -> Request {
    let request = Request::new(address, "POST", "/token");
    match secret {
        Some(secret) => request.form(form).basic(client_id, secret),
        None => request.form(&format!("{form}&client_id={client_id}")),
    }
}

impl Holder {
    async fn log_in(address: SocketAddr, client_id: &'static str, fixtures: &Fixtures) -> Self {
        let secret = fixtures.find_secret(client_id).map(str::to_owned);
        let form = login_form("alice", PASSWORD) + "&scope=read+write";
        let reply = post(address, client_id, secret.as_deref(), &form).send().await;
        let claims = claims(&reply.access_token());
        Self {
            client_id,
            secret,
            sub: fixtures.sub("alice").to_owned(),
            sid: claims["sid"].as_str().expect("a sid").to_owned(),
            token: Mutex::new(reply.refresh_token()),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    /// Asks once for a refresh. No answer, or one that says to come back, changes nothing for the
    /// client; any answer but the next token is a failure of the test.
    async fn refresh(&self, address: SocketAddr) -> bool {
        let mut token = self.token.lock().await;
        let form = refresh_form(&token);
        let request = post(address, self.client_id, self.secret.as_deref(), &form);
        let reply = request.try_send().await;
        let is_answer = |reply: &Reply| {
            let come_back = reply.status == 503;
            assert!(!come_back || reply.has("retry-after"), "{}", reply.text());
            !come_back
        };
        let Some(reply) = reply.filter(is_answer) else {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            return false;
        };
        *token = self.successor(&reply, &token);
        self.answered.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// The next token of an answer, which must be for the same user and session.
    fn successor(&self, reply: &Reply, presented: &str) -> String {
        let claims = claims(&reply.access_token());
        assert_eq!(
            (claims["sub"].as_str(), claims["sid"].as_str()),
            (Some(&*self.sub), Some(&*self.sid))
        );
        let successor = reply.refresh_token();
        let (before, after) = (RefreshToken::of(presented), RefreshToken::of(&successor));
        assert_eq!((after.session, after.generation), (before.session, before.generation + 1));
        successor
    }

    fn answered(&self) -> i64 {
        i64::try_from(self.answered.load(Ordering::SeqCst)).expect("a small number")
    }
}

/// The clients at work.
struct Load {
    holders: Arc<Vec<Holder>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    /// How many rotations were found that a client had no answer for.
    lost_answers: usize,
}

impl Load {
    /// Logs every client in, and lets them refresh at any replica they like.
    async fn start(replicas: Vec<SocketAddr>, fixtures: &Fixtures, random: &mut StdRng) -> Self {
        let mut holders = Vec::new();
        for index in 0..HOLDERS {
            let client_id = ["web", "spa"][index % 2];
            holders.push(Holder::log_in(replicas[0], client_id, fixtures).await);
        }
        let holders = Arc::new(holders);
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for index in 0..HOLDERS {
            let (holders, stop) = (Arc::clone(&holders), Arc::clone(&stop));
            let (replicas, mut random) = (replicas.clone(), choices(random.random()));
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let address = replicas[random.random_range(0..replicas.len())];
                    if !holders[index].refresh(address).await {
                        sleep(RETRY_PAUSE).await;
                    }
                }
            });
        }
        Self { holders, stop, tasks, lost_answers: 0 }
    }

    /// Requires that no answer was a lie: each session is there, and was rotated as often as its
    /// client was answered, or once more for the request in flight.
    async fn assert_kept(&mut self, database: &Database) {
        if let Some(ended) = self.tasks.try_join_next() {
            ended.expect("a client is content");
        }
        let answered = || self.holders.iter().map(Holder::answered).collect::<Vec<_>>();
        let before = answered();
        let rows = database.query("SELECT session_id, generation FROM sessions").await;
        let after = answered();
        assert_eq!(rows.len(), HOLDERS, "a row for each session");
        let generations: HashMap<String, i64> = rows
            .into_iter()
            .map(|mut row| {
                let generation = row.pop().flatten().and_then(|text| text.parse().ok());
                (row.pop().flatten().expect("an id"), generation.expect("a number"))
            })
            .collect();
        for (index, holder) in self.holders.iter().enumerate() {
            let generation = generations[&holder.sid];
            let possible = before[index]..=after[index] + 1;
            assert!(possible.contains(&generation), "{generation} not in {possible:?}");
            self.lost_answers += usize::from(generation > after[index]);
        }
    }

    /// Waits until every client got a further answer.
    async fn wait_for_progress(&self) {
        let start: Vec<i64> = self.holders.iter().map(Holder::answered).collect();
        let progress = async {
            for (holder, start) in self.holders.iter().zip(start) {
                while holder.answered() == start {
                    sleep(RETRY_PAUSE).await;
                }
            }
        };
        timeout(PATIENCE, progress).await.expect("every client goes on");
    }

    /// Stops the clients where they are, and requires that each can go on with the token it has.
    /// Returns how many rotations were found that no client had an answer for.
    #[expect(clippy::print_stderr, reason = "the run of a failed test shows it")]
    async fn finish(mut self, address: SocketAddr, database: &Database) -> usize {
        self.wait_for_progress().await;
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client is content");
        }
        self.assert_kept(database).await;
        let everyone = async {
            for holder in self.holders.iter() {
                // This replica may still have to find out that the database is back.
                while !holder.refresh(address).await {
                    sleep(RETRY_PAUSE).await;
                }
            }
        };
        timeout(PATIENCE, everyone).await.expect("the token of each client works");
        let answered: i64 = self.holders.iter().map(Holder::answered).sum();
        let refused: u64 =
            self.holders.iter().map(|holder| holder.unanswered.load(Ordering::SeqCst)).sum();
        let lost = self.lost_answers;
        eprintln!("{answered} answered, {refused} not, {lost} rotations found without an answer");
        lost
    }
}

/// Requires that no commit was lost, so that no token was ahead of its row, and that no retry was
/// taken for a theft.
fn assert_calm(logs: &str) {
    assert!(logs.contains("token_issued"), "the logs hold events");
    for line in logs.lines() {
        for event in ["refresh_token_reused", "session_caught_up"] {
            assert!(!line.contains(event), "{line}");
        }
    }
}

async fn kill_the_service(engine: Engine) {
    let mut random = choices(seed());
    let (database, fixtures) = Database::filled(engine).await;
    let database = Arc::new(database);
    let address = choose_port(&mut random);
    let serve = {
        let (database, address) = (Arc::clone(&database), address.to_string());
        move || Executable::serve_on(&database, fixtures, &["--listen", &address])
    };
    let mut service = serve();
    let mut load = Load::start(vec![address], fixtures, &mut random).await;
    let mut logs = String::new();
    for _ in 0..SERVICE_KILLS {
        sleep(Duration::from_millis(random.random_range(0..UPTIME_MAX))).await;
        service.signal("KILL");
        logs += &spawn_blocking(move || {
            assert_eq!(service.wait(), None, "it died of the signal");
            service.log_to_its_end()
        })
        .await
        .expect("no panic");
        load.assert_kept(&database).await;
        service = spawn_blocking(serve.clone()).await.expect("it starts again");
    }
    let lost = load.finish(address, &database).await;
    assert!(lost > 0, "no kill fell between a commit and its answer: this run showed nothing");
    logs += &service.stop_and_read_log();
    assert_calm(&logs);
}

/// RFC 6749 §6, ASVS 2.3.3: the service is killed under load, 100 times: each client goes on with
/// the token that it last got an answer for. [TR-18]
#[tokio::test]
async fn nobody_is_logged_out_when_the_service_is_killed_on_sqlite() {
    kill_the_service(Engine::Sqlite).await;
}

/// The same on PostgreSQL. [TR-18]
#[tokio::test]
async fn nobody_is_logged_out_when_the_service_is_killed_on_postgres() {
    kill_the_service(Engine::Postgres).await;
}

/// RFC 6749 §5.2: the database is killed under load, 60 times, while two replicas serve: what it
/// cannot answer is 503 and never `invalid_grant`, and each client goes on with the token that it
/// last got an answer for. [TR-18] [TR-31]
#[tokio::test]
async fn nobody_is_logged_out_when_the_database_is_killed() {
    let mut random = choices(seed());
    let server = Arc::new(spawn_blocking(PostgresServer::start).await.expect("it starts"));
    let (database, fixtures) = Database::fill(&server.url).await;
    let mut replicas = [(); 2].map(|()| Executable::serve_on(&database, &fixtures, &[]));
    let addresses: Vec<SocketAddr> = replicas.iter().map(|replica| replica.public).collect();
    let mut load = Load::start(addresses.clone(), &fixtures, &mut random).await;
    for _ in 0..DATABASE_KILLS {
        sleep(Duration::from_millis(random.random_range(0..UPTIME_MAX))).await;
        let killed = Arc::clone(&server);
        let restart = move || {
            killed.kill();
            killed.restart();
        };
        spawn_blocking(restart).await.expect("it starts again");
        load.assert_kept(&database).await;
    }
    load.finish(addresses[0], &database).await;
    for replica in &mut replicas {
        assert_calm(&replica.stop_and_read_log());
    }
}
