//! The lines of a file of users, in either form.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

/// A line as it is in the file.
#[derive(Debug)]
pub struct Record {
    /// Where it begins, from 1.
    pub line: u64,
    /// The values by the names of their columns, or why it cannot be read.
    pub values: Result<serde_json::Map<String, Value>, String>,
    /// What is written there.
    pub source: Source,
}

/// The text of a line.
#[derive(Debug)]
pub enum Source {
    /// The fields of CSV.
    Csv(csv::ByteRecord),
    /// A line of JSON, with its end.
    Json(Vec<u8>),
}

/// The lines of a file.
pub enum Records {
    /// CSV with a header.
    Csv {
        /// The rest of the file.
        reader: csv::Reader<Box<dyn BufRead>>,
        /// The names of the columns.
        header: Vec<String>,
    },
    /// JSON Lines.
    JsonLines {
        /// The rest of the file.
        reader: Box<dyn BufRead>,
        /// The number of the line that was read last.
        line: u64,
    },
}

impl fmt::Debug for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Records")
    }
}

impl Records {
    /// Begins to read. What begins with a brace is JSON Lines, all else CSV with a header.
    ///
    /// # Errors
    /// A sentence if it cannot be read, or has a header that cannot.
    pub fn new(file: impl Read + 'static) -> Result<Self, String> {
        let mut reader: Box<dyn BufRead> = Box::new(BufReader::new(file));
        let problem = |error: std::io::Error| format!("cannot read it: {error}");
        let begin = reader.fill_buf().map_err(problem)?;
        let is_marked = begin.starts_with(b"\xef\xbb\xbf");
        let text = begin.get(if is_marked { 3 } else { 0 }..).unwrap_or_default();
        let is_json = text.trim_ascii_start().starts_with(b"{");
        if is_marked {
            reader.consume(3);
        }
        if is_json {
            return Ok(Self::JsonLines { reader, line: 0 });
        }
        // So that every line has an end by which it is counted: the reader takes «\r\n» in two halves.
        let ended: Box<dyn BufRead> = Box::new(reader.chain(&b"\n"[..]));
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(ended);
        let header =
            reader.headers().map_err(|error| format!("cannot read its header: {error}"))?;
        let mut header: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(last) = header.last_mut() {
            last.truncate(last.trim_end_matches('\r').len());
        }
        Ok(Self::Csv { reader, header })
    }

    /// The columns of a CSV file.
    #[must_use]
    pub fn header(&self) -> Option<&[String]> {
        match self {
            Self::Csv { header, .. } => Some(header),
            Self::JsonLines { .. } => None,
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Csv { reader, header } => loop {
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
                return Some(Ok(Record { line, values, source: Source::Csv(fields) }));
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
                let values = serde_json::from_slice(&text)
                    .map_err(|error| format!("it is not a JSON object: {}", without_place(&error)));
                return Some(Ok(Record { line: *line, values, source: Source::Json(text) }));
            },
        }
    }
}

/// What is wrong with JSON, without the place, which is that in the line and not in the file.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
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
        let value = if text.is_empty() { Value::Null } else { Value::from(text) };
        Ok((name.clone(), value))
    });
    fields.collect()
}
