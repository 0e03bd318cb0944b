//! Opens what is imported, and shows how much of it was read.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Failure, other_files, output};

/// How much of a file is looked at to see what it is, in octets.
const BEGIN_LENGTH: u64 = 64 << 10;

/// How much of a file was read.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Progress {
    read: Arc<AtomicU64>,
    /// How large all files are, in octets; nothing if that is not known.
    size: u64,
}

impl Progress {
    /// Shows it to a person.
    pub(super) fn show(&self) {
        if self.size > 0 {
            output::progress_bar("Reading", self.read.load(Ordering::Relaxed), self.size);
        }
    }

    /// Shows that all was read.
    pub(super) fn end(&self) {
        if self.size > 0 {
            output::progress_bar("Reading", 1, 1);
            output::end_progress();
        }
    }

    /// Opens a file whose size counts; - is standard input.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(in crate::cli) fn open(&mut self, path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
        let file: Box<dyn Read + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdin())
        } else {
            let file = open_file(path)?;
            self.size += size_of(file.metadata());
            Box::new(file)
        };
        Ok(Box::new(Counted { file, read: Arc::clone(&self.read) }))
    }

    /// Notes a file whose size counts, and which is opened later: a folder may have more of them than a process may have
    /// open.
    pub(super) fn later(&mut self, path: PathBuf) -> Later {
        self.size += size_of(std::fs::metadata(&path));
        Later { path, read: Arc::clone(&self.read) }
    }
}

fn size_of(data: io::Result<std::fs::Metadata>) -> u64 {
    data.ok().filter(std::fs::Metadata::is_file).map_or(0, |data| data.len())
}

/// A file that is opened later.
pub(super) struct Later {
    path: PathBuf,
    read: Arc<AtomicU64>,
}

impl Later {
    /// Opens the file, which is a text.
    ///
    /// # Errors
    /// A sentence: it cannot be opened, or is no text.
    pub(super) fn open(self) -> Result<Box<dyn Read + Send>, String> {
        let file = File::open(&self.path).map_err(|error| format!("cannot open it: {error}"))?;
        text(Counted { file: Box::new(file), read: self.read })
    }
}

/// The beginning of a text, and where in it the text begins: after the mark that some programs put there.
///
/// # Errors
/// A sentence: it cannot be read, or is no text in UTF-8.
pub(super) fn begin_of(file: &mut impl Read) -> Result<(Vec<u8>, usize), String> {
    let mut begin = Vec::new();
    let read = file.take(BEGIN_LENGTH).read_to_end(&mut begin);
    read.map_err(|error| format!("cannot read it: {error}"))?;
    if let Some(sentence) = other_files::describe_octets(&begin) {
        return Err(sentence);
    }
    let mark = if begin.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    Ok((begin, mark))
}

/// A text without the mark that some programs put before it.
///
/// # Errors
/// A sentence: it cannot be read, or is no text in UTF-8.
pub(super) fn text(mut file: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>, String> {
    let (begin, mark) = begin_of(&mut file)?;
    let mut begin = Cursor::new(begin);
    begin.set_position(mark as u64);
    Ok(Box::new(begin.chain(file)))
}

/// Opens a file to read.
///
/// # Errors
/// It cannot be opened.
pub(super) fn open_file(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        Failure::failed(format!("cannot open {} to read it: {error}", path.display()))
    })
}

/// A file, and how much of it was read.
struct Counted {
    file: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
