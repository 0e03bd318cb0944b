//! What the machine, or what confines this process, has to give.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Failure;
use super::layout::Layout;
use super::memory_limit::{self, MemoryLimit};
use crate::config::HashingSettings;
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::Kernel;
use jeton_oauth::Seconds;

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

/// How many cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lays out the hashing threads. How long a caller waits and how long an idle thread keeps its memory are for who
/// serves.
pub(super) fn hashing_limits(
    settings: &HashingSettings,
    deadline: Seconds,
    memory_idle: Seconds,
) -> Result<HashingLimits, Failure> {
    let layout = Layout::new(settings, cores(), memory_limit(), Kernel::best())?;
    let duration = |span: Seconds| Duration::from_secs(span.get().unsigned_abs());
    Ok(HashingLimits {
        threads: layout.threads,
        kernel: layout.kernel,
        memory_per_thread: layout.memory_per_thread,
        deadline: duration(deadline),
        memory_idle: duration(memory_idle),
        cost: settings.scrypt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
