//! `jeton user export`: all users, as `jeton user import` takes them.

use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Common, Failure, for_each, open_existing_store, output};
use crate::cli::import::columns::Field;
use crate::cli::import::spreadsheet::{hides_formula, to_cell};
use crate::config::MasterKeySettings;
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::users::{User, UserFilter};

/// What `jeton user export` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Export {
    /// The form of what is printed
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    /// Leave out the hashes of the passwords, which can be guessed at
    #[arg(long)]
    without_hashes: bool,
    #[command(flatten)]
    master: MasterKeySettings,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// JSON Lines
    Jsonl,
    /// CSV with a header
    Csv,
}

pub(super) async fn run(options: Export) -> Result<(), Failure> {
    let store = open_existing_store(&options.common.database).await?;
    let fields: Vec<Field> = Field::OF_USER
        .into_iter()
        .filter(|field| *field != Field::PasswordHash || !options.without_hashes)
        .collect();
    let is_csv = options.format == Form::Csv && !options.common.json;
    if is_csv {
        output::line(&csv_line(fields.iter().map(|field| field.name().to_owned()))?);
    }
    let hashes = StoredHashes::read(&store, &options.master.master_key_file).await?;
    let print = |mut user: User| {
        if !options.without_hashes {
            user.password_hash = hashes.hash_of(&user)?;
        }
        if !is_csv {
            output::json_line(&as_json(&user, &fields));
            return Ok(ControlFlow::Continue(()));
        }
        output::exact_line(&as_csv(&user, &fields)?).map_err(|_| {
            let problem = "has control or invisible characters, which CSV would leave as they are: use \
                           --format jsonl";
            Failure::failed(format!("the user {} {problem}", user.username))
        })?;
        Ok(ControlFlow::Continue(()))
    };
    for_each(&store, UserFilter::default(), None, print).await
}

fn as_json(user: &User, fields: &[Field]) -> serde_json::Value {
    let value = |field| match field {
        Field::Username => json!(user.username),
        Field::PasswordHash => json!(user.password_hash.expose()),
        Field::Sub => json!(user.id),
        Field::Scope => json!(user.scope),
        Field::Role => json!(user.roles),
        Field::Disabled => json!(user.disabled_at.is_some()),
        Field::MfaRequired => json!(user.mfa_required_at.is_some()),
        _ => json!(null),
    };
    let values = fields.iter().map(|field| (field.name().to_owned(), value(*field)));
    serde_json::Value::Object(values.collect())
}

fn as_csv(user: &User, fields: &[Field]) -> Result<String, Failure> {
    if user.roles.iter().any(|role| role.contains(char::is_whitespace)) {
        let problem = "has a role with a blank, which CSV cannot tell from two: use --format jsonl";
        return Err(Failure::failed(format!("the user {} {problem}", user.username)));
    }
    let value = |field| match field {
        Field::Username => user.username.to_string(),
        Field::PasswordHash => user.password_hash.expose().to_owned(),
        Field::Sub => user.id.to_string(),
        Field::Scope => user.scope.as_ref().map(ToString::to_string).unwrap_or_default(),
        Field::Role => user.roles.join(" "),
        Field::Disabled => user.disabled_at.is_some().to_string(),
        Field::MfaRequired => user.mfa_required_at.is_some().to_string(),
        _ => String::new(),
    };
    let values: Vec<String> = fields.iter().map(|field| value(*field)).collect();
    if values.iter().any(|value| hides_formula(value)) {
        let problem = "has a formula behind a semicolon or bar, which spreadsheets may take for the beginning of a \
                       cell: use --format jsonl";
        return Err(Failure::failed(format!("the user {} {problem}", user.username)));
    }
    csv_line(values.iter().map(|value| to_cell(value)))
}

fn csv_line(cells: impl Iterator<Item = String>) -> Result<String, Failure> {
    let write = || {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(cells.map(String::into_bytes)).map_err(|error| error.to_string())?;
        let line = writer.into_inner().map_err(|error| error.to_string())?;
        String::from_utf8(line).map_err(|error| error.to_string())
    };
    let line = write().map_err(|error| format!("cannot write CSV: {error}"))?;
    Ok(line.trim_end_matches('\n').to_owned())
}
