//! Where the data is, and what happens to the file under the service.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::harness::database::is_reachable;
use crate::harness::{Engine, run, run_with_input};

/// A command leaves one file, which is all of the database; the first one says that it made it, and where.
#[test]
fn a_command_leaves_one_whole_file() {
    let folder = new_folder();
    let path = folder.join("jeton.db");
    let url = format!("sqlite:{}", path.display());
    for (name, says) in [("ann", true), ("ben", false), ("cem", false)] {
        let add = ["user", "add", name, "--password-stdin", "--database", &url];
        let output = run_with_input(&add, &format!("{PASSWORD}\n"));
        assert!(output.status.success(), "{}", errors(&output));
        let made = format!("Made a new, empty database: {}\n", path.display());
        assert_eq!(errors(&output).contains(&made), says, "{}", errors(&output));
        assert_eq!(files_in(&folder), ["jeton.db"]);
        let copy = copy_of(&path);
        let list = run(&["user", "list", "--database", &copy.url]);
        assert!(String::from_utf8_lossy(&list.stdout).contains(name), "{name} is in the copy");
        assert_eq!(errors(&list), "");
        assert_eq!(files_in(&copy.folder), ["jeton.db"]);
    }
    std::fs::remove_dir_all(folder).ok();
}

/// A command that only reads makes no database.
#[test]
fn what_only_reads_makes_no_database() {
    let folder = new_folder();
    let url = format!("sqlite:{}", folder.join("jeton.db").display());
    let copy = folder.join("copy").display().to_string();
    for command in [
        "user list",
        "user list --stats",
        "user show ann",
        "user export",
        "client list",
        "session list --user ann",
        "key list",
        "db status",
        "db purge",
        "check",
        &format!("db backup {copy}"),
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.extend(["--database", &url]);
        if command == "check" {
            arguments.extend(["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"]);
        }
        let output = run(&arguments);
        assert!(!errors(&output).contains("Made"), "{command}: {}", errors(&output));
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 0, "{command}");
    }
    std::fs::remove_dir_all(folder).ok();
}

/// A service that is told to stop leaves one file, with the last session that it answered.
#[tokio::test]
async fn a_clean_stop_leaves_one_whole_file() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let mut answered = HashSet::new();
    for _ in 0..5 {
        let mut service = Executable::serve_on(&database, fixtures, &[]);
        let (one, other) = tokio::join!(log_in(&service, fixtures), log_in(&service, fixtures));
        answered.extend([session_of(&one), session_of(&other)]);
        service.stop_and_read_log();
        assert_eq!(files_in(&database.folder), ["jeton.db"]);
        assert_eq!(sessions_of(&copy_of(&file_of(&database))).await, answered);
    }
}

/// A file that is moved away under the service is not written or read any more; nobody is told that
/// something is stored which is in no file of that name. When it is back all goes on.
#[tokio::test]
async fn a_file_that_is_moved_away_is_noticed() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let service = Executable::serve_on(&database, fixtures, &[]);
    let before = log_in(&service, fixtures).await;
    let (file, aside) = (file_of(&database), database.folder.join("aside"));
    std::fs::rename(&file, &aside).expect("it can be moved");
    for _ in 0..3 {
        let reply = log_in_until(503, &service, fixtures).await;
        reply.assert_error(503, "temporarily_unavailable");
    }
    let form = format!("token={}", before.access_token());
    let introspect = Request::new(service.public, "POST", "/introspect").form(&form);
    let reply = introspect.basic("rs1", fixtures.secret("rs1")).send().await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(!file.exists(), "it makes no other");
    let why = not_ready(&service).await;
    assert!(why.contains("was deleted or moved away"), "{why}");

    std::fs::rename(&aside, &file).expect("it can be moved");
    let after = log_in_until(200, &service, fixtures).await;
    let expected = HashSet::from([session_of(&before), session_of(&after)]);
    assert_eq!(sessions_of(&database).await, expected);
    let log = service.log();
    let said = log.lines().filter(|line| line.contains("\"ERROR\"")).collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "it is said once: {log}");
    assert!(said[0].contains("was deleted or moved away"), "{log}");
    assert!(log.contains("the file of the database is back"), "{log}");
}

/// A file that another took the place of is not used any more, and the other one is left alone; so is
/// it if the write-ahead log was deleted.
#[tokio::test]
async fn a_file_that_is_replaced_is_noticed() {
    for suffix in ["", "-wal"] {
        let (database, fixtures) = Database::filled(Engine::Sqlite).await;
        let mut service = Executable::serve_on(&database, fixtures, &[]);
        log_in(&service, fixtures).await.access_token();
        let (other, _) = Database::filled(Engine::Sqlite).await;
        if suffix.is_empty() {
            std::fs::rename(file_of(&other), file_of(&database)).expect("it can be replaced");
        } else {
            let log = format!("{}-wal", file_of(&database).display());
            std::fs::remove_file(log).expect("it can be deleted");
        }
        for _ in 0..3 {
            log_in_until(503, &service, fixtures).await;
        }
        let why = not_ready(&service).await;
        assert!(why.contains("restart the service"), "{why}");
        let log = service.stop_and_read_log();
        assert!(log.contains("restart the service"), "{log}");
        if suffix.is_empty() {
            assert_eq!(sessions_of(&copy_of(&file_of(&database))).await, HashSet::new());
        }
    }
}

/// A disk that is full is no reason to lie: 503, and right answers once there is room.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn a_full_disk_is_survived() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("left out: only root can mount a small disk");
        return;
    };
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let file = disk.0.join("jeton.db");
    std::fs::copy(file_of(&database), &file).expect("it fits");
    let on_disk = Database { url: format!("sqlite:{}", file.display()), folder: new_folder() };
    let mut service = Executable::serve_on(&on_disk, fixtures, &[]);
    let before = log_in(&service, fixtures).await;
    let filler = disk.0.join("filler");
    // As much as fits.
    std::fs::write(&filler, vec![0; 16 << 20]).expect_err("the disk is small");
    // What is left of a page that was begun may take a few more.
    log_in_until(503, &service, fixtures).await;
    let form = format!("token={}", before.access_token());
    let introspect = Request::new(service.public, "POST", "/introspect").form(&form);
    let reply = introspect.basic("rs1", fixtures.secret("rs1")).send().await;
    assert_eq!(reply.json()["active"], true, "reading goes on: {}", reply.text());
    let why = not_ready(&service).await;
    assert!(why.contains("database or disk is full"), "{why}");
    std::fs::remove_file(&filler).expect("it is there");
    let after = log_in_until(200, &service, fixtures).await;
    let log = service.stop_and_read_log();
    assert!(log.contains("database or disk is full"), "the log has the reason: {log}");
    let kept = sessions_of(&copy_of(&file)).await;
    assert!(kept.contains(&session_of(&before)) && kept.contains(&session_of(&after)));
}

/// A file system of 8 MiB in memory; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = new_folder();
        let mount = ["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"];
        let mounted = Command::new("mount").args(mount).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A database that every user can read, or write to, is warned of with the command that mends it.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn a_file_that_everybody_can_read_is_warned_of() {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let file = file_of(&database);
    if !is_reachable(&file) {
        eprintln!("left out: TMPDIR is closed to other users");
        return;
    }
    for (mode, says) in [(0o600, ""), (0o640, ""), (0o644, "chmod o= "), (0o602, "chmod o-w ")] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("it is the test's");
        let mut service = Executable::serve_on(&database, fixtures, &[]);
        let log = service.stop_and_read_log();
        let of_database = |line: &&str| line.contains("\"WARN\"") && line.contains("the database");
        let said: String = log.lines().filter(of_database).collect();
        assert_eq!(said.is_empty(), says.is_empty(), "{mode:o}: {said}");
        assert!(said.contains(says), "{mode:o}: {said}");
    }
}

/// A command of root that makes the database in the folder of another user makes it for that user: else the service
/// could not open it. The log of the database goes with it.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn root_makes_a_database_for_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    let (folder, owner) = (new_folder(), 12_345);
    if chown(&folder, Some(owner), Some(owner)).is_err() {
        eprintln!("left out: only root makes files for others");
        return;
    }
    let url = format!("sqlite:{}", folder.join("jeton.db").display());
    let migrated = run(&["db", "migrate", "--database", &url]);
    assert!(migrated.status.success(), "{}", errors(&migrated));
    let added =
        ["client", "add", "web", "--grant", "password", "--audience", "https://api.example"];
    let added = run(&[&added[..], &["--database", &url]].concat());
    assert!(added.status.success(), "{}", errors(&added));
    for name in files_in(&folder) {
        let file = folder.join(&name).metadata().expect("a file");
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (owner, owner, 0o600), "{name}");
    }
    std::fs::remove_dir_all(folder).ok();
}
