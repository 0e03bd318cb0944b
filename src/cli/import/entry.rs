//! What a source of users and clients has, one entry after the other.

use std::fmt;

use jeton_oauth::lifetime::{ACCESS_TOKEN_LIFETIME_MAX, SESSION_LIFETIME_MAX};
use jeton_oauth::{ClientSettings, Scope, Secret, Timestamp};
use jeton_store::client_import::{self, ImportedClient, ImportedSecret};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Where an entry stands in its source, for whoever has to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, from 1.
    Line(u64),
    /// A place that has another name, as «users\[41\] of realm.json».
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(formatter, "line {number}"),
            Self::Named(name) => formatter.write_str(name),
        }
    }
}

impl Serialize for Place {
    /// A line is a number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Line(number) => serializer.serialize_u64(*number),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

/// What stands in one place of a source.
#[derive(Debug)]
pub enum Entry {
    /// A user.
    User(Record),
    /// A client.
    Client(Box<FoundClient>),
    /// Something of which Jeton has nothing alike, by what it is called in a report: «identity providers».
    LeftOut(String),
}

impl Entry {
    /// A second factor without which its user logs in here.
    pub(super) fn of_other_factor() -> Self {
        Self::LeftOut("second factor of a user that is no one-time password by an app".to_owned())
    }
}

/// What reads a source. An error means that it cannot be read on.
pub trait Reader: Iterator<Item = Result<Entry, String>> {
    /// The columns of a CSV file, whose lines that are left out are written as CSV again.
    fn header(&self) -> Option<&[String]> {
        None
    }

    /// What a file is that was taken for CSV, if its header has not the columns of users.
    fn otherwise(&self) -> Option<&str> {
        None
    }

    /// Whether it is no mistake if there is nothing in it.
    fn may_be_empty(&self) -> bool {
        false
    }

    /// How what was read was understood, if that does not go without saying.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// A user as the source has it.
#[derive(Debug)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// The values by the names of their columns ([`super::columns::Field`]), or why it cannot be read. What no column
    /// is named after is reported as not taken.
    pub values: Result<Map<String, Value>, String>,
    /// Whether the source refuses the user, whatever a mapping takes from elsewhere.
    pub refused: bool,
    /// Why its hash cannot be taken, in words that follow «its hash», where the source has it in parts that make none.
    pub bad_hash: Option<String>,
    /// What is written there.
    pub source: Source,
}

impl Record {
    /// A user of a line.
    pub(super) fn of_line(
        line: u64,
        values: Result<Map<String, Value>, String>,
        source: Source,
    ) -> Self {
        Self { place: Place::Line(line), values, refused: false, bad_hash: None, source }
    }

    /// A user of a source that has no file of users: the values say it all.
    #[must_use]
    pub fn of_values(place: String, values: Map<String, Value>) -> Self {
        Self {
            place: Place::Named(place),
            refused: values.get("disabled") == Some(&Value::Bool(true)),
            values: Ok(values),
            bad_hash: None,
            source: Source::Json(Vec::new()),
        }
    }
}

/// The text of a record.
#[derive(Debug)]
pub enum Source {
    /// The fields of CSV.
    Csv(csv::ByteRecord),
    /// An object of JSON, with the end of its line. It is empty where the source is no JSON and the values say it all.
    Json(Vec<u8>),
}

impl Source {
    /// What is written there, for whoever mends it.
    pub(super) fn text(&self) -> Vec<u8> {
        match self {
            Self::Csv(fields) => fields.iter().collect::<Vec<_>>().join(&b','),
            Self::Json(text) => text.clone(),
        }
    }
}

/// What a client is counted as that neither logs users in nor introspects tokens.
pub(super) const WITHOUT_PASSWORD: &str = "client without the password grant";

/// A client as the source has it.
#[derive(Debug)]
pub struct FoundClient {
    /// Where it stands.
    pub place: Place,
    /// Its `client_id`.
    pub id: String,
    /// What was decided about it but for scopes and audiences, or why it cannot be taken.
    pub settings: Result<ClientSettings, String>,
    /// The scope tokens that it may ask for, as they are called in the source.
    pub scope: Vec<String>,
    /// The scope tokens that it gets if it asks for none, as they are called in the source.
    pub default_scope: Vec<String>,
    /// The resource servers that its tokens may be for; the first is the default.
    pub audiences: Vec<String>,
    /// Its secrets, if it is confidential.
    pub secrets: Vec<FoundSecret>,
    /// Whether it is refused.
    pub disabled: bool,
    /// What it has and Jeton has not, by name.
    pub left_out: Vec<String>,
    /// What it is counted as, unless a mapping says that it introspects tokens: it does nothing else here.
    pub unused: Option<&'static str>,
}

impl Default for FoundClient {
    fn default() -> Self {
        Self {
            place: Place::Line(0),
            id: String::new(),
            settings: Ok(ClientSettings::default()),
            scope: Vec::new(),
            default_scope: Vec::new(),
            audiences: Vec::new(),
            secrets: Vec::new(),
            disabled: false,
            left_out: Vec::new(),
            unused: None,
        }
    }
}

impl FoundClient {
    /// Shortens lifetimes that are longer than they may be here, and says so.
    pub(super) fn shorten_lifetimes(&mut self) {
        let Ok(settings) = &mut self.settings else { return };
        for (name, span, most) in [
            ("access token", &mut settings.access_token_lifetime, ACCESS_TOKEN_LIFETIME_MAX),
            ("refresh token", &mut settings.refresh_token_idle, SESSION_LIFETIME_MAX),
            ("session", &mut settings.session_lifetime, SESSION_LIFETIME_MAX),
        ] {
            if span.is_some_and(|span| span > most) {
                *span = Some(most);
                self.left_out.push(format!("life of {name}s beyond {most}"));
            }
        }
    }

    /// A client that is as it will be stored.
    pub(super) fn of_imported(place: Place, imported: ImportedClient) -> Self {
        let ImportedClient { client, disabled, secrets } = imported;
        let settings = client.settings;
        let tokens = |scope: &Scope| scope.tokens().map(str::to_owned).collect();
        let secret = |secret: ImportedSecret| FoundSecret {
            form: match secret.stored_as {
                client_import::SecretForm::Digest(digest) => SecretForm::Digest(digest),
                client_import::SecretForm::Hash(text) => SecretForm::Hashed(text),
            },
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        };
        Self {
            place,
            id: client.id.to_string(),
            scope: tokens(&settings.scope),
            default_scope: tokens(&settings.default_scope),
            audiences: settings.audiences.iter().map(ToString::to_string).collect(),
            settings: Ok(settings),
            secrets: secrets.into_iter().map(secret).collect(),
            disabled,
            left_out: Vec::new(),
            unused: None,
        }
    }
}

/// A secret of a client as the source has it.
#[derive(Debug)]
pub struct FoundSecret {
    /// In which form it came.
    pub form: SecretForm,
    /// When it was made, if that is known.
    pub created_at: Option<Timestamp>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// In which form the secret of a client comes.
#[derive(Debug)]
pub enum SecretForm {
    /// The secret itself.
    Readable(Secret),
    /// A hash in one of the formats of passwords.
    Hashed(Secret),
    /// SHA-256 of the secret.
    Digest([u8; 32]),
}

impl From<SecretForm> for FoundSecret {
    fn from(form: SecretForm) -> Self {
        Self { form, created_at: None, expires_at: None }
    }
}
