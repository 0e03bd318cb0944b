//! The way in over the terminal: the commands.
//!
//! A command that fails says on standard error why and what to do, in one sentence or as JSON, and tells programs by its
//! exit code of what kind the failure is ([`failure`]).

mod audit;
mod backup;
mod bench;
mod check;
mod client;
mod client_decisions;
pub mod client_file;
mod client_view;
mod completions;
mod confirmation;
mod copy;
mod database;
pub mod demo;
mod doctor;
pub mod failure;
mod healthcheck;
pub mod import;
mod key;
mod key_file;
mod key_picture;
mod layout;
mod listing;
mod log;
mod machine;
mod memory_limit;
mod migrating;
mod operator;
mod output;
mod printable;
mod prompt;
mod qr;
mod reopen;
mod replicas;
mod restore;
pub mod serve;
mod session;
mod settings;
pub mod user;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{AdministeredDatabase, DatabaseSettings, ServeSettings};
pub use failure::Failure;
use jeton_store::migration::{self, MigrationError, SchemaStatus};
use jeton_store::{DatabaseLocation, Store};

/// A token service for the OAuth 2.0 password grant
#[derive(Debug, Parser)]
#[command(name = "jeton", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a throw-away service with a user and clients, printing curl lines that work
    Demo(demo::Options),
    /// Run the service
    Serve(ServeSettings),
    /// Add, list, change and delete users
    #[command(subcommand)]
    User(user::Command),
    /// Add, list, change and delete clients and their secrets
    #[command(subcommand)]
    Client(client::Command),
    /// Take over the users and clients of another service, with their passwords and secrets
    Import(Box<import::Import>),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Make the master key; list, rotate, revoke, import, export and rewrap keys
    #[command(subcommand)]
    Key(Box<key::Command>),
    /// Migrate the tables, show where they stand, delete what has expired, back up and restore
    #[command(subcommand)]
    Db(database::Command),
    /// Show what was changed with the command line, when and by whom
    Audit(audit::Options),
    /// Show the effective settings, and look whether a login would succeed with them
    Check(ServeSettings),
    /// Walk a running service as client, browser and resource server, and say what is wrong
    Doctor(Box<jeton_doctor::Options>),
    /// Measure what this machine can do
    #[command(subcommand)]
    Bench(bench::Command),
    /// Ask a running service whether it is ready: for containers
    Healthcheck(healthcheck::Options),
    /// Print what a shell needs to complete commands and options
    Completions(completions::Options),
}

/// The command line as it is documented: for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let mut command = settings::without_empty_variables(Arguments::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os()).and_then(|matches| {
        settings::refuse_outer_white_space(&command, &matches)?;
        Ok(matches)
    });
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) => return misused(&settings::without_secrets(error, &command), json),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error, json),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}").into(), json),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Demo(options) => demo::run(options).await,
            Command::Serve(settings) => serve::run(settings).await,
            Command::User(command) => user::run(command).await,
            Command::Client(command) => client::run(command).await,
            Command::Import(command) => import::run(*command).await,
            Command::Session(command) => session::run(command).await,
            Command::Key(command) => key::run(*command).await,
            Command::Db(command) => database::run(command).await,
            Command::Audit(options) => audit::run(options).await,
            Command::Check(settings) => check::run(settings, &matches).await,
            Command::Doctor(options) => doctor::run(*options).await,
            Command::Bench(command) => bench::run(command).await,
            Command::Healthcheck(options) => healthcheck::run(&options).await,
            Command::Completions(options) => {
                completions::run(&options);
                Ok(())
            }
        }
    });
    // Whatever still runs, such as a hash for a caller that hung up, holds nothing that is needed.
    runtime.shutdown_background();
    let code = outcome.map_or_else(|failure| fail(&failure, json), |()| ExitCode::SUCCESS);
    log::flush();
    code
}

fn fail(failure: &Failure, json: bool) -> ExitCode {
    log::last_words(&failure.text(json));
    failure.exit_code()
}

/// What the reader of the command line says: help or the version, which were asked for, or what is wrong with it.
fn misused(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.to_string();
        return fail(&Failure::usage(text.trim_start_matches("error: ").trim_end()), json);
    }
    error.exit()
}

/// Opens a database as [`open_to_read`] does. What is changed in it is recorded.
async fn open_existing_store(database: &AdministeredDatabase) -> Result<Store, Failure> {
    Ok(operated(open_to_read(&database.settings).await?, database))
}

/// The database for the operator of this process.
fn operated(store: Store, database: &AdministeredDatabase) -> Store {
    store.operated_by(operator::operator(database.claimed_name.as_deref()))
}

/// Opens a database that must be there, with tables that are up to date. It is never migrated: while the
/// previous version runs that may take long, and it is not what was asked for.
async fn open_to_read(settings: &DatabaseSettings) -> Result<Store, Failure> {
    let (store, status) = open_existing(settings).await?;
    migrating::require_up_to_date(settings, status)?;
    Ok(store)
}

/// Opens a database that must be there, of whatever version its tables are.
async fn open_existing(settings: &DatabaseSettings) -> Result<(Store, SchemaStatus), Failure> {
    if let DatabaseLocation::Sqlite(path) = &settings.database
        && !path.exists()
    {
        return Err(Failure::failed(format!(
            "there is no database {} (--database): name the one that `jeton serve` uses",
            settings.database
        )));
    }
    let store = Store::open(&settings.database).await?;
    let status = migration::status(&store).await.map_err(|error| in_database(settings, error))?;
    Ok((store, status))
}

/// Opens a database for a command that changes nothing, if there is one with tables.
async fn open_store_if_made(settings: &DatabaseSettings) -> Result<Option<Store>, Failure> {
    if let DatabaseLocation::Sqlite(path) = &settings.database
        && !path.exists()
    {
        return Ok(None);
    }
    let store = Store::open(&settings.database).await?;
    let status = migration::status(&store).await.map_err(|error| in_database(settings, error))?;
    if status.applied == 0 {
        return Ok(None);
    }
    migrating::require_up_to_date(settings, status)?;
    Ok(Some(store))
}

/// Opens the database for a command that may be the first one, as [`make_store`] does. What is changed in it is recorded.
async fn open_store(database: &AdministeredDatabase) -> Result<Store, Failure> {
    Ok(operated(make_store(&database.settings).await?, database))
}

/// Opens the database, and makes the tables of a new one.
async fn make_store(settings: &DatabaseSettings) -> Result<Store, Failure> {
    let store = Store::open(&settings.database).await?;
    if let Some(file) = store.new_file() {
        output::error_line(&format!("Made a new, empty database: {}", file.display()));
    }
    let status = migrating::for_command(&store).await;
    let status = status.map_err(|error| in_database(settings, error))?;
    migrating::require_up_to_date(settings, status)?;
    Ok(store)
}

/// A problem, and which database has it.
fn in_database(settings: &DatabaseSettings, error: MigrationError) -> Failure {
    let name = &settings.database;
    Failure::from(error)
        .reworded(|sentence| format!("the database {name} (--database): {sentence}"))
}

/// Variables that look like settings and are none: typing errors, perhaps.
fn unknown_variables() -> Vec<String> {
    let command = Arguments::command();
    let serve = command.find_subcommand("serve");
    let known = |name: &str| {
        serve.is_some_and(|serve| {
            let variables = serve.get_arguments().filter_map(|argument| argument.get_env());
            variables.into_iter().any(|variable| variable == name)
        })
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_of_doctor = |name: &str| jeton_doctor::SECRET_VARIABLES.contains(&name);
    let is_unknown =
        |name: &String| name.starts_with("JETON_") && !known(name) && !is_of_doctor(name);
    names.filter(is_unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
