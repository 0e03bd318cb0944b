//! More logins than the machine can hash.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::harness::{Database, Executable, Request};

/// The memory of one hash of the recommended cost.
const HASH_MEMORY: u64 = 128 << 20;
/// More than the connections of the test take, in octets.
const CONNECTIONS_MEMORY: u64 = 32 << 20;

/// OWASP Password Storage, ASVS 15.2.2: under more logins than can be served, each is either served
/// or told when to come back; memory stays bounded, and what needs no hash goes on. [TG-24] [W-09]
#[tokio::test]
async fn overload_is_shed() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limits = ["--login-deadline", "1s", "--hash-threads", "1", "--scrypt", "ln=17,r=8,p=1"];
    let service = Executable::serve_on(&database, fixtures, &limits);
    let idle = service.peak_memory();
    let form = login_form("alice", PASSWORD) + "&client_id=spa";
    let login = Request::new(service.public, "POST", "/token").form(&form);
    let mut logins = JoinSet::new();
    for _ in 0..60 {
        let login = login.clone();
        logins.spawn(async move { login.send().await });
    }
    let (mut served, mut shed) = (0, 0);
    while let Some(reply) = logins.join_next().await {
        let reply = reply.expect("no login panics");
        if reply.status == 200 {
            served += 1;
        } else {
            shed += 1;
            reply.assert_error(503, "temporarily_unavailable");
            let seconds: u32 = reply.header("retry-after").parse().expect("whole seconds");
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        let keys = Request::new(service.public, "GET", "/.well-known/jwks.json").send().await;
        assert_eq!(keys.status, 200);
    }
    assert!(served > 0 && shed > 0, "{served} served, {shed} shed");
    // One thread hashes, so one hash's memory is in use at a time; the allocator may hold as much
    // again between two hashes (README.md, «Memory»).
    let grown = service.peak_memory() - idle;
    assert!(grown < 2 * HASH_MEMORY + CONNECTIONS_MEMORY, "{grown}");
}

/// OWASP Password Storage (denial of service): a login whose client hung up while it waited is
/// dropped before it costs a hash. [TG-24]
#[tokio::test]
async fn a_login_whose_client_hung_up_costs_no_hash() {
    // So dear that the first is still being hashed when the last has left.
    let arguments = ["--hash-threads", "1", "--scrypt", "ln=17,r=8,p=6"];
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let form = login_form("nobody", PASSWORD) + "&client_id=spa";
    let login = jeton.post("/token", &form);
    let mut busy = JoinSet::new();
    for _ in 0..2 {
        let login = login.clone();
        busy.spawn(async move { login.send().await });
    }
    // One is being hashed and one waits.
    wait_for_queue(&jeton, 1).await;
    let mut leaver = TcpStream::connect(jeton.service.public).await.expect("the service listens");
    leaver.write_all(&login.octets()).await.expect("the service reads");
    wait_for_queue(&jeton, 2).await;
    drop(leaver);
    for reply in busy.join_all().await {
        reply.assert_error(400, "invalid_grant");
    }
    // The next in the queue, so that the one that left has had its turn.
    login.send().await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.metric("jeton_hashing_abandoned_total").await, 1);
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 3);
}

/// Waits until so many logins wait for a hashing thread.
async fn wait_for_queue(jeton: &Jeton, length: u64) {
    while jeton.metric("jeton_hashing_queue_depth").await < length {
        assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0, "the first is done");
    }
}
