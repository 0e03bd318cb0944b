//! Files with secrets that other users of the machine can read or replace.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::*;
use crate::harness::database::is_reachable;
use crate::harness::executable::serve_in_vain;
use crate::harness::{Database, Executable, run};

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is the test's own");
}

/// A database with a master key in a folder of its own, which every user can get to.
async fn place() -> (Database, PathBuf) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let folder = database.folder.join("secrets");
    std::fs::create_dir(&folder).expect("a folder");
    let master_key = folder.join("master.jwk");
    std::fs::copy(&fixtures.master_key, &master_key).expect("a copy");
    set_mode(&master_key, 0o600);
    set_mode(&folder, 0o755);
    (database, master_key)
}

/// What `jeton check` warns of; `None` if it fails.
fn warnings(database: &Database, master_key: &Path) -> Option<Vec<String>> {
    let master_key = master_key.display().to_string();
    let check = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let place = ["--database", &database.url, "--master-key-file", &master_key];
    let output = run(&[&check[..], &place].concat());
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let lines = || said.lines().filter(|line| line.contains("warning")).map(str::to_owned);
    output.status.success().then(|| lines().collect())
}

/// A master key that every user can read is warned of, at the start and by `jeton check`, with the command that
/// mends it; one that only a group of the process can read is not, nor one that nobody can get to.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn a_master_key_that_everybody_can_read_is_warned_of() {
    let (database, master_key) = place().await;
    if !is_reachable(&master_key) {
        eprintln!("left out: TMPDIR is closed to other users");
        return;
    }
    let shown = master_key.display().to_string();
    for mode in [0o600, 0o400, 0o440, 0o640] {
        set_mode(&master_key, mode);
        assert_eq!(warnings(&database, &master_key), Some(vec![]), "{mode:o}");
    }
    set_mode(&master_key, 0o644);
    let said = warnings(&database, &master_key).expect("it can start").concat();
    for part in ["the master key", &shown, "can be read", "chmod o= ", "defaultMode: 0440"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let further = ["--master-key-file", &shown];
    let place = ["--database", &database.url, "--issuer", "http://localhost"];
    let mut service = Executable::serve(&[&place[..], &further].concat());
    let log = service.stop_and_read_log();
    assert!(log.contains("can be read by every user") && log.contains("\"WARN\""), "{log}");
    set_mode(master_key.parent().expect("a folder"), 0o700);
    assert_eq!(warnings(&database, &master_key), Some(vec![]), "nobody gets there");
}

/// A master key that every user can write to, or put another in the place of, stops the start; in a folder like
/// `/tmp` nobody can do the latter. A foreign group is warned of.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn a_master_key_that_everybody_can_replace_stops_the_start() {
    let (database, master_key) = place().await;
    if !is_reachable(&master_key) {
        eprintln!("left out: TMPDIR is closed to other users");
        return;
    }
    let folder = master_key.parent().expect("a folder");
    for (of_file, of_folder, named) in [(0o602, 0o755, &*master_key), (0o600, 0o757, folder)] {
        set_mode(&master_key, of_file);
        set_mode(folder, of_folder);
        let place =
            ["--database", &database.url, "--master-key-file", &master_key.display().to_string()];
        let (code, errors) = serve_in_vain(&place);
        assert_eq!(code, Some(1), "{errors}");
        let remedy = format!("chmod o-w {}", named.display());
        assert!(errors.contains(&remedy) && errors.contains("--master-key-file"), "{errors}");
        assert_eq!(warnings(&database, &master_key), None);
    }
    set_mode(folder, 0o1777);
    assert_eq!(warnings(&database, &master_key), Some(vec![]), "as /tmp is");
    set_mode(folder, 0o775);
    assert_eq!(warnings(&database, &master_key), Some(vec![]), "a group of the process");
    if chown(folder, None, Some(12_345)).is_ok() {
        let said = warnings(&database, &master_key).expect("it can start").concat();
        assert!(said.contains("a group that it is not in") && said.contains("chmod g-w"), "{said}");
    }
}
