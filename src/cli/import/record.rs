//! A user as a file has it, and what it must be to be let in.
//!
//! What is said of a user who is not taken names the column and repeats nothing of it: a hash or a password may
//! stand in any.

use std::fmt;

use serde_json::{Map, Value};

use super::columns::{Columns, Field};
use super::entry::Record;
use super::otp_files::{self, ReadAuthenticator};
use super::time::read_time;
use crate::cli::printable::is_printable;
use jeton_crypto::password::{PasswordHash, PasswordHashError, describe_unknown};
use jeton_crypto::random;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{Invalid, Scope, Secret, Timestamp, UserId};
use jeton_store::import::StagedUser;
use jeton_store::second_factors::StoredSecondFactors;

/// What other programs write where there is nothing.
const EMPTY_WORDS: [&str; 12] = [
    "null",
    "(null)",
    "<null>",
    "[null]",
    "\\n",
    "nil",
    "none",
    "undefined",
    "nan",
    "n/a",
    "#n/a",
    "dbnull",
];

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It cannot be read, or a value in it.
    Malformed,
    /// It can be read, and lacks what a mapping can say.
    Unmapped,
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
            Self::Unmapped => "needs a line in the mapping",
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

/// A user of a file.
#[derive(Debug)]
pub struct ReadUser {
    /// The user, without second factors.
    pub user: StagedUser,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The authenticators, with their secrets.
    pub authenticators: Vec<ReadAuthenticator>,
    /// The groups, as they are called in the source.
    pub groups: Vec<String>,
    /// Whether the source says that somebody reads the mail of the address.
    pub email_verified: bool,
}

/// Makes a user of a record, whose hash may take `memory_max` octets to compute.
///
/// # Errors
/// [`Problem`], which says nothing of what stands there.
pub fn read_user(record: &Record, columns: &Columns, memory_max: u64) -> Result<ReadUser, Problem> {
    let members = record.values.as_ref();
    let members = members.map_err(|problem| Problem::new(Kind::Malformed, problem))?;
    let values = Values { members, columns };
    let username = values.username()?;
    if let Some(sentence) = &record.bad_hash {
        return Err(Problem::new(Kind::UnknownHash, format!("its hash {sentence}")));
    }
    let (password_hash, hash) = values.password_hash(memory_max)?;
    let own_id = values.sub()?;
    let user = StagedUser {
        place: record.place.to_string(),
        username,
        has_own_id: own_id.is_some(),
        id: own_id.unwrap_or_else(random::user_id),
        password_hash,
        scope: values.scope()?,
        roles: values.words(Field::Role)?,
        disabled: values.truth(Field::Disabled)? || record.refused,
        mfa_required: values.truth(Field::MfaRequired)?,
        // They are sealed later.
        second_factors: StoredSecondFactors::default(),
        decoy_number: random::decoy_number(),
        created_at: values.time(Field::CreatedAt)?,
        last_login_at: values.time(Field::LastLoginAt)?,
    };
    Ok(ReadUser {
        user,
        hash,
        authenticators: values.authenticators()?,
        groups: values.words(Field::Group)?,
        email_verified: values.truth(Field::EmailVerified)?,
    })
}

/// A user as it should be. What is absent is not decided.
#[derive(Debug)]
pub(in crate::cli) struct Wanted {
    pub(in crate::cli) username: Username,
    pub(in crate::cli) sub: Option<UserId>,
    pub(in crate::cli) password: Option<Secret>,
    pub(in crate::cli) password_hash: Option<Secret>,
    /// `Some(None)` for no limit beside the client's.
    #[expect(
        clippy::option_option,
        reason = "null decides something, and a missing member does not"
    )]
    pub(in crate::cli) scope: Option<Option<Scope>>,
    pub(in crate::cli) roles: Option<Vec<String>>,
    pub(in crate::cli) disabled: Option<bool>,
    pub(in crate::cli) mfa_required: Option<bool>,
}

/// The member that has a password.
const PASSWORD: &str = "password";

impl Wanted {
    /// Reads an object, whose hash may take `memory_max` octets to compute.
    ///
    /// # Errors
    /// [`Problem`], which says nothing of what stands there.
    pub(in crate::cli) fn read(
        mut members: Map<String, Value>,
        memory_max: u64,
    ) -> Result<Self, Problem> {
        let malformed = |sentence: &str| Problem::new(Kind::Malformed, sentence);
        let password = match members.remove(PASSWORD) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(Secret::new(text)),
            Some(_) => return Err(malformed("its \"password\" is no text")),
        };
        let names = Field::OF_USER.map(Field::name);
        if !members.keys().all(|name| names.contains(&name.as_str())) {
            let names = names.join(", ");
            return Err(malformed(&format!(
                "it has a member that is not one of {PASSWORD}, {names}"
            )));
        }
        let columns = Columns::new(&[]).map_err(|problem| malformed(&problem))?;
        // A null says as much as a member that is not there, but for the scope.
        let says = |field: Field| members.get(field.name()).is_some_and(|value| !value.is_null());
        let values = Values { members: &members, columns: &columns };
        if password.is_some() && says(Field::PasswordHash) {
            return Err(malformed("it has both a password and a password_hash: leave one out"));
        }
        let hash =
            says(Field::PasswordHash).then(|| values.password_hash(memory_max)).transpose()?;
        Ok(Self {
            username: values.username()?,
            sub: values.sub()?,
            password,
            password_hash: hash.map(|(text, _)| text),
            scope: members.contains_key("scope").then(|| values.scope()).transpose()?,
            roles: says(Field::Role).then(|| values.words(Field::Role)).transpose()?,
            disabled: says(Field::Disabled).then(|| values.truth(Field::Disabled)).transpose()?,
            mfa_required: says(Field::MfaRequired)
                .then(|| values.truth(Field::MfaRequired))
                .transpose()?,
        })
    }
}

/// The values of a record by the columns that were named.
struct Values<'a> {
    members: &'a Map<String, Value>,
    columns: &'a Columns,
}

impl Values<'_> {
    fn get(&self, field: Field) -> Option<&Value> {
        self.members.get(self.columns.name(field)).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: Field, sentence: &str) -> Problem {
        let kind = if field == Field::Username { Kind::Username } else { Kind::Malformed };
        Problem::new(kind, format!("its {:?} {sentence}", self.columns.name(field)))
    }

    fn text(&self, field: Field) -> Result<Option<String>, Problem> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => {
                let name = self.columns.name(field);
                Err(Problem::new(Kind::Malformed, format!("its {name:?} is no text")))
            }
        }
    }

    fn required(&self, field: Field) -> Result<String, Problem> {
        self.text(field)?.ok_or_else(|| {
            let name = self.columns.name(field);
            Problem::new(Kind::Malformed, format!("it has no {name:?}"))
        })
    }

    fn username(&self) -> Result<Username, Problem> {
        let text = self.required(Field::Username)?;
        let wrong = |sentence: &str| self.wrong(Field::Username, sentence);
        match misplaced(&text) {
            Some(sentence) => Err(wrong(sentence)),
            None => text.parse().map_err(|error: Invalid| wrong(&error.to_string())),
        }
    }

    fn password_hash(&self, memory_max: u64) -> Result<(Secret, PasswordHash), Problem> {
        let text = Secret::new(self.required(Field::PasswordHash)?);
        let stored = Secret::new(PasswordHash::adopt(text.expose()).into_owned());
        let hash = PasswordHash::parse(stored.expose(), memory_max);
        let hash = hash.map_err(|error| problem_of_hash(error, text.expose()))?;
        Ok((stored, hash))
    }

    /// The `sub` that others gave (RFC 7519 §4.1.2).
    fn sub(&self) -> Result<Option<UserId>, Problem> {
        let Some(text) = self.text(Field::Sub)? else { return Ok(None) };
        if let Some(sentence) = misplaced(&text) {
            return Err(self.wrong(Field::Sub, sentence));
        }
        text.parse().map(Some).map_err(|error: Invalid| self.wrong(Field::Sub, &error.to_string()))
    }

    fn scope(&self) -> Result<Option<Scope>, Problem> {
        let tokens = self.words(Field::Scope)?;
        if tokens.is_empty() {
            return Ok(None);
        }
        let scope = Scope::try_from(tokens.join(" "));
        Ok(Some(scope.map_err(|sentence| {
            self.wrong(Field::Scope, &format!("cannot be a scope: {sentence}"))
        })?))
    }

    /// A list of texts, or the words of a text.
    fn words(&self, field: Field) -> Result<Vec<String>, Problem> {
        let words: Option<Vec<String>> = match self.get(field) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => Some(text.split_whitespace().map(str::to_owned).collect()),
            Some(Value::Array(values)) => {
                values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
            }
            Some(_) => None,
        };
        let no_list = || self.wrong(field, "is neither a text nor a list of texts");
        let words = words.ok_or_else(no_list)?;
        match words.iter().find_map(|word| misplaced(word).or_else(|| no_word(word))) {
            Some(sentence) => Err(self.wrong(field, sentence)),
            None => Ok(words),
        }
    }

    fn authenticators(&self) -> Result<Vec<ReadAuthenticator>, Problem> {
        let read = self.get(Field::Otp).map_or(Ok(Vec::new()), otp_files::read);
        read.map_err(|sentence| self.wrong(Field::Otp, &sentence))
    }

    fn time(&self, field: Field) -> Result<Option<Timestamp>, Problem> {
        let time = self.get(field).map(read_time).transpose();
        time.map_err(|sentence| self.wrong(field, &sentence))
    }

    fn truth(&self, field: Field) -> Result<bool, Problem> {
        let is_negated = self.columns.is_negated(field);
        let said = self.get(field).map_or(Some(is_negated), read_truth);
        let said = said.ok_or_else(|| self.wrong(field, "is neither true nor false"))?;
        Ok(said != is_negated)
    }
}

fn problem_of_hash(error: PasswordHashError, text: &str) -> Problem {
    match error {
        PasswordHashError::Unknown if is_empty_word(text) => {
            Problem::new(Kind::UnknownHash, format!("its hash {EMPTY}"))
        }
        PasswordHashError::Unknown | PasswordHashError::Sealed => Problem::new(
            Kind::UnknownHash,
            format!("its hash {}: see the list in docs/passwords.md", describe_unknown(text)),
        ),
        PasswordHashError::TooExpensive => Problem::new(
            Kind::ExpensiveHash,
            "its hash asks for more memory than --hash-memory allows a thread, or for more than 16 \
             times the work of scrypt ln=17,r=8,p=1",
        ),
    }
}

/// What is wrong with an empty word.
const EMPTY: &str = "is a word that stands for nothing elsewhere: leave the field empty";

fn is_empty_word(text: &str) -> bool {
    EMPTY_WORDS.contains(&text.trim().to_ascii_lowercase().as_str())
}

/// Why a text cannot be a name, a `sub`, a role or a scope, whatever its characters are.
fn misplaced(text: &str) -> Option<&'static str> {
    if is_empty_word(text) {
        return Some(EMPTY);
    }
    // What is stored there is shown, and goes into tokens.
    PasswordHash::is_text_of_one(text)
        .then_some("is a password hash: see that the columns are in their places")
}

/// Why a text cannot be a role or a scope.
fn no_word(text: &str) -> Option<&'static str> {
    if text.starts_with(['[', '{']) {
        return Some("is a list in the form of another program: write words between blanks");
    }
    (!text.chars().all(is_printable)).then_some("has control or invisible characters")
}

/// Reads whether something is so, in the words of many programs.
pub(super) fn read_truth(value: &Value) -> Option<bool> {
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
