//! What an error of PostgreSQL means for the caller, for the connection, and for another attempt.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::{StoreError, with_causes};

/// How to repeat a statement that failed and changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// On the same connection: it conflicted with another transaction.
    Again,
    /// On a new connection: this one cannot run it, and others of the same age perhaps cannot either.
    NewConnection,
}

/// How to repeat after this error, if that can help.
pub(super) fn remedy(error: &Error) -> Option<Remedy> {
    let Some(state) = error.code() else {
        let broke = error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>);
        return (error.is_closed() || broke).then_some(Remedy::NewConnection);
    };
    match *state {
        // Only a definition limits how long it waits for a lock (`Access::Definition`).
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE => Some(Remedy::Again),
        // A standby, or a primary that is becoming one; a server that stops or starts; a session that was ended; or a
        // pooler that gave a statement's name to another statement.
        SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | SqlState::INVALID_SQL_STATEMENT_NAME
        | SqlState::DUPLICATE_PSTATEMENT => Some(Remedy::NewConnection),
        _ => None,
    }
}

/// Sorts an error by what its reader can do about it.
pub(super) fn classify(error: &Error) -> StoreError {
    let detail = describe(error);
    // A broken connection, a server that lacks resources or is stopping, or a cancelled statement.
    let passes = |state: &SqlState| {
        ["08", "53", "57", "58"].iter().any(|class| state.code().starts_with(class))
    };
    if error.code().is_none_or(passes) || remedy(error).is_some() {
        return StoreError::Unavailable(detail);
    }
    match error.code() {
        Some(&SqlState::UNDEFINED_TABLE) => StoreError::NoTable(detail),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => StoreError::Forbidden(detail),
        _ => StoreError::Refused(detail),
    }
}

/// The message of the server, or the causes of an error without one.
pub(super) fn describe(error: &Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    with_causes(error)
}
