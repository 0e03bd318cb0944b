//! Files with secrets: the URL of the database, whose password belongs on no command line and in no
//! environment, and the master key that is made before the first start.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use super::*;
use crate::harness::executable::{command, run_for_json, run_with_environment, serve_in_vain};
use crate::harness::leaks::Secrets;
use crate::harness::{Database, Executable, run};

/// Writes a file that only its owner can read, and returns its path.
fn file(database: &Database, name: &str, text: &str) -> String {
    let path = database.path(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a file of ours");
    path
}

/// All that a command said and printed.
fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Every command takes the URL of the database from a file: named by a flag or a variable, with or without a
/// line end. `jeton check` shows where it came from.
#[tokio::test]
async fn the_url_of_the_database_can_be_in_a_file() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let with_password = database.url.replace("//postgres@", "//postgres:s3cr3t@");
    for end in ["", "\n", "\r\n", "  \n\n"] {
        let url = file(&database, "url", &format!("{with_password}{end}"));
        let listed = run(&["user", "list", "--database-file", &url]);
        assert!(printed(&listed).contains("alice"), "{end:?}: {}", printed(&listed));
        let listed = run_with_environment(&["user", "list"], &[("JETON_DATABASE_FILE", &url)]);
        assert!(printed(&listed).contains("alice"), "{end:?}: {}", printed(&listed));
    }
    let url = database.path("url");
    let master_key = fixtures.master_key.display().to_string();
    let place = ["--database-file", &url, "--master-key-file", &master_key];
    let free = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let checked = run(&[&free[..], &place].concat());
    let printed = printed(&checked);
    let mut lines = printed.lines().filter(|line| line.starts_with("--database "));
    let line = lines.next().unwrap_or_else(|| panic!("it is shown: {printed}"));
    assert!(line.ends_with("--database-file") && !line.contains("sqlite:jeton.db "), "{line}");
    assert!(checked.status.success() && printed.contains("2 keys open"), "{printed}");
    assert!(!printed.contains("s3cr3t"), "{printed}");
    let service = Executable::serve(&[&place[..], &["--issuer", "http://localhost"]].concat());
    readiness(service.management).await;
}

/// An argument goes before a variable. Of two arguments or two variables none goes before the other: nothing is
/// done, and no database is made.
#[tokio::test]
async fn an_argument_goes_before_a_variable() {
    let (database, _) = Database::filled(ENGINE).await;
    let other = Database::migrated(ENGINE).await;
    let url = file(&database, "url", &database.url);
    let other_url = file(&other, "url", &other.url);
    let users = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = run_with_environment(&[&["user", "list"], arguments].concat(), variables);
        (output.status.code(), printed(&output).contains("alice"))
    };
    let (filled, empty) = ((Some(0), true), (Some(0), false));
    let in_place = ["--database", &database.url];
    assert_eq!(users(&in_place, &[("JETON_DATABASE_FILE", &other_url)]), filled);
    assert_eq!(users(&in_place, &[("JETON_DATABASE_FILE", "/no/such/file")]), filled);
    assert_eq!(users(&["--database-file", &url], &[("JETON_DATABASE", &other.url)]), filled);
    assert_eq!(users(&["--database-file", &other_url], &[("JETON_DATABASE_FILE", &url)]), empty);
    let emptied = [("JETON_DATABASE", ""), ("JETON_DATABASE_FILE", &*url)];
    assert_eq!(users(&[], &emptied), filled, "an empty variable is not set");

    let both = ["--database", &database.url, "--database-file", &url];
    let output = run(&[&["user", "list"], &both[..]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    let variables = [("JETON_DATABASE", &*database.url), ("JETON_DATABASE_FILE", &*url)];
    let output = run_with_environment(&["user", "list"], &variables);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("set one of them"), "{}", printed(&output));
}

/// A file that is missing, empty or holds something else is named, with what to do, and not repeated. So is a URL
/// in the place of the name of its file.
#[tokio::test]
async fn a_wrong_file_is_named_and_not_repeated() {
    let database = Database::empty(ENGINE).await;
    let mut secrets = Secrets::default();
    let password = secrets.make("a password");
    let url = format!("postgres://user:{password}@127.0.0.1:1/name");
    let mut places = Vec::new();
    for (name, text, says) in [
        ("empty", "", "does not hold the URL"),
        ("other", &*format!("mysql://user:{password}@h/n"), "does not hold the URL"),
        ("two", &format!("{url}\n{url}\n"), "--database"),
        ("before", &format!("\n{url}"), "does not hold the URL"),
        ("octets", "\u{0}", "does not hold the URL"),
        ("unreachable", &url, "--database"),
    ] {
        let path = file(&database, name, text);
        for arguments in [&["user", "list"][..], &["db", "status"]] {
            let output = run(&[arguments, &["--database-file", &path]].concat());
            let said = printed(&output);
            assert_ne!(output.status.code(), Some(0), "{name}: {said}");
            assert!(said.contains(says), "{name}: {said}");
            places.push(("a command", said.into_bytes()));
        }
        let (code, log) = serve_in_vain(&["--database-file", &path, "--log", "trace"]);
        assert_ne!(code, Some(0), "{name}: {log}");
        places.push(("the log", log.into_bytes()));
    }
    let missing = database.path("missing");
    let output = run(&["user", "list", "--database-file", &missing]);
    assert!(printed(&output).contains(&missing), "{}", printed(&output));
    let output = run(&["user", "list", "--database-file", &url]);
    assert_eq!(output.status.code(), Some(2));
    assert!(printed(&output).contains("is a secret and not the name of its file"));
    places.push(("a command", printed(&output).into_bytes()));
    let set = [("JETON_DATABASE_FILE", url.as_str())];
    places.push(("a command", printed(&run_with_environment(&["check"], &set)).into_bytes()));
    secrets.assert_absent(&places);
}

/// A file with the URL that others can read is warned of, as a master key is.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the tests' output shall know")]
async fn a_url_that_everybody_can_read_is_warned_of() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let url = file(&database, "url", &database.url);
    if !crate::harness::database::is_reachable(Path::new(&url)) {
        eprintln!("left out: TMPDIR is closed to other users");
        return;
    }
    let master_key = fixtures.master_key.display().to_string();
    let free = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let place = ["--database-file", &url, "--master-key-file", &master_key];
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&url, PermissionsExt::from_mode(mode)).expect("a file of ours");
        let said = printed(&run(&[&free[..], &place].concat()));
        let warned = said.contains("the URL of the database") && said.contains("can be read");
        assert_eq!(warned, is_open, "{mode:o}: {said}");
    }
}

/// `jeton key init` makes the master key before anything else is there: for its owner alone, and only once. The
/// service seals its first keys under it.
#[tokio::test]
async fn a_master_key_is_made_once() {
    let database = Database::empty(ENGINE).await;
    let (made, second) = (database.path("etc/jeton/master.jwk"), database.path("second.jwk"));
    let files = format!("{made},{second}");
    let told = run_for_json(&["key", "init", "--json", "--master-key-file", &files], "");
    assert_eq!(told["file"], made.as_str());
    let content = std::fs::read_to_string(&made).expect("it was made");
    let key: serde_json::Value = serde_json::from_str(&content).expect("JSON");
    assert_eq!((&key["kty"], &key["kid"]), (&"oct".into(), &told["kid"]));
    let permissions =
        |path: &str| std::fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(permissions(&made) & 0o777, 0o600);
    assert_eq!(
        permissions(&database.path("etc/jeton")) & 0o777,
        0o700,
        "the folder that was made for it"
    );
    assert!(!Path::new(&second).exists(), "the first is made, and no other");

    let again = run_with_environment(&["key", "init"], &[("JETON_MASTER_KEY_FILE", &made)]);
    assert_eq!(again.status.code(), Some(1));
    assert!(printed(&again).contains(&made) && printed(&again).contains("exists"));
    assert_eq!(std::fs::read_to_string(&made).expect("a file"), content, "it was left as it is");

    // A service with another key on the same database would be refused; with this one it starts.
    drop(Executable::serve(&["--database", &database.url, "--master-key-file", &made]));
    let listed = ["key", "list", "--json", "--database", &database.url, "--master-key-file", &made];
    let listed = run_for_json(&listed, "");
    assert_eq!(listed[0]["sealed_under"], told["kid"]);
}

/// `jeton key init` says what to do with the file, opens no database, and says where a file cannot be made.
#[tokio::test]
async fn a_master_key_that_is_made_is_to_be_backed_up() {
    let database = Database::empty(ENGINE).await;
    let mut init = command(&["key", "init"]);
    let output = init.current_dir(&database.folder).output().expect("the executable runs");
    let said = printed(&output);
    let made = database.path("keys/master.jwk");
    assert!(output.status.success() && said.contains(&made), "{said}");
    assert!(said.contains("Back this file up, apart from the database"), "{said}");
    let there: Vec<_> = std::fs::read_dir(&database.folder).expect("a folder").flatten().collect();
    assert_eq!(there.len(), 1, "keys/ alone: {there:?}");

    let dangling = database.path("dangling.jwk");
    std::os::unix::fs::symlink(database.path("nowhere"), &dangling).expect("a link");
    for path in [format!("{made}/below.jwk"), dangling] {
        let output = run(&["key", "init", "--master-key-file", &path]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(printed(&output).contains(&path), "{}", printed(&output));
    }
    assert!(!Path::new(&database.path("nowhere")).exists(), "no link is followed");
}
