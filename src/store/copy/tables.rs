//! Which tables and columns a copy has: those that the migrations make.
//!
//! They are read from an empty database in memory, so a table or a column that a migration adds is copied without a
//! further word.

use std::sync::LazyLock;

use rusqlite::Connection;

use super::super::sql::{self, Statement};
use super::super::value::{Row, Value};
use super::super::{StoreError, migration, sqlite};

/// The table that says why nobody may write. Each database has its own, and its own record of its migrations.
const GATE: &str = "write_gate";

/// All tables that are copied. A table comes after those that it refers to, because they were made before it.
pub(super) static TABLES: LazyLock<Vec<Table>> =
    LazyLock::new(|| read_tables().expect("a test runs all migrations"));

/// A table, with the statements that copy it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// The types of its columns.
    pub(super) types: Vec<ColumnType>,
    /// The places of its primary key among them.
    key: Vec<usize>,
    pub(super) first_page: Statement,
    pub(super) next_page: Statement,
    pub(super) insert: Statement,
    /// For PostgreSQL.
    pub(super) copy: Statement,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Text,
    Integer,
    Octets,
}

impl Table {
    fn new(name: &str, columns: &[Column]) -> Self {
        let names: Vec<String> = columns.iter().map(Column::quoted).collect();
        let mut key: Vec<(usize, &Column)> =
            columns.iter().enumerate().filter(|(_, column)| column.key_place > 0).collect();
        key.sort_by_key(|(_, column)| column.key_place);
        let key_names: Vec<String> = key.iter().map(|(_, column)| column.quoted()).collect();
        let key: Vec<usize> = key.into_iter().map(|(place, _)| place).collect();
        let numbered = |count: usize| {
            (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
        };
        let fill = |template: &str, values: usize| {
            let text = template.replace("{table}", name).replace("{columns}", &names.join(", "));
            let text = text.replace("{key}", &key_names.join(", "));
            Statement::new(&text.replace("{values}", &numbered(values)))
        };
        Self {
            name: name.to_owned(),
            types: columns.iter().map(|column| column.kind).collect(),
            first_page: fill(include_str!("../../../sql/templates/first_page.sql"), 0),
            next_page: fill(include_str!("../../../sql/templates/next_page.sql"), key.len()),
            insert: fill(include_str!("../../../sql/templates/insert_row.sql"), names.len()),
            copy: fill(include_str!("../../../sql/templates/copy_rows.sql"), 0),
            key,
        }
    }

    /// The primary key of a row.
    pub(super) fn key_of(&self, row: &[Value]) -> Vec<Value> {
        self.key.iter().filter_map(|place| row.get(*place).cloned()).collect()
    }
}

struct Column {
    table: String,
    name: String,
    kind: ColumnType,
    /// Counts from 1; 0 for a column that is not of the primary key.
    key_place: i64,
}

impl Column {
    /// Its name in quotation marks, because engines reserve names.
    fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let text: String = row.get("column_type")?;
        let kind = match text.as_str() {
            "TEXT" => ColumnType::Text,
            "BIGINT" => ColumnType::Integer,
            "BYTEA" => ColumnType::Octets,
            other => return Err(StoreError::Corrupt(format!("a column of the type {other}"))),
        };
        let (table, name) = (row.get("table_name")?, row.get("column_name")?);
        Ok(Self { table, name, kind, key_place: row.get("key_place")? })
    }
}

fn read_tables() -> Result<Vec<Table>, StoreError> {
    let mut memory = Connection::open_in_memory().map_err(sqlite::classify)?;
    for script in migration::scripts() {
        sqlite::run_script(&mut memory, script)?;
    }
    let rows = sqlite::query(&memory, &sql::LIST_COLUMNS, &[])?;
    let columns: Result<Vec<Column>, _> = rows.iter().map(Column::read).collect();
    let columns = columns?;
    let tables = columns.chunk_by(|one, next| one.table == next.table);
    let tables = tables.filter_map(|columns| {
        let name = &columns.first()?.table;
        (name != GATE).then(|| Table::new(name, columns))
    });
    Ok(tables.collect())
}

/// Each statement that PostgreSQL gets, with the template that it is made of.
#[cfg(test)]
pub(crate) fn sent() -> Vec<(String, String)> {
    let of_table = |table: &Table| {
        [
            ("first_page", &table.first_page),
            ("next_page", &table.next_page),
            ("copy_rows", &table.copy),
        ]
        .map(|(file, statement)| {
            (format!("templates/{file} of {}", table.name), statement.postgres.clone())
        })
    };
    TABLES.iter().flat_map(of_table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_that_migrations_make_is_copied_by_its_key() {
        let names: Vec<&str> = TABLES.iter().map(|table| &*table.name).collect();
        for name in ["users", "clients", "client_secrets", "sessions", "keys", "login_throttle"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.contains(&GATE) && !names.contains(&"schema_migrations"));
        let secrets = TABLES.iter().find(|table| table.name == "client_secrets").expect("it is");
        assert!(
            secrets.next_page.sqlite.contains(r#"("client_id", "secret_number") > (?1, ?2)"#),
            "{}",
            secrets.next_page.sqlite
        );
        assert!(TABLES.iter().all(|table| !table.key.is_empty()));
    }
}
