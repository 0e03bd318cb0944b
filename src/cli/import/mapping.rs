//! What the names of a source are here: the file of `jeton import --mapping`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::Failure;
use super::columns::Column;
use super::entry::FoundClient;
use super::names::Names;
use super::record::{Kind, Problem, ReadUser};
use jeton_oauth::client::Audience;
use jeton_oauth::{Invalid, Scope};

/// What a source calls an audience of a client that its tokens have there beside the first.
pub(super) const FURTHER_AUDIENCE: &str = "further audience ";

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
    pub(super) tables: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    /// Groups to roles.
    groups: BTreeMap<String, String>,
    /// Roles and groups of the source to the scope that their users may have.
    scopes: BTreeMap<String, String>,
    clients: BTreeMap<String, String>,
    /// The audiences of single clients, whatever the source says; the first is the default.
    client_audiences: BTreeMap<String, Vec<Audience>>,
    /// The audiences whose tokens single clients may introspect, whatever the source says.
    introspects: BTreeMap<String, BTreeSet<Audience>>,
    /// Scope tokens of clients.
    client_scopes: BTreeMap<String, String>,
}

/// A table of the source that has another name than usual: `--table auth_user=accounts_user`.
#[derive(Clone, Debug)]
pub(super) struct NamedTable {
    usual: String,
    name: String,
}

impl FromStr for NamedTable {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once('=') {
            Some((usual, name)) if !usual.is_empty() && !name.is_empty() => {
                Ok(Self { usual: usual.to_owned(), name: name.to_owned() })
            }
            _ => Err(Invalid::new("write it as NAME=TABLE, as auth_user=accounts_user")),
        }
    }
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
        let mapping: Self = toml::from_str(&text).map_err(|error| {
            let begin = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let (line, problem) = (begin.matches('\n').count() + 1, error.message());
            wrong(&format!("line {line}: {}", problem.replace('\n', ", ")))
        })?;
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

    /// Takes the names of tables that were given otherwise.
    pub(super) fn add_tables(&mut self, tables: Vec<NamedTable>) {
        self.tables.extend(tables.into_iter().map(|table| (table.usual, table.name)));
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
        let introspects = self.introspects.get(&client.id);
        if introspects.is_some_and(|audiences| !audiences.is_empty()) {
            client.unused = None;
        }
        if let Ok(settings) = &mut client.settings {
            if let Some(audiences) = introspects {
                settings.introspects.clone_from(audiences);
                settings.introspects_username = !audiences.is_empty();
            }
            if let Some(audiences) = self.client_audiences.get(&client.id)
                && !settings.grants.is_empty()
            {
                client.audiences = audiences.iter().map(ToString::to_string).collect();
                client.left_out.retain(|name| !name.starts_with(FURTHER_AUDIENCE));
            }
        }
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

    /// What the mapping names and a source has not.
    pub(super) fn unmet(&self, names: &Names) -> Option<String> {
        let roles = self.roles.keys().filter(|name| !names.has_role(name));
        let groups = self.groups.keys().filter(|name| !names.has_group(name));
        let both = self
            .scopes
            .keys()
            .filter(|name| *name != EVERYBODY && !names.has_role(name) && !names.has_group(name));
        let clients = self.clients.keys().chain(self.client_audiences.keys());
        let clients = clients.chain(self.introspects.keys()).filter(|id| !names.has_client(id));
        let unmet: BTreeSet<&str> =
            roles.chain(groups).chain(both).chain(clients).map(String::as_str).collect();
        let unmet: Vec<String> = unmet.into_iter().map(|name| format!("{name:?}")).collect();
        (!unmet.is_empty()).then(|| {
            format!(
                "The mapping names what no user or client of the source has, so it says nothing: {}",
                unmet.join(", ")
            )
        })
    }
}
