//! The users of ASP.NET Identity: its tables `AspNetUsers`, `AspNetRoles`, `AspNetUserRoles` and `AspNetUserTokens`.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use serde_json::Value;

use super::Failure;
use super::digests::{Digests, Members};
use super::entry::{Entry, Reader, Record};
use super::lines::Records;
use super::mapping::Mapping;
use super::open::Progress;
use super::tables::{Row, Rows, TableReader, Tables, all, rows_of, text_of};
use super::time::read_time;
use jeton_oauth::{Secret, Timestamp};
use jeton_runtime::clock::Clock;

/// What says nothing beside what is read.
const SILENT: [&str; 7] = [
    "AccessFailedCount",
    "ConcurrencyStamp",
    "Discriminator",
    "LockoutEnabled",
    "NormalizedEmail",
    "NormalizedUserName",
    "SecurityStamp",
];
/// Tables of which nothing has a place here.
const OTHER_TABLES: [&str; 3] = ["AspNetRoleClaims", "AspNetUserClaims", "AspNetUserLogins"];
/// The store that Identity keeps secrets of authenticators in, and their name there.
const AUTHENTICATOR: [&str; 2] = ["[AspNetUserStore]", "AuthenticatorKey"];

/// Opens the database, a folder with its tables, or a file with its users.
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
    for table in OTHER_TABLES {
        if tables.has_rows(table, progress)? {
            before.push_back(Entry::LeftOut(format!("table {table}")));
        }
    }
    let roles = Roles::read(&tables, &mut before, progress)?;
    let keys = Authenticators::read(&tables, &mut before, progress)?;
    let users = tables.users("AspNetUsers", &["Id", "UserName", "PasswordHash"], progress)?;
    Ok(reader(before, users, roles, keys))
}

/// Reads users alone, from a file.
///
/// # Errors
/// A sentence: it cannot be read.
pub fn read(file: impl Read + 'static) -> Result<Box<dyn Reader>, String> {
    let users = rows_of(Records::new(file)?, "AspNetUsers".to_owned());
    let roles = Roles { names: Vec::new(), members: Members::new() };
    let keys = Authenticators { digests: Digests::new(), secrets: BTreeMap::new() };
    Ok(reader(VecDeque::new(), users, roles, keys))
}

fn reader(
    before: VecDeque<Entry>,
    users: Rows,
    roles: Roles,
    keys: Authenticators,
) -> Box<dyn Reader> {
    let now = Clock::System.now();
    let entry = Box::new(move |row, _: &mut VecDeque<Entry>| user(row, &roles, &keys, now));
    Box::new(TableReader { before, users, entry })
}

/// The roles of users.
struct Roles {
    names: Vec<String>,
    members: Members,
}

impl Roles {
    fn read(
        tables: &Tables<'_>,
        before: &mut VecDeque<Entry>,
        progress: &mut Progress,
    ) -> Result<Self, Failure> {
        let (mut names, mut numbers) = (Vec::new(), BTreeMap::new());
        let table = ("AspNetRoles", "roles");
        for mut row in all(tables.rows(table, &["Id", "Name"], before, progress)?)? {
            if let (Some(id), Some(name)) = (row.take_text("Id"), row.take_text("Name")) {
                let number = u32::try_from(names.len())
                    .map_err(|_| "there are too many roles".to_owned())?;
                numbers.insert(id, number);
                names.push(name);
            }
        }
        let mut members = Members::new();
        let table = ("AspNetUserRoles", "who has which role");
        for row in tables.rows(table, &["UserId", "RoleId"], before, progress)? {
            let mut row = row.map_err(Failure::failed)?;
            if let (Some(user), Some(role)) = (row.take_text("UserId"), row.take_text("RoleId"))
                && let Some(number) = numbers.get(&role)
            {
                members.add(user, *number);
            }
        }
        members.end();
        Ok(Self { names, members })
    }

    fn of(&self, user: &str) -> Vec<Value> {
        let numbers = self.members.of(user);
        let name = |number| self.names.get(usize::try_from(number).ok()?);
        numbers.filter_map(name).map(|name| Value::from(name.as_str())).collect()
    }
}

/// The secrets of authenticators, by a digest of their user.
struct Authenticators {
    digests: Digests,
    secrets: BTreeMap<u128, Secret>,
}

impl Authenticators {
    fn read(
        tables: &Tables<'_>,
        before: &mut VecDeque<Entry>,
        progress: &mut Progress,
    ) -> Result<Self, Failure> {
        let digests = Digests::new();
        let mut secrets = BTreeMap::new();
        let (table, columns) =
            (("AspNetUserTokens", "authenticators"), ["UserId", "LoginProvider", "Name", "Value"]);
        for row in tables.rows(table, &columns, before, progress)? {
            let mut row = row.map_err(Failure::failed)?;
            let kind =
                ["LoginProvider", "Name"].map(|name| row.take_text(name).unwrap_or_default());
            if kind == AUTHENTICATOR
                && let (Some(user), Some(secret)) =
                    (row.take_text("UserId"), row.take_text("Value"))
            {
                secrets.insert(digests.of(user), Secret::new(secret));
            }
        }
        Ok(Self { digests, secrets })
    }
}

fn user(mut row: Row, roles: &Roles, keys: &Authenticators, now: Timestamp) -> Entry {
    // SQL Server writes nothing as a word.
    row.values.retain(|_, value| value.as_str() != Some("NULL"));
    let Some(hash) = row.take("PasswordHash") else {
        return Entry::LeftOut("user without a password".to_owned());
    };
    row.set("password_hash", hash);
    let id = row.values.get("Id").and_then(text_of).unwrap_or_default();
    row.rename("Id", "sub");
    row.rename("UserName", "username");
    row.rename("EmailConfirmed", "email_verified");
    row.set("role", roles.of(&id));
    // The secret is there as soon as somebody has looked at the page that shows it.
    if row.take_truth("TwoFactorEnabled") {
        match keys.secrets.get(&keys.digests.of(&id)) {
            Some(secret) => row.set("otp", secret.expose()),
            None => row.set("TwoFactorEnabled", true),
        }
    }
    if !row.take_truth("PhoneNumberConfirmed") {
        row.values.remove("PhoneNumberConfirmed");
    }
    let locked = is_locked(&mut row, now);
    for name in SILENT {
        row.values.remove(name);
    }
    match locked {
        Ok(locked) => {
            row.set("disabled", locked);
            row.into_user()
        }
        Err(problem) => {
            let mut record = Record::of_values(row.place, row.values);
            record.values = Err(problem);
            Entry::User(record)
        }
    }
}

/// Whether somebody is locked out now. It is for good here: somebody has to look.
fn is_locked(row: &mut Row, now: Timestamp) -> Result<bool, String> {
    let enabled = !row.values.contains_key("LockoutEnabled") || row.take_truth("LockoutEnabled");
    // Identity 2 for the .NET Framework calls it so.
    let end = row.take("LockoutEnd").or_else(|| row.take("LockoutEndDateUtc"));
    let Some(end) = end.filter(|_| enabled) else { return Ok(false) };
    // .NET's last moment is after that of most calendars.
    if end.as_str().is_some_and(|text| text.contains("9999")) {
        return Ok(true);
    }
    let end = read_time(&end).map_err(|problem| format!("its \"LockoutEnd\" {problem}"))?;
    Ok(end > now)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    /// `UserManager.IsLockedOutAsync`: whoever is locked out until a moment that is to come, if lockouts count at all.
    #[test]
    fn whoever_is_locked_out_now_is_disabled() {
        let now = Timestamp(1_800_000_000);
        for (members, locked) in [
            (json!({}), Some(false)),
            (
                json!({"LockoutEnd": "9999-12-31 23:59:59.9999999 +00:00", "LockoutEnabled": "True"}),
                Some(true),
            ),
            (
                json!({"LockoutEnd": "9999-12-31 23:59:59.9999999 +00:00", "LockoutEnabled": "False"}),
                Some(false),
            ),
            (json!({"LockoutEnd": "2020-01-01 00:00:00 +00:00", "LockoutEnabled": 1}), Some(false)),
            (json!({"LockoutEnd": "2099-01-01T00:00:00+00:00"}), Some(true)),
            (
                json!({"LockoutEndDateUtc": "2099-01-01 00:00:00.000", "LockoutEnabled": 1}),
                Some(true),
            ),
            (json!({"LockoutEnd": "soon"}), None),
        ] {
            let values: Map<_, _> = members.as_object().expect("an object").clone();
            let mut row = Row::new(String::new(), values);
            assert_eq!(is_locked(&mut row, now).ok(), locked, "{members}");
        }
    }
}
