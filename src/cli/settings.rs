//! Reading settings: what holds for all of them, before any is parsed into its type.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

/// The command without the variables that are empty: those count as not set, as Compose and systemd leave
/// them where nothing was to be set.
pub(super) fn without_empty_variables(command: Command) -> Command {
    let is_empty =
        |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|argument| {
        if argument.get_env().is_some_and(is_empty) { argument.env(None::<&str>) } else { argument }
    });
    command.mut_subcommands(without_empty_variables)
}

/// Refuses settings that begin or end with white space: a path with a line end would name another file, and a
/// new database would be made there.
///
/// # Errors
/// The one that names the first such setting.
pub(super) fn refuse_outer_white_space(
    command: &Command,
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let is_wrong = |id: &str| {
        let values = matches.get_raw(id).into_iter().flatten();
        values.map(|value| value.to_string_lossy()).any(|value| value.trim() != value)
    };
    let mut settings = command.get_arguments().filter(|argument| argument.get_env().is_some());
    if let Some(argument) = settings.find(|argument| is_wrong(argument.get_id().as_str())) {
        let name = argument.get_long().unwrap_or_default();
        let sentence = format!(
            "the value of --{name} begins or ends with white space, perhaps a line end: remove it\n"
        );
        return Err(clap::Error::raw(ErrorKind::ValueValidation, sentence).with_cmd(command));
    }
    match matches.subcommand() {
        Some((name, matches)) => command
            .find_subcommand(name)
            .map_or(Ok(()), |command| refuse_outer_white_space(command, matches)),
        None => Ok(()),
    }
}

/// The error without the URL of the database if it is that which cannot be read: a password may be in it,
/// and what the environment holds is not to be told to whoever reads standard error.
pub(super) fn without_database_url(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    if argument.is_some_and(|argument| argument.contains("--database")) {
        let hidden = ContextValue::String("[not shown]".to_owned());
        error.insert(ContextKind::InvalidValue, hidden);
    }
    error
}
