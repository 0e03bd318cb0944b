//! PostgreSQL with `statements=prepared`: the same service on statements that the server keeps.

use crate::harness::database::PASSWORD;
use crate::harness::pooler::Pooler;
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Executable, Jeton, Request, percent_encode, refresh_form};

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
    jeton.command("user delete bob --yes").await;
    jeton.command("client delete other --yes").await;
}

/// A pooler that does not track prepared statements would run the statement that another replica prepared
/// under the same name. So behind one none is prepared, and the log says what to do.
#[tokio::test]
async fn nothing_is_prepared_behind_a_pooler() {
    let (mut database, fixtures) = Database::filled(Engine::Postgres).await;
    let pooler = Pooler::start(&database.url);
    let direct = database.url.clone();
    database.url = pooler.before(&direct) + "?statements=prepared";
    let mut replicas = [(); 2].map(|()| Executable::serve_on(&database, fixtures, &[]));
    let post = |replica: &Executable, client_id: &str, path: &str, form: &str| {
        let request = Request::new(replica.public, "POST", path).form(form);
        request.basic(client_id, fixtures.secret(client_id))
    };
    for round in 0..10 {
        for (index, replica) in replicas.iter().enumerate() {
            let form = login_form("alice", PASSWORD);
            let login = post(replica, "web", "/token", &form).send().await;
            let token = percent_encode(&login.access_token());
            let other = &replicas[1 - index];
            let form = refresh_form(&login.refresh_token());
            post(other, "web", "/token", &form).send().await.refresh_token();
            let form = format!("token={token}");
            let answer = post(other, "rs1", "/introspect", &form).send().await.json();
            assert_eq!(answer["active"], true, "round {round}");
        }
    }
    for replica in &mut replicas {
        let log = replica.stop_and_read_log();
        let warnings = log.lines().filter(|line| line.contains("a pooler stands before"));
        assert_eq!(warnings.count(), 1, "{log}");
    }
    // No limit of a transaction stays on a connection that others use.
    let through = Database { url: pooler.before(&direct), folder: database.path("unused").into() };
    for _ in 0..4 {
        let limits = through.query("SHOW statement_timeout").await;
        assert_eq!(limits, [[Some("0".to_owned())]]);
    }
}
