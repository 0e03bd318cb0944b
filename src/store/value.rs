//! Parameters and columns of statements, the same for both engines.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::StoreError;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, Invalid, KeyId, Scope, Secret, SessionId, Timestamp, UserId};

/// A value of a type that both engines have, or a list, which only PostgreSQL has.
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
    /// A list of texts and nulls.
    pub(super) fn texts(values: impl IntoIterator<Item = Self>) -> Self {
        let text = |value| match value {
            Self::Text(text) => Some(text),
            _ => None,
        };
        Self::Texts(values.into_iter().map(text).collect())
    }

    /// A list of numbers and nulls.
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

/// A row, whose columns are read by name.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    columns: Columns,
    values: Vec<Value>,
}

/// The names of a statement's columns.
pub(crate) type Columns = Arc<[String]>;

impl Row {
    pub(super) fn new(columns: &Columns, values: Vec<Value>) -> Self {
        Self { columns: Arc::clone(columns), values }
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// Reads a column.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the column holds something else, or the statement does not name it.
    pub(crate) fn get<T: FromValue>(&self, column: &str) -> Result<T, StoreError> {
        let place = self.columns.iter().position(|name| name == column);
        match place.and_then(|place| self.values.get(place)) {
            Some(value) => {
                T::from_value(value).map_err(|problem| self.corrupt(column, &problem.to_string()))
            }
            None => Err(self.corrupt(column, "the statement does not read it")),
        }
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|error| self.corrupt(column, &error.to_string()))
    }

    /// The error of a column. It names the row by its first column, which is its key.
    fn corrupt(&self, column: &str, problem: &str) -> StoreError {
        let row = match (self.columns.first(), self.values.first()) {
            (Some(key), Some(Value::Text(text))) if key != column => format!(" of {key} {text:?}"),
            _ => String::new(),
        };
        StoreError::Corrupt(format!("{column}{row}: {problem}"))
    }
}

/// Adds the members of `before` that `after` has not: those that a later version wrote and this one does not know. What
/// is stored as JSON has all members that this version knows, so the others are unknown.
pub(super) fn keep_unknown(before: &Json, after: &mut Json) {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object_mut()) else { return };
    for (name, value) in before {
        if !after.contains_key(name) {
            after.insert(name.clone(), value.clone());
        }
    }
}

/// A type that a column can be read as.
pub(crate) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, Invalid>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        if *value == Value::Null { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        match value {
            Value::Integer(number) => Ok(*number),
            _ => Err(Invalid::new("it is no number")),
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        i64::from_value(value).map(Self)
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(Invalid::new("it is no text")),
        }
    }
}

impl FromValue for Secret {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        String::from_value(value).map(Self::new)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self, Invalid> {
        match value {
            Value::Octets(octets) => Ok(octets.clone()),
            _ => Err(Invalid::new("it is no octets")),
        }
    }
}

/// For types that are parsed from text.
macro_rules! from_checked_text {
    ($($name:ident),+) => {
        $(impl FromValue for $name {
            fn from_value(value: &Value) -> Result<Self, Invalid> {
                Self::try_from(String::from_value(value)?)
            }
        })+
    };
}
from_checked_text!(ClientId, KeyId, Scope, SessionId, UserId, Username);
