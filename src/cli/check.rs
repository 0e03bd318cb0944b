//! `jeton check`: what the settings come to, and whether the service can start with them.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};
use serde::Serialize;

use super::serve::{Plan, bind, check_default_client, issuer, key_vault};
use super::{Arguments, Failure, log, output, unknown_variables};
use crate::clock::Clock;
use crate::config::{ByteSize, DatabaseLocation, RetryWindow, ServeSettings};
use crate::endpoint::keys::Keys;
use crate::store::{Store, migration};

/// A setting as printed.
#[derive(Serialize)]
struct Effective {
    setting: String,
    value: String,
    source: &'static str,
}

pub(super) async fn run(settings: ServeSettings, matches: &ArgMatches) -> Result<(), Failure> {
    let planned = Plan::make(&settings);
    let rows = effective(&settings, planned.as_ref().ok(), matches);
    let rows: Vec<_> =
        rows.into_iter().map(|row| [row.setting, row.value, row.source.to_owned()]).collect();
    output::table(["SETTING", "VALUE", "FROM"], &rows);
    for name in unknown_variables() {
        output::error_line(&format!("warning: the environment variable {name} is no setting"));
    }
    if let Some(problem) = settings.drain_problem() {
        output::error_line(&format!("warning: {problem}"));
    }
    output::line("");

    let plan = planned?;
    let limit = plan.memory_limit.as_ref();
    let limit = limit.map(|limit| format!(", of the {limit}")).unwrap_or_default();
    output::line(&format!(
        "ok  hashing: {} threads, {} in all{limit}",
        plan.hashing.threads,
        hashing_memory(&plan)
    ));
    output::line(&format!(
        "ok  {} connections at once, {}MiB in all at most",
        plan.connections_max,
        plan.connections_memory >> 20
    ));
    if let Some(certificate) = &plan.certificate {
        let validity = certificate.validity();
        output::line(&format!(
            "ok  the certificate and its key fit together; it expires at {}",
            validity.not_after
        ));
        if let Some(problem) = validity.problem(Clock::System.now()) {
            output::error_line(&format!("warning: {problem}"));
        }
    }
    bind(settings.listen, "--listen")?;
    bind(settings.management_listen, "--management-listen")?;
    output::line("ok  both addresses are free");
    check_database(&settings, &plan).await?;
    output::line("The service can start.");
    Ok(())
}

/// Looks at the database and opens its keys, and makes neither.
async fn check_database(settings: &ServeSettings, plan: &Plan) -> Result<(), Failure> {
    let location = &settings.database.database;
    if let DatabaseLocation::Sqlite(path) = location
        && !path.exists()
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(std::path::Path::new("."));
        let writable = std::fs::metadata(folder)
            .is_ok_and(|metadata| metadata.is_dir() && !metadata.permissions().readonly());
        if !writable {
            return Err(Failure(format!(
                "cannot make the database {location} (--database): {} is not a folder that this \
                 process can write to",
                folder.display()
            )));
        }
        output::line(&format!("ok  the database {location} will be made at the first start"));
        return Ok(());
    }
    let store = Store::open(location).await?;
    let status = migration::status(&store)
        .await
        .map_err(|problem| format!("the database {location}: {problem}"))?;
    output::line(&format!("ok  the database {location} answers"));
    if status.applied < status.known {
        output::line(&format!(
            "ok  its tables are at version {} and will be brought to {} at the start",
            status.applied, status.known
        ));
        return Ok(());
    }
    check_default_client(&store, plan.default_client.as_ref()).await?;
    let vault = key_vault(store, &settings.keys);
    let opened = Keys::try_open(&vault, Clock::System.now()).await?;
    output::line(&match opened {
        0 => "ok  the first keys will be made at the first start".to_owned(),
        count => format!("ok  {count} keys open with the master key and work"),
    });
    Ok(())
}

/// The memory of all hashing threads together.
fn hashing_memory(plan: &Plan) -> ByteSize {
    ByteSize(plan.hashing.memory_per_thread * plan.hashing.threads as u64)
}

/// What a setting comes to that nobody set, if it follows from others, the machine or the client.
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

/// Every setting of `check`, with where its value came from. A password in a URL is left out.
fn effective(
    settings: &ServeSettings,
    plan: Option<&Plan>,
    matches: &ArgMatches,
) -> Vec<Effective> {
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
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let setting = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        Effective { setting, value, source }
    });
    rows.collect()
}
