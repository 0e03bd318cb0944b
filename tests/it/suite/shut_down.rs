//! How the service stops when it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
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

/// Waits until nothing listens at an address any more.
async fn until_refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// A login that is under way when the service is told to stop is answered, although nobody else is
/// let in any more; then the process ends well.
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
    until_refused(service.public).await;
    stream.write_all(content).await.expect("it still reads");
    let answer = read_until(&mut stream, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"access_token\""), "{answer}");
    assert_eq!(service.wait(), Some(0), "{}", service.log());
    let log = service.log_to_its_end();
    assert!(!log.contains("panic"), "{log}");
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
