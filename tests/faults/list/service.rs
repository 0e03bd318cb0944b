//! Faults of the service's own processes and files, and of what they answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::report::Outcome;
use crate::stage::{Setting, Stage, USUAL};

pub(crate) async fn killed_once(on: Setting) -> Outcome {
    killed(on, 1).await
}

pub(crate) async fn killed_five_times(on: Setting) -> Outcome {
    killed(on, 5).await
}

async fn killed(on: Setting, times: u32) -> Outcome {
    let mut stage = Stage::open(on).await;
    let mut ended = Instant::now();
    for _ in 0..times {
        stage.load().goes_on(Duration::from_secs(20)).await;
        for replica in &mut stage.replicas {
            replica.kill().await;
        }
        sleep(Duration::from_secs(35)).await;
        for replica in &mut stage.replicas {
            replica.start().await.expect("it starts again");
        }
        ended = Instant::now();
    }
    stage.conclude(ended, USUAL).await
}

/// Callers hang up after a while, and go on at the other replicas where there are some.
pub(crate) async fn replica_stopped(on: Setting) -> Outcome {
    let stage = Stage::open(on).await;
    stage.replicas[0].signal("STOP");
    sleep(Duration::from_mins(1)).await;
    stage.replicas[0].signal("CONT");
    stage.conclude(Instant::now(), USUAL).await
}

pub(crate) async fn lost_answer_35s(on: Setting) -> Outcome {
    lost_answer(Stage::open(on).await, Duration::from_secs(35)).await
}

/// For a public client a retry window ends some time, so only confidential ones try again so late.
pub(crate) async fn lost_answer_3min(on: Setting) -> Outcome {
    let mut stage = Stage::prepare(on).await;
    let url = stage.database.url.clone();
    stage.serve(&url).await;
    stage.begin(|session| session.client_id != "spa").await;
    lost_answer(stage, Duration::from_mins(3)).await
}

async fn lost_answer(stage: Stage, pause: Duration) -> Outcome {
    stage.load().lose_answers();
    sleep(pause).await;
    stage.conclude(Instant::now(), USUAL).await
}

/// `RLIMIT_FSIZE` stands for a disk without room: what writes beyond it gets an error.
pub(crate) async fn disk_full(on: Setting) -> Outcome {
    let mut stage = Stage::prepare(on).await;
    let mut replica = stage.replica(&stage.database.url);
    // The signal that the limit brings would end the process; a full disk sends none.
    replica.start_by(["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    replica.start().await.unwrap_or_else(|log| panic!("it does not start: {log}"));
    stage.replicas.push(replica);
    stage.begin(|_| true).await;
    stage.replicas[0].process().limit("--fsize=4096:unlimited");
    sleep(Duration::from_secs(20)).await;
    stage.replicas[0].process().limit("--fsize=unlimited:unlimited");
    stage.conclude(Instant::now(), USUAL).await
}
