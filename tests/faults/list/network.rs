//! Networks that stand still.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::proxy::Proxy;
use crate::report::Outcome;
use crate::stage::{Setting, Stage, USUAL};

/// How long nothing is delivered.
const STANDSTILL: Duration = Duration::from_mins(1);

/// Each request is delivered with the end of its connection behind it: its caller hung up long ago, and
/// went on at the other replica.
pub(crate) async fn requests_held(on: Setting) -> Outcome {
    let stage = Stage::open(on).await;
    let mut addresses = stage.addresses();
    let proxy = Proxy::start(addresses[0]).await;
    addresses[0] = proxy.address;
    stage.load().lead_to(addresses);
    stage.load().goes_on(Duration::from_secs(20)).await;
    proxy.hold();
    sleep(STANDSTILL).await;
    proxy.release();
    stage.conclude(Instant::now(), USUAL).await
}

pub(crate) async fn database_unreachable(on: Setting) -> Outcome {
    let mut stage = Stage::prepare(on).await;
    let server = stage.server_address();
    let proxy = Proxy::start(server).await;
    let url = stage.database.url.replace(&server.to_string(), &proxy.address.to_string());
    stage.serve(&url).await;
    stage.begin(|_| true).await;
    proxy.hold();
    sleep(STANDSTILL).await;
    proxy.release();
    stage.conclude(Instant::now(), USUAL).await
}
