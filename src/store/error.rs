use std::error::Error;
use std::io;

use deadpool::managed::BuildError;
use jeton_oauth::Invalid;

use super::postgres_url::UrlError;

/// Why a use case has no outcome. Nothing was changed, except perhaps as [`StoreError::Unavailable`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or is too busy; try later. If it did not answer a commit, which the text then
    /// says, the change may have been made.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database takes no changes from this program: see [`gate`](crate::gate). Nothing was changed.
    #[error("the database takes no changes now: `jeton db status` says why")]
    Closed,
    /// A newer program has changed the tables so that this one must not write to them: see [`gate`](crate::gate). Nothing
    /// was changed.
    #[error(
        "a newer jeton has changed the tables, and this one must not write to them: use the newer one; \
         `jeton db status` says more"
    )]
    Outdated,
    /// A row is not as this version writes it.
    #[error("a row cannot be understood: {0}")]
    Corrupt(String),
    /// What is there is not what it was, or stands in the way. Nothing was changed.
    #[error("{0}: nothing was changed")]
    Conflict(String),
    /// Hashes are to be sealed under another data key than was presumed, or under none: seal again, or do not.
    #[error(
        "sealing of stored hashes has begun or ended at this moment: nothing was changed; try again"
    )]
    SealingChanged,
    /// The database refused a statement.
    #[error("the database refused: {0}")]
    Refused(String),
    /// A table does not exist.
    #[error("the database refused: {0}")]
    NoTable(String),
    /// The database role may not do this.
    #[error("the database refused: {0}")]
    Forbidden(String),
}

/// For values read from a row.
impl From<Invalid> for StoreError {
    fn from(error: Invalid) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// A database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the database {location} (--database): {source}")]
pub struct OpenError {
    /// The location, without its password.
    pub(super) location: String,
    /// The cause.
    pub(super) source: OpenProblem,
}

impl OpenError {
    /// Whether the database cannot be reached or is too busy, so that later is better.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            &self.source,
            OpenProblem::Unreachable(_)
                | OpenProblem::Replaced
                | OpenProblem::Database(StoreError::Unavailable(_))
        )
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenProblem {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No server of the URL takes a connection.
    #[error("{0}; check host, port, user, password and sslmode, and that the server runs")]
    Unreachable(String),
    /// The file cannot be opened, or is not a database.
    #[error(
        "{0}; its folder must exist and be writable for this process, and the file must be a SQLite \
         database"
    )]
    File(#[source] StoreError),
    /// The file was replaced meanwhile.
    #[error("the file was replaced at the moment of opening it: try again")]
    Replaced,
    /// The database does not answer as it must.
    #[error(transparent)]
    Database(#[from] StoreError),
    /// No connection pool could be made.
    #[error(transparent)]
    Pool(#[from] BuildError),
    /// The system has no thread left.
    #[error("cannot start its thread: {0}")]
    Thread(#[source] io::Error),
}

/// An error with its causes, in which drivers say what the error itself leaves out.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
