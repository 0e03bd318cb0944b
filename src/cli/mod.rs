//! Floor 4: the way in over the terminal.
//!
//! Exit codes: 0 done, 1 failed (one sentence on standard error says why and what to do), 2 usage.

mod backup;
mod check;
mod client;
mod client_decisions;
mod database;
pub mod demo;
mod doctor;
mod healthcheck;
mod key;
mod key_picture;
mod log;
mod machine;
mod output;
mod prompt;
mod restore;
pub mod serve;
mod session;
pub mod user;

use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{DatabaseLocation, DatabaseSettings, ServeSettings};
use crate::store::{Store, StoreError, migration};

/// A command that failed: one sentence for the person at the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<&str> for Failure {
    fn from(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

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
    /// List and end sessions
    #[command(subcommand)]
    Session(session::Command),
    /// List, rotate, revoke, import, export and rewrap keys
    #[command(subcommand)]
    Key(Box<key::Command>),
    /// Migrate the tables, show where they stand, delete what has expired, back up and restore
    #[command(subcommand)]
    Db(database::Command),
    /// Show the effective settings, and prove that the service can start with them
    Check(ServeSettings),
    /// Walk a running service as client, browser and resource server, and say what is wrong
    Doctor(Box<doctor::Options>),
    /// Ask a running service whether it is ready: for containers
    Healthcheck(healthcheck::Options),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => without_database_url(error).exit(),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure(format!("cannot start the runtime: {error}"))),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Demo(options) => demo::run(options).await,
            Command::Serve(settings) => serve::run(settings).await,
            Command::User(command) => user::run(command).await,
            Command::Client(command) => client::run(command).await,
            Command::Session(command) => session::run(command).await,
            Command::Key(command) => key::run(*command).await,
            Command::Db(command) => database::run(command).await,
            Command::Check(settings) => check::run(settings, &matches).await,
            Command::Doctor(options) => doctor::run(*options).await,
            Command::Healthcheck(options) => healthcheck::run(&options).await,
        }
    });
    // Whatever still runs, such as a hash for a caller that hung up, holds nothing that is needed.
    runtime.shutdown_background();
    outcome.map_or_else(|failure| fail(&failure), |()| ExitCode::SUCCESS)
}

/// The error without the URL of the database if it is that which cannot be read: a password may be in it,
/// and what the environment holds is not to be told to whoever reads standard error.
fn without_database_url(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if argument.is_some_and(|argument| argument.contains("--database")) {
        let hidden = ContextValue::String("[not shown]".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}

fn fail(failure: &Failure) -> ExitCode {
    output::error_line(&format!("error: {failure}"));
    ExitCode::FAILURE
}

/// Opens a database that must be there, for a command that has nothing to do on a new one.
async fn open_existing_store(settings: &DatabaseSettings) -> Result<Store, Failure> {
    if let DatabaseLocation::Sqlite(path) = &settings.database
        && !path.exists()
    {
        return Err(Failure(format!(
            "there is no database {} (--database): name the one that `jeton serve` uses",
            settings.database
        )));
    }
    open_store(settings).await
}

/// Opens the database for a command, with tables that are up to date.
async fn open_store(settings: &DatabaseSettings) -> Result<Store, Failure> {
    let store = Store::open(&settings.database).await?;
    if let Some(file) = store.new_file() {
        output::error_line(&format!("Made a new, empty database: {}", file.display()));
    }
    migration::migrate(&store, Clock::System.now())
        .await
        .map_err(|problem| format!("the database {} (--database): {problem}", settings.database))?;
    Ok(store)
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
    let is_of_doctor = |name: &str| doctor::SECRET_VARIABLES.contains(&name);
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
