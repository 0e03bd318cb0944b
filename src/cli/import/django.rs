//! The users and applications of Django with django-oauth-toolkit: its database, or what `dumpdata` writes.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::Failure;
use super::digests::Members;
use super::entry::{Entry, FoundClient, FoundSecret, Place, Reader, SecretForm, WITHOUT_PASSWORD};
use super::json::{Entries, read_object};
use super::mapping::Mapping;
use super::open::{Progress, open_file, text};
use super::tables::{Row, TableReader, Tables, all, text_of};
use super::time::read_time;
use jeton_crypto::password::of_parts::{self, SaltPlace};
use jeton_crypto::password::{Sha, looks_like_hash};
use jeton_oauth::client::GrantType;
use jeton_oauth::{ClientSettings, Secret};

/// The table of users, unless the project has a model of its own.
const USERS: &str = "auth_user";

/// Opens the database, a folder with its tables, or a file of `dumpdata`.
///
/// # Errors
/// There are no users, or something cannot be read.
pub(super) fn open(
    source: &str,
    mapping: &Mapping,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    let tables = Tables::open(source, mapping)?;
    if let Some(path) = tables.file() {
        return open_dump(path, progress);
    }
    let mut before = VecDeque::new();
    let columns = ["client_id", "client_secret", "client_type", "authorization_grant_type"];
    let table = ("oauth2_provider_application", "clients");
    let applications = all(tables.rows(table, &columns, &mut before, progress)?)?;
    before.extend(applications.into_iter().map(client));
    let groups = Groups::read(&tables, mapping.table(USERS), &mut before, progress)?;
    // A model of users may call its key otherwise.
    let key = mapping.column("sub").unwrap_or("id").to_owned();
    let users = tables.users(USERS, &[&key, "password"], progress)?;
    let entry = Box::new(move |mut row: Row, _: &mut VecDeque<Entry>| {
        let id = row.values.get("id").or_else(|| row.values.get(&key)).and_then(text_of);
        row.set("group", groups.of(&id.unwrap_or_default()));
        user(row)
    });
    Ok(Box::new(TableReader { before, users, entry }))
}

/// The groups of users.
struct Groups {
    names: Vec<Value>,
    members: Members,
}

impl Groups {
    /// Reads them, and who is in which: the table between is called after that of the users.
    fn read(
        tables: &Tables<'_>,
        users: &str,
        before: &mut VecDeque<Entry>,
        progress: &mut Progress,
    ) -> Result<Self, Failure> {
        let (mut names, mut numbers) = (Vec::new(), BTreeMap::new());
        let table = ("auth_group", "groups");
        for mut row in all(tables.rows(table, &["id", "name"], before, progress)?)? {
            if let (Some(id), Some(name)) = (row.take_text("id"), row.take("name")) {
                let number = u32::try_from(names.len())
                    .map_err(|_| "there are too many groups".to_owned())?;
                numbers.insert(id, number);
                names.push(name);
            }
        }
        let mut members = Members::new();
        let table = format!("{users}_groups");
        let table = (table.as_str(), "who is in which group");
        for row in tables.rows(table, &["group_id"], before, progress)? {
            let mut row = row.map_err(Failure::failed)?;
            let group = row.take_text("group_id").and_then(|group| numbers.get(&group));
            row.values.remove("id");
            // The other key is called after the model of the users.
            let user = row.values.values().next().and_then(text_of);
            if let (Some(user), Some(group)) = (user, group) {
                members.add(user, *group);
            }
        }
        members.end();
        Ok(Self { names, members })
    }

    fn of(&self, user: &str) -> Vec<Value> {
        let name = |number| self.names.get(usize::try_from(number).ok()?).cloned();
        self.members.of(user).filter_map(name).collect()
    }
}

fn user(mut row: Row) -> Entry {
    let hash = row.take_text("password").filter(|hash| !hash.starts_with('!'));
    let Some(hash) = hash else {
        return Entry::LeftOut("user without a usable password".to_owned());
    };
    row.set("password_hash", of_django(hash));
    row.rename("id", "sub");
    row.rename("last_login", "last_login_at");
    row.rename("date_joined", "created_at");
    let inactive = row.values.contains_key("is_active") && !row.take_truth("is_active");
    // A model of users of its own may have fields that are called like what is made here.
    let own_role = row.take("role");
    row.set("fields.role", own_role);
    let disabled = row.take_truth("disabled");
    row.set("disabled", inactive || disabled);
    // The two flags that Django itself asks for are roles; the others are members.
    let mut roles = Vec::new();
    for flag in ["is_staff", "is_superuser"] {
        if row.take_truth(flag) {
            roles.push(Value::from(flag));
        }
    }
    row.set("role", roles);
    row.into_user()
}

/// SHA-1 as Django writes it, which other programs write in the same way and compute otherwise.
fn of_django(hash: String) -> String {
    let parts = hash.strip_prefix("sha1$").and_then(|rest| rest.split_once('$'));
    let read = parts.and_then(|(salt, output)| {
        let output = base16ct::mixed::decode_vec(output).ok()?;
        of_parts::digest(Sha::Sha1, SaltPlace::Before, salt.as_bytes(), &output).ok()
    });
    read.unwrap_or(hash)
}

fn client(mut row: Row) -> Entry {
    let grant = row.take_text("authorization_grant_type");
    let logs_in = grant.as_deref() == Some("password");
    let public = row.take_text("client_type").as_deref() == Some("public");
    let is_hashed = match row.take("hash_client_secret") {
        Some(flag) => super::record::read_truth(&flag).unwrap_or(true),
        None => true,
    };
    let created_at = row.take("created").and_then(|time| read_time(&time).ok());
    let secret = row.take_text("client_secret").filter(|_| !public).map(|text| FoundSecret {
        // Versions before 2.0 hash no secret and have no such column.
        form: if is_hashed && looks_like_hash(&text) {
            SecretForm::Hashed(Secret::new(of_django(text)))
        } else {
            SecretForm::Readable(Secret::new(text))
        },
        created_at,
        expires_at: None,
    });
    // A resource server that introspects is there a client with any other grant.
    if !logs_in && secret.is_none() {
        return Entry::LeftOut(WITHOUT_PASSWORD.to_owned());
    }
    let mut settings = ClientSettings { public, ..ClientSettings::default() };
    if logs_in {
        settings.grants = [GrantType::Password, GrantType::RefreshToken].into();
    }
    let has =
        |name: &str| row.values.get(name).and_then(text_of).is_some_and(|text| !text.is_empty());
    let left_out = ["redirect_uris", "allowed_origins"].into_iter().filter(|name| has(name));
    Entry::Client(Box::new(FoundClient {
        left_out: left_out.map(str::to_owned).collect(),
        id: row.take_text("client_id").unwrap_or_default(),
        settings: Ok(settings),
        secrets: secret.into_iter().collect(),
        place: Place::Named(row.place),
        unused: (!logs_in).then_some(WITHOUT_PASSWORD),
        ..FoundClient::default()
    }))
}

/// A file of `dumpdata`. What users refer to may stand behind them, so it is read twice.
fn open_dump(path: &Path, progress: &mut Progress) -> Result<Box<dyn Reader>, Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(
            "a dump is read twice, so name its file instead of standard input",
        ));
    }
    let (for_others, for_users) = (open_file(path)?, progress.open(path)?);
    let reader = text(for_others).and_then(|for_others| read_dump(for_others, text(for_users)?));
    reader.map_err(|problem| Failure::failed(format!("{}: {problem}", path.display())))
}

/// Reads a dump that is given twice: for groups and applications, and for users.
///
/// # Errors
/// A sentence: it cannot be read.
pub fn read_dump(
    for_others: impl Read + 'static,
    for_users: impl Read + 'static,
) -> Result<Box<dyn Reader>, String> {
    let (mut before, mut groups) = (VecDeque::new(), BTreeMap::new());
    for object in Objects(Entries::open(for_others)?) {
        let Dumped { model, pk, mut row } = object?;
        match model.as_str() {
            "oauth2_provider.application" => before.push_back(client(row)),
            "auth.group" => {
                groups.insert(pk, row.take("name").unwrap_or_default());
            }
            _ => {}
        }
    }
    let rows = Objects(Entries::open(for_users)?).filter_map(|object| {
        let is_user = |dumped: &Dumped| dumped.row.values.contains_key("password");
        match object {
            Ok(dumped) => is_user(&dumped).then_some(Ok(dumped.row)),
            Err(problem) => Some(Err(problem)),
        }
    });
    let entry = Box::new(move |mut row: Row, _: &mut VecDeque<Entry>| {
        let keys = row.values.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
        // A natural key is the name itself, in a list.
        let name = |key: &Value| match key {
            Value::Array(key) => key.first().cloned(),
            key => text_of(key).and_then(|key| groups.get(&key)).cloned(),
        };
        let names: Vec<Value> = keys.iter().filter_map(name).collect();
        // A dump without its groups has keys that say nothing; they stay, and are listed.
        if names.len() == keys.len() {
            row.values.remove("groups");
        }
        row.set("group", names);
        user(row)
    });
    Ok(Box::new(TableReader { before, users: Box::new(rows), entry }))
}

/// The objects of a dump.
struct Objects(Entries);

/// An object of a dump: a row with its key as `id`.
struct Dumped {
    model: String,
    pk: String,
    row: Row,
}

impl Iterator for Objects {
    type Item = Result<Dumped, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, text) = match self.0.next() {
            Err(problem) => return Some(Err(problem)),
            Ok(None) => return None,
            Ok(Some(entry)) => entry,
        };
        let wrong = |problem: &str| Err(format!("line {line}: {problem}"));
        let mut object: Map<String, Value> = match read_object(&text) {
            Ok(object) => object,
            Err(problem) => return Some(wrong(&problem)),
        };
        let (Some(Value::String(model)), pk, Some(Value::Object(mut values))) =
            (object.remove("model"), object.remove("pk"), object.remove("fields"))
        else {
            return Some(wrong("it has no model with fields, as dumpdata writes them"));
        };
        let key = pk.as_ref().and_then(text_of).unwrap_or_default();
        values.insert("id".to_owned(), pk.unwrap_or_default());
        let place = format!("line {line}, {model} {key}");
        Some(Ok(Dumped { model, pk: key, row: Row::new(place, values) }))
    }
}
