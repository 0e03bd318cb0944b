//! Users with very many sessions: these end in steps, because nobody is to wait for the end of all. What bars the user
//! does so at once all the same.

use super::*;

/// More than one transaction ends.
const MANY: usize = 1_100;

/// Gives a user so many sessions through a client: copies of one.
async fn add_sessions(jeton: &Jeton, username: &str, client_id: &str, count: usize) {
    let columns =
        "generation, scope, audiences, auth_time, refreshed_at, expires_at, ends_at, deletable_at";
    let rows = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
         SELECT '{username}-{client_id}-' || n, '{}', '{client_id}', {columns} \
         FROM numbers, (SELECT {columns} FROM sessions LIMIT 1) AS one",
        jeton.fixtures.sub(username)
    );
    let target = format!("sessions (session_id, user_id, client_id, {columns})");
    jeton.database.query(&format!("INSERT INTO {target} {rows}")).await;
}

/// How many sessions there are of a user and a client.
async fn count_sessions(jeton: &Jeton, username: &str, client_id: &str) -> usize {
    let sub = jeton.fixtures.sub(username);
    let count = format!(
        "SELECT COUNT(*) FROM sessions WHERE user_id = '{sub}' AND client_id = '{client_id}'"
    );
    let rows = jeton.database.query(&count).await;
    rows[0][0].as_deref().expect("a number").parse().expect("a number")
}

/// RFC 9700 §4.14.2: however many sessions a user has, all of them end, and none of anybody else. [TR-22]
#[tokio::test]
async fn all_sessions_of_a_user_end_however_many_there_are() {
    for (command, input) in [
        ("session revoke --user bob", ""),
        ("user passwd bob --password-stdin", "wednesday moss candle\n"),
        ("user set bob --mfa-required", ""),
        ("user disable bob", ""),
        ("user delete bob --yes", ""),
    ] {
        let jeton = jeton().await;
        let login = jeton.token(&login_form("bob", PASSWORD)).await;
        let other = jeton.login_through("web", "").await;
        add_sessions(&jeton, "bob", "web", MANY).await;
        add_sessions(&jeton, "bob", "spa", 1).await;
        add_sessions(&jeton, "alice", "web", 3).await;
        let arguments: Vec<&str> = command.split(' ').collect();
        jeton.run(&arguments, input).await;
        for client_id in ["web", "spa"] {
            assert_eq!(count_sessions(&jeton, "bob", client_id).await, 0, "{command}");
        }
        assert_eq!(count_sessions(&jeton, "alice", "web").await, 4, "{command}");
        assert!(!jeton.is_active(&login.access_token()).await, "{command}");
        assert!(jeton.is_active(&other.access_token()).await, "{command}");
    }
}

/// Only the sessions through one client, where that is asked for.
#[tokio::test]
async fn sessions_through_other_clients_stay() {
    let jeton = jeton().await;
    jeton.token(&login_form("bob", PASSWORD)).await;
    add_sessions(&jeton, "bob", "web", MANY).await;
    add_sessions(&jeton, "bob", "spa", MANY).await;
    let said = jeton.run(&["session", "revoke", "--user", "bob", "--client", "spa"], "").await;
    assert!(said.contains(&format!("Ended {MANY} sessions")), "{said}");
    assert_eq!(count_sessions(&jeton, "bob", "spa").await, 0);
    assert_eq!(count_sessions(&jeton, "bob", "web").await, MANY + 1);
}

/// Sessions that an interruption left of a user who is barred are dead, and stay so when the user is let in again: the
/// command that does that ends them before. [TR-22]
#[tokio::test]
async fn sessions_that_an_interruption_left_do_not_come_back() {
    for (bar, bars, let_in) in [
        ("user disable bob", "disabled_at = 1", "user enable bob"),
        ("user set bob --mfa-required", "mfa_required_at = 1", "user set bob --mfa-required=false"),
    ] {
        for finish in [bar, let_in] {
            let jeton = jeton().await;
            let login = jeton.token(&login_form("bob", PASSWORD)).await;
            add_sessions(&jeton, "bob", "web", MANY).await;
            // As it is when the command was killed after its first transaction.
            let bar = format!("UPDATE users SET {bars} WHERE username = 'bob'");
            jeton.database.query(&bar).await;
            assert!(!jeton.is_active(&login.access_token()).await, "{bar}");
            jeton.command(finish).await;
            assert_eq!(count_sessions(&jeton, "bob", "web").await, 0, "{finish}");
            jeton.command(let_in).await;
            assert!(!jeton.is_active(&login.access_token()).await, "{finish}");
            assert_eq!(jeton.refresh("web", &login.refresh_token(), "").await.status, 400);
            assert_eq!(jeton.token(&login_form("bob", PASSWORD)).await.status, 200);
        }
    }
}
