//! What files `jeton user import` reads, and what it says of those that it does not.

use std::process::Command;

use serde_json::{Value, json};

use super::*;
use crate::harness::{Database, run, run_with_input};

/// A hash that costs little.
const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// `secret`, as Django hashes it with few rounds.
const DJANGO: &str = "pbkdf2_sha256$1000$saltsalt$Q1fLR1jWKpKQhTnHhHvJmCiWHWsdTYaTIb9J4CvX2Dk=";

/// The report of an import from standard input, and what was said.
fn import(database: &Database, text: &str, options: &[&str]) -> (Value, String) {
    let arguments =
        [&["user", "import", "-", "--json", "--database", &database.url], options].concat();
    let output = run_with_input(&arguments, text);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (report, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The line, kind and sentence of each problem.
fn problems(report: &Value) -> Vec<(u64, &str, &str)> {
    let problems = report["problems"].as_array().expect("a list").iter();
    problems
        .map(|problem| {
            let line = problem["line"].as_u64().expect("a number");
            let kind = problem["kind"].as_str().expect("a text");
            (line, kind, problem["problem"].as_str().expect("a sentence"))
        })
        .collect()
}

/// A list of objects, on as many lines as it likes, is read like lines of objects; each entry is named by the
/// line where it begins.
#[tokio::test]
async fn a_list_in_json_is_read() {
    let database = Database::empty(ENGINE).await;
    let text = format!(
        "\u{feff}\n[\n  {{\"username\": \"anna\", \"password_hash\": \"{HASH}\",\n   \"role\": [\"a\"]}},\n  \
         7,\n  {{\"username\": \"x ] y\", \"password_hash\": \"{HASH}\"}}, {{\"username\": \"bert\",\n \
         \"password_hash\": \"{HASH}\"}}\n]\n"
    );
    let (report, said) = import(&database, &text, &["--dry-run"]);
    let expected = [(5, "malformed"), (6, "username")];
    let found: Vec<_> = problems(&report).iter().map(|(line, kind, _)| (*line, *kind)).collect();
    assert_eq!(found, expected, "{report} {said}");
    assert_eq!(report["added"], 2);
    for (broken, sentence) in [
        ("[", "the file ends within its list"),
        ("[{}] {}", "something follows the list"),
        ("[{\"username\": \"a", "ends within its list, in the entry of line 1"),
    ] {
        let (_, said) = import(&database, broken, &["--dry-run"]);
        assert!(said.contains(sentence), "{broken}: {said}");
    }
    let (report, _) = import(&database, " [ ] ", &["--dry-run"]);
    assert_eq!(report["lines"], 0);
}

/// What `manage.py dumpdata` writes: users with their key as `sub`, those who are not active as disabled; other
/// models are passed over, which is said.
#[tokio::test]
async fn the_dump_of_django_is_read() {
    let database = Database::empty(ENGINE).await;
    let user = |pk, name: &str, active| {
        json!({"model": "auth.user", "pk": pk, "fields": {
            "password": DJANGO, "last_login": null, "is_superuser": false, "username": name,
            "email": format!("{name}@example.com"), "is_active": active, "groups": [1]
        }})
    };
    let group =
        json!({"model": "auth.group", "pk": 1, "fields": {"name": "editors", "permissions": []}});
    let dump = json!([group, user(17, "Anna", true), user(18, "bert", false)]);
    for text in [dump.to_string(), serde_json::to_string_pretty(&dump).expect("JSON")] {
        let (report, said) = import(&database, &text, &["--dry-run"]);
        assert_eq!((&report["added"], &report["problems"]), (&json!(2), &json!([])), "{said}");
        assert!(
            said.contains("Django's dumpdata: 2 users") && said.contains("1 entries"),
            "{said}"
        );
    }
    import(&database, &dump.to_string(), &["--column", "username=email"]);
    let rows = database.query(
        "SELECT user_id, username, CAST(disabled_at IS NULL AS INTEGER) FROM users ORDER BY 1",
    );
    let rows = rows.await;
    let cells: Vec<Vec<&str>> =
        rows.iter().map(|row| row.iter().flatten().map(String::as_str).collect()).collect();
    assert_eq!(cells, [["17", "anna@example.com", "1"], ["18", "bert@example.com", "0"]]);
}

/// A dump that Django made: its users log in with the passwords that they had.
#[tokio::test]
async fn a_dump_that_django_made_is_read() {
    let jeton = jeton().await;
    let dump = include_str!("../../vectors/django-dumpdata.json");
    let (report, _) = import(&jeton.database, dump, &[]);
    let [(line, kind, sentence)] = problems(&report)[..] else { panic!("{report}") };
    assert_eq!((line, kind), (48, "unknown_hash"), "carl has no password: {sentence}");
    assert!(sentence.contains("no password is right"), "{sentence}");
    let skipped = jeton.database.path("skipped");
    let (report, _) = import(&jeton.database, dump, &["--skip-bad", &skipped]);
    assert_eq!(report["added"], 2, "{report}");
    let reply = jeton.token(&login_form("anna", "correct horse battery staple")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    jeton
        .token(&login_form("bert", "correct horse battery staple"))
        .await
        .assert_error(400, "invalid_grant");
    let rows = jeton
        .database
        .query("SELECT user_id FROM users WHERE username IN ('anna', 'bert') ORDER BY 1");
    assert_eq!(rows.await, [[Some("1".to_owned())], [Some("2".to_owned())]]);
}

/// What is said twice has two meanings, and which of them counts is nobody's guess.
#[tokio::test]
async fn what_is_said_twice_is_refused() {
    let database = Database::empty(ENGINE).await;
    let csv = format!("username,password_hash,role,role\nanna,{HASH},a,b\n");
    let (_, said) = import(&database, &csv, &[]);
    assert!(said.contains("columns 3 and 4 of its header have the same name"), "{said}");
    // Spreadsheets leave columns without a name behind.
    let csv = format!("username,password_hash,,\nanna,{HASH},,\n");
    assert_eq!(import(&database, &csv, &["--dry-run"]).0["added"], 1);
    let object =
        format!("{{\"username\":\"anna\",\"password_hash\":\"{HASH}\",\"username\":\"bert\"}}");
    for text in [object.clone(), format!("[{object}]")] {
        let (report, _) = import(&database, &text, &[]);
        assert!(
            report["problems"][0]["problem"].to_string().contains("a member twice"),
            "{report}"
        );
    }
    let csv = format!("a,b,password_hash\nanna,bert,{HASH}\n");
    let (_, said) = import(&database, &csv, &["--column", "username=a", "--column", "username=b"]);
    assert!(said.contains("--column names two columns for username"), "{said}");
}

/// Words by which other programs say «nothing», lists in their forms, hashes in the wrong column and characters
/// that are not seen are no values.
#[tokio::test]
async fn words_for_nothing_are_no_values() {
    let database = Database::empty(ENGINE).await;
    let header = "username,password_hash,sub,scope,role\n";
    for word in
        ["NULL", "null", "\\N", "nil", "None", "undefined", "(null)", "<NULL>", "N/A", "NaN"]
    {
        for line in [
            format!("{word},{HASH},,,"),
            format!("anna,{word},,,"),
            format!("anna,{HASH},{word},,"),
            format!("anna,{HASH},,{word},"),
            format!("anna,{HASH},,,a {word}"),
        ] {
            let (report, said) = import(&database, &(header.to_owned() + &line), &[]);
            let sentence = problems(&report).first().map_or("", |problem| problem.2).to_owned();
            assert!(sentence.contains("stands for nothing elsewhere"), "{line}: {report} {said}");
        }
    }
    for (line, expected) in [
        (format!("anna,{HASH},,,\"[\"\"admin\"\"]\""), "its \"role\" is a list in the form"),
        (format!("anna,{HASH},,{{read}},"), "its \"scope\" is a list in the form"),
        (format!("{HASH},anna,,,"), "its \"username\" is a password hash"),
        (format!("anna,{HASH},{HASH},,"), "its \"sub\" is a password hash"),
        (format!("anna,{HASH},,,{HASH}"), "its \"role\" is a password hash"),
        (format!("anna,{HASH},,,a\u{202e}b"), "its \"role\" has control or invisible characters"),
    ] {
        let (report, said) = import(&database, &(header.to_owned() + &line), &[]);
        let sentence = problems(&report).first().map_or("", |problem| problem.2).to_owned();
        assert!(sentence.contains(expected), "{line}: {report} {said}");
    }
    assert_eq!(database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(), Some("0"));
}

/// A file of another form is named, with what can be done, and is not called broken CSV.
#[tokio::test]
async fn a_file_of_another_form_is_named() {
    let database = Database::empty(ENGINE).await;
    let url = database.url.as_str();
    let said_of = |content: &[u8]| {
        let path = database.path("users");
        std::fs::write(&path, content).expect("a file");
        let output = run(&["user", "import", &path, "--dry-run", "--database", url]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(content));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let csv = format!("username,password_hash\nanna,{HASH}\n");
    for (content, name, remedy) in [
        (format!("anna,{HASH}\n"), "line 1 is a user and not a header", "username,password_hash"),
        (csv.replace(',', ";"), "separated by semicolons", "commas"),
        (csv.replace(',', "\t"), "separated by tabulators", "commas"),
        ("anna:$apr1$salt$digest\n".to_owned(), "htpasswd", "$2y$"),
        ("anna:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n".to_owned(), "htpasswd", "commas"),
        ("anna:realm:0cc175b9c0f1b6a831c399e269772661\n".to_owned(), "htdigest", "new passwords"),
        ("root:x:0:0:root:/root:/bin/bash\n".to_owned(), "/etc/passwd", "/etc/shadow"),
        ("anna:$6$salt$digest:19000:0:99999:7:::\n".to_owned(), "/etc/shadow", "`$6$`"),
        (
            "\ndn: uid=anna,dc=example\nuid: anna\n".to_owned(),
            "line 2 is LDIF",
            "jeton import ldap",
        ),
        ("-- a dump\nINSERT INTO users VALUES ('anna');\n".to_owned(), "line 2 is SQL", "CSV"),
        ("COPY public.users (id) FROM stdin;\n1\n\\.\n".to_owned(), "line 1 is SQL", "CSV"),
        ("<?xml version=\"1.0\"?>\n<users/>\n".to_owned(), "XML", "CSV or JSON"),
        ("- username: anna\n  hash: x\n".to_owned(), "YAML", "JSON"),
        (" username | hash\n".replace(' ', "| "), "a table as a terminal shows it", "--csv"),
        (
            "{\"users\":[{\"localId\":\"a\",\"passwordHash\":\"b\"}]}".to_owned(),
            "Firebase",
            "new passwords",
        ),
        ("{\n \"realm\": \"r\",\n \"users\": []\n}".to_owned(), "Keycloak", "JSON Lines"),
        ("{\"users\":[{\"name\":\"a\"}]}".to_owned(), "one JSON object", "jq"),
        ("{\n  \"a\": {\n  }\n}".to_owned(), "one JSON object", "jq"),
    ] {
        let said = said_of(content.as_bytes());
        assert!(said.contains(name) && said.contains(remedy), "{content}: {said}");
        assert!(said.contains("/users: "), "it says where: {said}");
    }
    for (content, name) in [
        (&b"\x1f\x8b\x08\x00rest"[..], "gzip"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0[Content_Types].xml", "workbook"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0users.csv", "zip"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"SQLite format 3\0", "SQLite database"),
        (b"PGDMP\x01", "pg_dump"),
        (b"\xff\xfeu\0s\0e\0r\0", "UTF-16"),
        (b"\xfe\xff\0u\0s\0e\0r", "UTF-16"),
        (b"u\0s\0e\0r\0", "UTF-16"),
        (b"username\nanna\0\n", "line 2 has a zero octet"),
        (b"us\xe9rname,password_hash\n", "not UTF-8"),
    ] {
        let said = said_of(content);
        assert!(said.contains(name), "{content:?}: {said}");
    }
}

/// A program that packs files, run on a file of users.
#[tokio::test]
async fn a_packed_file_is_named_and_unpacks_as_it_is_told() {
    let database = Database::empty(ENGINE).await;
    let path = database.path("packed.csv");
    std::fs::write(&path, format!("username,password_hash\nanna,{HASH}\n")).expect("a file");
    let packed = Command::new("gzip").args(["-k", &path]).status().expect("gzip runs");
    assert!(packed.success());
    let packed = format!("{path}.gz");
    let output = run(&["user", "import", &packed, "--dry-run", "--database", &database.url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("gzip file") && said.contains("`gunzip`"), "{said}");
    std::fs::remove_file(&path).expect("a file of ours");
    assert!(Command::new("gunzip").arg(&packed).status().expect("gunzip runs").success());
    let output = run(&["user", "import", &path, "--dry-run", "--database", &database.url]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Hashes as libraries write them that are not read.
#[tokio::test]
async fn hashes_of_other_libraries_are_named() {
    let database = Database::empty(ENGINE).await;
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/unknown-hashes.json"))
        .expect("a list of vectors");
    let text = |vector: &Value, name| vector[name].as_str().expect("text").to_owned();
    let vectors: Vec<(String, String)> = vectors
        .as_array()
        .expect("a list")
        .iter()
        .map(|vector| (text(vector, "named"), text(vector, "hash")))
        .collect();
    let lines = vectors.iter().enumerate().map(|(n, (_, hash))| {
        format!("{}\n", json!({"username": format!("user{n}"), "password_hash": hash}))
    });
    let (report, said) = import(&database, &lines.collect::<String>(), &[]);
    let problems = problems(&report);
    assert_eq!(problems.len(), vectors.len(), "{report} {said}");
    for ((_, kind, sentence), (name, hash)) in problems.iter().zip(&vectors) {
        assert!(*kind == "unknown_hash" && sentence.contains(name), "{name}, {hash}: {sentence}");
        let end = &hash[hash.len() - 10..];
        assert!(!sentence.contains(end), "{name}, {hash}: {sentence}");
    }
}

/// A hash that is not read is named as far as its text tells, and nothing of it is repeated.
#[tokio::test]
async fn an_unknown_hash_is_named() {
    let database = Database::empty(ENGINE).await;
    let hex = |length: usize| "0123456789abcdef".repeat(length / 16 + 1)[..length].to_owned();
    let base64 = |length: usize| "QUJDREVGR0hJSktM".repeat(6)[..length].to_owned();
    let cases = [
        (
            "$P$BZqx7Zqx7Zqx7Zqx7Zqx7Zqx7Zqx7Z".to_owned(),
            "begins with $P$ and goes on as none does",
        ),
        ("$1$salt$Zqx7Zqx7Zqx7Zqx7Zqx7".to_owned(), "md5crypt"),
        ("$apr1$salt$Zqx7Zqx7Zqx7Zqx7".to_owned(), "Apache's md5crypt"),
        ("$5$salt$Zqx7Zqx7Zqx7Zqx7".to_owned(), "begins with $5$"),
        ("{CRYPT}$6$salt$Zqx7Zqx7".to_owned(), "begins with $6$"),
        ("$y$j9T$salt$Zqx7Zqx7Zqx7".to_owned(), "yescrypt"),
        ("{SSHA}Zqx7Zqx7Zqx7Zqx7Zqx7".to_owned(), "begins with {SSHA}"),
        ("sha1$salt$Zqx7Zqx7Zqx7".to_owned(), "`jeton import` with the kind of your service"),
        ("pbkdf2:sha256:1000$salt$Zqx7Zqx7".to_owned(), "begins with pbkdf2:"),
        ("$pbkdf2$1000$Zqx7Zqx7$Zqx7Zqx7".to_owned(), "begins with $pbkdf2$"),
        ("{pbkdf2}Zqx7Zqx7Zqx7Zqx7".to_owned(), "PBKDF2 of Spring"),
        ("{noop}Zqx7secret".to_owned(), "plain text of Spring"),
        (
            "{MD5}Zqx7Zqx7Zqx7Zqx7Zqx7Zg==".to_owned(),
            "broken: whoever has a copy soon has the password",
        ),
        (HASH[..40].to_owned(), "begins with $2b$ and goes on as none does"),
        (hex(32), "MD5 or NTLM"),
        (hex(40), "SHA-1"),
        (hex(128), "SHA-512"),
        (format!("{}:{}", hex(32), hex(128)), "scrypt of a program in JavaScript"),
        (format!("{}:salt", hex(32)), "a salted digest"),
        (format!("*{}", hex(40).to_uppercase()), "MySQL"),
        (format!("md5{}", hex(32)), "PostgreSQL's own roles"),
        (format!("{}==", base64(86)), "Firebase"),
        (format!("AQAAAA{}", base64(78)), "ASP.NET Identity"),
        ("!Zqx7Zqx7Zqx7Zqx7".to_owned(), "no password is right"),
        ("Zqx7 my password".to_owned(), "in no format known here"),
    ];
    let lines = cases.iter().enumerate().map(|(n, (hash, _))| format!("user{n},\"{hash}\"\n"));
    let text = "username,password_hash\n".to_owned() + &lines.collect::<String>();
    let (report, said) = import(&database, &text, &[]);
    let problems = problems(&report);
    assert_eq!(problems.len(), cases.len(), "{report} {said}");
    for ((_, kind, sentence), (hash, name)) in problems.iter().zip(&cases) {
        assert_eq!(*kind, "unknown_hash", "{hash}");
        assert!(sentence.contains(name), "{hash}: {sentence}");
        assert!(!sentence.contains("Zqx7") && !sentence.contains(&hex(16)), "{hash}: {sentence}");
    }
}
