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

/// The settings that name files with secrets.
const SECRET_FILES: [&str; 4] = ["database-file", "master-key-file", "tls-key", "tls-certificate"];

/// Whether a text is a secret, and not the name of its file: a URL, PEM, a JWK, or 32 octets in base64.
fn is_secret(text: &str) -> bool {
    let is_octets = matches!(text.len(), 43 | 44)
        && !text.starts_with('/')
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+/-_=".contains(&octet));
    let is_url = text.contains("://") || text.starts_with("sqlite:");
    let is_key = text.contains("-----BEGIN") || text.trim_start().starts_with('{') || is_octets;
    (is_url || is_key) && !std::path::Path::new(text).exists()
}

/// Refuses settings that begin or end with white space: a path with a line end would name another file, and a
/// new database would be made there. Refuses a secret in the place of the name of its file: it would be told as
/// the name of a file that is not there.
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
    let mut paths = command
        .get_arguments()
        .filter(|argument| argument.get_long().is_some_and(|name| SECRET_FILES.contains(&name)));
    if let Some(argument) = paths.find(|argument| {
        let values = matches.get_raw(argument.get_id().as_str()).into_iter().flatten();
        values.map(|value| value.to_string_lossy()).any(|value| is_secret(&value))
    }) {
        let name = argument.get_long().unwrap_or_default();
        let sentence = format!(
            "the value of --{name} is a secret and not the name of its file: write the secret to a file \
             that only its owner can read, and name that\n"
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

/// The error without what may be secret: the URL of a database, whose password may be in it; whatever the
/// environment holds, which is not to be told to whoever reads standard error; and a word that no command asks
/// for, such as a password after a user name.
pub(super) fn without_secrets(mut error: clap::Error, command: &Command) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let is_flag = |text: &str| {
        let name = text.trim_start_matches('-');
        name.len() < text.len()
            && name.len() <= 40
            && name.bytes().all(|o| o.is_ascii_lowercase() || o == b'-')
    };
    let is_word = error.kind() == ErrorKind::UnknownArgument && !is_flag(&argument);
    if argument.contains("--database") {
        error.insert(ContextKind::InvalidValue, ContextValue::String(HIDDEN.to_owned()));
    } else if is_word {
        error.insert(ContextKind::InvalidArg, ContextValue::String(HIDDEN.to_owned()));
        error.remove(ContextKind::Suggested);
    } else if let Some(whence) = whence_of_secret(&error) {
        // The sentence of the setting may repeat it, too.
        let name = argument.split_whitespace().next().unwrap_or_default();
        let sentence = format!(
            "the value for {name}, {whence}, cannot be taken and is not shown: `--help` says what it may be\n"
        );
        return clap::Error::raw(ErrorKind::ValueValidation, sentence).with_cmd(command);
    }
    error
}

/// What stands in the place of a secret.
const HIDDEN: &str = "[not shown]";

/// How long a word is at least that may be a secret.
const SECRET_LENGTH_MIN: usize = 12;

/// Whether a text has a word in it that may be a secret; levels, targets, hosts and durations have none.
fn may_be_secret(text: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric())
        .any(|word| word.chars().count() >= SECRET_LENGTH_MIN)
}

/// Where a value that cannot be taken comes from, if it may be secret: from the environment, or from before the @ of a
/// URL.
fn whence_of_secret(error: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    let mut settings =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("JETON_"));
    if value.contains("://") && value.contains('@') {
        Some("which has a user or a password in it")
    } else if may_be_secret(value)
        && settings.any(|(_, set)| set.to_string_lossy().contains(value.as_str()))
    {
        Some("which the environment has")
    } else {
        None
    }
}
