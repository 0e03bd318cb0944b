//! More connections than there is room for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::harness::http2::{GOAWAY, Http2, get};
use crate::harness::tls::{self, Pair};
use crate::harness::{Database, Executable, Fixtures, Request};

const JWKS: &str = "/.well-known/jwks.json";
/// The service says at most this often that something is short.
const SHORTAGE_INTERVAL: Duration = Duration::from_secs(10);

/// `jeton serve` on a copy of the template.
struct Served {
    service: Executable,
    _database: Database,
    fixtures: &'static Fixtures,
}

impl Served {
    async fn start(files: Option<u64>, further: &[&str]) -> Self {
        let (database, fixtures) = Database::filled(ENGINE).await;
        let master_key = fixtures.master_key.display().to_string();
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        let arguments = [&usual[..], further].concat();
        let service = match files {
            Some(files) => Executable::serve_with_files(files, &arguments),
            None => Executable::serve(&arguments),
        };
        Self { service, _database: database, fixtures }
    }

    /// Asserts that what needs the database is served: a login, which writes, and what reads.
    async fn assert_serves(&self) {
        let form = login_form("alice", PASSWORD);
        let post = |path: &str| Request::new(self.service.public, "POST", path);
        let secret = |id: &str| self.fixtures.secret(id);
        let login = post("/token").form(&form).basic("web", secret("web")).send().await;
        let form = format!("token={}", percent_encode(&login.access_token()));
        let asked = post("/introspect").form(&form).basic("rs1", secret("rs1")).send().await;
        assert_eq!(asked.json()["active"], true);
    }
}

/// Opens a connection and sends octets.
async fn open(address: SocketAddr, octets: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("the kernel takes it");
    stream.write_all(octets).await.expect("it is taken");
    stream
}

/// Asks for the keys on a connection that stays open; whether they came.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let octets = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n\r\n");
    if stream.write_all(octets.as_bytes()).await.is_err() {
        return false;
    }
    let mut received = Vec::new();
    let mut buffer = [0; 4_096];
    while !received.ends_with(b"}]}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => received.extend(&buffer[..length]),
        }
    }
    received.starts_with(b"HTTP/1.1 200 ")
}

/// Whether the other side closes without another word.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok();
    rest.is_empty()
}

/// How often a log has a text.
fn count(log: &str, text: &str) -> u64 {
    u64::try_from(log.matches(text).count()).expect("a small number")
}

/// How often a shortage that began at a time may have been told of by now.
fn times_told(begun: Instant) -> u64 {
    begun.elapsed().as_secs() / SHORTAGE_INTERVAL.as_secs() + 1
}

/// ASVS 5.0 §13.1.3, §15.2.2: when all connections are taken, by callers that say nothing, or never
/// come to an end of what they say, the one that has waited longest for its caller is evicted to the
/// next, and the others stay.
#[tokio::test]
async fn the_connection_that_waited_longest_gives_way() {
    let jeton = Jeton::start_with(ENGINE, &["--max-connections", "20"]).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nx";
    let half_content = format!("POST /token HTTP/1.1\r\nHost: x\r\n{form}");
    let half_head = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n");
    let mut held = Vec::new();
    for number in 0..19 {
        let octets = ["", &half_head, &half_content][number % 3];
        held.push(open(jeton.service.public, octets.as_bytes()).await);
        // They are taken in this order.
        while jeton.metric("jeton_connections").await <= number as u64 {}
    }
    let mut kept_alive = open(jeton.service.public, b"").await;
    assert!(ask(&mut kept_alive).await);
    jeton.access_token().await;
    assert_eq!(jeton.metric("jeton_connections_gave_way_total").await, 1);
    assert!(is_closed(&mut held[0]).await);
    assert!(ask(&mut kept_alive).await);
    held[1].write_all(b"Connection: close\r\n\r\n").await.expect("it is open");
    let mut answer = String::new();
    held[1].read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    // Whoever takes every connection again and again keeps nobody out.
    let address = jeton.service.public;
    let mut hostile = JoinSet::new();
    for _ in 0..40 {
        hostile.spawn(async move {
            while let Ok(mut stream) = TcpStream::connect(address).await {
                is_closed(&mut stream).await;
            }
        });
    }
    let keys = jeton.request("GET", JWKS);
    let (login, keys) = tokio::join!(jeton.access_token(), keys.send());
    assert!(!login.is_empty());
    assert_eq!(keys.status, 200);
    hostile.abort_all();
}

/// RFC 9113 §6.8: connections that have not come to TLS, or speak either version over it, give way
/// too, and HTTP/2 says so.
#[tokio::test]
async fn connections_of_every_protocol_give_way() {
    let pair = Pair::new();
    let mut arguments = pair.arguments();
    arguments.extend(["--max-connections".to_owned(), "3".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let public = jeton.service.public;
    let mut silent = open(public, b"").await;
    while jeton.metric("jeton_connections").await < 1 {}
    let mut http2 = Http2::connect(public, &pair).await;
    let mut http1 = tls::connect(public, &pair, "http/1.1").await;
    while jeton.metric("jeton_connections").await < 3 {}
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = Http2::connect(public, &pair).await;
        assert!(other.request(1, &get(JWKS, &[])).await);
        assert_eq!(other.outcome(1).await.and_then(|frame| frame.status()), Some(200));
        others.push(other);
    }
    assert_eq!(jeton.metric("jeton_connections_gave_way_total").await, 3);
    assert!(is_closed(&mut silent).await);
    assert_eq!(http1.read(&mut [0; 1]).await.ok(), Some(0), "it ends as TLS ends");
    let mut says_so = false;
    while let Some(frame) = http2.reader.next().await {
        says_so |= frame.kind == GOAWAY;
    }
    assert!(says_so);
}

/// ASVS 5.0 §15.2.2: an answer that is being made is not lost to others that want to be let in.
#[tokio::test]
async fn no_connection_gives_way_while_its_answer_is_made() {
    let slow = ["--hash-threads", "1", "--hash-memory", "128MiB", "--scrypt", "ln=17,r=8,p=2"];
    let jeton = Jeton::start_with(ENGINE, &[&["--max-connections", "4"], &slow[..]].concat()).await;
    // So a name that nobody has costs a new hash, and not that of a user.
    jeton.database.query("DELETE FROM users").await;
    let mut logins = JoinSet::new();
    for number in 0..4 {
        let form = login_form(&format!("nobody{number}"), PASSWORD) + "&client_id=spa";
        let login = jeton.post("/token", &form);
        logins.spawn(async move { login.send().await });
    }
    // One is being hashed, and the last will be when its connection is seconds old.
    while jeton.metric("jeton_hashing_queue_depth").await < 3 {}
    assert_eq!(jeton.request("GET", JWKS).send().await.status, 200);
    for reply in logins.join_all().await {
        // On a machine that is busy, the answer may be that there was no time.
        assert!(matches!(reply.status, 400 | 503), "{}", reply.text());
    }
}

/// ASVS 5.0 §13.1.3: a service that may have few files open takes fewer connections and says so, which
/// leaves enough for its database; more callers than that are served in turn.
#[tokio::test]
async fn connections_leave_files_for_the_database() {
    let begun = Instant::now();
    let mut served = Served::start(Some(64), &[]).await;
    let address = served.service.public;
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        crowd.spawn(async move {
            let mut stream = open(address, b"").await;
            (ask(&mut stream).await, stream)
        });
    }
    served.assert_serves().await;
    let crowd = crowd.join_all().await;
    assert!(crowd.iter().all(|(answered, _)| *answered));
    served.assert_serves().await;
    drop(crowd);
    served.assert_serves().await;
    let told = times_told(begun);
    let log = served.service.stop_and_read_log();
    assert!(log.contains("--max-connections") && log.contains("LimitNOFILE"), "{log}");
    assert!((1..=told).contains(&count(&log, "connections are taken")), "{told}: {log}");
    assert_eq!(count(&log, "cannot accept"), 0, "{log}");
}

/// ASVS 5.0 §13.1.3: when the system has no file left for another connection, those that are open are
/// served as before; the service says so once, not at every attempt, and takes others as soon as it can.
#[tokio::test]
async fn a_service_without_files_recovers_by_itself() {
    let begun = Instant::now();
    let mut served = Served::start(None, &[]).await;
    served.assert_serves().await;
    let mut open_already = Vec::new();
    for _ in 0..20 {
        open_already.push(open(served.service.public, b"").await);
    }
    for stream in &mut open_already {
        assert!(ask(stream).await);
    }
    served.service.limit_files(served.service.open_files());
    let mut waiting = JoinSet::new();
    for _ in 0..50 {
        let address = served.service.public;
        waiting.spawn(async move { ask(&mut open(address, b"").await).await });
    }
    let (busy, idle) = open_already.split_at_mut(10);
    while count(&served.service.log(), "cannot accept") == 0 {
        for stream in &mut *busy {
            assert!(ask(stream).await);
        }
    }
    // Room is made by those that have long been idle, and by those that leave.
    assert!(is_closed(&mut idle[0]).await);
    for stream in &mut *busy {
        assert!(ask(stream).await);
    }
    drop(open_already);
    assert!(waiting.join_all().await.into_iter().all(|answered| answered));
    served.assert_serves().await;
    let told = times_told(begun);
    let log = served.service.stop_and_read_log();
    assert!((1..=told).contains(&count(&log, "cannot accept")), "{told}: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Opens a connection that comes from an address of this machine.
async fn open_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = SocketAddr::new(source.parse().expect("an address"), 0);
    socket.bind(source).expect("all of 127.0.0.0/8 is this machine");
    socket.connect(address).await.expect("it listens")
}

/// Asks for the keys on a connection that stays open; whether they came.
async fn ask_over_http2(connection: &mut Http2, stream: u32) -> bool {
    connection.request(stream, &get(JWKS, &[])).await
        && connection.outcome(stream).await.and_then(|frame| frame.status()) == Some(200)
}

/// RFC 9112 §9.8, RFC 9113 §9.1; README.md, «Behind a proxy»: a connection without a request is closed after
/// `--connection-idle`, one from a trusted proxy after `--proxy-connection-idle`, in both versions of HTTP; and one
/// that a proxy may keep for long is evicted like any other when all are taken.
#[tokio::test]
async fn proxies_may_keep_connections_for_longer_than_others() {
    const PROXY: &str = "127.0.0.2";
    let pair = Pair::new();
    let mut arguments = pair.arguments();
    arguments
        .extend(["--trusted-proxy", "127.0.0.2/32", "--max-connections", "4"].map(str::to_owned));
    arguments
        .extend(["--connection-idle", "1s", "--proxy-connection-idle", "1h"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let public = jeton.service.public;
    let mut of_proxy = tls::shake_hands(open_from(PROXY, public).await, &pair, "http/1.1").await;
    let mut of_proxy2 = Http2::connect_over(open_from(PROXY, public).await, &pair).await;
    assert!(ask(&mut of_proxy).await && ask_over_http2(&mut of_proxy2, 1).await);
    let mut of_other = tls::connect(public, &pair, "http/1.1").await;
    // On a machine that is busy, the second may be over before it is asked.
    ask(&mut of_other).await;
    assert!(is_closed(&mut of_other).await);
    let mut of_other2 = Http2::connect(public, &pair).await;
    let mut says_so = !ask_over_http2(&mut of_other2, 1).await;
    while let Some(frame) = of_other2.reader.next().await {
        says_so |= frame.kind == GOAWAY;
    }
    assert!(says_so);
    assert!(ask(&mut of_proxy).await && ask_over_http2(&mut of_proxy2, 3).await);
    drop((of_other, of_other2));
    while jeton.metric("jeton_connections").await > 2 {}

    assert_eq!(jeton.metric("jeton_connections_gave_way_total").await, 0);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut other = tls::shake_hands(open_from(PROXY, public).await, &pair, "http/1.1").await;
        assert!(ask(&mut other).await);
        held.push(other);
    }
    assert_eq!(jeton.metric("jeton_connections_gave_way_total").await, 1);
    assert!(is_closed(&mut of_proxy).await);
    assert!(ask_over_http2(&mut of_proxy2, 5).await);
}
