//! Random choices that can be made again.

use std::net::{SocketAddr, TcpListener};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Where a run can be repeated from.
const SEED_VARIABLE: &str = "JETON_TEST_SEED";

/// A seed: another one each run, unless the environment says which. It is printed, so that a run
/// that failed says how to repeat its choices.
#[expect(clippy::print_stderr, reason = "the run of a failed test shows it")]
pub(crate) fn seed() -> u64 {
    let set = std::env::var(SEED_VARIABLE).ok();
    let seed = set.map_or_else(rand::random, |text| text.parse().expect("a number"));
    eprintln!("{SEED_VARIABLE}={seed}");
    seed
}

/// Random choices that follow from a seed.
pub(crate) fn choices(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A port that is free now, below those that the system gives to whoever connects.
pub(crate) fn choose_port(random: &mut StdRng) -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], random.random_range(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
