//! URLs with several hosts, and servers that are no longer what they were when they were connected to.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, NoTls};

use crate::harness::database::PASSWORD;
use crate::harness::postgres_server::PostgresServer;
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Executable, Request, refresh_form};

/// An address that answers nothing, as if its machine were switched off.
struct Silence {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Silence {
    fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let listener = socket.listen(1).expect("it can listen");
        let address = listener.local_addr().expect("an address");
        // Linux answers nobody once the queue is full.
        let patience = Duration::from_millis(200);
        let connect = || TcpStream::connect_timeout(&address, patience).ok();
        let waiting = std::iter::from_fn(connect).collect();
        Self { address, _listener: listener, _waiting: waiting }
    }
}

/// A host that is switched off costs its share of the time and no more: the next is connected to, at the
/// start and later.
#[tokio::test]
async fn a_host_that_is_switched_off_is_passed_over() {
    let silence = Silence::start();
    let (mut database, fixtures) = Database::filled(Engine::Postgres).await;
    let direct = database.url.clone();
    database.url = direct.replace('@', &format!("@{},", silence.address));
    let service = Executable::serve_on(&database, fixtures, &[]);
    let login = Request::new(service.public, "POST", "/token").form(&login_form("alice", PASSWORD));
    let login = login.basic("web", fixtures.secret("web"));
    login.send().await.access_token();
    // The next requests need new connections.
    database.url = direct;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'jeton'";
    database.query(end).await;
    while login.send().await.status == 503 {}
    login.send().await.access_token();
}

/// A server that has become read-only while it was connected to, as a primary does that is demoted behind
/// a proxy: nobody is refused, because the connection is left for a new one.
#[tokio::test]
async fn a_connection_that_has_become_read_only_is_left() {
    let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
    let (database, fixtures) = Database::fill(&server.url).await;
    let mut service = Executable::serve_on(&database, &fixtures, &[]);
    let post = |form: &str| {
        let request = Request::new(service.public, "POST", "/token").form(form);
        request.basic("web", fixtures.secret("web"))
    };
    let token = post(&login_form("alice", PASSWORD)).send().await.refresh_token();
    make_read_only(&administrator(&server).await).await;
    let mut token = token;
    for _ in 0..3 {
        token = post(&refresh_form(&token)).send().await.refresh_token();
    }
    let log = service.stop_and_read_log();
    assert!(!log.contains("unavailable"), "{log}");
}

/// The same, while something is read on one of its connections: that one is left too when the read has ended. It only
/// reads, so no refusal would ever say that another server writes now, and what it reads grows old.
#[tokio::test]
async fn a_connection_that_was_reading_then_is_left_too() {
    let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
    let (database, fixtures) = Database::fill(&server.url).await;
    let service = Executable::serve_on(&database, &fixtures, &[]);
    let login = Request::new(service.public, "POST", "/token").form(&login_form("alice", PASSWORD));
    let token = login.basic("web", fixtures.secret("web")).send().await.access_token();

    let holder = administrator(&server).await;
    holder.batch_execute("BEGIN; LOCK TABLE sessions").await.expect("a lock");
    let introspection = Request::new(service.public, "POST", "/introspect")
        .form(&format!("token={token}"))
        .basic("rs1", fixtures.secret("rs1"));
    let reading = tokio::spawn(async move { introspection.send().await });
    let admin = administrator(&server).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = 'jeton' AND wait_event_type = 'Lock'";
    while count(&admin, waiting).await == 0 {}

    make_read_only(&admin).await;
    let now = "SELECT set_config('jeton.then', CAST(now() AS TEXT), false)";
    admin.batch_execute(now).await.expect("a statement of the test");
    // Readiness writes a row once a second.
    let ready = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jeton' \
                 AND backend_start > CAST(current_setting('jeton.then') AS TIMESTAMPTZ)";
    while count(&admin, ready).await == 0 {
        Request::new(service.management, "GET", "/readyz").send().await;
    }
    holder.batch_execute("ROLLBACK").await.expect("the end of a lock");
    reading.await.expect("no panic");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'jeton' \
                AND backend_start <= CAST(current_setting('jeton.then') AS TIMESTAMPTZ)";
    let patience = Instant::now() + Duration::from_secs(30);
    while count(&admin, left).await > 0 {
        assert!(
            Instant::now() < patience,
            "a connection to a server that was left is still in use"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn administrator(server: &PostgresServer) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url, NoTls).await.expect("a server");
    tokio::spawn(connection);
    client
}

async fn count(admin: &Client, statement: &str) -> i64 {
    admin.query_one(statement, &[]).await.expect("a number").get(0)
}

/// Makes connections that are there read-only, and no others: what a database sets is for sessions that begin later.
async fn make_read_only(admin: &Client) {
    for statement in [
        "ALTER DATABASE postgres SET default_transaction_read_only = off",
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.batch_execute(statement).await.expect("a statement of the test");
    }
    let shown = "SHOW default_transaction_read_only";
    while admin.query_one(shown, &[]).await.expect("a setting").get::<_, &str>(0) != "on" {}
}
