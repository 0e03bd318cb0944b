//! How clients and their secrets come and go (RFC 6749 §2), through the real command line.

use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::harness::forge::claims;
use crate::harness::run;

/// The status of a login through `web` with this secret.
async fn status_with(jeton: &Jeton, secret: &str) -> u16 {
    let form = login_form("alice", PASSWORD);
    let reply = jeton.post("/token", &form).basic("web", secret).send().await;
    if reply.status != 200 {
        reply.assert_error(401, "invalid_client");
    }
    reply.status
}

/// Adds a secret to `web`, and returns it with its number.
async fn add_secret(jeton: &Jeton, further: &[&str]) -> (String, String) {
    let arguments = [&["client", "secret", "add", "web", "--json"], further].concat();
    let added: Value = serde_json::from_str(&jeton.run(&arguments, "").await).expect("JSON");
    let member = |name: &str| added.get(name).expect("a member of the answer");
    let secret = member("client_secret").as_str().expect("a secret").to_owned();
    (secret, member("number").to_string())
}

/// Secrets are 256 random bits in an alphabet that needs no encoding, and all of them are
/// different. RFC 6749 §10.10. [TC-26] [S-01]
#[tokio::test]
async fn secrets_are_long_and_random() {
    let jeton = jeton().await;
    // A process for each would take minutes; the command makes its secrets with this function.
    let mut secrets: Vec<String> =
        (0..1_000).map(|_| jeton_crypto::random::client_secret().expose().to_owned()).collect();
    for id in ["web", "other", "nopw", "norefresh", "nothing", "rs1", "rs2"] {
        secrets.push(jeton.fixtures.secret(id).to_owned());
    }
    for _ in 0..3 {
        secrets.push(add_secret(&jeton, &[]).await.0);
    }
    for secret in &secrets {
        assert_eq!(secret.len(), 43, "{secret}");
        let alphabet = |octet: u8| octet.is_ascii_alphanumeric() || b"_-".contains(&octet);
        assert!(secret.bytes().all(alphabet), "{secret}");
    }
    let different: HashSet<&String> = secrets.iter().collect();
    assert_eq!(different.len(), secrets.len());
    let characters: HashSet<char> = secrets.iter().flat_map(|secret| secret.chars()).collect();
    assert_eq!(characters.len(), 64);
}

/// Whoever steals the database has no secret that could be presented; nor do the listings show
/// one. RFC 6819 §5.1.4.1.3. [TC-27]
#[tokio::test]
async fn secrets_are_stored_as_digests_only() {
    let jeton = jeton().await;
    let (added, _) = add_secret(&jeton, &[]).await;
    assert_eq!(status_with(&jeton, &added).await, 200);
    let dump = jeton.database.dump().await;
    let listing = jeton.run(&["client", "list", "--json"], "").await;
    let shown = jeton.run(&["client", "show", "web"], "").await;
    for text in [&dump, &listing, &shown] {
        assert!(text.contains("web"));
        for secret in [added.as_str(), jeton.fixtures.secret("web"), jeton.fixtures.secret("rs1")] {
            assert!(!text.contains(secret), "{text}");
            // SQLite's octets and PostgreSQL's are shown in hexadecimal.
            let octets: Vec<String> = secret.bytes().map(|octet| format!("{octet:02x}")).collect();
            assert!(!text.contains(&octets.concat()) && !text.contains(&octets.join(", ")));
        }
    }
}

/// A client that is switched off or gone is refused at every endpoint from that moment, and what
/// it was issued is no longer active. RFC 6749 §3.2.1, RFC 7662 §4. [TC-29]
#[tokio::test]
async fn a_disabled_or_deleted_client_is_refused_at_once() {
    let jeton = jeton().await;
    let (web, spa) = (jeton.access_token().await, {
        let form = login_form("alice", PASSWORD) + "&client_id=spa";
        jeton.post("/token", &form).send().await.access_token()
    });
    assert!(jeton.is_active(&web).await && jeton.is_active(&spa).await);
    let refuses = async |ids: &[&str]| {
        for id in ids {
            let form = login_form("alice", PASSWORD);
            let reply = if *id == "spa" {
                jeton.post("/token", &(form + "&client_id=spa")).send().await
            } else {
                jeton.post_as(id, "/token", &form).send().await
            };
            assert_eq!(reply.status, 401, "{id}");
            reply.assert_error(401, "invalid_client");
        }
    };

    jeton.command("client disable web").await;
    jeton.command("client disable spa").await;
    assert!(!jeton.is_active(&web).await && !jeton.is_active(&spa).await);
    refuses(&["web", "spa"]).await;
    let inactive = jeton.introspect_as("rs1", &web).await;
    assert_eq!(inactive, serde_json::json!({"active": false}));

    jeton.command("client enable web").await;
    jeton.command("client delete spa --yes").await;
    assert_eq!(status_with(&jeton, jeton.fixtures.secret("web")).await, 200);
    assert!(!jeton.is_active(&spa).await);
    refuses(&["spa"]).await;
    jeton.command("client delete web --yes").await;
    assert!(!jeton.is_active(&web).await);
    refuses(&["web", "spa"]).await;

    let (form, token) = (format!("token={web}"), jeton.login_through("other", "").await);
    assert!(jeton.is_active(&token.access_token()).await);
    jeton.command("client disable rs1").await;
    jeton.post_as("rs1", "/introspect", &form).send().await.assert_error(401, "invalid_client");
    jeton.command("client delete rs2 --yes").await;
    jeton.post_as("rs2", "/introspect", &form).send().await.assert_error(401, "invalid_client");
}

/// A secret is replaced without a gap: two work side by side, until the old one is taken away or
/// runs out; the client's sessions do not notice. RFC 6749 §3.2.1. [TC-30]
#[tokio::test]
async fn a_secret_is_replaced_with_an_overlap() {
    let jeton = jeton().await;
    let first = jeton.fixtures.secret("web");
    let token = jeton.access_token().await;
    let (second, number) = add_secret(&jeton, &[]).await;
    let (third, _) = add_secret(&jeton, &["--expires", "5m"]).await;
    assert_eq!(number, "2");
    for secret in [first, &second, &third] {
        assert_eq!(status_with(&jeton, secret).await, 200);
    }
    jeton.command("client secret remove web 1").await;
    assert_eq!(status_with(&jeton, first).await, 401);
    assert_eq!(status_with(&jeton, &second).await, 200);
    // The command has the real clock, which may be some seconds ahead of the test's.
    jeton.clock.advance(4 * 60);
    assert_eq!(status_with(&jeton, &third).await, 200);
    jeton.clock.advance(4 * 60);
    assert_eq!(status_with(&jeton, &third).await, 401);
    assert_eq!(status_with(&jeton, &second).await, 200);
    assert!(jeton.is_active(&token).await);
}

/// What runs on the user's device can keep no secret, so it is never given one. RFC 6749 §10.1.
/// [TC-31]
#[tokio::test]
async fn a_public_client_is_given_no_secret() {
    let jeton = jeton().await;
    let add = "client add page --public --grant password --scope read --default-scope read \
               --audience https://api1.example --json";
    let add: Vec<&str> = add.split_whitespace().collect();
    let added: Value = serde_json::from_str(&jeton.run(&add, "").await).expect("JSON");
    assert_eq!(added, serde_json::json!({"client_id": "page"}));
    let count = "SELECT COUNT(*) FROM client_secrets";
    let before = jeton.database.query(count).await;
    for id in ["page", "spa"] {
        let arguments = ["client", "secret", "add", id, "--database", &jeton.database.url];
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(5), "{id}");
        assert!(output.stdout.is_empty(), "{id}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("public"), "{id}");
    }
    for method in ["client_secret_basic", "client_secret_post"] {
        let arguments = ["client", "set", "spa", "--authentication-method", method];
        let output = run(&[&arguments, ["--database", &jeton.database.url].as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{method}");
    }
    assert_eq!(jeton.database.query(count).await, before);
    let form = login_form("alice", PASSWORD) + "&client_id=page";
    let reply = jeton.post("/token", &form).send().await;
    assert_eq!(claims(&reply.access_token())["client_id"], "page");
}

/// Client ids are 1 to 128 characters that are printed and encoded the same everywhere; the help
/// says so. RFC 6749 §2.2, Appendix A.1. [TC-36]
#[tokio::test]
async fn client_ids_are_short_and_plain() {
    let jeton = jeton().await;
    let count = "SELECT COUNT(*) FROM clients";
    let before = jeton.database.query(count).await;
    let longest = "x".repeat(128);
    let overlong = "x".repeat(129);
    for id in ["zo\u{eb}", "a b", "a:b", "a%62", "a\nb", "a+b", "a/b", "", "\u{7f}", &overlong] {
        let output = run(&["client", "add", "--database", &jeton.database.url, "--", id]);
        assert_eq!(output.status.code(), Some(2), "{id:?}");
        assert!(output.stdout.is_empty(), "{id:?}");
    }
    assert_eq!(jeton.database.query(count).await, before);
    for id in [longest.as_str(), "A.b_c-9"] {
        let add = "--public --grant password --scope read --default-scope read --audience api";
        let add: Vec<&str> = ["client", "add", id].into_iter().chain(add.split(' ')).collect();
        jeton.run(&add, "").await;
        let form = login_form("alice", PASSWORD) + "&client_id=" + id;
        let reply = jeton.post("/token", &form).send().await;
        assert_eq!(claims(&reply.access_token())["client_id"], id);
    }
    let help = run(&["client", "add", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("1 to 128 characters of A-Z a-z 0-9"));
}
