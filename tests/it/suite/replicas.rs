//! What replicas record of themselves, and what others make of it.

use serde_json::Value;

use super::*;
use crate::harness::keys::{KeySet, key_command};
use crate::harness::{Database, Executable};

/// The settings that replicas recorded and whether each was stopped, in the order of their starts.
async fn recorded(database: &Database) -> Vec<(Value, bool)> {
    let rows = "SELECT settings, stopped_at FROM replicas ORDER BY started_at, replica_id";
    let row = |row: &Vec<Option<String>>| {
        let settings = row[0].as_deref().expect("settings");
        (serde_json::from_str(settings).expect("JSON"), row[1].is_some())
    };
    database.query(rows).await.iter().map(row).collect()
}

/// A database on which no replica ever ran.
async fn without_replicas() -> (Database, &'static crate::harness::database::Fixtures) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    database.query("DELETE FROM replicas").await;
    (database, fixtures)
}

/// Runs `jeton key …`, which must succeed; what it said.
fn key(database: &Database, master_key: &std::path::Path, arguments: &[&str]) -> String {
    let master_key = master_key.display().to_string();
    let output = key_command(database, &master_key, arguments, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// A replica records by which settings it publishes when it starts, and that it has stopped.
#[tokio::test]
async fn a_replica_records_its_settings() {
    let (database, fixtures) = without_replicas().await;
    let settings = ["--jwks-max-age", "5m", "--key-rotation", "20d"];
    let mut service = Executable::serve_on(&database, fixtures, &settings);
    let rows = recorded(&database).await;
    assert_eq!(rows.len(), 1);
    let (settings, stopped) = &rows[0];
    assert_eq!(settings["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(settings["jwks_max_age"], 300);
    assert_eq!(settings["key_rotation"], 20 * 86_400);
    assert!(settings["issuer"].as_str().is_some_and(|issuer| issuer.starts_with("http")));
    assert!(!stopped);
    service.stop_and_read_log();
    assert!(recorded(&database).await[0].1, "it has stopped");

    // One that was not seen for a day is forgotten when another says that it runs.
    database.query("UPDATE replicas SET seen_at = seen_at - 86500").await;
    let _service = Executable::serve_on(&database, fixtures, &[]);
    assert_eq!(recorded(&database).await.len(), 1);
}

/// What `jeton key` foretells follows from what the running replicas publish, not from its own settings,
/// and it says so.
#[tokio::test]
async fn commands_go_by_the_settings_of_the_replicas() {
    let (database, fixtures) = without_replicas().await;
    let said = key(&database, &fixtures.master_key, &["list"]);
    assert!(said.contains("no replica was seen running lately"), "{said}");
    assert!(said.contains("--jwks-max-age 10m"), "{said}");

    let mut replicas = ["10m", "1h"]
        .map(|age| Executable::serve_on(&database, fixtures, &["--jwks-max-age", age]));
    let own = ["rotate", "--yes", "--jwks-max-age", "10s"];
    let said = key(&database, &fixtures.master_key, &own);
    for part in ["use --jwks-max-age 1h", "was given 10s: 1h is used", "up to 1h"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let next = database.keys("signing").await.remove(1);
    assert_eq!(next.activates_at - next.created_at, 2 * 3_600 + 60);
    let master_key = fixtures.master_key.display().to_string();
    let listed = key_command(&database, &master_key, &["list", "--json"], "");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed[0]["gone_at"], next.activates_at + 3_600 + 60 + 3_600);
    let said = key(&database, &fixtures.master_key, &["revoke", &next.kid, "--yes"]);
    assert!(said.contains("up to 1h"), "{said}");

    // What it published is still cached for an hour by those who asked before it was stopped.
    for replica in &mut replicas {
        replica.stop_and_read_log();
    }
    let said = key(&database, &fixtures.master_key, &["rotate", "--yes"]);
    assert!(said.contains("was given 10m: 1h is used"), "{said}");
    let next = database.keys("signing").await.remove(2);
    // No two begin to sign in the same second, even if they were made in the same.
    let lead = next.activates_at - next.created_at - (2 * 3_600 + 60);
    assert!((0..=1).contains(&lead), "{lead}");
    key(&database, &fixtures.master_key, &["revoke", &next.kid, "--yes"]);

    database
        .query("UPDATE replicas SET seen_at = seen_at - 7200, stopped_at = stopped_at - 7200")
        .await;
    let said = key(&database, &fixtures.master_key, &["rotate", "--yes"]);
    assert!(said.contains("no replica was seen running lately"), "{said}");
    let next = database.keys("signing").await.remove(3);
    assert_eq!(next.activates_at - next.created_at, 2 * 600 + 60);
}

/// The key that a replica makes waits for those who cache the key set of another replica for longer; each
/// goes on telling its own callers its own age.
#[tokio::test]
async fn a_key_waits_for_the_caches_of_every_replica() {
    let (database, fixtures) = without_replicas().await;
    let slow = Executable::serve_on(&database, fixtures, &["--jwks-max-age", "1h"]);
    database.query("UPDATE keys SET activates_at = activates_at - 3000000").await;
    let quick = Executable::serve_on(&database, fixtures, &["--jwks-max-age", "10s"]);
    let next = database.keys("signing").await.remove(1);
    let lead = next.activates_at - next.created_at;
    assert!((2 * 3_600 + 60..2 * 3_600 + 90).contains(&lead), "{lead}");
    let ages = [KeySet::of(slow.public).await.max_age, KeySet::of(quick.public).await.max_age];
    assert_eq!(ages, [3_600, 10]);
    assert_eq!(database.keys("signing").await.len(), 2, "one is enough");
}

/// Replicas whose settings differ say so once, naming what differs.
#[tokio::test]
async fn replicas_that_differ_are_reported() {
    let (database, fixtures) = without_replicas().await;
    let issuers = ["https://one.example", "https://two.example"];
    let master_key = fixtures.master_key.display().to_string();
    let serve = |issuer: &str, further: &[&str]| {
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        Executable::serve(&[&usual[..], &["--issuer", issuer], further].concat())
    };
    let _first = serve(issuers[0], &[]);
    let mut same = serve(issuers[0], &[]);
    assert!(!same.stop_and_read_log().contains("differ in their settings"));
    let mut other = serve(issuers[1], &["--jwks-max-age", "1h"]);
    let log = other.stop_and_read_log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("differ in their")).collect();
    assert_eq!(told.len(), 1, "{log}");
    for part in [issuers[0], issuers[1], "--jwks-max-age is 1h here and 10m elsewhere"] {
        assert!(told[0].contains(part), "{part} in {}", told[0]);
    }
}
