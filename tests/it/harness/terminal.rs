//! A pseudo-terminal, in which a person sees what a command prints.

use std::process::{Command, Stdio};

use super::database::Database;
use super::executable::PROGRAM_VARIABLE;

/// How many lines the terminal has.
pub(crate) const ROWS: usize = 24;
/// How wide it is.
pub(crate) const COLUMNS: usize = 80;

/// What a terminal showed of a command.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The lines, those of standard error among them.
    pub(crate) lines: Vec<String>,
    pub(crate) code: Option<i32>,
}

impl Seen {
    /// How many cells of the terminal the widest line takes, but for notes, which are sentences that wrap.
    pub(crate) fn width(&self) -> usize {
        let width = |line: &String| unicode_width::UnicodeWidthStr::width(line.as_str());
        let lines = self.lines.iter().filter(|line| !line.starts_with("note: "));
        lines.map(width).max().unwrap_or_default()
    }

    /// The first words of the lines after the heading.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.lines.iter().skip(1).filter_map(|line| line.split(' ').next()).collect()
    }
}

/// Runs a command on a database in a terminal of 80 columns and 24 lines, in which the person types this.
pub(crate) fn type_in_terminal(
    database: &Database,
    arguments: &[&str],
    variables: &[(&str, &str)],
    typed: &str,
) -> Seen {
    let program = std::env::var(PROGRAM_VARIABLE).ok();
    let program = program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_jeton"));
    let quoted = |text: &&str| format!("'{}'", text.replace('\'', r"'\''"));
    let words = [&[program], arguments, &["--database", &database.url]].concat();
    let words = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    let line = format!("stty cols {COLUMNS} rows {ROWS} -echo; exec {words}");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JETON_") || name == "PAGER" || name == "LESS" {
            script.env_remove(name);
        }
    }
    script.envs(variables.iter().copied()).env("SHELL", "/bin/sh");
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script runs: it is in bsdutils");
    let mut stdin = child.stdin.take().expect("it was piped");
    std::io::Write::write_all(&mut stdin, typed.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    drop(stdin);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = text.lines().map(|line| line.trim_end_matches('\r').to_owned());
    Seen { lines: lines.collect(), code: output.status.code() }
}

/// Runs a command on a database in a terminal of 80 columns and 24 lines.
pub(crate) fn see(database: &Database, arguments: &[&str]) -> Seen {
    type_in_terminal(database, arguments, &[], "")
}
