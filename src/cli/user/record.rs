//! A user as a file has it: what the columns are called, and what a user must be to be let in.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde_json::Value;

use super::lines::Record;
use crate::crypto::password::{PasswordHash, PasswordHashError};
use crate::crypto::random;
use crate::oauth::resource_owner::Username;
use crate::oauth::{Scope, UserId};
use crate::secret::Secret;
use crate::store::import::StagedUser;

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Field {
    /// The name.
    Username,
    /// The hash, in whichever format.
    PasswordHash,
    /// The `sub` that tokens are to have.
    Sub,
    /// The most that the user may have.
    Scope,
    /// The roles.
    Role,
    /// Whether the user cannot log in.
    Disabled,
    /// Whether the user must use a second factor.
    MfaRequired,
}

impl Field {
    /// The name of its column, unless the file has another.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::PasswordHash => "password_hash",
            Self::Sub => "sub",
            Self::Scope => "scope",
            Self::Role => "role",
            Self::Disabled => "disabled",
            Self::MfaRequired => "mfa_required",
        }
    }
}

/// Which column of the file has what: `--column username=email`.
#[derive(Clone, Debug)]
pub struct Column {
    field: Field,
    name: String,
    /// The column says the opposite.
    negated: bool,
}

impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Field::value_variants().iter().map(|field| field.name());
        let names = names.collect::<Vec<_>>().join(", ");
        let problem = || {
            format!("write it as NAME=COLUMN, where NAME is one of {names}; !COLUMN for disabled")
        };
        let (field, name) = text.split_once('=').ok_or_else(problem)?;
        let field = Field::from_str(field, false).map_err(|_| problem())?;
        let (name, negated) = name.strip_prefix('!').map_or((name, false), |name| (name, true));
        if name.is_empty() || negated && !matches!(field, Field::Disabled | Field::MfaRequired) {
            return Err(problem());
        }
        Ok(Self { field, name: name.to_owned(), negated })
    }
}

/// What a user of the file is called in its columns.
#[derive(Debug)]
pub struct Columns(BTreeMap<Field, Column>);

impl Columns {
    /// The columns that were named, and for the rest those that are called as the field is.
    #[must_use]
    pub fn new(named: &[Column]) -> Self {
        let usual = Field::value_variants().iter().map(|field| Column {
            field: *field,
            name: field.name().to_owned(),
            negated: false,
        });
        Self(usual.chain(named.iter().cloned()).map(|column| (column.field, column)).collect())
    }

    /// Sees that a header has what every user needs, and every column that was named.
    ///
    /// # Errors
    /// A sentence that names the column that is missing.
    pub fn check(&self, header: &[String]) -> Result<(), String> {
        let is_usual = |column: &Column| column.name == column.field.name();
        let needed = |column: &&Column| {
            !is_usual(column) || matches!(column.field, Field::Username | Field::PasswordHash)
        };
        match self.0.values().filter(needed).find(|column| !header.contains(&column.name)) {
            None => Ok(()),
            Some(missing) => Err(format!(
                "there is no column {:?} among {}: name the one that has the {} with --column {}=…",
                missing.name,
                header.join(", "),
                missing.field.name(),
                missing.field.name(),
            )),
        }
    }

    /// The columns of a header that say nothing here.
    pub fn unused<'a>(&self, header: &'a [String]) -> impl Iterator<Item = &'a str> {
        let used = |name: &str| self.0.values().any(|column| column.name == name);
        header.iter().map(String::as_str).filter(move |name| !used(name))
    }

    fn name(&self, field: Field) -> &str {
        self.0.get(&field).map_or(field.name(), |column| &column.name)
    }

    fn is_negated(&self, field: Field) -> bool {
        self.0.get(&field).is_some_and(|column| column.negated)
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It cannot be read, or a value in it.
    Malformed,
    /// Its name cannot be that of a user.
    Username,
    /// Its hash is in no known format.
    UnknownHash,
    /// Its hash asks for too much.
    ExpensiveHash,
    /// Its name or `sub` was there before in the file.
    Duplicate,
    /// Its name or `sub` is another's in the database.
    Conflict,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed => "cannot be read",
            Self::Username => "name that no user can have",
            Self::UnknownHash => "hash in no known format",
            Self::ExpensiveHash => "hash that is too expensive",
            Self::Duplicate => "duplicate in the file",
            Self::Conflict => "conflict with the database",
        })
    }
}

/// Why a line is not taken, in a sentence that says nothing of its hash.
#[derive(Debug)]
pub struct Problem {
    /// What it is counted as.
    pub kind: Kind,
    /// What is wrong, and what to do.
    pub sentence: String,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }
}

/// Makes a user of a line, whose hash may take `memory_max` octets to compute.
///
/// # Errors
/// [`Problem`], which says nothing of the hash.
pub fn read_user(
    record: &Record,
    columns: &Columns,
    memory_max: u64,
) -> Result<(StagedUser, PasswordHash), Problem> {
    let malformed = |sentence: String| Problem::new(Kind::Malformed, sentence);
    let values = record.values.as_ref().map_err(|problem| malformed(problem.clone()))?;
    let get = |field| values.get(columns.name(field)).filter(|value| !value.is_null());
    let text = |field| -> Result<Option<String>, Problem> {
        let name = columns.name(field);
        match get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(malformed(format!("{name:?} is no text"))),
        }
    };
    let required = |field| {
        text(field)?.ok_or_else(|| malformed(format!("it has no {:?}", columns.name(field))))
    };
    let truth = |field| {
        let truth = get(field).map_or(Some(columns.is_negated(field)), read_truth);
        let name = columns.name(field);
        let said = truth.ok_or_else(|| malformed(format!("{name:?} is neither true nor false")))?;
        Ok::<_, Problem>(said != columns.is_negated(field))
    };

    let username = required(Field::Username)?;
    let username: Username =
        username.parse().map_err(|sentence: String| Problem::new(Kind::Username, sentence))?;
    let text_of_hash = Secret::new(required(Field::PasswordHash)?);
    let hash = PasswordHash::parse(text_of_hash.expose(), memory_max).map_err(problem_of_hash)?;
    let own_id = text(Field::Sub)?.map(read_sub).transpose().map_err(malformed)?;
    let scope = match list(get(Field::Scope)) {
        None => {
            return Err(malformed("its scope is neither a text nor a list of texts".to_owned()));
        }
        Some(tokens) if tokens.is_empty() => None,
        Some(tokens) => Some(Scope::try_from(tokens.join(" ")).map_err(malformed)?),
    };
    let roles = list(get(Field::Role))
        .ok_or_else(|| malformed("its role is neither a text nor a list of texts".to_owned()))?;
    let user = StagedUser {
        line: record.line,
        username,
        has_own_id: own_id.is_some(),
        id: own_id.unwrap_or_else(random::user_id),
        password_hash: text_of_hash,
        scope,
        roles,
        disabled: truth(Field::Disabled)?,
        mfa_required: truth(Field::MfaRequired)?,
        lot: random::lot(),
    };
    Ok((user, hash))
}

fn problem_of_hash(error: PasswordHashError) -> Problem {
    match error {
        PasswordHashError::Unknown => Problem::new(
            Kind::UnknownHash,
            "its hash is in no format known here: see the list in docs/passwords.md",
        ),
        PasswordHashError::TooExpensive => Problem::new(
            Kind::ExpensiveHash,
            "its hash asks for more memory than --hash-memory allows a thread, or for more than 16 \
             times the work of scrypt ln=17,r=8,p=1",
        ),
    }
}

/// A `sub` that others gave (RFC 7519 §4.1.2).
fn read_sub(text: String) -> Result<UserId, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Ok(UserId::from_text(text));
    }
    Err(format!("{text:?} cannot be a sub: it has 1 to 255 printable ASCII characters, no blanks"))
}

/// A list of texts, or the words of a text.
fn list(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(values)) => {
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
        }
        Some(_) => None,
    }
}

fn read_truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_u64().filter(|number| *number < 2).map(|n| n == 1),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
