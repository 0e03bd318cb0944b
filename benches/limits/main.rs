//! How close the service comes to what the machine can do at all.
//!
//! Everything is measured against a limit in the same run and printed as a ratio; the two sides take
//! turns, and the median of the rounds counts. `cargo bench --bench limits` measures all;
//! `cargo bench --bench limits -- hash formats login jwks keys import refresh introspection rows purge
//! sealing overload timing resources` measures what is named. With `JETON_TEST_POSTGRES` naming a server, most of what needs a
//! database is measured on PostgreSQL too; `JETON_BENCH_ENGINE` names one of `sqlite`, `unnamed` and `prepared`, if the
//! others are not to be measured. `JETON_BENCH_ROWS` says how many rows are many, if not a million.
//! Five are measured only where they are named: `soak`, half an hour an engine or `JETON_BENCH_MINUTES`; `callers`, which
//! draws the plots in ten minutes; `timing-formats`, `timing` with each format of hashes alone, a minute; and for `docs/scaling.md` `queueing`, five minutes, and `replicas`, three minutes.

#![expect(clippy::print_stdout, reason = "the result of a benchmark is what it prints")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark that meets the unexpected stops, and its numbers are small"
)]

mod bare;
mod callers;
mod formats;
mod import;
mod keys;
mod load;
mod logins;
mod overload;
mod plots;
mod process;
mod purge;
mod queueing;
mod replicas;
mod resources;
mod rows;
mod samples;
mod sealing;
mod sessions;
mod soak;
mod timing;

use std::time::Duration;

use load::{Load, Rate};
use process::{Engine, Jeton};
use sessions::WithSessions;

/// The service itself runs on it, so the limits are measured with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the two sides take turns.
const ROUNDS: usize = 5;

/// How long a database is under load before it is measured, and how long in each round.
const WARM_UP: Duration = Duration::from_secs(1);
const TURN: Duration = Duration::from_secs(3);

/// How many callers there are at once.
const CALLERS: [usize; 2] = [1, 64];

/// How many access tokens are introspected in turn.
const TOKENS: usize = 8_192;

/// How many users there are, and sessions, where the number does not matter.
const FEW: usize = 1_024;

/// How many there are where it does.
fn many() -> usize {
    let set = std::env::var("JETON_BENCH_ROWS").ok();
    set.map_or(1_000_000, |number| number.parse().expect("JETON_BENCH_ROWS is a number"))
}

/// For how long the service is under load where that is what counts.
fn minutes() -> u64 {
    let set = std::env::var("JETON_BENCH_MINUTES").ok();
    set.map_or(30, |number| number.parse().expect("JETON_BENCH_MINUTES is a number"))
}

#[tokio::main]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wants = |name: &str| named.is_empty() || named.iter().any(|own| own == name);
    println!("cores: {}", bare::cores());
    let flushes = bare::flushes_per_second(&std::env::temp_dir(), Duration::from_secs(2));
    println!("writes of 4 KiB flushed to the disk, one after the other: {flushes:.0}/s");
    if let Some(durability) = process::postgres_durability().await {
        println!("PostgreSQL: {durability}");
    }
    if wants("hash") {
        hashes().await;
    }
    if wants("formats") {
        tokio::task::spawn_blocking(formats::formats).await.expect("no panic");
    }
    if wants("sealing") {
        sealing::one_hash();
    }
    if wants("login") {
        logins::logins().await;
    }
    if wants("jwks") {
        jwks().await;
    }
    if wants("keys") {
        keys::generation().await;
    }
    if named.iter().any(|name| name == "bare") {
        return serve_bare().await;
    }
    if named.iter().any(|name| name == "callers") {
        callers::callers().await;
    }
    if named.iter().any(|name| name == "queueing") {
        queueing::queueing().await;
    }
    if named.iter().any(|name| name == "replicas") {
        replicas::replicas().await;
    }
    if named.iter().any(|name| name == "soak") {
        for engine in [Engine::Sqlite, Engine::Postgres("unnamed")] {
            soak::soak(engine, Duration::from_mins(minutes())).await;
        }
    }
    for engine in Engine::ALL.into_iter().filter(|engine| engine.is_wanted()) {
        measure_on(engine, &wants).await;
    }
    if wants("overload") {
        overload::overload().await;
    }
    if wants("timing") {
        timing::timing().await;
    }
    if named.iter().any(|name| name == "timing-formats") {
        timing::timing_of_formats().await;
    }
    if wants("resources") {
        resources::resources().await;
    }
}

/// Measures on one engine what is wanted and needs a database.
async fn measure_on(engine: Engine, wants: &impl Fn(&str) -> bool) {
    if wants("keys") {
        keys::reload(engine).await;
    }
    if wants("import") && !matches!(engine, Engine::Postgres("prepared")) {
        import::import(engine).await;
    }
    if wants("refresh") {
        refreshes(engine).await;
    }
    if wants("introspection") {
        introspections(engine).await;
    }
    if wants("rows") {
        rows(engine, many()).await;
    }
    if wants("purge") && !matches!(engine, Engine::Postgres("prepared")) {
        purge::purge(engine, many()).await;
    }
    if wants("sealing") && !matches!(engine, Engine::Postgres("prepared")) {
        sealing::sealing(engine, many()).await;
    }
}

/// The service's own scrypt, against that of the crate `scrypt`, by what the processor does for each.
async fn hashes() {
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let times = tokio::task::spawn_blocking(bare::hash_times).await.expect("no panic");
        let [per_second, limit] = times.map(|time| time.as_secs_f64().recip());
        rounds.push(&Rate { per_second, ..Rate::default() }, limit);
    }
    rounds.print("own scrypt / the crate scrypt, a core", "hashes/s", "hashes/s");
}

/// The key set, against a warp handler that does nothing but return the same octets: with the same head, and with
/// one that says nothing but what the content is.
async fn jwks() {
    let jeton = Jeton::start_sqlite();
    let get = |address| load::get(address, "/.well-known/jwks.json");
    let (head, content) = load::fetch_whole(jeton.public, &get(jeton.public)).await;
    let short = bare::serve(content.clone(), bare::json()).await;
    let same = bare::serve(content, head).await;
    let load = |address| Load::new(address, get(address), 32);
    let (ours, short, same) = (load(jeton.public), load(short.address), load(same.address));
    let (mut of_short, mut of_same, mut of_head) = <(Rounds, Rounds, Rounds)>::default();
    for _ in 0..ROUNDS {
        let short = short.run(TURN).await;
        let same = same.run(TURN).await;
        let rate = ours.run(TURN).await;
        of_short.push(&rate, short.per_second);
        of_same.push(&rate, same.per_second);
        of_head.push(&same, short.per_second);
    }
    let unit = "requests/s";
    of_short.print("JWKS, 32 connections / bare warp handler", unit, unit);
    of_same.print("JWKS, 32 connections / bare warp handler with the same head", unit, unit);
    of_head.print("bare warp handler with the same head / with a short one", unit, unit);
}

/// Serves octets as many as a key set has, until it is killed: the limit of `benches/peers`.
async fn serve_bare() {
    let bare = bare::serve(vec![b'x'; 1_024], bare::json()).await;
    println!("bare handler on {}", bare.address);
    std::future::pending::<()>().await;
}

/// Refreshes, each caller of a session of its own, against raw RSA signatures on all cores.
async fn refreshes(engine: Engine) {
    let Some(own) = WithSessions::start(engine, FEW).await else { return };
    for callers in CALLERS {
        own.refreshes(callers, callers, WARM_UP).await;
        let mut rounds = Rounds::default();
        let mut cost = Cost::begin(&own.jeton).await;
        for _ in 0..ROUNDS {
            let limit = bare::signatures_per_second(Duration::from_secs(2)).await;
            let rate = own.refreshes(callers, callers, TURN).await;
            rounds.push(&rate, limit);
            cost.requests += rate.served;
        }
        let name = format!("refreshes on {engine}, {callers} callers / raw signatures");
        rounds.print(&name, "requests/s", "signatures/s");
        cost.print(&own.jeton, "a refresh", bare::signature_time()).await;
    }
}

/// Introspections of tokens that were introspected before, against a warp handler that reads the same form and
/// returns the same octets, and against raw RSA verifications on all cores.
async fn introspections(engine: Engine) {
    let Some(own) = WithSessions::start(engine, FEW).await else { return };
    let tokens = own.access_tokens(FEW).await;
    let request = own.jeton.introspection_request(&tokens[0]);
    let bare = bare::serve_form(load::fetch(own.jeton.public, &request).await).await;
    for callers in CALLERS {
        let load = own.introspections(&tokens, callers);
        let handler = own.introspections_at(bare.address, &tokens, callers);
        load.run(WARM_UP).await;
        let (mut rounds, mut of_raw) = (Rounds::default(), Rounds::default());
        let mut cost = Cost::begin(&own.jeton).await;
        for _ in 0..ROUNDS {
            let raw = bare::verifications_per_second(Duration::from_secs(2)).await;
            let limit = handler.run(TURN).await;
            let rate = load.run(TURN).await;
            rounds.push(&rate, limit.per_second);
            of_raw.push(&rate, raw);
            cost.requests += rate.served;
        }
        let name = format!("introspections on {engine}, {callers} callers");
        rounds.print(&format!("{name} / bare warp handler"), "requests/s", "requests/s");
        of_raw.print(&format!("{name} / raw verifications"), "requests/s", "verifications/s");
        cost.print(&own.jeton, "an introspection", bare::verification_time()).await;
    }
}

/// Introspections and refreshes of sessions that are chosen by chance: among very many, against the same
/// among few.
async fn rows(engine: Engine, many: usize) {
    let Some(few) = WithSessions::start(engine, FEW).await else { return };
    let started = std::time::Instant::now();
    let Some(many) = WithSessions::start(engine, many).await else { return };
    let taken = started.elapsed().as_secs();
    println!("{} users and as many sessions on {engine}: written in {taken} s", many.sessions);
    let name = format!("{} users and sessions / {FEW}", many.sessions);
    let tokens = [few.access_tokens(TOKENS).await, many.access_tokens(TOKENS).await];
    for callers in CALLERS {
        let of_few = few.introspections(&tokens[0], callers);
        let of_many = many.introspections(&tokens[1], callers);
        of_few.run(WARM_UP).await;
        of_many.run(WARM_UP).await;
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            let limit = of_few.run(TURN).await;
            rounds.push(&of_many.run(TURN).await, limit.per_second);
        }
        let name = format!("introspections on {engine}, {callers} callers, {name}");
        rounds.print(&name, "requests/s", "requests/s");
    }
    for callers in CALLERS {
        few.refreshes(callers, few.sessions, WARM_UP).await;
        many.refreshes(callers, many.sessions, WARM_UP).await;
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            let limit = few.refreshes(callers, few.sessions, TURN).await;
            let rate = many.refreshes(callers, many.sessions, TURN).await;
            rounds.push(&rate, limit.per_second);
        }
        let name = format!("refreshes on {engine}, {callers} callers, {name}");
        rounds.print(&name, "requests/s", "requests/s");
    }
}

/// What the requests took.
struct Cost {
    statements: f64,
    processor: Duration,
    requests: usize,
}

impl Cost {
    /// Begins to count.
    async fn begin(jeton: &Jeton) -> Self {
        let statements = jeton.metric("jeton_database_statements_total").await;
        Self { statements, processor: jeton.processor_time(), requests: 0 }
    }

    /// Prints what was counted.
    async fn print(self, jeton: &Jeton, what: &str, limit: Duration) {
        let end = Self::begin(jeton).await;
        let requests = self.requests as f64;
        let statements = (end.statements - self.statements) / requests;
        let processor = end.processor.saturating_sub(self.processor).as_secs_f64() * 1e6 / requests;
        println!(
            "  {what}: {statements:.2} statements; {processor:.0} µs of the service's processor time, of \
             which the limit takes {:.0} µs",
            limit.as_secs_f64() * 1e6
        );
    }
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
