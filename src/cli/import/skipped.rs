//! The lines that an import left out, in a file that can be mended and imported.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Failure;
use super::entry::{Record, Source};
use super::spreadsheet::{defused, hides_formula, to_cell};

/// The column that says why.
const PROBLEM: &str = "problem";

/// A file of lines that were left out, in the format that they had.
pub(super) struct Skipped {
    path: PathBuf,
    lines: Lines,
    /// Whether there is any.
    used: bool,
}

enum Lines {
    /// The problem stands in this column.
    Csv {
        writer: Box<csv::Writer<File>>,
        column: usize,
    },
    JsonLines(BufWriter<File>),
}

impl Skipped {
    /// Makes the file, which only its owner can read: hashes are in it.
    pub(super) fn create(path: &Path, header: Option<&[String]>) -> Result<Self, Failure> {
        if header.is_some_and(|header| header.iter().any(|name| hides_formula(name))) {
            return Err(Failure::failed(
                "a name in the header has a formula behind a semicolon or a bar, so --skip-bad cannot write a \
                 file that is safe in every spreadsheet: rename the column"
                    .to_owned(),
            ));
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| {
            format!("cannot make {} (--skip-bad) as a new file: {error}", path.display())
        })?;
        let path = path.to_owned();
        let Some(header) = header else {
            return Ok(Self { path, lines: Lines::JsonLines(BufWriter::new(file)), used: false });
        };
        // A file of skipped lines that was mended only in part has the column already.
        let column = header.iter().position(|name| name == PROBLEM).unwrap_or(header.len());
        let writer = Box::new(csv::WriterBuilder::new().flexible(true).from_writer(file));
        let mut skipped = Self { path, lines: Lines::Csv { writer, column }, used: false };
        let cells: Vec<String> = header.iter().map(|name| to_cell(name)).collect();
        skipped.write_csv(cells.iter().map(String::as_bytes), PROBLEM)?;
        Ok(skipped)
    }

    /// Writes a line and what is wrong with it; `false` if some program would find a formula in it.
    pub(super) fn write(&mut self, record: &Record, problem: &str) -> Result<bool, Failure> {
        let text = match &record.source {
            Source::Csv(fields) => {
                if fields.iter().any(|field| hides_formula(&String::from_utf8_lossy(field))) {
                    return Ok(false);
                }
                self.used = true;
                self.write_csv(fields.iter(), problem)?;
                return Ok(true);
            }
            Source::Json(text) => String::from_utf8_lossy(text),
        };
        let mut values = record.values.clone().unwrap_or_else(|_| {
            [("text".to_owned(), Value::from(text.trim_end()))].into_iter().collect()
        });
        values.insert(PROBLEM.to_owned(), problem.into());
        self.write_json(values).map(|()| true)
    }

    /// Writes a client, in the form that `jeton client export` has, and what is wrong with it.
    pub(super) fn write_client(
        &mut self,
        mut client: Map<String, Value>,
        problem: &str,
    ) -> Result<(), Failure> {
        client.insert(PROBLEM.to_owned(), problem.into());
        self.write_json(client)
    }

    fn write_json(&mut self, members: Map<String, Value>) -> Result<(), Failure> {
        self.used = true;
        let Lines::JsonLines(writer) = &mut self.lines else { return Ok(()) };
        let written = writeln!(writer, "{}", Value::Object(members));
        written.map_err(|error| self.failure(&error))
    }

    fn write_csv<'a>(
        &mut self,
        fields: impl Iterator<Item = &'a [u8]>,
        problem: &str,
    ) -> Result<(), Failure> {
        let Lines::Csv { writer, column } = &mut self.lines else { return Ok(()) };
        let mut fields: Vec<Cow<'_, [u8]>> = fields.map(defused).collect();
        // A line that is too short or too long has it at its end.
        match fields.get_mut(*column) {
            Some(field) => *field = problem.as_bytes().into(),
            None => fields.push(problem.as_bytes().into()),
        }
        writer.write_record(fields).map_err(|error| self.failure(&error))
    }

    /// Sees that everything was written; if there was nothing to write there is no file.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let flushed = match &mut self.lines {
            Lines::Csv { writer, .. } => writer.flush(),
            Lines::JsonLines(writer) => writer.flush(),
        };
        flushed.map_err(|error| self.failure(&error))?;
        if self.used {
            return Ok(());
        }
        std::fs::remove_file(&self.path).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::failed(format!("cannot write to {} (--skip-bad): {error}", self.path.display()))
    }
}
