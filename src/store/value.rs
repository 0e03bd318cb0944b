//! What goes into a statement and comes out of it, the same for both engines.

use super::StoreError;
use jeton_oauth::{ClientId, KeyId, SessionId, Timestamp, UserId};

/// A value of one of the three types that both engines share; or a list, for PostgreSQL alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Octets(Vec<u8>),
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl Value {
    /// A list of values that are all texts, or nothing.
    pub(super) fn texts(values: impl IntoIterator<Item = Self>) -> Self {
        let text = |value| match value {
            Self::Text(text) => Some(text),
            _ => None,
        };
        Self::Texts(values.into_iter().map(text).collect())
    }

    /// A list of values that are all numbers, or nothing.
    pub(super) fn integers(values: impl IntoIterator<Item = Self>) -> Self {
        let number = |value| match value {
            Self::Integer(number) => Some(number),
            _ => None,
        };
        Self::Integers(values.into_iter().map(number).collect())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(octets: &[u8]) -> Self {
        Self::Octets(octets.to_vec())
    }
}

impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Self::Integer(moment.0)
    }
}

macro_rules! from_identifier {
    ($($name:ident),+) => {
        $(impl From<&$name> for Value {
            fn from(id: &$name) -> Self {
                Self::from(id.as_str())
            }
        })+
    };
}
from_identifier!(ClientId, KeyId, SessionId, UserId);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row: its columns by position, as the statement names them.
#[derive(Clone, Debug)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    /// A column that holds text.
    pub(crate) fn text(&self, column: usize) -> Result<String, StoreError> {
        self.optional_text(column)?.ok_or_else(|| mistyped(column))
    }

    /// A column that holds text or nothing.
    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) | None => Err(mistyped(column)),
        }
    }

    /// A column that holds a number.
    pub(crate) fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.optional_integer(column)?.ok_or_else(|| mistyped(column))
    }

    /// A column that holds a number or nothing.
    pub(crate) fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(_) | None => Err(mistyped(column)),
        }
    }

    /// A column that holds a time.
    pub(crate) fn moment(&self, column: usize) -> Result<Timestamp, StoreError> {
        self.integer(column).map(Timestamp)
    }

    /// A column that holds a time or nothing.
    pub(crate) fn optional_moment(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_integer(column)?.map(Timestamp))
    }

    /// A column that holds octets.
    pub(crate) fn octets(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        match self.0.get(column) {
            Some(Value::Octets(octets)) => Ok(octets.clone()),
            Some(_) | None => Err(mistyped(column)),
        }
    }

    /// A column that holds JSON text.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: usize,
    ) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?)
            .map_err(|error| StoreError::Corrupt(format!("column {column}: {error}")))
    }
}

fn mistyped(column: usize) -> StoreError {
    StoreError::Corrupt(format!("column {column} has another type than expected"))
}
