//! What the machine, or what confines this process, has to give.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Failure;
use super::memory_limit::{self, MemoryLimit};
use crate::clock::Seconds;
use crate::config::{ByteSize, HashingSettings, ScryptCost};
use crate::crypto::hashing_pool::HashingLimits;

/// How many files this process may need beside the connections of the public listener: those of the
/// management listener, of the database and of the certificate.
const OTHER_FILES: u64 = 128;

/// How many of the wanted connections can be open at once. Raises the limit of open files as far as
/// this process may, and leaves enough of it for the database, so that no flood of connections can
/// keep the service from that.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    within_files(wanted, in_force)
}

fn within_files(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return wanted };
    let possible = files.saturating_sub(OTHER_FILES).max(files / 2).max(1);
    usize::try_from(possible).map_or(wanted, |possible| wanted.min(possible))
}

/// The least of all limits of memory that this process has.
pub(super) fn memory_limit() -> Option<MemoryLimit> {
    let address_space = getrlimit(Resource::As).current.map(|octets| MemoryLimit {
        octets,
        source: "the limit of the address space (ulimit -v)".to_owned(),
    });
    let limits = memory_limit::memory_limit(Path::new("/")).into_iter().chain(address_space);
    limits.min_by_key(|limit| limit.octets)
}

/// Lays out the hashing threads: one a core, as far as the memory goes. How long a caller waits and how long
/// an idle thread keeps its memory are for who serves.
pub(super) fn hashing_limits(
    settings: &HashingSettings,
    deadline: Seconds,
    memory_idle: Seconds,
) -> Result<HashingLimits, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (threads, memory_per_thread) = lay_out(settings, cores, memory_limit())?;
    let duration = |span: Seconds| Duration::from_secs(span.get().unsigned_abs());
    Ok(HashingLimits {
        threads,
        memory_per_thread,
        deadline: duration(deadline),
        memory_idle: duration(memory_idle),
        cost: settings.scrypt,
    })
}

/// How many threads, and the memory of each.
fn lay_out(
    settings: &HashingSettings,
    cores: usize,
    memory_limit: Option<MemoryLimit>,
) -> Result<(usize, u64), Failure> {
    let cost = settings.scrypt;
    // Hashes of the recommended cost verify everywhere, whatever new ones cost.
    let share = cost.memory().max(ScryptCost::RECOMMENDED.memory());
    let half = memory_limit.as_ref().map_or(u64::MAX, |limit| limit.octets / 2);
    let budget = settings.hash_memory.map_or(half, |size| size.0);
    let by_memory = usize::try_from(budget / share).unwrap_or(usize::MAX);
    let threads = settings.hash_threads.unwrap_or_else(|| by_memory.clamp(1, cores));
    let each = u64::try_from(threads).unwrap_or(u64::MAX);
    let memory_per_thread = match settings.hash_memory {
        Some(size) => size.0 / each,
        None => share.min(budget / each),
    };
    if memory_per_thread < cost.memory() {
        let from = match (settings.hash_memory, memory_limit) {
            (None, Some(limit)) => format!("half of the {limit}; --hash-memory"),
            _ => "--hash-memory".to_owned(),
        };
        return Err(Failure(format!(
            "one password hash of {cost} (--scrypt) takes {}, and each of {threads} hashing threads \
             (--hash-threads) may take {} of {} ({from}): allow more memory or fewer \
             threads, or choose --scrypt ln=16,r=8,p=2 or ln=15,r=8,p=3, which take less",
            ByteSize(cost.memory()),
            ByteSize(memory_per_thread),
            ByteSize(budget),
        )));
    }
    Ok((threads, memory_per_thread))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        settings: HashingSettings,
    }

    fn limits(arguments: &[&str], cores: usize, mib: u64) -> Result<(usize, u64), Failure> {
        let all = std::iter::once(&"jeton").chain(arguments);
        let settings = Arguments::try_parse_from(all).expect("valid arguments").settings;
        let limit = MemoryLimit { octets: mib << 20, source: "a test".to_owned() };
        lay_out(&settings, cores, Some(limit))
            .map(|(threads, memory_per_thread)| (threads, memory_per_thread >> 20))
    }

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (wanted, files, possible) in [
            (10_000, None, 10_000),
            (10_000, Some(1_048_576), 10_000),
            (10_000, Some(1_024), 896),
            (500, Some(1_024), 500),
            (10_000, Some(64), 32),
            (10_000, Some(0), 1),
        ] {
            assert_eq!(within_files(wanted, files), possible, "{wanted} of {files:?}");
        }
    }

    #[test]
    fn threads_and_memory_follow_from_the_machine() {
        assert_eq!(limits(&[], 2, 4_096), Ok((2, 128)));
        assert_eq!(limits(&[], 8, 1_024), Ok((4, 128)));
        assert_eq!(limits(&[], 2, 256), Ok((1, 128)));
        assert!(limits(&[], 2, 128).is_err());
        assert_eq!(limits(&["--scrypt", "ln=15,r=8,p=3"], 2, 128), Ok((1, 64)));
        assert_eq!(limits(&["--scrypt", "ln=18,r=8,p=1"], 2, 4_096), Ok((2, 256)));
        assert_eq!(limits(&["--hash-memory", "1GiB"], 2, 4_096), Ok((2, 512)));
        assert_eq!(limits(&["--hash-threads", "3"], 2, 4_096), Ok((3, 128)));
        assert!(limits(&["--hash-memory", "100MiB"], 2, 4_096).is_err());
    }
}
