//! What is asked of the person at the terminal: secrets, never shown, and whether to go on.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Write};

use super::Failure;
use jeton_oauth::Secret;
use jeton_oauth::resource_owner::prepare_password;

/// The terminal of this process.
const TERMINAL: &str = "/dev/tty";

/// Reads a new password: from a prompt, twice, or as the first line of standard input.
pub(super) fn new_password(from_stdin: bool) -> Result<Secret, Failure> {
    let password = if from_stdin { read_line()? } else { ask_twice()? };
    prepared(&password)
}

/// The form in which a new password is hashed.
///
/// # Errors
/// It cannot be a password.
pub(super) fn prepared(password: &Secret) -> Result<Secret, Failure> {
    prepare_password(password).ok_or_else(|| {
        Failure::refused(
            "the password is empty, or has control or invisible characters: use letters of any \
             script, digits, signs and spaces",
        )
    })
}

/// Requires that there is a terminal to ask for a password.
///
/// # Errors
/// There is none, and what to do without.
pub(super) fn require_terminal() -> Result<(), Failure> {
    let terminal = File::open(TERMINAL);
    terminal.map(drop).map_err(|error| {
        Failure::usage(format!(
            "there is no terminal to ask for the password ({error}): use --password-stdin, which reads it from \
             standard input"
        ))
    })
}

/// Reads a password that exists, as it is: from a prompt, or as the first line of standard input.
pub(super) fn password(from_stdin: bool) -> Result<Secret, Failure> {
    if from_stdin { read_line() } else { ask("Password: ") }
}

/// Asks whether to go on.
pub(super) fn confirm() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is nobody to ask: say --yes to go on, nothing was changed",
        ));
    }
    let ask = || -> io::Result<String> {
        write!(io::stderr().lock(), "Go on? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("cannot ask: {error}"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn read_line() -> Result<Secret, Failure> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| format!("cannot read the password from standard input: {error}"))?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(Secret::new(line))
}

fn ask(prompt: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt).map(Secret::new).map_err(|error| {
        let remedy = "use --password-stdin without a terminal";
        Failure::usage(format!("cannot ask for the password: {error}; {remedy}"))
    })
}

fn ask_twice() -> Result<Secret, Failure> {
    let password = ask("Password: ")?;
    if ask("Again: ")? != password {
        return Err("the two passwords differ: nothing was changed".into());
    }
    Ok(password)
}
