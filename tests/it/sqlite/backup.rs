//! `jeton db backup` and `jeton db restore`.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::harness::{Engine, Jeton, refresh_form, run};

/// A backup that is made while clients log in and refresh is whole, and has every session that was
/// answered before it began.
#[tokio::test]
async fn a_backup_under_load_is_whole() {
    let jeton = Jeton::start(Engine::Sqlite).await;
    let stop = AtomicBool::new(false);
    let load = async {
        let mut token = jeton.login_through("web", "&scope=read").await.refresh_token();
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..20 {
                token = jeton.token(&refresh_form(&token)).await.refresh_token();
            }
            jeton.access_token().await;
        }
    };
    let backups = async {
        for round in 0..5 {
            let mut answered = HashSet::new();
            for _ in 0..3 {
                let reply = jeton.login_through("web", "").await;
                answered.insert(session_of(&reply));
            }
            let copy = jeton.database.folder.join(format!("copy-{round}"));
            jeton.command(&format!("db backup {}", copy.display())).await;
            let mode = std::fs::metadata(&copy).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let copy = copy_of(&copy);
            assert_eq!(copy.query("PRAGMA integrity_check").await, [[Some("ok".to_owned())]]);
            let sessions = sessions_of(&copy).await;
            assert!(answered.is_subset(&sessions), "{answered:?} of {sessions:?}");
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, backups);
    assert!(is_tidy(&jeton.database.folder));
}

/// A backup replaces nothing unless told to, and makes nothing if it fails.
#[tokio::test]
async fn a_backup_is_there_whole_or_not_at_all() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let target = database.folder.join("copy");
    std::fs::write(&target, "something").expect("a file");
    let path = target.display().to_string();
    let back_up = |further: &[&str]| {
        let usual = ["db", "backup", &path, "--database", &database.url];
        run(&[&usual[..], further].concat())
    };
    let refused = back_up(&[]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(errors(&refused).contains("--force"), "{}", errors(&refused));
    assert_eq!(std::fs::read(&target).expect("it is there"), b"something");

    let damaged = file_of(&database);
    let octets = std::fs::read(&damaged).expect("it is there");
    // Pages in the middle that nobody reads at start.
    let mut broken = octets.clone();
    broken[octets.len() / 4..octets.len() - 4_096].fill(0x5a);
    std::fs::write(&damaged, broken).expect("it can be written");
    let failed = back_up(&["--force"]);
    assert_eq!(failed.status.code(), Some(1), "{}", errors(&failed));
    assert_eq!(std::fs::read(&target).expect("it is there"), b"something");
    assert!(is_tidy(&database.folder));

    std::fs::write(&damaged, octets).expect("it can be written");
    let made = back_up(&["--force"]);
    assert!(made.status.success(), "{}", errors(&made));
    assert!(std::fs::read(&target).expect("it is there").starts_with(b"SQLite format 3\0"));
    let itself = run(&[
        "db",
        "backup",
        &damaged.display().to_string(),
        "--force",
        "--database",
        &database.url,
    ]);
    assert!(errors(&itself).contains("the database itself"), "{}", errors(&itself));
}

/// What `jeton db restore` does with a copy.
fn restore(database: &Database, copy: &Path, further: &[&str]) -> Output {
    let copy = copy.display().to_string();
    let usual = ["db", "restore", &copy, "--yes", "--database", &database.url];
    run(&[&usual[..], further].concat())
}

/// A restore takes the place of the database only when nobody uses it. Then sessions and passwords are
/// as they were, and what was there before is kept, whole.
#[tokio::test]
async fn a_restore_brings_back_what_was_copied() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let early = log_in(&service, fixtures).await;
    let copy = database.folder.join("copy");
    let back_up = ["db", "backup", &database.path("copy"), "--database", &database.url];
    let output = run(&back_up);
    assert!(output.status.success(), "{}", errors(&output));
    let late = log_in(&service, fixtures).await;

    let refused = restore(&database, &copy, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(errors(&refused).contains("is in use: stop the service"), "{}", errors(&refused));
    log_in(&service, fixtures).await.access_token();
    // A process that is killed leaves a log behind.
    service.signal("KILL");
    assert_eq!(service.wait(), None);

    let restored = restore(&database, &copy, &[]);
    assert!(restored.status.success(), "{}", errors(&restored));
    for consequence in ["Passwords that were changed", "revoked", "opened since", "exchanged since"]
    {
        assert!(errors(&restored).contains(consequence), "{}", errors(&restored));
    }
    assert_eq!(sessions_of(&database).await, HashSet::from([session_of(&early)]));
    let kept = files_in(&database.folder).into_iter();
    let kept = kept.filter(|name| name.contains(".replaced-")).collect::<Vec<_>>();
    let whole = format!("sqlite:{}", database.folder.join(&kept[0]).display());
    let whole = Database { url: whole, folder: new_folder() };
    assert!(sessions_of(&whole).await.contains(&session_of(&late)), "{kept:?}");
    let _service = Executable::serve_on(&database, fixtures, &[]);
}

/// A database that `jeton db copy` has closed can be backed up. That backup is closed too, so it is reopened before it is
/// restored.
#[tokio::test]
async fn a_closed_database_is_backed_up_and_reopened_before_it_is_restored() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let moved = Database::empty(Engine::Sqlite).await;
    let backup = database.path("copy");
    for arguments in [
        ["db", "copy", "--yes", "--from", &database.url, "--to", &moved.url].as_slice(),
        &["db", "backup", &backup, "--database", &database.url],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", errors(&output));
    }
    let copy = database.folder.join("copy");
    let refused = restore(&moved, &copy, &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", errors(&refused));
    let reopen = format!("`jeton db reopen --database sqlite:{backup}`");
    assert!(errors(&refused).contains(&reopen), "{}", errors(&refused));
    assert_eq!(files_in(&moved.folder).len(), 1, "nothing was changed");
    let reopened = run(&["db", "reopen", "--yes", "--database", &format!("sqlite:{backup}")]);
    assert!(reopened.status.success(), "{}", errors(&reopened));
    let restored = restore(&moved, &copy, &[]);
    assert!(restored.status.success(), "{}", errors(&restored));
}

/// However often it is restored, every database that was in the place is kept.
#[tokio::test]
async fn a_restore_destroys_nothing() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let copy = database.folder.join("copy");
    std::fs::copy(file_of(&database), &copy).expect("a copy");
    for count in 1..=3 {
        let restored = restore(&database, &copy, &[]);
        assert!(restored.status.success(), "{}", errors(&restored));
        assert_eq!(files_in(&database.folder).len(), count + 1);
    }
}

/// `--end-all-sessions` leaves no session of the copy.
#[tokio::test]
async fn a_restore_can_end_all_sessions() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let session = log_in(&service, fixtures).await;
    service.stop_and_read_log();
    let copy = database.folder.join("copy");
    std::fs::copy(file_of(&database), &copy).expect("a copy");
    let restored = restore(&database, &copy, &["--end-all-sessions"]);
    assert!(restored.status.success(), "{}", errors(&restored));
    assert!(String::from_utf8_lossy(&restored.stdout).contains("Ended 1 session."));
    assert_eq!(sessions_of(&database).await, HashSet::new());
    assert_eq!(sessions_of(&copy_of(&copy)).await.len(), 1, "the copy stays as it is");
    let service = Executable::serve_on(&database, fixtures, &[]);
    let form = refresh_form(&session.refresh_token());
    let refresh = Request::new(service.public, "POST", "/token").form(&form);
    let reply = refresh.basic("web", fixtures.secret("web")).send().await;
    reply.assert_error(400, "invalid_grant");
}

/// What is no whole database of Jeton is not put in the place of one, nor is one that only a newer program can read, nor
/// one whose log was left out.
#[tokio::test]
async fn a_restore_checks_the_copy_first() {
    let (database, _) = Database::filled(Engine::Sqlite).await;
    let before = std::fs::read(file_of(&database)).expect("it is there");
    let copy = database.folder.join("copy");
    let octets = before.clone();
    let cases: [(&str, &dyn Fn()); 5] = [
        ("not a database", &|| std::fs::write(&copy, "something").expect("a file")),
        ("malformed", &|| {
            let mut broken = octets.clone();
            broken[octets.len() / 4..octets.len() - 4_096].fill(0x5a);
            std::fs::write(&copy, broken).expect("a file");
        }),
        ("no database of Jeton", &|| {
            std::fs::remove_file(&copy).ok();
            let other = rusqlite::Connection::open(&copy).expect("a file");
            other.execute_batch("CREATE TABLE other (column_1)").expect("a table");
        }),
        ("newer", &|| {
            std::fs::write(&copy, &octets).expect("a file");
            let newer = rusqlite::Connection::open(&copy).expect("a file");
            let add = "INSERT INTO schema_migrations VALUES (99, 'x', 'x', 0);
                       INSERT INTO write_gate VALUES (3, 'unreadable', 99, 0, 'x', '')";
            newer.execute_batch(add).expect("a row");
        }),
        ("is not empty", &|| {
            std::fs::write(&copy, &octets).expect("a file");
            std::fs::write(database.folder.join("copy-wal"), "log").expect("a file");
        }),
    ];
    for (says, make) in cases {
        make();
        let refused = restore(&database, &copy, &[]);
        assert_eq!(refused.status.code(), Some(1), "{says}");
        assert!(errors(&refused).contains(says), "{says}: {}", errors(&refused));
        assert_eq!(std::fs::read(file_of(&database)).expect("it is there"), before, "{says}");
    }
    assert!(is_tidy(&database.folder));
}
