//! What the columns of a file of users are called.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::ValueEnum;
use serde_json::{Map, Value};

use jeton_oauth::Invalid;

/// What columns of users are called elsewhere.
const USUAL_NAMES: [&str; 40] = [
    "active",
    "created_at",
    "date_joined",
    "deleted_at",
    "digest",
    "disabled",
    "email",
    "enabled",
    "encrypted_password",
    "first_name",
    "group",
    "groups",
    "hash",
    "hashed_password",
    "id",
    "is_active",
    "is_disabled",
    "is_enabled",
    "last_login",
    "last_name",
    "locked",
    "login",
    "mail",
    "mfa",
    "mfa_required",
    "name",
    "passwd",
    "password",
    "password_digest",
    "password_hash",
    "pwd",
    "role",
    "roles",
    "scope",
    "scopes",
    "sub",
    "user",
    "user_id",
    "username",
    "uuid",
];
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
    /// The authenticators, with their secrets. They are never exported.
    Otp,
    /// The groups. They are imported as a mapping says, and nothing here is called so.
    Group,
    /// Whether somebody reads the mail of the address. It is imported as a mapping says.
    EmailVerified,
    /// When the user was made.
    CreatedAt,
    /// When the user last logged in.
    LastLoginAt,
}

impl Field {
    /// What a user of Jeton has of this name.
    pub const OF_USER: [Self; 7] = [
        Self::Username,
        Self::PasswordHash,
        Self::Sub,
        Self::Scope,
        Self::Role,
        Self::Disabled,
        Self::MfaRequired,
    ];

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
            Self::Otp => "otp",
            Self::Group => "group",
            Self::EmailVerified => "email_verified",
            Self::CreatedAt => "created_at",
            Self::LastLoginAt => "last_login_at",
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
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let names = Field::value_variants().iter().map(|field| field.name());
        let names = names.collect::<Vec<_>>().join(", ");
        let problem = || {
            Invalid::new(format!(
                "write it as NAME=COLUMN, where NAME is one of {names}; !COLUMN for disabled"
            ))
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
    ///
    /// # Errors
    /// A sentence: two columns were named for one field.
    pub fn new(named: &[Column]) -> Result<Self, String> {
        for (at, column) in named.iter().enumerate() {
            if named.iter().take(at).any(|other| other.field == column.field) {
                let name = column.field.name();
                return Err(format!("--column names two columns for {name}: name one"));
            }
        }
        let usual = Field::value_variants().iter().map(|field| Column {
            field: *field,
            name: field.name().to_owned(),
            negated: false,
        });
        let columns = usual.chain(named.iter().cloned()).map(|column| (column.field, column));
        Ok(Self(columns.collect()))
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
                list_columns(header),
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

    /// The members of a user that say something and that no column is named after.
    pub fn not_taken<'a>(
        &self,
        values: &'a Map<String, Value>,
    ) -> impl Iterator<Item = &'a String> {
        let used = |name: &str| self.0.values().any(|column| column.name == name);
        // An address that is the name was taken as that.
        let username = values.get(self.name(Field::Username));
        let says = move |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(values) => !values.is_empty(),
            Value::Object(members) => !members.is_empty(),
            _ => true,
        };
        let said = values.iter().filter(move |(_, value)| says(value) && Some(*value) != username);
        said.map(|(name, _)| name).filter(move |name| !used(name))
    }

    /// The column of a field.
    pub(super) fn name(&self, field: Field) -> &str {
        self.0.get(&field).map_or(field.name(), |column| &column.name)
    }

    /// Whether the column of a field says the opposite.
    pub(super) fn is_negated(&self, field: Field) -> bool {
        self.0.get(&field).is_some_and(|column| column.negated)
    }
}

/// The columns of a header whose names are usual, and how many others there are: what stands there may be no
/// header, but the first user.
fn list_columns(header: &[String]) -> String {
    let usual = |name: &&str| USUAL_NAMES.contains(&name.to_ascii_lowercase().as_str());
    let names: Vec<&str> = header.iter().map(String::as_str).filter(usual).collect();
    match (names.len(), header.len() - names.len()) {
        (0, others) => format!("the {others} of its header"),
        (_, 0) => names.join(", "),
        (_, others) => format!("{} and {others} more", names.join(", ")),
    }
}
