//! `jeton db copy` and `jeton db reopen`: moving to another database, of the same engine or the other one, and back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Output;

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::{run_for_json, serve_in_vain};
use crate::harness::keys::JWKS;
use crate::harness::{Database, Engine, Executable, Request, run};

/// A target that has no database yet: of the other engine, if that is there.
async fn other_target() -> Database {
    let engine = if ENGINE == Engine::Postgres { Engine::Sqlite } else { ENGINE };
    Database::empty(engine).await
}

fn copy(from: &Database, to: &Database) -> Output {
    run(&["db", "copy", "--from", &from.url, "--to", &to.url, "--yes", "--json"])
}

fn copied(from: &Database, to: &Database) -> Value {
    run_for_json(&["db", "copy", "--from", &from.url, "--to", &to.url, "--yes", "--json"], "")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same database by another value.
fn copy_of(database: &Database) -> Database {
    Database { url: database.url.clone(), folder: crate::harness::database::new_folder() }
}

/// Why a database takes no changes.
fn closed(database: &Database) -> Value {
    run_for_json(&["db", "status", "--json", "--database", &database.url], "")["closed"].take()
}

/// Waits until a replica has seen that its database is closed, and asserts that it is ready.
async fn is_ready_as_source(management: SocketAddr) {
    loop {
        let reply = Request::new(management, "GET", "/readyz").send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if reply.json()["database"] == "is copied, so it takes no writes" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Digests of all tables but the one in which the target records that it was copied.
fn digests(report: &Value) -> Vec<Value> {
    let tables = report["tables"].as_array().expect("tables").iter();
    tables.filter(|table| table["table"] != "operator_acts").cloned().collect()
}

/// Everything is moved to the other engine and back, and is the same on both by count and digest. A replica on the
/// copy, with the same master key, knows every session, and the sources take no changes any more.
#[tokio::test]
async fn everything_is_moved_and_moved_back() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    jeton.token(&login_form("alice", "wrong")).await;
    let (there, back) = (other_target().await, Database::empty(ENGINE).await);
    let report = copied(&jeton.database, &there);
    let rows = |name: &str| {
        let tables = report["tables"].as_array().expect("tables");
        tables.iter().find(|table| table["table"] == name).expect("it is there")["rows"].clone()
    };
    assert_eq!(rows("sessions"), 1);
    assert!(rows("login_throttle").as_i64() > Some(0) && rows("keys").as_i64() > Some(2));
    assert_eq!(digests(&copied(&there, &back)), digests(&report));
    for retired in [&jeton.database, &there] {
        assert_eq!(closed(retired)["reason"], "moved");
    }
    assert_eq!(closed(&back), Value::Null);

    let replica = jeton.replica_at(&back.url).await;
    let form = format!("grant_type=refresh_token&refresh_token={}", login.refresh_token());
    let secret = jeton.fixtures.secret("web");
    let request = Request::new(replica.public, "POST", "/token").basic("web", secret);
    assert_eq!(request.form(&form).send().await.status, 200);
    let acts = run_for_json(&["audit", "--json", "--database", &back.url], "");
    let acts: Vec<&Value> = acts.as_array().expect("acts").iter().map(|act| &act["act"]).collect();
    let count = acts.iter().filter(|act| **act == "database_copied").count();
    assert_eq!(count, 2, "those of both targets: {acts:?}");
    let dates =
        "SELECT version, applied_at FROM schema_migrations WHERE version > 0 ORDER BY version";
    assert_eq!(back.query(dates).await, jeton.database.query(dates).await);
}

/// What the catalogue says: each table with its columns and their types. `clients` comes first, because other tables
/// refer to it. The gate and the record of migrations are each database's own.
async fn tables_of(database: &Database) -> BTreeMap<(bool, String), Vec<(String, String)>> {
    let catalogue = match ENGINE {
        Engine::Sqlite => {
            "SELECT made.name, held.name, lower(held.type) FROM sqlite_schema AS made \
             INNER JOIN pragma_table_info(made.name) AS held WHERE made.type = 'table' ORDER BY 1, 2"
        }
        Engine::Postgres => {
            "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = current_schema() ORDER BY 1, 2"
        }
    };
    let mut tables: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in database.query(catalogue).await {
        let [Some(table), Some(column), Some(kind)] = &row[..] else { panic!("{row:?}") };
        if !["write_gate", "schema_migrations"].contains(&table.as_str()) {
            let key = (table != "clients", table.clone());
            tables.entry(key).or_default().push((format!("\"{column}\""), kind.clone()));
        }
    }
    tables
}

/// Adds a row that has a value in every column.
async fn add_full_row(database: &Database, table: &str, columns: &[(String, String)]) {
    let value = |(place, (name, kind)): (usize, &(String, String))| match kind.as_str() {
        "bigint" => (7_000 + place).to_string(),
        "bytea" if ENGINE == Engine::Sqlite => format!("x'00ff{place:02x}'"),
        "bytea" => format!("'\\x00ff{place:02x}'"),
        // The copy reads those of replicas.
        _ if name == "\"settings\"" => {
            r#"'{"version":"0","issuer":"","jwks_max_age":1,"key_rotation":1,"knows_migration":9}'"#
                .to_owned()
        }
        _ => format!("'zoé of {}'", name.trim_matches('"')),
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<String> = columns.iter().enumerate().map(value).collect();
    let (names, values) = (names.join(", "), values.join(", "));
    database.query(&format!("INSERT INTO {table} ({names}) VALUES ({values})")).await;
}

/// All tables and columns that the catalogue names arrive, on the other engine and back, also those that a later
/// migration adds: here every column of every table has a value.
#[tokio::test]
async fn every_column_of_every_table_is_copied() {
    let (source, _) = Database::filled(ENGINE).await;
    let tables = tables_of(&source).await;
    for ((_, table), columns) in &tables {
        add_full_row(&source, table, columns).await;
    }
    let (there, back) = (other_target().await, Database::empty(ENGINE).await);
    copied(&source, &there);
    copied(&there, &back);
    assert_eq!(tables_of(&back).await, tables);
    for ((_, table), columns) in &tables {
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let read = format!("SELECT {} FROM {table}", names.join(", "));
        let (sent, arrived) = (source.query(&read).await, back.query(&read).await);
        assert!(sent.iter().any(|row| row.iter().all(Option::is_some)), "{table}: {sent:?}");
        assert!(sent.iter().all(|row| arrived.contains(row)), "{table}: {sent:?} {arrived:?}");
        // Each target records that it was copied.
        let further = if table == "operator_acts" { 2 } else { 0 };
        assert_eq!(arrived.len(), sent.len() + further, "{table}");
    }
}

/// From one database to another of the same engine; on PostgreSQL also to another schema of the same database. Both keep
/// what they had, and each is closed or open by itself.
#[tokio::test]
async fn everything_is_moved_within_an_engine() {
    let (source, fixtures) = Database::filled(ENGINE).await;
    let mut target = Database::empty(ENGINE).await;
    let report = copied(&source, &target);
    assert_eq!((&closed(&source)["reason"], closed(&target)), (&json!("moved"), Value::Null));
    if ENGINE == Engine::Postgres {
        target.run_script("CREATE SCHEMA other").await;
        let (before, url) = (copy_of(&target), &mut target.url);
        url.push_str("?options=-csearch_path%3Dother");
        assert_eq!(digests(&copied(&before, &target)), digests(&report));
        assert_eq!((&closed(&before)["reason"], closed(&target)), (&json!("moved"), Value::Null));
    }
    let service = Executable::serve_on(&target, fixtures, &[]);
    let form = format!("{}&client_id=spa", login_form("alice", PASSWORD));
    assert_eq!(Request::new(service.public, "POST", "/token").form(&form).send().await.status, 200);
}

/// A service whose database was copied answers what changes nothing, is ready for that, and answers the rest 503 with
/// Retry-After, until the operator gives the copy up.
#[tokio::test]
async fn a_source_serves_what_it_need_not_write() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    copied(&jeton.database, &other_target().await);
    let form = format!("token={}", login.access_token());
    for reply in [
        jeton.login_through("web", "").await,
        jeton.refresh("web", &login.refresh_token(), "").await,
        jeton.post_as("web", "/revoke", &form).send().await,
    ] {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(reply.header("retry-after"), "10");
    }
    assert!(jeton.is_active(&login.access_token()).await);
    assert_eq!(jeton.request("GET", JWKS).send().await.status, 200);
    is_ready_as_source(jeton.service.management).await;
    // One that starts now does the same.
    let replica = jeton.replica().await;
    is_ready_as_source(replica.management).await;
    let changed = run(&["user", "disable", "alice", "--database", &jeton.database.url]);
    assert_eq!(changed.status.code(), Some(6), "{}", said(&changed));
    assert!(said(&changed).contains("`jeton db status` says why"), "{}", said(&changed));

    let reopen = run(&["db", "reopen", "--yes", "--database", &jeton.database.url]);
    assert!(reopen.status.success(), "{}", said(&reopen));
    assert_eq!(closed(&jeton.database), Value::Null);
    assert_eq!(jeton.refresh("web", &login.refresh_token(), "").await.status, 200);
    let acts = run_for_json(&["audit", "--json", "--database", &jeton.database.url], "");
    assert_eq!(
        acts.as_array().and_then(|acts| acts.last()).expect("one")["act"],
        "database_reopened"
    );
    let again = run(&["db", "reopen", "--yes", "--database", &jeton.database.url]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing was changed"));
}

/// Only an empty target is filled. The refusal says which table has rows, and leaves the source open.
#[tokio::test]
async fn a_target_with_rows_is_refused() {
    let (source, _) = Database::filled(ENGINE).await;
    let (other, _) = Database::filled(ENGINE).await;
    for target in [&other, &source] {
        let output = copy(&source, target);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(
            said(&output).contains("is not empty, there are rows in users"),
            "{}",
            said(&output)
        );
    }
    assert_eq!((closed(&source), closed(&other)), (Value::Null, Value::Null));
    let migrated = Database::migrated(ENGINE).await;
    assert!(copy(&source, &migrated).status.success(), "tables without rows are no rows");
}

/// What a copy that was killed leaves: a source that takes no changes, and a target that no service uses. Both say so,
/// and the same command begins anew.
#[tokio::test]
async fn an_interrupted_copy_says_so_and_is_begun_anew() {
    let (source, fixtures) = Database::filled(ENGINE).await;
    let target = Database::migrated(ENGINE).await;
    source.query(&left_closed("copying", "there")).await;
    target.query(&left_closed("unfinished", "here")).await;
    assert_eq!(
        (&closed(&source)["reason"], &closed(&target)["reason"]),
        (&json!("copying"), &json!("unfinished"))
    );
    let master_key = fixtures.master_key.display().to_string();
    let (code, log) = serve_in_vain(&["--database", &target.url, "--master-key-file", &master_key]);
    assert_eq!(code, Some(1));
    assert!(log.contains("is not complete") && log.contains("`jeton db copy` again"), "{log}");
    let reopen = run(&["db", "reopen", "--yes", "--database", &target.url]);
    assert_eq!(reopen.status.code(), Some(5), "{}", said(&reopen));
    let onward = copy(&target, &Database::empty(ENGINE).await);
    assert_eq!(onward.status.code(), Some(4), "{}", said(&onward));
    assert!(said(&onward).contains("not complete"), "{}", said(&onward));

    copied(&source, &target);
    assert_eq!((&closed(&source)["reason"], closed(&target)), (&json!("moved"), Value::Null));
    Executable::serve_on(&target, fixtures, &[]);
}

/// Has a target refuse the users of the template, some of whom have the same roles.
const REFUSES_USERS: &str = "CREATE UNIQUE INDEX refuses_users ON users (roles)";

/// What is written into a database that a copy closed which was killed.
fn left_closed(reason: &str, peer: &str) -> String {
    format!(
        "INSERT INTO write_gate (gate_id, reason, closed_below, closed_at, run, peer) \
         VALUES (1, '{reason}', 9223372036854775807, 1700000000, 'killed', '{peer}')"
    )
}

/// A database that was moved is not moved once more: what has happened since in the copy would be missing.
#[tokio::test]
async fn a_source_that_was_moved_is_copied_again_only_after_it_was_reopened() {
    let (source, _) = Database::filled(ENGINE).await;
    let (first, second) = (Database::empty(ENGINE).await, Database::migrated(ENGINE).await);
    copied(&source, &first);
    let peer = closed(&source)["peer"].clone();
    for target in [&second, &first] {
        let again = copy(&source, target);
        assert_eq!(again.status.code(), Some(4), "{}", said(&again));
        assert!(said(&again).contains("copy from that one"), "{}", said(&again));
        assert!(said(&again).contains(peer.as_str().expect("a name")), "{}", said(&again));
    }
    assert_eq!((&closed(&source)["peer"], closed(&second)), (&peer, Value::Null));
    assert!(run(&["db", "reopen", "--yes", "--database", &source.url]).status.success());
    copied(&source, &second);
}

/// A source that was closed before stays so if the next copy fails too, and that is said.
#[tokio::test]
async fn a_copy_that_fails_after_a_killed_one_says_that_the_source_is_closed() {
    let (source, _) = Database::filled(ENGINE).await;
    let target = Database::migrated(ENGINE).await;
    source.query(&left_closed("copying", "there")).await;
    target.query(REFUSES_USERS).await;
    let output = copy(&source, &target);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("still takes no changes"), "{}", said(&output));
    assert!(said(&output).contains("`jeton db reopen`"), "{}", said(&output));
    assert_eq!(closed(&source)["reason"], "copying");
}

/// A copy that was killed after its last step has left a target that is complete. The same command says so.
#[tokio::test]
async fn a_copy_that_was_killed_after_its_last_step_is_complete() {
    let (source, fixtures) = Database::filled(ENGINE).await;
    let target = Database::empty(ENGINE).await;
    copied(&source, &target);
    source.query("UPDATE write_gate SET reason = 'copying'").await;
    let output = copy(&source, &target);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("is complete and can be used"), "{}", said(&output));
    Executable::serve_on(&target, fixtures, &[]);
}

/// A database without rows that is named twice is left as it was.
#[tokio::test]
async fn a_database_is_not_copied_onto_itself() {
    let database = Database::migrated(ENGINE).await;
    let output = copy(&database, &database);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("are the same database"), "{}", said(&output));
    assert_eq!(closed(&database), Value::Null);
}

/// A target whose tables were not all made when their maker was killed. The advice leaves it empty.
#[tokio::test]
async fn a_target_with_some_of_its_tables_is_to_be_migrated() {
    let (source, _) = Database::filled(ENGINE).await;
    let target = Database::migrated(ENGINE).await;
    target.query("DELETE FROM schema_migrations WHERE version > 8").await;
    let output = copy(&source, &target);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("run `jeton db migrate` with it, and this command again"),
        "{}",
        said(&output)
    );
    assert_eq!(closed(&source), Value::Null);
    assert!(run(&["db", "migrate", "--database", &target.url]).status.success());
    copied(&source, &target);
}

/// A source that is closed is not migrated. A newer program says why, and gives the copy up.
#[tokio::test]
async fn a_closed_source_with_older_tables_is_reopened_before_it_is_migrated() {
    let (source, _) = Database::filled(ENGINE).await;
    source.query("DELETE FROM schema_migrations WHERE version > 9").await;
    source.query(&left_closed("copying", "there")).await;
    let of_source = |arguments: &[&str]| run(&[arguments, &["--database", &source.url]].concat());
    assert_eq!(of_source(&["db", "migrate"]).status.code(), Some(6));
    let status = of_source(&["db", "status"]);
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(
        status.contains("copies it to there") && status.contains("`jeton db reopen`"),
        "{status}"
    );
    assert_eq!(closed(&source)["reason"], "copying");
    let reopened = of_source(&["db", "reopen", "--yes"]);
    assert!(reopened.status.success(), "{}", said(&reopened));
    assert!(of_source(&["db", "migrate"]).status.success());
    assert_eq!(closed(&source), Value::Null);
    assert!(copy(&source, &Database::empty(ENGINE).await).status.success());
}

/// A copy that fails leaves the source open.
#[tokio::test]
async fn a_copy_that_fails_leaves_the_source_open() {
    let (source, _) = Database::filled(ENGINE).await;
    let target = Database::migrated(ENGINE).await;
    target.query(REFUSES_USERS).await;
    let output = copy(&source, &target);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("takes changes as before"), "{}", said(&output));
    assert_eq!(closed(&source), Value::Null, "{}", said(&output));
}

/// A replica of version 0.2.0 knows nothing of a closed database and would write on.
#[tokio::test]
async fn a_source_with_a_replica_of_before_is_refused() {
    let (source, _) = Database::filled(ENGINE).await;
    let old = r#"{"version":"0.2.0","issuer":"http://localhost","jwks_max_age":300,"key_rotation":7776000}"#;
    source
        .query(&format!(
            "INSERT INTO replicas (replica_id, settings, started_at, seen_at) VALUES ('old', '{old}', 1, 9000000000)"
        ))
        .await;
    let output = copy(&source, &Database::empty(ENGINE).await);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("the replica old is of version 0.2.0"), "{}", said(&output));
    assert_eq!(closed(&source), Value::Null);
}
