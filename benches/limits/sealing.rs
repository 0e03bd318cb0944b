//! What it takes to seal stored password hashes: one at a login, and all of them beside callers.

use std::time::{Duration, Instant};

use jeton_crypto::data_key::{DataKey, DataKeys};
use jeton_oauth::{Secret, UserId};

use super::bare::processor_time;
use super::import::write_users;
use super::process::Engine;
use super::purge::{Callers, QUIET, USERS, print};
use super::sessions::WithSessions;
use super::{ROUNDS, median};

/// How many hashes are opened and sealed in a round.
const HASHES: u32 = 20_000;
/// The most that a login may take longer where hashes are sealed, of the processor.
const LOGIN_MAX: Duration = Duration::from_micros(10);
/// The longest that another master key may take, however many users there are.
const REWRAP_MAX: Duration = Duration::from_mins(1);

/// What a login takes longer: its hash is opened, and a better one is sealed.
pub(crate) fn one_hash() {
    let key = DataKey::generate();
    let user: UserId = "5Zq3cHn0XxV2pY8wR1tKbA".parse().expect("a sub");
    let output = "A".repeat(43);
    let hash = Secret::new(format!("$scrypt$ln=17,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA${output}"));
    let sealed = key.seal(&user, &hash);
    let keys = DataKeys::new(vec![key.clone()]);
    let (mut opening, mut sealing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let open = || drop(std::hint::black_box(keys.open(&user, &sealed).expect("its own")));
        opening.push(processor_time(HASHES, open).as_secs_f64() * 1e6);
        let seal = || drop(std::hint::black_box(key.seal(&user, &hash)));
        sealing.push(processor_time(HASHES, seal).as_secs_f64() * 1e6);
    }
    let [opening, sealing] = [opening, sealing].map(median);
    let both = opening + sealing;
    let limit = LOGIN_MAX.as_secs_f64() * 1e6;
    println!(
        "a sealed hash is opened in {opening:.1} µs, and another sealed in {sealing:.1} µs: {both:.1} µs / {limit:.0} \
         µs = {:.2}",
        both / limit
    );
}

/// Seals so many users beside callers, gives the data key another master key, and opens them again.
pub(crate) async fn sealing(engine: Engine, users: usize) {
    let Some(own) = WithSessions::start(engine, USERS).await else { return };
    let file = write_users(own.jeton.folder(), users, "sealed").display().to_string();
    own.jeton.command(&["user", "import", &file]).await;
    let callers = Callers::start(&own);
    tokio::time::sleep(QUIET).await;
    let quiet = callers.stop().await;
    print(engine, "nothing is sealed", &quiet, &quiet);

    let (master, all) = (own.jeton.master_key_file(), users + USERS);
    let new = own.jeton.folder().join("new.jwk").display().to_string();
    let both = format!("{new},{master}");
    let seal = ["user", "seal", "--no-recovery", "--yes", "--master-key-file", &master];
    let rewrap = ["key", "rewrap", "--yes", "--master-key-file", &both];
    let unseal = ["user", "unseal", "--yes", "--master-key-file", &new];
    for (arguments, what) in [
        (&seal[..], "hashes are sealed"),
        (&rewrap, "are given another master key"),
        (&unseal, "are opened"),
    ] {
        let callers = Callers::start(&own);
        let started = Instant::now();
        own.jeton.command(arguments).await;
        let took = started.elapsed();
        // Some come in any case.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let rate = all as f64 / took.as_secs_f64();
        let meanwhile = format!("{all} {what}, in {took:.1?} ({rate:.0}/s)");
        print(engine, &meanwhile, &callers.stop().await, &quiet);
        if arguments == rewrap {
            println!(
                "  a rewrap / its limit: {:.4}",
                took.as_secs_f64() / REWRAP_MAX.as_secs_f64()
            );
        }
    }
}
