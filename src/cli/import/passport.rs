//! The users and clients of Laravel with Passport: its tables `users` and `oauth_clients`.

use std::collections::VecDeque;
use std::io::Read;

use serde_json::Value;

use super::Failure;
use super::entry::{Entry, FoundClient, FoundSecret, Place, Reader, SecretForm, WITHOUT_PASSWORD};
use super::lines::Records;
use super::mapping::Mapping;
use super::open::Progress;
use super::tables::{Row, Rows, TableReader, Tables, all, readable, rows_of, text_of};
use super::time::read_time;
use jeton_crypto::password::looks_like_hash;
use jeton_oauth::client::GrantType;
use jeton_oauth::{ClientSettings, Secret};

/// The table of users, and the provider whose users it has.
const USERS: &str = "users";

/// Opens the database, or a folder with its tables.
///
/// # Errors
/// There is no table of users, or a table cannot be read.
pub(super) fn open(
    source: &str,
    mapping: &Mapping,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    let tables = Tables::open(source, mapping)?;
    let mut before = VecDeque::new();
    let columns = &["id", "secret", "revoked"];
    let clients =
        all(tables.rows(("oauth_clients", "clients"), columns, &mut before, progress)?)?;
    let users = tables.users(USERS, &["id", "password"], progress)?;
    Ok(reader(before, clients, users))
}

/// Reads clients and users from files.
///
/// # Errors
/// A sentence: they cannot be read.
pub fn read(
    clients: impl Read + 'static,
    users: impl Read + 'static,
) -> Result<Box<dyn Reader>, String> {
    let clients = readable(rows_of(Records::new(clients)?, "oauth_clients".to_owned()));
    let users = rows_of(Records::new(users)?, "users".to_owned());
    Ok(reader(VecDeque::new(), clients.collect::<Result<_, _>>()?, users))
}

fn reader(mut before: VecDeque<Entry>, clients: Vec<Row>, users: Rows) -> Box<dyn Reader> {
    before.extend(clients.into_iter().map(client));
    Box::new(TableReader { before, users, entry: Box::new(|row, _| user(row)) })
}

fn user(mut row: Row) -> Entry {
    let Some(hash) = row.take("password") else {
        return Entry::LeftOut("user without a password".to_owned());
    };
    row.set("password_hash", hash);
    let name = row.take("username").or(row.values.get("email").cloned());
    row.set("username", name);
    row.rename("id", "sub");
    let verified = row.take("email_verified_at").is_some();
    row.set("email_verified", verified);
    // Models that are deleted softly cannot log in.
    let deleted = row.take("deleted_at").is_some();
    let disabled = row.take_truth("disabled");
    row.set("disabled", deleted || disabled);
    for name in ["remember_token", "updated_at"] {
        row.values.remove(name);
    }
    row.into_user()
}

/// Up to version 12 `password_client` says that a client uses the password grant, from 13 on its `grant_types`.
fn client(mut row: Row) -> Entry {
    let grants = row.take("grant_types");
    let grants: Option<Vec<String>> = grants.and_then(|value| match value {
        Value::String(text) => serde_json::from_str(&text).ok(),
        value => serde_json::from_value(value).ok(),
    });
    let of_flag = row.take_truth("password_client");
    let uses = |grant: &str| {
        grants.as_ref().map_or(of_flag, |grants| grants.iter().any(|own| own == grant))
    };
    if row.take_text("provider").is_some_and(|provider| provider != USERS) {
        return Entry::LeftOut("client for users of another provider".to_owned());
    }
    let logs_in = uses("password");
    let says_secret = row.values.contains_key("secret");
    let secret = row.take_text("secret");
    let mut settings = ClientSettings { public: secret.is_none(), ..ClientSettings::default() };
    if !logs_in && settings.public {
        return Entry::LeftOut(WITHOUT_PASSWORD.to_owned());
    }
    if logs_in {
        settings.grants.insert(GrantType::Password);
    }
    if logs_in && uses("refresh_token") {
        settings.grants.insert(GrantType::RefreshToken);
    }
    let created_at = row.take("created_at").and_then(|time| read_time(&time).ok());
    let secret = secret.map(|text| FoundSecret {
        form: if looks_like_hash(&text) {
            SecretForm::Hashed(Secret::new(text))
        } else {
            SecretForm::Readable(Secret::new(text))
        },
        created_at,
        expires_at: None,
    });
    let has =
        |name: &str| row.values.get(name).and_then(text_of).is_some_and(|text| !text.is_empty());
    let left_out = ["owner_id", "user_id"].into_iter().filter(|name| has(name));
    Entry::Client(Box::new(FoundClient {
        left_out: left_out.map(str::to_owned).collect(),
        id: row.take_text("id").unwrap_or_default(),
        // A client without a secret is public, which nobody is by an export that left it out.
        settings: says_secret.then_some(settings).ok_or_else(|| {
            "nothing says whether it has a secret: export the column `secret`, which may be null".to_owned()
        }),
        secrets: secret.into_iter().collect(),
        disabled: row.take_truth("revoked"),
        place: Place::Named(row.place),
        unused: (!logs_in).then_some(WITHOUT_PASSWORD),
        ..FoundClient::default()
    }))
}
