//! The command line: users and their passwords, and what all commands share.

use std::process::Output;

use serde_json::{Value, json};

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::{run_for_json, run_without_terminal};
use crate::harness::{Database, run, run_with_input};

/// A password that the policy takes, and another one.
const GOOD: &str = "quiet otter harbour";
const BETTER: &str = "seven copper lanterns";

/// Runs a command on a database.
fn command(database: &Database, arguments: &[&str], input: &str) -> Output {
    let mut all = [arguments, &["--database", &database.url]].concat();
    if arguments.contains(&"--password-stdin") {
        all.extend(["--scrypt", SCRYPT]);
    }
    run_with_input(&all, input)
}

/// Runs a command that must succeed, and returns what it printed.
#[track_caller]
fn succeed(database: &Database, arguments: &[&str], input: &str) -> String {
    let output = command(database, arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a command that must fail with this code, print no result, and say all of this.
#[track_caller]
fn fail(database: &Database, arguments: &[&str], input: &str, code: i32, says: &[&str]) {
    let output = command(database, arguments, input);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    for part in says {
        assert!(errors.contains(part), "{arguments:?} says {part:?}: {errors}");
    }
    if code != 2 {
        assert_eq!(errors.lines().count(), 1, "one sentence: {errors}");
    }
    assert!(!errors.contains("panic"), "{errors}");
}

#[track_caller]
fn json_of(database: &Database, arguments: &[&str]) -> Value {
    run_for_json(&[arguments, &["--json", "--database", &database.url]].concat(), "")
}

fn add(database: &Database, name: &str, password: &str) -> Value {
    let arguments = ["user", "add", name, "--password-stdin", "--json"];
    let printed = succeed(database, &arguments, &format!("{password}\n"));
    serde_json::from_str(&printed).expect("JSON")
}

/// The names of the members of an object, sorted.
fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(|n| &**n).collect();
    names.sort_unstable();
    names
}

/// A user is added, listed, shown, changed and deleted; the JSON has the members that scripts rely
/// on and never the hash.
#[tokio::test]
async fn users_are_administered() {
    let database = Database::empty(ENGINE).await;
    let added = add(&database, "Carol", GOOD);
    assert_eq!(members(&added), ["sub", "username"]);
    assert_eq!(added["username"], "carol", "in the mapped form");
    let shown = json_of(&database, &["user", "show", "CAROL"]);
    assert_eq!(
        members(&shown),
        [
            "created_at",
            "disabled_at",
            "imported_at",
            "last_login_at",
            "mfa_required_at",
            "password_changed_at",
            "password_format",
            "password_sealed",
            "password_temporary_at",
            "roles",
            "scope",
            "second_factors",
            "sub",
            "throttle",
            "username"
        ]
    );
    assert_eq!(shown["sub"], added["sub"]);
    let mut listed = shown.clone();
    for name in ["password_format", "password_sealed", "throttle"] {
        listed.as_object_mut().expect("an object").remove(name);
    }
    assert_eq!(json_of(&database, &["user", "list"]), json!([listed]));

    for (arguments, changed) in [
        (&["--role", "editor", "--role", "user"][..], json!({"roles": ["editor", "user"]})),
        (&["--scope", "read", "--scope", "write"], json!({"scope": "read write"})),
        (&["--mfa-required"], json!({"scope": "read write", "roles": ["editor", "user"]})),
        (&["--mfa-required=false", "--any-scope"], json!({"mfa_required_at": null, "scope": null})),
        (&["--role="], json!({"roles": []})),
    ] {
        succeed(&database, &[&["user", "set", "carol"], arguments].concat(), "");
        let now = json_of(&database, &["user", "show", "carol"]);
        for (name, value) in changed.as_object().expect("an object") {
            assert_eq!(&now[name], value, "{name} after {arguments:?}");
        }
        let required = arguments.contains(&"--mfa-required");
        assert_eq!(now["mfa_required_at"].is_i64(), required, "{arguments:?}");
    }
    assert_eq!(json_of(&database, &["user", "show", "carol"]), shown, "all changed back");

    succeed(&database, &["user", "disable", "carol"], "");
    assert!(json_of(&database, &["user", "show", "carol"])["disabled_at"].is_i64());
    assert!(succeed(&database, &["user", "list"], "").contains("disabled "));
    succeed(&database, &["user", "enable", "carol"], "");
    assert_eq!(json_of(&database, &["user", "show", "carol"]), shown);

    let table = succeed(&database, &["user", "list"], "");
    assert!(table.starts_with("NAME") && table.contains("carol"), "{table}");
    assert!(!table.contains("$scrypt$") && !shown.to_string().contains("$scrypt$"));

    // A `sub` names one person for ever (RFC 9068 §2.2).
    succeed(&database, &["user", "delete", "carol", "--yes"], "");
    assert_eq!(json_of(&database, &["user", "list"]), json!([]));
    let again = add(&database, "carol", GOOD);
    assert_ne!(again["sub"], added["sub"], "another person");
}

/// Every command about one user fails with 3 for a name that nobody has, and says where to look.
#[tokio::test]
async fn an_unknown_user_is_a_failure() {
    let database = Database::migrated(ENGINE).await;
    for arguments in [
        &["user", "show", "ghost"][..],
        &["user", "set", "ghost", "--role", "user"],
        &["user", "passwd", "ghost", "--password-stdin"],
        &["user", "disable", "ghost"],
        &["user", "enable", "ghost"],
        &["user", "delete", "ghost"],
    ] {
        let says = ["there is no user ghost", "jeton user list"];
        fail(&database, arguments, &format!("{GOOD}\n"), 3, &says);
    }
}

/// A wrong command line is exit code 2 with what would be right. No secret can be given as an
/// argument, where every process of the machine could read it, and none is echoed. ASVS 5.0 13.3
#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_takes_no_secrets() {
    let database = Database::migrated(ENGINE).await;
    let secret = "hunter2-hunter2-hunter2";
    for arguments in [
        &["user", "add", "carol", "--password", secret][..],
        &["user", "passwd", "carol", "--password", secret],
        &["user", "passwd", "carol", "--new-password", secret],
        &["client", "add", "c", "--secret", secret],
        &["client", "add", "c", "--client-secret", secret],
        &["client", "secret", "add", "c", "--secret", secret],
    ] {
        fail(&database, arguments, "", 2, &["unexpected argument", "--help"]);
        let output = command(&database, arguments, "");
        assert!(!String::from_utf8_lossy(&output.stderr).contains(secret), "{arguments:?}");
    }
    for (arguments, says) in [
        (&["user", "add"][..], "<NAME>"),
        (&["user", "add", "two words"], "cannot be a user name"),
        (&["user", "add", ""], "cannot be a user name"),
        (&["user", "add", "henry\u{2163}"], "RFC 8265"),
        (&["user", "add", "carol", "--scope", "a\"b"], "--scope"),
        (&["user", "set", "carol", "--scope", "a", "--any-scope"], "--any-scope"),
        (&["user", "set", "carol", "--mfa-required=perhaps"], "--mfa-required"),
        (&["user", "vanish", "carol"], "vanish"),
        (&["client", "secret", "remove", "c", "first"], "first"),
        (&["frobnicate"], "frobnicate"),
    ] {
        fail(&database, arguments, "", 2, &[says]);
    }
    assert_eq!(json_of(&database, &["user", "list"]), json!([]));
    assert_eq!(json_of(&database, &["client", "list"]), json!([]));
    for arguments in [&["--version"][..], &["--help"], &["user", "add", "--help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
    assert_eq!(run(&[]).status.code(), Some(2), "without a command");
}

/// A new password needs 15 code points, counted as such and of any kind, and must not be one that
/// everyone tries first or be made of the user's or the service's name; whoever is refused is told
/// why and what would do. NIST SP 800-63B-4 §3.1.1.2, RFC 8265 §4.2
/// [W-14] [W-15] [W-16] [W-18] [W-22] [W-28] [W-42]
#[tokio::test]
async fn passwords_are_held_against_the_policy_when_they_are_set() {
    let database = Database::migrated(ENGINE).await;
    let keys = |count| "\u{1f511}".repeat(count);
    for (password, says) in [
        ("tuesdayfernlam", ["too short", "at least 15 characters"]),
        (&keys(14), ["too short", "at least 15 characters"]),
        ("", ["is empty", "letters of any script"]),
        ("\r", ["is empty", "letters of any script"]),
        ("tuesday\tfern lamp", ["control or invisible", "letters of any script"]),
        ("tuesday\u{200b}fern lamp", ["control or invisible", "letters of any script"]),
        ("passwordpassword", ["tried first", "use another"]),
        ("1qaz2wsx3edc4rfv", ["tried first", "use another"]),
        ("aaaaaaaaaaaaaaaa", ["tried first", "use another"]),
        ("abcdefghijklmnop", ["tried first", "use another"]),
        ("johndoejohndoejohndoe", ["user's or the service's name", "use one"]),
        ("JohnDoeJohnDoeJohnDoe", ["user's or the service's name", "use one"]),
        ("jetonjetonjeton", ["user's or the service's name", "use one"]),
        (&"x y".repeat(400), ["longer than", "1024"]),
    ] {
        let arguments = ["user", "add", "johndoe", "--password-stdin"];
        fail(&database, &arguments, &format!("{password}\n"), 5, &says);
    }
    let short = ["user", "add", "johndoe", "--password-stdin", "--allow-short-passwords"];
    fail(&database, &short, "fernlam\n", 5, &["too short", "at least 8 characters"]);
    fail(&database, &short, "password1\n", 5, &["tried first"]);
    assert_eq!(json_of(&database, &["user", "list"]), json!([]), "none was added");

    let accepted = [
        "tuesdayfernlamp".to_owned(),
        keys(15),
        "fern lamp ".repeat(7)[..64].to_owned(),
        "quill lamp tern 5 ".repeat(8)[..128].to_owned(),
        // It only contains what is listed.
        "the password is not this".to_owned(),
    ];
    for (number, password) in accepted.iter().enumerate() {
        add(&database, &format!("user{number}"), password);
    }
    // The end of the line is no part of the password, whichever it is, and nothing after it is.
    succeed(&database, &short, "fern lam\r\nsecond line\n");
    assert_eq!(json_of(&database, &["user", "list"]).as_array().map(Vec::len), Some(6));

    // A change is held against the same policy, and one that is refused changes nothing.
    let before = database.dump().await;
    for refused in ["tuesdayfernlam\n", "passwordpassword\n", "user0user0user0user0\n", "\n"] {
        let arguments = ["user", "passwd", "user0", "--password-stdin"];
        fail(&database, &arguments, refused, 5, &["the password"]);
    }
    assert_eq!(database.dump().await, before);
    assert!(accepted.iter().all(|password| !before.contains(password)), "none is stored");
}

/// Without a terminal and without `--password-stdin` there is no way to ask, which is wrong usage.
#[tokio::test]
async fn without_a_terminal_passwords_come_from_standard_input_only() {
    let database = Database::migrated(ENGINE).await;
    let arguments = ["user", "add", "carol", "--database", &database.url];
    let output = run_without_terminal(&arguments);
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--password-stdin"), "{errors}");
    assert_eq!(json_of(&database, &["user", "list"]), json!([]));
}

/// Names that RFC 8265 maps to the same one are the same user: the second is refused, also when both
/// are added at once, and the first stays as it was. RFC 8265 §3.3.4 [W-31]
#[tokio::test]
async fn twins_of_a_name_are_refused() {
    let database = Database::empty(ENGINE).await;
    add(&database, "alice", GOOD);
    add(&database, "\u{e9}ve", GOOD);
    let before = database.dump().await;
    for (twin, mapped) in [
        ("alice", "alice"),
        ("ALICE", "alice"),
        ("\u{ff21}lice", "alice"),
        ("e\u{301}ve", "\u{e9}ve"),
        ("E\u{301}VE", "\u{e9}ve"),
    ] {
        let says = [format!("there is a user {mapped} already"), "nothing was changed".to_owned()];
        let says: Vec<&str> = says.iter().map(String::as_str).collect();
        let arguments = ["user", "add", twin, "--password-stdin"];
        fail(&database, &arguments, &format!("{BETTER}\n"), 4, &says);
    }
    assert_eq!(database.dump().await, before);

    let codes: Vec<Option<i32>> = std::thread::scope(|scope| {
        let add = |name: &str| command(&database, &["user", "add", name, "--password-stdin"], GOOD);
        let twins = ["zo\u{e9}", "ZOE\u{301}", "zoe\u{301}", "\u{ff3a}o\u{e9}"];
        let running: Vec<_> = twins.map(|name| scope.spawn(move || add(name))).into();
        running.into_iter().map(|one| one.join().expect("it ends").status.code()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(4)).count(), 3, "{codes:?}");
    let rows = database.query("SELECT user_id FROM users WHERE username = 'zo\u{e9}'").await;
    assert_eq!(rows.len(), 1);
}

/// What the command line decides about a user holds at once for a service that runs: another
/// password, disabled, deleted. RFC 9700 §4.14.2
#[tokio::test]
async fn a_running_service_obeys_at_once() {
    let jeton = jeton().await;
    let with = async |password: &str| jeton.token(&login_form("alice", password)).await;
    let token = with(PASSWORD).await.access_token();
    let url = jeton.database.url.clone();
    let changed = tokio::task::spawn_blocking(move || {
        let arguments = ["user", "passwd", "ALICE", "--password-stdin", "--scrypt", SCRYPT];
        run_with_input(&[&arguments[..], &["--database", &url]].concat(), &format!("{BETTER}\n"))
    });
    assert!(changed.await.expect("it ends").status.success());
    assert!(!jeton.is_active(&token).await, "all sessions have ended");
    with(PASSWORD).await.assert_error(400, "invalid_grant");
    let token = with(BETTER).await.access_token();

    jeton.command("user disable alice").await;
    assert!(!jeton.is_active(&token).await);
    with(BETTER).await.assert_error(400, "invalid_grant");
    jeton.command("user enable alice").await;
    assert!(!jeton.is_active(&token).await, "ended for good");
    let token = with(BETTER).await.access_token();

    jeton.command("user delete alice --yes").await;
    assert!(!jeton.is_active(&token).await);
    with(BETTER).await.assert_error(400, "invalid_grant");
    let sub = jeton.fixtures.sub("alice");
    let rows = format!("SELECT session_id FROM sessions WHERE user_id = '{sub}'");
    assert_eq!(jeton.database.query(&rows).await.len(), 0);
}

/// A command that has nothing to do on a new database makes none where the name is mistyped.
#[tokio::test]
async fn a_mistyped_file_is_not_made() {
    let folder = crate::harness::database::new_folder();
    let url = format!("sqlite:{}", folder.join("no.db").display());
    for arguments in [&["user", "list"][..], &["client", "list"], &["user", "enable", "alice"]] {
        let output = run(&[arguments, &["--database", &url]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--database"), "{arguments:?}");
        assert!(std::fs::read_dir(&folder).expect("the folder").next().is_none());
    }
    std::fs::remove_dir_all(folder).expect("an empty folder");
}

/// `--json` is JSON whatever the command does.
#[tokio::test]
async fn every_act_on_a_user_or_client_can_be_read_as_json() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master = fixtures.master_key.display().to_string();
    let key = ["--master-key-file", &master];
    for (act, options, outcome) in [
        (&["user", "set", "alice"][..], &["--role", "admin"][..], "changed"),
        (&["user", "passwd", "alice"], &["--password-stdin"], "given another password"),
        (&["user", "unlock", "alice"], &key, "not held back"),
        (&["user", "disable", "alice"], &[], "disabled"),
        (&["user", "enable", "alice"], &[], "enabled"),
        (&["user", "delete", "alice", "--yes"], &[], "deleted"),
        (&["client", "set", "web"], &["--scope", "read"], "changed"),
        (&["client", "secret", "remove", "web"], &["1"], "left without its secret 1"),
        (&["client", "disable", "web"], &[], "disabled"),
        (&["client", "enable", "web"], &[], "enabled"),
        (&["client", "delete", "web", "--yes"], &[], "deleted"),
    ] {
        let all = [act, options, &["--json", "--database", &database.url]].concat();
        let said = run_for_json(&all, "quill lamp tern 5\n");
        let name = said["username"].as_str().or(said["client_id"].as_str());
        assert!(name.is_some_and(|name| act.contains(&name)), "{act:?}: {said}");
        let did = said["outcome"].as_str().unwrap_or_default();
        assert!(did.starts_with(outcome), "{act:?}: {said}");
    }
}
