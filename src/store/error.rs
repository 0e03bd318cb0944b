//! Why a use case has no outcome.

use std::error::Error;
use std::fmt;

use jeton_oauth::Invalid;

/// Why a use case has no outcome. In general nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The database cannot be reached or is too busy: later is better. If it did not answer a commit, as the
    /// text says then, it is not known whether it is done.
    Unavailable(String),
    /// A row is not what this version writes.
    Corrupt(String),
    /// The database refused a statement.
    Refused(String),
    /// A table is not there.
    NoTable(String),
    /// The role of the connection may not do this.
    Forbidden(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(detail) => write!(formatter, "the database is unavailable: {detail}"),
            Self::Corrupt(detail) => write!(formatter, "a row cannot be understood: {detail}"),
            Self::Refused(detail) | Self::NoTable(detail) | Self::Forbidden(detail) => {
                write!(formatter, "the database refused: {detail}")
            }
        }
    }
}

/// For a value that was read from a row.
impl From<Invalid> for StoreError {
    fn from(error: Invalid) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// An error with its causes: drivers say in them what the error itself leaves out.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
