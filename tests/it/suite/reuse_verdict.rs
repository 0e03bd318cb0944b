//! A verdict of reuse ends a session, so it is not given where a delay may explain the token (RFC 9700
//! §4.14.2): for callers that have hung up, after a standstill, and after time in which the service could
//! not answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::harness::http2::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM, frame,
};
use crate::harness::tls::{self, Pair};
use crate::harness::{Database, Executable, Request, refresh_form};

/// The retry window of public clients, unless it is set, in seconds.
const WINDOW: i64 = 120;

/// A session of the public client whose first token was exchanged twice, so long ago that it is reuse.
struct Session {
    old: String,
    current: String,
}

impl Session {
    async fn open(jeton: &Jeton) -> Self {
        let old = jeton.login_through("spa", "").await.refresh_token();
        let next = jeton.refresh("spa", &old, "").await.refresh_token();
        let current = jeton.refresh("spa", &next, "").await.refresh_token();
        jeton.clock.advance(WINDOW);
        Self { old, current }
    }

    fn form(&self) -> String {
        format!("{}&client_id=spa", refresh_form(&self.old))
    }
}

/// How often a reuse was found and came to this verdict.
async fn verdicts(jeton: &Jeton, verdict: &str) -> u64 {
    let labels = format!(r#"{{behind="2",verdict="{verdict}"}}"#);
    jeton.metric(&format!("jeton_refresh_tokens_reused_total{labels}")).await
}

/// Sends octets, lets the service run for so many turns, and closes the connection in both directions.
async fn send_and_hang_up(mut stream: impl AsyncWrite + Unpin, octets: &[u8], turns: usize) {
    stream.write_all(octets).await.expect("the service reads");
    stream.flush().await.expect("the service reads");
    let_run(turns).await;
    stream.shutdown().await.expect("the service is there");
}

/// Lets the service, which runs in the thread of the test, run for so many turns.
async fn let_run(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// Lets callers hang up, each a turn later than the one before, until a verdict was withheld: a request whose
/// caller is gone before it was read whole is never decided.
async fn hang_up_until_withheld(jeton: &Jeton, hang_up: impl AsyncFn(usize)) {
    let before = verdicts(jeton, "withheld").await;
    let withheld = async {
        for turns in 0.. {
            hang_up(turns).await;
            for _ in 0..20 {
                if verdicts(jeton, "withheld").await > before {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), withheld).await.expect("a request is decided");
}

/// Posts a form over TLS, and returns the refresh token of the answer.
async fn refresh_token_over_tls(address: SocketAddr, pair: &Pair, form: &str) -> String {
    let octets = Request::new(address, "POST", "/token").form(form).octets();
    let mut stream = tls::connect(address, pair, "http/1.1").await;
    stream.write_all(&octets).await.expect("the service reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0);
    }
    let answer = String::from_utf8(answer).expect("text");
    let (_, rest) = answer.split_once("\"refresh_token\":\"").expect("a refresh token");
    rest.split('"').next().expect("a token").to_owned()
}

/// Waits until the service has taken what was sent so far: what it gets later is not part of that.
async fn settle(connection: &mut Http2) {
    assert!(connection.send(&frame(PING, 0, 0, b"sent yet")).await);
    while let Some(frame) = connection.reader.next().await {
        if frame.kind == PING && frame.payload == b"sent yet" {
            return;
        }
    }
    panic!("the service closed");
}

/// A client that sent its old token and hung up may have gone on elsewhere with the new one: its request ends
/// no session, over whichever protocol it came. The same request ends it when the caller waits.
#[tokio::test]
async fn a_caller_that_hangs_up_ends_no_session() {
    let jeton = jeton().await;
    let session = Session::open(&jeton).await;
    let request = Request::new(jeton.service.public, "POST", "/token").form(&session.form());
    hang_up_until_withheld(&jeton, async |turns| {
        let stream = TcpStream::connect(jeton.service.public).await.expect("the service listens");
        send_and_hang_up(stream, &request.octets(), turns).await;
    })
    .await;
    assert_eq!(verdicts(&jeton, "ended").await, 0);
    let next = jeton.refresh("spa", &session.current, "").await.refresh_token();
    jeton.clock.advance(WINDOW);
    request.send().await.assert_error(400, "invalid_grant");
    jeton.refresh("spa", &next, "").await.assert_error(400, "invalid_grant");
}

/// The same over TLS, and with HTTP/2, where a caller also hangs up by resetting its stream (RFC 9113 §6.4).
#[tokio::test]
async fn a_caller_that_hangs_up_over_tls_ends_no_session() {
    let pair = Pair::new();
    let arguments = pair.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let address = jeton.service.public;
    let login = format!("{}&client_id=spa", login_form("alice", PASSWORD));
    let mut tokens = vec![refresh_token_over_tls(address, &pair, &login).await];
    for exchanged in 0..2 {
        let form = format!("{}&client_id=spa", refresh_form(&tokens[exchanged]));
        tokens.push(refresh_token_over_tls(address, &pair, &form).await);
    }
    jeton.clock.advance(WINDOW);
    let form = format!("{}&client_id=spa", refresh_form(&tokens[0]));

    let octets = Request::new(address, "POST", "/token").form(&form).octets();
    hang_up_until_withheld(&jeton, async |turns| {
        let stream = tls::connect(address, &pair, "http/1.1").await;
        send_and_hang_up(stream, &octets, turns).await;
    })
    .await;

    let mut request = frame(HEADERS, END_HEADERS, 1, &http2::post("/token"));
    request.extend(frame(DATA, END_STREAM, 1, form.as_bytes()));
    hang_up_until_withheld(&jeton, async |turns| {
        let mut reset = Http2::connect(address, &pair).await;
        assert!(reset.send(&request).await);
        let_run(turns).await;
        assert!(reset.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await);
        settle(&mut reset).await;
    })
    .await;
    hang_up_until_withheld(&jeton, async |turns| {
        let mut closed = Http2::connect(address, &pair).await;
        assert!(closed.send(&request).await);
        let_run(turns).await;
    })
    .await;
    assert_eq!((verdicts(&jeton, "ended").await, jeton.sessions().await.len()), (0, 1));

    let mut kept = Http2::connect(address, &pair).await;
    assert!(kept.send(&request).await);
    assert_eq!(kept.outcome(1).await.and_then(|frame| frame.status()), Some(400));
    assert_eq!((verdicts(&jeton, "ended").await, jeton.sessions().await.len()), (1, 0));
}

/// While the process stood still, requests waited in its sockets; for 10 seconds after it none of them ends a
/// session, though its caller may still be there.
#[tokio::test]
async fn after_a_standstill_no_session_is_ended_for_ten_seconds() {
    let jeton = jeton().await;
    let session = Session::open(&jeton).await;
    jeton.clock.stand_still(3);
    for passed in [0, 9] {
        jeton.clock.advance(passed);
        jeton.refresh("spa", &session.old, "").await.assert_error(400, "invalid_grant");
    }
    assert_eq!((verdicts(&jeton, "withheld").await, jeton.sessions().await.len()), (2, 1));
    assert_eq!(jeton.metric("jeton_standstills_total").await, 1);
    jeton.clock.advance(WINDOW);
    jeton.refresh("spa", &session.old, "").await.assert_error(400, "invalid_grant");
    assert_eq!((verdicts(&jeton, "ended").await, jeton.sessions().await.len()), (1, 0));
}

/// Time in which this replica could not answer does not count against a token: it may be presented again
/// for as long after that as after the refresh.
#[tokio::test]
async fn the_window_counts_time_in_which_the_service_could_answer() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let old = jeton.login_through("spa", "").await.refresh_token();
    let successor = jeton.refresh("spa", &old, "").await.refresh_token();
    let retries_for_a_window = async |address: SocketAddr| {
        for passed in [0, WINDOW - 1] {
            jeton.clock.advance(passed);
            let retry = jeton.refreshing("spa", &old, "").at(address).send().await;
            assert_eq!(retry.refresh_token(), successor);
        }
    };
    retries_for_a_window(jeton.service.public).await;
    // The database does not answer for an hour.
    outage.begin();
    jeton.clock.advance(3_600);
    jeton.login_through("web", "").await.assert_error(503, "temporarily_unavailable");
    outage.end();
    retries_for_a_window(jeton.service.public).await;
    // The process stands still for an hour.
    jeton.clock.stand_still(3_600);
    retries_for_a_window(jeton.service.public).await;
    // A replica starts after an hour.
    jeton.clock.advance(3_600);
    retries_for_a_window(jeton.replica().await.public).await;
    // The first replica could answer all the time.
    jeton.refresh("spa", &old, "").await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.sessions().await.len(), 0);
}

/// A replica is stopped (SIGSTOP) while clients wait for it. Those that give up go on at another replica with
/// the same token. When the first one goes on, it finds what they sent it before, also from callers that
/// still wait: no session ends.
#[tokio::test]
async fn a_process_that_stood_still_ends_no_session() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let settings = ["--refresh-retry-window", "0s"];
    let mut stopped = Executable::serve_on(&database, fixtures, &settings);
    let other = Executable::serve_on(&database, fixtures, &settings);
    let at = |address, form: &str| Request::new(address, "POST", "/token").form(form);
    let as_spa = |form: &str| format!("{form}&client_id=spa");
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let login = as_spa(&login_form("alice", PASSWORD));
        tokens.push(at(other.public, &login).send().await.refresh_token());
    }
    stopped.freeze();
    let (mut waiting, mut current) = (Vec::new(), Vec::new());
    for (index, token) in tokens.iter().enumerate() {
        let refresh = as_spa(&refresh_form(token));
        let octets = at(stopped.public, &refresh).octets();
        let mut stream = TcpStream::connect(stopped.public).await.expect("its kernel accepts");
        stream.write_all(&octets).await.expect("its kernel takes it");
        // Every second caller hangs up, the others still wait.
        if index % 2 == 0 {
            drop(stream);
        } else {
            waiting.push(stream);
        }
        let next = at(other.public, &refresh).send().await.refresh_token();
        let next = as_spa(&refresh_form(&next));
        current.push(at(other.public, &next).send().await.refresh_token());
    }
    // Long enough to be noticed.
    tokio::time::sleep(Duration::from_secs(3)).await;
    stopped.signal("CONT");
    for mut stream in waiting {
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0);
        }
        assert!(String::from_utf8_lossy(&answer).contains("invalid_grant"));
    }
    assert!(stopped.metric("jeton_standstills_total").await >= 1);
    let log = stopped.stop_and_read_log();
    for told in ["the process stood still for", r#""event":"reuse_withheld""#, r#""why":""#] {
        assert!(log.contains(told), "{told} in {log}");
    }
    assert!(!log.contains("refresh_token_reused"), "{log}");
    for token in &current {
        at(other.public, &as_spa(&refresh_form(token))).send().await.refresh_token();
    }
}
