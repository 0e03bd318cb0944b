//! Keys under a master key that does not open what is there.

use std::time::Duration;

use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::harness::{Database, Engine, Executable, Request, run};
use crate::report::Outcome;
use crate::stage::{Setting, Stage, USUAL};

/// How soon a key that was revoked is no longer published; the documents say 5 s.
const REVOKED_WITHIN: Duration = Duration::from_secs(10);

/// Runs a command of `jeton` on the database of a stage; what it printed, if it succeeded.
async fn jeton(stage: &Stage, arguments: &[&str], master_key: &str) -> Option<Vec<u8>> {
    let further = ["--database", &stage.database.url, "--master-key-file", master_key];
    let all = [arguments, &further].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let running = spawn_blocking(move || run(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = running.await.expect("no panic");
    output.status.success().then_some(output.stdout)
}

/// A master key that another installation made.
async fn make_other_master_key(stage: &Stage) -> String {
    let path = stage.path("other.jwk").display().to_string();
    let other = Database::empty(Engine::Sqlite).await;
    let arguments = ["--database", &other.url, "--master-key-file", &path].map(str::to_owned);
    let service =
        spawn_blocking(move || Executable::serve(&arguments.each_ref().map(String::as_str)));
    drop(service.await.expect("no panic"));
    path
}

/// The keys that a replica publishes.
async fn published(replica: &Executable) -> Vec<String> {
    let reply = Request::new(replica.public, "GET", "/.well-known/jwks.json").send().await;
    let keys = reply.json()["keys"].as_array().cloned().unwrap_or_default();
    keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect()
}

pub(crate) async fn wrong_master_key(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    stage.processes += 1; // a command, or one more replica
    let (right, wrong) = (stage.master_key(), make_other_master_key(&stage).await);
    if jeton(&stage, &["key", "rotate", "--yes"], &wrong).await.is_some() {
        stage.reproach("`key rotate` succeeded under a wrong master key");
    }
    let mut misled = crate::replica::Replica::new(&stage.database.url, &wrong);
    if misled.start().await.is_ok() {
        stage.reproach("`serve` started under a wrong master key");
    }
    misled.kill().await;
    let mut another = stage.replica(&stage.database.url);
    if another.start().await.is_err() {
        stage.reproach("`serve` does not start under the right master key");
    }
    another.kill().await;
    stage.load().forget_access_tokens();
    sleep(Duration::from_secs(1)).await;
    revoke_signing_key(&mut stage, &right).await;
    stage.conclude(Instant::now(), USUAL).await
}

/// Revokes the key that signs, which every replica has to notice.
async fn revoke_signing_key(stage: &mut Stage, master_key: &str) {
    let listed = jeton(stage, &["key", "list", "--json"], master_key).await.unwrap_or_default();
    let listed: Value = serde_json::from_slice(&listed).unwrap_or_default();
    let all = listed.as_array().cloned().unwrap_or_default();
    let signs = all.iter().find(|key| key["state"] == "signing");
    let Some(kid) = signs.and_then(|key| key["kid"].as_str()).map(str::to_owned) else {
        stage.reproach("`key list` fails or names no key that signs");
        return;
    };
    if jeton(stage, &["key", "revoke", "--yes", &kid], master_key).await.is_none() {
        stage.reproach("`key revoke` fails under the right master key");
        return;
    }
    let end = Instant::now() + REVOKED_WITHIN;
    let mut still = 0;
    for replica in &stage.replicas {
        while published(replica.process()).await.contains(&kid) {
            if Instant::now() > end {
                still += 1;
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    if still > 0 {
        stage.reproach(format!("a revoked key signs on at {still} replicas"));
    }
}
