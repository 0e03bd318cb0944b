//! The history checker: whatever happens to processes and connections, what the clients of a session saw
//! fits one order of the reference model ([`model`]).
//!
//! Clients use sessions ([`clients`]) while processes are killed, paused and cut off ([`world`]). Each
//! request is recorded with when it was asked, when it was answered, and the answer; one without an
//! answer, or with 503, took effect, or will, or never does. When a session is over, the checker
//! ([`checker`]) looks for an order of its requests that keeps what was answered before another was asked
//! in front of it, and in which each answer is the model's. There are two kinds of sessions: in some,
//! workers refresh, replay and revoke without waiting for each other; others have honest holders, and
//! must live until these log out.
//!
//! `cargo test --test history` runs each engine for a moment; the rest takes longer and is run with
//! `cargo test --test history -- --ignored --nocapture --test-threads 1`. The choices of a run follow from
//! a seed, which is printed; `JETON_TEST_SEED` sets it. Which request meets which fault also depends on the
//! machine.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]

mod checker;
mod clients;
#[expect(dead_code, unused_imports, reason = "it serves the other tests, too")]
#[path = "../../it/harness/mod.rs"]
mod harness;
mod model;
#[cfg(test)]
mod planted;
mod real;
mod run;
#[cfg(test)]
mod simulated;
mod usage;
mod world;

use std::time::Duration;

use harness::Engine;

/// How long clients use sessions in a short run, and in a long one.
const SHORT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_mins(10);
/// How many answers it has at least: on a machine that is busy with other things it goes on until then.
const SHORT_ANSWERS: u64 = 500;
const LONG_ANSWERS: u64 = 12_000;

/// Runs, and requires that every history fits, and that the database lost no commit.
#[expect(clippy::print_stderr, reason = "the report of a run")]
async fn hold_against_the_model(engine: Engine, duration: Duration, answers: u64) {
    let report = run::run(engine, duration, answers).await;
    eprintln!("{report}");
    if let Some(violation) = &report.violation {
        panic!("{violation}");
    }
    assert!(report.logs.contains("token_issued"), "the logs hold events");
    assert!(!report.logs.contains("session_caught_up"), "a commit was lost");
}

/// RFC 6749 §6, RFC 9700 §4.14.2: two replicas and their database are killed, paused and cut off from
/// each other.
#[tokio::test(flavor = "multi_thread")]
async fn histories_on_postgres_fit_the_model() {
    hold_against_the_model(Engine::Postgres, SHORT, SHORT_ANSWERS).await;
}

/// The same with one replica on SQLite, which is killed and paused.
#[tokio::test(flavor = "multi_thread")]
async fn histories_on_sqlite_fit_the_model() {
    hold_against_the_model(Engine::Sqlite, SHORT, SHORT_ANSWERS).await;
}

/// The same, for longer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes 10 minutes"]
async fn long_histories_on_postgres_fit_the_model() {
    hold_against_the_model(Engine::Postgres, LONG, LONG_ANSWERS).await;
}

/// The same on SQLite.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes 10 minutes"]
async fn long_histories_on_sqlite_fit_the_model() {
    hold_against_the_model(Engine::Sqlite, LONG, LONG_ANSWERS).await;
}
