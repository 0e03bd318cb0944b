//! Statements and their errors.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};

use super::super::StoreError;
use super::super::sql::Statement;
use super::super::value::{Row, Value};

pub(crate) fn query(
    connection: &Connection,
    statement: &Statement,
    values: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut prepared = connection.prepare_cached(&statement.sqlite).map_err(classify)?;
    let columns = statement.columns(|| prepared.column_names());
    let mut rows = prepared.query(params_from_iter(values)).map_err(classify)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(classify)? {
        let column = |index| Ok::<_, rusqlite::Error>(read_value(row.get_ref(index)?));
        let read: Result<Vec<Value>, _> = (0..columns.len()).map(column).collect();
        all.push(Row::new(&columns, read.map_err(classify)?));
    }
    Ok(all)
}

pub(crate) fn execute(
    connection: &Connection,
    statement: &Statement,
    values: &[Value],
) -> Result<u64, StoreError> {
    let mut prepared = connection.prepare_cached(&statement.sqlite).map_err(classify)?;
    let changed = prepared.execute(params_from_iter(values)).map_err(classify)?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

/// Runs a statement without parameters, and caches its plan.
pub(super) fn run(connection: &Connection, statement: &str) -> Result<(), StoreError> {
    let mut prepared = connection.prepare_cached(statement).map_err(classify)?;
    prepared.execute([]).map(drop).map_err(classify)
}

pub(crate) fn run_script(connection: &mut Connection, script: &str) -> Result<(), StoreError> {
    connection.execute_batch(script).map_err(classify)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Octets(octets) => ValueRef::Blob(octets),
            Self::Integers(_) | Self::Texts(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("SQLite has no lists".into()));
            }
        }))
    }
}

fn read_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(octets) => Value::Octets(octets.to_vec()),
    }
}

/// Sorts an error by what its reader can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn classify(error: rusqlite::Error) -> StoreError {
    let mut detail = error.to_string();
    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        detail.push_str("; make room on the disk of the database, and mind that its -wal file grows while it is read");
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable(detail),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(detail),
        _ if detail.starts_with("no such table") => StoreError::NoTable(detail),
        _ => StoreError::Refused(detail),
    }
}
