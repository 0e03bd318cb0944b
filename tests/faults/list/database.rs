//! Faults of the database and of the way to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::Request;
use crate::harness::database::PASSWORD;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::service::login_form;
use crate::pgbouncer::PgBouncer;
use crate::proxy::Proxy;
use crate::report::Outcome;
use crate::stage::{OTHER_SERVER, Setting, Stage, USUAL};

/// How long the database stands still: longer than what is abandoned takes to be noticed.
const STANDSTILL: Duration = Duration::from_secs(45);
/// How many logins of the user whose row is locked wait at once: as many as one account may have at two
/// replicas, without more of them in the queue for hashes than others can stand.
const LOGINS: usize = 8;

/// What `CREATE INDEX` does to PostgreSQL, and a copy or a check of its file to SQLite.
pub(crate) async fn lock_sessions(on: Setting) -> Outcome {
    let stage = Stage::open(on).await;
    if let Some(path) = stage.database.url.strip_prefix("sqlite:") {
        let holder = rusqlite::Connection::open(path).expect("the file of the stage");
        holder.busy_timeout(Duration::from_secs(5)).expect("a setting");
        holder.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        sleep(STANDSTILL).await;
        drop(holder);
    } else {
        let holder = stage.administrator().await;
        holder.batch_execute("BEGIN").await.expect("a transaction");
        holder.batch_execute("LOCK TABLE sessions IN SHARE MODE").await.expect("a lock");
        sleep(STANDSTILL).await;
        holder.batch_execute("COMMIT").await.expect("it holds nothing else");
    }
    stage.conclude(Instant::now(), USUAL).await
}

/// A stage with a standby that every commit waits for; no replica is started.
async fn with_synchronous_standby(on: Setting) -> (Stage, Arc<PostgresServer>) {
    let stage = Stage::prepare(on).await;
    let standby = Arc::new(stage.with_server(PostgresServer::standby).await);
    let administrator = stage.administrator().await;
    // Not before: the standby would have the setting too, and wait for a standby of its own.
    set(&administrator, "synchronous_standby_names = '*'").await;
    let synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
    while administrator.query(synchronous, &[]).await.expect("it answers").is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    (stage, standby)
}

/// Changes a setting of a server, connections that are open included.
async fn set(administrator: &tokio_postgres::Client, setting: &str) {
    let changed = administrator.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await;
    changed.expect("a setting");
    administrator.batch_execute("SELECT pg_reload_conf()").await.expect("a reload");
}

pub(crate) async fn sync_standby_frozen(on: Setting) -> Outcome {
    let (mut stage, standby) = with_synchronous_standby(on).await;
    let url = stage.database.url.clone();
    stage.serve(&url).await;
    stage.begin(|_| true).await;
    let frozen = Arc::clone(&standby);
    spawn_blocking(move || frozen.freeze()).await.expect("no panic");
    sleep(STANDSTILL).await;
    let thawed = Arc::clone(&standby);
    spawn_blocking(move || thawed.thaw()).await.expect("no panic");
    stage.conclude(Instant::now(), USUAL).await
}

pub(crate) async fn database_frozen(on: Setting) -> Outcome {
    let stage = Stage::open(on).await;
    stage.with_server(PostgresServer::freeze).await;
    sleep(STANDSTILL).await;
    stage.with_server(PostgresServer::thaw).await;
    stage.conclude(Instant::now(), USUAL).await
}

pub(crate) async fn database_killed(on: Setting) -> Outcome {
    let stage = Stage::open(on).await;
    stage.with_server(PostgresServer::kill).await;
    sleep(Duration::from_secs(35)).await;
    stage.with_server(PostgresServer::restart).await;
    stage.conclude(Instant::now(), USUAL).await
}

/// Whoever is not that user is to notice nothing.
pub(crate) async fn row_locked(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    let holder = stage.administrator().await;
    holder.batch_execute("BEGIN").await.expect("a transaction");
    let lock = "SELECT 1 FROM users WHERE username = 'bob' FOR UPDATE";
    assert_eq!(holder.query(lock, &[]).await.expect("a lock").len(), 1);
    let begun = Instant::now();
    let mut logins = JoinSet::new();
    for index in 0..LOGINS {
        let addresses = stage.addresses();
        let request = Request::new(addresses[index % addresses.len()], "POST", "/token");
        let request = request.basic("web", stage.secret("web")).form(&login_form("bob", PASSWORD));
        logins.spawn(async move {
            loop {
                timeout(Duration::from_secs(10), request.try_send()).await.ok();
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    sleep(STANDSTILL).await;
    let (failed, all) = stage.load().ledger.failed_between(begun, Instant::now());
    logins.shutdown().await;
    holder.batch_execute("COMMIT").await.expect("it changed nothing");
    if failed * 20 > all {
        stage.reproach(format!("{failed} of {all} requests for other users failed"));
    }
    stage.conclude(Instant::now(), USUAL).await
}

/// Both hosts lead to the same server. The fault lasts to the end of the run: the second host is to be
/// found without the first.
pub(crate) async fn first_host_dead(on: Setting) -> Outcome {
    let mut stage = Stage::prepare(on).await;
    let server = stage.server_address().to_string();
    let first = Proxy::start(stage.server_address()).await;
    let both = format!("{},{server}", first.address);
    let url = stage.database.url.replace(&server, &both);
    stage.serve(&url).await;
    stage.begin(|_| true).await;
    let ended = Instant::now();
    let silent = first.switch_off().await;
    let outcome = stage.conclude(ended, OTHER_SERVER).await;
    drop(silent);
    outcome
}

/// The fault lasts to the end of the run: the new primary is to be found while the old one answers.
pub(crate) async fn demoted_primary(on: Setting) -> Outcome {
    let (mut stage, standby) = with_synchronous_standby(on).await;
    let server = stage.server_address().to_string();
    let both = format!("{server},{}", standby.address());
    let url = stage.database.url.replace(&server, &both);
    stage.serve(&format!("{url}?target_session_attrs=read-write")).await;
    stage.begin(|_| true).await;
    set(&stage.administrator().await, "default_transaction_read_only = on").await;
    sleep(Duration::from_secs(5)).await;
    let promoted = Arc::clone(&standby);
    spawn_blocking(move || promoted.promote()).await.expect("no panic");
    stage.conclude(Instant::now(), OTHER_SERVER).await
}

/// The fault lasts from the start to the end of the run.
pub(crate) async fn pgbouncer_prepared(on: Setting) -> Outcome {
    let mut stage = Stage::prepare(on).await;
    let server = stage.server_address();
    let bouncer = PgBouncer::start(server, &stage.database.folder).await;
    let url = stage.database.url.replace(&server.to_string(), &bouncer.address.to_string());
    stage.serve(&format!("{url}?statements=prepared")).await;
    let ended = Instant::now();
    stage.begin_anyhow(|_| true);
    sleep(Duration::from_secs(20)).await;
    let outcome = stage.conclude(ended, USUAL).await;
    drop(bouncer);
    outcome
}
