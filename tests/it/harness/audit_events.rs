//! Every audit event that a service under test logs, held against the tables of `docs/audit.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, Once, PoisonError};

use serde_json::Value;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

const PAGE: &str = include_str!("../../../docs/audit.md");
const TARGET: &str = "jeton::audit";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(PAGE));
/// What was wrong with events of this process.
static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What the page allows.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) events: BTreeMap<String, Event>,
    fields: BTreeMap<String, Kind>,
    pub(crate) reasons: BTreeSet<String>,
}

/// A row of the table of events.
#[derive(Debug)]
pub(crate) struct Event {
    level: String,
    required: BTreeSet<String>,
    optional: BTreeSet<String>,
}

/// What values a field has.
#[derive(Debug)]
enum Kind {
    Text,
    Number,
    Time,
    Address,
    Digits(usize),
    Reason,
    Words(BTreeSet<String>),
}

/// The words in code font of a cell; `empty` stands for the empty word.
fn words(cell: &str) -> BTreeSet<String> {
    let mut words: BTreeSet<_> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    if cell.contains("empty") {
        words.insert(String::new());
    }
    words
}

/// The rows of all tables under a heading.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').map(str::trim).skip(1).collect()).collect()
}

impl Schema {
    /// The schema that this page is.
    pub(crate) fn of_page() -> &'static Self {
        &SCHEMA
    }

    fn read(page: &str) -> Self {
        let name = |row: &[&str]| row[0].trim_matches('`').to_owned();
        let of_request = ["request_id", "client_id", "user_id", "session_id", "source"];
        let event = |row: &Vec<&str>| {
            let mut required = words(row[2]);
            let mut optional = words(row[3]);
            required.extend(["timestamp", "level", "target", "event"].map(str::to_owned));
            if row[2].contains("the request") {
                required.extend(of_request.map(str::to_owned));
                optional.extend(["trace_id", "parent_id"].map(str::to_owned));
            }
            (name(row), Event { level: row[1].to_owned(), required, optional })
        };
        let field = |row: &Vec<&str>| (name(row), Kind::read(row[1]));
        Self {
            events: rows(page, "Events").iter().map(event).collect(),
            fields: rows(page, "Fields").iter().map(field).collect(),
            reasons: rows(page, "Reasons").iter().map(|row| name(row)).collect(),
        }
    }

    /// What is wrong with a line of the log, if it is an audit event.
    fn check(&self, line: &str) -> Result<(), String> {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return Ok(()) };
        if entry["target"] != TARGET {
            return Ok(());
        }
        let object = entry.as_object().ok_or("it is no object")?;
        let event = entry["event"].as_str().and_then(|event| self.events.get(event));
        let event = event.ok_or("there is no such event")?;
        if entry["level"] != *event.level {
            return Err(format!("its level is to be {}", event.level));
        }
        for name in &event.required {
            object.get(name).ok_or_else(|| format!("it has no {name}"))?;
        }
        for (name, value) in object {
            if !event.required.contains(name) && !event.optional.contains(name) {
                return Err(format!("it is not to have {name}"));
            }
            let kind = self.fields.get(name).ok_or_else(|| format!("{name} is in no table"))?;
            if !kind.has(value, &self.reasons) {
                return Err(format!("{name} is not {kind:?}"));
            }
        }
        Ok(())
    }
}

impl Kind {
    fn read(cell: &str) -> Self {
        match cell {
            "text" => Self::Text,
            "number" => Self::Number,
            "time" => Self::Time,
            "address" => Self::Address,
            _ if cell.contains("(#reasons)") => Self::Reason,
            _ => match cell.strip_prefix("digits ") {
                Some(length) => Self::Digits(length.parse().expect("a number")),
                None => Self::Words(words(cell)),
            },
        }
    }

    fn has(&self, value: &Value, reasons: &BTreeSet<String>) -> bool {
        let Some(text) = value.as_str() else {
            return matches!(self, Self::Number) && value.is_i64();
        };
        match self {
            Self::Number => false,
            Self::Text => true,
            Self::Time => text.len() >= 20 && text.ends_with('Z') && &text[10..11] == "T",
            Self::Address => text.is_empty() || text.parse::<std::net::IpAddr>().is_ok(),
            Self::Digits(length) => {
                let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                text.len() == *length && text.bytes().all(is_digit)
            }
            Self::Reason => reasons.contains(text),
            Self::Words(words) => words.contains(text),
        }
    }
}

/// Remembers what is wrong with a line of a log, if it is an audit event.
pub(crate) fn check(line: &str) {
    if let Err(problem) = SCHEMA.check(line) {
        let mut problems = PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner);
        problems.push(format!("docs/audit.md does not allow this event: {problem}: {line}"));
    }
}

/// Fails if anything was wrong so far; not while a test fails already.
pub(crate) fn assert_documented() {
    let problems = PROBLEMS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(problems.is_empty() || std::thread::panicking(), "{}", problems.join("\n"));
}

/// Has the events checked that services in this process log.
pub(crate) fn watch_this_process() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let lines = fmt::layer().json().flatten_event(true).with_writer(|| Checked);
        let audit =
            Targets::new().with_target(TARGET, tracing_subscriber::filter::LevelFilter::INFO);
        registry().with(lines.with_filter(audit)).try_init().ok();
    });
}

/// Checks whole lines, and writes them nowhere.
struct Checked;

impl Write for Checked {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        check(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
