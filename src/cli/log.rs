//! The log: to standard error, as text or JSON.

use std::panic;

use tracing_subscriber::EnvFilter;

use super::{Failure, output};
use crate::config::{LogFormat, LogSettings};

/// Starts logging.
pub(super) fn start(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| {
        format!("--log {:?} is not a filter: {error}; write it as info,jeton=debug", settings.log)
    })?;
    let by_reader = if output::is_interactive() { LogFormat::Text } else { LogFormat::Json };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format.unwrap_or(by_reader) {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(|error| format!("cannot start logging: {error}"))?;
    // Where a panic happened is enough to find it; its text might hold what nobody should see.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}
