//! PostgreSQL with `statements=prepared`: the same service on statements that the server keeps.

use crate::harness::{Engine, Jeton};

/// Whatever the suite shows on unnamed statements holds on prepared ones: they have the same text,
/// so it is enough that each kind of use case runs, again and again on the same connection.
#[tokio::test]
async fn prepared_statements_do_what_unnamed_ones_do() {
    let jeton = Jeton::start_on(Engine::Postgres, "?statements=prepared").await;
    for round in 0..3 {
        let token = jeton.access_token().await;
        assert!(jeton.is_active(&token).await, "round {round}");
        jeton.login_through("web", "&scope=nonsense").await.assert_error(400, "invalid_scope");
        jeton.command("user disable alice").await;
        assert!(!jeton.is_active(&token).await, "round {round}");
        jeton.login_through("web", "").await.assert_error(400, "invalid_grant");
        jeton.command("user enable alice").await;
    }
    jeton.command("user list").await;
    jeton.command("client list").await;
    jeton.command("client secret add web --expires 1d").await;
    jeton.command("user delete bob").await;
    jeton.command("client delete other").await;
}
