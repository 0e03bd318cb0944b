//! How close the service comes to what the machine can do at all.
//!
//! Everything is measured against a limit in the same run and printed as a ratio; the two sides take
//! turns, and the median of the rounds counts. `cargo bench --bench limits` measures all;
//! `cargo bench --bench limits -- login jwks introspection resources` measures what is named. With
//! `JETON_TEST_POSTGRES` naming a server, introspection is measured on PostgreSQL too.

#![expect(clippy::print_stdout, reason = "the result of a benchmark is what it prints")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that meets the unexpected stops, and its numbers are small"
)]

mod bare;
mod load;
mod process;

use std::time::Duration;

use load::{Load, Rate};
use process::Jeton;

/// The service itself runs on it, so the limits are measured with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the two sides take turns.
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wants = |name: &str| named.is_empty() || named.iter().any(|own| own == name);
    println!("cores: {}", bare::cores());
    if wants("login") {
        logins().await;
    }
    if wants("jwks") {
        jwks().await;
    }
    if wants("introspection") {
        introspections("SQLite", &Jeton::start_sqlite()).await;
        for statements in ["unnamed", "prepared"] {
            if let Some(jeton) = Jeton::start_postgres(statements).await {
                let engine = format!("PostgreSQL, statements={statements}");
                introspections(&engine, &jeton).await;
            }
        }
    }
    if wants("resources") {
        resources().await;
    }
}

/// Password grants, against the same scrypt on all cores and nothing else.
async fn logins() {
    let jeton = Jeton::start_sqlite();
    let threads = jeton.hashing_threads;
    for (times, seconds) in [(2, 6), (50, 12)] {
        let load = Load::new(jeton.public, jeton.login_request(), times * threads);
        // The first hashes fault in the memory that later ones find.
        load.run(Duration::from_secs(2)).await;
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            let limit = bare::hashes_per_second(Duration::from_secs(4)).await;
            let rate = load.run(Duration::from_secs(seconds)).await;
            rounds.push(&rate, limit);
        }
        let name =
            format!("password grants, {times} x {threads} clients / raw scrypt on all cores");
        rounds.print(&name, "logins/s", "hashes/s");
    }
}

/// The key set, against a warp handler that does nothing but return the same octets.
async fn jwks() {
    let jeton = Jeton::start_sqlite();
    let request = load::get(jeton.public, "/.well-known/jwks.json");
    let content = load::fetch(jeton.public, &request).await;
    let bare = bare::serve(content).await;
    let (ours, limit) = (
        Load::new(jeton.public, request, 32),
        Load::new(bare.address, load::get(bare.address, "/.well-known/jwks.json"), 32),
    );
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let limit = limit.run(Duration::from_secs(3)).await;
        let rate = ours.run(Duration::from_secs(3)).await;
        rounds.push(&rate, limit.per_second);
    }
    rounds.print("JWKS, 32 connections / bare warp handler", "requests/s", "requests/s");
}

/// Introspections, against raw RSA verifications of the same token on all cores.
async fn introspections(engine: &str, jeton: &Jeton) {
    let token = jeton.token().await;
    for callers in [1, 64] {
        let load = Load::new(jeton.public, jeton.introspection_request(&token), callers);
        load.run(Duration::from_secs(1)).await;
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            let limit = bare::verifications_per_second(Duration::from_secs(2)).await;
            let rate = load.run(Duration::from_secs(3)).await;
            rounds.push(&rate, limit);
        }
        let name = format!("introspections on {engine}, {callers} callers / raw verifications");
        rounds.print(&name, "requests/s", "verifications/s");
    }
}

/// Memory, time to the first answer, size.
async fn resources() {
    let mut starts: Vec<f64> = Vec::new();
    for _ in 0..ROUNDS {
        let again = Jeton::start_sqlite().restart();
        starts.push(again.first_answer.as_secs_f64() * 1e3);
    }
    println!(
        "start to first answer, keys made before: {:.0} ms (median of {ROUNDS})",
        median(starts)
    );
    let jeton = Jeton::start_sqlite().restart();
    println!("resident memory, idle: {} MiB", jeton.resident_mib("VmRSS"));
    let load = Load::new(jeton.public, jeton.login_request(), 200);
    let rate = load.run(Duration::from_secs(10)).await;
    println!(
        "resident memory, most under 200 clients that log in: {} MiB; hashing was bounded at start to \
         {} MiB ({:.1} logins/s, {} answers 503)",
        jeton.resident_mib("VmHWM"),
        jeton.hashing_memory_mib,
        rate.per_second,
        rate.refused
    );
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_jeton")).map_or(0, |file| file.len());
    println!("size of the release binary: {:.1} MiB", size as f64 / f64::from(1 << 20));
}

/// What the rounds of one comparison gave.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    limits: Vec<f64>,
    ratios: Vec<f64>,
    refused: usize,
}

impl Rounds {
    fn push(&mut self, rate: &Rate, limit: f64) {
        self.rates.push(rate.per_second);
        self.limits.push(limit);
        self.ratios.push(rate.per_second / limit);
        self.refused += rate.refused;
    }

    fn print(self, name: &str, unit: &str, unit_of_limit: &str) {
        let least = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.ratios.iter().copied().fold(0.0, f64::max);
        println!(
            "{name}: {:.2} [{least:.2}..{most:.2}] ({:.1} {unit} / {:.1} {unit_of_limit}, {} refused)",
            median(self.ratios),
            median(self.rates),
            median(self.limits),
            self.refused
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
