//! The users and applications of Auth0.
//!
//! Auth0 gives out two exports of users: its support sends the password hashes, and anybody who administers a tenant can
//! export everything else. A folder may have both, and the applications; then what both say of a user is one user.

mod clients;
mod hashes;
mod objects;

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Failure;
use super::digests::Digests;
use super::entry::{Entry, Place, Reader, Record, Source};
use super::json::read_object;
use super::open::{Progress, open_file};
use super::tables::Row;
use objects::{Objects, of_folder, read_at};

/// What says nothing beside what is read, or is of Auth0's own making.
const SILENT: [&str; 19] = [
    "_id",
    "_tmp_is_unique",
    "alt_id",
    "connection",
    "email_lower",
    "identifiers",
    "identities",
    "last_ip",
    "last_password_reset",
    "logins_count",
    "multifactor_last_modified",
    "name",
    "nickname",
    "password_set_date",
    "picture",
    "tenant",
    "updated_at",
    "user_id",
    "username_lower",
];

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A user with a hash, or of the export of hashes.
    Hash,
    /// A user of the other export.
    Profile,
    Client,
    Unknown,
}

impl Kind {
    fn of(values: &Map<String, Value>) -> Self {
        let has = |name: &str| values.contains_key(name);
        if has("client_id") {
            Self::Client
        } else if ["_id", "passwordHash", "password_hash", "custom_password_hash"]
            .into_iter()
            .any(has)
        {
            Self::Hash
        } else if has("user_id") {
            Self::Profile
        } else {
            Self::Unknown
        }
    }
}

/// Files that are being read.
struct Auth0 {
    files: VecDeque<(String, Objects)>,
    /// The export without hashes, if it stands beside that of hashes.
    profiles: Option<Profiles>,
    /// Users with a hash of whom nothing says whether they are blocked.
    perhaps_blocked: u64,
    /// What is to be given out before the next object.
    pending: VecDeque<Entry>,
}

/// Opens a file, or a folder with several.
///
/// # Errors
/// It cannot be read.
pub(super) fn open(path: &Path, progress: &mut Progress) -> Result<Box<dyn Reader>, Failure> {
    let failed =
        |path: &Path, problem: String| Failure::failed(format!("{}: {problem}", path.display()));
    let is_folder = path.is_dir();
    let paths = if is_folder {
        of_folder(path).map_err(|problem| failed(path, problem))?
    } else {
        vec![path.to_owned()]
    };
    if paths.is_empty() {
        return Err(failed(
            path,
            "it has no file that ends with .json, .jsonl or .ndjson".to_owned(),
        ));
    }
    let profiles = if is_folder { Profiles::of_files(&paths)? } else { None };
    let mut files = VecDeque::new();
    for path in paths {
        let objects =
            Objects::new(progress.open(&path)?).map_err(|problem| failed(&path, problem))?;
        files.push_back((if is_folder { name_of(&path) } else { String::new() }, objects));
    }
    Ok(Box::new(Auth0 { files, profiles, perhaps_blocked: 0, pending: VecDeque::new() }))
}

/// Reads one file.
///
/// # Errors
/// A sentence: it cannot be read.
pub fn read(file: impl Read + 'static) -> Result<Box<dyn Reader>, String> {
    let files = [(String::new(), Objects::new(file)?)].into();
    Ok(Box::new(Auth0 { files, profiles: None, perhaps_blocked: 0, pending: VecDeque::new() }))
}

fn name_of(path: &Path) -> String {
    format!(" of {}", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// Where each user of the export without hashes stands: 32 octets of memory for each.
struct Profiles {
    digests: Digests,
    files: Vec<(PathBuf, File)>,
    /// The user, and where that is: the number of the file, and of the octet in it. In ascending order.
    places: Vec<(u128, u16, u64)>,
    /// How many were not asked for.
    left: usize,
}

impl Profiles {
    /// Looks through files, of which some may have such users.
    ///
    /// # Errors
    /// One cannot be read, or has users in a list.
    fn of_files(paths: &[PathBuf]) -> Result<Option<Self>, Failure> {
        let mut profiles =
            Self { digests: Digests::new(), files: Vec::new(), places: Vec::new(), left: 0 };
        let mut has_hashes = false;
        for path in paths {
            let failed =
                |problem: String| Failure::failed(format!("{}: {problem}", path.display()));
            let mut objects = Objects::new(open_file(path)?).map_err(failed)?;
            let mut number = None;
            while let Some(object) = objects.next().map_err(failed)? {
                let Ok(values) = read_object(&object.text) else { continue };
                match Kind::of(&values) {
                    Kind::Hash => has_hashes = true,
                    Kind::Profile => {}
                    Kind::Client | Kind::Unknown => continue,
                }
                if Kind::of(&values) == Kind::Hash {
                    continue;
                }
                let offset = object.offset.ok_or_else(|| {
                    failed("its users are in a list: write each on a line of its own, as with `jq -c '.[]'`".to_owned())
                })?;
                let file = if let Some(file) = number {
                    file
                } else {
                    let file = u16::try_from(profiles.files.len());
                    let file =
                        file.map_err(|_| failed("it is one of too many files".to_owned()))?;
                    profiles.files.push((path.clone(), open_file(path)?));
                    *number.insert(file)
                };
                let place =
                    (profiles.digests.of(user_id(&values).unwrap_or_default()), file, offset);
                profiles.places.push(place);
            }
        }
        profiles.places.sort_unstable();
        profiles.left = profiles.places.len();
        Ok((has_hashes && !profiles.files.is_empty()).then_some(profiles))
    }

    /// What the other export says of a user.
    fn find(&mut self, user_id: &str) -> Result<Option<Map<String, Value>>, String> {
        let wanted = self.digests.of(user_id);
        let begin = self.places.partition_point(|(user, ..)| *user < wanted);
        let Some((_, file, offset)) = self.places.get(begin).filter(|(user, ..)| *user == wanted)
        else {
            return Ok(None);
        };
        let Some((path, file)) = self.files.get_mut(usize::from(*file)) else { return Ok(None) };
        self.left = self.left.saturating_sub(1);
        let text =
            read_at(file, *offset).map_err(|problem| format!("{}: {problem}", path.display()))?;
        read_object(&text).map(Some)
    }
}

/// The identity that tokens of Auth0 have as `sub`. The export of hashes has only its second half.
fn user_id(values: &Map<String, Value>) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(id) = values.get("user_id").and_then(text) {
        return Some(if id.contains('|') { id } else { format!("auth0|{id}") });
    }
    let id = values.get("_id").map(|id| id.get("$oid").unwrap_or(id));
    let id = values.get("alt_id").and_then(text).or_else(|| id.and_then(text))?;
    Some(format!("auth0|{id}"))
}

impl Auth0 {
    fn entry(&mut self, object: objects::Object, file: &str) -> Result<Option<Entry>, String> {
        let place = format!("line {}{file}", object.line);
        let mut values = match read_object(&object.text) {
            Ok(values) => values,
            Err(problem) => return Ok(Some(bad(place, problem, object.text))),
        };
        match Kind::of(&values) {
            Kind::Client => return Ok(Some(clients::entry(Place::Named(place), values))),
            Kind::Unknown if values.contains_key("Id") => {
                let sentence = "it has the columns of an export without fields: export the users with the fields \
                                user_id, email, username, email_verified, blocked, app_metadata, created_at and last_login";
                return Ok(Some(bad(place, sentence.to_owned(), object.text)));
            }
            Kind::Unknown => {
                let sentence = "it is neither a user of Auth0, which has a user_id or an _id, nor an application, which \
                                has a client_id";
                return Ok(Some(bad(place, sentence.to_owned(), object.text)));
            }
            // What has a hash in the other export is read there, and those without one are counted at the end.
            Kind::Profile if self.profiles.is_some() => return Ok(None),
            Kind::Profile => return Ok(Some(without_password())),
            Kind::Hash => {}
        }
        if let Some(profiles) = &mut self.profiles
            && let Some(id) = user_id(&values)
        {
            let found = profiles.find(&id);
            let Some(profile) =
                found.map_err(|problem| format!("the other export of {place}: {problem}"))?
            else {
                return Ok(Some(Entry::LeftOut(
                    "user who is in the export of hashes only".to_owned(),
                )));
            };
            // What the export of hashes says is of the day of its making, too; the other one says more.
            for (name, value) in profile {
                values.insert(name, value);
            }
            return Ok(Some(self.user(place, values)));
        }
        let says_nothing = !values.contains_key("blocked") && !values.contains_key("user_id");
        let entry = self.user(place, values);
        self.perhaps_blocked += u64::from(says_nothing && matches!(entry, Entry::User(_)));
        Ok(Some(entry))
    }

    fn user(&mut self, place: String, values: Map<String, Value>) -> Entry {
        let id = user_id(&values);
        let mut row = Row::new(place, values);
        let hash = row.take("passwordHash").or_else(|| row.take("password_hash"));
        let (hash, bad_hash) = match (hash, row.take("custom_password_hash")) {
            (Some(hash), None) => (hash, None),
            (None, Some(custom)) => match hashes::text(custom) {
                Ok(text) => (text.into(), None),
                Err(problem) => (Value::Null, Some(problem)),
            },
            (None, None) => return without_password(),
            (Some(_), Some(_)) => {
                let problem = "is there twice, as passwordHash and as custom_password_hash: nobody knows which counts";
                (Value::Null, Some(problem.to_owned()))
            }
        };
        row.set("password_hash", hash);
        row.set("sub", id);
        Self::name(&mut row);
        let blocked = row.take_truth("blocked");
        row.set("disabled", blocked);
        row.rename("last_login", "last_login_at");
        row.spread("app_metadata", "app_metadata");
        row.spread("user_metadata", "user_metadata");
        if let Some(Value::Array(roles)) = row.take("app_metadata.roles") {
            row.set("role", roles);
        }
        let factors = row.take("mfa_factors");
        let secrets = self.one_time_passwords(factors);
        row.set("otp", secrets);
        for name in SILENT {
            row.values.remove(name);
        }
        let mut record = Record::of_values(row.place, row.values);
        record.bad_hash = bad_hash;
        Entry::User(record)
    }

    /// The address is the name, as most tenants have it; a mapping can take `auth0_username` instead.
    fn name(row: &mut Row) {
        let verified_of = |identifier: &Value| {
            let is_email = identifier.get("type").and_then(Value::as_str) == Some("email");
            is_email
                .then(|| (identifier.get("value").cloned(), identifier.get("verified").cloned()))
        };
        let identifiers = row.values.get("identifiers").and_then(Value::as_array);
        let of_list = identifiers.and_then(|list| list.iter().find_map(verified_of));
        let (of_list, verified) = of_list.unwrap_or_default();
        let own = row.take("username");
        let email = row.take("email").or(of_list);
        if row.take("email_verified").or(verified) == Some(Value::Bool(true)) {
            row.set("email_verified", true);
        }
        let name =
            email.or_else(|| own.clone()).or_else(|| row.values.get("phone_number").cloned());
        row.set("username", name);
        row.set("auth0_username", own);
    }

    /// The secrets of authenticators; other factors have no place here.
    fn one_time_passwords(&mut self, factors: Option<Value>) -> Vec<Value> {
        let factors = match factors {
            Some(Value::Array(factors)) => factors,
            _ => Vec::new(),
        };
        let mut secrets = Vec::new();
        for factor in factors {
            if let Some(secret) = factor.get("totp").and_then(|totp| totp.get("secret")) {
                secrets.push(secret.clone());
            } else {
                self.pending.push_back(Entry::of_other_factor());
            }
        }
        secrets
    }
}

fn without_password() -> Entry {
    Entry::LeftOut("user without a password".to_owned())
}

fn bad(place: String, problem: String, text: Vec<u8>) -> Entry {
    let place = Place::Named(place);
    let source = Source::Json(text);
    Entry::User(Record { place, values: Err(problem), refused: false, bad_hash: None, source })
}

impl Reader for Auth0 {
    fn remark(&self) -> Option<String> {
        (self.perhaps_blocked > 0).then(|| {
            format!(
                "Nothing says of {} users whether they are blocked, and they can log in here: put the export of users \
                 (jobs/users-exports, with the fields user_id and blocked) beside that of hashes, and name the folder",
                self.perhaps_blocked
            )
        })
    }
}

impl Iterator for Auth0 {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.pending.pop_front() {
                return Some(Ok(entry));
            }
            let Some((file, objects)) = self.files.front_mut() else {
                let left = self.profiles.as_mut().map(|profiles| &mut profiles.left)?;
                *left = left.checked_sub(1)?;
                return Some(Ok(without_password()));
            };
            let file = file.clone();
            let object = match objects.next() {
                Ok(Some(object)) => object,
                Ok(None) => {
                    self.files.pop_front();
                    continue;
                }
                Err(problem) => return Some(Err(format!("{problem}{file}"))),
            };
            match self.entry(object, &file) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(problem) => return Some(Err(problem)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
