//! Faults: what clients notice while something around the service is slow, dead, frozen or wrong. The
//! real executable runs at default settings; `docs/reliability.md` says what is simulated and how to
//! read the table.
//!
//! ```text
//! cargo test --locked --test faults -- list           # the names
//! cargo test --locked --test faults -- lock_sessions  # those whose name holds this
//! cargo test --locked --test faults -- short          # those that CI runs: four minutes
//! cargo test --locked --test faults -- all
//! ```
//!
//! Without a name nothing is run. A wrong answer fails the run; how long a recovery takes does only when
//! it is far beyond its target.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is how it reports")]

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the service use the rest")]
mod harness;
mod ledger;
mod list;
mod load;
mod pgbouncer;
mod proxy;
mod replica;
mod report;
mod server;
mod stage;
mod template;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use list::{FAULTS, Fault, Part};
use report::{HEAD, Outcome};

/// How many faults happen at once, unless `JETON_FAULTS_AT_ONCE` says otherwise. Most of the time all
/// of them wait.
const AT_ONCE: usize = 7;
/// The longest that a fault may take, set-up included.
const LONGEST: Duration = Duration::from_mins(10);

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if names.is_empty() || names.iter().any(|name| name == "list") {
        for fault in FAULTS {
            let part = if fault.part == Part::Short { "short" } else { "long " };
            println!("{part} {:24} {}", fault.name, fault.on);
        }
        println!("run them by: cargo test --locked --test faults -- short | all | NAME…");
        return ExitCode::SUCCESS;
    }
    // Only a whole run says something about everything.
    let updates = names == ["all"] && std::env::var_os("JETON_UPDATE_DOCS").is_some();
    let is_chosen = |fault: &&Fault| {
        names.iter().any(|name| match &**name {
            "all" => true,
            "short" => fault.part == Part::Short,
            part => fault.name.contains(part),
        })
    };
    let chosen: Vec<&Fault> = FAULTS.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (table, right) = runtime.block_on(run(chosen));
    println!("\n{table}");
    if updates {
        report::update_document(&table);
    }
    // What is still waiting is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs faults, as many at once as is good: the table, and whether nothing was wrong.
async fn run(faults: Vec<&'static Fault>) -> (String, bool) {
    let at_once = std::env::var("JETON_FAULTS_AT_ONCE").ok().and_then(|text| text.parse().ok());
    let turns = Arc::new(Semaphore::new(at_once.unwrap_or(AT_ONCE)));
    let mut running = JoinSet::new();
    for (index, fault) in faults.iter().copied().enumerate() {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire_owned().await.expect("it is never closed");
            eprintln!("{} on {} begins", fault.name, fault.on);
            (index, happen(fault).await)
        });
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by_key(|(index, _)| *index);
    let mut table = HEAD.to_owned();
    let mut right = true;
    for (index, outcome) in &outcomes {
        let fault = faults[*index];
        table += &report::row(fault.what, &fault.on.to_string(), outcome);
        right &= outcome.as_ref().is_ok_and(Outcome::is_right);
    }
    (table, right)
}

/// Has one fault happen, and says what was wrong.
async fn happen(fault: &'static Fault) -> Result<Outcome, String> {
    let running =
        tokio::spawn(async move { tokio::time::timeout(LONGEST, (fault.run)(fault.on)).await });
    let outcome = match running.await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err("it took too long".to_owned()),
        Err(panic) => {
            let panic = panic.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(text.unwrap_or_default().lines().next().unwrap_or("it panicked").to_owned())
        }
    };
    let row = report::row(fault.name, &fault.on.to_string(), &outcome);
    let Ok(outcome) = outcome else {
        eprint!("{row}");
        return outcome;
    };
    let logs = outcome.keep_logs(&format!("{}-{:?}", fault.name, fault.on.engine));
    eprint!("{row}");
    if !outcome.is_right() {
        eprintln!("  {}\n  logs: {}", outcome.examples.join("\n  "), logs.display());
    }
    Ok(outcome)
}
