//! What an administrator asks in a day, of a service with 5,000 users, at a terminal of 80 columns.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::run_for_json;
use crate::harness::terminal::{COLUMNS, ROWS, see, type_in_terminal};
use crate::harness::{Database, Executable, Request, run, run_with_input};

/// A hash that costs little.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// How many users there are, with those of the template.
const USERS: usize = 5_000;
/// A name that is wider than it has letters.
const WIDE_NAME: &str = "\u{5f35}\u{5049}\u{5f35}\u{5049}\u{5f35}\u{5049}\u{5f35}\u{5049}\u{5f35}\u{5049}\u{5f35}\u{5049}";

/// A database with the template's users and clients, and so many more that there are 5,000. Most of them were added a
/// year ago and log in every day.
async fn filled() -> (Database, &'static crate::harness::Fixtures) {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut lines = String::new();
    let mut add = |user: Value| writeln!(lines, "{user}").expect("memory");
    let long = format!("{}@example.com", "a-name-that-goes-on".repeat(6));
    for (name, roles) in [
        (WIDE_NAME, json!(["user"])),
        (
            &long,
            json!(["user", "editor", "reviewer", "approver", "auditor of everything there is"]),
        ),
        ("exact", json!(["audit"])),
        ("quotes", json!(["\"audit\""])),
        ("commas", json!(["a", "b"])),
        ("comma", json!([","])),
        ("percent%_", json!(["100%_\\"])),
    ] {
        add(json!({"username": name, "password_hash": HASH, "role": roles}));
    }
    for number in 0..USERS - 5 - 7 {
        let role = if number % 1_000 == 0 { "auditor" } else { "user" };
        let name = format!("user-{number:04}");
        let disabled = number % 2_000 == 7;
        add(json!({"username": name, "password_hash": HASH, "role": [role], "disabled": disabled}));
    }
    let import = ["user", "import", "-", "--database", &database.url];
    let output = run_with_input(&import, &lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let past = "UPDATE users SET created_at = created_at - 31536000, \
                password_changed_at = password_changed_at - 31536000, imported_at = imported_at - 31536000, \
                last_login_at = created_at WHERE username <> 'exact'";
    database.query(past).await;
    (database, fixtures)
}

/// RFC 8265 names, roles as they are stored, dates and hashes: each question has exactly its users as the answer, and
/// whatever is asked, no line is wider than the terminal.
#[tokio::test]
async fn a_day_with_5_000_users() {
    let (database, fixtures) = filled().await;
    let year =
        "UPDATE users SET last_login_at = created_at WHERE username IN ('user-0011', 'user-0012')";
    database.query(year).await;
    database.query("UPDATE users SET last_login_at = NULL WHERE username = 'user-0013'").await;
    let some = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (options, expected) in [
        (&["--disabled"][..], some(&["disabled", "user-0007", "user-2007", "user-4007"])),
        (&["--role", "auditor"], (0..5).map(|n| format!("user-{n}000")).collect()),
        (&["--role", "audit"], some(&["exact"])),
        (&["--role", "\"audit\""], some(&["quotes"])),
        (&["--role", ","], some(&["comma"])),
        (&["--role", "100%_\\"], some(&["percent%_"])),
        (&["--role", "AUDIT"], some(&[])),
        (&["--name", "user-00*7"], (0..10).map(|n| format!("user-00{n}7")).collect()),
        (&["--name", "USER-0042"], some(&["user-0042"])),
        (&["--name", "*%_"], some(&["percent%_"])),
        (&["--inactive-since", "90d"], some(&["user-0011", "user-0012", "user-0013"])),
        (&["--format", "scrypt"], some(&["alice", "bob", "disabled", "mfa", "zo\u{e9}"])),
        (&["--format", "bcrypt cost 4", "--name", "exa*"], some(&["exact"])),
        (
            &["--format", "bcrypt cost", "--disabled", "--role", "user"],
            some(&["user-0007", "user-2007", "user-4007"]),
        ),
        (
            &["--limit", "2", "--after", "user-4985", "--name", "user-*"],
            some(&["user-4986", "user-4987"]),
        ),
        (&["--limit", "2", "--name", "user*"], some(&["user-0000", "user-0001", "There"])),
    ] {
        let seen = see(&database, &[&["user", "list"][..], options].concat());
        assert_eq!(seen.code, Some(0), "{options:?}: {seen:#?}");
        assert!(seen.lines[0].starts_with("NAME"), "{options:?}: {seen:#?}");
        let mut names = seen.names();
        // PostgreSQL orders names as its database is told to.
        names.sort_unstable_by_key(|name| (*name == "There", *name));
        assert_eq!(names, expected, "{options:?}");
        assert!(seen.width() <= COLUMNS, "{options:?}: {seen:#?}");
    }

    let all = see(&database, &["user", "list"]);
    assert_eq!(all.lines.len(), 1 + USERS);
    assert_eq!(all.width(), COLUMNS);
    let long = all.lines.iter().find(|line| line.starts_with("a-name-")).expect("the long name");
    assert!(long.contains('\u{2026}'), "it is cut: {long}");
    assert!(all.lines.iter().any(|line| line.starts_with("\u{5f35}\u{5049}\u{5f35}\u{5049}")));
    let wide = see(&database, &["user", "list", "--wide", "--name", "a-name*"]);
    assert!(wide.lines[1].contains("auditor of everything there is"), "{wide:#?}");
    assert!(wide.lines[1].contains("@example.com") && !wide.lines[1].contains('\u{2026}'));
    // Nothing is cut where no terminal is.
    let piped = run(&["user", "list", "--database", &database.url]).stdout;
    assert!(!String::from_utf8(piped).expect("UTF-8").contains('\u{2026}'));
    let listed = run_for_json(&["user", "list", "--json", "--database", &database.url], "");
    assert_eq!(listed.as_array().map(Vec::len), Some(USERS));

    let master = fixtures.master_key.display().to_string();
    for arguments in [
        &["client", "list"][..],
        &["client", "list", "--unused-since", "0s"],
        &["client", "show", "bound"],
        &["key", "list", "--master-key-file", &master],
        &["key", "list", "--refresh", "--master-key-file", &master],
        &["db", "replicas"],
        &["user", "show", "alice", "--master-key-file", &master],
        &["user", "list", "--stats"],
    ] {
        let seen = see(&database, arguments);
        assert_eq!(seen.code, Some(0), "{arguments:?}: {seen:#?}");
        assert!(seen.width() <= COLUMNS && seen.lines.len() > 1, "{arguments:?}: {seen:#?}");
    }
}

/// NIST SP 800-63B-4 §3.2.2: who is held back is found among all users, with the reason and the end, however the user
/// is called by now.
#[tokio::test]
async fn who_is_held_back_is_found_among_5_000() {
    let (database, fixtures) = filled().await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    for (user, failures) in [("user-0042", 5), ("user-1234", 4), ("user-2000", 3), ("nobody", 5)] {
        for number in 0..failures {
            let form = login_form(user, &format!("wrong {number}")) + "&client_id=spa";
            let request = Request::new(service.public, "POST", "/token").form(&form);
            request.send().await.assert_error(400, "invalid_grant");
        }
    }
    service.stop_and_read_log();
    let later = "UPDATE login_throttle SET failed_at = failed_at + 600";
    database.query(later).await;
    let lock = "UPDATE login_throttle SET failures = 100 WHERE failures = 4";
    database.query(lock).await;
    let rename = run(&["user", "rename", "user-0042", "Renamed", "--database", &database.url]);
    assert!(rename.status.success());

    let master = fixtures.master_key.display().to_string();
    let list = ["user", "list", "--locked", "--master-key-file", &master];
    let seen = see(&database, &list);
    assert!(seen.width() <= COLUMNS, "{seen:#?}");
    let [heading, renamed, locked, note @ ..] = &seen.lines[..] else { panic!("{seen:#?}") };
    assert!(heading.contains("HELD BACK") && heading.ends_with("UNTIL"), "{seen:#?}");
    assert!(renamed.starts_with("renamed ") && renamed.ends_with('Z'), "{seen:#?}");
    assert!(renamed.contains("unknown origins: 5 failed logins"), "{seen:#?}");
    assert!(locked.starts_with("user-1234 ") && locked.ends_with("unlocked"), "{seen:#?}");
    assert!(note.concat().contains("jeton user unlock"), "{seen:#?}");
    let both = [&list[..], &["--disabled"]].concat();
    assert_eq!(see(&database, &both).lines.len(), 1);
    let all = [&list[..], &["--json", "--database", &database.url]].concat();
    let json = run_for_json(&all, "");
    assert_eq!(json[0]["held_back"][0]["why"], "unknown_origins", "{json}");
    assert!(json[0]["held_back"][0]["until"].is_i64(), "{json}");
    assert_eq!(json[1]["held_back"][0]["why"], "locked", "{json}");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    // Who holds no master key is told so.
    let missing = run(&["user", "list", "--locked", "--database", &database.url]);
    assert!(!missing.status.success());
}

/// A listing goes through the pager if it is longer than the screen, standard output is a terminal and there is a
/// pager.
#[tokio::test]
async fn long_listings_go_through_the_pager() {
    let (database, _) = Database::filled(ENGINE).await;
    let lines: String = (0..ROWS)
        .map(|n| json!({"username": format!("user-{n}"), "password_hash": HASH}).to_string() + "\n")
        .collect();
    let import = ["user", "import", "-", "--database", &database.url];
    assert!(run_with_input(&import, &lines).status.success());
    let list = ["user", "list"];
    let paged = |arguments: &[&str], pager: &str| {
        let seen = type_in_terminal(&database, arguments, &[("PAGER", pager)], "");
        assert_eq!(seen.code, Some(0), "{seen:?}");
        (seen.lines.iter().filter(|line| line.starts_with("page:")).count(), seen.lines.len())
    };
    let rows = ROWS + 5 + 1;
    assert_eq!(paged(&list, "sed s/^/page:/"), (rows, rows));
    assert_eq!(paged(&["user", "list", "--name", "a*"], "sed s/^/page:/"), (0, 2));
    assert_eq!(paged(&["user", "list", "--json", "--limit", "1"], "sed s/^/page:/").0, 0);
    assert_eq!(paged(&list, ""), (0, rows));
    // One that is not there is no reason to show nothing.
    assert!(paged(&list, "no-such-pager-here").1 >= rows);
    // The rest is not wanted.
    assert_eq!(paged(&list, "head -n 1").1, 1);
    assert_eq!(see(&database, &list).lines.len(), rows);
}

/// A client is shown with all that it is set to, the rest with what then holds.
#[tokio::test]
async fn a_client_is_shown_with_all_that_it_is_set_to() {
    let (database, _) = Database::filled(ENGINE).await;
    let show = |id: &str| see(&database, &["client", "show", id]).lines.join("\n");
    let bound = show("bound");
    for (name, value) in [
        ("Type", "confidential"),
        ("Grants", "password"),
        ("Default scope", "read"),
        ("Audience array", "no"),
        ("Access token typ", "at+jwt"),
        ("Access token lifetime", "as --access-token-lifetime of `jeton serve` says"),
        ("Refresh retry window", "(none)"),
        ("Authentication method", "any"),
        ("Claims", "(none)"),
    ] {
        let line = format!("{name:22}  {value}");
        assert!(bound.contains(&line), "{line}: {bound}");
    }
    assert!(bound.contains("https://api1.example=api1.read"), "{bound}");
    let claims = show("claims");
    for text in ["2m, the client's own", "roles preferred_username", "Audience array          yes"]
    {
        assert!(claims.contains(text), "{text}: {claims}");
    }
    assert!(show("rs1").contains("Introspects username    yes"));
    // Each setting of the JSON has a line, and three lines are of the client itself.
    let json = run_for_json(&["client", "show", "spa", "--json", "--database", &database.url], "");
    let others = ["client_id", "created_at", "disabled_at", "last_used_at", "public", "secrets"];
    let settings = json.as_object().expect("an object").len() - others.len();
    let lines = see(&database, &["client", "show", "spa"]).lines;
    let names = lines.iter().filter(|line| !line.starts_with(' ')).count();
    assert_eq!(names, settings + 5, "{lines:#?}");
}
