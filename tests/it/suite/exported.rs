//! Sources of `tests/vectors` that other services exported, with what is expected of them (`tests/vectors/README.md`).

use std::path::Path;
use std::process::Output;

use jeton_crypto::password::PasswordHash;
use serde_json::Value;

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::run_for_json;
use crate::harness::otp::Authenticator;
use crate::harness::{Database, Fixtures, run};

/// A source of `tests/vectors`, with what is expected of it.
pub(super) struct Exported {
    pub(super) kind: &'static str,
    pub(super) path: String,
    pub(super) mapping: &'static str,
}

impl Exported {
    pub(super) fn new(kind: &'static str, file: &str, mapping: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(kind);
        Self { kind, path: folder.join(file).display().to_string(), mapping }
    }

    pub(super) fn expected(&self) -> Value {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(self.kind);
        let text = std::fs::read_to_string(folder.join("expected.json")).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Imports what can be taken of it, and returns the report.
    pub(super) fn import(&self, jeton: &Jeton) -> Value {
        self.import_to(&jeton.database, jeton.fixtures, &[])
    }

    /// Imports it into a database, with options.
    pub(super) fn import_to(
        &self,
        database: &Database,
        fixtures: &Fixtures,
        options: &[&str],
    ) -> Value {
        let skipped = database.path(&format!("skipped-{:016x}", rand::random::<u64>()));
        let mapping = database.path("mapping.toml");
        std::fs::write(&mapping, self.mapping).expect("a file");
        let master = fixtures.master_key.display().to_string();
        let arguments =
            ["import", self.kind, &self.path, "--mapping", &mapping, "--master-key-file", &master];
        let further = ["--scrypt", SCRYPT, "--json", "--skip-bad", &skipped];
        let database = ["--database", &database.url];
        run_for_json(&[&arguments[..], &further, &database, options].concat(), "")
    }

    /// Tries to import it as whoever has only read the page does, with options.
    pub(super) fn try_import(&self, jeton: &Jeton, mapping: &str, options: &[&str]) -> Output {
        let master = jeton.fixtures.master_key.display().to_string();
        let source = ["import", self.kind, &self.path, "--mapping", mapping];
        let place = ["--database", &jeton.database.url, "--master-key-file", &master];
        run(&[&source[..], &place, options].concat())
    }

    /// What it makes of users and of secrets of clients. Whoever has the same rows logs in in the same way.
    async fn rows(&self) -> Vec<Vec<Option<String>>> {
        let Jeton { database, fixtures, .. } = &Jeton::start_bare(ENGINE).await;
        self.import_to(database, fixtures, &["--keep-fast"]);
        let users = "SELECT username, user_id, password_hash, scope, roles, CASE WHEN disabled_at IS NULL THEN 1 END, \
                     CASE WHEN second_factors IS NULL THEN 1 END FROM users ORDER BY username";
        let secrets =
            "SELECT client_id, secret_hash FROM client_secrets ORDER BY client_id, secret_number";
        let mut rows = database.query(users).await;
        rows.extend(database.query(secrets).await);
        rows
    }

    /// Sees that other forms of the same source are read alike.
    pub(super) async fn assert_same_rows(&self, others: &[Self]) {
        let rows = self.rows().await;
        for other in others {
            let (mut rows, mut other_rows) = (rows.clone(), other.rows().await);
            // The script that fills PostgreSQL makes its own salts.
            if other.path.starts_with("postgres") {
                for row in rows.iter_mut().chain(&mut other_rows) {
                    blank_hashes(row);
                }
            }
            assert_eq!(other_rows, rows, "{} and {}", other.path, self.path);
        }
    }

    /// Imports it into a service that has nothing, and sees that nobody notices but by the address: every password and
    /// every secret is good, others are not, who was refused is refused, `sub` stays, and importing again changes nothing.
    pub(super) async fn moves(&self, client: (&str, Option<&str>)) -> (Jeton, Value) {
        let jeton = Jeton::start_bare(ENGINE).await;
        let report = self.import(&jeton);
        let expected = self.expected();
        for (name, user) in expected["users"].as_object().expect("users") {
            let name = user["username"].as_str().unwrap_or(name);
            self.assert_user(&jeton, client, name, user).await;
        }
        let again = self.import(&jeton);
        assert_eq!(again["added"], 0, "{again}");
        assert_eq!(again["updated"], 0, "{again}");
        assert_eq!(again["unchanged"], report["added"], "{again}");
        assert_eq!(again["clients_unchanged"], report["clients_added"], "{again}");
        (jeton, report)
    }

    pub(super) async fn assert_user(
        &self,
        jeton: &Jeton,
        client: (&str, Option<&str>),
        name: &str,
        user: &Value,
    ) {
        let password = user["password"].as_str().expect("a password");
        let code = code_of(jeton, &user["otp"]);
        let refused = user["disabled"] == true || user["required_actions"].is_array();
        let reply = login_as(jeton, client, name, password, &code).await;
        if refused {
            return reply.assert_error(400, "invalid_grant");
        }
        assert_eq!(reply.status, 200, "{} {name}: {}", self.kind, reply.text());
        let claims = claims_of(&reply);
        assert_eq!(claims["sub"], user["sub"], "{name}");
        let wrong = format!("{password}!");
        login_as(jeton, client, name, &wrong, &code).await.assert_error(400, "invalid_grant");
    }
}

/// Leaves of each hash its format and cost.
fn blank_hashes(row: &mut [Option<String>]) {
    for cell in row.iter_mut().flatten() {
        if let Ok(hash) = PasswordHash::parse(cell, u64::MAX) {
            *cell = hash.to_string();
        }
    }
}

/// What an authenticator adds to the form of a login; nothing for a user who has none.
fn code_of(jeton: &Jeton, otp: &Value) -> String {
    let text = |name: &str, usual: &str| otp[name].as_str().unwrap_or(usual).to_owned();
    let secret = match otp {
        Value::Null => return String::new(),
        Value::String(secret) => secret.clone(),
        otp => otp["secret"].as_str().expect("a secret").to_owned(),
    };
    let (algorithm, digits) = (text("digest", "SHA1"), otp["digits"].as_u64().unwrap_or(6));
    let uri = format!("otpauth://totp/x?secret={secret}&algorithm={algorithm}&digits={digits}");
    format!("&otp={}", Authenticator::read("x", &uri).code_at(jeton.clock.now().0, 0))
}

/// Whether a client used the password grant there.
pub(super) fn uses_password(client: &Value) -> bool {
    client["password_grant"] == true || client["grant"] == "password"
}

/// Logs in through a client.
pub(super) async fn login_as(
    jeton: &Jeton,
    (id, secret): (&str, Option<&str>),
    name: &str,
    password: &str,
    further: &str,
) -> Reply {
    let form = format!("{}{further}", login_form(name, password));
    let request = jeton.request("POST", "/token");
    match secret {
        Some(secret) => request.basic(id, secret).form(&form).send().await,
        None => request.form(&format!("{form}&client_id={id}")).send().await,
    }
}

/// The claims of the access token of an answer.
pub(super) fn claims_of(reply: &Reply) -> Value {
    let answer = reply.json();
    let token = answer["access_token"].as_str().expect("a token");
    crate::harness::forge::claims(token)
}
