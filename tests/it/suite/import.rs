//! `jeton user import`, `export` and `list --stats`: users come in and go out whole.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, run, run_with_input};

/// The hash of `secret` in the tutorial of FastAPI.
const TUTORIAL: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
/// Another hash.
const OTHER: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

/// Imports a text, with options.
fn import(database: &Database, text: &str, options: &[&str]) -> Output {
    let arguments = [&["user", "import", "-", "--database", &database.url], options].concat();
    run_with_input(&arguments, text)
}

/// Imports a text, which must succeed, and returns the report.
fn report(database: &Database, text: &str, options: &[&str]) -> Value {
    let output = import(database, text, &[options, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Rows of users by name.
async fn users(database: &Database, columns: &str) -> Vec<Vec<Option<String>>> {
    database.query(&format!("SELECT {columns} FROM users ORDER BY username")).await
}

fn row(cells: &[&str]) -> Vec<Option<String>> {
    cells.iter().map(|cell| Some((*cell).to_owned()).filter(|cell| cell != "NULL")).collect()
}

/// A file and a path beside it that nothing is at.
fn new_path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("jeton-{name}-{:016x}", rand::random::<u64>()))
}

#[tokio::test]
async fn a_file_of_either_form_becomes_users() {
    let csv = format!(
        "\u{feff}username,id,password_hash,scope,role,disabled\r\n\
         \u{ff21}nna,17,{TUTORIAL},read write,admin  editor,false\r\n\
         \"bert@example.com\",,\"{OTHER}\",,,1\n"
    );
    let json = format!(
        "{{\"username\": \"Anna\", \"id\": 17, \"password_hash\": \"{TUTORIAL}\", \"scope\": [\"read\", \
         \"write\"], \"role\": [\"admin\", \"editor\"]}}\n\n\
         {{\"username\": \"bert@example.com\", \"id\": null, \"password_hash\": \"{OTHER}\", \
         \"scope\": null, \"disabled\": true, \"else\": {{}}}}"
    );
    for text in [csv, json] {
        let database = Database::empty(ENGINE).await;
        let report = report(&database, &text, &["--column", "sub=id"]);
        assert_eq!(report["added"], 2, "{report}");
        assert_eq!(report["formats"], json!({"bcrypt cost 12": 1, "bcrypt cost 4": 1}));
        let columns = "username, password_hash, scope, roles";
        let [anna, bert] = &users(&database, columns).await[..] else { panic!("two users") };
        assert_eq!(*anna, row(&["anna", TUTORIAL, "read write", r#"["admin","editor"]"#]));
        assert_eq!(*bert, row(&["bert@example.com", OTHER, "NULL", "[]"]));
        let [anna, bert] = &users(&database, "user_id, disabled_at").await[..] else {
            panic!("two users")
        };
        assert_eq!(*anna, row(&["17", "NULL"]));
        // RFC 9068 §5: a `sub` of our own is random.
        assert!(bert[0].as_ref().is_some_and(|id| id.len() == 22) && bert[1].is_some(), "{bert:?}");
    }
}

/// Columns of any names; one that says the opposite, as Django's does.
#[tokio::test]
async fn columns_are_mapped() {
    let database = Database::empty(ENGINE).await;
    let text = format!(
        "email,password,is_active,note\nanna@example.com,{TUTORIAL},t,x\nbert@example.com,{OTHER},f,y\n"
    );
    let mapped = ["username=email", "password_hash=password", "disabled=!is_active"];
    let options: Vec<&str> = mapped.iter().flat_map(|column| ["--column", column]).collect();
    let output = import(&database, &text, &options);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("not used: note"), "{said}");
    let rows = users(&database, "username, disabled_at IS NULL").await;
    let states: Vec<_> = rows.iter().map(|row| row[1].as_deref().unwrap_or_default()).collect();
    assert!(matches!(states[..], ["1" | "true" | "t", "0" | "false" | "f"]), "{rows:?}");

    for (columns, said) in [
        (&["--column", "username=mail"][..], "no column \"mail\" among email, password"),
        (&["--column", "username=email"], "no column \"password_hash\""),
        (&["--column", "name=email"], "NAME is one of username, password_hash"),
        (&["--column", "username=!email"], "write it as NAME=COLUMN"),
        (&["--column", "username"], "write it as NAME=COLUMN"),
    ] {
        let output = import(&database, &text, columns);
        assert!(!output.status.success(), "{columns:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{columns:?}: {stderr}");
    }
}

/// Each line that cannot be taken is named with the reason, and then nothing is imported. W-34's names,
/// formats that are not known, costs that would stop the service. [W-03] [W-13] [W-31]
#[tokio::test]
async fn one_bad_line_keeps_everything_out() {
    let database = Database::empty(ENGINE).await;
    let good = format!("anna,{TUTORIAL},read,false");
    let bad = [
        (format!("ANNA,{OTHER},,"), "duplicate", "its user name is that of line 2"),
        (format!("a b,{OTHER},,"), "username", "cannot be a user name"),
        (format!(",{OTHER},,"), "malformed", "it has no \"username\""),
        ("carl,,,".to_owned(), "malformed", "it has no \"password_hash\""),
        ("carl,plain:Zqx7secret,,".to_owned(), "unknown_hash", "in no format known here"),
        ("carl,{noop}Zqx7secret,,".to_owned(), "unknown_hash", "plain text of Spring"),
        (format!("carl,{},,", OTHER.replace("$04$", "$31$")), "expensive_hash", "--hash-memory"),
        (format!("carl,{OTHER},a\u{7f},"), "malformed", "scope"),
        (format!("carl,{OTHER},,perhaps"), "malformed", "neither true nor false"),
        (format!("carl,{OTHER},"), "malformed", "it has 3 fields, and the header has 4"),
    ];
    let lines: Vec<&str> = bad.iter().map(|(line, ..)| line.as_str()).collect();
    let text = format!("username,password_hash,scope,disabled\n{good}\n{}\n", lines.join("\n"));
    for options in [&["--json"][..], &["--json", "--dry-run"]] {
        let output = import(&database, &text, options);
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let problems = report["problems"].as_array().expect("a list");
        assert_eq!(problems.len(), bad.len(), "{report}");
        for (number, (problem, (_, kind, said))) in problems.iter().zip(&bad).enumerate() {
            assert_eq!(problem["line"], number + 3, "{problem}");
            assert_eq!(problem["kind"], *kind, "{problem}");
            let sentence = problem["problem"].as_str().expect("a sentence");
            assert!(sentence.contains(said), "{sentence}");
        }
        assert!(users(&database, "username").await.is_empty());
    }
    let output = import(&database, &text, &[]);
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stderr.contains("line 3: its user name is that of line 2"), "{stderr}");
    assert!(stderr.contains("10 lines cannot be taken, so nothing was imported"), "{stderr}");
    for hash in [&TUTORIAL[20..], &OTHER[20..], "Zqx7secret"] {
        assert!(!stdout.contains(hash) && !stderr.contains(hash), "{hash} in {stdout}{stderr}");
    }
    assert!(users(&database, "username").await.is_empty());
}

/// A line is counted as an editor counts it: with either end of a line, blank lines, and lines within quotes.
#[tokio::test]
async fn lines_are_counted_as_editors_count_them() {
    let database = Database::empty(ENGINE).await;
    for end in ["\n", "\r\n"] {
        for last in ["", end] {
            let lines = [
                "username,note,password_hash",
                "a b,x,y",
                "",
                "\"c d\",\"two",
                "lines\",y",
                "",
                "",
                "e f,x,y",
                "g h,x,y",
            ];
            let text = lines.join(end) + last;
            let output = import(&database, &text, &["--json", "--dry-run"]);
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let problems = report["problems"].as_array().expect("a list").iter();
            let numbers: Vec<_> = problems.map(|problem| problem["line"].as_u64()).collect();
            assert_eq!(numbers, [2, 4, 8, 9].map(Some), "{text:?}");
            assert!(report["problems"].to_string().matches("cannot be a user name").count() == 4);
        }
    }
}

/// What is left out is in a file that only its owner can read, and that can be mended and imported.
#[tokio::test]
async fn bad_lines_can_be_left_out_mended_and_imported() {
    for (text, mend) in [
        (
            format!("username,password_hash\nanna,{TUTORIAL}\nb ert,{OTHER}\ncarl\n"),
            [("b ert", "bert"), ("carl,", &format!("carl,{OTHER},"))],
        ),
        (
            format!(
                "{{\"username\":\"anna\",\"password_hash\":\"{TUTORIAL}\"}}\n\
                 {{\"username\":\"b ert\",\"password_hash\":\"{OTHER}\"}}\n\
                 {{\"username\":\"carl\"\n"
            ),
            [("b ert", "bert"), ("{\"username\":\"carl\"", "")],
        ),
    ] {
        let database = Database::empty(ENGINE).await;
        let skipped = new_path("skipped");
        let path = skipped.display().to_string();
        let first = report(&database, &text, &["--skip-bad", &path]);
        assert_eq!(
            (&first["added"], &first["problems"][1]["line"]),
            (&json!(1), &json!(4 - usize::from(text.starts_with('{'))))
        );
        let mode = std::fs::metadata(&skipped).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left = std::fs::read_to_string(&skipped).expect("UTF-8");
        assert!(left.contains("cannot be a user name") && left.contains("carl"), "{left}");
        // What is there is not overwritten.
        let again = import(&database, &text, &["--skip-bad", &path]);
        assert!(!again.status.success());
        assert_eq!(std::fs::read_to_string(&skipped).expect("UTF-8"), left);

        let mended = mend.iter().fold(left, |text, (wrong, right)| text.replace(wrong, right));
        let second = import(&database, &mended, &["--json", "--skip-bad", &(path.clone() + "2")]);
        assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
        let rows = users(&database, "username").await;
        assert!(rows.contains(&row(&["bert"])), "{rows:?} {mended}");
        let rest = std::path::Path::new(&(path.clone() + "2")).exists();
        assert_eq!(rest, mended.contains("\"text\""), "a file only of what was left out");
        for file in [path.clone(), path + "2"] {
            std::fs::remove_file(file).ok();
        }
    }
}

/// The same file again changes nothing. Who has neither logged in nor got a password here gets the hash that
/// a later file has; of everyone else nothing is changed.
#[tokio::test]
async fn an_import_can_be_repeated() {
    let jeton = jeton().await;
    let database = &jeton.database;
    let file = |hash: &str| {
        let names = ["anna", "bert", "carl"].map(|name| format!("{name},{hash},read,admin\n"));
        format!("username,password_hash,scope,role\n{}", names.concat())
    };
    let counts = |report: &Value| {
        ["added", "updated", "unchanged"].map(|name| report[name].as_u64().expect("a number"))
    };
    assert_eq!(counts(&report(database, &file(TUTORIAL), &[])), [3, 0, 0]);
    let all = "user_id, username, password_hash, scope, roles, created_at, lot";
    let imported = users(database, all).await;
    assert_eq!(counts(&report(database, &file(TUTORIAL), &[])), [0, 0, 3]);
    assert_eq!(users(database, all).await, imported);

    // Anna logs in, bert gets another password, carl does nothing.
    assert_eq!(jeton.token(&login_form("anna", "secret")).await.status, 200);
    let passwd = ["user", "passwd", "bert", "--password-stdin", "--database", &database.url];
    // Within a second of the import the dates would be the same.
    database.query("UPDATE users SET created_at = 7, password_changed_at = 7").await;
    assert!(run_with_input(&passwd, "quill lamp tern 5\n").status.success());
    let changed =
        "SELECT password_hash FROM users WHERE username IN ('anna', 'bert') ORDER BY username";
    let own = database.query(changed).await;
    for expected in [[0, 1, 2], [0, 0, 3]] {
        assert_eq!(counts(&report(database, &file(OTHER), &["--dry-run"])), expected);
        assert_eq!(counts(&report(database, &file(OTHER), &[])), expected);
    }
    assert_eq!(database.query(changed).await, own);
    let carl =
        database.query("SELECT password_hash, created_at FROM users WHERE username = 'carl'");
    assert_eq!(carl.await, [row(&[OTHER, "7"])]);
}

/// RFC 7519 §4.1.2: nobody gets the `sub` of another.
#[tokio::test]
async fn a_sub_stays_with_its_user() {
    let database = Database::empty(ENGINE).await;
    let file = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| format!("{line},{TUTORIAL}\n")).collect();
        format!("username,sub,password_hash\n{}", lines.concat())
    };
    assert_eq!(report(&database, &file(&["anna,1"]), &[])["added"], 1);
    for (lines, kind, said) in [
        (&["bert,1"][..], "conflict", "its sub is that of the user anna"),
        (&["anna,2"], "conflict", "there is a user of its name already, with another sub"),
        (&["bert,2", "carl,2"], "duplicate", "its sub is that of line 2"),
        (&["bert,a b"], "malformed", "cannot be a sub"),
    ] {
        let output = import(&database, &file(lines), &["--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["problems"][0]["kind"], kind, "{report}");
        let sentence = report["problems"][0]["problem"].as_str().expect("a sentence");
        assert!(sentence.contains(said), "{sentence}");
    }
    assert_eq!(report(&database, &file(&["anna,1"]), &[])["unchanged"], 1);
    assert_eq!(users(&database, "user_id, username").await, [row(&["1", "anna"])]);
}

/// More users than one statement, and one page, holds.
#[tokio::test]
async fn many_users_come_in_and_go_out_the_same() {
    let database = Database::empty(ENGINE).await;
    let lines = (0..2_345).map(|number| {
        let disabled = number % 7 == 0;
        let role = if number % 2 == 0 { "admin editor" } else { "" };
        format!("user{number:05},{number},{TUTORIAL},read:{number},{role},{disabled},{disabled}\n")
    });
    let header = "username,sub,password_hash,scope,role,disabled,mfa_required\n";
    let text = header.to_owned() + &lines.collect::<String>();
    assert_eq!(report(&database, &text, &[])["added"], 2_345);
    let export = |format: &str, database: &Database| {
        let url = &database.url;
        let output = run(&["user", "export", "--format", format, "--database", url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let exported = export("jsonl", &database);
    assert_eq!(exported.lines().count(), 2_345);
    let first: Value =
        serde_json::from_str(exported.lines().next().expect("a line")).expect("JSON");
    let expected = json!({
        "username": "user00000", "password_hash": TUTORIAL, "sub": "0", "scope": "read:0",
        "role": ["admin", "editor"], "disabled": true, "mfa_required": true
    });
    assert_eq!(first, expected);
    for format in ["jsonl", "csv"] {
        let other = Database::empty(ENGINE).await;
        assert_eq!(report(&other, &export(format, &database), &[])["added"], 2_345);
        assert_eq!(export("jsonl", &other), exported, "{format}");
    }
    let without = ["user", "export", "--without-hashes", "--database", &database.url];
    let without = run(&without).stdout;
    assert!(!String::from_utf8_lossy(&without).contains('$'));

    let stats = ["user", "list", "--stats", "--json", "--database", &database.url];
    let expected = json!([{
        "format": "bcrypt cost 12", "users": 2_345, "never_logged_in": 2_345, "last_login_at": null
    }]);
    assert_eq!(run_for_json(&stats, ""), expected);
}

/// A dry run makes no database, and what cannot be read is said with its path.
#[tokio::test]
async fn a_dry_run_leaves_nothing_behind() {
    let path = new_path("database");
    let url = format!("sqlite:{}", path.display());
    let text = format!("username,password_hash\nanna,{TUTORIAL}\n");
    let output = run_with_input(&["user", "import", "-", "--dry-run", "--database", &url], &text);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Of 1 lines: 1 would be added"), "{said}");
    assert!(!path.exists());

    let missing = new_path("missing");
    let missing = missing.display().to_string();
    let output = run(&["user", "import", &missing, "--dry-run", "--database", &url]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&missing), "{said}");
    for (text, expected) in [("", "no column \"username\""), ("\n\n", "no column \"username\"")] {
        let output =
            run_with_input(&["user", "import", "-", "--dry-run", "--database", &url], text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}
