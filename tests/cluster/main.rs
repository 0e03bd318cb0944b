//! A cluster that is really killed: the executable behind `HAProxy`, on PostgreSQL under Patroni behind PgBouncer.
//!
//! `tests/cluster/run` builds the cluster and calls this beside it, with a seed and how many faults are to happen, or
//! their names. Meanwhile the clients of `tests/faults` go through `HAProxy`, those of the history checker go to each
//! replica, and somebody asks each replica for its keys. Without arguments nothing is run.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is how it reports")]

#[path = "../faults/history/checker.rs"]
#[expect(dead_code, unused_imports, reason = "its own tests use the rest")]
mod checker;
#[path = "../faults/history/clients.rs"]
mod clients;
mod fault;
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the service use the rest")]
mod harness;
mod keys;
#[path = "../faults/ledger.rs"]
mod ledger;
#[path = "../faults/load.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod load;
#[path = "../faults/history/model.rs"]
mod model;
mod nodes;
#[path = "../faults/history/real.rs"]
mod real;
#[path = "../faults/replica.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod replica;
mod report;
mod run;
#[path = "../faults/server.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod server;
#[path = "../faults/template.rs"]
#[expect(dead_code, reason = "single faults use the rest")]
mod template;
#[path = "../faults/history/usage.rs"]
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use fault::{Fault, Kind};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [seed, what @ ..] = &words[..] else { return ExitCode::SUCCESS };
    // `cargo test NAME` gives the name of some other test to this one too.
    let Ok(number) = seed.parse() else { return ExitCode::SUCCESS };
    let mut random = harness::chance::choices(number);
    let faults = match what {
        [count] if count.parse::<usize>().is_ok() => {
            Fault::draw(count.parse().expect("it is a number"), &mut random)
        }
        names => {
            let kinds = names.iter().map(|name| Kind::of(name));
            kinds.map(|kind| Fault::of(kind, &mut random)).collect()
        }
    };
    println!("seed {seed}, {} faults", faults.len());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let right = runtime.block_on(run::run(&faults, random));
    // What is still waiting is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
