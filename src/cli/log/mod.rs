//! The log, written to standard error as text or JSON. Logging never waits for whoever reads it.

mod queue;

use std::fs::File;
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::with_default;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use super::printable::printable;
use super::{Failure, output};
use crate::config::{LogFilter, LogFormat, LogSettings};
use jeton_runtime::supervision::{Health, supervise_thread};
use queue::{Kept, Kind, Lines, LinesDropped, Lost, Queue, Writer};

/// The driver of PostgreSQL. Below this level it logs parameters: password hashes, and names that may be passwords.
const CAPPED: (&str, Level) = ("tokio_postgres", Level::INFO);

/// How long the end of the process waits until the last lines are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The lines that are not written yet; unset before [`start`].
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// How many lines were dropped: audit events and others.
static LINES_DROPPED: LazyLock<LinesDropped> = LazyLock::new(LinesDropped::default);

/// How many lines of the log were dropped in this process, by kind.
pub(super) fn lines_dropped() -> &'static LinesDropped {
    &LINES_DROPPED
}

/// The form of the log: as set, or as suits standard error.
pub(super) fn format(settings: &LogSettings) -> LogFormat {
    let by_reader = if output::is_interactive() { LogFormat::Text } else { LogFormat::Json };
    settings.log_format.unwrap_or(by_reader)
}

/// Starts logging. May be called once in a process.
pub(super) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let format = format(settings);
    let failed = |error: &dyn std::fmt::Display| format!("cannot start logging: {error}");

    // The handle of the standard library is not used, because it is locked while a write waits.
    let standard_error = std::io::stderr().as_fd().try_clone_to_owned();
    let standard_error = File::from(standard_error.map_err(|error| failed(&error))?);
    let queue = QUEUE.get_or_init(|| Arc::new(Queue::new(LINES_DROPPED.clone())));
    let mut writer =
        Writer::new(Arc::clone(queue), standard_error, move |lost| format_lost(lost, format));
    let thread = supervise_thread("log", &Health::default(), move || {
        loop {
            writer.write_next();
        }
    });
    thread.map_err(|error| failed(&error))?;

    // Applies whatever `--log` says, also about single modules.
    let log = registry().with(lines(format, Lines(Arc::clone(queue))));
    let log = log.with(targets(&settings.log)).with(filter_fn(keeps_secrets));
    log.try_init().map_err(|error| failed(&error))?;
    // The location of a panic is enough to find it; its text could contain secrets. For the parts of the service, which
    // handle no requests, `supervision` logs the text.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, thread = thread.name().unwrap_or_default(), "panic");
    }));
    Ok(())
}

/// Waits until everything logged so far is written, for a limited time.
pub(super) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_empty(FLUSH_TIMEOUT);
    }
}

/// Prints the sentence that the process ends with, after the log if there is one.
pub(super) fn last_words(sentence: &str) {
    match QUEUE.get() {
        Some(queue) => queue.push(Kind::Audit, format!("{}\n", printable(sentence)).as_bytes()),
        None => output::error_line(sentence),
    }
}

fn lines<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut lines = fmt::layer().with_writer(writer);
    if !output::is_interactive() {
        lines.set_ansi(false);
    }
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// A line that says how many are missing, in the same form as the others.
fn format_lost(lost: Lost, format: LogFormat) -> Vec<u8> {
    let line = Kept::default();
    let log = registry().with(lines(format, line.clone())).with(LevelFilter::WARN);
    with_default(log, || {
        let Lost { audit, other } = lost;
        tracing::warn!(audit, other, "lines of the log are missing here: nobody read them in time");
    });
    line.take()
}

fn targets(filter: &LogFilter) -> Targets {
    Targets::new().with_default(filter.level).with_targets(filter.targets.iter().cloned())
}

/// Whether an event of this target and level contains no values from the database.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    let (library, most) = CAPPED;
    *metadata.level() <= most || !metadata.target().starts_with(library)
}
