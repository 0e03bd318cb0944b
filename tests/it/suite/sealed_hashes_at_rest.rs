//! What a thief finds where hashes are sealed: in files, copies and dumps, and in what an import stages.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::foreign_hashes::{RIGHT, hashes_of};
use super::sealed_hashes::{WEAK, assert_sealed, stored, succeed, succeed_on};
use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::command;
use crate::harness::{Database, Engine, Executable, Request, run};
use jeton_crypto::password::{self, PasswordHash};
use jeton_oauth::Secret;
use jeton_oauth::resource_owner::Password;

/// How many users are imported so that what is staged is written to its file.
const MANY: usize = 30_000;
/// How often that file is looked at.
const LOOKS_MAX: u32 = 30_000;

/// The end of a hash, which no other text has.
fn end_of(hash: &str) -> &[u8] {
    &hash.as_bytes()[hash.len() - 20..]
}

fn holds(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

/// Everything that a thief could read: the files of the database and what is beside them, and the rows.
async fn everything(database: &Database) -> Vec<u8> {
    let mut all = database.dump().await.into_bytes();
    for entry in std::fs::read_dir(&database.folder).expect("a folder") {
        all.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
    }
    all
}

/// A file of users with these hashes.
fn users(prefix: &str, hashes: &[String]) -> String {
    let lines = hashes.iter().enumerate();
    let lines = lines.map(|(number, hash)| format!("{prefix}{number},{hash:?}\n"));
    format!("username,password_hash\n{}", lines.collect::<String>())
}

/// A file of one client with a secret that came as a hash.
fn client(name: &str, hash: &str) -> String {
    let line = serde_json::json!({
        "client_id": name, "introspects": ["https://api1.example"], "secrets": [{"hash": hash}],
    });
    format!("{line}\n")
}

/// Hashes in every format are imported where hashes are sealed, replaced at a login and by other passwords, and so is one of
/// a client's secret: none of them is in the database, its write-ahead log, a backup or a dump, beside the service or after it.
#[tokio::test]
async fn where_hashes_are_sealed_no_file_holds_one() {
    // A process that reads the file of its own SQLite database would lose its locks: the service is another one.
    let (database, fixtures) = Database::filled(ENGINE).await;
    let succeed = |arguments: &[&str], input: &str| {
        succeed_on(&database, fixtures, arguments, input);
    };
    let hashes: Vec<String> = hashes_of(RIGHT).into_iter().map(|(_, hash)| hash).collect();
    succeed(&["user", "import", "-"], &users("before", &[WEAK.to_owned()]));
    succeed(&["import", "jsonl", "-"], &client("before", WEAK));
    let plain: Vec<String> = stored(&database).await.into_iter().map(|(_, hash)| hash).collect();
    let found = everything(&database).await;
    assert!(plain.iter().all(|hash| holds(&found, end_of(hash))), "they are there before");

    let mut service = Executable::serve_on(&database, fixtures, &[]);
    succeed(&["user", "seal", "--no-recovery", "--yes"], "");
    succeed(&["user", "import", "-"], &users("user", &hashes));
    succeed(&["import", "jsonl", "-"], &client("after", &hashes[0]));
    let form = login_form("user0", RIGHT);
    let request = Request::new(service.public, "POST", "/token").form(&form);
    let reply = request.basic("web", fixtures.secret("web")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let passwd = ["user", "passwd", "user1", "--password-stdin", "--scrypt", SCRYPT];
    succeed(&passwd, "wednesday moss candle\n");
    assert_sealed(&database).await;
    if ENGINE == Engine::Sqlite {
        let backup = ["db", "backup", "--database", &database.url, &database.path("copy.db")];
        assert!(run(&backup).status.success());
    }
    let found = everything(&database).await;
    for hash in &hashes {
        assert!(!holds(&found, end_of(hash)), "beside the service: {hash}");
    }

    // What was stored before is gone once a process has had the file to itself.
    service.stop_and_read_log();
    let list = ["user", "list", "--database", &database.url];
    assert!(run(&list).status.success());
    let found = everything(&database).await;
    for hash in hashes.iter().chain(&plain) {
        assert!(!holds(&found, end_of(hash)), "{hash}");
    }
    assert!(!holds(&found, b"$scrypt$"), "no hash of this service either");
}

/// What an import has read is in a temporary file before it is stored: sealed, under a key that is stored nowhere.
#[tokio::test]
async fn what_an_import_stages_is_sealed() {
    let jeton = jeton().await;
    let arguments = ["user", "import", "-", "--database", &jeton.database.url];
    let mut child = command(&arguments);
    child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it was piped");
    let lines = (0..MANY).map(|number| format!("user{number},\"{WEAK}\"\n"));
    let file = format!("username,password_hash\n{}", lines.collect::<String>());
    stdin.write_all(file.as_bytes()).expect("it reads");

    // The file has no name any more, but the process has it open.
    let files = format!("/proc/{}/fd", child.id());
    let mut staged = None;
    for _ in 0..LOOKS_MAX {
        staged = read_deleted(Path::new(&files));
        if staged.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let staged = staged.expect("it writes the file");
    assert!(holds(&staged, b"$sealed$"), "the users are in it");
    assert!(!holds(&staged, end_of(WEAK)) && !holds(&staged, b"$2b$12$"));
    child.kill().expect("it is a child");
    child.wait().expect("a child");
}

/// The first file among those that a process has open which was deleted and holds users.
fn read_deleted(files: &Path) -> Option<Vec<u8>> {
    let entries = std::fs::read_dir(files).ok()?.flatten();
    let is_deleted = |path: &Path| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().ends_with("(deleted)")
    };
    let mut deleted = entries.map(|entry| entry.path()).filter(|path| is_deleted(path));
    deleted.find_map(|path| {
        let mut octets = Vec::new();
        std::fs::File::open(path).ok()?.read_to_end(&mut octets).ok()?;
        holds(&octets, b"user1").then_some(octets)
    })
}

/// Tries 10,000 weak passwords on stored texts: for whom one was found.
fn guess(stored: &[(String, String)]) -> Vec<String> {
    let first = ["123456", "password", "secret"].map(str::to_owned);
    let weak: Vec<String> =
        first.into_iter().chain((3..10_000).map(|n| format!("password{n}"))).collect();
    assert_eq!(weak.len(), 10_000);
    let is_found = |hash: &str| {
        let Ok(hash) = PasswordHash::parse(hash, u64::MAX) else { return false };
        weak.iter().any(|guess| {
            let guess = Password::new(Secret::new(guess.clone()));
            password::verify(&hash, &guess).expect("memory")
        })
    };
    let found = stored.iter().filter(|(_, hash)| is_found(hash));
    found.map(|(name, _)| name.clone()).collect()
}

/// Whoever has a dump and no master key finds no text that is a hash, in any format, and so none of 10,000 weak
/// passwords. Before, the same search finds one. [W-10]
#[tokio::test]
async fn a_dump_without_the_master_key_gives_nothing_to_guess_at() {
    let jeton = jeton().await;
    succeed(&jeton, &["user", "import", "-"], &users("weak", &[WEAK.to_owned()]));
    let mut before = stored(&jeton.database).await;
    before.retain(|(name, _)| name.starts_with("weak"));
    assert_eq!(guess(&before), ["weak0"]);

    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    assert_sealed(&jeton.database).await;
    let after = stored(&jeton.database).await;
    assert!(after.iter().all(|(_, text)| PasswordHash::parse(text, u64::MAX).is_err()));
    assert_eq!(guess(&after), [""; 0]);
}
