//! What keys cost while a service runs: looking at them again, and making a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use jeton::cli::serve::Service;
use jeton::config::ServeSettings;
use jeton_crypto::key_lifecycle::Schedule;
use jeton_crypto::signing;
use jeton_oauth::Seconds;
use jeton_runtime::clock::Clock;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::keys::Keys;
use jeton_service::keys::key_store::KeyStore;
use jeton_store::Store;
use tokio::runtime;
use tokio::time::{Instant, interval};

use super::load::{self, Caller};
use super::process::{Engine, Jeton};

/// How often the keys are looked at again.
const LOOKS: u32 = 500;
/// How long callers are watched.
const WATCH: Duration = Duration::from_secs(15);
/// How often the caller asks.
const PAUSE: Duration = Duration::from_millis(5);

/// The settings of `serve`.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: ServeSettings,
}

/// What one look at the keys takes, which a service does every three seconds.
pub(crate) async fn reload(engine: Engine) {
    let Some(jeton) = Jeton::start_on(engine).await else { return };
    let location = jeton.database.parse().expect("the service's database");
    let store = Store::open(&location).await.expect("it is there");
    let clock = AgreedClock::open(Clock::System, store.clone()).await.expect("a clock");
    let key_store = KeyStore {
        store,
        master_key_files: vec![jeton.master_key_file().into()],
        bits: 2_048,
        schedule: Schedule::new(Seconds::new(30 * 86_400), Seconds::new(600)),
    };
    let keys = Keys::load(key_store, Arc::new(clock)).await.expect("the service's keys");
    let started = Instant::now();
    for _ in 0..LOOKS {
        keys.reload().await.expect("the database answers");
    }
    println!("a look at the keys on {engine}: {:.0?}", started.elapsed() / LOOKS);
}

/// What a caller of the key set notices while the service makes one signing key after the other, which
/// it does once in `--key-rotation`.
pub(crate) async fn generation() {
    let jeton = Jeton::start_sqlite();
    let master_key_file = jeton.master_key_file();
    let arguments = ["jeton", "--database", &jeton.database, "--master-key-file", &master_key_file];
    let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let all = arguments.iter().chain(&free);
    let settings = Arguments::try_parse_from(all).expect("valid settings").settings;
    // As the executable has it: a runtime of its own, with a thread a core.
    let own = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let service = own.spawn(Service::start(settings, Clock::System)).await.expect("no panic");
    let service = service.expect("it starts");
    watch(&service, "no key is made").await;

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let making = own.spawn_blocking(move || {
        let mut made = 0;
        while !stopped.load(Ordering::Relaxed) {
            signing::generate(2_048).expect("OpenSSL makes a key");
            made += 1;
        }
        made
    });
    let started = Instant::now();
    watch(&service, "keys are made without a pause").await;
    stop.store(true, Ordering::Relaxed);
    let made: u32 = making.await.expect("no panic");
    println!("  {made} keys of 2048 bits in {:.0?}", started.elapsed());
    own.shutdown_background();
}

async fn watch(service: &Service, meanwhile: &str) {
    let request = load::get(service.public, "/.well-known/jwks.json");
    let mut caller = Caller::connect(service.public).await;
    let (mut waits, mut times) = (Vec::new(), interval(PAUSE));
    let end = Instant::now() + WATCH;
    while Instant::now() < end {
        times.tick().await;
        let asked = Instant::now();
        assert_eq!(caller.ask(&request).await, Some(200));
        waits.push(asked.elapsed());
    }
    waits.sort();
    let of = |hundredths: usize| waits[(waits.len() * hundredths / 100).min(waits.len() - 1)];
    println!(
        "JWKS while {meanwhile}: p50 {:.0?}, p99 {:.0?}, longest {:.0?}",
        of(50),
        of(99),
        of(100)
    );
}
