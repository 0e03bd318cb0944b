//! Files of users and clients in Jeton's own forms: CSV, JSON Lines and JSON lists.

use std::path::Path;

use super::Failure;
use super::entry::{Entry, FoundClient, FoundSecret, Reader, Record, SecretForm};
use super::lines::Records;
use super::open::Progress;
use super::time::read_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jeton_oauth::{ClientSettings, Secret, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    Csv,
    JsonLines,
    JsonList,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::JsonLines => "JSON Lines",
            Self::JsonList => "a JSON list",
        }
    }
}

/// A file that is read.
#[derive(Debug)]
pub(in crate::cli) struct Files {
    source: String,
    records: Records,
}

impl Files {
    /// Opens a file, or standard input.
    pub(in crate::cli) fn open(path: &Path, progress: &mut Progress) -> Result<Self, Failure> {
        let source = path.display().to_string();
        let records = Records::new(progress.open(path)?);
        let records = records.map_err(|problem| format!("{source}: {problem}"))?;
        Ok(Self { source, records })
    }

    /// Sees that it has this form.
    pub(in crate::cli) fn require(&self, wanted: Form) -> Result<(), Failure> {
        let form = match &self.records {
            Records::Csv { .. } => Form::Csv,
            Records::JsonLines { .. } => Form::JsonLines,
            Records::JsonList(_) => Form::JsonList,
        };
        if form == wanted {
            return Ok(());
        }
        let (source, is, wanted) = (&self.source, form.name(), wanted.name());
        Err(Failure::failed(format!(
            "{source}: it is {is}, and not {wanted}: name the kind that it is"
        )))
    }
}

impl Reader for Files {
    fn header(&self) -> Option<&[String]> {
        self.records.header()
    }

    fn otherwise(&self) -> Option<&str> {
        self.records.otherwise()
    }

    fn remark(&self) -> Option<String> {
        self.records.remark()
    }
}

impl Iterator for Files {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.records.next()?.map(|record| match &record.values {
            Ok(values) if values.contains_key("client_id") => {
                Entry::Client(Box::new(read_client(record)))
            }
            _ => Entry::User(record),
        }))
    }
}

/// What a line says of a client beside its settings.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientLine {
    client_id: String,
    scope: String,
    default_scope: String,
    audiences: Vec<String>,
    secrets: Vec<SecretLine>,
    disabled: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretLine {
    secret: Option<String>,
    sha256: Option<String>,
    hash: Option<String>,
    created_at: Option<Value>,
    expires_at: Option<Value>,
}

/// Reads a client as `jeton client export` writes it.
fn read_client(record: Record) -> FoundClient {
    let mut values = record.values.unwrap_or_default();
    let line: Result<ClientLine, _> = serde_json::from_value(Value::Object(values.clone()));
    // serde_json repeats the value that it does not take, which may be a secret.
    let wrong = || "a member of it is not as `jeton client export` writes it".to_owned();
    let (line, mut settings) = match line {
        Ok(line) => (line, Ok(())),
        Err(_) => (ClientLine::default(), Err(wrong())),
    };
    let secrets: Result<Vec<FoundSecret>, String> =
        line.secrets.into_iter().map(read_secret).collect();
    let secrets = secrets.unwrap_or_else(|problem| {
        settings = settings.clone().and(Err(problem));
        Vec::new()
    });
    let id = values.get("client_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    for name in
        ["client_id", "scope", "default_scope", "audiences", "secrets", "disabled", "problem"]
    {
        values.remove(name);
    }
    let left_out = unknown_members(&values);
    let read = serde_json::from_value::<ClientSettings>(Value::Object(values)).map_err(|_| wrong());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    FoundClient {
        place: record.place,
        id: if line.client_id.is_empty() { id } else { line.client_id },
        settings: settings.and(read),
        scope: words(&line.scope),
        default_scope: words(&line.default_scope),
        audiences: line.audiences,
        secrets,
        disabled: line.disabled,
        left_out,
    }
}

/// The members that are no settings of a client.
fn unknown_members(values: &Map<String, Value>) -> Vec<String> {
    let Ok(Value::Object(known)) = serde_json::to_value(ClientSettings::default()) else {
        return Vec::new();
    };
    values.keys().filter(|name| !known.contains_key(*name)).cloned().collect()
}

fn read_secret(line: SecretLine) -> Result<FoundSecret, String> {
    let time = |value: Option<Value>| -> Result<Option<Timestamp>, String> {
        value.filter(|value| !value.is_null()).map(|value| read_time(&value)).transpose()
    };
    let form = match line {
        SecretLine { secret: Some(secret), sha256: None, hash: None, .. } => {
            SecretForm::Readable(Secret::new(secret))
        }
        SecretLine { secret: None, sha256: Some(digest), hash: None, .. } => {
            let octets =
                URL_SAFE_NO_PAD.decode(digest).ok().and_then(|octets| octets.try_into().ok());
            SecretForm::Digest(
                octets.ok_or("the sha256 of a secret is not 32 octets in base64url")?,
            )
        }
        SecretLine { secret: None, sha256: None, hash: Some(text), .. } => {
            SecretForm::Hashed(Secret::new(text))
        }
        _ => return Err("each of its secrets has one of secret, sha256 and hash".to_owned()),
    };
    Ok(FoundSecret { form, created_at: time(line.created_at)?, expires_at: time(line.expires_at)? })
}
