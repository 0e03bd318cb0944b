//! A session that is refreshed for a very long time.

use super::*;
use crate::harness::RefreshToken;

/// How often.
const ROTATIONS: i64 = 1_000;

/// Each table and how many rows it has.
async fn row_counts(jeton: &Jeton) -> Vec<(&'static str, Option<String>)> {
    let mut counts = Vec::new();
    for table in ["users", "clients", "client_secrets", "sessions", "keys"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        counts.push((table, jeton.database.query(&sql).await[0][0].clone()));
    }
    counts
}

/// RFC 9700 §4.14.2: rotation leaves nothing behind: a thousand refreshes of a session add no row to
/// the one that its login made. [TR-11]
#[tokio::test]
async fn a_session_refreshed_a_thousand_times_is_one_row() {
    let jeton = jeton().await;
    let mut token = jeton.login_through("spa", "").await.refresh_token();
    let before = row_counts(&jeton).await;
    for _ in 0..ROTATIONS {
        token = jeton.refresh("spa", &token, "").await.refresh_token();
    }
    assert_eq!(RefreshToken::of(&token).generation, ROTATIONS);
    assert_eq!(row_counts(&jeton).await, before);
}
