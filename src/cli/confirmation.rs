//! What cannot be undone: the command says what will happen, and asks first.

use clap::Args;

use super::{Failure, output, prompt};

/// What a command takes that asks first.
#[derive(Args, Debug)]
pub(super) struct Confirmation {
    /// Do it without asking; needed where there is no terminal
    #[arg(long)]
    yes: bool,
}

impl Confirmation {
    /// Says what will happen, and asks whether it may.
    ///
    /// # Errors
    /// It may not, or there is nobody to ask.
    pub(super) fn ask(&self, consequence: &str) -> Result<(), Failure> {
        output::error_line(consequence);
        if self.yes || prompt::confirm()? {
            return Ok(());
        }
        Err("nothing was changed".into())
    }
}
