//! What an error of PostgreSQL means: for who asked, for the connection, and for trying again.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::{StoreError, with_causes};

/// Why a statement that failed, and did nothing, is worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It met another transaction: the same again.
    Again,
    /// This connection cannot do it, and others that are as old may not either: a new one.
    NewConnection,
}

/// What helps against an error, if anything does.
pub(super) fn remedy(error: &Error) -> Option<Remedy> {
    let Some(state) = error.code() else {
        let broke = error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>);
        return (error.is_closed() || broke).then_some(Remedy::NewConnection);
    };
    match *state {
        // A lock is waited for without end but by a definition (`Access::Definition`).
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE => Some(Remedy::Again),
        // A standby, or a primary that is becoming one; one that goes down or comes up; a session
        // that was ended; and a pooler that gave a statement's name to another one.
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
    // Connection trouble, a server out of resources or going down, a statement that was cancelled.
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

/// The message of the server, or the chain of causes of a failure before it.
pub(super) fn describe(error: &Error) -> String {
    if let Some(answer) = error.as_db_error() {
        return format!("{} ({})", answer.message(), answer.code().code());
    }
    with_causes(error)
}
