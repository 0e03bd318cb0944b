//! The people of an LDAP directory, as LDIF.
//!
//! The file is read for its groups first, then for its people, one after the other. Whatever has a `userPassword` and is
//! no group is a user.

pub mod dn;
mod groups;
pub mod ldif;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::Failure;
use super::entry::{Entry, Place, Reader, Record, Source};
use super::mapping::Mapping;
use super::open::{Progress, open_file, text};
use groups::{Groups, is_group, names_members};
use jeton_crypto::password::PasswordHash;
use ldif::{Found, Ldif, LdifEntry, is};

/// What names a user, if a mapping does not say it; the first that is there.
const NAMES: [&str; 4] = ["uid", "sAMAccountName", "cn", "mail"];
/// What is the `sub` of a user; the first that is there.
const IDS: [&str; 4] = ["entryUUID", "objectGUID", "ipaUniqueID", "nsUniqueId"];
/// Attributes that a directory keeps for itself, or that other attributes say too.
const SILENT: [&str; 17] = [
    "contextCSN",
    "createTimestamp",
    "creatorsName",
    "distinguishedName",
    "entryCSN",
    "entryDN",
    "gidNumber",
    "hasSubordinates",
    "memberOf",
    "modifiersName",
    "modifyTimestamp",
    "objectClass",
    "pwdChangedTime",
    "structuralObjectClass",
    "subschemaSubentry",
    "whenChanged",
    "whenCreated",
];
/// Attributes by which a directory refuses logins, beside those with a value that is looked at.
const LOCKS: [&str; 3] = ["loginDisabled", "nsAccountLock", "pwdAccountLockedTime"];
/// The bit of `userAccountControl` that says that an account is disabled.
const ACCOUNT_DISABLED: u64 = 2;

/// A directory that is being read.
struct Ldap {
    entries: Ldif,
    groups: Groups,
    /// What is to be given out before the next entry.
    pending: VecDeque<Entry>,
    /// What the mapping calls the columns of users.
    named: Vec<(&'static str, String)>,
    /// Users without an identity of the directory.
    without_id: u64,
}

/// Opens a file that `slapcat` or `ldapsearch -LLL` wrote.
///
/// # Errors
/// It cannot be read, or lists changes.
pub(super) fn open(
    path: &Path,
    mapping: &Mapping,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    if path.as_os_str() == "-" {
        return Err(Failure::usage(
            "LDIF is read twice, for groups and for people, so name its file instead of standard input",
        ));
    }
    let (for_groups, for_people) = (open_file(path)?, progress.open(path)?);
    let reader =
        text(for_groups).and_then(|for_groups| read(for_groups, text(for_people)?, mapping));
    reader.map_err(|problem| Failure::failed(format!("{}: {problem}", path.display())))
}

/// Reads a file that is given twice: for its groups, and for its people.
///
/// # Errors
/// A sentence: it cannot be read, or lists changes.
pub fn read(
    for_groups: impl Read + 'static,
    for_people: impl Read + 'static,
    mapping: &Mapping,
) -> Result<Box<dyn Reader>, String> {
    let groups = Groups::read(Ldif::new(for_groups))?;
    Ok(Box::new(Ldap::new(Ldif::new(for_people), groups, mapping)))
}

impl Ldap {
    fn new(entries: Ldif, groups: Groups, mapping: &Mapping) -> Self {
        let nested = (0..groups.nested).map(|_| Entry::LeftOut("group within a group".to_owned()));
        let pending = nested.collect();
        let fields = ["username", "sub", "disabled", "group", "created_at", "last_login_at"];
        let named =
            fields.iter().filter_map(|field| Some((*field, mapping.column(field)?.to_owned())));
        Self { entries, groups, pending, named: named.collect(), without_id: 0 }
    }

    /// What the mapping calls a column.
    fn named(&self, field: &str) -> Option<&str> {
        self.named.iter().find(|(own, _)| *own == field).map(|(_, name)| name.as_str())
    }

    fn entry(&mut self, found: Found) -> Entry {
        let (line, entry) = match found.entry {
            Ok(entry) => (found.line, entry),
            Err(problem) => {
                return Entry::User(Record::of_line(
                    found.line,
                    Err(problem),
                    Source::Json(found.text),
                ));
            }
        };
        let place = Place::Named(format!("line {line}, {}", shown(&entry.dn)));
        let attributes = Attributes(entry.attributes);
        if attributes.has("userPassword") {
            return self.user(place, &entry.dn, attributes);
        }
        Entry::LeftOut(attributes.what_it_is())
    }

    fn user(&mut self, place: Place, dn: &str, mut attributes: Attributes) -> Entry {
        let mut values = Map::new();
        let bad_hash = self.password(&mut attributes, &mut values);
        let in_name = dn::first_name(dn);
        let uids = attributes.texts("uid");
        let number = attributes.texts("gidNumber").into_iter().next();
        let member_of = attributes.texts("memberOf");
        self.set(&mut values, "group", self.groups.of(dn, &uids, number.as_deref(), &member_of));
        let refused = attributes.is_locked();
        self.set(&mut values, "disabled", refused);
        let made = attributes.first(&["createTimestamp", "whenCreated"]);
        self.set(&mut values, "created_at", made);
        let used = attributes.first(&["authTimestamp", "pwdLastSuccess"]);
        self.set(&mut values, "last_login_at", used);
        let id = attributes.id();
        self.without_id += u64::from(id.is_none() && self.named("sub").is_none());
        self.set(&mut values, "sub", id);
        let name = self.named("username").map(str::to_owned);
        let name_attribute = name.clone().or_else(|| attributes.name_attribute());
        let mut problem = None;
        if let Some(attribute) = &name_attribute {
            match attributes.take_name(attribute, &in_name) {
                Ok(text) => {
                    values.insert(name.unwrap_or_else(|| "username".to_owned()), text.into())
                }
                Err(sentence) => {
                    problem = Some(sentence);
                    None
                }
            };
        }
        for silent in SILENT {
            attributes.remove(silent);
        }
        attributes.put_into(&mut values);
        let mut record = Record::of_values(String::new(), values);
        record.place = place;
        record.refused = refused;
        record.bad_hash = bad_hash;
        if let Some(sentence) = problem {
            record.values = Err(sentence);
        }
        Entry::User(record)
    }

    /// Sets a value, unless a mapping takes it from elsewhere.
    fn set(&self, values: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
        if self.named(field).is_none() {
            values.insert(field.to_owned(), value.into());
        }
    }

    /// The one value of `userPassword` that can be taken, or why there is not one.
    fn password(
        &mut self,
        attributes: &mut Attributes,
        values: &mut Map<String, Value>,
    ) -> Option<String> {
        let stored = attributes.remove("userPassword");
        let texts: Vec<&str> =
            stored.iter().filter_map(|value| std::str::from_utf8(value).ok()).collect();
        let mut taken = texts.iter().filter(|text| is_taken(text));
        let (first, second) = (taken.next(), taken.next());
        if second.is_some() {
            return Some(
                "is one of several in its userPassword that could be taken, and a user has one password here: leave \
                 the one that counts there"
                    .to_owned(),
            );
        }
        let Some(text) = first.or(texts.first()) else {
            return Some("is no text in UTF-8, so it is no hash of a known format".to_owned());
        };
        if first.is_none() && text.get(..6).is_some_and(|scheme| is(scheme, "{SASL}")) {
            return Some(
                "says that another program checks the password ({SASL}): this user needs a new password".to_owned(),
            );
        }
        if first.is_some() {
            let others = 1..stored.len();
            self.pending.extend(
                others.map(|_| Entry::LeftOut("further userPassword of a user".to_owned())),
            );
        }
        values.insert("password_hash".to_owned(), (*text).into());
        None
    }
}

impl Reader for Ldap {
    fn remark(&self) -> Option<String> {
        (self.without_id > 0).then(|| {
            format!(
                "{} users have no entryUUID, so each gets a new sub. If applications know them by it, export them with \
                 `slapcat`, or with `ldapsearch -LLL … '*' '+'`",
                self.without_id
            )
        })
    }
}

impl Iterator for Ldap {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.pending.pop_front() {
                return Some(Ok(entry));
            }
            let found = match self.entries.next_without(|name, _| names_members(name))? {
                Ok(found) => found,
                Err(problem) => return Some(Err(problem)),
            };
            match &found.entry {
                Ok(entry) if is_group(entry) => self.pending.extend(of_group(entry)),
                _ => return Some(Ok(self.entry(found))),
            }
        }
    }
}

/// What of a group has no place here: its members are read, and its name.
fn of_group(entry: &LdifEntry) -> Option<Entry> {
    let has_password = entry.attributes.iter().any(|(name, _)| is(name, "userPassword"));
    has_password.then(|| Entry::LeftOut("password of a group".to_owned()))
}

/// Whether a text is a hash of a format that is read here.
fn is_taken(text: &str) -> bool {
    PasswordHash::parse(&PasswordHash::adopt(text), u64::MAX).is_ok()
}

/// The name of an entry in a message, cut off where it is long.
fn shown(dn: &str) -> String {
    /// The most characters.
    const LENGTH_MAX: usize = 120;
    match dn.char_indices().nth(LENGTH_MAX) {
        None => dn.to_owned(),
        Some((end, _)) => format!("{}…", dn.get(..end).unwrap_or_default()),
    }
}

/// The attributes of an entry.
struct Attributes(Vec<(String, Vec<u8>)>);

impl Attributes {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| is(own, name))
    }

    /// Takes all values of an attribute away.
    fn remove(&mut self, name: &str) -> Vec<Vec<u8>> {
        self.0.extract_if(.., |(own, _)| is(own, name)).map(|(_, value)| value).collect()
    }

    /// The values of an attribute that are text.
    fn texts(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(own, _)| is(own, name));
        values.filter_map(|(_, value)| String::from_utf8(value.clone()).ok()).collect()
    }

    /// The first value of the first of these attributes that is there, which goes away.
    fn first(&mut self, names: &[&str]) -> Option<String> {
        let mut values = names.iter().filter_map(|name| self.texts(name).into_iter().next());
        let value = values.next();
        for name in names {
            self.remove(name);
        }
        value
    }

    /// What identifies the entry, whatever it is called. It stays what it is for as long as the entry is there.
    fn id(&mut self) -> Option<String> {
        let mut found = None;
        for name in IDS {
            let Some(value) = self.remove(name).into_iter().next() else { continue };
            let text =
                if is(name, "objectGUID") { guid(&value) } else { String::from_utf8(value).ok() };
            found = found.or(text);
        }
        found
    }

    fn name_attribute(&self) -> Option<String> {
        NAMES.iter().find(|name| self.has(name)).map(|name| (*name).to_owned())
    }

    /// Takes the name away. Of several, that counts which is in the name of the entry.
    fn take_name(
        &mut self,
        attribute: &str,
        in_name: &[(String, String)],
    ) -> Result<String, String> {
        let names = self.texts(attribute);
        let is_in_name = |name: &&String| {
            in_name
                .iter()
                .any(|(own, value)| is(own, attribute) && value.eq_ignore_ascii_case(name))
        };
        let name = match &names[..] {
            [name] => name.clone(),
            [] => return Err(format!("it has no {attribute} that is a text")),
            _ => names.iter().find(is_in_name).cloned().ok_or_else(|| {
                format!("it has several values of {attribute}, and none of them is in its dn: nobody knows which counts")
            })?,
        };
        let others: Vec<Vec<u8>> =
            self.remove(attribute).into_iter().filter(|value| *value != name.as_bytes()).collect();
        self.0.extend(others.into_iter().map(|value| (format!("further {attribute}"), value)));
        Ok(name)
    }

    /// Whether the directory refuses logins.
    fn is_locked(&mut self) -> bool {
        let mut locked = false;
        for name in LOCKS {
            let values = self.remove(name);
            locked |= values
                .iter()
                .any(|value| !value.eq_ignore_ascii_case(b"FALSE") && !value.is_empty());
        }
        let control =
            self.first(&["userAccountControl"]).and_then(|text| text.trim().parse::<u64>().ok());
        locked | control.is_some_and(|bits| bits & ACCOUNT_DISABLED != 0)
    }

    /// Puts what is left into the values of a user.
    fn put_into(self, values: &mut Map<String, Value>) {
        for (name, value) in self.0 {
            let value = String::from_utf8(value).map_or(Value::Bool(true), Value::String);
            match values.get_mut(&name) {
                None => {
                    values.insert(name, value);
                }
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
    }

    /// What a report calls an entry that is neither a user nor a group.
    fn what_it_is(&self) -> String {
        let class = |name| self.texts(name).pop();
        let class = class("structuralObjectClass").or_else(|| class("objectClass"));
        let is_name = |class: &String| {
            class.len() < 64
                && class
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet))
        };
        match class.filter(is_name) {
            Some(class) => format!("entry of the class {class} without a password"),
            None => "entry without a password".to_owned(),
        }
    }
}

/// A GUID as Windows writes it: the first three numbers have their last octet first.
fn guid(octets: &[u8]) -> Option<String> {
    /// Which octet stands where, with what stands between.
    const ORDER: [(&str, usize); 16] = [
        ("", 3),
        ("", 2),
        ("", 1),
        ("", 0),
        ("-", 5),
        ("", 4),
        ("-", 7),
        ("", 6),
        ("-", 8),
        ("", 9),
        ("-", 10),
        ("", 11),
        ("", 12),
        ("", 13),
        ("", 14),
        ("", 15),
    ];
    let octets = <[u8; 16]>::try_from(octets).ok()?;
    let mut text = String::new();
    for (between, at) in ORDER {
        write!(text, "{between}{:02x}", octets.get(at)?).ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests;
