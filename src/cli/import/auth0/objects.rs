//! Files of JSON objects: one a line, as Auth0 exports users, or a list, as its command line writes applications.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::json::Entries;
use super::super::other_files;

/// The longest line, in octets.
const LINE_LENGTH_MAX: u64 = 16 << 20;

/// The objects of a file, as texts.
pub(super) enum Objects {
    Lines { reader: Box<dyn BufRead>, line: u64, offset: u64 },
    List(Entries),
}

/// An object as a text.
pub(super) struct Object {
    /// The line where it begins.
    pub(super) line: u64,
    /// Where that is in the file, in octets, if it has a line of its own.
    pub(super) offset: Option<u64>,
    pub(super) text: Vec<u8>,
}

impl Objects {
    /// Begins to read: what begins with a bracket is a list.
    ///
    /// # Errors
    /// A sentence: it cannot be read.
    pub(super) fn new(file: impl Read + 'static) -> Result<Self, String> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let begin = reader.fill_buf().map_err(|error| cannot_read(&error))?;
        if let Some(sentence) = other_files::describe_octets(begin).or_else(|| is_other(begin)) {
            return Err(sentence);
        }
        let mark = if begin.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let first = begin.iter().skip(mark).find(|octet| !octet.is_ascii_whitespace());
        let is_list = first == Some(&b'[');
        reader.consume(mark);
        let reader: Box<dyn BufRead> = Box::new(reader);
        Ok(if is_list {
            Self::List(Entries::new(reader))
        } else {
            Self::Lines { reader, line: 0, offset: mark as u64 }
        })
    }

    /// The next object.
    ///
    /// # Errors
    /// A sentence: it cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Object>, String> {
        let (reader, line, offset) = match self {
            Self::List(entries) => {
                let entry = entries.next()?;
                return Ok(entry.map(|(line, text)| Object { line, offset: None, text }));
            }
            Self::Lines { reader, line, offset } => (reader, line, offset),
        };
        loop {
            let begin = *offset;
            let text =
                read_line(reader).map_err(|problem| format!("line {}: {problem}", *line + 1))?;
            if text.is_empty() {
                return Ok(None);
            }
            *line += 1;
            *offset += text.len() as u64;
            if !text.trim_ascii().is_empty() {
                return Ok(Some(Object { line: *line, offset: Some(begin), text }));
            }
        }
    }
}

/// What a file is that begins so, if no export of Auth0 does.
fn is_other(begin: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(begin);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.chars().next() {
        None | Some('[') => None,
        Some('{') => {
            let first = text.lines().next().unwrap_or_default();
            let is_whole = serde_json::from_str::<serde_json::Value>(first).is_ok();
            if is_whole { None } else { other_files::describe_object(text) }
        }
        Some(_) => other_files::describe_text(text)
            .or_else(|| Some("it begins with no JSON, as all exports of Auth0 do".to_owned())),
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = reader.take(LINE_LENGTH_MAX).read_until(b'\n', &mut text);
    read.map_err(|error| cannot_read(&error))?;
    if text.len() as u64 == LINE_LENGTH_MAX {
        return Err("it has no end within 16 MiB".to_owned());
    }
    Ok(text)
}

/// Reads the line at a place that was noted before.
pub(super) fn read_at(file: &mut File, offset: u64) -> Result<Vec<u8>, String> {
    file.seek(SeekFrom::Start(offset)).map_err(|error| cannot_read(&error))?;
    read_line(&mut BufReader::new(file))
}

/// The files of a folder that may have objects, in the order of their names.
///
/// # Errors
/// A sentence: it cannot be read.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| cannot_read(&error))?;
    let paths: Result<Vec<PathBuf>, _> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| cannot_read(&error))?;
    let is_json = |path: &PathBuf| {
        path.extension()
            .is_some_and(|ending| ["json", "ndjson", "jsonl"].iter().any(|own| ending == *own))
    };
    paths.retain(is_json);
    paths.sort();
    Ok(paths)
}

fn cannot_read(error: &io::Error) -> String {
    format!("cannot read it: {error}")
}
