//! The key set (RFC 7517), and the keys behind it.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::cli::serve::Service;
use jeton_crypto::sealing::{KeyPurpose, MasterKeys};
use jeton_crypto::signing;
use openssl::bn::{BigNum, BigNumContext};
use openssl::sha::sha256;
use serde_json::{Value, json};

use super::*;
use crate::harness::database::Database;
use crate::harness::forge::{ServiceKey, decode};
use crate::harness::keys::{JWKS, KeySet, verifies};
use crate::harness::service::{clock, settings};
use crate::harness::{Request, run};

/// The key set of a service.
async fn key_set(service: &Service) -> Value {
    KeySet::of(service.public).await.json
}

/// Starts a service on this database and master key.
async fn start_on(database: &Database, master_key: &Path, further: &[&str]) -> Service {
    let master_key = master_key.display().to_string();
    let mut all = vec!["--database", &database.url, "--master-key-file", &master_key];
    all.extend(further);
    Service::start(settings(&all), clock()).await.expect("it starts")
}

fn octets(key: &Value, member: &str) -> Vec<u8> {
    let text = key[member].as_str().unwrap_or_else(|| panic!("no {member}"));
    URL_SAFE_NO_PAD.decode(text).expect("base64url without padding")
}

/// Puts one more key beside the first: published, and not to sign for a day.
async fn publish_another_key(jeton: &Jeton) -> String {
    let masters = MasterKeys::load(std::slice::from_ref(&jeton.fixtures.master_key), true);
    let key = tokio::task::spawn_blocking(|| signing::generate(2_048)).await;
    let key = key.expect("no panic").expect("a key");
    let kid = key.public.kid.clone();
    let sealed = masters.expect("the master key").seal(KeyPurpose::Signing, &kid, &key.secret);
    let public = serde_json::to_string(&key.public).expect("JSON");
    let now = jeton.clock.now().0;
    let sql = format!(
        "INSERT INTO keys (kid, purpose, generation, public_jwk, sealed_key, created_at, \
         activates_at) VALUES ('{kid}', 'signing', 2, '{public}', '{sealed}', {now}, {})",
        now + 86_400
    );
    jeton.database.query(&sql).await;
    kid.to_string()
}

/// RFC 7517 §4, §5; RFC 7518 §2, §6.3: the set holds public RSA keys in their shortest spelling,
/// each under a name of its own that is its RFC 7638 thumbprint, and no member that is private,
/// symmetric or unknown. [K-01] [K-02] [K-03] [K-04] [K-05] [K-06] [K-07] [K-08] [K-09] [K-10]
/// [K-11] [K-12] [K-13] [K-14]
#[tokio::test]
async fn the_set_holds_public_rsa_keys_and_nothing_else() {
    let jeton = jeton().await;
    publish_another_key(&jeton).await;
    let replica = jeton.replica().await;
    // The harness refuses JSON in which a member repeats.
    let set = key_set(&replica).await;
    assert_eq!(set.as_object().expect("an object").len(), 1, "{set}");
    let keys = set["keys"].as_array().expect("an array");
    assert_eq!(keys.len(), 2);
    for key in keys {
        let mut members: Vec<_> = key.as_object().expect("an object").keys().collect();
        members.sort();
        assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]);
        let fixed = ["kty", "use", "alg", "e"].map(|name| key[name].as_str().unwrap_or_default());
        assert_eq!(fixed, ["RSA", "sig", "RS256", "AQAB"]);
        let modulus = octets(key, "n");
        assert_eq!(modulus.len(), 256);
        assert!(modulus[0] >= 0x80, "2048 bits, and no leading zero");
        let (e, n) = (&key["e"], &key["n"]);
        let canonical = format!(r#"{{"e":{e},"kty":"RSA","n":{n}}}"#);
        assert_eq!(key["kid"], URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes())));
    }
    let kids: HashSet<_> = keys.iter().map(|key| key["kid"].as_str()).collect();
    assert_eq!(kids.len(), keys.len());
    let (header, _) = decode(&jeton.access_token().await);
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &keys[0]["kid"]));
}

/// RFC 7518 §3.3: larger keys can be had by a setting. [K-07]
#[tokio::test]
async fn the_size_of_new_keys_is_a_setting() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.folder.join("master.jwk");
    let service = start_on(&database, &master_key, &["--key-bits", "3072"]).await;
    let modulus = octets(&key_set(&service).await["keys"][0], "n");
    assert_eq!((modulus.len(), modulus[0] >= 0x80), (384, true));
    let small = run(&["serve", "--key-bits", "1024", "--database", &database.url]);
    assert_eq!(small.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&small.stderr).contains("2048, 3072 or 4096"));
}

/// RFC 7517 §4.5, §5.1: a verifier finds the key by its name, in whatever order the keys come.
/// [K-28]
#[tokio::test]
async fn the_order_of_keys_means_nothing() {
    let jeton = jeton().await;
    let other = publish_another_key(&jeton).await;
    let replica = jeton.replica().await;
    let token = jeton.access_token().await;
    let mut set = key_set(&replica).await;
    assert!(verifies(&token, &set));
    set["keys"].as_array_mut().expect("an array").reverse();
    assert!(verifies(&token, &set));
    // The verifier of this test can say no.
    set["keys"].as_array_mut().expect("an array").retain(|key| key["kid"] == other);
    assert!(!verifies(&token, &set));
}

/// RFC 9110 §8.8, §9.3.2, §13.1.2; RFC 9111 §5.2.2; RFC 9700 §2.6: the set is a public document
/// that anyone may read from anywhere and cache, with a validator; HEAD says what GET says, and
/// neither credentials nor a query change it. Before a key signs it is published for twice that
/// lifetime and a minute. [K-15] [K-16] [K-18] [K-19] [K-21] [K-29]
#[tokio::test]
async fn the_set_is_a_public_document() {
    let jeton = jeton().await;
    let get = |target: &str| jeton.request("GET", target);
    let plain = get(JWKS).send().await;
    assert_eq!(plain.status, 200);
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=600"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(plain.header(name), value, "{name}");
    }
    for (case, request) in [
        ("a query", get(&format!("{JWKS}?kid=x&kid=y"))),
        ("a bare query", get(&format!("{JWKS}?"))),
        ("a wrong secret", get(JWKS).basic("web", "wrong")),
        ("a broken header", get(JWKS).header("Authorization", "Bearer \"")),
        ("a foreign origin", get(JWKS).header("Origin", "https://x.example")),
        ("another tag", get(JWKS).header("If-None-Match", "\"x\"")),
        ("a cookie", get(JWKS).header("Cookie", "a=b")),
    ] {
        assert_eq!(request.send().await.comparable(), plain.comparable(), "{case}");
    }

    let head = jeton.request("HEAD", JWKS).send().await;
    assert_eq!((head.status, head.content.len()), (200, 0));
    for name in ["content-type", "cache-control", "etag", "content-length"] {
        assert_eq!(head.all(name), plain.all(name), "{name}");
    }

    let etag = plain.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "strong: {etag}");
    for tags in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        for method in ["GET", "HEAD"] {
            let request = jeton.request(method, JWKS).header("If-None-Match", &tags);
            let reply = request.send().await;
            assert_eq!((reply.status, reply.content.len()), (304, 0), "{method} {tags}");
            assert_eq!(reply.header("etag"), etag);
            assert_eq!(reply.header("cache-control"), "public, max-age=600");
        }
    }
}

/// RFC 9110 §15.5.6: the set can only be read. [K-17]
#[tokio::test]
async fn the_set_can_only_be_read() {
    let jeton = jeton().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
        let reply = jeton.request(method, JWKS).send().await;
        reply.assert_error(405, "invalid_request");
        assert_eq!(reply.header("allow"), "GET, HEAD, OPTIONS", "{method}");
    }
}

/// RFC 9111 §5.2.2: how long the set may be cached is a setting, and is said.
#[tokio::test]
async fn the_lifetime_of_the_set_is_a_setting() {
    let jeton = Jeton::start_with(ENGINE, &["--jwks-max-age", "2m"]).await;
    let reply = jeton.request("GET", JWKS).send().await;
    assert_eq!(reply.header("cache-control"), "public, max-age=120");
    for wrong in ["0s", "61m"] {
        let output = run(&["serve", "--jwks-max-age", wrong, "--database", &jeton.database.url]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

/// RFC 7517 §4.5: a token verifies with the keys that any replica publishes, whichever signed it.
#[tokio::test]
async fn the_tokens_of_each_replica_verify_with_the_set_of_every_other() {
    let jeton = jeton().await;
    let replica = jeton.replica().await;
    let mut tokens = vec![jeton.access_token().await];
    let form = login_form("alice", PASSWORD);
    let secret = jeton.fixtures.secret("web");
    let request = Request::new(replica.public, "POST", "/token").basic("web", secret).form(&form);
    tokens.push(request.send().await.access_token());
    let sets = [key_set(&jeton.service).await, key_set(&replica).await];
    assert_eq!(sets[0], sets[1]);
    for token in &tokens {
        assert!(sets.iter().all(|set| verifies(token, set)), "{token}");
    }
}

/// RFC 7662 §4: a restart changes no key and ends no token. [K-26]
#[tokio::test]
async fn keys_and_tokens_survive_a_restart() {
    let mut jeton = jeton().await;
    let token = jeton.access_token().await;
    let before = key_set(&jeton.service).await;
    // A test's port is not the same after a restart, the issuer is.
    let issuer = jeton.service.issuer.to_string();
    let master_key = &jeton.fixtures.master_key;
    let again = start_on(&jeton.database, master_key, &["--issuer", &issuer]).await;
    let first = std::mem::replace(&mut jeton.service, again);
    first.stop().await;
    let after = key_set(&jeton.service).await;
    assert_eq!(before, after);
    assert!(verifies(&token, &after));
    assert!(jeton.is_active(&token).await, "introspection knows it too");
}

/// ASVS 5.0 §15.4: five replicas that find an empty store at the same moment, and no master key,
/// come to have one and the same key of each kind. [K-27]
#[tokio::test]
async fn replicas_that_start_together_agree_on_one_key() {
    let database = Arc::new(Database::empty(ENGINE).await);
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let database = Arc::clone(&database);
        starting.spawn(async move {
            let master_key = database.folder.join("keys/master.jwk");
            start_on(&database, &master_key, &[]).await
        });
    }
    let mut sets = Vec::new();
    for service in starting.join_all().await {
        sets.push(key_set(&service).await);
    }
    assert_eq!(sets[0]["keys"].as_array().map(Vec::len), Some(1));
    assert!(sets.iter().all(|set| *set == sets[0]), "{sets:?}");
    let kids = "SELECT kid FROM keys WHERE purpose";
    assert_eq!(database.query(&format!("{kids} = 'refresh'")).await.len(), 1);
    let rows = database.query(&format!("{kids} = 'signing'")).await;
    assert_eq!(rows, [[sets[0]["keys"][0]["kid"].as_str().map(str::to_owned)]]);
}

/// RFC 7517 §9.2; ASVS 5.0 §13.3: private keys are sealed in the database under a key in a file
/// that only its owner may read, so the database alone can neither sign nor start a service.
/// [K-30]
#[tokio::test]
async fn a_stolen_database_cannot_sign() {
    let jeton = jeton().await;
    let file = &jeton.fixtures.master_key;
    let mode = std::fs::metadata(file).expect("the master key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let dump = jeton.database.dump().await;
    let key = ServiceKey::of(&jeton).await;
    let member = |name: &str| key.jwk.parameter(name).and_then(Value::as_str).expect("a member");
    assert!(dump.contains(member("n")), "the dump holds the public half");
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        assert!(!dump.contains(member(name)), "{name}");
        assert!(!dump.contains(&format!("\"{name}\":")), "{name}");
    }
    let master: Value = serde_json::from_slice(&std::fs::read(file).expect("it")).expect("JSON");
    assert!(!dump.contains(master["k"].as_str().expect("a key")));

    // Neither no master key nor another one starts a service on it.
    let other = Database::empty(ENGINE).await;
    let other_key = other.folder.join("master.jwk");
    start_on(&other, &other_key, &[]).await.stop().await;
    let missing = jeton.database.folder.join("master.jwk");
    for (file, message) in [(&missing, "cannot read"), (&other_key, "sealed under the master key")]
    {
        let file_name = file.display().to_string();
        let arguments = ["--database", &jeton.database.url, "--master-key-file", &file_name];
        let failure = Service::start(settings(&arguments), clock()).await.expect_err("no start");
        let text = failure.to_string();
        assert!(text.contains(message) && text.contains("--master-key-file"), "{text}");
        if file.exists() {
            assert!(text.contains(master["kid"].as_str().expect("a name")), "{text}");
        }
    }
    assert!(!missing.exists(), "no new master key where something is sealed");
}

/// ASVS 5.0 §11.6.1; RFC 8725 §3.5; FIPS 186-5 §A.1.3: new keys share no prime, have primes far
/// apart and the usual exponent. [K-31]
#[test]
fn new_keys_are_independent_and_sound() {
    let keys: Vec<Value> = (0..6)
        .map(|_| signing::generate(2_048).expect("a key"))
        .map(|key| serde_json::from_slice(&key.secret).expect("a JWK"))
        .collect();
    let number = |key: &Value, name| BigNum::from_slice(&octets(key, name)).expect("memory");
    let mut context = BigNumContext::new().expect("memory");
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(key["e"], "AQAB");
        let (n, p, q) = (number(key, "n"), number(key, "p"), number(key, "q"));
        let mut product = BigNum::new().expect("memory");
        product.checked_mul(&p, &q, &mut context).expect("memory");
        assert!(product == n && n.num_bits() == 2_048);
        let mut distance = BigNum::new().expect("memory");
        distance.checked_sub(&p, &q).expect("memory");
        assert!(distance.num_bits() > 1_024 - 100, "{}", distance.num_bits());
        for other in &keys[index + 1..] {
            let mut divisor = BigNum::new().expect("memory");
            divisor.gcd(&n, &number(other, "n"), &mut context).expect("memory");
            assert_eq!(divisor, BigNum::from_u32(1).expect("memory"));
        }
    }
}

/// The documents are in memory: an outage of the database does not reach those who verify.
#[tokio::test]
async fn documents_are_served_through_an_outage() {
    let (jeton, mut outage) = Jeton::start_before_outage(ENGINE).await;
    let paths = [JWKS, "/.well-known/oauth-authorization-server"];
    let before = [jeton.request("GET", paths[0]), jeton.request("GET", paths[1])];
    let before = [before[0].send().await, before[1].send().await];
    outage.begin();
    for (path, before) in paths.iter().zip(&before) {
        let during = jeton.request("GET", path).send().await;
        assert_eq!(during.comparable(), before.comparable(), "{path}");
    }
    let login = jeton.login_through("web", "").await;
    login.assert_error(503, "temporarily_unavailable");
    outage.end();
    assert!(verifies(&jeton.access_token().await, &before[0].json()), "the outage is over");
}
