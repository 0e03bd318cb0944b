//! A realm export of Keycloak: users with their credentials, roles and groups, and clients.
//!
//! The realm is read first, without its users; then its users, one after the other, so that it may be larger than the
//! memory. `kc.sh export` writes both into one file, or users into files of their own.

mod clients;
mod realm;

use std::collections::VecDeque;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::Failure;
use super::columns::Field;
use super::entry::{Entry, Reader, Record};
use super::open::{Later, Progress, open_file, text};
use super::streamed::{Streamed, sentence};
use jeton_crypto::password::of_parts;
use realm::{Realm, Roles};

/// What a user of Keycloak has that says nothing beside what is read: states of its own console.
const SILENT: [&str; 8] = [
    "access",
    "createdTimestamp",
    "disableableCredentialTypes",
    "enabled",
    "id",
    "notBefore",
    "self",
    "totp",
];
/// Attributes of users that Keycloak sets by itself.
const OWN_ATTRIBUTES: [&str; 1] = ["is_temporary_admin"];

/// A realm that is being read.
struct Keycloak {
    /// What is said before any user.
    before: VecDeque<Entry>,
    roles: Roles,
    files: VecDeque<(String, UserFile)>,
    users: Option<(String, Streamed)>,
    /// How many users of the file were read.
    read: usize,
}

/// A file that has users.
enum UserFile {
    Later(Later),
    Open(Box<dyn Read + Send>),
}

/// Opens a file of `kc.sh export --file`, or a folder of `--dir`.
///
/// # Errors
/// It cannot be read, or is no export of one realm.
pub(super) fn open(path: &Path, progress: &mut Progress) -> Result<Box<dyn Reader>, Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(
            "a realm is read twice, so name its file instead of standard input",
        ));
    }
    let (realm_file, user_files) =
        if path.is_dir() { of_folder(path)? } else { (path.to_owned(), Vec::new()) };
    let realm = text(open_file(&realm_file)?).and_then(read_realm);
    let realm =
        realm.map_err(|problem| Failure::failed(format!("{}: {problem}", realm_file.display())))?;
    let mut files = VecDeque::new();
    for file in [realm_file].into_iter().chain(user_files) {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        files.push_back((name, UserFile::Later(progress.later(file))));
    }
    Ok(Box::new(Keycloak::new(realm, files)))
}

/// Reads a realm that is given twice: without its users, and for them.
///
/// # Errors
/// A sentence: it is no export of one realm.
pub fn read(
    realm: impl Read,
    users: impl Read + Send + 'static,
) -> Result<Box<dyn Reader>, String> {
    let users: Box<dyn Read + Send> = Box::new(users);
    let files = VecDeque::from([("realm.json".to_owned(), UserFile::Open(users))]);
    Ok(Box::new(Keycloak::new(read_realm(realm)?, files)))
}

/// The realm of a folder, and the files of its users in their order.
fn of_folder(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    let failed = |problem: &str| Failure::failed(format!("{}: {problem}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(|error| failed(&error.to_string()))?;
    let names =
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> =
        names.collect::<Result<_, _>>().map_err(|error| failed(&error.to_string()))?;
    let mut realms = names.iter().filter_map(|name| name.strip_suffix("-realm.json"));
    let realm = match (realms.next(), realms.next()) {
        (Some(realm), None) => realm,
        (None, _) => {
            return Err(failed(
                "it has no file NAME-realm.json, as `kc.sh export --dir` writes it",
            ));
        }
        _ => {
            return Err(failed(
                "it has several realms: name the file of one, or export one with --realm",
            ));
        }
    };
    let begin = format!("{realm}-users-");
    let number = |name: &String| {
        let number = name.strip_prefix(&begin)?.strip_suffix(".json")?.parse::<u64>().ok()?;
        Some((number, folder.join(name)))
    };
    let mut users: Vec<_> = names.iter().filter_map(number).collect();
    users.sort();
    let realm = folder.join(format!("{realm}-realm.json"));
    Ok((realm, users.into_iter().map(|(_, path)| path).collect()))
}

fn read_realm(file: impl Read) -> Result<Realm, String> {
    let file = BufReader::with_capacity(1 << 16, file);
    let realm: Realm = serde_json::from_reader(file).map_err(|error| {
        format!(
            "{}; a realm is one JSON object, as `kc.sh export --file FILE --realm REALM` writes it",
            sentence(&error)
        )
    })?;
    if realm.name.is_empty() {
        return Err(
            "it is no realm, since it has no `realm`: export it with `kc.sh export`".to_owned()
        );
    }
    Ok(realm)
}

impl Keycloak {
    fn new(realm: Realm, files: VecDeque<(String, UserFile)>) -> Self {
        let before = clients::entries(&realm);
        Self { before, roles: Roles::new(realm), files, users: None, read: 0 }
    }
}

impl Reader for Keycloak {}

impl Iterator for Keycloak {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.before.pop_front() {
            return Some(Ok(entry));
        }
        loop {
            let Some((name, users)) = &mut self.users else {
                let (name, file) = self.files.pop_front()?;
                let file = match file {
                    UserFile::Open(file) => file,
                    UserFile::Later(file) => match file.open() {
                        Ok(file) => file,
                        Err(problem) => return Some(Err(format!("{name}: {problem}"))),
                    },
                };
                (self.users, self.read) = (Some((name, Streamed::new(file, "users"))), 0);
                continue;
            };
            let Some(user) = users.next() else {
                self.users = None;
                continue;
            };
            let place = format!("users[{}] of {name}", self.read);
            self.read += 1;
            return Some(user.map(|user| self.roles.entry(place, user, &mut self.before)));
        }
    }
}

impl Roles {
    /// What a user of Keycloak is here.
    fn entry(
        &self,
        place: String,
        mut user: Map<String, Value>,
        left_out: &mut VecDeque<Entry>,
    ) -> Entry {
        if user.contains_key("serviceAccountClientId") {
            return Entry::LeftOut("user that is the service account of a client".to_owned());
        }
        let mut values = Map::new();
        let mut take = |from: &str, to: &str| {
            if let Some(value) = user.remove(from) {
                values.insert(to.to_owned(), value);
            }
        };
        take("username", "username");
        take("emailVerified", "email_verified");
        let (id, enabled) = (user.get("id").cloned(), user.get("enabled").and_then(Value::as_bool));
        values.insert("sub".to_owned(), id.unwrap_or_default());
        // Whoever has to do something first in a browser is refused the password grant there.
        let has_to_act = user
            .get("requiredActions")
            .and_then(Value::as_array)
            .is_some_and(|all| !all.is_empty());
        values.insert("disabled".to_owned(), (enabled == Some(false) || has_to_act).into());
        values.insert(
            "created_at".to_owned(),
            user.get("createdTimestamp").cloned().unwrap_or_default(),
        );
        values.insert("role".to_owned(), self.of_user(&user).into());
        if let Some(groups) = user.remove("groups") {
            values.insert("group".to_owned(), groups);
        }
        for name in ["realmRoles", "clientRoles"] {
            user.remove(name);
        }
        let (hash, others) = credentials(user.remove("credentials"));
        let bad_hash = match hash {
            None => return Entry::LeftOut("user without a password".to_owned()),
            Some(Ok(text)) => {
                values.insert("password_hash".to_owned(), text.into());
                None
            }
            Some(Err(sentence)) => Some(sentence),
        };
        let (one_time_passwords, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(is_one_time_password);
        left_out.extend(others.iter().map(|_| Entry::of_other_factor()));
        values.insert("otp".to_owned(), one_time_passwords.into());
        for name in SILENT {
            user.remove(name);
        }
        if let Some(Value::Object(attributes)) = user.remove("attributes") {
            for (name, value) in attributes {
                if OWN_ATTRIBUTES.contains(&name.as_str()) {
                    continue;
                }
                // Users may change some of theirs: what one is called decides nothing, unless a mapping says so.
                let is_taken = user.contains_key(&name) || is_field(&name);
                let name = if is_taken { format!("attributes.{name}") } else { name };
                user.insert(name, single(value));
            }
        }
        for (name, value) in user {
            values.entry(name).or_insert(value);
        }
        Entry::User(Record { bad_hash, ..Record::of_values(place, values) })
    }
}

/// Whether what a user has is called like a column of users here.
fn is_field(name: &str) -> bool {
    Field::value_variants().iter().any(|field| field.name() == name)
}

/// Whether a credential is that of an app, or cannot be read and is judged later.
fn is_one_time_password(credential: &Value) -> bool {
    let text = |name: &str| credential.get(name).and_then(Value::as_str);
    let data = text("credentialData").and_then(|data| serde_json::from_str::<Value>(data).ok());
    let counts_up = data.is_some_and(|data| data.get("subType").is_some_and(|kind| kind == "hotp"));
    text("type") == Some("otp") && !counts_up
}

/// The hash of the password, if there is one, and all credentials that are not passwords.
fn credentials(credentials: Option<Value>) -> (Option<Result<String, String>>, Vec<Value>) {
    let Some(Value::Array(credentials)) = credentials else { return (None, Vec::new()) };
    let text = |credential: &Value, name: &str| {
        credential.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (mut hash, mut others) = (None, Vec::new());
    for credential in credentials {
        let kind = text(&credential, "type");
        if kind != "password" {
            // A password that was, and may not be chosen again.
            if kind != "password-history" {
                others.push(credential);
            }
        } else if hash.is_none() {
            let (data, secret) =
                (text(&credential, "credentialData"), text(&credential, "secretData"));
            hash = Some(of_parts::keycloak(&data, &secret).map_err(|error| error.to_string()));
        }
    }
    (hash, others)
}

/// The value of an attribute, which Keycloak writes as a list.
fn single(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.remove(0),
        value => value,
    }
}
