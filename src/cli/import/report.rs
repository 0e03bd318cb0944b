//! What came of an import, as it is printed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::Place;
use super::record::Kind;
use super::{Failure, output};
use crate::cli::listing;

/// What came of an import.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) dry_run: bool,
    /// Users of the source.
    pub(super) lines: u64,
    /// Users by the format and cost of their hashes.
    pub(super) formats: BTreeMap<String, u64>,
    /// New users.
    pub(super) added: u64,
    /// Users who were there, had not logged in and came with another hash.
    pub(super) updated: u64,
    /// Users who were there already, as the source has them or changed since.
    pub(super) unchanged: u64,
    /// Hashes that were wrapped.
    pub(super) wrapped: u64,
    /// Whether all hashes are sealed under a data key (`jeton user seal`).
    pub(super) sealed: bool,
    /// Authenticators of new users.
    pub(super) authenticators: u64,
    /// New clients.
    pub(super) clients_added: u64,
    /// Clients that were there already, and stay as they are.
    pub(super) clients_unchanged: u64,
    /// What the source has and Jeton has not, by name, and how often.
    pub(super) not_taken: BTreeMap<String, u64>,
    pub(super) problems: Vec<BadEntry>,
    #[serde(skip)]
    pub(super) kinds: BTreeMap<Kind, u64>,
}

/// An entry that cannot be taken.
#[derive(Debug, Serialize)]
pub(super) struct BadEntry {
    #[serde(rename = "line")]
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) problem: String,
}

impl Report {
    /// Counts something that the source has and Jeton has not.
    pub(super) fn not_taken(&mut self, name: String) {
        *self.not_taken.entry(name).or_default() += 1;
    }

    /// How many entries cannot be taken.
    pub(super) fn bad(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Why nothing was imported, or would be, and what to do.
    pub(super) fn refusal(&self) -> Failure {
        let bad = self.bad();
        let bad_lines = if bad == 1 { "1 line".to_owned() } else { format!("{bad} lines") };
        let them = match self.kinds.get(&Kind::Unmapped) {
            None => "them",
            Some(_) => "them or the mapping",
        };
        Failure::failed(if self.dry_run {
            format!("{bad_lines} cannot be taken: mend {them}, or import with --skip-bad FILE")
        } else {
            format!(
                "{bad_lines} cannot be taken, so nothing was imported: mend {them}, or leave them out \
                 with --skip-bad FILE"
            )
        })
    }

    pub(super) fn print(&self, json: bool, refused: bool) {
        if json {
            return output::json(self);
        }
        table(["FORMAT", "USERS"], self.formats.iter());
        table(["PROBLEM", "LINES"], self.kinds.iter());
        table(["NOT TAKEN", "HOW OFTEN"], self.not_taken.iter());
        if !refused {
            self.print_sum();
        }
    }

    fn print_sum(&self) {
        let Self { lines, added, updated, unchanged, wrapped, .. } = self;
        let would = if self.dry_run { "would be " } else { "" };
        let (new, old) = (self.clients_added, self.clients_unchanged);
        let clients = if new + old > 0 {
            format!(" Of {} clients: {new} {would}added, {old} were there already.", new + old)
        } else {
            String::new()
        };
        output::line(&format!(
            "Of {lines} lines: {added} {would}added, {updated} {would}given another hash, \
             {unchanged} were there already; hashes {would}wrapped: {wrapped}.{clients}{}{}",
            if self.sealed { " All hashes are sealed here, weak ones among them." } else { "" },
            if self.dry_run { " Nothing was stored: this was a dry run." } else { "" },
        ));
    }
}

/// Prints how often what was found, and nothing if nothing was, but for formats.
fn table<'a, N: ToString + 'a>(
    head: [&'static str; 2],
    rows: impl Iterator<Item = (&'a N, &'a u64)>,
) {
    let rows: Vec<_> = rows.map(|(name, count)| [name.to_string(), count.to_string()]).collect();
    if !rows.is_empty() || head[0] == "FORMAT" {
        listing::table(head, &rows);
        output::line("");
    }
}
