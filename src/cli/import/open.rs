//! Opens what is imported, and shows how much of it was read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Failure, output};

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
            let data = file.metadata().ok().filter(std::fs::Metadata::is_file);
            self.size += data.map_or(0, |data| data.len());
            Box::new(file)
        };
        Ok(Box::new(Counted { file, read: Arc::clone(&self.read) }))
    }
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
