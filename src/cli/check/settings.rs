//! The settings in force, each with where its value came from.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::super::serve::{Plan, issuer};
use super::super::{Arguments, log};
use super::hashing_memory;
use crate::config::ServeSettings;
use jeton_oauth::RetryWindow;

/// The value of a setting that was not set, if it follows from other settings, the machine or the client.
fn derived(id: &str, settings: &ServeSettings, plan: Option<&Plan>) -> Option<String> {
    match id {
        "issuer" => {
            let issuer = issuer(settings, settings.listen.port()).ok()?;
            // The system chooses the port.
            Some(
                issuer
                    .as_str()
                    .strip_suffix(":0")
                    .map_or_else(|| issuer.as_str().to_owned(), |rest| format!("{rest}:PORT")),
            )
        }
        "hash_threads" => Some(plan?.hashing.threads.to_string()),
        "hash_memory" => Some(hashing_memory(plan?).to_string()),
        "drain" => Some(settings.drain().to_string()),
        "log_format" => Some(log::format(&settings.log).to_string()),
        "refresh_retry_window" => Some(format!(
            "{} for confidential clients, {} for public ones",
            RetryWindow::OF_CONFIDENTIAL_CLIENTS,
            RetryWindow::OF_PUBLIC_CLIENTS
        )),
        _ => None,
    }
}

/// Every setting of `check`, its value, and where that came from. A password in a URL is left out.
pub(super) fn effective(
    settings: &ServeSettings,
    plan: Option<&Plan>,
    matches: &ArgMatches,
) -> Vec<[String; 3]> {
    let command = Arguments::command();
    let (Some(command), Some(matches)) =
        (command.find_subcommand("check"), matches.subcommand_matches("check"))
    else {
        return Vec::new();
    };
    let arguments = command.get_arguments().filter(|argument| argument.get_env().is_some());
    let rows = arguments.map(|argument| {
        let id = argument.get_id().as_str();
        let value = match (id, matches.get_raw(id)) {
            ("database", _) => settings.database.database.to_string(),
            (_, Some(raw)) => {
                raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ")
            }
            (_, None) => derived(id, settings, plan).unwrap_or_else(|| "(none)".to_owned()),
        };
        let source = match matches.value_source(id) {
            _ if id == "database" && settings.database.file.is_some() => "--database-file",
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let setting = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        [setting, value, source.to_owned()]
    });
    rows.collect()
}
