//! What was changed at one replica, or by a command, and when the others go by it: at their next request, except keys,
//! which each replica loads every few seconds.

use std::time::Duration;

use jeton::cli::serve::Service;
use tokio::time::{sleep, timeout};

use super::*;
use crate::harness::keys::{KeySet, kid_of};
use crate::harness::{Request, refresh_form};

/// How long a test waits for what replicas do by themselves.
const BOUND: Duration = Duration::from_mins(1);

/// Three replicas, the first of them `jeton`.
struct Replicas {
    jeton: Jeton,
    others: [Service; 2],
}

impl Replicas {
    async fn start() -> Self {
        let jeton = Jeton::start(ENGINE).await;
        let others = [jeton.replica().await, jeton.replica().await];
        Self { jeton, others }
    }

    fn addresses(&self) -> [std::net::SocketAddr; 3] {
        let [second, third] = self.others.each_ref().map(|replica| replica.public);
        [self.jeton.service.public, second, third]
    }

    /// The same request to each replica.
    fn to_each(&self, request: &Request) -> [Request; 3] {
        self.addresses().map(|address| request.clone().at(address))
    }

    fn introspection(&self, token: &str) -> Request {
        self.jeton.post_as("rs1", "/introspect", &format!("token={token}"))
    }
}

/// A session that one replica ends has ended for the others; a client that a command changes may no longer what it
/// could, and may again, wherever it asks next.
#[tokio::test]
async fn a_change_holds_at_every_replica_from_the_next_request() {
    let replicas = Replicas::start().await;
    let jeton = &replicas.jeton;
    let login = jeton.login_through("web", "").await;
    let introspection = replicas.introspection(&login.access_token());
    for question in replicas.to_each(&introspection) {
        assert_eq!(question.send().await.json()["active"], true);
    }
    let form = format!("token={}", login.refresh_token());
    let revocation = jeton.post_as("web", "/revoke", &form).at(replicas.others[0].public);
    assert_eq!(revocation.send().await.status, 200);
    for question in replicas.to_each(&introspection) {
        assert_eq!(question.send().await.json()["active"], false);
    }
    let refresh = jeton.post_as("web", "/token", &refresh_form(&login.refresh_token()));
    for refresh in replicas.to_each(&refresh) {
        refresh.send().await.assert_error(400, "invalid_grant");
    }

    let form = login_form("alice", PASSWORD) + "&scope=write";
    let login = jeton.post_as("web", "/token", &form);
    for (scopes, status) in [("--scope read", 400), ("--scope read --scope write", 200)] {
        jeton.command(&format!("client set web {scopes}")).await;
        for login in replicas.to_each(&login) {
            assert_eq!(login.send().await.status, status, "{scopes}");
        }
    }
}

/// A key that was made signs at every replica soon, and one that was revoked is published at none, and its tokens are
/// inactive.
#[tokio::test]
async fn a_key_is_known_at_every_replica_soon() {
    let replicas = Replicas::start().await;
    let jeton = &replicas.jeton;
    let old = jeton.access_token().await;
    let rotation = ["rotate", "--emergency", "--yes"];
    jeton.key(&rotation).await;
    let login = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
    for (address, login) in replicas.addresses().into_iter().zip(replicas.to_each(&login)) {
        let signs = async {
            while kid_of(&login.send().await.access_token()) == kid_of(&old) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(BOUND, signs).await.is_ok(), "{address} signs with the old key");
    }
    jeton.key(&["revoke", &kid_of(&old), "--yes"]).await;
    for address in replicas.addresses() {
        let gone = async {
            while KeySet::of(address).await.kids().contains(&kid_of(&old).as_str()) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(timeout(BOUND, gone).await.is_ok(), "{address} publishes the old key");
    }
    for question in replicas.to_each(&replicas.introspection(&old)) {
        assert_eq!(question.send().await.json()["active"], false);
    }
}
