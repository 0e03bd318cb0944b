//! How the service stops when it is told to.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, frame, get, post,
};
use crate::harness::tls::Pair;
use crate::harness::{Database, Executable, Fixtures, Request};

/// `jeton serve` on a copy of the template.
async fn executable() -> (Executable, Database, &'static Fixtures) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    (Executable::serve(&arguments), database, fixtures)
}

/// Reads from a connection until the text holds this, or the other side closes.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut received = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        if !wanted.is_empty() && text.contains(wanted) {
            return text;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(length) => received.extend(&buffer[..length]),
        }
    }
}

/// Waits until the service says that it stops.
async fn until_stopping(service: &Executable) {
    let ready = Request::new(service.management, "GET", "/readyz");
    loop {
        let reply = ready.send().await;
        if reply.json()["status"] == "stopping" {
            assert_eq!(reply.status, 503);
            return;
        }
    }
}

/// A login that is under way when the service is told to stop is answered. Meanwhile the service is not ready, and
/// answers whoever still comes; each answer says that the connection ends. Then the process ends well.
#[tokio::test]
async fn a_login_in_flight_is_finished() {
    let (mut service, _database, fixtures) = executable().await;
    let form = login_form("alice", PASSWORD);
    let request = Request::new(service.public, "POST", "/token")
        .basic("web", fixtures.secret("web"))
        .header("Expect", "100-continue")
        .form(&form);
    let octets = request.octets();
    let (head, content) = octets.split_at(octets.len() - form.len());
    let mut stream = TcpStream::connect(service.public).await.expect("it listens");
    stream.write_all(head).await.expect("it reads");
    // The service asks for the content: the request is under way.
    let interim = read_until(&mut stream, "\r\n\r\n").await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");

    service.signal("TERM");
    until_stopping(&service).await;
    let keys = Request::new(service.public, "GET", "/.well-known/jwks.json").send().await;
    assert_eq!((keys.status, keys.header("connection")), (200, "close"));
    stream.write_all(content).await.expect("it still reads");
    let answer = read_until(&mut stream, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"access_token\""), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    let log = service.log_to_its_end();
    assert!(!log.contains("panic") && !log.contains("--drain"), "{log}");
}

/// Of logins that are queued for longer than `--drain` when the service is told to stop, and of those that come
/// later, each is served or told when to come back (RFC 9110 §10.2.3, §15.6.4); no connection is cut.
#[tokio::test]
async fn logins_that_wait_longer_than_the_drain_are_told_to_come_back() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let slow = ["--hash-threads", "1", "--hash-memory", "128MiB", "--scrypt", "ln=17,r=8,p=6"];
    let limits = [&slow[..], &["--login-deadline", "1m", "--drain", "3s"]].concat();
    // So a name that nobody has costs a new hash, and not that of a user.
    database.query("DELETE FROM users").await;
    let mut service = Executable::serve_on(&database, fixtures, &limits);
    assert!(service.log().contains("--drain 3s is shorter than --login-deadline 1m"));
    // Names that nobody has, because logins of one user wait for each other.
    let mut logins = JoinSet::new();
    let log_in = |number: u32, logins: &mut JoinSet<Reply>| {
        let form = login_form(&format!("nobody{number}"), PASSWORD) + "&client_id=spa";
        let login = Request::new(service.public, "POST", "/token").form(&form);
        logins.spawn(async move { login.send().await });
    };
    (0..20).for_each(|number| log_in(number, &mut logins));
    // The first is answered, so that some are served and some are not.
    let first = logins.join_next().await.expect("a login").expect("no login panics");
    first.assert_error(400, "invalid_grant");
    assert!(service.metric("jeton_hashing_queue_depth").await > 10);

    service.signal("TERM");
    until_stopping(&service).await;
    (20..25).for_each(|number| log_in(number, &mut logins));
    let mut told = 0;
    while let Some(reply) = logins.join_next().await {
        let reply = reply.expect("one answer, whole");
        if reply.status == 503 {
            reply.assert_error(503, "temporarily_unavailable");
            assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
            told += 1;
        } else {
            reply.assert_error(400, "invalid_grant");
        }
    }
    assert!(told > 0);
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    let log = service.log_to_its_end();
    assert!(log.contains("after --drain") && !log.contains("still open"), "{log}");
}

/// RFC 9113 §6.8: over HTTP/2 the caller is told at once that no more requests are taken on this connection, and
/// what is under way is answered.
#[tokio::test]
async fn a_stream_in_flight_is_finished() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let pair = Pair::new();
    let arguments = pair.arguments();
    let master_key = fixtures.master_key.display().to_string();
    let usual = ["--database", &database.url, "--master-key-file", &master_key];
    let arguments = arguments.iter().map(String::as_str);
    let arguments: Vec<&str> = usual.into_iter().chain(arguments).collect();
    let mut service = Executable::serve(&arguments);
    let mut client = Http2::connect(service.public, &pair).await;
    let form = format!("token=x&client_id=web&client_secret={}", fixtures.secret("web"));
    assert!(client.send(&frame(HEADERS, END_HEADERS, 1, &post("/revoke"))).await);
    // The service has read it when it answers what came after it.
    assert!(client.request(3, &get("/.well-known/jwks.json", &[])).await);
    assert_eq!(client.outcome(3).await.and_then(|frame| frame.status()), Some(200));

    service.signal("TERM");
    let goaway = client.outcome(1).await.expect("a frame");
    assert_eq!((goaway.kind, goaway.error()), (GOAWAY, Some(0)));
    assert!(client.send(&frame(DATA, END_STREAM, 1, form.as_bytes())).await);
    while let Some(frame) = client.outcome(1).await {
        if frame.kind != GOAWAY {
            assert_eq!(frame.status(), Some(200));
            break;
        }
    }
    drop(client);
    assert_eq!(service.wait(), Some(0), "{}", service.log());
}

/// A connection that only waits for its next request, and one that never sent any, do not hold the
/// service up: both are closed, and the process ends well on either signal.
#[tokio::test]
async fn idle_connections_do_not_hold_the_service_up() {
    for signal in ["TERM", "INT"] {
        let (mut service, _database, _) = executable().await;
        let request = Request::new(service.public, "GET", "/.well-known/jwks.json");
        let mut kept_alive = TcpStream::connect(service.public).await.expect("it listens");
        kept_alive.write_all(&request.octets()).await.expect("it reads");
        let answer = read_until(&mut kept_alive, "\"keys\"").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
        let mut silent = TcpStream::connect(service.public).await.expect("it listens");

        service.signal(signal);
        assert_eq!(service.wait(), Some(0), "{}", service.log());
        let log = service.log_to_its_end();
        assert!(!log.contains("still open"), "both were closed, not cut off: {log}");
        assert!(!read_until(&mut kept_alive, "HTTP/").await.contains("HTTP/"), "no more answers");
        assert_eq!(read_until(&mut silent, "").await, "");
    }
}
