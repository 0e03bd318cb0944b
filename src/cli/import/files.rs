//! Files of users and clients in Jeton's own forms: CSV, JSON Lines and JSON lists.

use std::path::Path;

use super::Failure;
use super::entry::{Entry, FoundClient, Reader, Record};
use super::lines::Records;
use super::open::Progress;
use crate::cli::client_file;
use serde_json::Value;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Form {
    Csv,
    JsonLines,
    JsonList,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::JsonLines => "JSON Lines",
            Self::JsonList => "a JSON list",
        }
    }
}

/// A file that is read.
#[derive(Debug)]
pub(in crate::cli) struct Files {
    source: String,
    records: Records,
}

impl Files {
    /// Opens a file, or standard input.
    pub(in crate::cli) fn open(path: &Path, progress: &mut Progress) -> Result<Self, Failure> {
        let source = path.display().to_string();
        let records = Records::new(progress.open(path)?);
        let records = records.map_err(|problem| format!("{source}: {problem}"))?;
        Ok(Self { source, records })
    }

    /// Sees that it has this form.
    pub(in crate::cli) fn require(&self, wanted: Form) -> Result<(), Failure> {
        let form = match &self.records {
            Records::Csv { .. } => Form::Csv,
            Records::JsonLines { .. } => Form::JsonLines,
            Records::JsonList(_) => Form::JsonList,
        };
        if form == wanted {
            return Ok(());
        }
        let (source, is, wanted) = (&self.source, form.name(), wanted.name());
        Err(Failure::failed(format!(
            "{source}: it is {is}, and not {wanted}: name the kind that it is"
        )))
    }
}

impl Reader for Files {
    fn header(&self) -> Option<&[String]> {
        self.records.header()
    }

    fn otherwise(&self) -> Option<&str> {
        self.records.otherwise()
    }

    fn may_be_empty(&self) -> bool {
        true
    }

    fn remark(&self) -> Option<String> {
        self.records.remark()
    }
}

impl Iterator for Files {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.records.next()?.map(|record| match &record.values {
            Ok(values) if values.contains_key("client_id") => {
                Entry::Client(Box::new(read_client(record)))
            }
            _ => Entry::User(record),
        }))
    }
}

/// Reads a client as `jeton client export` writes it. What its secrets cost to verify is judged later.
fn read_client(record: Record) -> FoundClient {
    let mut values = record.values.unwrap_or_default();
    // A file of lines that were left out says why.
    values.remove("problem");
    let id = values.get("client_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    match client_file::read(values, u64::MAX) {
        Ok(client) => FoundClient::of_imported(record.place, client),
        Err(problem) => FoundClient {
            place: record.place,
            id,
            settings: Err(format!("it {problem}")),
            ..FoundClient::default()
        },
    }
}
