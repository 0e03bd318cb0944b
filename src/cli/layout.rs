//! How many threads hash, and how many hashes each computes at once: what makes most logins with the memory
//! there is.

use super::Failure;
use super::memory_limit::MemoryLimit;
use crate::config::{ByteSize, HashingSettings};
use jeton_crypto::password::Kernel;
use jeton_oauth::ScryptCost;

/// How many hashes a second a core makes in 1, 2, 4 and so many lanes, as far as twice as many lanes make a quarter
/// more; else they are not worth twice the memory, and the longer wait. Measured by `cargo bench -p
/// jeton-scrypt`; only the proportions matter.
const AVX_512: &[f64] = &[4.65, 8.43, 14.12, 19.43];
const AVX2: &[f64] = &[4.77, 8.18, 12.77];
const OTHERS: &[f64] = &[4.40, 7.18];

/// The threads, and what they compute with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) threads: usize,
    /// The processor's, for at most as many lanes as are worth their memory.
    pub(super) kernel: Kernel,
    /// In octets.
    pub(super) memory_per_thread: u64,
    /// What all threads together may take, in octets.
    pub(super) budget: u64,
}

impl Layout {
    /// As it was set, and else what makes most logins: at most one thread a core, in at most a quarter of the memory
    /// limit. One hash a thread may take more, up to half of it.
    ///
    /// # Errors
    /// There is not enough memory for one hash in each thread.
    pub(super) fn new(
        settings: &HashingSettings,
        cores: usize,
        limit: Option<MemoryLimit>,
        kernel: Kernel,
    ) -> Result<Self, Failure> {
        let cost = settings.scrypt;
        // Hashes of the recommended cost verify everywhere, whatever new ones cost.
        let share = cost.memory().max(ScryptCost::RECOMMENDED.memory());
        let budget = match (settings.hash_memory, &limit) {
            (Some(size), _) => size.0,
            (None, None) => u64::MAX,
            (None, Some(limit)) => {
                let needed = share.saturating_mul(count(settings.hash_threads.unwrap_or(1)));
                needed.min(limit.octets / 2).max(limit.octets / 4)
            }
        };
        let speeds = speeds(kernel);
        let best = most_hashes(settings.hash_threads, cores, speeds, |threads, lanes| {
            let each = share.max(cost.memory().saturating_mul(count(lanes)));
            count(threads).saturating_mul(each) <= budget
        });
        let (threads, lanes) = best.unwrap_or((settings.hash_threads.unwrap_or(1), 1));
        let memory_per_thread = match settings.hash_memory {
            Some(size) => size.0 / count(threads),
            None => share.max(cost.memory() * count(lanes)).min(budget / count(threads)),
        };
        if memory_per_thread < cost.memory() {
            let from = match (settings.hash_memory, limit) {
                (None, Some(limit)) => format!("half of the {limit}; --hash-memory"),
                _ => "--hash-memory".to_owned(),
            };
            return Err(Failure::failed(format!(
                "one password hash of {cost} (--scrypt) takes {}, and each of {threads} hashing threads \
                 (--hash-threads) may take {} of {} ({from}): allow more memory or fewer \
                 threads, or choose --scrypt ln=16,r=8,p=2 or ln=15,r=8,p=3, which take less",
                ByteSize(cost.memory()),
                ByteSize(memory_per_thread),
                ByteSize(budget),
            )));
        }
        let kernel = kernel.at_most(1 << (speeds.len() - 1));
        Ok(Self { threads, kernel, memory_per_thread, budget })
    }
}

/// What a kernel makes by lanes.
fn speeds(kernel: Kernel) -> &'static [f64] {
    let all = match kernel.name() {
        "AVX-512" => AVX_512,
        "AVX2" => AVX2,
        _ => OTHERS,
    };
    let possible = kernel.lanes().max(1).ilog2() as usize + 1;
    all.get(..possible).unwrap_or(all)
}

/// Of the threads and lanes for which there is room those that make most hashes; of two ways to make as many the one
/// with more threads, so that no login waits for another while a core has nothing to do.
fn most_hashes(
    threads: Option<usize>,
    cores: usize,
    speeds: &[f64],
    has_room: impl Fn(usize, usize) -> bool,
) -> Option<(usize, usize)> {
    let threads = threads.map_or(1..=cores, |threads| threads..=threads);
    let layouts = threads.flat_map(|threads| {
        let by_lanes = speeds.iter().enumerate();
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        let layout = move |(exponent, speed): (usize, &f64)| {
            ((threads, 1 << exponent), threads as f64 * speed)
        };
        by_lanes.map(layout)
    });
    let possible = layouts.filter(|((threads, lanes), _)| has_room(*threads, *lanes));
    let best = possible.max_by(|(_, rate), (_, other)| rate.total_cmp(other));
    best.map(|(layout, _)| layout)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use jeton_crypto::password::lanes;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        settings: HashingSettings,
    }

    /// Threads, and the memory of each in MiB.
    fn layout(arguments: &[&str], cores: usize, mib: u64) -> Result<(usize, u64), Failure> {
        let all = std::iter::once(&"jeton").chain(arguments);
        let settings = Arguments::try_parse_from(all).expect("valid arguments").settings;
        let limit = MemoryLimit { octets: mib << 20, source: "a test".to_owned() };
        // One lane, on every processor.
        Layout::new(&settings, cores, Some(limit), Kernel::best().at_most(1))
            .map(|layout| (layout.threads, layout.memory_per_thread >> 20))
    }

    #[test]
    fn threads_and_memory_follow_from_the_machine() {
        assert_eq!(layout(&[], 2, 4_096), Ok((2, 128)));
        assert_eq!(layout(&[], 8, 2_048), Ok((4, 128)));
        assert_eq!(layout(&[], 2, 512), Ok((1, 128)));
        // One hash may take more than a quarter, but not more than half.
        assert_eq!(layout(&[], 2, 256), Ok((1, 128)));
        assert!(layout(&[], 2, 255).is_err());
        assert_eq!(layout(&["--scrypt", "ln=15,r=8,p=3"], 2, 256), Ok((1, 128)));
        assert_eq!(layout(&["--scrypt", "ln=15,r=8,p=3"], 2, 128), Ok((1, 64)));
        assert_eq!(layout(&["--scrypt", "ln=18,r=8,p=1"], 2, 4_096), Ok((2, 256)));
        assert_eq!(layout(&["--hash-memory", "1GiB"], 2, 4_096), Ok((2, 512)));
        assert_eq!(layout(&["--hash-threads", "3"], 2, 4_096), Ok((3, 128)));
        assert_eq!(layout(&["--hash-threads", "3"], 2, 1_024), Ok((3, 128)));
        assert!(layout(&["--hash-threads", "5"], 2, 1_024).is_err());
        assert!(layout(&["--hash-memory", "100MiB"], 2, 4_096).is_err());
    }

    /// Threads and lanes that fit so many hashes.
    #[track_caller]
    fn assert_most(speeds: &[f64], cores: usize, hashes: usize, expected: (usize, usize)) {
        let found = most_hashes(None, cores, speeds, |threads, lanes| threads * lanes <= hashes);
        assert_eq!(found, Some(expected), "{hashes} hashes on {cores} cores");
    }

    #[test]
    fn the_memory_goes_where_it_makes_most_logins() {
        for (cores, hashes, expected) in [
            (2, 1, (1, 1)),
            (2, 2, (2, 1)),
            (2, 3, (2, 1)),
            (2, 4, (2, 2)),
            (2, 8, (2, 4)),
            (2, 16, (2, 8)),
            (2, 48, (2, 8)),
            (4, 6, (3, 2)),
            (64, 16, (16, 1)),
        ] {
            assert_most(AVX_512, cores, hashes, expected);
        }
        for (cores, hashes, expected) in
            [(2, 2, (2, 1)), (2, 4, (2, 2)), (2, 8, (2, 4)), (2, 48, (2, 4)), (4, 4, (4, 1))]
        {
            assert_most(AVX2, cores, hashes, expected);
        }
        let of_one = most_hashes(Some(1), 2, AVX_512, |threads, lanes| threads * lanes <= 8);
        assert_eq!(of_one, Some((1, 8)), "the operator wants one thread");
    }

    #[test]
    fn no_layout_takes_more_than_was_allowed() {
        for mib in [256, 300, 512, 1_024, 2_048, 3_000, 24 << 10] {
            for cost in ["ln=17,r=8,p=1", "ln=16,r=8,p=2", "ln=15,r=8,p=3"] {
                let arguments = ["jeton", "--scrypt", cost];
                let settings = Arguments::try_parse_from(arguments).expect("valid").settings;
                let limit = MemoryLimit { octets: mib << 20, source: "a test".to_owned() };
                let layout = Layout::new(&settings, 2, Some(limit), Kernel::best());
                let Layout { threads, kernel, memory_per_thread, .. } = layout.expect("enough");
                let together = memory_per_thread * count(threads);
                assert!(together <= (mib << 20) / 4 || together == 128 << 20, "{mib} {cost}");
                let lanes = lanes(kernel, memory_per_thread, settings.scrypt);
                assert!(settings.scrypt.memory() * count(lanes) <= memory_per_thread);
            }
        }
    }
}
