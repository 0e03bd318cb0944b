//! Clocks that are wrong. Only the wall clock is: what measures how long something takes goes on.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::Engine;
use crate::report::Outcome;
use crate::stage::{Setting, Stage, USUAL};

/// The command that starts a program with its wall clock off by so much, such as `+50s`.
fn with_clock(offset: &str) -> Vec<String> {
    let preload = format!("LD_PRELOAD={}", library().display());
    let offset = format!("FAKETIME={offset}");
    let untouched = "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned();
    vec!["env".to_owned(), preload, offset, untouched]
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let of_machine = folders.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let mut found = of_machine.filter(|path| path.exists());
    found.next().expect("libfaketime is there: tests/packages installs faketime")
}

/// One of two replicas is ahead; answers are lost now and then, and tried again at the other one.
pub(crate) async fn clocks_apart(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    stage.replicas[1].kill().await;
    stage.replicas[1].start_by(with_clock("+50s"));
    // It may refuse to start.
    stage.replicas[1].start().await.ok();
    sleep(Duration::from_secs(45)).await;
    start_with_right_clock(&mut stage, 1).await;
    stage.conclude(Instant::now(), USUAL).await
}

/// On SQLite nobody calls meanwhile: that a session has ended is the right answer at that date.
pub(crate) async fn clock_40_days_ahead(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    if on.engine == Engine::Sqlite {
        stage.load().rest();
        run_with_clock(&mut stage, "+40d").await;
        return stage.conclude(Instant::now(), USUAL).await;
    }
    let before = stage.addresses();
    let mut third = stage.replica(&stage.database.url);
    third.start_by(with_clock("+40d"));
    third.start().await.ok();
    stage.replicas.push(third);
    stage.processes += 1;
    stage.load().lead_to(stage.addresses());
    sleep(Duration::from_secs(15)).await;
    stage.load().lead_to(before);
    stage.replicas[2].kill().await;
    stage.conclude(Instant::now(), USUAL).await
}

/// As a machine without a battery for its clock starts, before it has asked for the time.
pub(crate) async fn clock_back(on: Setting) -> Outcome {
    let mut stage = Stage::open(on).await;
    run_with_clock(&mut stage, "-40d").await;
    stage.conclude(Instant::now(), USUAL).await
}

/// Has the only replica run with a wrong clock for a while, and then with the right one again.
async fn run_with_clock(stage: &mut Stage, offset: &str) {
    stage.replicas[0].kill().await;
    stage.replicas[0].start_by(with_clock(offset));
    // It may refuse to start.
    stage.replicas[0].start().await.ok();
    sleep(Duration::from_secs(20)).await;
    start_with_right_clock(stage, 0).await;
}

async fn start_with_right_clock(stage: &mut Stage, index: usize) {
    let replica = &mut stage.replicas[index];
    replica.kill().await;
    replica.start_by::<[&str; 0]>([]);
    replica.start().await.unwrap_or_else(|log| panic!("it does not start again: {log}"));
}
