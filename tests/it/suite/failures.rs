//! Every failure closes: whatever is broken, away or unreadable behind the service, no token is issued
//! and no token is said to be active on account of it.

use super::*;
use crate::harness::chaos_proxy::Outage;
use crate::harness::{Database, Engine, refresh_form};

/// What a caller can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    LogIn,
    Refresh,
    Introspect,
}
use Act::{Introspect, LogIn, Refresh};

/// A service with a session, whose database is about to be damaged.
struct Victim {
    jeton: Jeton,
    access: String,
    refresh: String,
}

impl Victim {
    async fn new() -> Self {
        let jeton = jeton().await;
        let login = jeton.login_through("web", "").await;
        Self { access: login.access_token(), refresh: login.refresh_token(), jeton }
    }

    async fn ask(&self, act: Act) -> Reply {
        match act {
            LogIn => self.jeton.login_through("web", "").await,
            Refresh => self.jeton.token(&refresh_form(&self.refresh)).await,
            Introspect => {
                let form = format!("token={}", self.access);
                self.jeton.post_as("rs1", "/introspect", &form).send().await
            }
        }
    }
}

/// Whether an answer gives something away.
fn is_open(reply: &Reply) -> bool {
    let body = reply.json();
    reply.status == 200 && body != serde_json::json!({"active": false})
}

/// ASVS 16.5.3: a row that cannot be read, or is not what it should be, is no reason to let anyone in: the
/// acts that depend on it fail, each time, with an answer that blames nobody else. [S-19]
#[tokio::test]
async fn a_damaged_database_lets_nobody_in() {
    let mut damages = vec![
        ("UPDATE users SET password_hash = 'x'", vec![LogIn]),
        ("UPDATE users SET password_hash = ''", vec![LogIn]),
        ("UPDATE users SET password_hash = '$scrypt$ln=31,r=8,p=1$AAAA$AAAA'", vec![LogIn]),
        ("UPDATE users SET password_hash = '$scrypt$ln=15,r=8,p=3$$'", vec![LogIn]),
        ("UPDATE users SET roles = 'x'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE users SET roles = '{}'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE users SET scope = ' \"'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE users SET disabled_at = 0", vec![LogIn, Refresh, Introspect]),
        ("UPDATE users SET mfa_required_at = 0", vec![LogIn, Refresh, Introspect]),
        ("UPDATE users SET user_id = 'x' WHERE username = 'alice'", vec![Refresh, Introspect]),
        ("DELETE FROM users", vec![LogIn, Refresh, Introspect]),
        ("DROP TABLE users", vec![LogIn, Refresh, Introspect]),
        ("UPDATE clients SET settings = 'x'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE clients SET settings = 'null'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE clients SET settings = '[]'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE clients SET settings = '{}'", vec![LogIn, Refresh, Introspect]),
        ("UPDATE clients SET disabled_at = 0", vec![LogIn, Refresh, Introspect]),
        ("DELETE FROM clients", vec![LogIn, Refresh, Introspect]),
        ("UPDATE client_secrets SET secret_digest = ''", vec![LogIn, Refresh, Introspect]),
        ("UPDATE client_secrets SET expires_at = 0", vec![LogIn, Refresh, Introspect]),
        ("DELETE FROM client_secrets", vec![LogIn, Refresh, Introspect]),
        ("DROP TABLE client_secrets", vec![LogIn, Refresh, Introspect]),
        ("UPDATE sessions SET scope = ' \"'", vec![Refresh, Introspect]),
        ("UPDATE sessions SET audiences = 'x'", vec![Refresh, Introspect]),
        ("UPDATE sessions SET user_id = 'x'", vec![Refresh, Introspect]),
        ("UPDATE sessions SET client_id = 'other'", vec![Refresh, Introspect]),
        ("UPDATE sessions SET session_id = 'x'", vec![Refresh, Introspect]),
        ("UPDATE sessions SET expires_at = 0", vec![Refresh, Introspect]),
        ("DELETE FROM sessions", vec![Refresh, Introspect]),
        ("DROP TABLE sessions", vec![LogIn, Refresh, Introspect]),
    ];
    if ENGINE == Engine::Sqlite {
        // Only this engine takes text for a number.
        damages.extend([
            ("UPDATE users SET disabled_at = 'x'", vec![LogIn, Refresh, Introspect]),
            ("UPDATE clients SET disabled_at = 'x'", vec![LogIn, Refresh, Introspect]),
            ("UPDATE client_secrets SET expires_at = 'x'", vec![LogIn, Refresh, Introspect]),
            ("UPDATE sessions SET generation = 'x'", vec![Refresh, Introspect]),
            ("UPDATE sessions SET expires_at = 'x'", vec![Refresh, Introspect]),
            ("UPDATE sessions SET ends_at = 'x'", vec![Refresh, Introspect]),
            ("UPDATE sessions SET auth_time = x'00'", vec![Refresh, Introspect]),
        ]);
    }
    let mut open = Vec::new();
    for (damage, acts) in damages {
        let victim = Victim::new().await;
        victim.jeton.database.query(damage).await;
        for act in acts {
            let reply = victim.ask(act).await;
            if is_open(&reply) {
                open.push(format!("{act:?} after {damage}: {} {}", reply.status, reply.text()));
            }
        }
    }
    assert!(open.is_empty(), "{}", open.join("\n"));
}

/// Keeps a database from answering: another session holds what every statement needs. On
/// SQLite, whose readers nobody can hold up, that is what every change needs.
enum Hanging {
    Tables(tokio_postgres::Client),
    Writes(Outage),
}

impl Hanging {
    async fn begin(database: &Database) -> Self {
        if ENGINE == Engine::Sqlite {
            let (_, mut outage) = Outage::before(database).await;
            outage.begin();
            return Self::Writes(outage);
        }
        let connected = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("the server of the test run");
        tokio::spawn(connection);
        let lock =
            "BEGIN; LOCK TABLE users, clients, client_secrets, sessions, keys, login_throttle";
        client.batch_execute(lock).await.expect("the locks");
        Self::Tables(client)
    }

    fn end(self) {
        match self {
            // The locks go with the connection.
            Self::Tables(client) => drop(client),
            Self::Writes(mut outage) => outage.end(),
        }
    }
}

/// ASVS 16.5.3, 13.2.6: a database that neither answers nor refuses is waited for so long and no longer;
/// then the answer is that nothing can be decided, and nothing was. [S-19]
#[tokio::test]
async fn a_database_that_hangs_lets_nobody_in() {
    let victim = Victim::new().await;
    let hanging = Hanging::begin(&victim.jeton.database).await;
    let (login, refresh, introspection) =
        tokio::join!(victim.ask(LogIn), victim.ask(Refresh), victim.ask(Introspect));
    for reply in [&login, &refresh] {
        reply.assert_error(503, "temporarily_unavailable");
    }
    match ENGINE {
        Engine::Sqlite => assert!(is_open(&introspection), "reading goes on"),
        Engine::Postgres => introspection.assert_error(503, "temporarily_unavailable"),
    }
    hanging.end();
    let before = victim.jeton.sessions().await;
    assert_eq!((before.len(), victim.jeton.of_session("generation").await), (1, 0));
    victim.ask(Refresh).await.refresh_token();
    victim.ask(LogIn).await.access_token();
}
