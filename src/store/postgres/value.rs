//! Values as PostgreSQL's protocol writes them.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::copy::ColumnType;
use super::super::value::Value;

pub(super) fn untyped(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

pub(super) fn typed(values: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

pub(super) fn types(values: &[Value]) -> Vec<Type> {
    values.iter().map(Value::postgres_type).collect()
}

impl From<ColumnType> for Type {
    fn from(column: ColumnType) -> Self {
        match column {
            ColumnType::Text => Self::TEXT,
            ColumnType::Integer => Self::INT8,
            ColumnType::Octets => Self::BYTEA,
        }
    }
}

impl Value {
    fn postgres_type(&self) -> Type {
        match self {
            // The server infers the type of a null.
            Self::Null => Type::UNKNOWN,
            Self::Integer(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Octets(_) => Type::BYTEA,
            Self::Integers(_) => Type::INT8_ARRAY,
            Self::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(of_type, out),
            Self::Text(text) => text.to_sql(of_type, out),
            Self::Octets(octets) => octets.to_sql(of_type, out),
            Self::Integers(numbers) => numbers.to_sql(of_type, out),
            Self::Texts(texts) => texts.to_sql(of_type, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *of_type {
            Type::INT8 => i64::from_sql(of_type, raw).map(Self::Integer),
            Type::BYTEA => <&[u8]>::from_sql(of_type, raw).map(Self::from),
            _ => <&str>::from_sql(of_type, raw).map(Self::from),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(of_type: &Type) -> bool {
        matches!(*of_type, Type::INT8 | Type::BYTEA | Type::TEXT | Type::VARCHAR)
    }
}
