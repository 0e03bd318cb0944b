//! When clients were last used, public ones too.

use serde_json::Value;

use super::*;

/// The clients that have not been used for so long.
async fn unused(jeton: &Jeton, span: &str) -> Vec<String> {
    let list = ["client", "list", "--json", "--unused-since", span];
    let listed: Value = serde_json::from_str(&jeton.run(&list, "").await).expect("JSON");
    let ids = listed.as_array().expect("a list").iter().map(|client| &client["client_id"]);
    ids.map(|id| id.as_str().expect("an id").to_owned()).collect()
}

/// Waits until the use of a client is noted, which happens beside the answer.
async fn wait_for_use(jeton: &Jeton, id: &str) {
    let used = format!("SELECT last_used_at FROM clients WHERE client_id = '{id}'");
    for _ in 0..500 {
        if jeton.database.query(&used).await[0][0].is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the use of {id} is not noted");
}

/// A client counts as used when it authenticated or, if it is public, was named; when a secret of it was used; or when a
/// session of it was opened or refreshed.
#[tokio::test]
async fn clients_that_nobody_uses_are_found() {
    let jeton = jeton().await;
    let year = "UPDATE clients SET created_at = created_at - 31536000 WHERE client_id <> 'other'";
    jeton.database.query(year).await;
    let all = unused(&jeton, "90d").await;
    assert!(all.contains(&"spa".to_owned()) && !all.contains(&"other".to_owned()), "{all:?}");

    jeton.login_through("spa", "").await;
    jeton.introspect_as("rs1", "none").await;
    jeton.login_through("web", "").await;
    for id in ["spa", "rs1", "web"] {
        wait_for_use(&jeton, id).await;
    }
    let left = unused(&jeton, "90d").await;
    let expected = all.iter().filter(|id| !["spa", "rs1", "web"].contains(&id.as_str()));
    assert!(left.iter().eq(expected), "{left:?}");

    // What an earlier version has left tells of uses, too.
    jeton.database.query("UPDATE clients SET last_used_at = NULL").await;
    jeton.database.query("DELETE FROM sessions WHERE client_id = 'web'").await;
    assert_eq!(unused(&jeton, "90d").await, left);
    jeton.database.query("UPDATE client_secrets SET last_used_at = NULL").await;
    jeton.database.query("DELETE FROM sessions").await;
    assert_eq!(unused(&jeton, "90d").await, all);
}

/// A use is noted once an hour, not with each request.
#[tokio::test]
async fn a_use_is_noted_once_an_hour() {
    let jeton = jeton().await;
    jeton.login_through("spa", "").await;
    wait_for_use(&jeton, "spa").await;
    let noted = "SELECT last_used_at FROM clients WHERE client_id = 'spa'";
    let first = jeton.database.query(noted).await;
    jeton.clock.advance(3_599);
    jeton.login_through("spa", "").await;
    assert_eq!(jeton.database.query(noted).await, first);
    jeton.clock.advance(1);
    jeton.database.query("UPDATE users SET last_login_at = NULL").await;
    jeton.login_through("spa", "").await;
    for _ in 0..500 {
        if jeton.database.query(noted).await != first {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the use an hour later is not noted");
}
