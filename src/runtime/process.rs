//! What the system says of this process: processor time, memory, files, threads.
//!
//! Only Linux tells it in this form (`/proc`, proc(5)); elsewhere nothing is known.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process takes at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ProcessUsage {
    /// Processor time of all threads since the start, in the kernel and outside.
    pub processor_time: Duration,
    /// Octets of memory that are in use.
    pub resident_memory: u64,
    /// Octets of addresses that are taken; most of them may have no memory behind them.
    pub virtual_memory: u64,
    /// Threads.
    pub threads: u64,
    /// Open files, connections among them.
    pub open_files: u64,
    /// How many files may be open; `None` without a limit.
    pub open_files_max: Option<u64>,
}

impl ProcessUsage {
    /// Looks; `None` if the system does not tell. Takes about a millisecond for each thousand open files.
    #[must_use]
    pub fn look() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let files = fs::read_dir("/proc/self/fd").ok()?;
        let processor_time = clock_gettime(ClockId::ProcessCPUTime);
        Some(Self {
            processor_time: Duration::try_from(processor_time).ok()?,
            resident_memory: number(&status, "VmRSS:")? * 1_024,
            virtual_memory: number(&status, "VmSize:")? * 1_024,
            threads: number(&status, "Threads:")?,
            // One of them is the folder that is being read.
            open_files: u64::try_from(files.count()).ok()?.saturating_sub(1),
            open_files_max: getrlimit(Resource::Nofile).current,
        })
    }
}

/// When this process began, in seconds since 1970; `None` if the system does not tell.
#[must_use]
pub fn started_at() -> Option<f64> {
    let boot = number(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
    let own = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets, and may hold blanks and brackets. `starttime` is field 22; the
    // third is the first behind the name.
    let (_, behind_name) = own.rsplit_once(") ")?;
    let ticks: u64 = behind_name.split(' ').nth(22 - 3)?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
    let (boot, ticks, per_second) = (boot as f64, ticks as f64, clock_ticks_per_second() as f64);
    Some(boot + ticks / per_second)
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
