//! What was replaced or deleted is not left behind in the file, for whoever gets at it later to guess at.

use rusqlite::Connection;

use super::*;
use crate::harness::{Engine, Request, refresh_form, run, run_with_input};

/// A hash of `secret`, as other programs store it.
const FOREIGN: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
/// Other hashes, of passwords that nobody uses.
const OTHERS: [&str; 2] = [
    "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS",
    "$2b$04$aMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS",
];

/// Whether a text stands in the file of a database, or in one that belongs to it.
fn holds(file: &Path, text: &str) -> bool {
    let files = files_in(file.parent().expect("a folder"));
    files.iter().any(|name| {
        let octets = std::fs::read(file.with_file_name(name)).expect("it is there");
        octets.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

/// Runs a command on the database, which must succeed: what it printed.
fn succeed(database: &Database, arguments: &[&str], input: &str) -> String {
    let output = run_with_input(&[arguments, &["--database", &database.url]].concat(), input);
    assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn import(database: &Database, names: &[&str], hash: &str) {
    let lines: Vec<String> = names.iter().map(|name| format!("{name},\"{hash}\"\n")).collect();
    let file = format!("username,password_hash\n{}", lines.concat());
    succeed(database, &["user", "import", "-"], &file);
}

async fn cell(database: &Database, statement: &str) -> String {
    database.query(statement).await.remove(0).remove(0).expect("a value")
}

/// Adds rows and deletes them as a version did that overwrote nothing, and marks the file as one of its files.
fn leave_behind(file: &Path, hash: &str) -> Connection {
    let connection = Connection::open(file).expect("the file");
    let script = "PRAGMA secure_delete = OFF; PRAGMA user_version = 0; PRAGMA journal_mode = WAL";
    connection.execute_batch(script).expect("settings");
    for number in 0..200 {
        let columns = "user_id, username, password_hash, password_changed_at, roles, created_at";
        let insert = format!(
            "INSERT INTO users ({columns}) VALUES ('old{number}', 'old{number}', '{hash}', 0, '[]', 0)"
        );
        connection.execute_batch(&insert).expect("a user");
    }
    connection.execute_batch("DELETE FROM users WHERE user_id LIKE 'old%'").expect("no user");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("one file");
    assert!(holds(file, hash), "the old version left it there");
    connection
}

/// A hash that was replaced by a better one at a login, by another password or by another import, or that was
/// deleted with its user, is gone from the files when the command ends, or the service. So are sessions that
/// ended, secrets that were removed, and keys as they were sealed before.
#[tokio::test]
async fn what_was_replaced_or_deleted_is_overwritten() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let file = file_of(&database);
    let of = |name: &str| format!("SELECT password_hash FROM users WHERE username = '{name}'");
    import(&database, &["upgraded", "spare", "further"], FOREIGN);
    import(&database, &["again"], OTHERS[0]);
    let (of_bob, of_mfa) = (cell(&database, &of("bob")).await, cell(&database, &of("mfa")).await);
    let mut service = Executable::serve_on(&database, fixtures, &[]);

    succeed(&database, &["user", "passwd", "bob", "--password-stdin"], "wednesday moss candle\n");
    assert!(!holds(&file, &of_bob), "another password, beside the service");
    succeed(&database, &["user", "delete", "mfa", "--yes"], "");
    assert!(!holds(&file, &of_mfa), "a deleted user, beside the service");
    import(&database, &["again"], OTHERS[1]);
    assert!(!holds(&file, OTHERS[0]) && holds(&file, OTHERS[1]), "another import");

    for name in ["upgraded", "spare"] {
        let form = login_form(name, "secret") + "&scope=read";
        let request = Request::new(service.public, "POST", "/token").form(&form);
        assert_eq!(request.basic("web", fixtures.secret("web")).send().await.status, 200);
    }
    let (revoked, refreshed) = (log_in(&service, fixtures).await, log_in(&service, fixtures).await);
    let as_web = |target: &str, form: &str| {
        let request = Request::new(service.public, "POST", target).form(form);
        request.basic("web", fixtures.secret("web"))
    };
    let token = revoked.refresh_token();
    assert_eq!(as_web("/revoke", &format!("token={token}")).send().await.status, 200);
    let again = as_web("/token", &refresh_form(&refreshed.refresh_token())).send().await;
    again.refresh_token();
    succeed(&database, &["session", "revoke", "--user", "alice"], "");
    succeed(&database, &["user", "delete", "further", "--yes"], "");
    service.stop_and_read_log();
    assert_eq!(files_in(&database.folder), ["jeton.db"]);
    assert!(!holds(&file, FOREIGN), "hashes that were replaced at a login");
    for reply in [&revoked, &refreshed] {
        assert!(!holds(&file, &session_of(reply)), "a session that ended");
    }

    let before = cell(&database, "SELECT sealed_key FROM keys WHERE purpose = 'signing'").await;
    let (new, old) = (database.path("new.jwk"), fixtures.master_key.display().to_string());
    let rewrap = ["key", "rewrap", "--yes", "--master-key-file", &format!("{new},{old}")];
    succeed(&database, &rewrap, "");
    // What is short may be anything; this is most of the key.
    assert!(!holds(&file, &before[before.len() / 2..before.len() / 2 + 64]), "a sealed key");
}

/// A file that was written by a version that overwrote nothing is written anew, once, by the first that has it
/// to itself. Beside another process that uses it nothing is done and nobody waits.
#[tokio::test]
async fn a_file_of_an_earlier_version_is_written_anew_once() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let file = file_of(&database);
    let users = succeed(&database, &["user", "list"], "");
    let used = leave_behind(&file, FOREIGN);
    assert_eq!(succeed(&database, &["user", "list"], ""), users);
    assert!(holds(&file, FOREIGN), "another uses it");
    drop(used);
    assert_eq!(succeed(&database, &["user", "list"], ""), users);
    assert!(!holds(&file, FOREIGN));
    assert_eq!(files_in(&database.folder), ["jeton.db"]);
    let whole = std::fs::read(&file).expect("it is there");
    assert_eq!(succeed(&database, &["user", "list"], ""), users);
    assert_eq!(std::fs::read(&file).expect("it is there"), whole, "it is not written again");
    assert_eq!(cell(&database, "PRAGMA user_version").await, "1");
}

/// A copy holds nothing that was deleted, whatever the file does that it is made of; a restore from a plain copy
/// of such a file leaves it nowhere but in the one that is kept aside.
#[tokio::test]
async fn copies_hold_nothing_that_was_deleted() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let file = file_of(&database);
    let used = leave_behind(&file, FOREIGN);
    let folder = new_folder();
    let copy = folder.join("copy.db");
    succeed(&database, &["db", "backup", &copy.display().to_string()], "");
    assert!(holds(&file, FOREIGN), "the service that uses it is left in peace");
    assert!(!holds(&copy, FOREIGN));

    drop(used);
    let plain = folder.join("plain.db");
    std::fs::copy(&file, &plain).expect("a plain copy");
    let restored =
        succeed(&database, &["db", "restore", &plain.display().to_string(), "--yes"], "");
    let (_, kept) = restored.split_once("kept: ").expect("where the one before is");
    let (kept, warning) = kept.split_once('\n').expect("a line");
    assert!(warning.contains("hashes") && warning.contains("delete it"), "{restored}");
    assert!(kept.contains(".replaced-"), "{kept}");
    let octets = std::fs::read(&file).expect("it is there");
    let is_left = octets.windows(FOREIGN.len()).any(|part| part == FOREIGN.as_bytes());
    assert!(!is_left, "the restored database");
    assert!(run(&["user", "list", "--database", &database.url]).status.success());
    std::fs::remove_dir_all(folder).ok();
}
