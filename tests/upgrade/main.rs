//! Versions beside each other on one database: the version before, this one, and a later one that has contracted the
//! tables. Clients work meanwhile, and every answer is held against what they know.
//!
//! `tests/upgrade/run` builds the other two programs and calls this with the names of both. Without arguments nothing
//! is run. Whatever the harness runs is the version before, so that it fills the database.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is how it reports")]

#[path = "../faults/history/checker.rs"]
#[expect(dead_code, unused_imports, reason = "its own tests use the rest")]
mod checker;
#[path = "../faults/history/clients.rs"]
mod clients;
mod course;
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the service use the rest")]
mod harness;
#[path = "../faults/ledger.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod ledger;
#[path = "../faults/load.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod load;
#[path = "../faults/history/model.rs"]
mod model;
#[path = "../faults/history/real.rs"]
#[expect(dead_code, reason = "other faults use the rest")]
mod real;
#[path = "../faults/replica.rs"]
mod replica;
#[path = "../faults/server.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod server;
mod stages;
#[path = "../faults/template.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod template;
#[path = "../faults/history/usage.rs"]
#[expect(dead_code, reason = "a cluster uses the rest")]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [seed, later] = &words[..] else { return ExitCode::SUCCESS };
    // `cargo test NAME` gives the name of some other test to this one too.
    let Ok(seed) = seed.parse() else { return ExitCode::SUCCESS };
    println!("seed {seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let right = runtime.block_on(async {
        let on_postgres = stages::on_postgres(later, seed).await;
        let on_sqlite = stages::on_sqlite(later, seed).await;
        on_postgres && on_sqlite
    });
    // What is still waiting is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
