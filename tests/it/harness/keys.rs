//! The keys of a service, as verifiers and operators see them.

use std::net::SocketAddr;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton::cli::serve::Service;
use jeton_runtime::clock::Clock;
use josekit::jwk::Jwk;
use josekit::jws::{JwsVerifier, RS256};
use serde_json::Value;

use super::forge::decode;
use super::service::{login_form, settings};
use super::{Database, Jeton, Request, run_with_input};
use crate::harness::database::PASSWORD;

/// Where the key set is.
pub(crate) const JWKS: &str = "/.well-known/jwks.json";

/// A key set, with what was said of it.
#[derive(Clone, Debug)]
pub(crate) struct KeySet {
    pub(crate) json: Value,
    pub(crate) etag: String,
    /// For how many seconds it may be cached.
    pub(crate) max_age: i64,
}

impl KeySet {
    /// Fetches the key set of a service.
    pub(crate) async fn of(address: SocketAddr) -> Self {
        let reply = Request::new(address, "GET", JWKS).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let max_age = reply.header("cache-control").strip_prefix("public, max-age=");
        Self {
            json: reply.json(),
            etag: reply.header("etag").to_owned(),
            max_age: max_age.and_then(|text| text.parse().ok()).expect("a number of seconds"),
        }
    }

    /// The names of its keys, in their order.
    pub(crate) fn kids(&self) -> Vec<&str> {
        let keys = self.json["keys"].as_array().expect("an array");
        keys.iter().map(|key| key["kid"].as_str().expect("a name")).collect()
    }

    /// Whether a resource server that has this set takes the token for genuine.
    pub(crate) fn verifies(&self, token: &str) -> bool {
        verifies(token, &self.json)
    }
}

/// What a resource server does: takes the key that the token names, whatever its place in the set.
pub(crate) fn verifies(token: &str, set: &Value) -> bool {
    let kid = kid_of(token);
    let (input, signature) = token.rsplit_once('.').expect("a JWS");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let keys = set["keys"].as_array().expect("an array");
    keys.iter().filter(|key| key["kid"] == *kid).any(|key| {
        let key = Jwk::from_bytes(key.to_string()).expect("a JWK");
        let verifier = RS256.verifier_from_jwk(&key).expect("a public key");
        verifier.verify(input.as_bytes(), &signature).is_ok()
    })
}

/// The name of the key that signed a token.
pub(crate) fn kid_of(token: &str) -> String {
    decode(token).0["kid"].as_str().expect("a name").to_owned()
}

/// The row of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) kid: String,
    pub(crate) created_at: i64,
    pub(crate) activates_at: i64,
}

impl Database {
    /// The rows of the keys of a purpose, oldest first.
    pub(crate) async fn keys(&self, purpose: &str) -> Vec<KeyRow> {
        let rows = format!(
            "SELECT kid, created_at, activates_at FROM keys WHERE purpose = '{purpose}' \
             ORDER BY generation"
        );
        let rows = self.query(&rows).await.into_iter().map(|row| {
            let number = |index: usize| row[index].as_deref().and_then(|text| text.parse().ok());
            KeyRow {
                kid: row[0].clone().expect("a name"),
                created_at: number(1).expect("a moment"),
                activates_at: number(2).expect("a moment"),
            }
        });
        rows.collect()
    }
}

/// Runs `jeton key …` on a database, with these master key files, separated by commas.
pub(crate) fn key_command(
    database: &Database,
    master_keys: &str,
    arguments: &[&str],
    input: &str,
) -> Output {
    let usual = ["--database", &database.url, "--master-key-file", master_keys];
    run_with_input(&[&["key"], arguments, &usual].concat(), input)
}

impl Jeton {
    /// Runs `jeton key …` on the service's database, lets the service's clock catch up with the
    /// command's, and has the service look. It must succeed; returns what it said and what it printed.
    pub(crate) async fn key(&self, arguments: &[&str]) -> (String, String) {
        self.let_keys_begin().await;
        let master_key = self.fixtures.master_key.display().to_string();
        // What the test's clock recorded is no date of the command's.
        self.database.query("DELETE FROM clock").await;
        let output = key_command(&self.database, &master_key, arguments, "");
        let text = |octets| String::from_utf8(octets).expect("UTF-8");
        let (said, printed) = (text(output.stderr), text(output.stdout));
        assert!(output.status.success(), "{arguments:?}: {said}");
        self.catch_up();
        self.service.reload().await;
        (said, printed)
    }

    /// Lets the service's clock catch up with that of commands, so that what the service does next comes later than
    /// what they did.
    pub(crate) fn catch_up(&self) {
        self.clock.advance((Clock::System.now().0 + 1 - self.clock.now().0).max(0));
    }

    /// Waits until every key but one that was announced has begun by the commands' clock: keys begin by
    /// the second, and of two that are made to begin in one the later waits for the next.
    async fn let_keys_begin(&self) {
        loop {
            let soon = Clock::System.now().0 + 1;
            let keys = self.database.keys("signing").await;
            if !keys.iter().any(|key| (soon..soon + 9).contains(&key.activates_at)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Lets time pass until this moment.
    pub(crate) fn wait_until(&self, moment: i64) {
        self.clock.advance(moment - self.clock.now().0);
    }

    /// One more replica, with a clock of its own and further settings.
    pub(crate) async fn replica_by(&self, clock: &Clock, further: &[&str]) -> Service {
        let master_key = self.fixtures.master_key.display().to_string();
        let usual = ["--database", &self.database.url, "--master-key-file", &master_key];
        let all = [&usual[..], &["--issuer", self.service.issuer.as_str()], further].concat();
        Service::start(settings(&all), clock.clone()).await.expect("it starts")
    }

    /// Logs alice in at a replica, and returns the access token.
    pub(crate) async fn access_token_of(&self, replica: &Service) -> String {
        let form = login_form("alice", PASSWORD);
        let request = Request::new(replica.public, "POST", "/token").form(&form);
        let request = request.basic("web", self.fixtures.secret("web"));
        request.send().await.access_token()
    }

    /// The number of a metric, labels and all.
    pub(crate) async fn number(&self, metric: &str) -> i64 {
        let page = self.manage("/metrics").send().await;
        let line = |line: &str| line.strip_prefix(metric)?.strip_prefix(' ')?.parse().ok();
        let number = page.text().lines().find_map(line);
        number.unwrap_or_else(|| panic!("no {metric} in {}", page.text()))
    }
}
