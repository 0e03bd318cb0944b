//! The tables: how they are made and brought up to date.

use jeton_store::{Store, StoreError};
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::harness::chaos_proxy::Outage;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, Engine, Executable, run};

/// What the test sees of the migrations that were applied.
const APPLIED: &str = "SELECT version, name, checksum, applied_at FROM schema_migrations \
                       WHERE version > 0 ORDER BY version";

/// Runs a command on a database; it must succeed, and what it prints is returned.
#[track_caller]
fn command(database: &Database, arguments: &[&str]) -> String {
    let output = run(&[arguments, &["--database", &database.url]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Migrating an empty database makes the tables; migrating again, by command or by a start, changes
/// nothing; the status says where the tables stand, and makes none.
#[tokio::test]
async fn migrations_are_applied_once() {
    let database = Database::empty(ENGINE).await;
    let status = ["db", "status", "--json", "--database", &database.url];
    let empty = run_for_json(&status, "");
    assert_eq!(empty["applied"], 0);
    let known = empty["known"].as_i64().expect("a number");
    assert!(known >= 1);
    assert!(command(&database, &["db", "status"]).contains("run `jeton db migrate`"));
    assert_eq!(run_for_json(&status, ""), empty, "looking changed nothing");
    if ENGINE == Engine::Sqlite {
        assert!(!std::path::Path::new(&database.path("jeton.db")).exists(), "nor made a file");
    }

    command(&database, &["db", "migrate"]);
    let applied = database.query(APPLIED).await;
    assert_eq!(applied.len(), usize::try_from(known).expect("small"));
    assert_eq!(
        run_for_json(&status, ""),
        json!({"applied": known, "known": known, "seen_at": null, "closed": null})
    );
    assert!(command(&database, &["db", "status"]).contains("up to date"));

    command(&database, &["db", "migrate"]);
    command(&database, &["user", "list"]);
    let master_key = database.path("master.jwk");
    for _ in 0..2 {
        let arguments = ["--database", &database.url, "--master-key-file", &master_key];
        let mut service = Executable::serve(&arguments);
        service.signal("TERM");
        assert_eq!(service.wait(), Some(0));
    }
    assert_eq!(database.query(APPLIED).await, applied);
    let keys = "SELECT kid FROM keys WHERE purpose";
    for purpose in ["signing", "refresh"] {
        let keys = database.query(&format!("{keys} = '{purpose}'")).await;
        assert_eq!(keys.len(), 1, "one first key for {purpose}");
    }
}

/// Commands that run at once on an empty database all find its tables made.
#[tokio::test]
async fn many_may_migrate_at_once() {
    let database = Database::empty(ENGINE).await;
    std::thread::scope(|scope| {
        let migrate = || command(&database, &["db", "migrate"]);
        let running: Vec<_> = (0..5).map(|_| scope.spawn(migrate)).collect();
        for one in running {
            one.join().expect("it succeeds");
        }
    });
    assert_eq!(
        database.query("SELECT COUNT(*) FROM schema_migrations WHERE version = 1").await[0][0],
        Some("1".to_owned())
    );
}

/// A start on tables that are up to date needs no right to change them, and does not write: on
/// PostgreSQL under a role that may read and write rows only, on SQLite the schema stays as it is.
#[tokio::test]
async fn a_service_needs_no_right_to_change_tables() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let before = (database.dump().await, database.query("SELECT * FROM schema_migrations").await);
    let (url, role) = match ENGINE {
        Engine::Sqlite => (database.url.clone(), None),
        Engine::Postgres => {
            let name = database.url.rsplit('/').next().expect("a URL that names a database");
            let role = format!("{name}_app");
            for statement in [
                format!("CREATE ROLE {role} LOGIN"),
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
                "GRANT USAGE ON SCHEMA public TO PUBLIC".to_owned(),
                format!("GRANT SELECT ON schema_migrations, write_gate TO {role}"),
                format!(
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON users, clients, client_secrets, \
                     sessions, keys, login_throttle, replicas, clock, operator_acts TO {role}"
                ),
            ] {
                database.query(&statement).await;
            }
            (database.url.replace("//postgres@", &format!("//{role}@")), Some(role))
        }
    };
    let service = Executable::serve(&["--database", &url, "--master-key-file", &master_key]);
    assert_eq!(
        (database.dump().await, database.query("SELECT * FROM schema_migrations").await),
        before
    );
    let form = login_form("alice", PASSWORD);
    let request = crate::harness::Request::new(service.public, "POST", "/token").form(&form);
    let reply = request.basic("web", fixtures.secret("web")).send().await;
    reply.access_token();
    assert_eq!(run(&["user", "list", "--database", &url]).status.code(), Some(0));
    drop(service);

    let Some(role) = role else { return };
    // An empty database, however, it cannot fill, and says which right it lacks.
    let empty = Database::empty(ENGINE).await;
    empty.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let (server, name) = empty.url.rsplit_once('/').expect("a URL that names a database");
    let url = format!("{}/{name}", server.replace("//postgres@", &format!("//{role}@")));
    let output = run(&["db", "migrate", "--database", &url]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("permission denied"), "{errors}");
    assert!(errors.contains("a role that may create tables"), "{errors}");
    database.query(&format!("DROP OWNED BY {role}")).await;
    database.query(&format!("DROP ROLE {role}")).await;
}

/// A row that nobody can read harms the requests that need it, and none that are asked at the same
/// time: those that share a statement with them included.
#[tokio::test]
async fn an_unreadable_row_harms_no_other() {
    let jeton = jeton().await;
    let good = jeton.login_through("web", "").await.access_token();
    let bad = jeton.login_through("other", "").await.access_token();
    jeton.database.query("UPDATE sessions SET audiences = 'x' WHERE client_id = 'other'").await;
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let expected = if number % 2 == 0 { 200 } else { 500 };
        let token = if number % 2 == 0 { &good } else { &bad };
        let request = jeton.post_as("rs1", "/introspect", &format!("token={token}"));
        asking.spawn(async move { (request.send().await.status, expected) });
    }
    for (status, expected) in asking.join_all().await {
        assert_eq!(status, expected);
    }
}

/// ASVS 5.0 §13.3.2: the file of the embedded store, which holds password hashes, is readable by its
/// owner alone, and so are the files that SQLite puts beside it.
#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::migrated(Engine::Sqlite).await;
    let mut files = 0;
    for entry in std::fs::read_dir(&database.folder).expect("the folder of the test") {
        let entry = entry.expect("a readable folder");
        let mode = entry.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files > 0);
}

/// Whether the database takes writes is seen by writing; whoever asks is told why it does not, and once it
/// does again.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_seen() {
    let database = Database::migrated(ENGINE).await;
    let (url, mut outage) = Outage::before(&database).await;
    let store = Store::open(&url.parse().expect("a location")).await.expect("it opens");
    let check = async || store.check_write("a check".to_owned()).await;
    assert_eq!(check().await, Ok(()));
    outage.begin();
    until(async || check().await.is_err()).await;
    let why = check().await;
    assert!(matches!(why, Err(StoreError::Unavailable(_))), "{why:?}");
    outage.end();
    until(async || check().await.is_ok()).await;
    let left = database.query("SELECT * FROM replicas").await;
    assert!(left.is_empty(), "nothing is left of a check: {left:?}");
    store.close().await;
}

/// Asks again and again until something is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never was");
}

/// `jeton db backup` and `jeton db restore` are for the engine that is a file; for the other they name the
/// programs that do it, and do nothing.
#[tokio::test]
async fn a_server_is_backed_up_by_its_own_programs() {
    let database = Database::migrated(ENGINE).await;
    let copy = database.path("copy");
    for (command, program) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let further: &[&str] = if command == "restore" { &["--yes"] } else { &[] };
        let all = [&["db", command, &copy, "--database", &database.url], further].concat();
        let output = run(&all);
        let errors = String::from_utf8_lossy(&output.stderr);
        match ENGINE {
            Engine::Sqlite => assert!(output.status.success(), "{errors}"),
            Engine::Postgres => {
                assert_eq!(output.status.code(), Some(1));
                assert!(errors.contains(program), "{errors}");
                assert!(!std::path::Path::new(&copy).exists());
            }
        }
    }
}
