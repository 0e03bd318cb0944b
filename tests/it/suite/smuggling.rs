//! Requests that two readers could take for different ones (RFC 9112 §11.2): each probe is answered
//! exactly as often as it holds requests.

use super::*;
use crate::harness::client::until_closed;

const JWKS: &str = "/.well-known/jwks.json";
const FORM: &str = "token=x&client_id=spa";

/// Sends each of the octets on a connection of its own, and asserts that the service answers with
/// exactly these statuses and closes.
async fn assert_answers(cases: impl IntoIterator<Item = (&[u16], String)>) {
    let jeton = jeton().await;
    let mut wrong = Vec::new();
    for (expected, octets) in cases {
        let answers = until_closed(jeton.service.public, octets.as_bytes()).await;
        let heads = answers.split("HTTP/1.1 ").skip(1);
        let statuses: Vec<u16> = heads.map(|head| head[..3].parse().expect("a status")).collect();
        if statuses != expected {
            let octets: String = octets.chars().take(300).collect();
            wrong.push(format!("{statuses:?} instead of {expected:?}: {octets:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    jeton.access_token().await;
}

/// One response with this status.
fn only(status: u16) -> &'static [u16] {
    match status {
        200 => &[200],
        400 => &[400],
        _ => panic!("no case has {status}"),
    }
}

/// A revocation with these lines of framing and this behind its head.
fn posting(framing: &str, content: &str) -> String {
    format!(
        "POST /revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         {framing}\r\n\r\n{content}"
    )
}

/// A request for the keys that is to be the last on its connection.
fn last() -> String {
    format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// The form in chunks, the first size line written so.
fn chunked(first_line: &str) -> String {
    let (five, rest) = FORM.split_at(5);
    format!("{first_line}\r\n{five}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len())
}

/// RFC 9112 §6.1, §6.3: chunks end the connection, whatever else is said of the length; a coding that
/// is not plainly chunked is refused; and what follows is never answered. [H-15]
#[tokio::test]
async fn nothing_is_smuggled_behind_chunks() {
    let content = chunked("5") + &last();
    let framings = [
        (200, "Transfer-Encoding: chunked"),
        (200, "Transfer-Encoding: Chunked"),
        (200, "Transfer-Encoding: \t chunked \t"),
        (200, "Content-Length: 4\r\nTransfer-Encoding: chunked"),
        (200, "Transfer-Encoding: chunked\r\nContent-Length: 4"),
        (200, "X: x\nTransfer-Encoding: chunked"),
        (200, "Content-Length: 4\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding\t: chunked"),
        (400, " Transfer-Encoding: chunked"),
        (400, "Transfer-Encoding:\u{b}chunked"),
        (400, "Transfer-Encoding: \0chunked"),
        (400, "Transfer-Encoding: chunked\0"),
        (400, "Transfer-Encoding: xchunked"),
        (400, "Transfer-Encoding: chunked, identity"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (400, "Transfer-Encoding: \"chunked\""),
        (400, "Transfer-Encoding: chunked;q=1"),
        (400, "Transfer-Encoding:"),
        (400, "Transfer-Encoding: gzip"),
        (400, "Transfer\r\n-Encoding: chunked"),
        (400, "Transfer-Encoding:\r\n chunked"),
    ];
    let cases = framings.map(|(status, framing)| (only(status), posting(framing, &content)));
    // HTTP/1.0 has no chunks.
    let old = posting("Transfer-Encoding: chunked", &content).replacen("1.1", "1.0", 1);
    assert_answers(cases.into_iter().chain([(only(400), old)])).await;
}

/// RFC 9112 §7.1: a chunk whose size or end can be read in two ways is refused with its request.
/// [H-15]
#[tokio::test]
async fn a_chunk_has_one_reading() {
    let contents = [
        (200, chunked("5")),
        (200, chunked("005")),
        (200, chunked("5;name=value")),
        (200, chunked("5;name=\"quoted\"")),
        (200, chunked("5").replace("0\r\n\r\n", "0\r\nContent-Length: 9\r\nHost: y\r\n\r\n")),
        (400, chunked("0x5")),
        (400, chunked("+5")),
        (400, chunked("-5")),
        (400, chunked("")),
        (400, chunked("5\r\n")),
        (400, chunked("5,6")),
        (400, chunked("FFFFFFFFFFFFFFFF5")),
        (400, chunked(&format!("5;{}", "x".repeat(20_000)))),
        (400, chunked("5;a\nb")),
        (400, chunked("5\rX")),
        (400, chunked("5").replacen("5\r\n", "5\n", 1)),
        (400, chunked("5").replacen("5\r\n", "5\r", 1)),
        (400, chunked("4")),
        (400, chunked("6")),
    ];
    let request = |content: String| posting("Transfer-Encoding: chunked", &(content + &last()));
    assert_answers(contents.map(|(status, content)| (only(status), request(content)))).await;
}

/// RFC 9112 §6.3: a length is a number that is said once; what it does not cover is another request,
/// and what it covers is none, in a request that was refused before its content was read too.
/// [H-16] [H-17]
#[tokio::test]
async fn a_length_has_one_reading() {
    let (length, last) = (FORM.len(), last());
    let framings = [
        (&[200, 200][..], format!("Content-Length: {length}")),
        (&[200, 200], format!("Content-Length: 000{length}")),
        (&[200, 200], format!("Content-Length: \t{length} ")),
        (&[200, 200], format!("Content-Length: {length}\r\ntransfer_encoding: chunked")),
        (&[400], format!("Content-Length: {length}\r\nContent-Length: 0")),
        (&[400], format!("Content-Length: 0\r\nContent-Length: {length}")),
        (&[400], format!("Content-Length: {length}, 0")),
        (&[400], format!("Content-Length: {length};")),
        (&[400], format!("Content-Length: {length} 0")),
        (&[400], format!("Content-Length: \0{length}")),
        (&[400], format!("Content-Length:\r\n {length}")),
        (&[400], "Content-Length:".to_owned()),
        (&[400], "Content-Length: 1_0".to_owned()),
        (&[400], "Content-Length: \u{661}".to_owned()),
        (&[400], "Content-Length: 18446744073709551616".to_owned()),
        (&[413], "Content-Length: 18446744073709551613".to_owned()),
    ];
    let content = FORM.to_owned() + &last;
    assert_answers(framings.map(|(expected, framing)| (expected, posting(&framing, &content))))
        .await;

    let hidden = format!("GET {JWKS} HTTP/1.1\r\nHost: x\r\n\r\n");
    let refused = posting(&format!("Content-Length: {}", hidden.len()), &hidden) + &last;
    assert_answers([
        (&[400, 200][..], refused.replace("form-urlencoded", "json")),
        (&[404, 200], refused.replacen("/revoke", "/nothing", 1)),
        (&[405, 200], refused.replacen("POST", "PUT", 1)),
        (&[403, 200], refused.replacen("Host: x", "Host: x\r\nOrigin: https://evil.example", 1)),
        (&[200, 200], refused.replacen("POST /revoke", &format!("GET {JWKS}"), 1)),
        (&[204, 200], refused.replacen("POST", "OPTIONS", 1)),
    ])
    .await;
}

/// RFC 9112 §2.2, §3.2, §9.3.2: requests that follow each other at once are answered in their order;
/// what is no request line of HTTP/1 ends the connection. [H-18] [H-19] [H-20]
#[tokio::test]
async fn a_request_line_has_one_reading() {
    let last = last();
    let host = "Host: x\r\n\r\n";
    assert_answers([
        (&[200, 404, 405, 200][..], {
            let get = format!("GET {JWKS} HTTP/1.1\r\n{host}");
            format!("{get}GET /nothing HTTP/1.1\r\n{host}GET /token HTTP/1.1\r\n{host}{last}")
        }),
        // RFC 9112 §2.2: an empty line before a request.
        (&[200], format!("\r\n{last}")),
        (&[200], last.replace("\r\n", "\n")),
        // RFC 9112 §3.2.2: the target may be a whole URL.
        (&[200], last.replace(JWKS, &format!("http://localhost{JWKS}"))),
        (&[404], last.replace(JWKS, "http://localhost//token")),
        (&[404], last.replace(&format!("GET {JWKS}"), "OPTIONS *")),
        (&[200], last.replacen("Host", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nHost", 1)),
        (&[405], last.replacen("GET", "get", 1)),
        (&[400], last.replace(JWKS, "token")),
        (&[400], last.replace(JWKS, "/to\0ken")),
        (&[400], last.replacen(' ', "  ", 1)),
        (&[400], last.replacen(' ', "\t", 1)),
        (&[400], format!(" {last}")),
        (&[400], format!("\0{last}")),
        (&[400], last.replacen("GET", "GE\tT", 1)),
        (&[400], last.replacen("GET", "G(T", 1)),
        (&[400], last.replacen("HTTP/1.1\r\n", "HTTP/1.1\r", 1)),
        (&[400], last.replacen("HTTP/1.1", "HTTP/1.2", 1)),
        (&[400], last.replacen("HTTP/1.1", "HTTP/2.0", 1)),
        (&[400], last.replacen("HTTP/1.1", "HTTP/0.9", 1)),
        (&[400], last.replacen("HTTP/1.1", "http/1.1", 1)),
        (&[400], last.replacen(" HTTP/1.1", "", 1)),
        (&[400], last.replace(&format!("GET {JWKS}"), "CONNECT localhost:80")),
        (&[400], last.replace(&format!("GET {JWKS}"), "GET localhost:80")),
        (&[], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (&[400], last.replacen("Host: x\r\n", "Host: x\r\nX: a\0b\r\n", 1)),
        (&[400], last.replacen("Host: x\r\n", "Host: x\r\nX: a\rb\r\n", 1)),
        (&[400], last.replacen("Host: x\r\n", "Host: x\r\nX: a\u{7f}b\r\n", 1)),
        (&[400], last.replacen("Host: x\r\n", "Host: x\r\nHost : y\r\n", 1)),
    ])
    .await;
}
