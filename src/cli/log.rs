//! The log: to standard error, as text or JSON.

use std::panic;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::{Failure, output};
use crate::config::{LogFormat, LogSettings};

/// A library that, below this level, writes values that are secret: the driver of the database writes
/// the parameters of statements, and so hashes of passwords and names that may be mistyped passwords.
const CAPPED: (&str, Level) = ("tokio_postgres", Level::INFO);

/// Starts logging.
pub(super) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        format!("--log {:?} is not a filter: {error}; write it as info,jeton=debug", settings.log)
    })?;
    let by_reader = if output::is_interactive() { LogFormat::Text } else { LogFormat::Json };
    let mut lines = fmt::layer().with_writer(std::io::stderr);
    if !output::is_interactive() {
        lines.set_ansi(false);
    }
    let lines = match settings.log_format.unwrap_or(by_reader) {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Whatever --log says, also of single modules.
    let log = registry().with(lines).with(filter).with(filter_fn(keeps_secrets));
    log.try_init().map_err(|error| format!("cannot start logging: {error}"))?;
    // Where a panic happened is enough to find it; its text might hold what nobody should see.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}

/// Whether what is logged there, at that level, holds no values of the database.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    let (library, most) = CAPPED;
    *metadata.level() <= most || !metadata.target().starts_with(library)
}
