//! `jeton audit`: what was changed with the command line, and by whom.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::key_import::new_jwk;
use super::sealed_hashes::{IDENTITY, RECIPIENT};
use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::forge::claims;
use crate::harness::keys::{key_command, kid_of};
use crate::harness::{Database, Engine, run, run_with_input};

/// A password that the policy takes.
const GOOD: &str = "quiet otter harbour";

/// The commands that change nothing in the database, and those whose changes are recorded otherwise: `db migrate` in
/// `schema_migrations`.
const UNRECORDED: [&str; 23] = [
    "audit",
    "bench hash",
    "check",
    "client export",
    "client list",
    "client show",
    "completions",
    "db backup",
    "db migrate",
    "db replicas",
    "db status",
    "demo",
    "doctor",
    "healthcheck",
    "key export",
    "key init",
    "key list",
    "serve",
    "session list",
    "user export",
    "user list",
    "user otp list",
    "user show",
];

/// Every command of the program, without its options.
fn commands() -> BTreeSet<String> {
    fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
        let subcommands: Vec<_> = command.get_subcommands().collect();
        if subcommands.is_empty() {
            found.insert(path.trim().to_owned());
        }
        for subcommand in subcommands {
            leaves(subcommand, &format!("{path} {}", subcommand.get_name()), found);
        }
    }
    let mut found = BTreeSet::new();
    leaves(&jeton::cli::command(), "", &mut found);
    found
}

/// What `jeton audit --json` prints.
fn audit(database: &Database, options: &[&str]) -> Vec<Value> {
    let output = run(&[&["audit", "--json", "--database", &database.url], options].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    printed.as_array().expect("a list").clone()
}

/// Runs commands on a database, and says what each of them added to the trail.
struct Trail {
    jeton: Jeton,
    /// The commands that were run.
    run: BTreeSet<String>,
}

impl Trail {
    /// Runs a command, which must add these acts and no other; returns them.
    async fn expect(&mut self, arguments: &str, input: &str, acts: &[&str]) -> Vec<Value> {
        let before: Vec<Value> = self.acts().await;
        let mut all: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        let needs_keys = ["key ", "user unlock", "user seal", "user unseal"];
        if needs_keys.iter().any(|command| arguments.starts_with(command)) {
            let master_key = self.jeton.fixtures.master_key.display().to_string();
            all.extend(["--master-key-file".to_owned(), master_key]);
        }
        if arguments.contains("--password-stdin") {
            all.extend(["--scrypt".to_owned(), SCRYPT.to_owned()]);
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.jeton.run(&all, input).await;
        let known = commands();
        let command =
            known.iter().filter(|known| format!("{arguments} ").starts_with(&format!("{known} ")));
        self.run.extend(command.cloned());
        let added: Vec<Value> =
            self.acts().await.into_iter().filter(|act| !before.contains(act)).collect();
        let names: BTreeSet<&str> = added.iter().filter_map(|act| act["act"].as_str()).collect();
        assert_eq!(names, acts.iter().copied().collect(), "{arguments}: {added:?}");
        for act in &added {
            assert!(act["at"].as_i64().is_some_and(|at| at > 1_700_000_000), "{act}");
            assert!(!act["system_user"].as_str().expect("text").is_empty(), "{act}");
            assert!(!act["host"].as_str().expect("text").is_empty(), "{act}");
            assert_eq!(act["claimed_name"], Value::Null, "{act}");
        }
        added
    }

    async fn acts(&self) -> Vec<Value> {
        // Told apart by their ids, which are not printed.
        let rows = self.jeton.database.query(
            "SELECT act_id, act_id, acted_at, deed, \"system_user\", host, claimed_name, username, user_id, client_id, \
             object, changed, affected FROM operator_acts ORDER BY acted_at, act_id",
        );
        let number =
            |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<i64>().ok());
        let read = |row: Vec<Option<String>>| {
            json!({
                "id": row[1], "at": number(&row[2]), "act": row[3], "system_user": row[4], "host": row[5],
                "claimed_name": row[6], "username": row[7], "sub": row[8], "client_id": row[9], "object": row[10],
                "changed": row[11], "affected": number(&row[12]),
            })
        };
        rows.await.into_iter().map(read).collect()
    }
}

/// Ends a session, those of a user, of a client, and all.
async fn end_sessions(trail: &mut Trail) {
    let login = trail.jeton.login_through("web", "").await;
    let sid = claims(&login.access_token())["sid"].as_str().expect("text").to_owned();
    let ended = trail.expect(&format!("session revoke {sid}"), "", &["sessions_ended"]).await;
    assert_eq!((&ended[0]["object"], &ended[0]["affected"]), (&json!(sid), &json!(1)));
    for _ in 0..3 {
        trail.jeton.login_through("web", "").await;
    }
    let ended = trail.expect("session revoke --user alice", "", &["sessions_ended"]).await;
    assert_eq!((ended.len(), &ended[0]["affected"]), (1, &json!(3)));
    trail.jeton.login_through("web", "").await;
    trail.expect("session revoke --client web --yes", "", &["sessions_ended"]).await;
    trail.jeton.login_through("web", "").await;
    trail.expect("session revoke --all --yes", "", &["sessions_ended"]).await;
}

/// The hash of users who are imported.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

/// Imports users of a file, and a user with a client.
async fn import(trail: &mut Trail) {
    let lines = ["dora", "emil"].map(|name| json!({"username": name, "password_hash": HASH}));
    let lines = lines.map(|line| format!("{line}\n")).concat();
    let imported = trail.expect("user import -", &lines, &["users_imported"]).await;
    assert_eq!(imported[0]["affected"], 2);
    let both = format!(
        "{}\n{}\n",
        json!({"username": "moved", "password_hash": HASH}),
        json!({"client_id": "moved", "secrets": [{"hash": HASH}]})
    );
    trail.expect("import jsonl -", &both, &["users_imported", "client_added"]).await;
}

/// Every command that changes something leaves an act that says what, whom and which fields, and a command that is new
/// must be sorted into these or [`UNRECORDED`].
#[tokio::test]
async fn every_command_that_changes_something_is_recorded() {
    let mut trail = Trail { jeton: jeton().await, run: BTreeSet::new() };
    let password = format!("{GOOD}\n");
    let added = trail.expect("user add carol --password-stdin", &password, &["user_added"]).await;
    assert_eq!((&added[0]["username"], &added[0]["affected"]), (&json!("carol"), &json!(1)));
    let sub = added[0]["sub"].clone();
    let changed = trail.expect("user set carol --role x --scope y", "", &["user_changed"]).await;
    assert_eq!(
        (&changed[0]["changed"], &changed[0]["sub"]),
        (&json!("[\"roles\",\"scope\"]"), &sub)
    );
    let better = "seven copper lanterns\n";
    let changed =
        trail.expect("user passwd carol --password-stdin", better, &["password_changed"]).await;
    assert_eq!(changed[0]["changed"], "[\"password\"]");
    trail.expect("user disable carol", "", &["user_disabled"]).await;
    trail.expect("user enable carol", "", &["user_enabled"]).await;
    trail.jeton.token(&login_form("alice", "wrong")).await;
    trail.expect("user unlock alice", "", &["user_unlocked"]).await;
    import(&mut trail).await;

    let lines =
        [json!({"username": "fay", "password": GOOD}), json!({"username": "dora", "role": ["x"]})];
    let lines = lines.map(|line| format!("{line}\n")).concat();
    let apply = format!("user apply - --scrypt {SCRYPT}");
    trail.expect(&apply, &lines, &["user_added", "user_changed"]).await;

    trail.expect("client add page --public", "", &["client_added"]).await;
    let changed =
        trail.expect("client set web --default-scope write", "", &["client_changed"]).await;
    assert_eq!(changed[0]["changed"], "[\"default_scope\"]");
    trail.expect("client disable spa", "", &["client_disabled"]).await;
    trail.expect("client enable spa", "", &["client_enabled"]).await;
    let secret = trail.expect("client secret add web", "", &["client_secret_added"]).await;
    assert_eq!((&secret[0]["object"], &secret[0]["client_id"]), (&json!("2"), &json!("web")));
    trail.expect("client secret remove web 2", "", &["client_secret_removed"]).await;

    trail.expect("user rename emil otto", "", &["user_renamed"]).await;

    end_sessions(&mut trail).await;

    trail.expect("key rotate --yes", "", &["key_added"]).await;
    trail.expect("key rotate --emergency --yes", "", &["key_activated"]).await;
    trail.expect("key rotate --refresh", "", &["key_added"]).await;
    let imported = trail.expect("key import - --yes", &new_jwk(&json!({})), &["key_added"]).await;
    let kid = imported[0]["object"].as_str().expect("a kid").to_owned();
    trail.expect(&format!("key revoke {kid} --yes"), "", &["key_revoked"]).await;
    seal_and_recover(&mut trail).await;
    rewrap(&mut trail).await;

    trail.jeton.login_through("web", "").await;
    let expire = "UPDATE sessions SET expires_at = 3599, deletable_at = 3600";
    trail.jeton.database.query(expire).await;
    trail.expect("db purge", "", &["expired_sessions_deleted"]).await;
    let deleted =
        trail.expect("user delete carol --yes", "", &["user_disabled", "user_deleted"]).await;
    assert!(deleted.iter().all(|act| act["sub"] == sub), "{deleted:?}");
    let acts = &["client_disabled", "client_deleted"];
    trail.expect("client delete other --yes", "", acts).await;
    trail.run.extend(change_authenticators().await);
    // `jeton db restore` needs a database that is not in use.
    trail.run.insert("db restore".to_owned());
    // `db_copy` shows that these are recorded.
    trail.run.extend(["db copy", "db reopen"].map(str::to_owned));

    let unrecorded = UNRECORDED.map(str::to_owned).into_iter().collect();
    assert_eq!(commands(), &trail.run | &unrecorded, "sort the new command in");
    let text = serde_json::to_string(&trail.acts().await).expect("JSON");
    for secret in [GOOD, better.trim(), HASH, "$scrypt$", trail.jeton.fixtures.secret("web")] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// Gives a user an authenticator and other recovery codes, and takes both away. On a service of its own, whose clock goes
/// ahead by that.
async fn change_authenticators() -> BTreeSet<String> {
    let trail = Trail { jeton: jeton().await, run: BTreeSet::new() };
    let own = trail.jeton.enrol("alice", &[]).await;
    trail.jeton.otp(&["recovery-codes", "alice"]).await;
    trail.jeton.otp(&["remove", "alice", &own.id]).await;
    let acts = trail.acts().await;
    let names: Vec<&Value> = acts.iter().map(|act| &act["act"]).collect();
    for name in [
        "authenticator_added",
        "authenticator_confirmed",
        "recovery_codes_made",
        "authenticator_removed",
    ] {
        assert_eq!(names.iter().filter(|act| **act == name).count(), 1, "{name}: {names:?}");
    }
    let text = serde_json::to_string(&acts).expect("JSON");
    assert!(own.recovery_codes.iter().all(|code| !text.contains(code)), "{text}");
    let commands = ["add", "confirm", "recovery-codes", "remove"];
    commands.map(|command| format!("user otp {command}")).into()
}

/// Seals all keys under a new master key.
async fn seal_and_recover(trail: &mut Trail) {
    let seal = format!("user seal --yes --recovery-recipient {RECIPIENT}");
    trail.expect(&seal, "", &["key_added", "hashes_sealed"]).await;
    trail.expect("key recover --identity - --yes", IDENTITY, &["keys_resealed"]).await;
    trail.expect("user seal --yes --no-recovery", "", &["recovery_set"]).await;
    let acts = &["hashes_unsealed", "key_revoked", "key_deleted"];
    trail.expect("user unseal --yes", "", acts).await;
}

async fn rewrap(trail: &mut Trail) {
    let master_key = trail.jeton.fixtures.master_key.display().to_string();
    let new = trail.jeton.database.path("new.jwk");
    assert!(run(&["key", "init", "--master-key-file", &new]).status.success());
    let before = trail.acts().await.len();
    let files = format!("{new},{master_key}");
    let output = key_command(&trail.jeton.database, &files, &["rewrap", "--yes"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let acts = trail.acts().await;
    assert_eq!(acts.len(), before + 1);
    assert!(acts.iter().any(|act| act["act"] == "keys_resealed"), "{acts:?}");
    trail.run.insert("key rewrap".to_owned());
}

/// A restore is recorded in the database that was put in the place of the other.
#[tokio::test]
async fn a_restore_is_recorded() {
    if ENGINE == Engine::Postgres {
        return; // Its own programs restore it.
    }
    let (database, _) = Database::filled(ENGINE).await;
    let copy = database.path("copy");
    for (command, acts) in [("backup", 0), ("restore", 1)] {
        let before = audit(&database, &[]).len();
        let mut all = vec!["db", command, &copy, "--database", &database.url];
        if command == "restore" {
            all.extend(["--yes", "--as", "anna"]);
        }
        let output = run(&all);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let after = audit(&database, &[]);
        assert_eq!(after.len(), before + acts, "{command}");
    }
    let restored = audit(&database, &[]).pop().expect("the last act");
    assert_eq!(
        (&restored["act"], &restored["claimed_name"]),
        (&json!("database_restored"), &json!("anna"))
    );
}

/// What `--as` says is shown as what it is, and acts can be asked for by time, user and client.
#[tokio::test]
async fn acts_are_shown() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let on = |arguments: &[&str]| {
        let output = run(&[arguments, &["--database", &database.url]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    on(&["user", "set", "bob", "--role", "x", "--as", "Anna O'Neil <anna@example.com>"]);
    on(&["client", "disable", "spa"]);
    let of_bob = audit(&database, &["--user", "BOB"]);
    let last = of_bob.last().expect("an act");
    assert_eq!(last["claimed_name"], "Anna O'Neil <anna@example.com>");
    assert_eq!((&last["act"], &last["changed"]), (&json!("user_changed"), &json!(["roles"])));
    assert_eq!(last["sub"], fixtures.sub("bob"));
    assert!(of_bob.iter().all(|act| act["username"] == "bob"), "{of_bob:?}");
    let of_spa = audit(&database, &["--client", "spa"]);
    let acts: Vec<&Value> = of_spa.iter().map(|act| &act["act"]).collect();
    assert_eq!(acts, ["client_added", "client_disabled"]);
    let table = on(&["audit", "--user", "bob"]);
    assert!(table.contains("(says: Anna O'Neil <anna@example.com>)"), "{table}");
    assert!(table.starts_with("WHEN") && table.contains("user bob: roles"), "{table}");

    // A user who is gone is found by the name, and one of another name by the sub.
    database.query("UPDATE operator_acts SET username = 'robert' WHERE username = 'bob'").await;
    assert_eq!(audit(&database, &["--user", "bob"]).len(), of_bob.len());
    assert_eq!(audit(&database, &["--user", "robert"]).len(), of_bob.len());
    let all = audit(&database, &[]).len();
    database.query("UPDATE operator_acts SET acted_at = acted_at - 86400").await;
    assert_eq!(audit(&database, &["--since", "1h"]).len(), 0);
    assert_eq!(audit(&database, &["--since", "2d"]).len(), all);
    assert_eq!(run(&["audit", "--since", "x", "--database", &database.url]).status.code(), Some(2));
}

/// Neither is there without the other: what is refused, or changes nothing, leaves no act; and what cannot be recorded
/// does not happen. What the service does is none of the operator's acts.
#[tokio::test]
async fn an_act_is_recorded_with_its_change_or_not_at_all() {
    let jeton = jeton().await;
    let database = &jeton.database;
    let before = audit(database, &[]);
    for arguments in [
        &["user", "add", "alice", "--password-stdin"][..],
        &["user", "set", "alice", "--role", "user", "--role", "editor"],
        &["user", "enable", "alice"],
        &["user", "delete", "alice"],
        &["client", "add", "web"],
        &["client", "secret", "remove", "web", "9"],
        &["session", "revoke", "--user", "alice"],
        &["session", "revoke", "AAAAAAAAAAAAAAAAAAAAAA"],
        &["db", "purge"],
    ] {
        run_with_input(&[arguments, &["--database", &database.url]].concat(), "short\n");
    }
    let login = jeton.login_through("web", "").await;
    jeton.refresh("web", &login.refresh_token(), "").await.refresh_token();
    let form = format!("token={}", login.access_token());
    jeton.post_as("web", "/revoke", &form).send().await;
    kid_of(&login.access_token());
    assert_eq!(audit(database, &[]), before);

    database.query("ALTER TABLE operator_acts RENAME TO hidden").await;
    let state = database.dump().await;
    for arguments in [
        &["user", "set", "alice", "--role", "x"][..],
        &["user", "disable", "alice"],
        &["client", "delete", "web", "--yes"],
        &["client", "secret", "remove", "web", "1"],
        &["client", "set", "web", "--default-scope", "write"],
    ] {
        let output = run(&[arguments, &["--database", &database.url]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("operator_acts"), "{said}");
        assert!(database.dump().await == state, "{arguments:?}");
    }
}

/// Acts are kept for 400 days, and then deleted by the service in the background.
#[tokio::test]
async fn old_acts_are_deleted() {
    let jeton = jeton().await;
    let now = jeton.clock.now().0;
    for (id, days) in [("old", 402), ("young", 398)] {
        let at = now - days * 86_400;
        let insert = format!(
            "INSERT INTO operator_acts (act_id, acted_at, deed, \"system_user\", host, changed, affected) \
             VALUES ('{id}', {at}, 'user_added', 'root', 'host', '[]', 1)"
        );
        jeton.database.query(&insert).await;
    }
    jeton.service.reload().await;
    jeton.service.clean().await;
    let left = jeton.database.query("SELECT act_id FROM operator_acts WHERE host = 'host'").await;
    assert_eq!(left, [[Some("young".to_owned())]]);
    let rows = jeton.database.query("SELECT deed FROM operator_acts WHERE deed LIKE 'old%'").await;
    assert!(rows.is_empty(), "the service is no operator");
}
