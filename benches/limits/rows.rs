//! Rows in numbers that no load could make in time: written by SQL, as the service would have written
//! them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::params;
use sha2::{Digest, Sha256};

use super::process::{AUDIENCE, PASSWORD_HASH_OF, connect};

/// How many rows are written to SQLite in one transaction.
const PART: usize = 250_000;

/// What sessions are added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    Live,
    Expired,
    /// Live ones beside the others.
    OfOne,
}

impl Sessions {
    /// What their identifiers are made of.
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::OfOne => "of one",
        }
    }

    /// `refreshed_at`, `expires_at`, `ends_at` and `deletable_at`.
    fn dates(self) -> [i64; 4] {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
        let now = i64::try_from(since.as_secs()).expect("a clock");
        let hours = |seconds: i64| seconds / 3_600 * 3_600;
        match self {
            Self::Live | Self::OfOne => {
                let expires_at = now + 14 * 86_400;
                [now, expires_at, now + 30 * 86_400, hours(expires_at) + 3_600]
            }
            Self::Expired => {
                // Long enough ago that the row may be deleted.
                let expires_at = now - 2 * 86_400;
                [expires_at - 86_400, expires_at, now + 86_400, hours(expires_at) + 3_600]
            }
        }
    }
}

/// The identifier of a session: as random as those that the service makes.
pub(crate) fn session_id(sessions: Sessions, number: usize) -> String {
    id(sessions.name(), number)
}

/// The name of a user.
pub(crate) fn username(number: usize) -> String {
    format!("user{number}")
}

fn id(of: &str, number: usize) -> String {
    let digest = Sha256::digest(format!("{of}{number}"));
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

/// So many identifiers and their numbers, in the order of the identifiers: in that of a primary key, in which they are
/// written in a tenth of the time.
fn in_order(of: &str, count: usize) -> Vec<(String, usize)> {
    let mut ids: Vec<(String, usize)> = (0..count).map(|number| (id(of, number), number)).collect();
    ids.sort_unstable();
    ids
}

/// The same in PostgreSQL, of the number `n`.
fn id_in_postgres(of: &str) -> String {
    format!(
        "rtrim(translate(encode(substring(sha256(convert_to('{of}' || n, 'UTF8')) FROM 1 FOR 16), \
         'base64'), '+/', '-_'), '=')"
    )
}

/// Adds users, who all have the same password, and sessions of theirs. It ends when nothing of it is
/// left to be written.
pub(crate) async fn add(database: &str, users: usize, kind: Sessions, sessions: usize) {
    if let Some(path) = database.strip_prefix("sqlite:") {
        add_to_sqlite(path, users, kind, sessions).expect("SQLite takes it");
    } else {
        add_to_postgres(database, users, kind, sessions).await.expect("PostgreSQL takes it");
    }
}

fn add_to_sqlite(
    path: &str,
    users: usize,
    kind: Sessions,
    sessions: usize,
) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -1_000_000)?;
    // The log of what is not yet in the file grows no longer than a part.
    let after = |number: usize| match number % PART {
        0 => connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); BEGIN"),
        _ => Ok(()),
    };
    connection.execute_batch("BEGIN")?;
    {
        let mut user = connection.prepare(&format!(
            "INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, \
             created_at) SELECT ?1, ?2, password_hash, 0, '[]', 0 FROM users WHERE username = \
             '{PASSWORD_HASH_OF}' ON CONFLICT DO NOTHING"
        ))?;
        for (done, (id, number)) in in_order("user", users).into_iter().enumerate() {
            user.execute(params![id, username(number)])?;
            after(done + 1)?;
        }
        let mut session = connection.prepare(&format!(
            "INSERT INTO sessions (session_id, user_id, client_id, generation, scope, audiences, \
             auth_time, refreshed_at, expires_at, ends_at, deletable_at) VALUES (?1, ?2, 'web', 0, \
             'read', '[\"{AUDIENCE}\"]', ?3, ?3, ?4, ?5, ?6)"
        ))?;
        let [refreshed_at, expires_at, ends_at, deletable_at] = kind.dates();
        for (done, (own, number)) in in_order(kind.name(), sessions).into_iter().enumerate() {
            let user = id("user", number % users);
            session.execute(params![own, user, refreshed_at, expires_at, ends_at, deletable_at])?;
            after(done + 1)?;
        }
    }
    connection.execute_batch("COMMIT")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

async fn add_to_postgres(
    database: &str,
    users: usize,
    kind: Sessions,
    sessions: usize,
) -> Result<(), tokio_postgres::Error> {
    let connection = connect(database).await;
    let [refreshed_at, expires_at, ends_at, deletable_at] = kind.dates();
    let (session_id, user_id) = (id_in_postgres(kind.name()), id_in_postgres("user"));
    connection
        .batch_execute(&format!(
            "INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, \
             created_at) SELECT {user_id}, 'user' || n, u.password_hash, 0, '[]', 0 \
             FROM generate_series(0, {users} - 1) AS n, users AS u \
             WHERE u.username = '{PASSWORD_HASH_OF}' ORDER BY 1 ON CONFLICT DO NOTHING; \
             INSERT INTO sessions (session_id, user_id, client_id, generation, scope, audiences, \
             auth_time, refreshed_at, expires_at, ends_at, deletable_at) \
             SELECT s.id, {user_id}, 'web', 0, 'read', '[\"{AUDIENCE}\"]', {refreshed_at}, \
             {refreshed_at}, {expires_at}, {ends_at}, {deletable_at} \
             FROM (SELECT {session_id} AS id, n % {users} AS n \
             FROM generate_series(0, {sessions} - 1) AS n ORDER BY 1) AS s"
        ))
        .await?;
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        connection.batch_execute(statement).await?;
    }
    Ok(())
}
