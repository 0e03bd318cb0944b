//! The measurements as a table, a chart and advice.

use std::fmt::Write;

use serde::Serialize;

use super::super::layout::Layout;
use super::measure::Measured;
use crate::config::ByteSize;
use jeton_crypto::password::lanes;
use jeton_oauth::ScryptCost;

/// The length of the longest bar, so that lines have less than 80 columns.
const BAR: f64 = 50.0;
/// More memory is recommended only if it is faster by this factor.
const WORTHWHILE: f64 = 1.05;

/// The measurements, and what follows from them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The instruction set for scrypt.
    kernel: &'static str,
    cores: usize,
    scrypt: String,
    /// The memory that hashing may use, in octets.
    memory_allowed: u64,
    measured: Vec<Measured>,
    other_costs: Vec<OfCost>,
    in_force: Advice,
    advice: Advice,
}

/// How many threads hash, and their memory.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Advice {
    hash_threads: usize,
    hashes_at_once: usize,
    /// In octets.
    hash_memory: u64,
}

/// The measurement of another cost.
#[derive(Debug, Serialize)]
pub(super) struct OfCost {
    scrypt: String,
    /// Whether `--scrypt` accepts it.
    is_allowed: bool,
    /// The memory of one hash, in octets.
    memory_per_hash: u64,
    #[serde(flatten)]
    measured: Measured,
}

impl OfCost {
    pub(super) fn new(cost: ScryptCost, measured: Measured) -> Self {
        let scrypt = cost.to_string();
        Self {
            is_allowed: scrypt.parse::<ScryptCost>().is_ok(),
            scrypt,
            memory_per_hash: cost.memory(),
            measured,
        }
    }
}

impl Report {
    pub(super) fn new(
        cores: usize,
        cost: ScryptCost,
        in_force: &Layout,
        measured: Vec<Measured>,
        other_costs: Vec<OfCost>,
    ) -> Self {
        let Layout { threads, kernel, memory_per_thread, budget } = *in_force;
        Self {
            kernel: kernel.name(),
            cores,
            scrypt: cost.to_string(),
            memory_allowed: budget,
            advice: Advice::of(&measured),
            measured,
            other_costs,
            in_force: Advice {
                hash_threads: threads,
                hashes_at_once: lanes(kernel, memory_per_thread, cost),
                hash_memory: memory_per_thread
                    .saturating_mul(u64::try_from(threads).unwrap_or(u64::MAX)),
            },
        }
    }

    /// For people, in lines of less than 80 columns.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).ok();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Self { kernel, cores, scrypt, .. } = self;
        writeln!(
            text,
            "scrypt {scrypt}, {kernel}, {cores} cores, at most {} of memory",
            ByteSize(self.memory_allowed)
        )?;
        writeln!(text, "\nTHREADS  AT ONCE   MEMORY  LOGINS/S  A LOGIN TAKES")?;
        for Measured { threads, hashes_at_once, memory, hashes_per_second, batch_seconds } in
            &self.measured
        {
            let (memory, milliseconds) = (ByteSize(*memory).to_string(), batch_seconds * 1e3);
            writeln!(
                text,
                "{threads:7}  {hashes_at_once:7}  {memory:>7}  {hashes_per_second:8.1}  {milliseconds:10.0} ms"
            )?;
        }
        writeln!(text, "\nLogins a second, by threads x hashes at once")?;
        let most = self.measured.iter().map(|cell| cell.hashes_per_second).fold(0.0, f64::max);
        for cell in &self.measured {
            let rate = cell.hashes_per_second;
            let name = format!("{} x {}", cell.threads, cell.hashes_at_once);
            writeln!(text, "{name:>8}  {} {rate:.1}", bar(rate, most))?;
        }
        writeln!(text, "\nWhat other costs would give (OWASP takes them for equally good)")?;
        writeln!(text, "COST           A HASH   THREADS  AT ONCE  LOGINS/S  A LOGIN TAKES")?;
        for OfCost { scrypt, is_allowed, memory_per_hash, measured } in &self.other_costs {
            let Measured { threads, hashes_at_once, hashes_per_second, batch_seconds, .. } =
                measured;
            let (memory, milliseconds) =
                (ByteSize(*memory_per_hash).to_string(), batch_seconds * 1e3);
            let mark = if *is_allowed { "" } else { " *" };
            writeln!(
                text,
                "{scrypt}  {memory:>7}  {threads:7}  {hashes_at_once:7}  {hashes_per_second:8.1}  {milliseconds:10.0} ms{mark}"
            )?;
        }
        writeln!(text, "* less memory than --scrypt allows")?;
        let say = |advice: &Advice| {
            let Advice { hash_threads, hashes_at_once, hash_memory } = advice;
            format!(
                "--hash-threads {hash_threads} --hash-memory {} ({hashes_at_once} at once)",
                ByteSize(*hash_memory)
            )
        };
        writeln!(text, "\nIn force: {}", say(&self.in_force))?;
        writeln!(text, "Advice:   {}", say(&self.advice))
    }
}

impl Advice {
    /// The layout with the least memory among those that are nearly as fast as the fastest.
    fn of(measured: &[Measured]) -> Self {
        let most = measured.iter().map(|cell| cell.hashes_per_second).fold(0.0, f64::max);
        let good = measured.iter().filter(|cell| cell.hashes_per_second * WORTHWHILE >= most);
        let least = good.min_by_key(|cell| (cell.memory, cell.hashes_at_once));
        least.map_or(Self { hash_threads: 1, hashes_at_once: 1, hash_memory: 0 }, |cell| Self {
            hash_threads: cell.threads,
            hashes_at_once: cell.hashes_at_once,
            hash_memory: cell.memory,
        })
    }
}

fn bar(value: f64, most: f64) -> String {
    let part = value / most * BAR;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 50")]
    let length = part.round() as usize;
    "#".repeat(length)
}
