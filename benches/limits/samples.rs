//! Whether two samples of times differ.

use std::cmp::Ordering;

/// What is called found: a difference as great comes about by chance once in so many comparisons.
const ALPHA: f64 = 0.01;
/// How often a difference must be found to be called visible.
const POWER: f64 = 0.8;
/// How often it is looked for.
const TRIALS: usize = 100;
/// The delays that are looked for, in microseconds.
const DELAYS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3];

/// What a comparison came to.
pub(crate) struct Comparison {
    /// How likely so great a difference is if there is none.
    pub(crate) p: f64,
    /// The difference of the medians, in microseconds.
    pub(crate) shift: f64,
    /// How often one of the first is slower than one of the second, less how often it is faster (Cliff's
    /// delta): 0 if nothing can be told, 1 or -1 if each single one tells.
    pub(crate) delta: f64,
}

impl Comparison {
    /// Whether a difference was found.
    pub(crate) fn is_found(&self) -> bool {
        self.p < ALPHA
    }
}

/// Compares two samples of times in microseconds: the test of Mann and Whitney, two-sided, with the normal
/// approximation, which is good from some twenty of each.
pub(crate) fn compare(one: &[f64], other: &[f64]) -> Comparison {
    let mut all: Vec<(f64, bool)> = one.iter().map(|time| (*time, true)).collect();
    all.extend(other.iter().map(|time| (*time, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (one.len() as f64, other.len() as f64);
    // Equal times share the mean of their ranks, and make the sum vary less.
    let (mut ranks, mut ties) = (0.0, 0.0);
    let mut before = 0;
    for equal in all.chunk_by(|a, b| a.0.total_cmp(&b.0) == Ordering::Equal) {
        let count = equal.len() as f64;
        let rank = before as f64 + f64::midpoint(count, 1.0);
        ranks += rank * equal.iter().filter(|(_, is_one)| *is_one).count() as f64;
        ties += count.powi(3) - count;
        before += equal.len();
    }
    let u = ranks - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let z = (u - n * m / 2.0) / variance.sqrt();
    Comparison {
        p: complementary_error_function(z.abs() / std::f64::consts::SQRT_2),
        shift: median(one) - median(other),
        delta: 2.0 * u / (n * m) - 1.0,
    }
}

/// Chebyshev's approximation to 1.2e-7 of the value (Numerical Recipes, 6.2), for what is not negative.
fn complementary_error_function(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + x / 2.0);
    let sum = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    t * (sum - x * x).exp()
}

pub(crate) fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The least of the delays that the comparison finds in 8 of 10 trials, in microseconds, if one of two
/// halves of these times is delayed by it.
pub(crate) fn least_visible_delay(times: &[f64]) -> Option<f64> {
    DELAYS.into_iter().find(|delay| {
        let found = (0..TRIALS).filter(|_| {
            let draw = |delay: f64| -> Vec<f64> {
                let any = || times[rand::random_range(0..times.len())];
                times.iter().map(|_| any() + delay).collect()
            };
            compare(&draw(*delay), &draw(0.0)).is_found()
        });
        found.count() as f64 >= POWER * TRIALS as f64
    })
}

/// So many of each of several kinds, in an order of chance.
pub(crate) fn shuffled(kinds: usize, of_each: usize) -> Vec<(usize, usize)> {
    let pairs = |number| (0..kinds).map(move |kind| (kind, number));
    let mut all: Vec<_> = (0..of_each).flat_map(pairs).collect();
    all.sort_by_cached_key(|_| rand::random::<u64>());
    all
}
