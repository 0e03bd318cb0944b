//! What commands print: results on standard output, everything else on standard error.
//!
//! All of it is printable (`printable`), whoever gave a name to what is printed.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::printable::{is_printable, printable, printable_json};

/// Prints a line of the result. A reader that has seen enough, such as `head`, is no failure.
pub(super) fn line(text: &str) {
    put(&printable(text));
}

/// Prints several lines of the result.
pub(super) fn lines(text: &str) {
    text.lines().for_each(line);
}

/// A number of things whose plural ends with `s`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        number => format!("{number} {thing}s"),
    }
}

/// Prints a line that is not part of the result.
pub(super) fn error_line(text: &str) {
    writeln!(io::stderr().lock(), "{}", printable(text)).ok();
}

/// Prints a line of text that is read by programs, such as CSV.
///
/// # Errors
/// It cannot be printed as it is, and was not.
pub(super) fn exact_line(text: &str) -> Result<(), NotPrintable> {
    if !text.chars().all(is_printable) {
        return Err(NotPrintable);
    }
    put(text);
    Ok(())
}

/// A text has characters that are not printed as themselves.
#[derive(Debug)]
pub(super) struct NotPrintable;

/// Prints a picture that is made of characters and colours of the terminal; to nobody but a person.
pub(super) fn picture(text: &str) {
    if io::stdout().is_terminal() {
        write!(io::stdout().lock(), "{text}").ok();
    }
}

fn put(line: &str) {
    writeln!(io::stdout().lock(), "{line}").ok();
}

/// Shows how far something is, in one line that the next one overwrites; to nobody but a person.
pub(super) fn progress(text: &str) {
    if is_interactive() {
        let mut out = io::stderr().lock();
        // Clears what is left of a longer one.
        write!(out, "\r{text}\x1b[K").and_then(|()| out.flush()).ok();
    }
}

/// Shows how much of something is done as a bar.
pub(super) fn progress_bar(what: &str, done: u64, of: u64) {
    const WIDTH: u64 = 40;
    let part = |whole: u64| done.min(of).saturating_mul(whole) / of.max(1);
    let filled = "#".repeat(usize::try_from(part(WIDTH)).unwrap_or_default());
    progress(&format!("{what} [{filled:.<40}] {:3} %", part(100)));
}

/// Ends the line of [`progress`].
pub(super) fn end_progress() {
    if is_interactive() {
        error_line("");
    }
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) {
    put(&printable_json(&serde_json::to_string_pretty(value).expect("results are JSON")));
}

/// Prints a value as a line of JSON Lines.
pub(super) fn json_line(value: &impl Serialize) {
    put(&printable_json(&serde_json::to_string(value).expect("results are JSON")));
}

/// Says which properties of a user or a client were changed, for [`outcome`].
pub(super) fn changes(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "like that already: nothing was changed".to_owned();
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    format!("changed: {}", names.join(", "))
}

/// Prints what was done to a user or a client.
pub(super) fn outcome(json_wanted: bool, kind: (&str, &str), name: &str, outcome: &str) {
    let (noun, key) = kind;
    if json_wanted {
        json(&serde_json::json!({ key: name, "outcome": outcome }));
    } else {
        line(&format!("The {noun} {name} was {outcome}."));
    }
}

/// What came of disabling a user or a client, or of enabling it.
pub(super) fn disabled(changed: bool, disabled: bool) -> &'static str {
    match (changed, disabled) {
        (true, true) => "disabled; all sessions have ended",
        (true, false) => "enabled",
        (false, true) => "disabled already: nothing was changed",
        (false, false) => "not disabled: nothing was changed",
    }
}

/// Whether a person reads standard error.
pub(super) fn is_interactive() -> bool {
    io::stderr().is_terminal()
}
