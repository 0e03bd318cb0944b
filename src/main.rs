//! The program. It starts nothing itself: see `cli`.

use std::process::ExitCode;

/// Requests allocate on whatever thread they run; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jeton::cli::main()
}
