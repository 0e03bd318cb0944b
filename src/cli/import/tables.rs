//! Tables of another program: in its database, in a folder of files, or in one file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Failure;
use super::entry::{Entry, Reader, Record, Source};
use super::lines::Records;
use super::mapping::Mapping;
use super::open::Progress;
use super::record::read_truth;
use jeton_store::DatabaseLocation;
use jeton_store::source_tables::{SourceRows, sqlite_file};

/// In which files of a folder a table may be.
const ENDINGS: [&str; 3] = ["csv", "jsonl", "json"];

/// Where the tables are.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    place: Location,
    mapping: &'a Mapping,
}

#[derive(Debug)]
enum Location {
    Database(DatabaseLocation),
    Folder(PathBuf),
    /// The table of the users alone.
    File(PathBuf),
}

/// The rows of a table, each with its place.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row, String>>>;

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: String,
    pub(super) values: Map<String, Value>,
    /// Why it cannot be read, and what is written there.
    pub(super) problem: Option<(String, Vec<u8>)>,
}

impl<'a> Tables<'a> {
    /// Opens a URL of PostgreSQL, a SQLite file (also as `sqlite:PATH`), a folder with a file for each table, or a file
    /// with the users.
    ///
    /// # Errors
    /// There is no such file.
    pub(super) fn open(source: &str, mapping: &'a Mapping) -> Result<Self, Failure> {
        let path = Path::new(source);
        let place = if let Ok(location) = source.parse() {
            Location::Database(location)
        } else if path.is_dir() {
            Location::Folder(path.to_owned())
        } else if source == "-" {
            Location::File(path.to_owned())
        } else {
            let sqlite = sqlite_file(path)
                .map_err(|error| format!("cannot open {source} to read it: {error}"))?;
            match sqlite {
                Some(path) => Location::Database(DatabaseLocation::Sqlite(path)),
                None => Location::File(path.to_owned()),
            }
        };
        Ok(Self { place, mapping })
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.place {
            Location::File(path) => Some(path),
            Location::Database(_) | Location::Folder(_) => None,
        }
    }

    /// The rows of the table of users, which has these columns. Without one of them users would lose what they have, or
    /// get what they have not, and nobody would be told.
    ///
    /// # Errors
    /// There is no such table, it cannot be read, or it lacks a column.
    pub(super) fn users(
        &self,
        table: &str,
        columns: &[&str],
        progress: &mut Progress,
    ) -> Result<Rows, Failure> {
        if let Location::File(path) = &self.place {
            return rows_of_file(path, columns, progress);
        }
        let rows = self.rows_as_they_are(table, columns, progress)?;
        rows.ok_or_else(|| {
            let (source, name) = (self.source(), self.mapping.table(table));
            Failure::failed(format!(
                "{source}: there is no table {name}: name the one of the users, as --table {table}=NAME"
            ))
        })
    }

    /// The source as errors name it.
    fn source(&self) -> String {
        match &self.place {
            Location::Database(location) => location.to_string(),
            Location::Folder(path) | Location::File(path) => path.display().to_string(),
        }
    }

    /// The rows of a table beside that of the users, called as it usually is, with these columns; none if there is no such
    /// table, and then `before` says what is missing with it. All of them must be readable: a user could lack a role
    /// otherwise.
    ///
    /// # Errors
    /// It cannot be read, or lacks a column.
    pub(super) fn rows(
        &self,
        (table, what): (&str, &str),
        columns: &[&str],
        before: &mut VecDeque<Entry>,
        progress: &mut Progress,
    ) -> Result<Rows, Failure> {
        let Some(rows) = self.rows_as_they_are(table, columns, progress)? else {
            let name = self.mapping.table(table);
            before.push_back(Entry::LeftOut(format!("{what}, since there is no table {name}")));
            return Ok(Box::new(std::iter::empty()));
        };
        let rows = readable(rows);
        let Location::Database(location) = &self.place else { return Ok(rows) };
        let location = location.to_string();
        Ok(Box::new(rows.map(move |row| row.map_err(|problem| format!("{location}: {problem}")))))
    }

    /// Whether a table has any rows.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn has_rows(&self, table: &str, progress: &mut Progress) -> Result<bool, Failure> {
        let rows = self.rows_as_they_are(table, &[], progress)?;
        Ok(rows.is_some_and(|mut rows| rows.next().is_some()))
    }

    fn rows_as_they_are(
        &self,
        table: &str,
        columns: &[&str],
        progress: &mut Progress,
    ) -> Result<Option<Rows>, Failure> {
        let name = self.mapping.table(table);
        match &self.place {
            Location::File(_) => Ok(None),
            Location::Folder(folder) => {
                // A file need not name the schema.
                let names = [name, name.rsplit('.').next().unwrap_or(name)];
                let file = |name| ENDINGS.map(|ending| folder.join(format!("{name}.{ending}")));
                let paths: Vec<PathBuf> = names.into_iter().flat_map(file).collect();
                let path = paths.iter().find(|path| path.exists());
                path.map(|path| rows_of_file(path, columns, progress)).transpose()
            }
            Location::Database(location) => {
                let failed = |error: &dyn std::fmt::Display| {
                    format!("{location}: the table {name}: {error}")
                };
                let rows = SourceRows::of_table(location, name).map_err(|error| failed(&error))?;
                let mut rows = rows.map(Iterator::peekable);
                // All rows have the same columns.
                if let Some(Ok(first)) = rows.as_mut().and_then(std::iter::Peekable::peek) {
                    check_columns(columns, |column| first.contains_key(column))
                        .map_err(|problem| failed(&problem))?;
                }
                let name = name.to_owned();
                Ok(rows.map(|rows| -> Rows {
                    Box::new(rows.enumerate().map(move |(at, row)| {
                        let values = row.map_err(|error| format!("the table {name}: {error}"))?;
                        Ok(Row::new(place_of(&values, &name, at), values))
                    }))
                }))
            }
        }
    }
}

/// All rows of a table that is not large.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn all(rows: Rows) -> Result<Vec<Row>, Failure> {
    rows.collect::<Result<_, _>>().map_err(Failure::failed)
}

fn place_of(values: &Map<String, Value>, table: &str, at: usize) -> String {
    match values.get("id").or(values.get("Id")) {
        Some(Value::Number(id)) => format!("id {id} of {table}"),
        Some(Value::String(id)) => format!("id {id} of {table}"),
        _ => format!("row {} of {table}", at + 1),
    }
}

/// Sees that a table has these columns.
fn check_columns(columns: &[&str], has: impl Fn(&str) -> bool) -> Result<(), String> {
    columns.iter().find(|column| !has(column)).map_or(Ok(()), |missing| {
        Err(format!(
            "it has no column {missing}, so it is not the whole table of users of this kind: export all of its columns"
        ))
    })
}

fn rows_of_file(path: &Path, columns: &[&str], progress: &mut Progress) -> Result<Rows, Failure> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let failed = |problem: String| Failure::failed(format!("{}: {problem}", path.display()));
    let records = Records::new(progress.open(path)?).map_err(failed)?;
    // JSON need not name what is null, and an empty file has no header.
    if let Some(header) = records.header().filter(|header| !header.is_empty()) {
        check_columns(columns, |column| header.iter().any(|name| name == column))
            .map_err(|problem| failed(records.otherwise().map_or(problem, str::to_owned)))?;
    }
    Ok(rows_of(records, name))
}

/// The rows of a file of this name.
pub(super) fn rows_of(records: Records, name: String) -> Rows {
    Box::new(records.map(move |record| {
        let Record { place, values, source, .. } = record?;
        let place = format!("{place} of {name}");
        let (mut values, problem) = match values {
            Ok(values) => (values, None),
            Err(problem) => (Map::new(), Some((problem, source.text()))),
        };
        if matches!(source, Source::Csv(_)) {
            values.values_mut().for_each(read_json);
        }
        Ok(Row { place, values, problem })
    }))
}

/// Rows of which the first that cannot be read is an error.
pub(super) fn readable(rows: Rows) -> Rows {
    Box::new(rows.map(|row| match row? {
        Row { place, problem: Some((problem, _)), .. } => Err(format!("{place}: {problem}")),
        row => Ok(row),
    }))
}

/// A list or an object in a cell of CSV is a text of JSON.
fn read_json(value: &mut Value) {
    let Value::String(text) = value else { return };
    if text.starts_with(['[', '{'])
        && let Ok(read) = serde_json::from_str(text)
    {
        *value = read;
    }
}

/// Says what a row is here, and puts into the list what of it has no place.
type ReadRow = Box<dyn Fn(Row, &mut VecDeque<Entry>) -> Entry>;

/// Users that are rows of a table, behind what is known before.
pub(super) struct TableReader {
    pub(super) before: VecDeque<Entry>,
    pub(super) users: Rows,
    pub(super) entry: ReadRow,
}

impl Reader for TableReader {}

impl Iterator for TableReader {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.before.pop_front() {
            return Some(Ok(entry));
        }
        Some(self.users.next()?.map(|mut row| match row.problem.take() {
            None => (self.entry)(row, &mut self.before),
            Some((problem, text)) => Entry::User(Record {
                values: Err(problem),
                source: Source::Json(text),
                ..Record::of_values(row.place, Map::new())
            }),
        }))
    }
}

impl Row {
    pub(super) fn new(place: String, values: Map<String, Value>) -> Self {
        Self { place, values, problem: None }
    }

    /// Takes a value away, if it says something.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// Takes a text away. A number is one too.
    pub(super) fn take_text(&mut self, name: &str) -> Option<String> {
        self.take(name).and_then(|value| text_of(&value))
    }

    /// Takes something away that is true or false; false if it is not there.
    pub(super) fn take_truth(&mut self, name: &str) -> bool {
        self.take(name).as_ref().and_then(read_truth).unwrap_or_default()
    }

    /// Gives a value another name, if it is there.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(value) = self.values.remove(from) {
            self.values.insert(to.to_owned(), value);
        }
    }

    /// Sets a value.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Replaces an object by its members, which get its name before theirs: `app_metadata.plan`.
    pub(super) fn spread(&mut self, from: &str, to: &str) {
        if let Some(Value::Object(members)) = self.values.remove(from) {
            for (name, value) in members {
                self.values.insert(format!("{to}.{name}"), value);
            }
        }
    }

    /// A user with these values.
    pub(super) fn into_user(self) -> Entry {
        Entry::User(Record::of_values(self.place, self.values))
    }
}

/// A key of a table as text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
