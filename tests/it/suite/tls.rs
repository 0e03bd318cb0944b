//! TLS of the public listener.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use jeton_http::tls::Certificate;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};

use super::*;
use crate::harness::tls::Pair;
use crate::harness::{Database, Executable, Request, run};

const JWKS: &str = "/.well-known/jwks.json";

async fn jeton_with_tls() -> (Jeton, Pair) {
    let pair = Pair::new();
    let arguments = pair.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    (Jeton::start_with(ENGINE, &arguments).await, pair)
}

/// How a client offers to speak TLS.
#[derive(Clone, Copy, Default)]
struct Offer {
    only: Option<SslVersion>,
    ciphers: Option<&'static str>,
    alpn: &'static [u8],
}

/// What came of it.
struct Handshake {
    version: &'static str,
    cipher: String,
    alpn: Option<Vec<u8>>,
    answer: String,
}

/// Shakes hands, sends octets, and reads until the service closes.
async fn speak(address: SocketAddr, offer: Offer, octets: Vec<u8>) -> Result<Handshake, String> {
    let speaking = tokio::task::spawn_blocking(move || {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("memory");
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_min_proto_version(offer.only).expect("a version");
        builder.set_max_proto_version(offer.only).expect("a version");
        // Level 0 lets this client offer what is too weak.
        let ciphers = offer.ciphers.unwrap_or("ALL:@SECLEVEL=0");
        builder.set_cipher_list(ciphers).expect("ciphers");
        if !offer.alpn.is_empty() {
            builder.set_alpn_protos(offer.alpn).expect("protocols");
        }
        let stream = TcpStream::connect(address).expect("the service listens");
        let shaken = builder.build().connect("localhost", stream);
        let mut stream = shaken.map_err(|error| error.to_string())?;
        stream.write_all(&octets).map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        // A close without the alert of TLS is an error to OpenSSL, and none here.
        if !octets.is_empty() {
            stream.read_to_end(&mut answer).ok();
        }
        let ssl = stream.ssl();
        Ok(Handshake {
            version: ssl.version_str(),
            cipher: ssl.current_cipher().map(|cipher| cipher.name().to_owned()).unwrap_or_default(),
            alpn: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            answer: String::from_utf8_lossy(&answer).into_owned(),
        })
    });
    speaking.await.expect("no panic")
}

/// RFC 6797 §7; RFC 9325 §3.1, §4; ASVS 5.0 §12.1: the service speaks TLS 1.3 and 1.2, with forward
/// secrecy and authenticated encryption only; HTTP/1.1 or, where offered, HTTP/2. [H-02] [H-03]
#[tokio::test]
async fn only_good_versions_and_ciphers_are_negotiated() {
    let (jeton, _pair) = jeton_with_tls().await;
    let public = jeton.service.public;
    let octets = jeton.request("GET", JWKS).header("Connection", "close").octets();
    let usual = speak(public, Offer::default(), octets.clone()).await.expect("a handshake");
    assert_eq!((usual.version, usual.alpn), ("TLSv1.3", None));
    assert!(usual.answer.starts_with("HTTP/1.1 200 "), "{}", usual.answer);

    let old = Offer { only: Some(SslVersion::TLS1_2), ..Offer::default() };
    let old = speak(public, old, octets.clone()).await.expect("a handshake");
    assert_eq!(old.version, "TLSv1.2");
    assert!(old.cipher.starts_with("ECDHE-RSA-"), "{}", old.cipher);
    assert!(old.answer.starts_with("HTTP/1.1 200 "), "{}", old.answer);

    for version in [SslVersion::TLS1_1, SslVersion::TLS1] {
        let offer = Offer { only: Some(version), ..Offer::default() };
        let refused = speak(public, offer, Vec::new()).await.err().expect("a refusal");
        // The alert is the service's own: it was asked for this version and said no.
        assert!(refused.contains("SSL alert number"), "{version:?}: {refused}");
    }
    for (ciphers, good) in [
        ("ECDHE-RSA-AES128-GCM-SHA256", true),
        ("ECDHE-RSA-CHACHA20-POLY1305", true),
        ("ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:@SECLEVEL=0", false),
        ("AES128-GCM-SHA256:AES256-SHA:@SECLEVEL=0", false),
        ("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", false),
        ("aNULL:eNULL:@SECLEVEL=0", false),
    ] {
        let only = Some(SslVersion::TLS1_2);
        let offer = Offer { only, ciphers: Some(ciphers), ..Offer::default() };
        let shaken = speak(public, offer, Vec::new()).await;
        assert_eq!(shaken.is_ok(), good, "{ciphers}: {:?}", shaken.err());
    }
    for (alpn, chosen) in [
        (&b"\x02h2\x08http/1.1"[..], &b"h2"[..]),
        (b"\x08http/1.1", b"http/1.1"),
        (b"\x08http/1.1\x02h2", b"h2"),
    ] {
        let shaken = speak(public, Offer { alpn, ..Offer::default() }, Vec::new()).await;
        assert_eq!(shaken.expect("a handshake").alpn.as_deref(), Some(chosen));
    }
    let unknown = Offer { alpn: b"\x04gopx", ..Offer::default() };
    assert!(speak(public, unknown, Vec::new()).await.is_err());
}

/// RFC 6749 §1.6, §3.2; RFC 6797 §7.1, §7.2; ASVS 5.0 §4.1.2: the port of TLS answers nothing in the
/// clear, not even with a redirect, which would hide that a password was sent so; HSTS comes over
/// TLS only, on errors too. [H-01] [H-04] [H-07] [W-38]
#[tokio::test]
async fn nothing_is_answered_in_the_clear() {
    let (jeton, _pair) = jeton_with_tls().await;
    let public = jeton.service.public;
    let login = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
    let octets = login.header("Connection", "close").octets();
    let in_the_clear = octets.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(public).expect("the service listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a setting");
        stream.write_all(&in_the_clear).expect("it is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    });
    let answer = answer.await.expect("no panic");
    assert!(!answer.contains("HTTP/") && !answer.contains("ocation"), "{answer}");

    let shaken = speak(public, Offer::default(), octets).await.expect("a handshake");
    assert!(shaken.answer.contains("\"access_token\":\""), "{}", shaken.answer);
    let unknown = jeton.request("GET", "/nothing").header("Connection", "close").octets();
    let unknown = speak(public, Offer::default(), unknown).await.expect("a handshake");
    assert!(unknown.answer.starts_with("HTTP/1.1 404 "), "{}", unknown.answer);
    let hsts = "\r\nstrict-transport-security: max-age=31536000; includeSubDomains\r\n";
    for answer in [&shaken.answer, &unknown.answer] {
        assert!(answer.contains(hsts), "{answer}");
    }
    let pair = Pair::new();
    let arguments = [&pair.arguments()[..], &["--hsts-host-only".to_owned()]].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let alone = Jeton::start_with(ENGINE, &arguments).await;
    let unknown = alone.request("GET", "/nothing").header("Connection", "close").octets();
    let answer = speak(alone.service.public, Offer::default(), unknown).await;
    let answer = answer.expect("a handshake").answer;
    assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{answer}");
    let plain = Jeton::start(ENGINE).await;
    for request in [plain.request("GET", JWKS), plain.request("GET", "/nothing")] {
        assert!(!request.send().await.has("strict-transport-security"));
    }
}

/// RFC 9113: a client that offers HTTP/2 gets the same answers over it.
#[tokio::test]
async fn http2_gives_the_same_answers() {
    let (jeton, pair) = jeton_with_tls().await;
    let port = jeton.service.public.port();
    let secret = jeton.fixtures.secret("web").to_owned();
    let form = login_form("alice", PASSWORD);
    let curl = tokio::task::spawn_blocking(move || {
        let curl = |further: &[&str], path: &str| {
            let chain = pair.chain().display().to_string();
            let url = format!("https://localhost:{port}{path}");
            let output = std::process::Command::new("curl")
                .args(["-s", "-i", "-4", "--noproxy", "*", "--http2", "--cacert", &chain, &url])
                .args(further)
                .output()
                .expect("curl runs: tests/run installs it");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let keys = curl(&[], JWKS);
        assert!(keys.starts_with("HTTP/2 200") && keys.contains("\"keys\":["), "{keys}");
        assert!(keys.contains("\r\nstrict-transport-security: "), "{keys}");
        let login = curl(&["-u", &format!("web:{secret}"), "-d", &form], "/token");
        assert!(login.starts_with("HTTP/2 200") && login.contains("\"access_token\":"), "{login}");
        let unknown = curl(&["-H", "Host: evil.example"], "/token/");
        assert!(unknown.starts_with("HTTP/2 404"), "{unknown}");
    });
    curl.await.expect("no panic");
}

/// Puts a file in the place of another, with the same time of change each time: contents are compared.
fn replace(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("a copy");
    let file = std::fs::File::options().write(true).open(to).expect("the file");
    file.set_modified(std::time::UNIX_EPOCH).expect("a setting");
}

/// A certificate is read again when its files change; a pair that does not fit together, as there
/// is between two writes, leaves the old one in use.
#[tokio::test]
async fn a_certificate_is_replaced_while_it_serves() {
    let (in_use, next) = (Pair::new(), Pair::new());
    let certificate = Certificate::load(in_use.chain(), in_use.key()).expect("a pair");
    let reload = || certificate.reload().map_err(|error| error.to_string());
    assert_eq!(reload(), Ok(false), "nothing changed");
    let (first_chain, first_key) = (in_use.path("first.pem"), in_use.path("first-key.pem"));
    replace(&in_use.chain(), &first_chain);
    replace(&in_use.key(), &first_key);
    replace(&next.chain(), &in_use.chain());
    for _ in 0..2 {
        // As long as it lasts.
        let problem = reload().expect_err("the pair does not fit");
        assert!(
            problem.contains("--tls-certificate") && problem.contains("--tls-key"),
            "{problem}"
        );
    }
    replace(&next.key(), &in_use.key());
    assert_eq!(reload(), Ok(true));
    assert_eq!(reload(), Ok(false), "nothing changed");
    std::fs::write(in_use.chain(), "nonsense").expect("a file");
    assert!(reload().is_err());
    std::fs::remove_file(in_use.chain()).expect("a file");
    assert!(reload().is_err());
    replace(&next.chain(), &in_use.chain());
    assert_eq!(reload(), Ok(false), "it is the one in use again");
    replace(&first_chain, &in_use.chain());
    replace(&first_key, &in_use.key());
    assert_eq!(reload(), Ok(true));
}

/// RFC 8446 §4.4.2: the service's own certificate comes first, and each is issued by the next. A chain is taken
/// whole or refused with the reason.
#[tokio::test]
async fn a_chain_is_read_whole_or_refused() {
    let root = Pair::new();
    let middle = Pair::issued_by(&root);
    let own = Pair::issued_by(&middle);
    let read = |pair: &Pair| std::fs::read_to_string(pair.chain()).expect("a file");
    let (root, middle, first) = (read(&root), read(&middle), read(&own));
    let load = |chain: &str| {
        std::fs::write(own.chain(), chain).expect("a file");
        let loaded = Certificate::load(own.chain(), own.key());
        loaded.map(|_| ()).map_err(|error| error.to_string())
    };
    for good in [
        first.clone(),
        format!("{first}{middle}"),
        format!("Certificate:\n{first}\n# the issuer\n{middle}{root}"),
        format!("{first}{middle}").replace('\n', "\r\n"),
        format!("{first}{}", middle.trim_end()),
    ] {
        assert_eq!(load(&good), Ok(()), "{good}");
    }
    for (bad, reason) in [
        (format!("{}{middle}", first.trim_end()), "2 certificates begin in it, and 1 can be read"),
        (format!("{first} {middle}"), "2 certificates begin in it, and 1 can be read"),
        (first.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "and 0 can be read"),
        (format!("{first}{root}"), "certificate 2 in it has not issued certificate 1"),
        (format!("{first}{middle}{middle}"), "certificate 3 in it has not issued certificate 2"),
        (format!("{middle}{root}{first}"), "certificate 3 in it has not issued certificate 2"),
        (format!("{middle}{root}"), "the first certificate of the file must be the one of the key"),
        (String::new(), "there is no certificate in it"),
    ] {
        let problem = load(&bad).expect_err(reason);
        assert!(problem.contains("--tls-certificate") && problem.contains(reason), "{problem}");
    }
}

/// A certificate that clients refuse for its dates is told of at the start and when it is taken over, and the
/// metric says for how long it is good. A problem that lasts is told once.
#[tokio::test]
async fn a_certificate_with_bad_dates_is_loud() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let pair = Pair::good_between([1_600_000_000, 1_700_000_000]);
    let arguments = pair.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let master_key = fixtures.master_key.display().to_string();
    let place = ["--database", &database.url, "--master-key-file", &master_key];
    let process = Executable::serve(&[&place[..], &arguments].concat());
    let expires = async || {
        let metrics = Request::new(process.management, "GET", "/metrics").send().await;
        let line = metrics.text().lines().find_map(|line| {
            line.strip_prefix("jeton_tls_certificate_expires_seconds{} ").map(str::to_owned)
        });
        line.expect("the metric").parse::<i64>().expect("seconds")
    };
    let until_logged = async |text: &str| {
        while !process.log().contains(text) {
            tokio::task::yield_now().await;
        }
    };
    until_logged("has expired at 2023-11-14T22:13:20Z").await;
    assert!(expires().await < 0);

    let future = Pair::good_between([4_000_000_000, 4_100_000_000]);
    replace(&future.key(), &pair.key());
    process.signal("HUP");
    until_logged("cannot be used together").await;
    // As often as it is looked at, however often it is told.
    while process.metric("jeton_reload_failures_total").await < 3 {
        process.signal("HUP");
        tokio::task::yield_now().await;
    }
    replace(&future.chain(), &pair.chain());
    process.signal("HUP");
    until_logged("is not valid before 2096-10-02T07:06:40Z").await;
    assert!(expires().await > 0);
    let log = process.log();
    assert_eq!(log.matches("cannot be used together").count(), 1, "{log}");
}

/// ASVS 5.0 §12.2.1: a certificate that cannot be used stops the start with a sentence that names
/// the setting; with a good one the service may listen anywhere.
#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let jeton = jeton().await;
    let url = jeton.database.url.clone();
    let master_key = jeton.fixtures.master_key.display().to_string();
    let check = tokio::task::spawn_blocking(move || {
        let (pair, other) = (Pair::new(), Pair::new());
        let usual = ["--database", &url, "--master-key-file", &master_key];
        let anywhere = ["--listen", "0.0.0.0:0", "--issuer", "https://localhost"];
        let path = |path: &Path| path.display().to_string();
        let missing = path(&pair.path("missing.pem"));
        for (chain, key, setting) in [
            (missing.clone(), path(&pair.key()), "--tls-certificate"),
            (path(&pair.chain()), missing.clone(), "--tls-key"),
            (path(&pair.key()), path(&pair.key()), "--tls-certificate"),
            (path(&pair.chain()), path(&pair.chain()), "--tls-key"),
            (path(&pair.chain()), path(&other.key()), "--tls-key"),
        ] {
            let tls = ["--tls-certificate", &chain, "--tls-key", &key];
            let all = [&["serve"], &usual[..], &anywhere, &tls].concat();
            let output = run(&all);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{chain} {key}: {text}");
            assert!(text.contains(setting), "{chain} {key}: {text}");
        }
        let (chain, key) = (path(&pair.chain()), path(&pair.key()));
        let only = run(&[&["serve"], &usual[..], &["--tls-certificate", &chain]].concat());
        assert_eq!(only.status.code(), Some(2));
        let tls = ["--tls-certificate", &chain, "--tls-key", &key];
        Executable::serve(&[&usual[..], &anywhere, &tls].concat());
    });
    check.await.expect("no panic");
}
