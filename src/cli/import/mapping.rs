//! What the names of a source are here: the file of `jeton import --mapping`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Deserialize;

use super::Failure;
use super::columns::Column;
use super::entry::FoundClient;
use super::record::{Kind, Problem, ReadUser};
use jeton_oauth::Scope;
use jeton_oauth::client::Audience;

/// In `[scopes]`: what every user may have.
const EVERYBODY: &str = "*";

/// The file. On the left are names of the source, on the right those that they have here; an empty text leaves out
/// what stands on the left. What is not named keeps its name, but for groups, which are left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// The audiences of clients to which the source gives none; the first is the default.
    audiences: Vec<Audience>,
    /// The scope of clients to which the source gives none.
    scope: Option<Scope>,
    /// What of that scope they get if they ask for none; all of it if this is absent.
    default_scope: Option<Scope>,
    /// The role of users whose e-mail address is verified.
    email_verified_role: Option<String>,
    /// Members of users by the columns of a file of users: `username = "email"`.
    columns: BTreeMap<String, String>,
    /// Tables of the source's database by their usual names.
    tables: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    /// Groups to roles.
    groups: BTreeMap<String, String>,
    /// Roles and groups of the source to the scope that their users may have.
    scopes: BTreeMap<String, String>,
    clients: BTreeMap<String, String>,
    /// Scope tokens of clients.
    client_scopes: BTreeMap<String, String>,
}

impl Mapping {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that says where it is wrong.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!(
                "cannot read {} (--mapping): {error}; --dry-run writes a first one there",
                path.display()
            )
        })?;
        let wrong = |problem: &dyn std::fmt::Display| {
            Failure::failed(format!("{} (--mapping): {problem}", path.display()))
        };
        let mapping: Self =
            toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
        for scope in mapping.scopes.values().filter(|scope| !scope.is_empty()) {
            Scope::try_from(scope.clone()).map_err(|error| wrong(&error))?;
        }
        mapping.columns().map_err(|error| wrong(&error))?;
        Ok(mapping)
    }

    /// The columns that are not called as Jeton calls them.
    ///
    /// # Errors
    /// A sentence: something in `[columns]` is no column.
    pub fn columns(&self) -> Result<Vec<Column>, String> {
        let column = |(field, name): (&String, &String)| {
            format!("{field}={name}").parse().map_err(|error| format!("[columns]: {error}"))
        };
        self.columns.iter().map(column).collect()
    }

    /// The member of users that a column is taken from, if it says so.
    #[must_use]
    pub fn column(&self, field: &str) -> Option<&str> {
        self.columns.get(field).map(|name| name.strip_prefix('!').unwrap_or(name))
    }

    /// What a table of the source is called there.
    #[must_use]
    pub fn table<'a>(&'a self, usual: &'a str) -> &'a str {
        self.tables.get(usual).map_or(usual, String::as_str)
    }

    /// Gives a user the names of here, and counts in `left_out` what has none.
    ///
    /// # Errors
    /// [`Problem`] if the user would get more than anything in the source says.
    pub(super) fn apply_to_user(
        &self,
        read: &mut ReadUser,
        mut left_out: impl FnMut(String),
    ) -> Result<(), Problem> {
        let roles = std::mem::take(&mut read.user.roles);
        let groups = std::mem::take(&mut read.groups);
        let mut new: Vec<&str> = Vec::new();
        for role in &roles {
            new.push(self.roles.get(role).unwrap_or(role));
        }
        for group in &groups {
            match self.groups.get(group) {
                Some(role) => new.push(role),
                None if self.scopes.contains_key(group) => {}
                None => left_out("group".to_owned()),
            }
        }
        if read.email_verified {
            match &self.email_verified_role {
                Some(role) => new.push(role),
                None => left_out("email_verified".to_owned()),
            }
        }
        let mut seen = BTreeSet::new();
        new.retain(|role| !role.is_empty() && seen.insert(*role));
        read.user.roles = new.into_iter().map(str::to_owned).collect();
        if self.scopes.is_empty() {
            return Ok(());
        }
        let names = roles.iter().chain(&groups).map(String::as_str).chain([EVERYBODY]);
        let scopes = names.filter_map(|name| self.scopes.get(name));
        let scopes = scopes.filter(|scope| !scope.is_empty());
        let scopes = scopes.filter_map(|scope| Scope::try_from(scope.clone()).ok());
        let scope =
            scopes.fold(read.user.scope.take().unwrap_or_default(), |all, scope| all.union(&scope));
        if scope.is_empty() {
            // A user without a scope would be limited by nothing but the client.
            return Err(Problem::new(
                Kind::Unmapped,
                "none of its roles and groups is in [scopes] of the mapping: add one of them, or \"*\" for what \
                 everybody may have",
            ));
        }
        read.user.scope = Some(scope);
        Ok(())
    }

    /// Gives a client the names of here; `false` if it is to be left out.
    pub(super) fn apply_to_client(&self, client: &mut FoundClient) -> bool {
        if let Some(id) = self.clients.get(&client.id) {
            client.id.clone_from(id);
        }
        for scope in [&mut client.scope, &mut client.default_scope] {
            for token in scope.iter_mut() {
                if let Some(other) = self.client_scopes.get(token) {
                    token.clone_from(other);
                }
            }
            let mut seen = BTreeSet::new();
            scope.retain(|token| !token.is_empty() && seen.insert(token.clone()));
        }
        let logs_in = client.settings.as_ref().is_ok_and(|settings| !settings.grants.is_empty());
        if logs_in && client.scope.is_empty() {
            let tokens = |scope: &Option<Scope>| -> Vec<String> {
                scope.iter().flat_map(Scope::tokens).map(str::to_owned).collect()
            };
            client.scope = tokens(&self.scope);
            client.default_scope = tokens(&self.default_scope.clone().or(self.scope.clone()));
        }
        if logs_in && client.audiences.is_empty() {
            client.audiences = self.audiences.iter().map(ToString::to_string).collect();
        }
        !client.id.is_empty()
    }
}

/// The names that a source has, from which a first mapping is written.
#[derive(Debug, Default)]
pub(super) struct Names {
    roles: BTreeSet<String>,
    groups: BTreeSet<String>,
    clients: BTreeSet<String>,
    client_scopes: BTreeSet<String>,
    members: BTreeSet<String>,
}

impl Names {
    /// Notes the names that a user has.
    pub(super) fn of_user(&mut self, read: &ReadUser) {
        note(&mut self.roles, &read.user.roles);
        note(&mut self.groups, &read.groups);
    }

    /// Notes members of users that no column is named after.
    pub(super) fn of_members<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) {
        note(&mut self.members, names);
    }

    /// Notes the names that a client has.
    pub(super) fn of_client(&mut self, client: &FoundClient) {
        note(&mut self.clients, [&client.id]);
        note(&mut self.client_scopes, client.scope.iter().chain(&client.default_scope));
    }

    /// Writes a first mapping, which changes nothing until somebody edits it.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(self.text().as_bytes())).map_err(|error| {
            Failure::failed(format!(
                "cannot make {} (--mapping) as a new file: {error}",
                path.display()
            ))
        })
    }

    fn text(&self) -> String {
        let mut text = "\
# Names of the source on the left, their names in Jeton on the right; \"\" leaves out what stands on the left.
# What is not named here keeps its name, but for groups, which are left out.

# The audiences (`aud`) of clients to which the source gives none; the first is the default.
audiences = []
# The scope of clients to which the source gives none, and what of it they get if they ask for none.
# scope = \"read write\"
# default_scope = \"read\"
# The role of users whose e-mail address is verified.
# email_verified_role = \"email-verified\"

# What a user is called by: a column of Jeton on the left, a member of the source's users on the right.
[columns]
# username = \"email\"
"
        .to_owned();
        if !self.members.is_empty() {
            let members: Vec<&str> = self.members.iter().map(String::as_str).collect();
            writeln!(text, "# Members that no column is named after: {}", quoted(&members)).ok();
        }
        section(&mut text, "roles", "Roles.", &self.roles, |role| role);
        section(&mut text, "groups", "Groups to roles.", &self.groups, |_| "");
        text += "
# Roles and groups to the scope that users with them may have, and no more. \"*\" is everybody. Without any line, only the
# client limits what a user may have.
[scopes]
# admin = \"read write\"
";
        section(&mut text, "clients", "Clients.", &self.clients, |client| client);
        section(
            &mut text,
            "client_scopes",
            "Scope tokens that clients may ask for.",
            &self.client_scopes,
            |token| token,
        );
        text
    }
}

fn note<'a>(names: &mut BTreeSet<String>, of: impl IntoIterator<Item = &'a String>) {
    /// A source with more names than this is not mapped by hand.
    const NAMES_MAX: usize = 10_000;
    for name in of {
        if names.len() < NAMES_MAX && !names.contains(name) {
            names.insert(name.clone());
        }
    }
}

fn section(
    text: &mut String,
    name: &str,
    comment: &str,
    names: &BTreeSet<String>,
    to: impl Fn(&str) -> &str,
) {
    write!(text, "\n# {comment}\n[{name}]\n").ok();
    for name in names {
        writeln!(text, "{} = {}", quoted(&[name]), quoted(&[to(name)])).ok();
    }
}

/// Texts as TOML writes them, with commas between.
fn quoted(texts: &[&str]) -> String {
    let quoted = texts.iter().map(|text| toml::Value::from(*text).to_string());
    quoted.collect::<Vec<_>>().join(", ")
}
