//! Whatever names, roles and headers have in them, it does nothing to the terminal that shows it and nothing in the
//! spreadsheet that opens it.

use serde_json::{Value, json};

use super::*;
use crate::harness::{Database, run, run_with_input};

/// A hash that costs little.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// An escape sequence, ends of lines, a bell, CSI in one octet, a change of direction, a separator of lines.
const HOSTILE: &str = "a\u{1b}[2J\u{7}\r\nFAKE\u{9b}31m\u{202e}b\u{2028}c\u{200b}d";

/// Asserts that all that was printed is printable; a JSON text too has no more than ends of lines.
#[track_caller]
fn assert_printable(what: &str, octets: &[u8]) {
    let text = std::str::from_utf8(octets).expect("UTF-8");
    for line in text.lines() {
        let hidden = ['\u{202e}', '\u{2028}', '\u{200b}'];
        let is_odd = |c: char| c.is_control() || hidden.contains(&c);
        assert!(!line.contains(is_odd), "{what}: {line:?}");
        assert!(!line.starts_with("FAKE"), "{what}: a name begins a line of its own: {line:?}");
    }
}

/// CWE-150: rows that SQL or an earlier version wrote are shown escaped, in tables, sentences and JSON, and JSON
/// keeps their value.
#[tokio::test]
async fn what_is_printed_is_printable() {
    let (database, _) = Database::filled(ENGINE).await;
    let roles = serde_json::to_string(&[HOSTILE]).expect("JSON");
    let quoted = roles.replace('\'', "''");
    database
        .query(&format!(
            "UPDATE users SET roles = '{quoted}', disabled_at = 7 WHERE username = 'alice'"
        ))
        .await;
    let url = database.url.as_str();
    for arguments in [
        &["user", "list"][..],
        &["user", "list", "--json"],
        &["user", "show", "alice"],
        &["user", "show", "alice", "--json"],
        &["user", "export"],
        &["client", "list"],
        &["session", "list", "--user", "alice"],
    ] {
        let output = run(&[arguments, &["--database", url]].concat());
        assert_printable(&arguments.join(" "), &output.stdout);
        assert_printable(&arguments.join(" "), &output.stderr);
        if arguments.ends_with(&["list", "--json"]) {
            let users: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let alice = users.as_array().expect("a list").iter().find(|u| u["username"] == "alice");
            assert_eq!(alice.expect("alice")["roles"], json!([HOSTILE]), "the value stays");
        }
    }
    // CSV cannot say it and is refused, as a role with a blank is.
    let output = run(&["user", "export", "--format", "csv", "--database", url]);
    assert!(!output.status.success());
    assert_printable("export", &output.stderr);
    assert_printable("export", &output.stdout);
}

/// CWE-150: headers, names and problems of a file that is imported.
#[tokio::test]
async fn what_an_import_says_is_printable() {
    let database = Database::empty(ENGINE).await;
    let object =
        json!({HOSTILE: 1, "username": HOSTILE, "password_hash": HOSTILE, "role": [HOSTILE]});
    let csv = format!(
        "username,password_hash,role,\"{HOSTILE}\"\n\"{HOSTILE}\",\"{HASH}\",\"{HOSTILE}\",x\n"
    );
    for text in [csv, object.to_string(), json!([object]).to_string(), HOSTILE.to_owned()] {
        for options in
            [&["--dry-run"][..], &["--dry-run", "--json"], &["--column", "username=\u{1b}x"]]
        {
            let arguments =
                [&["user", "import", "-", "--database", &database.url], options].concat();
            let output = run_with_input(&arguments, &text);
            assert_printable(&text, &output.stdout);
            assert_printable(&text, &output.stderr);
        }
    }
    // A role that is not seen as itself is not let in, on the command line either.
    let add = [
        "user",
        "add",
        "anna",
        "--password-stdin",
        "--role",
        "a\u{202e}b",
        "--database",
        &database.url,
    ];
    let output = run_with_input(&add, "quill lamp tern 5\n");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("a role has no control"),
        "{output:?}"
    );
}

/// OWASP, «CSV Injection»: no cell that leaves begins a formula, and all come back as they were.
#[tokio::test]
async fn what_leaves_as_csv_starts_no_formula() {
    let database = Database::empty(ENGINE).await;
    let values =
        ["=cmd|' /C calc'!A1", "+49301234", "-2+3", "@sum(a1)", "'=1", "''quoted", "a;b", "x|y"];
    let lines = values.iter().enumerate().map(|(number, value)| {
        let name = value.replace([' ', '\''], if value.contains(' ') { "" } else { "'" });
        let user = json!({
            "username": name, "password_hash": HASH, "sub": format!("-{number}"),
            "role": [value.replace(' ', "")], "scope": ["=read"]
        });
        format!("{user}\n")
    });
    let lines: String = lines.collect();
    let import = |database: &Database, text: &str| {
        let output = run_with_input(&["user", "import", "-", "--database", &database.url], text);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    import(&database, &lines);
    let export = |database: &Database, format| {
        let output = run(&["user", "export", "--format", format, "--database", &database.url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let csv = export(&database, "csv");
    assert_eq!(csv.lines().count(), values.len() + 1);
    for line in csv.lines() {
        // However a program divides the line.
        let within = ["=", "+", "-", "@"];
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().expect("a line").expect("CSV");
        assert!(
            !record.iter().any(|cell| within.iter().any(|sign| cell.starts_with(sign))),
            "{line}"
        );
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(b';')
            .from_reader(line.as_bytes());
        let record = reader.records().next().expect("a line").expect("CSV");
        let begins =
            |cell: &str| within.iter().any(|sign| cell.trim_start_matches('"').starts_with(sign));
        assert!(!record.iter().any(begins), "{line}");
    }
    let other = Database::empty(ENGINE).await;
    import(&other, &csv);
    assert_eq!(export(&other, "jsonl"), export(&database, "jsonl"));

    // Where other signs than commas divide lines, a formula behind one of them begins a cell.
    let hidden = json!({"username": "hidden", "password_hash": HASH, "role": ["a;=1+1"]});
    import(&database, &hidden.to_string());
    let output = run(&["user", "export", "--format", "csv", "--database", &database.url]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--format jsonl"), "{said}");
}

/// The same of lines that an import left out: they leave as CSV as well. One with a formula behind a sign that divides
/// lines elsewhere is named, and not written.
#[tokio::test]
async fn lines_that_are_left_out_start_no_formula() {
    let database = Database::empty(ENGINE).await;
    let path = database.path("skipped.csv");
    let text =
        format!("username,password_hash,=note\n=a b,{HASH},@x\n=c,{HASH},-y\nx;=1+1 b,{HASH},z\n");
    let skip = ["user", "import", "-", "--skip-bad", &path, "--database", &database.url];
    let output = run_with_input(&skip, &text);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("line 4: "), "{said}");
    assert!(said.contains("is not written to the file of --skip-bad"), "{said}");
    let hiding = text.replace("=note", "a|=note").replace("x;=1+1 b", "x b");
    let another = database.path("another.csv");
    let skip = ["user", "import", "-", "--skip-bad", &another, "--database", &database.url];
    let refused = run_with_input(&skip, &hiding);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("rename the column"), "{said}");
    assert!(!std::fs::exists(&another).expect("a folder"));
    let skipped = std::fs::read_to_string(&path).expect("a file");
    assert!(
        !skipped.contains("=1+1")
            && skipped.contains("'=note")
            && skipped.contains("'=a b,")
            && skipped.contains(",'@x,"),
        "{skipped}"
    );
}
