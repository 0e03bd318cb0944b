//! HTTP/2 as strangers speak it (RFC 9113), and as attackers do.

use super::*;
use crate::harness::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, Http2,
    PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, block, frame, get, post,
};
use crate::harness::tls::Pair;
use crate::harness::{Database, Executable, Fixtures};

const JWKS: &str = "/.well-known/jwks.json";
/// What a flood over one connection may make the process grow by, in octets.
const GROWTH_MAX: u64 = 16 << 20;

/// `jeton serve` with TLS on a copy of the template.
struct Secured {
    service: Executable,
    pair: Pair,
    _database: Database,
    fixtures: &'static Fixtures,
}

impl Secured {
    async fn start() -> Self {
        let (database, fixtures) = Database::filled(ENGINE).await;
        let pair = Pair::new();
        let arguments = pair.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let master_key = fixtures.master_key.display().to_string();
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        let service = Executable::serve(&[&usual[..], &arguments].concat());
        let secured = Self { service, pair, _database: database, fixtures };
        // What every connection needs is in memory by now.
        secured.assert_serves().await;
        secured
    }

    async fn connect(&self) -> Http2 {
        Http2::connect(self.service.public, &self.pair).await
    }

    /// Asserts that others are served: the keys, and the form of a client.
    async fn assert_serves(&self) {
        let mut other = self.connect().await;
        assert!(other.request(1, &get(JWKS, &[])).await);
        assert_eq!(other.outcome(1).await.and_then(|frame| frame.status()), Some(200));
        let form = format!("token=x&client_id=web&client_secret={}", self.fixtures.secret("web"));
        let mut octets = frame(HEADERS, END_HEADERS, 3, &post("/revoke"));
        octets.extend(frame(DATA, END_STREAM, 3, form.as_bytes()));
        assert!(other.send(&octets).await);
        assert_eq!(other.outcome(3).await.and_then(|frame| frame.status()), Some(200));
    }
}

/// The value of a setting in the payload of SETTINGS.
fn setting(payload: &[u8], identifier: u16) -> Option<u32> {
    let mut settings = payload.chunks_exact(6);
    let own = settings.find(|setting| setting[..2] == identifier.to_be_bytes())?;
    Some(u32::from_be_bytes(own[2..].try_into().expect("four octets")))
}

/// RFC 9113 §5.1.2, §6.5.2, §10.5: the service says how many streams, which fields and how much
/// content it takes, and holds clients to it that do not listen; what they had begun goes on. [H-24]
#[tokio::test]
async fn streams_and_fields_are_limited() {
    let secured = Secured::start().await;
    let mut client = secured.connect().await;
    let settings = client.reader.next().await.expect("settings");
    assert_eq!((settings.kind, settings.flags), (SETTINGS, 0));
    assert_eq!(setting(&settings.payload, 3), Some(100), "streams at once");
    assert_eq!(setting(&settings.payload, 4), Some(16_384), "window of a stream");
    assert_eq!(setting(&settings.payload, 6), Some(16_384), "list of fields");

    for number in 0..150 {
        let stream = 2 * number + 1;
        assert!(client.send(&frame(HEADERS, END_HEADERS, stream, &post("/revoke"))).await);
    }
    for number in 100..150 {
        let refused = client.outcome(2 * number + 1).await.expect("a refusal");
        assert_eq!((refused.kind, refused.error()), (RST_STREAM, Some(REFUSED_STREAM)));
    }
    let secret = secured.fixtures.secret("web");
    let form = format!("token=x&client_id=web&client_secret={secret}");
    for stream in [1, 199] {
        assert!(client.send(&frame(DATA, END_STREAM, stream, form.as_bytes())).await);
        assert_eq!(client.outcome(stream).await.and_then(|frame| frame.status()), Some(200));
    }

    let long = "x".repeat(20_000);
    let fields = get(JWKS, &[("x-long", long.as_bytes())]);
    let (first, second) = fields.split_at(16_000);
    let mut octets = frame(HEADERS, END_STREAM, 301, first);
    octets.extend(frame(CONTINUATION, END_HEADERS, 301, second));
    assert!(client.send(&octets).await);
    assert_eq!(client.outcome(301).await.and_then(|frame| frame.status()), Some(431));
    assert!(client.request(303, &get(JWKS, &[])).await);
    assert_eq!(client.outcome(303).await.and_then(|frame| frame.status()), Some(200));
    secured.assert_serves().await;
}

/// RFC 9110 §5.5; RFC 9113 §8.1.1, §8.2.1, §8.2.2, §8.3: a field that belongs to a connection, has
/// characters that end a line elsewhere, or contradicts the content makes a request malformed, which
/// no handler sees. [H-20] [H-24]
#[tokio::test]
async fn malformed_requests_reach_no_handler() {
    let secured = Secured::start().await;
    let fields: [(&str, &[u8]); 14] = [
        ("connection", b"keep-alive"),
        ("keep-alive", b"timeout=5"),
        ("proxy-connection", b"keep-alive"),
        ("transfer-encoding", b"chunked"),
        ("upgrade", b"websocket"),
        ("te", b"gzip"),
        ("X-Upper", b"x"),
        ("x blank", b"x"),
        ("x-null", b"a\0b"),
        ("x-cr", b"a\rb"),
        ("x-lf", b"a\nb"),
        ("x-crlf", b"a\r\nx-injected: b"),
        (":path", b"/token"),
        ("content-length", b"5"),
    ];
    for (name, value) in fields {
        let mut client = secured.connect().await;
        assert!(client.request(1, &get(JWKS, &[(name, value)])).await);
        let outcome = client.outcome(1).await;
        let error = outcome.as_ref().and_then(Frame::error);
        assert!(error.is_some_and(|code| code != 0), "{name}: {outcome:?}");
        if outcome.is_some_and(|frame| frame.kind == RST_STREAM) {
            assert_eq!(error, Some(PROTOCOL_ERROR), "{name}");
            assert!(client.request(3, &get(JWKS, &[("te", b"trailers")])).await);
            let next = client.outcome(3).await;
            assert_eq!(next.and_then(|frame| frame.status()), Some(200), "{name}");
        }
    }
    // RFC 9113 §8.5: there is nothing here to connect to.
    let mut client = secured.connect().await;
    let connect = block(&[(":method", b"CONNECT"), (":authority", b"localhost:80")]);
    assert!(client.request(1, &connect).await);
    assert_eq!(client.outcome(1).await.and_then(|frame| frame.status()), Some(400));
    secured.assert_serves().await;
}

/// CVE-2023-44487, CVE-2024-27316, CVE-2019-9512, -9515, -9518: a client that opens streams and resets
/// them at once, or sends fields, pings, settings or empty content without end, is told to calm down
/// or is just served; the process does not grow, and others are served meanwhile and after. [H-24]
#[tokio::test]
async fn floods_over_one_connection_are_harmless() {
    let secured = Secured::start().await;
    let before = secured.service.peak_memory();
    let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let rapid_reset = (0..20_000).flat_map(|number| {
        let stream = 2 * number + 1;
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(JWKS, &[]));
        [open, reset(stream)].concat()
    });
    let fields = get(JWKS, &[("x", &[b'x'; 16_000])]);
    let more = vec![0x20; 16_000];
    let endless_fields = frame(HEADERS, END_STREAM, 1, &fields)
        .into_iter()
        .chain((0..2_000).flat_map(|_| frame(CONTINUATION, 0, 1, &more)));
    let begun = frame(HEADERS, END_HEADERS, 1, &post("/token"));
    let empty_content = begun.into_iter().chain(frame(DATA, 0, 1, &[]).repeat(100_000));
    for (case, octets, calms) in [
        ("rapid reset", rapid_reset.collect::<Vec<u8>>(), true),
        ("endless fields", endless_fields.collect(), true),
        ("empty content", empty_content.collect(), true),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(200_000), false),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(200_000), false),
    ] {
        let client = secured.connect().await;
        let flooding = tokio::spawn(client.flood(octets));
        secured.assert_serves().await;
        let frames = flooding.await.expect("no panic");
        let last = frames.iter().rfind(|frame| frame.kind == GOAWAY);
        let error = last.and_then(Frame::error);
        assert_eq!(error, calms.then_some(ENHANCE_YOUR_CALM), "{case}: {} frames", frames.len());
        secured.assert_serves().await;
    }
    let grown = secured.service.peak_memory().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown}");
}

/// RFC 9113 §10.5: a client that sends what must be answered and takes no answer is not read any
/// further. [H-24]
#[tokio::test]
async fn answers_that_nobody_takes_do_not_pile_up() {
    let secured = Secured::start().await;
    let before = secured.service.peak_memory();
    let mut flooding = Vec::new();
    for octets in [
        frame(PING, 0, 0, &[0; 8]).repeat(1_000_000),
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(1_000_000),
        (0..200_000)
            .flat_map(|number| {
                frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &get(JWKS, &[]))
            })
            .collect(),
    ] {
        let mut client = secured.connect().await;
        flooding.push(tokio::spawn(async move {
            client.send(&octets).await;
            client
        }));
    }
    for _ in 0..100 {
        secured.assert_serves().await;
    }
    let grown = secured.service.peak_memory().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown}");
    for one in flooding {
        one.abort();
    }
    secured.assert_serves().await;
}
