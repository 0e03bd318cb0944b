//! PostgreSQL that answers every third statement and commit with a conflict (SQLSTATE 40001), as servers may that work
//! optimistically.

use std::collections::HashMap;

use tokio::task::JoinSet;

use crate::harness::conflict_proxy::ConflictProxy;
use crate::harness::{Database, Engine, Jeton, RefreshToken, Reply, Request, refresh_form, run};

const CALLERS: usize = 8;
/// How often each refreshes its session.
const REFRESHES: i64 = 5;

/// A caller, what it sends, and how often it was answered 503.
struct Caller {
    login: Request,
    refresh: Request,
    introspection: Request,
    revocation: Request,
    refused: usize,
}

impl Caller {
    fn of(jeton: &Jeton) -> Self {
        let login =
            crate::harness::service::login_form("alice", crate::harness::database::PASSWORD);
        Self {
            login: jeton.post_as("web", "/token", &login),
            refresh: jeton.post_as("web", "/token", ""),
            introspection: jeton.post_as("rs1", "/introspect", ""),
            revocation: jeton.post_as("web", "/revoke", ""),
            refused: 0,
        }
    }

    /// Sends a request until it is answered 200. Any other answer must be 503, with what it says.
    async fn send(&mut self, request: Request) -> Reply {
        for _ in 0..200 {
            let reply = request.send().await;
            if reply.status == 200 {
                return reply;
            }
            reply.assert_error(503, "temporarily_unavailable");
            assert!(reply.has("retry-after"));
            self.refused += 1;
        }
        panic!("it is never answered");
    }

    async fn is_active(&mut self, token: &str) -> bool {
        let request = self.introspection.clone().form(&format!("token={token}"));
        self.send(request).await.json()["active"] == true
    }

    /// Logs in, and refreshes again and again; revokes the session in the end if told so. Returns the session, and how
    /// often it was told to come later.
    async fn work(mut self, revokes: bool) -> (String, usize) {
        let mut reply = self.send(self.login.clone()).await;
        let session = RefreshToken::of(&reply.refresh_token()).session;
        for _ in 0..REFRESHES {
            let access = reply.access_token();
            assert!(self.is_active(&access).await, "a good token");
            let form = refresh_form(&reply.refresh_token());
            reply = self.send(self.refresh.clone().form(&form)).await;
        }
        if revokes {
            let form = format!("token={}", reply.refresh_token());
            self.send(self.revocation.clone().form(&form)).await;
            let access = reply.access_token();
            assert!(!self.is_active(&access).await, "a revoked token");
        }
        (session, self.refused)
    }
}

/// Callers get right answers or 503, and what was answered 503 was not done: each session has gone as many steps on as
/// its caller had answers, and there is none that nobody was told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conflict_is_tried_again_and_nothing_is_done_twice() {
    let (database, fixtures) = Database::filled(Engine::Postgres).await;
    let proxy = ConflictProxy::before(&database.url).await;
    let jeton = Jeton::start_at(&proxy.url, database, fixtures).await;
    proxy.set(true);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = Caller::of(&jeton);
        let revokes = number % 2 == 0;
        callers.spawn(async move { (revokes, caller.work(revokes).await) });
    }
    let (mut expected, mut refused) = (HashMap::new(), 0);
    for (revoked, (session, own_refused)) in callers.join_all().await {
        refused += own_refused;
        if !revoked {
            expected.insert(session, REFRESHES);
        }
    }
    proxy.set(false);
    let [statements, commits] = proxy.conflicts();
    assert!(statements > CALLERS && commits > CALLERS, "{statements}, {commits}");
    // Most were tried again until they succeeded.
    assert!(refused < (statements + commits) / 4, "{refused} of {statements} and {commits}");
    let rows = jeton.database.query("SELECT session_id, generation FROM sessions").await;
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).expect("a number");
    let found = rows.into_iter().map(|mut row| {
        let generation = number(row.pop().expect("two columns"));
        (row.pop().flatten().expect("two columns"), generation)
    });
    assert_eq!(found.collect::<HashMap<String, i64>>(), expected);
}

/// A command has done what it says, once, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_meets_conflicts_does_all_or_nothing() {
    let (database, _) = Database::filled(Engine::Postgres).await;
    let proxy = ConflictProxy::before(&database.url).await;
    proxy.set(true);
    let mut added = 0;
    for _ in 0..12 {
        let url = proxy.url.clone();
        let arguments = ["client", "secret", "add", "web", "--expires", "1d", "--database"];
        let command = tokio::task::spawn_blocking(move || run(&[&arguments[..], &[&url]].concat()));
        added += usize::from(command.await.expect("it ends").status.success());
    }
    proxy.set(false);
    assert!(added > 0);
    for counted in [
        "SELECT COUNT(*) - 1 FROM client_secrets WHERE client_id = 'web'",
        "SELECT COUNT(*) FROM operator_acts WHERE deed = 'client_secret_added' AND client_id = 'web'",
    ] {
        let rows = database.query(counted).await;
        assert_eq!(rows[0][0], Some(added.to_string()), "{counted}");
    }
}
