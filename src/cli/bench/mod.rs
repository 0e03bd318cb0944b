//! `jeton bench`: what this machine can do.

mod measure;
mod report;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::layout::Layout;
use super::{Failure, machine, output};
use crate::config::HashingSettings;
use jeton_crypto::password::Kernel;
use jeton_oauth::ScryptCost;
use measure::{Bench, memory};
use report::{OfCost, Report};

/// Costs that OWASP considers equally strong (Password Storage Cheat Sheet), except the one with ln=13.
const OWASP: [ScryptCost; 4] = [
    ScryptCost::RECOMMENDED,
    ScryptCost { ln: 16, r: 8, p: 2 },
    ScryptCost { ln: 15, r: 8, p: 3 },
    ScryptCost { ln: 14, r: 8, p: 5 },
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Measure how many passwords this machine hashes a second, by threads and hashes at once, and say which settings
    /// make most of its memory. Needs no database
    Hash(Options),
}

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    hashing: HashingSettings,

    /// How long it may take, in seconds, 1 to 600; each measurement is of one hash at least
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600), value_name = "NUMBER")]
    seconds: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Hash(options) = command;
    let json = options.json;
    let measured = tokio::task::spawn_blocking(move || measure_all(&options));
    let report = measured.await.map_err(|error| format!("it was interrupted: {error}"))??;
    output::end_progress();
    if json {
        output::json(&report);
    } else {
        output::lines(&report.text());
    }
    Ok(())
}

/// Measures one thread and all of them, each with up to as many hashes at once as there is memory for, and the costs of
/// OWASP in the layout that the service would have for them.
fn measure_all(options: &Options) -> Result<Report, Failure> {
    let (settings, cores) = (&options.hashing, machine::cores());
    let lay_out = |settings: &HashingSettings| {
        Layout::new(settings, cores, machine::memory_limit(), Kernel::best())
    };
    let in_force = lay_out(settings)?;
    let (kernel, cost) = (in_force.kernel, settings.scrypt);
    let mut threads = settings.hash_threads.map_or(vec![1, cores], |threads| vec![threads]);
    threads.dedup();
    let by_threads: Vec<_> = threads
        .into_iter()
        .map(|threads| (threads, all_lanes(kernel, threads, cost, in_force.budget)))
        .collect();
    // Costs for which there is too little memory are left out.
    let with_cost = |cost| HashingSettings { scrypt: cost, ..settings.clone() };
    let others = OWASP.into_iter().filter(|other| *other != cost);
    let others: Vec<_> =
        others.filter_map(|cost| Some((cost, lay_out(&with_cost(cost)).ok()?))).collect();

    let count = by_threads.iter().map(|(_, lanes)| lanes.len()).sum::<usize>() + others.len();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let time = Duration::from_secs(options.seconds) / count.max(1);
    let mut shown = 0;
    let mut show = || {
        output::progress_bar("Measuring", shown, count.into());
        shown += 1;
    };
    let mut measured = Vec::new();
    for (threads, lanes) in by_threads {
        let Some(most) = lanes.last() else { continue };
        let mut bench = Bench::new(kernel, threads, *most, cost)?;
        for lanes in lanes {
            show();
            measured.push(bench.measure(lanes, time));
        }
    }
    let mut of_costs = Vec::new();
    for (cost, layout) in others {
        show();
        of_costs.push(OfCost::new(cost, Bench::of(&layout, cost)?.measure_all(time)));
    }
    Ok(Report::new(cores, cost, &in_force, measured, of_costs))
}

/// The powers of two, as far as there is memory for this many hashes at once in each thread.
fn all_lanes(kernel: Kernel, threads: usize, cost: ScryptCost, budget: u64) -> Vec<usize> {
    let lanes = (0..=kernel.lanes().ilog2()).map(|exponent| 1 << exponent);
    lanes.take_while(|lanes| memory(threads * lanes, cost) <= budget).collect()
}
