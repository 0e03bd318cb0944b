//! Callers that are refused before their content was read: they read why, whatever they are still sending.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::harness::http2::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, frame, post,
};
use crate::harness::tls::{self, Pair};

const JWKS: &str = "/.well-known/jwks.json";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
/// More than is thrown away before the answer.
const LARGE: usize = 1 << 20;

/// Each kind of refusal that needs no content: the head up to what it says about its content, and the status.
fn refused() -> Vec<(String, u16)> {
    let post = |path: &str, fields: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\n{fields}");
    let foreign = format!("{FORM}Origin: https://evil.example\r\n");
    vec![
        (post("/nothing", FORM), 404),
        (post("/token", FORM).replacen("POST", "PUT", 1), 405),
        (post(JWKS, FORM), 405),
        (post("/token", &foreign), 403),
        (post("/introspect", &foreign), 403),
        (post("/token", "Content-Type: multipart/form-data; boundary=x\r\n"), 400),
        (post("/revoke", "Content-Type: application/json\r\n"), 400),
        (post("/token", &format!("{FORM}Content-Encoding: gzip\r\n")), 400),
        (post("/token", ""), 400),
    ]
}

/// Those after which no other request can follow.
fn refused_for_good() -> Vec<(String, u16)> {
    let fields = "X: x\r\n".repeat(100);
    vec![
        (format!("POST /token HTTP/1.1\r\nHost: x\r\nHost: y\r\n{FORM}"), 400),
        (format!("POST /token HTTP/1.1\r\nHost: x\r\n{FORM}{fields}"), 431),
        (format!("POST /token HTTP/1.1\r\nHost: x\r\nX : x\r\n{FORM}"), 400),
        (format!("POST /token HTTP/1.1\r\nHost: x\r\nX: {}\r\n{FORM}", "x".repeat(LARGE)), 431),
    ]
}

/// Content in chunks.
fn chunked(length: usize) -> String {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
    format!("{}0\r\n\r\n", chunk.repeat(length / 1_024))
}

/// Where the caller is.
#[derive(Clone, Copy)]
enum Way<'a> {
    Plain(std::net::SocketAddr),
    Tls(std::net::SocketAddr, &'a Pair),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Way<'_> {
    async fn connect(self) -> Box<dyn Stream> {
        match self {
            Self::Plain(address) => {
                Box::new(TcpStream::connect(address).await.expect("it listens"))
            }
            Self::Tls(address, pair) => Box::new(tls::connect(address, pair, "http/1.1").await),
        }
    }
}

/// Reads the head and the content of one answer.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let head = text.split_once("\r\n\r\n");
        let length = head.map(|(head, _)| {
            let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            line.map_or(0, |length| length.parse().expect("a number"))
        });
        if let (Some((_, content)), Some(length)) = (head, length)
            && content.len() >= length
        {
            return text;
        }
        let mut buffer = [0; 1_024];
        let read = stream.read(&mut buffer).await.expect("no reset before the answer");
        assert_ne!(read, 0, "the answer is whole: {text}");
        text += std::str::from_utf8(&buffer[..read]).expect("text");
    }
}

/// Reads to the end of the file: a reset, or an end without the alert of TLS, is an error.
async fn the_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an end of file, and no reset");
    text
}

/// Asserts that this answer is the only one, and says that it is the last.
#[track_caller]
fn assert_last(case: &str, answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case}: {answer}");
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{case}: {answer}");
}

async fn two_ways() -> (Jeton, Jeton, Pair) {
    let pair = Pair::new();
    let arguments = pair.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    (jeton().await, Jeton::start_with(ENGINE, &arguments).await, pair)
}

/// RFC 9112 §9.3, §9.6: content that is refused and small enough is thrown away, and the connection goes on with
/// the next request, whether the content came with its head or after it.
#[tokio::test]
async fn after_small_refused_content_the_connection_goes_on() {
    let (plain, encrypted, pair) = two_ways().await;
    for way in [Way::Plain(plain.service.public), Way::Tls(encrypted.service.public, &pair)] {
        for length in [1, 16_384] {
            for (head, status) in refused() {
                let head = format!("{head}Content-Length: {length}\r\n\r\n");
                let content = "x".repeat(length);
                let next = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                for parts in [vec![head.clone() + &content], vec![head.clone(), content.clone()]] {
                    let mut stream = way.connect().await;
                    for part in parts {
                        stream.write_all(part.as_bytes()).await.expect("it is taken");
                        stream.flush().await.expect("it is taken");
                    }
                    let told = answer(&mut stream).await;
                    assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {told}");
                    assert!(!told.to_lowercase().contains("connection: close"), "{head}: {told}");
                    stream.write_all(next.as_bytes()).await.expect("it is taken");
                    stream.flush().await.expect("it is taken");
                    assert_last(&head, &the_end(&mut stream).await, 200);
                }
            }
        }
    }
}

/// RFC 9112 §9.6; RFC 9110 §10.1.1, §15.5.14: whoever sends more than that, or sends in chunks, and reads nothing
/// before all is sent, reads the whole answer and then the end of the connection. So does whoever waits to be asked
/// for the content, or for the answer, before it sends anything.
#[tokio::test]
async fn whoever_is_refused_reads_why_and_then_the_end() {
    let (plain, encrypted, pair) = two_ways().await;
    let waits = "Content-Length: 100\r\nExpect: 100-continue\r\n";
    let content = "x".repeat(100);
    let large = (format!("Content-Length: {LARGE}\r\n"), "x".repeat(LARGE));
    // What the head says, what is sent with it, and what is sent when the answer has come.
    let contents = [
        (large.0.clone(), large.1.as_str(), ""),
        (large.0, "", ""),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked(1_024), ""),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked(LARGE), ""),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "", ""),
        (waits.to_owned(), "", ""),
        (waits.to_owned(), "", &content),
        (waits.to_owned(), &content, ""),
        ("Content-Length: 100\r\n".to_owned(), "", &content),
    ];
    let too_large = [(format!("POST /token HTTP/1.1\r\nHost: x\r\n{FORM}"), 413)];
    let mut cases = Vec::new();
    for (number, (says, first, then)) in contents.into_iter().enumerate() {
        // A form that is not refused is only too large if it says so, or comes.
        let is_too_large = number < 2 || number == 3;
        let further = too_large.iter().filter(|_| is_too_large).cloned();
        for (head, status) in refused().into_iter().chain(refused_for_good()).chain(further) {
            cases.push((format!("{head}{says}\r\n"), first.to_owned(), then.to_owned(), status));
        }
    }
    for way in [Way::Plain(plain.service.public), Way::Tls(encrypted.service.public, &pair)] {
        let callers = cases.iter().map(|(head, first, then, status)| async move {
            let mut stream = way.connect().await;
            let octets = format!("{head}{first}");
            stream.write_all(octets.as_bytes()).await.expect("all of it is taken");
            stream.flush().await.expect("all of it is taken");
            let told = answer(&mut stream).await;
            if !then.is_empty() {
                stream.write_all(then.as_bytes()).await.expect("it is taken");
                stream.flush().await.expect("it is taken");
            }
            let case = head.chars().take(200).collect::<String>();
            assert_last(&case, &(told + &the_end(&mut stream).await), *status);
        });
        futures(callers).await;
    }
}

/// Awaits all of them together.
async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// ASVS 5.0 §15.2.2: callers that are refused and go on sending are evicted before those that wait for their next
/// request, at once.
#[tokio::test]
async fn refused_callers_give_way_first() {
    let jeton = Jeton::start_with(ENGINE, &["--max-connections", "3"]).await;
    let address = jeton.service.public;
    let get = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(get.as_bytes()).await.expect("it is taken");
        answer(&mut stream).await;
        idle.push(stream);
    }
    let mut refused = TcpStream::connect(address).await.expect("it listens");
    let head = format!("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n");
    refused.write_all(head.as_bytes()).await.expect("it is taken");
    assert_last("large", &answer(&mut refused).await, 404);
    let mut sending = JoinSet::new();
    sending.spawn(async move { while refused.write_all(b"x").await.is_ok() {} });
    let keys = jeton.request("GET", JWKS).send().await;
    assert_eq!(keys.status, 200);
    assert_eq!(jeton.metric("jeton_connections_gave_way_total").await, 1);
    sending.join_all().await;
    for stream in &mut idle {
        stream.write_all(get.as_bytes()).await.expect("it is open");
        answer(stream).await;
    }
}

/// RFC 9113 §8.1: the answer to a stream whose content is refused comes whole, and then the stream is reset without
/// an error; the connection goes on.
#[tokio::test]
async fn a_refused_stream_is_answered_and_ended_without_an_error() {
    let (_, encrypted, pair) = two_ways().await;
    let mut client = Http2::connect(encrypted.service.public, &pair).await;
    for (stream, path) in (1..).step_by(2).zip(["/nothing", JWKS, "/nothing"]) {
        let mut octets = frame(HEADERS, END_HEADERS, stream, &post(path));
        octets.extend(frame(DATA, 0, stream, &[b'x'; 10_000]));
        assert!(client.send(&octets).await);
        let mut whole = false;
        loop {
            let frame = client.reader.next().await.expect("the connection goes on");
            if frame.stream != stream {
                continue;
            }
            whole |= frame.kind == DATA && frame.flags & END_STREAM != 0;
            if frame.kind == RST_STREAM {
                assert_eq!((whole, frame.error()), (true, Some(0)), "{path}");
                break;
            }
        }
    }
}
