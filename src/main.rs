//! The program. It starts nothing itself: see `cli`.

use std::process::ExitCode;

/// Hashing passwords allocates and frees 128 MiB at a time; this allocator keeps the pages, which
/// makes a hash 1.4 times faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jeton::cli::main()
}
