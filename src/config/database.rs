//! Where the data is: `--database` says it, or the file that `--database-file` names.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use zeroize::Zeroizing;

use jeton_oauth::Invalid;
use jeton_store::DatabaseLocation;

/// The two settings, as they are given.
#[derive(Args)]
struct DatabaseArguments {
    /// The database: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/NAME` with sslmode,
    /// sslrootcert, `target_session_attrs` and several hosts as libpq knows them
    #[arg(
        long,
        env = "JETON_DATABASE",
        default_value = "sqlite:jeton.db",
        value_name = "URL",
        hide_env_values = true
    )]
    database: DatabaseLocation,

    /// A file with the value of --database in it, so that its password is neither an argument nor in
    /// the environment
    #[arg(long, env = "JETON_DATABASE_FILE", value_name = "PATH")]
    database_file: Option<PathBuf>,
}

/// Where the data is that a command may change, and who changes it.
#[derive(Args, Clone, Debug)]
pub struct AdministeredDatabase {
    /// The database.
    #[command(flatten)]
    pub settings: DatabaseSettings,

    /// Who you are, for `jeton audit`, which shows it as what you say beside what the system says. Nothing checks it
    #[arg(long = "as", value_name = "NAME", value_parser = claimed_name)]
    pub claimed_name: Option<String>,
}

/// Reads a name that is recorded and shown.
///
/// # Errors
/// It is empty or too long, or has control characters.
pub fn claimed_name(text: &str) -> Result<String, Invalid> {
    if (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(Invalid::new("it must have 1 to 128 characters, and no control characters"))
}

/// Where the data is; common to all commands.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Where it is.
    pub database: DatabaseLocation,
    /// The file that says so, if one was named.
    pub file: Option<PathBuf>,
}

impl FromArgMatches for DatabaseSettings {
    /// Reads the file, if it decides: an argument goes before a variable, and of two arguments or two
    /// variables nobody knows which one is meant.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let rank = |id| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => 2,
            Some(ValueSource::EnvVariable) => 1,
            _ => 0,
        };
        let (of_database, of_file) = (rank("database"), rank("database_file"));
        let DatabaseArguments { database, database_file } =
            DatabaseArguments::from_arg_matches(matches)?;
        match database_file {
            Some(_) if of_file == of_database => Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                "both --database and --database-file (JETON_DATABASE, JETON_DATABASE_FILE) say where the \
                 data is: set one of them\n",
            )),
            Some(file) if of_file > of_database => {
                Ok(Self { database: read(&file)?, file: Some(file) })
            }
            _ => Ok(Self { database, file: None }),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for DatabaseSettings {
    fn augment_args(command: Command) -> Command {
        DatabaseArguments::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        DatabaseArguments::augment_args_for_update(command)
    }
}

/// Reads the location in the file that `--database-file` names.
fn read(file: &Path) -> Result<DatabaseLocation, clap::Error> {
    read_location(file, " (--database-file)")
        .map_err(|problem| clap::Error::raw(ErrorKind::Io, format!("{problem}\n")))
}

/// Reads the location in a file that an argument names.
///
/// # Errors
/// It cannot be read, or holds something else.
pub fn location_in_file(path: &str) -> Result<DatabaseLocation, Invalid> {
    read_location(Path::new(path), "").map_err(Invalid::new)
}

/// Reads the location in a file. White space after it, such as a line end, is no part of it.
fn read_location(file: &Path, setting: &str) -> Result<DatabaseLocation, String> {
    let path = file.display();
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        format!(
            "cannot read {path}{setting}: {error}; it must be a file with the URL of the database, which this process \
             can read"
        )
    })?;
    text.trim_end().parse().map_err(|problem| {
        format!("{path}{setting} does not hold the URL of a database: {problem}")
    })
}
