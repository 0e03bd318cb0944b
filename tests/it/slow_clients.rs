//! Callers that take their time, in numbers. The doors are the same for both engines, so these run on
//! one: what they wait for takes as long as the service gives such callers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::database::{PASSWORD, SCRYPT};
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, REFUSED_STREAM, RST_STREAM, frame, get, post,
};
use crate::harness::service::login_form;
use crate::harness::tls::Pair;
use crate::harness::{Database, Engine, Executable, Fixtures, Request};

const JWKS: &str = "/.well-known/jwks.json";
/// Longer than the service gives any caller; who is not cut off by then never is.
const NEVER: Duration = Duration::from_secs(100);
/// The time between two octets of a slow caller.
const PACE: Duration = Duration::from_millis(500);

struct Served {
    service: Executable,
    _database: Database,
    fixtures: &'static Fixtures,
}

impl Served {
    async fn start() -> Self {
        Self::start_with(&["--issuer", "http://localhost"]).await
    }

    async fn start_with(further: &[&str]) -> Self {
        let (database, fixtures) = Database::filled(Engine::Sqlite).await;
        let master_key = fixtures.master_key.display().to_string();
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        let service = Executable::serve(&[&usual[..], &["--scrypt", SCRYPT], further].concat());
        Self { service, _database: database, fixtures }
    }

    async fn assert_serves(&self) {
        let login = Request::new(self.service.public, "POST", "/token")
            .form(&login_form("alice", PASSWORD))
            .basic("web", self.fixtures.secret("web"));
        login.send().await.access_token();
        let keys = Request::new(self.service.public, "GET", JWKS).send().await;
        assert_eq!(keys.status, 200);
    }

    /// Waits until the service has so many connections open.
    async fn wait_for_connections(&self, number: usize) {
        let line = format!("\njeton_connections {number}\n");
        let metrics = Request::new(self.service.management, "GET", "/metrics");
        while !metrics.send().await.text().contains(&line) {}
    }
}

/// How a caller takes its time.
#[derive(Clone, Copy, Debug)]
enum Slowness {
    /// It says nothing at all.
    Silent,
    /// It sends the head of a request octet by octet.
    Head,
    /// It sends the content of a request octet by octet.
    Content,
    /// It asks and asks, and takes no answer.
    Reader,
}

impl Slowness {
    /// What is sent at once, and what is sent octet by octet.
    fn octets(self) -> (String, String) {
        let head = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n");
        let form =
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9999\r\n\r\n";
        match self {
            Self::Silent => (String::new(), String::new()),
            Self::Head => (head, format!("X: {}", "x".repeat(9_999))),
            Self::Content => {
                (format!("POST /token HTTP/1.1\r\nHost: x\r\n{form}"), "x".repeat(9_998))
            }
            Self::Reader => (format!("{head}\r\n").repeat(1_000), String::new()),
        }
    }

    /// Behaves so until the service has had enough, and returns its last words.
    async fn converse(self, address: SocketAddr) -> String {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a setting");
        let stream = socket.connect(address).await.expect("it listens");
        let (mut reader, mut writer) = stream.into_split();
        let (at_once, slowly) = self.octets();
        if let Self::Reader = self {
            // Blocks when nobody takes anything any more, and fails when the service closes.
            while writer.write_all(at_once.as_bytes()).await.is_ok() {}
            return String::new();
        }
        writer.write_all(at_once.as_bytes()).await.expect("it is taken");
        let writing = tokio::spawn(async move {
            for octet in slowly.as_bytes() {
                tokio::time::sleep(PACE).await;
                if writer.write_all(std::slice::from_ref(octet)).await.is_err() {
                    break;
                }
            }
            writer
        });
        let mut words = Vec::new();
        reader.read_to_end(&mut words).await.ok();
        writing.abort();
        String::from_utf8(words).expect("text")
    }
}

/// ASVS 5.0 §13.1.3, §15.2.2; docs/settings.md, «Limits»: a thousand callers that say nothing, send a head or
/// content octet by octet, or take no answer, are all cut off by the service, those that had begun to
/// send content with 408; others are served meanwhile. [H-23]
#[tokio::test]
async fn slow_callers_are_cut_off_and_hold_nobody_up() {
    let idle = ["--issuer", "http://localhost", "--connection-idle", "10s"];
    let served = Served::start_with(&idle).await;
    let address = served.service.public;
    let gone = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for (number, slowness) in [
        (300, Slowness::Silent),
        (300, Slowness::Head),
        (300, Slowness::Content),
        (100, Slowness::Reader),
    ] {
        for _ in 0..number {
            let gone = Arc::clone(&gone);
            callers.spawn(async move {
                let words = timeout(NEVER, slowness.converse(address)).await;
                gone.fetch_add(1, Ordering::Relaxed);
                (slowness, words)
            });
        }
    }
    served.wait_for_connections(1_000).await;
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    while gone.load(Ordering::Relaxed) < 1_000 {
        served.assert_serves().await;
    }
    for (slowness, words) in callers.join_all().await {
        let words = words.unwrap_or_else(|_| panic!("{slowness:?} was never cut off"));
        let expected = if let Slowness::Content = slowness { "HTTP/1.1 408 " } else { "" };
        assert!(words.starts_with(expected), "{slowness:?}: {words}");
        assert_eq!(words.is_empty(), expected.is_empty(), "{slowness:?}: {words}");
    }
    served.wait_for_connections(0).await;
}

/// ASVS 5.0 §13.1.3: callers that never come to an end of their handshake are cut off too. [H-23]
#[tokio::test]
async fn slow_handshakes_are_cut_off() {
    let pair = Pair::new();
    let arguments = pair.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let served = Served::start_with(&arguments).await;
    let address = served.service.public;
    let mut callers = JoinSet::new();
    for number in 0..200 {
        callers.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            // The first octets of a ClientHello, or nothing.
            let begun: &[u8] = if number % 2 == 0 { b"\x16\x03\x01\x02\x00\x01" } else { b"" };
            stream.write_all(begun).await.expect("it is taken");
            let mut words = Vec::new();
            timeout(NEVER, stream.read_to_end(&mut words)).await.is_ok()
        });
    }
    served.wait_for_connections(200).await;
    let mut other = Http2::connect(address, &pair).await;
    assert!(other.request(1, &get(JWKS, &[])).await);
    assert_eq!(other.outcome(1).await.and_then(|frame| frame.status()), Some(200));
    drop(other);
    assert!(callers.join_all().await.into_iter().all(|cut_off| cut_off));
    served.wait_for_connections(0).await;
}

/// ASVS 5.0 §13.1.3: three thousand connections that wait for their callers take some 25 KiB each,
/// never more than twice that, and others are served.
#[tokio::test]
async fn thousands_of_idle_connections_cost_little() {
    let served = Served::start().await;
    served.assert_serves().await;
    let before = served.service.memory();
    let request = Request::new(served.service.public, "GET", JWKS).octets();
    let mut idle = Vec::new();
    for _ in 0..3_000 {
        let mut stream = TcpStream::connect(served.service.public).await.expect("it listens");
        stream.write_all(&request).await.expect("it is taken");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        assert_eq!(status, *b"HTTP/1.1 200");
        idle.push(stream);
    }
    served.assert_serves().await;
    let each = (served.service.memory() - before) / 3_000;
    assert!(each < 50 << 10, "{each}");
}

/// RFC 9113 §8.7, §10.5; docs/operating.md, «Memory»: callers that open all streams that they may, announce content and send
/// an octet of it take no more memory than was said at the start. Streams for which there is no room are refused, so
/// that they may be tried again; others are served, and so are these when the others have ended.
#[tokio::test]
async fn streams_of_many_connections_stay_within_the_bound() {
    const CONNECTIONS: usize = 100;
    let pair = Pair::new();
    let mut arguments = pair.arguments();
    arguments.extend(["--max-connections".to_owned(), (CONNECTIONS + 5).to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let served = Served::start_with(&arguments).await;
    let log = served.service.log();
    let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let bound = entries.find_map(|entry| entry["connections_memory_mib"].as_u64()).expect("said");
    let address = served.service.public;
    let mut other = Http2::connect(address, &pair).await;
    assert!(other.request(1, &get(JWKS, &[])).await);
    assert_eq!(other.outcome(1).await.and_then(|frame| frame.status()), Some(200));
    let before = served.service.memory();

    let octets: Vec<u8> = (0..100)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS, stream, &post("/token"));
            [head, frame(DATA, 0, stream, b"x")].concat()
        })
        .collect();
    let refused = Arc::new(AtomicUsize::new(0));
    let mut held = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut client = Http2::connect(address, &pair).await;
        assert!(client.send(&octets).await);
        let refused = Arc::clone(&refused);
        held.spawn(async move {
            while let Some(frame) = client.reader.next().await {
                if frame.kind == RST_STREAM && frame.error() == Some(REFUSED_STREAM) {
                    assert_ne!(frame.stream, 1, "each connection has room for one");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    while refused.load(Ordering::Relaxed) < 100 {
        tokio::task::yield_now().await;
    }
    let grown = served.service.peak_memory().saturating_sub(before);
    assert!(grown < bound << 20, "{grown} of {bound} MiB");
    for stream in [3, 5] {
        assert!(other.request(stream, &get(JWKS, &[])).await);
        assert_eq!(other.outcome(stream).await.and_then(|frame| frame.status()), Some(200));
    }
    held.abort_all();
    while let Some(ended) = held.join_next().await {
        assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
    }
    served.wait_for_connections(1).await;
    let opened = [7, 9, 11].map(|stream| frame(HEADERS, END_HEADERS, stream, &post("/revoke")));
    assert!(other.send(&opened.concat()).await);
    let form = format!("token=x&client_id=web&client_secret={}", served.fixtures.secret("web"));
    for stream in [7, 9, 11] {
        assert!(other.send(&frame(DATA, END_STREAM, stream, form.as_bytes())).await);
        assert_eq!(other.outcome(stream).await.and_then(|frame| frame.status()), Some(200));
    }
}

/// A request that never comes to its end, or content that does not, does not keep the service from
/// stopping when it is told to: it waits for it for a bounded time.
#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_up_the_stop() {
    let mut served = Served::start().await;
    let mut half = Vec::new();
    for slowness in [Slowness::Silent, Slowness::Head, Slowness::Content] {
        let mut stream = TcpStream::connect(served.service.public).await.expect("it listens");
        stream.write_all(slowness.octets().0.as_bytes()).await.expect("it is taken");
        half.push(stream);
    }
    served.wait_for_connections(3).await;
    served.service.signal("TERM");
    assert_eq!(served.service.wait(), Some(0), "{}", served.service.log());
    assert!(served.service.log_to_its_end().contains("\"stopped\""));
}
