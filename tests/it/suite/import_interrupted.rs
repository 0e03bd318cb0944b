//! An import that ends in the middle of storing: what was stored is good, and the same command again stores the rest.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::command;
use crate::harness::{Database, Engine, run};

/// A hash that need not be covered, and two that are weak.
const STRONG: &str = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$\
                      Ul3MHyLsDpWjPRXYnqFtQL/gPzyRvQTBQWMZbHoNNoQ";
const WEAK: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
const OTHER: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// How many users the files have, in several slices.
const USERS: usize = 6_000;
/// How many of them were there before, with another hash.
const KNOWN: usize = 8;
/// The number of one whom no first slice has.
const LATE: usize = 3_334;

/// The name of a user. Those who were there before are all over the file.
fn name(number: usize) -> String {
    format!("user{number:04}")
}

fn is_known(number: usize) -> bool {
    number.is_multiple_of(USERS / KNOWN)
}

/// The file that is imported: every other user has a `sub`, some have weak hashes, one line is bad.
fn text_of_file() -> String {
    let lines = (0..USERS).map(|number| {
        let sub = if number % 2 == 0 { format!("sub-{number}") } else { String::new() };
        let hash = if is_known(number) || number % 1_000 == 1 { WEAK } else { STRONG };
        format!("{},{sub},\"{hash}\",read:{number},{}\n", name(number), number % 7 == 0)
    });
    let lines: Vec<String> = lines.collect();
    format!("username,sub,password_hash,scope,disabled\nb ad,,\"{STRONG}\",,\n{}", lines.concat())
}

/// A database with the users who were there before, and the file, in a folder of its own.
struct Case {
    database: Database,
    file: PathBuf,
}

impl Case {
    async fn new() -> Self {
        let database = Database::empty(ENGINE).await;
        let file = std::env::temp_dir().join(format!("jeton-{:016x}.csv", rand::random::<u64>()));
        let case = Self { database, file };
        let known = (0..USERS).filter(|number| is_known(*number));
        let lines = known.map(|number| format!("{},sub-{number},{OTHER}\n", name(number)));
        let lines: Vec<String> = lines.collect();
        let text = format!("username,sub,password_hash\n{}", lines.concat());
        std::fs::write(&case.file, text).expect("space");
        let output = case.run(&[]);
        assert!(output.status.success(), "{}", errors(&output));
        std::fs::write(&case.file, text_of_file()).expect("space");
        case
    }

    fn arguments<'a>(&'a self, options: &[&'a str]) -> Vec<&'a str> {
        let file = self.file.to_str().expect("UTF-8");
        [&["user", "import", file, "--database", &self.database.url], options].concat()
    }

    fn run(&self, options: &[&str]) -> Output {
        run(&self.arguments(options))
    }

    /// Imports the file with all that can be asked for, but its bad line: the report, and what was left out.
    fn import_whole(&self) -> (Value, String) {
        let skipped = self.skipped();
        let output = self.run(&options(&skipped));
        assert!(output.status.success(), "{}", errors(&output));
        let left_out = std::fs::read_to_string(&skipped).expect("UTF-8");
        std::fs::remove_file(&skipped).expect("it is there");
        (serde_json::from_slice(&output.stdout).expect("JSON"), left_out)
    }

    /// A new path beside the file.
    fn skipped(&self) -> String {
        let name = format!("{:016x}.skipped", rand::random::<u64>());
        self.file.with_extension(name).display().to_string()
    }

    /// Users, without what is drawn at random.
    async fn users(&self) -> Vec<Vec<Option<String>>> {
        let columns =
            "username, password_hash, user_id, scope, roles, disabled_at IS NULL, mfa_required_at";
        let mut rows =
            self.database.query(&format!("SELECT {columns} FROM users ORDER BY username")).await;
        for row in &mut rows {
            let is_covered = |hash: &String| hash.starts_with("$scrypt-over$");
            if row[1].as_ref().is_some_and(is_covered) {
                row[1] = Some("covered".to_owned());
            }
            row[2] = row[2].take().filter(|sub| sub.starts_with("sub-"));
        }
        rows
    }

    async fn count(&self, condition: &str) -> usize {
        let count = format!("SELECT COUNT(*) FROM users WHERE {condition}");
        let rows = self.database.query(&count).await;
        rows[0][0].as_deref().expect("a number").parse().expect("a number")
    }

    /// Has something done by the database just before a user is inserted.
    async fn before_inserting(&self, number: usize, statement: &str) {
        let name = name(number);
        self.database
            .run_script(&match ENGINE {
                Engine::Sqlite => format!(
                    "CREATE TRIGGER before_insert BEFORE INSERT ON users WHEN NEW.username = '{name}' \
                     BEGIN {statement}; END"
                ),
                Engine::Postgres => format!(
                    "CREATE FUNCTION before_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF NEW.username = '{name}' THEN {statement}; END IF; RETURN NEW; END $$; \
                     CREATE TRIGGER before_insert BEFORE INSERT ON users FOR EACH ROW \
                     EXECUTE FUNCTION before_insert()"
                ),
            })
            .await;
    }

    async fn no_more_before_inserting(&self) {
        let on = if ENGINE == Engine::Sqlite { "" } else { "ON users" };
        self.database.run_script(&format!("DROP TRIGGER before_insert {on}")).await;
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

fn options(skipped: &str) -> [&str; 6] {
    ["--json", "--wrap", "--scrypt", SCRYPT, "--skip-bad", skipped]
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Imports the file again, and requires that everything is as it is after an import that nothing disturbed.
async fn assert_completed(case: &Case) {
    let undisturbed = Case::new().await;
    let (expected, left_out) = undisturbed.import_whole();
    assert_eq!([&expected["added"], &expected["updated"]], [USERS - KNOWN, KNOWN]);
    let stored = case.count("scope IS NOT NULL").await;
    let (report, left_out_here) = case.import_whole();
    assert_eq!(left_out_here, left_out);
    let added = report["added"].as_u64().and_then(|added| usize::try_from(added).ok());
    assert_eq!(added.expect("a number") + stored, USERS - KNOWN, "{report}");
    assert_eq!(case.users().await, undisturbed.users().await);
    // And once more, of which nothing is new.
    let before = case.database.dump().await;
    let (report, _) = case.import_whole();
    assert_eq!(report["unchanged"], USERS, "{report}");
    assert_eq!(case.database.dump().await, before);
}

/// The database fails in the middle: the error says how many users were stored and what to do.
#[tokio::test]
async fn an_import_that_fails_in_the_middle_is_completed_by_the_same_command() {
    let case = Case::new().await;
    let fail = match ENGINE {
        Engine::Sqlite => "SELECT RAISE(ABORT, 'no room')",
        Engine::Postgres => "RAISE EXCEPTION 'no room'",
    };
    case.before_inserting(LATE, fail).await;
    let skipped = case.skipped();
    let output = case.run(&options(&skipped));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "no report of what did not happen");
    let known: Vec<String> =
        (0..LATE).filter(|number| is_known(*number)).map(|n| format!("'{}'", name(n))).collect();
    let updated = format!("username IN ({}) AND password_hash <> '{OTHER}'", known.join(", "));
    let stored = case.count("scope IS NOT NULL").await + case.count(&updated).await;
    assert!((1..LATE).contains(&stored), "{stored}");
    let said = errors(&output);
    for part in [
        "no room",
        &format!("{stored} of {USERS} users were stored before that, and stay"),
        "the same command again, with another file for --skip-bad, stores the others",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    std::fs::remove_file(skipped).expect("it is there");
    case.no_more_before_inserting().await;
    assert_completed(&case).await;
}

/// So is one that was killed.
#[tokio::test]
async fn an_import_that_is_killed_is_completed_by_the_same_command() {
    let case = Case::new().await;
    let skipped = case.skipped();
    let mut import = command(&case.arguments(&options(&skipped)));
    import.stdout(Stdio::null()).stderr(Stdio::null());
    let mut import = import.spawn().expect("it starts");
    let first_slice = async {
        while case.count("scope IS NOT NULL").await == 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_mins(1), first_slice).await.expect("it stores something");
    import.kill().expect("a child of ours");
    import.wait().expect("a child of ours");
    std::fs::remove_file(skipped).expect("it is there");
    assert_completed(&case).await;
}

/// RFC 9068 §5: a client that is added while users are stored, and named like the `sub` of one of them, keeps that user
/// out. What was stored before stays.
#[tokio::test]
async fn a_client_that_is_added_meanwhile_keeps_its_name() {
    let case = Case::new().await;
    let late = format!("sub-{LATE}");
    // The first of them is stored before the other is looked at.
    let add = format!(
        "INSERT INTO clients (client_id, settings, created_at) VALUES ('{late}', '{{}}', 1)"
    );
    case.before_inserting(1, &add).await;
    let skipped = case.skipped();
    let output = case.run(&options(&skipped));
    assert_eq!(output.status.code(), Some(4));
    let said = errors(&output);
    assert!(said.contains(&format!("the client {late} is named like the sub of a user")), "{said}");
    std::fs::remove_file(&skipped).expect("it is there");
    let stored = case.count("scope IS NOT NULL").await;
    assert!((1..LATE).contains(&stored), "{stored}");
    assert!(said.contains("users were stored before that, and stay"), "{said}");

    case.no_more_before_inserting().await;
    let both = "user_id IN (SELECT client_id FROM clients)";
    let output = case.run(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["problems"][1]["line"], LATE + 3, "{report}");
    assert_eq!(case.count("scope IS NOT NULL").await, stored);
    let (report, left_out) = case.import_whole();
    assert!(left_out.contains(&late), "{report}");
    assert_eq!(case.count("1 = 1").await, USERS - 1);
    assert_eq!(case.count(both).await, 0);
}
