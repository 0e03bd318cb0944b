//! The names that a source has, from which a first mapping is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Failure;
use super::entry::FoundClient;
use super::record::ReadUser;

/// The most names of a kind: a source with more is not mapped by hand.
const NAMES_MAX: usize = 10_000;

/// The names that a source has.
#[derive(Debug, Default)]
pub(super) struct Names {
    roles: BTreeSet<String>,
    groups: BTreeSet<String>,
    clients: BTreeSet<String>,
    /// Clients to which the source gives several audiences.
    audiences: BTreeMap<String, Vec<String>>,
    /// What clients introspect as the source has it.
    introspects: BTreeMap<String, Vec<String>>,
    /// Clients with a secret that come only if they introspect.
    unused: BTreeSet<String>,
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
        if client.unused.is_some() {
            return note(&mut self.unused, [&client.id]);
        }
        note(&mut self.clients, [&client.id]);
        if client.audiences.len() > 1 && self.audiences.len() < NAMES_MAX {
            self.audiences.insert(client.id.clone(), client.audiences.clone());
        }
        let introspects = client.settings.as_ref().map(|settings| settings.introspects.iter());
        let introspects: Vec<String> =
            introspects.into_iter().flatten().map(ToString::to_string).collect();
        if !introspects.is_empty() && self.introspects.len() < NAMES_MAX {
            self.introspects.insert(client.id.clone(), introspects);
        }
        note(&mut self.client_scopes, client.scope.iter().chain(&client.default_scope));
    }

    /// Whether a user has a role; or there are too many to know.
    pub(super) fn has_role(&self, name: &str) -> bool {
        has(&self.roles, name)
    }

    /// Whether a user is in a group; or there are too many to know.
    pub(super) fn has_group(&self, name: &str) -> bool {
        has(&self.groups, name)
    }

    /// Whether there is a client; or there are too many to know.
    pub(super) fn has_client(&self, id: &str) -> bool {
        has(&self.clients, id) || has(&self.unused, id)
    }

    /// Writes a first mapping, which changes nothing until somebody edits it. `tables` are the names that were given.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub(super) fn write(
        &self,
        path: &Path,
        tables: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(self.text(tables).as_bytes())).map_err(|error| {
            Failure::failed(format!(
                "cannot make {} (--mapping) as a new file: {error}",
                path.display()
            ))
        })
    }

    fn text(&self, tables: &BTreeMap<String, String>) -> String {
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
        text += "
# The audiences of single clients, if not those that the source gives: the first is the default.
[client_audiences]
";
        for (client, audiences) in &self.audiences {
            writeln!(text, "# {} = {}", quoted(&[client]), list(audiences)).ok();
        }
        text += "
# The audiences whose tokens a client introspects. Clients that do nothing else come only if they are named here.
[introspects]
";
        for (client, audiences) in &self.introspects {
            writeln!(text, "{} = {}", quoted(&[client]), list(audiences)).ok();
        }
        for client in &self.unused {
            writeln!(text, "# {} = [\"https://api.example.com\"]", quoted(&[client])).ok();
        }
        section(
            &mut text,
            "client_scopes",
            "Scope tokens that clients may ask for.",
            &self.client_scopes,
            |token| token,
        );
        if !tables.is_empty() {
            text += "\n# Tables that have another name than usual.\n[tables]\n";
        }
        for (usual, name) in tables {
            writeln!(text, "{} = {}", quoted(&[usual]), quoted(&[name])).ok();
        }
        text
    }
}

fn note<'a>(names: &mut BTreeSet<String>, of: impl IntoIterator<Item = &'a String>) {
    for name in of {
        if names.len() < NAMES_MAX && !names.contains(name) {
            names.insert(name.clone());
        }
    }
}

fn has(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(name) || names.len() >= NAMES_MAX
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

/// A list of texts as TOML writes it.
fn list(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}
