//! `jeton completions`: what a shell needs to complete commands and options.

use std::io::Write;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

/// The options of `jeton completions`.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The shell that reads them
    shell: KnownShell,
}

/// The shells whose completions are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KnownShell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions. They are made first: a reader that has seen enough is no failure.
pub(super) fn run(options: &Options) {
    let shell = match options.shell {
        KnownShell::Bash => Shell::Bash,
        KnownShell::Zsh => Shell::Zsh,
        KnownShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "jeton", &mut script);
    std::io::stdout().lock().write_all(&script).ok();
}
