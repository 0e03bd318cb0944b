//! How many connections to PostgreSQL replicas have.

use std::time::Duration;

use jeton::cli::serve::Service;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;

use crate::harness::pooler::Pooler;
use crate::harness::{Database, Engine, Jeton, Request};

/// What a replica has that nobody uses: one connection for its looks at keys and clock, and two more after its
/// housekeeping.
const QUIET: i64 = 3;
/// More than a replica may have for changes.
const CALLERS: usize = 12;
/// How long it may take until connections are closed that nobody uses.
const BOUND: Duration = Duration::from_mins(2);

/// How many connections others have to a database.
async fn count(database: &Database) -> i64 {
    let counted = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let rows = database.query(counted).await;
    rows[0][0].as_ref().and_then(|text| text.parse().ok()).expect("a number")
}

/// Waits until the number of connections is so.
async fn until(database: &Database, is_so: impl Fn(i64) -> bool) {
    let looking = async {
        while !is_so(count(database).await) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(BOUND, looking).await.is_ok(), "{} connections", count(database).await);
}

/// As many connections are open as are used at once, and they are closed when nobody has used them for a while.
#[tokio::test]
async fn a_replica_goes_back_to_few_connections_after_a_burst() {
    let jeton = Jeton::start(Engine::Postgres).await;
    until(&jeton.database, |count| count <= QUIET).await;
    let mut revocations = Vec::new();
    for _ in 0..CALLERS {
        let token = jeton.login_through("web", "").await.refresh_token();
        revocations.push(jeton.post_as("web", "/revoke", &format!("token={token}")));
    }
    let (holder, connection) =
        tokio_postgres::connect(&jeton.database.url, NoTls).await.expect("the server");
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN SHARE MODE").await.expect("a lock");
    let mut callers = JoinSet::new();
    for revocation in revocations {
        callers.spawn(async move {
            loop {
                revocation.send().await;
            }
        });
    }
    until(&jeton.database, |count| count > 10).await;
    drop(holder);
    callers.shutdown().await;
    until(&jeton.database, |count| count <= QUIET).await;
}

/// Many quiet replicas have few connections each; behind a pooler the server has no more than the pooler's own, and
/// each replica serves.
#[tokio::test]
async fn many_replicas_have_few_connections() {
    const REPLICAS: usize = 6;
    let jeton = Jeton::start(Engine::Postgres).await;
    let mut replicas = Vec::new();
    for _ in 1..REPLICAS {
        replicas.push(jeton.replica().await);
    }
    let most = QUIET * i64::try_from(REPLICAS).expect("a few");
    until(&jeton.database, |count| count <= most).await;
    drop(replicas);

    let (database, fixtures) = Database::filled(Engine::Postgres).await;
    let pooler = Pooler::start(&database.url);
    let through = pooler.before(&database.url);
    let jeton = Jeton::start_at(&through, database, fixtures).await;
    let form = format!("token={}", jeton.access_token().await);
    let mut replicas: Vec<Service> = Vec::new();
    for _ in 1..REPLICAS {
        replicas.push(jeton.replica_at(&through).await);
    }
    let mut callers = JoinSet::new();
    for replica in &replicas {
        let request = Request::new(replica.public, "POST", "/introspect").form(&form);
        let request = request.basic("rs1", jeton.fixtures.secret("rs1"));
        callers.spawn(async move { request.send().await.json()["active"] == true });
    }
    assert!(callers.join_all().await.into_iter().all(|is_active| is_active));
    // The pooler's default_pool_size.
    assert!(count(&jeton.database).await <= 2);
}
