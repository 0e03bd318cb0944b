//! The groups of a directory, which stand behind their members in a file, so that it is read twice.

use super::dn::normal;
use super::ldif::{Ldif, LdifEntry, is};
use crate::cli::import::digests::Members;

/// The object classes of groups.
const CLASSES: [&str; 6] = [
    "group",
    "groupOfMembers",
    "groupOfNames",
    "groupOfUniqueNames",
    "posixGroup",
    "univentionGroup",
];

/// Who is in which group.
#[derive(Debug)]
pub(super) struct Groups {
    names: Vec<String>,
    members: Members,
    /// How many groups are members of others, which means nothing to most directories.
    pub(super) nested: u64,
}

/// By what somebody is called in a group.
#[derive(Hash)]
enum By<'a> {
    /// `member`, `uniqueMember`: the distinguished name in its one spelling.
    Dn(&'a str),
    /// `memberUid`
    Uid(String),
    /// `gidNumber`: the first group of a POSIX account.
    Number(&'a str),
}

impl Groups {
    /// Reads the groups of a file. What cannot be read is told when users are read.
    ///
    /// # Errors
    /// A sentence: the file cannot be read.
    pub(super) fn read(entries: Ldif) -> Result<Self, String> {
        let mut groups = Self { names: Vec::new(), members: Members::new(), nested: 0 };
        for found in entries {
            if let Ok(entry) = found?.entry
                && is_group(&entry)
            {
                groups.add(&entry)?;
            }
        }
        groups.members.end();
        let is_nested = |name: &&String| groups.members.of(By::Dn(name)).next().is_some();
        groups.nested = groups.names.iter().filter(is_nested).count() as u64;
        Ok(groups)
    }

    fn add(&mut self, entry: &LdifEntry) -> Result<(), String> {
        let number = u32::try_from(self.names.len()).map_err(|_| "it has too many groups")?;
        self.names.push(normal(&entry.dn));
        for (name, value) in &entry.attributes {
            let Ok(value) = std::str::from_utf8(value) else { continue };
            if is(name, "member") || is(name, "uniqueMember") {
                self.members.add(By::Dn(&normal(value)), number);
            } else if is(name, "memberUid") {
                self.members.add(By::Uid(value.to_lowercase()), number);
            } else if is(name, "gidNumber") {
                self.members.add(By::Number(value.trim()), number);
            }
        }
        Ok(())
    }

    /// The groups of an entry, by their names in the one spelling; `member_of` are those that it names itself.
    pub(super) fn of(
        &self,
        dn: &str,
        uids: &[String],
        number: Option<&str>,
        member_of: &[String],
    ) -> Vec<String> {
        let dn = normal(dn);
        let mut keys = vec![By::Dn(&dn)];
        keys.extend(uids.iter().map(|uid| By::Uid(uid.to_lowercase())));
        keys.extend(number.map(|number| By::Number(number.trim())));
        let numbers = keys.iter().flat_map(|key| self.members.of(key));
        let of_file =
            numbers.filter_map(|number| self.names.get(usize::try_from(number).ok()?).cloned());
        let mut names: Vec<String> = of_file.chain(member_of.iter().map(|dn| normal(dn))).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Whether an entry is a group.
pub(super) fn is_group(entry: &LdifEntry) -> bool {
    let classes = entry.attributes.iter().filter(|(name, _)| is(name, "objectClass"));
    let mut classes = classes.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    classes.any(|class| CLASSES.iter().any(|group| is(class, group)))
}
