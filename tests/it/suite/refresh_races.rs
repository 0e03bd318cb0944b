//! Requests that meet: refreshes among themselves, with a revocation, with what an operator does, and
//! logins with a new password. Two replicas share the database; a refresh goes to either.

use std::collections::HashSet;
use std::net::SocketAddr;

use jeton::cli::serve::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::harness::{RefreshToken, Request, refresh_form};

/// Two replicas.
struct Replicas {
    jeton: Jeton,
    second: Service,
}

impl Replicas {
    async fn start(arguments: &[&str]) -> Self {
        let jeton = Jeton::start_with(ENGINE, arguments).await;
        let second = jeton.replica_with(arguments).await;
        Self { jeton, second }
    }

    fn address(&self, index: usize) -> SocketAddr {
        if index.is_multiple_of(2) { self.jeton.service.public } else { self.second.public }
    }

    /// A form posted by a client to one of the replicas.
    fn post_as(&self, client_id: &str, index: usize, target: &str, form: &str) -> Request {
        let request = Request::new(self.address(index), "POST", target).form(form);
        request.basic(client_id, self.jeton.fixtures.secret(client_id))
    }

    fn refresh(&self, index: usize, token: &str) -> Request {
        self.post_as("web", index, "/token", &refresh_form(token))
    }

    /// Logs alice in.
    async fn log_in(&self) -> Tokens {
        Tokens::of(&self.jeton.login_through("web", "").await)
    }

    /// Presents one token many times at once, at both replicas.
    async fn refresh_at_once(&self, token: &str, count: usize) -> Vec<Reply> {
        let mut requests = JoinSet::new();
        for index in 0..count {
            let request = self.refresh(index, token);
            requests.spawn(async move { request.send().await });
        }
        requests.join_all().await
    }

    /// Requires that nothing of a session works, at either replica.
    async fn assert_ended(&self, issued: &[Tokens]) {
        for (index, tokens) in issued.iter().enumerate() {
            let form = format!("token={}", tokens.access);
            let reply = self.post_as("rs1", index, "/introspect", &form).send().await;
            assert_eq!(reply.text(), r#"{"active":false}"#, "access token {index} lives");
            let reply = self.refresh(index, &tokens.refresh).send().await;
            assert_eq!(reply.status, 400, "refresh token {index} lives");
            reply.assert_error(400, "invalid_grant");
        }
        let sid = &RefreshToken::of(&issued[0].refresh).session;
        assert_eq!(self.generation(sid).await, None, "its row is gone");
    }

    /// How often a session was refreshed, by its row.
    async fn generation(&self, sid: &str) -> Option<i64> {
        let sql = format!("SELECT generation FROM sessions WHERE session_id = '{sid}'");
        let rows = self.jeton.database.query(&sql).await;
        rows.first().and_then(|row| row[0].as_ref()?.parse().ok())
    }
}

/// What one answer of the token endpoint holds.
#[derive(Clone, Debug)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(reply: &Reply) -> Self {
        Self { access: reply.access_token(), refresh: reply.refresh_token() }
    }
}

/// RFC 9700 §4.14.2, ASVS 15.4.2: however many requests present one token at once, at whichever
/// replica, all are answered with the same successor, and the session goes one step on: there is
/// never more than one live token. [TR-17] [TR-18]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_refreshes_at_once_have_one_successor() {
    let rounds = 100;
    let replicas = Replicas::start(&["--refresh-retry-window", "5m"]).await;
    let mut token = replicas.log_in().await.refresh;
    let sid = RefreshToken::of(&token).session;
    let mut issued = HashSet::from([token.clone()]);
    for round in 1..=rounds {
        let replies = replicas.refresh_at_once(&token, 50).await;
        let successors: HashSet<String> =
            replies.iter().map(|reply| Tokens::of(reply).refresh).collect();
        assert_eq!(successors.len(), 1, "round {round}");
        token = successors.into_iter().next().expect("one");
        assert!(issued.insert(token.clone()), "a new one in round {round}");
        assert_eq!(replicas.generation(&sid).await, Some(round), "one step a round");
    }
    let last = RefreshToken::of(&token);
    assert_eq!((last.session, last.generation), (sid, rounds));
}

/// RFC 9700 §4.14.2: without a retry window one request wins, and the others are a reuse, which ends
/// the session. [TR-13] [TR-14] [TR-17]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_retry_window_one_of_many_wins() {
    let replicas = Replicas::start(&["--refresh-retry-window", "0s"]).await;
    for round in 0..20 {
        let first = replicas.log_in().await;
        let replies = replicas.refresh_at_once(&first.refresh, 50).await;
        let (won, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        for reply in lost {
            reply.assert_error(400, "invalid_grant");
        }
        replicas.assert_ended(&[Tokens::of(won[0]), first]).await;
    }
}

/// ASVS 15.4.2, RFC 7009 §2.1: a refresh that meets the revocation of the same token leaves nothing
/// that works, whichever came first. [R-11] [R-12] [R-25]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_that_meets_a_revocation_leaves_nothing() {
    let replicas = Replicas::start(&[]).await;
    for round in 0..100 {
        let first = replicas.log_in().await;
        let mut requests = JoinSet::new();
        let revocation =
            replicas.post_as("web", round, "/revoke", &format!("token={}", first.refresh));
        requests.spawn(async move { (true, revocation.send().await) });
        for index in 0..3 {
            let refresh = replicas.refresh(round + index, &first.refresh);
            requests.spawn(async move { (false, refresh.send().await) });
        }
        let mut issued = vec![first];
        for (is_revocation, reply) in requests.join_all().await {
            match (is_revocation, reply.status) {
                (true, _) => assert_eq!(reply.status, 200, "{}", reply.text()),
                (false, 200) => issued.push(Tokens::of(&reply)),
                (false, _) => reply.assert_error(400, "invalid_grant"),
            }
        }
        replicas.assert_ended(&issued).await;
    }
}

/// ASVS 7.4.2, 15.4.2: what ends while it is being refreshed has ended for good, also when user or
/// client are enabled again. [TR-21]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_ended_under_refreshes_stays_ended() {
    let replicas = Replicas::start(&[]).await;
    for round in 0..20 {
        let (kind, name) = if round % 4 == 3 { ("client", "web") } else { ("user", "alice") };
        let mut issued = vec![replicas.log_in().await];
        let (announce, announced) = watch::channel(false);
        let operator = async {
            for act in ["disable", "enable"] {
                replicas.jeton.command(&format!("{kind} {act} {name}")).await;
            }
            announce.send_replace(true);
        };
        let refresher = async {
            loop {
                let due = *announced.borrow();
                let current = issued.last().expect("at least one");
                let reply = replicas.refresh(issued.len(), &current.refresh).send().await;
                match reply.status {
                    200 => issued.push(Tokens::of(&reply)),
                    // While the client itself is disabled.
                    401 => reply.assert_error(401, "invalid_client"),
                    429 => assert_eq!(kind, "client", "it asks more often than anyone may"),
                    _ => break reply.assert_error(400, "invalid_grant"),
                }
                assert!(!due, "it was ended, round {round}: {}", reply.text());
            }
        };
        tokio::join!(operator, refresher);
        replicas.assert_ended(&issued).await;
    }
}

/// Logs alice in again and again at both replicas while an operator ends that, until it is refused.
/// Returns what was opened; once the operator is done, nothing may be.
async fn log_in_until_refused(
    replicas: &Replicas,
    password: &str,
    operator: impl Future<Output = ()>,
) -> Vec<Tokens> {
    let (announce, announced) = watch::channel(false);
    let operator = async {
        operator.await;
        announce.send_replace(true);
    };
    let form = login_form("alice", password);
    let log_in = async |index| {
        let mut opened = Vec::new();
        loop {
            let due = *announced.borrow();
            let reply = replicas.post_as("web", index, "/token", &form).send().await;
            if reply.status != 200 {
                // A disabled client is refused before the password is looked at, or after.
                assert!(["invalid_grant", "invalid_client"].contains(&reply.error().as_str()));
                return opened;
            }
            assert!(!due, "a login after the act of the operator");
            opened.push(Tokens::of(&reply));
        }
    };
    let ((), mut opened, others) = tokio::join!(operator, log_in(0), log_in(1));
    opened.extend(others);
    opened
}

/// ASVS 7.4.3, 15.4.2: a login that meets the change of its password leaves no session that was opened
/// with the old one, whichever came first. [TG-27]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_that_meets_a_new_password_leaves_no_session() {
    let replicas = Replicas::start(&[]).await;
    let mut password = PASSWORD.to_owned();
    for round in 0..10 {
        let new_password = format!("{PASSWORD} {round}");
        let operator = async {
            assert!(replicas.jeton.try_change_password("alice", &new_password).await);
        };
        for tokens in log_in_until_refused(&replicas, &password, operator).await {
            replicas.assert_ended(&[tokens]).await;
        }
        password = new_password;
    }
    let reply = replicas.jeton.token(&login_form("alice", &password)).await;
    assert!(replicas.jeton.is_active(&reply.access_token()).await);
}

/// ASVS 7.4.2, 15.4.2: the same when the user or the client is disabled: whoever is enabled later has
/// no session left of before. [TR-21]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_that_meets_its_end_leaves_no_session() {
    let replicas = Replicas::start(&[]).await;
    for _ in 0..5 {
        for (kind, name) in [("user", "alice"), ("client", "web")] {
            let disable = format!("{kind} disable {name}");
            let operator = replicas.jeton.command(&disable);
            let opened = log_in_until_refused(&replicas, PASSWORD, operator).await;
            replicas.jeton.command(&format!("{kind} enable {name}")).await;
            for tokens in opened {
                replicas.assert_ended(&[tokens]).await;
            }
        }
    }
}
