//! Random choices that can be made again.

use rand::SeedableRng;
use rand::rngs::StdRng;

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
