//! The users of a file, in whichever of its forms.

use std::fmt;
use std::io::{BufRead, BufReader, Cursor, Read};

use serde_json::Value;

use super::entry::{Record, Source};
use super::json::{Dumped, Entries, of_django, read_object};
use super::open::begin_of;
use super::other_files;
use super::spreadsheet::from_cell;

/// The users of a file.
pub enum Records {
    /// CSV with a header.
    Csv {
        /// The rest of the file.
        reader: csv::Reader<Box<dyn BufRead>>,
        /// The names of the columns.
        header: Vec<String>,
        /// What the file is, if not that.
        otherwise: Option<String>,
    },
    /// JSON Lines.
    JsonLines {
        /// The rest of the file.
        reader: Box<dyn BufRead>,
        /// The number of the line that was read last.
        line: u64,
    },
    /// A list of JSON objects, perhaps of Django's `dumpdata`.
    JsonList(JsonList),
}

/// A list that is being read.
pub struct JsonList {
    entries: Entries,
    /// How many entries were objects of Django's with passwords, and without.
    of_django: (u64, u64),
}

impl fmt::Debug for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Records")
    }
}

impl Records {
    /// Begins to read. What begins with a brace is JSON Lines, with a bracket a list, all else CSV with a
    /// header.
    ///
    /// # Errors
    /// A sentence if it cannot be read, is of a form that is not read here, or has a header that cannot be.
    pub fn new(mut file: impl Read + 'static) -> Result<Self, String> {
        let (begin, mark) = begin_of(&mut file)?;
        let text = String::from_utf8_lossy(begin.get(mark..).unwrap_or_default()).into_owned();
        let mut whole = Cursor::new(begin);
        whole.set_position(mark as u64);
        let reader: Box<dyn BufRead> = Box::new(whole.chain(BufReader::new(file)));
        match text.trim_start().chars().next() {
            Some('{') => match other_files::describe_object(text.trim_start()) {
                Some(sentence) => Err(sentence),
                None => Ok(Self::JsonLines { reader, line: 0 }),
            },
            Some('[') if !text.trim_start_matches(['[', ' ']).starts_with(char::is_alphabetic) => {
                let entries = Entries::new(reader);
                Ok(Self::JsonList(JsonList { entries, of_django: (0, 0) }))
            }
            _ => Self::csv(reader, &text),
        }
    }

    /// CSV that begins so.
    fn csv(reader: Box<dyn BufRead>, begin: &str) -> Result<Self, String> {
        // So that every line has an end by which it is counted: the reader takes «\r\n» in two halves.
        let ended: Box<dyn BufRead> = Box::new(reader.chain(&b"\n"[..]));
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(ended);
        let header = reader.headers().map_err(|error| match error.kind() {
            csv::ErrorKind::Utf8 { .. } => {
                "its header is not UTF-8: write the file in UTF-8".to_owned()
            }
            _ => format!("cannot read its header: {error}"),
        })?;
        let names = header.iter().map(|cell| from_cell(cell.trim()).to_owned());
        let header: Vec<String> = names.collect();
        for (at, name) in header.iter().enumerate() {
            let first = header.iter().position(|other| other == name);
            if let Some(first) = first.filter(|first| *first < at && !name.is_empty()) {
                return Err(format!(
                    "columns {} and {} of its header have the same name: nobody knows which of the two \
                     counts",
                    first + 1,
                    at + 1
                ));
            }
        }
        Ok(Self::Csv { reader, header, otherwise: other_files::describe_text(begin) })
    }

    /// The columns of a CSV file.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
        match self {
            Self::Csv { header, .. } => Some(header),
            Self::JsonLines { .. } | Self::JsonList(_) => None,
        }
    }

    /// How what was read so far was understood, if that does not go without saying.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let Self::JsonList(JsonList { of_django: (users, others), .. }) = self else { return None };
        (users + others > 0).then(|| {
            format!(
                "Read as Django's dumpdata: {users} users, with password as the password_hash, pk as the \
                 sub and the opposite of is_active as disabled; {others} entries of other models were \
                 passed over"
            )
        })
    }

    /// What a file is that was taken for CSV, if its header has not the columns of users.
    #[must_use]
    pub fn otherwise(&self) -> Option<&str> {
        match self {
            Self::Csv { otherwise, .. } => otherwise.as_deref(),
            Self::JsonLines { .. } | Self::JsonList(_) => None,
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Csv { reader, header, .. } => loop {
                let mut record = csv::ByteRecord::new();
                match reader.read_byte_record(&mut record) {
                    Err(error) => return Some(Err(format!("cannot read on: {error}"))),
                    Ok(false) => return None,
                    Ok(true) => {}
                }
                let line = first_line(&record, reader.position().line());
                let fields = without_carriage_return(&record);
                if fields.iter().eq([b""]) {
                    continue;
                }
                let values = read_csv(&fields, header);
                return Some(Ok(Record::of_line(line, values, Source::Csv(fields))));
            },
            Self::JsonLines { reader, line } => loop {
                let mut text = Vec::new();
                match reader.read_until(b'\n', &mut text) {
                    Err(error) => return Some(Err(format!("cannot read on: {error}"))),
                    Ok(0) => return None,
                    Ok(_) => *line += 1,
                }
                if text.trim_ascii().is_empty() {
                    continue;
                }
                let values = read_object(&text);
                return Some(Ok(Record::of_line(*line, values, Source::Json(text))));
            },
            Self::JsonList(list) => loop {
                let (line, text) = match list.entries.next() {
                    Err(error) => return Some(Err(error)),
                    Ok(None) => return None,
                    Ok(Some(entry)) => entry,
                };
                let values = match read_object(&text).map(of_django) {
                    Err(problem) => Err(problem),
                    Ok(Dumped::Other(values)) => Ok(values),
                    Ok(Dumped::User(values)) => {
                        list.of_django.0 += 1;
                        Ok(values)
                    }
                    Ok(Dumped::NoUser) => {
                        list.of_django.1 += 1;
                        continue;
                    }
                };
                return Some(Ok(Record::of_line(line, values, Source::Json(text))));
            },
        }
    }
}

/// Where a record begins that ends before a line: lines that are blank may stand before it, and lines end
/// within it.
fn first_line(record: &csv::ByteRecord, next: u64) -> u64 {
    let within = record.as_slice().split(|octet| *octet == b'\n').count() as u64 - 1;
    // One whose last quote is missing ends with the file.
    let least = record.position().map_or(1, csv::Position::line);
    next.saturating_sub(within + 1).max(least)
}

fn without_carriage_return(record: &csv::ByteRecord) -> csv::ByteRecord {
    let last = record.len().saturating_sub(1);
    let fields = record.iter().enumerate();
    fields
        .map(|(at, field)| field.strip_suffix(b"\r").filter(|_| at == last).unwrap_or(field))
        .collect()
}

fn read_csv(
    record: &csv::ByteRecord,
    header: &[String],
) -> Result<serde_json::Map<String, Value>, String> {
    if record.len() != header.len() {
        let (has, wants) = (record.len(), header.len());
        return Err(format!("it has {has} fields, and the header has {wants}"));
    }
    let fields = header.iter().zip(record).map(|(name, octets)| {
        let text = std::str::from_utf8(octets)
            .map_err(|_| format!("{name:?} is not UTF-8: write the file in UTF-8"))?;
        // CSV knows no null.
        let value = if text.is_empty() { Value::Null } else { Value::from(from_cell(text)) };
        Ok((name.clone(), value))
    });
    fields.collect()
}
