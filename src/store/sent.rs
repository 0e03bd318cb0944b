//! Everything that PostgreSQL gets, written to a file for `tests/sql`, which parses it.

use std::fs::File;
use std::io::Write;

use serde_json::{Value, json};

use super::{copy, migration, postgres, sql};

/// One statement, and where it comes from. The statements of one `step` of a migration are transactions of their own.
fn all() -> Vec<Value> {
    let of_connections = [
        ("postgres/find_backend", postgres::FIND_BACKEND.to_owned()),
        ("postgres/find_isolation", postgres::FIND_ISOLATION.to_owned()),
    ];
    let files = sql::sent().into_iter().chain(of_connections);
    let files = files.map(|(file, text)| json!({ "file": file, "text": text }));
    let frames = postgres::frames()
        .into_iter()
        .map(|text| json!({ "file": "src/store/postgres/lease.rs", "text": text }));
    let steps = migration::sent().into_iter().flat_map(|(name, step, texts)| {
        let of_step =
            move |text| json!({ "file": format!("migration {name}"), "step": step, "text": text });
        texts.into_iter().map(of_step)
    });
    let of_copies = copy::sent();
    let of_copies = of_copies.into_iter().map(|(file, text)| json!({ "file": file, "text": text }));
    files.chain(of_copies).chain(frames).chain(steps).collect()
}

#[test]
#[ignore = "tests/sql/run calls it, with the path in JETON_STATEMENTS"]
fn what_postgresql_gets_is_written_down() {
    let path = std::env::var("JETON_STATEMENTS").expect("a path");
    let mut file = File::create(path).expect("a file");
    for statement in all() {
        writeln!(file, "{statement}").expect("it can be written");
    }
}
