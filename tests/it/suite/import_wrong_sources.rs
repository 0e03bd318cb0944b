//! `jeton import` of what is not what it seems: another kind, another form, a table that lacks something, a database that
//! cannot be read. Nothing is imported then, and what is said helps and repeats no secret.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::{command, run_for_json};
use crate::harness::{Database, Engine, run};

const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// The least that a realm of Keycloak has.
const REALM: &str = r#"{"realm": "shop", "users": []}"#;

fn vectors(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file).display().to_string()
}

/// Looks at a source, or imports it.
fn import(database: &Database, kind: &str, source: &str, further: &[&str]) -> Output {
    let arguments = ["import", kind, source, "--database", &database.url];
    run(&[&arguments[..], further].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file in the folder of a test.
fn file(database: &Database, name: &str, octets: &[u8]) -> String {
    let path = database.path(name);
    std::fs::write(&path, octets).expect("a file");
    path
}

/// A user of Keycloak with a password, and these members beside.
fn keycloak_user(name: &str, members: &Value) -> Value {
    let text = std::fs::read_to_string(vectors("keycloak/realm.json")).expect("a file");
    let realm: Value = serde_json::from_str(&text).expect("JSON");
    let mut users = realm["users"].as_array().expect("users").iter();
    let anna = users.find(|user| user["username"] == "anna").expect("a user");
    let mut user = json!({ "username": name, "id": name, "enabled": true, "credentials": anna["credentials"] });
    for (name, value) in members.as_object().expect("members") {
        match (&mut user[name], value) {
            (Value::Array(own), Value::Array(further)) => own.extend(further.clone()),
            (own, value) => *own = value.clone(),
        }
    }
    user
}

/// No error has the password of a URL, whether the URL is wrong, the kind has no database, or reading ends in the middle.
/// [design: import]
#[tokio::test]
async fn no_error_has_the_password_of_a_source() {
    let database = Database::migrated(ENGINE).await;
    let kinds = ["django-oauth-toolkit", "laravel-passport", "supabase", "aspnet-identity"];
    let urls = [
        "mysql://root:hidden-word@localhost/app",
        "POSTGRES://root:hidden-word@localhost/app",
        "host=localhost user=root password=hidden-word",
    ];
    for (kind, url) in kinds.iter().flat_map(|kind| urls.map(|url| (*kind, url))) {
        let output = import(&database, kind, url, &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{kind} {url}: {said}");
        assert!(
            said.contains("postgres://USER@HOST/NAME") && !said.contains("hidden-word"),
            "{said}"
        );
    }
    for kind in ["keycloak", "auth0", "ldap", "csv", "jsonl", "json"] {
        let output = import(&database, kind, "postgres://root:hidden-word@localhost/app", &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{kind}: {said}");
        assert!(said.contains("not from a database") && !said.contains("hidden-word"), "{said}");
    }
    // A view in place of a table, which fails at its second row.
    let source = Database::empty(ENGINE).await;
    let row = if ENGINE == Engine::Postgres {
        "1 / (2 - n)"
    } else {
        "abs(-9223372036854775808 + 2 - n)"
    };
    source
        .run_script(&format!(
            "CREATE TABLE numbers (n BIGINT); INSERT INTO numbers VALUES (1), (2); \
             CREATE VIEW users AS SELECT n AS id, 'x' AS email, '{HASH}' AS password, {row} AS more FROM numbers"
        ))
        .await;
    let url = source.url.replace("://postgres@", "://postgres:hidden-word@");
    let output = import(&database, "laravel-passport", &url, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the table users") && !said.contains("hidden-word"), "{said}");
    assert_eq!(database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(), Some("0"));
}

/// A file of another kind or form is named where that can be told, and a mark before UTF-8 is no part of the text.
#[tokio::test]
async fn a_source_of_another_form_is_named() {
    let database = Database::migrated(ENGINE).await;
    let in_utf_16: Vec<u8> =
        [&[0xff, 0xfe], &REALM.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()[..]]
            .concat();
    let wide = file(&database, "wide.json", &in_utf_16);
    let sqlite = vectors("laravel-passport/passport-13.sqlite3");
    let ldif = vectors("ldap/slapcat.ldif");
    let realm = vectors("keycloak/realm.json");
    let config = vectors("firebase/hash-config.txt");
    let folder = vectors("auth0/export");
    let of_firebase = ["--hash-config", config.as_str()];
    for (kind, source, further, sentence) in [
        ("keycloak", &wide, &[][..], "UTF-16"),
        ("keycloak", &sqlite, &[], "an SQLite database"),
        ("firebase", &wide, &of_firebase, "UTF-16"),
        ("firebase", &folder, &of_firebase, "Is a directory"),
        ("firebase", &realm, &of_firebase, "neither a user with a password nor a client"),
        ("django-oauth-toolkit", &wide, &[], "UTF-16"),
        ("ldap", &sqlite, &[], "an SQLite database"),
        ("auth0", &sqlite, &[], "an SQLite database"),
        ("auth0", &realm, &[], "`jeton import keycloak`"),
        ("auth0", &ldif, &[], "`jeton import ldap`"),
        ("laravel-passport", &ldif, &[], "`jeton import ldap`"),
    ] {
        let output = import(&database, kind, source, further);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{kind} {source}: {said}");
        assert!(said.contains(sentence), "{kind} {source}: {said}");
        assert!(said.lines().count() < 3, "{said}");
    }
    for (kind, from, further) in [
        ("keycloak", "keycloak/realm.json", &[][..]),
        ("django-oauth-toolkit", "django-oauth-toolkit/dumpdata.json", &[]),
        ("firebase", "firebase/export.json", &of_firebase),
        ("ldap", "ldap/slapcat.ldif", &[]),
        ("auth0", "auth0/joined.ndjson", &[]),
    ] {
        let text = std::fs::read(vectors(from)).expect("a file");
        let marked = file(&database, "marked", &[&b"\xef\xbb\xbf"[..], &text].concat());
        let look = |source: &str| {
            let output =
                import(&database, kind, source, &[further, &["--dry-run", "--json"]].concat());
            let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
            (report["lines"].clone(), report["added"].clone())
        };
        assert_eq!(look(&marked), look(&vectors(from)), "{kind}");
    }
}

/// A table of users without a column that decides who somebody is or may log in is not imported: users would come without
/// it, and nobody would be told. A table that is missing beside it is listed.
#[tokio::test]
async fn a_table_that_lacks_something_is_told_of() {
    let database = Database::migrated(ENGINE).await;
    for (kind, table, header, sentence) in [
        ("laravel-passport", "users", "id,email", "no column password"),
        ("laravel-passport", "users", "email,password", "no column id"),
        (
            "supabase",
            "users",
            "id,email,encrypted_password,email_confirmed_at",
            "no column banned_until",
        ),
        ("aspnet-identity", "AspNetUsers", "Id,UserName", "no column PasswordHash"),
        ("django-oauth-toolkit", "auth_user", "id,username", "no column password"),
    ] {
        let folder = database.path(&format!("{kind}-{}", header.len()));
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(Path::new(&folder).join(format!("{table}.csv")), format!("{header}\n"))
            .expect("a file");
        let output = import(&database, kind, &folder, &[]);
        assert_eq!(output.status.code(), Some(1), "{kind}");
        assert!(said(&output).contains(sentence), "{kind}: {}", said(&output));
    }
    let source = Database::empty(ENGINE).await;
    source
        .run_script(&format!(
            "CREATE TABLE people (id INTEGER, username TEXT, password TEXT, role TEXT); \
             INSERT INTO people VALUES (7, 'anna', '{HASH}', 'owner'); \
             CREATE TABLE users (id INTEGER, email TEXT); INSERT INTO users VALUES (7, 'anna@example.test')"
        ))
        .await;
    let lacking = import(&database, "laravel-passport", &source.url, &[]);
    assert!(
        said(&lacking).contains("the table users: it has no column password"),
        "{}",
        said(&lacking)
    );
    // Already the first look needs the name of a table; it writes it into the mapping.
    let unnamed = import(&database, "django-oauth-toolkit", &source.url, &["--dry-run"]);
    assert!(said(&unnamed).contains("--table auth_user=NAME"), "{}", said(&unnamed));
    let mapping = database.path("first.toml");
    let looked = import(
        &database,
        "django-oauth-toolkit",
        &source.url,
        &["--dry-run", "--json", "--mapping", &mapping, "--table", "auth_user=people"],
    );
    let report: Value = serde_json::from_slice(&looked.stdout).expect("a report");
    assert_eq!(report["added"], 1, "{report}");
    for missing in [
        "clients, since there is no table oauth2_provider_application",
        "groups, since there is no table auth_group",
        "who is in which group, since there is no table people_groups",
        "fields.role of a user",
    ] {
        assert_eq!(report["not_taken"][missing], 1, "{missing}: {report}");
    }
    let output = import(&database, "django-oauth-toolkit", &source.url, &["--mapping", &mapping]);
    assert!(output.status.success(), "{}", said(&output));
    // A client of Passport whose secret was not exported is not a public one.
    let folder = PathBuf::from(database.path("passport"));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("users.jsonl"), "").expect("a file");
    std::fs::write(
        folder.join("oauth_clients.jsonl"),
        "{\"id\":1,\"password_client\":1,\"revoked\":0}\n",
    )
    .expect("a file");
    let output =
        import(&database, "laravel-passport", &folder.display().to_string(), &["--dry-run"]);
    assert!(said(&output).contains("export the column `secret`"), "{}", said(&output));
}

/// `kc.sh export --dir` writes 50 users to a file: a realm has more files than a process may have open.
#[tokio::test]
async fn a_realm_may_have_more_files_than_can_be_open() {
    let database = Database::migrated(ENGINE).await;
    let folder = PathBuf::from(database.path("realm"));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("shop-realm.json"), REALM.replace(", \"users\": []", ""))
        .expect("a file");
    for number in 0..200 {
        let users =
            json!({ "realm": "shop", "users": [keycloak_user(&format!("u{number}"), &json!({}))] });
        std::fs::write(folder.join(format!("shop-users-{number}.json")), users.to_string())
            .expect("a file");
    }
    let folder = folder.display().to_string();
    let inner = command(&[
        "import",
        "keycloak",
        &folder,
        "--dry-run",
        "--json",
        "--database",
        &database.url,
    ]);
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=100:100").arg(inner.get_program()).args(inner.get_args());
    let output = limited.output().expect("prlimit runs: it is in util-linux");
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["added"], 200, "{report}");
}

/// What users of Keycloak may change themselves, their attributes, is no role, scope or one-time password here, unless a
/// mapping says so. Who is refused there stays so, wherever else a mapping looks. Second factors that cannot come are
/// counted: their users log in with the password alone.
#[tokio::test]
async fn what_a_user_may_change_decides_nothing() {
    let database = Database::migrated(ENGINE).await;
    let key = json!([{ "type": "webauthn", "secretData": "{}", "credentialData": "{}" }]);
    let counting = json!([{ "type": "otp", "secretData": "{\"value\":\"abcdefghijklmnopqrst\"}",
        "credentialData": "{\"subType\":\"hotp\",\"digits\":6,\"counter\":1}" }]);
    let former =
        json!([{ "type": "password-history", "secretData": "{}", "credentialData": "{}" }]);
    let users = [
        keycloak_user(
            "anna",
            &json!({ "attributes": { "role": ["admin"], "scope": ["all"], "mfa_required": ["true"],
            "otp": ["JBSWY3DPEHPK3PXP"], "group": ["/staff"], "level": ["gold"], "blocked": ["false"] } }),
        ),
        keycloak_user("bert", &json!({ "credentials": key })),
        keycloak_user("carl", &json!({ "credentials": counting })),
        keycloak_user(
            "dora",
            &json!({ "credentials": former, "enabled": false, "attributes": { "blocked": ["false"] } }),
        ),
    ];
    let realm = json!({ "realm": "shop", "users": users }).to_string();
    let realm = file(&database, "realm.json", realm.as_bytes());
    let mapping = file(
        &database,
        "mapping.toml",
        b"[columns]\ndisabled = \"blocked\"\n[groups]\n\"/staff\" = \"staff\"\n",
    );
    let report = run_for_json(
        &[
            "import",
            "keycloak",
            &realm,
            "--json",
            "--mapping",
            &mapping,
            "--database",
            &database.url,
        ],
        "",
    );
    assert_eq!((&report["added"], &report["authenticators"]), (&json!(4), &json!(0)), "{report}");
    assert_eq!(
        report["not_taken"]["second factor of a user that is no one-time password by an app"], 2,
        "{report}"
    );
    assert_eq!(report["not_taken"]["attributes.role of a user"], 1, "{report}");
    let rows = "SELECT username, roles, scope, CASE WHEN mfa_required_at IS NULL THEN '' ELSE 'mfa' END, \
                CASE WHEN disabled_at IS NULL THEN '' ELSE 'disabled' END FROM users ORDER BY username";
    let rows = database.query(rows).await;
    let row = |name: &str, disabled: &str| {
        vec![
            Some(name.to_owned()),
            Some("[]".to_owned()),
            None,
            Some(String::new()),
            Some(disabled.to_owned()),
        ]
    };
    assert_eq!(rows, [row("anna", ""), row("bert", ""), row("carl", ""), row("dora", "disabled")]);
    // A mapping takes an attribute by its full name.
    let mapping = file(&database, "roles.toml", b"[columns]\nrole = \"attributes.role\"\n");
    let other = Database::migrated(ENGINE).await;
    run_for_json(
        &["import", "keycloak", &realm, "--json", "--mapping", &mapping, "--database", &other.url],
        "",
    );
    let roles = other.query("SELECT roles FROM users WHERE username = 'anna'").await;
    assert_eq!(roles[0][0].as_deref(), Some("[\"admin\"]"));
}

/// A date that no calendar has is refused with its user, one that is to come is now; none ends the import.
#[tokio::test]
async fn dates_out_of_bounds_are_one_bad_line() {
    let database = Database::migrated(ENGINE).await;
    let dates = [("first", i64::MIN), ("last", i64::MAX), ("early", -62_135_596_800_000)];
    let users: Vec<Value> = dates
        .iter()
        .map(|(name, date)| keycloak_user(name, &json!({ "createdTimestamp": date })))
        .collect();
    let realm = json!({ "realm": "shop", "users": users }).to_string();
    let realm = file(&database, "realm.json", realm.as_bytes());
    let skipped = database.path("skipped");
    let output = import(&database, "keycloak", &realm, &["--skip-bad", &skipped]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("users[0] of realm.json: its \"created_at\" is no time"));
    // Nobody was made later than now.
    let future = "SELECT COUNT(*) FROM users WHERE created_at > 2000000000000";
    assert_eq!(database.query(future).await[0][0].as_deref(), Some("0"));
    assert_eq!(database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(), Some("2"));
}
