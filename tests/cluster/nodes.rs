//! The nodes of the cluster, as `tests/cluster/node` handles them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

/// The servers of PostgreSQL.
pub(crate) const SERVERS: [&str; 3] = ["pg1", "pg2", "pg3"];
/// How often Patroni is asked.
const SAMPLING: Duration = Duration::from_millis(100);

/// Gives `tests/cluster/node` an order, in words; what it printed if it was carried out.
async fn try_order(words: &str) -> Option<Vec<u8>> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/node");
    let mut command = Command::new(program);
    command.args(words.split(' ')).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = spawn_blocking(move || command.output().expect("a script"));
    let output = output.await.expect("no panic");
    output.status.success().then_some(output.stdout)
}

/// The same, which must be carried out.
pub(crate) async fn order(words: &str) {
    assert!(try_order(words).await.is_some(), "tests/cluster/node {words}");
}

/// Where a node listens.
pub(crate) fn address_of(node: &str, port: u16) -> SocketAddr {
    let mut addresses = (node, port).to_socket_addrs().expect("tests/cluster/inside names it");
    addresses.next().expect("an address")
}

/// Which of these servers is the primary now, as its own Patroni says, whoever else can reach it.
async fn primary_among(servers: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let mut asking = JoinSet::new();
    for server in servers {
        asking
            .spawn(async move { try_order(&format!("is-primary {server}")).await.map(|_| server) });
    }
    asking.join_all().await.into_iter().flatten().next()
}

/// Which server is the primary, if one is.
pub(crate) async fn primary() -> Option<&'static str> {
    primary_among(SERVERS.into_iter()).await
}

/// Waits until another server is the primary; since when it is, if that comes in time.
pub(crate) async fn promotion(former: &str, within: Duration) -> Option<Instant> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        let others = SERVERS.into_iter().filter(|server| *server != former);
        if primary_among(others).await.is_some() {
            return Some(Instant::now());
        }
        sleep(SAMPLING).await;
    }
    None
}

/// Waits until there is a primary with two standbys, one of which it waits for; whether that comes in time.
pub(crate) async fn are_whole(within: Duration) -> bool {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Some(primary) = primary().await
            && is_whole(primary).await
        {
            return true;
        }
        sleep(SAMPLING).await;
    }
    false
}

async fn is_whole(primary: &str) -> bool {
    let state = try_order(&format!("state {primary}")).await.unwrap_or_default();
    let cluster: Value = serde_json::from_slice(&state).unwrap_or_default();
    let members = cluster["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let have = |name: &str, value: &str| {
        members.iter().filter(|member| member[name].as_str() == Some(value)).count()
    };
    (have("role", "leader"), have("role", "sync_standby"), have("state", "streaming")) == (1, 1, 2)
}
