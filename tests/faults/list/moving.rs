//! Moving to the other engine and back while clients work.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::harness::postgres_server::PostgresServer;
use crate::harness::{Engine, run};
use crate::report::Outcome;
use crate::stage::{Setting, Stage, USUAL};

/// Copies the database to the other engine, and from there to a new one of the first engine. The replicas of before go
/// on, and refuse what they cannot store, until clients are led to those of the copy.
pub(crate) async fn moved_and_moved_back(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    let server = spawn_blocking(PostgresServer::start).await.expect("it starts");
    let file = |name: &str| format!("sqlite:{}", stage.path(name).display());
    let targets = match on.engine {
        Engine::Sqlite => [server.url.clone(), file("back.db")],
        Engine::Postgres => [file("there.db"), server.url.clone()],
    };
    let mut source = stage.database.url.clone();
    let mut ended = Instant::now();
    for target in targets {
        assert!(stage.load().goes_on(Duration::from_secs(20)).await, "clients are served");
        let arguments = ["db", "copy", "--yes", "--from", &source, "--to", &target];
        let arguments = arguments.map(str::to_owned);
        let copying = spawn_blocking(move || run(&arguments.each_ref().map(String::as_str)));
        let output = copying.await.expect("no panic");
        if !output.status.success() {
            stage.reproach(String::from_utf8_lossy(&output.stderr));
        }
        let mut replica = stage.replica(&target);
        replica.start().await.unwrap_or_else(|log| panic!("it does not start: {log}"));
        ended = Instant::now();
        stage.load().lead_to(vec![replica.address]);
        stage.replicas.push(replica);
        source = target;
    }
    let outcome = stage.conclude(ended, USUAL).await;
    drop(server);
    outcome
}
