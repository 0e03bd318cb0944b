//! The groups of a directory, which stand behind their members in a file, so that it is read twice.

use std::hash::{BuildHasher, RandomState};

use super::dn::normal;
use super::ldif::{Ldif, LdifEntry, is};

/// The object classes of groups.
const CLASSES: [&str; 6] = [
    "group",
    "groupOfMembers",
    "groupOfNames",
    "groupOfUniqueNames",
    "posixGroup",
    "univentionGroup",
];

/// Who is in which group. A membership takes 32 octets of memory: the member is kept as a keyed digest.
#[derive(Debug)]
pub(super) struct Groups {
    names: Vec<String>,
    /// In ascending order, once all are read.
    members: Vec<(u128, u32)>,
    keys: [RandomState; 2],
    /// How many groups are members of others, which means nothing to most directories.
    pub(super) nested: u64,
}

/// By what somebody is called in a group.
#[derive(Clone, Copy)]
enum By<'a> {
    /// `member`, `uniqueMember`: the distinguished name.
    Dn(&'a str),
    /// `memberUid`
    Uid(&'a str),
    /// `gidNumber`: the first group of a POSIX account.
    Number(&'a str),
}

impl Groups {
    /// Reads the groups of a file. What cannot be read is told when users are read.
    ///
    /// # Errors
    /// A sentence: the file cannot be read.
    pub(super) fn read(entries: Ldif) -> Result<Self, String> {
        let keys = [RandomState::new(), RandomState::new()];
        let mut groups = Self { names: Vec::new(), members: Vec::new(), keys, nested: 0 };
        for found in entries {
            if let Ok(entry) = found?.entry
                && is_group(&entry)
            {
                groups.add(&entry)?;
            }
        }
        groups.members.sort_unstable();
        groups.members.dedup();
        let nested = groups
            .names
            .iter()
            .filter(|name| groups.of_key(groups.digest(0, name)).next().is_some());
        groups.nested = nested.count() as u64;
        Ok(groups)
    }

    fn add(&mut self, entry: &LdifEntry) -> Result<(), String> {
        let number =
            u32::try_from(self.names.len()).map_err(|_| "it has too many groups".to_owned())?;
        self.names.push(normal(&entry.dn));
        for (name, value) in &entry.attributes {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let by = if is(name, "member") || is(name, "uniqueMember") {
                By::Dn(value)
            } else if is(name, "memberUid") {
                By::Uid(value)
            } else if is(name, "gidNumber") {
                By::Number(value)
            } else {
                continue;
            };
            self.members.push((self.key(by), number));
        }
        Ok(())
    }

    /// The groups of an entry, by their names in the one spelling; `member_of` are those that it names itself.
    pub(super) fn of<'a>(
        &'a self,
        dn: &str,
        uids: &[String],
        number: Option<&str>,
        member_of: &[String],
    ) -> Vec<String> {
        let mut keys = vec![self.key(By::Dn(dn))];
        keys.extend(uids.iter().map(|uid| self.key(By::Uid(uid))));
        keys.extend(number.map(|number| self.key(By::Number(number))));
        let of_file = keys.into_iter().flat_map(|key| self.of_key(key)).map(str::to_owned);
        let mut names: Vec<String> = of_file.chain(member_of.iter().map(|dn| normal(dn))).collect();
        names.sort();
        names.dedup();
        names
    }

    fn of_key(&self, key: u128) -> impl Iterator<Item = &str> {
        let begin = self.members.partition_point(|(other, _)| *other < key);
        let same = self.members.get(begin..).unwrap_or_default().iter();
        let numbers = same.take_while(move |(other, _)| *other == key).map(|(_, number)| *number);
        numbers
            .filter_map(|number| self.names.get(usize::try_from(number).ok()?).map(String::as_str))
    }

    fn key(&self, by: By<'_>) -> u128 {
        match by {
            By::Dn(dn) => self.digest(0, &normal(dn)),
            By::Uid(uid) => self.digest(1, &uid.to_lowercase()),
            By::Number(number) => self.digest(2, number.trim()),
        }
    }

    /// 128 bits under keys of this process, so that nobody can make two members alike.
    fn digest(&self, kind: u8, text: &str) -> u128 {
        let [one, other] = &self.keys;
        u128::from(one.hash_one((kind, text))) << 64 | u128::from(other.hash_one((kind, text)))
    }
}

/// Whether an entry is a group.
pub(super) fn is_group(entry: &LdifEntry) -> bool {
    let classes = entry.attributes.iter().filter(|(name, _)| is(name, "objectClass"));
    let mut classes = classes.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    classes.any(|class| CLASSES.iter().any(|group| is(class, group)))
}
