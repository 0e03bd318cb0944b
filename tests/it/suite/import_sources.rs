//! `jeton import`: sources that have users only, or whose users stand in several files: LDAP directories, Auth0, Firebase
//! and ASP.NET Identity (`tests/vectors/README.md`).

use std::path::Path;

use serde_json::{Value, json};

use super::import_services::{Exported, claims_of, login_as};
use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, run};

/// The client that users log in through.
const WEB: (&str, Option<&str>) = ("web", None);

fn vectors(kind: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    folder.join(kind).join(file).display().to_string()
}

/// Imports what can be taken of a source into a service that has a client and nobody else, and returns the report.
fn import(jeton: &Jeton, source: &Exported, further: &[&str]) -> Value {
    let skipped = jeton.database.path(&format!("skipped-{:016x}", rand::random::<u64>()));
    let mapping = jeton.database.path("mapping.toml");
    std::fs::write(&mapping, source.mapping).expect("a file");
    let master = jeton.fixtures.master_key.display().to_string();
    let arguments =
        ["import", source.kind, &source.path, "--mapping", &mapping, "--master-key-file", &master];
    let options = ["--scrypt", SCRYPT, "--json", "--database", &jeton.database.url];
    let skip =
        if further.contains(&"--dry-run") { vec![] } else { vec!["--skip-bad", skipped.as_str()] };
    run_for_json(&[&arguments[..], &options, &skip, further].concat(), "")
}

/// Sees that all users of a source log in as before, and nobody else; that `sub` stays, that who was refused there is
/// refused; and that importing again changes nothing.
async fn users_move(source: &Exported, further: &[&str]) -> (Jeton, Value) {
    let jeton = Jeton::start_bare(ENGINE).await;
    let client = ["client", "add", "web", "--public", "--grant", "password", "--scope", "read"];
    let settings =
        ["--default-scope", "read", "--audience", "https://api.example", "--claim", "roles"];
    jeton.run(&[&client[..], &settings].concat(), "").await;
    let expected = source.expected();
    let users = expected["users"].as_object().expect("users");
    let report = import(&jeton, source, further);
    assert_eq!(report["added"], users.len(), "{report}");
    for (name, user) in users {
        source.assert_user(&jeton, WEB, name, user).await;
        jeton.forget_failures().await;
    }
    for name in expected["refused"].as_object().expect("names").keys() {
        let statement = format!("SELECT COUNT(*) FROM users WHERE username = '{name}'");
        assert_eq!(jeton.database.query(&statement).await[0][0].as_deref(), Some("0"), "{name}");
    }
    let again = import(&jeton, source, further);
    assert_eq!((&again["added"], &again["updated"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(again["unchanged"], report["added"], "{again}");
    (jeton, report)
}

/// The roles in the token of a user.
async fn roles_of(jeton: &Jeton, name: &str, password: &str) -> Vec<String> {
    let claims = claims_of(&login_as(jeton, WEB, name, password, "").await);
    let roles = claims["roles"].as_array().into_iter().flatten();
    let mut roles: Vec<String> = roles.filter_map(Value::as_str).map(str::to_owned).collect();
    roles.sort();
    roles
}

fn assert_not_taken(report: &Value, names: &[(&str, u64)]) {
    for (name, count) in names {
        assert_eq!(report["not_taken"][name], *count, "{name}: {report}");
    }
}

const LDAP: &str = r#"
[groups]
"cn=admins,ou=groups,dc=example,dc=test" = "admin"
"cn=readers of reports,ou=groups,dc=example,dc=test" = "reader"
"cn=staff,ou=groups,dc=example,dc=test" = "staff"
"#;

/// A directory of slapd with a user of each scheme that its modules have, as `slapcat` and `ldapsearch` export it. Groups
/// are read from their members, and from their entries.
#[tokio::test]
async fn the_people_of_a_directory_move() {
    for file in ["slapcat.ldif", "ldapsearch.ldif"] {
        let source = Exported::new("ldap", file, LDAP);
        let (jeton, report) = users_move(&source, &[]).await;
        let refused = source.expected()["refused"].as_object().expect("names").len();
        // One has no password, and is no problem.
        assert_eq!(report["problems"].as_array().expect("problems").len(), refused - 1, "{report}");
        let without = "entry of the class inetOrgPerson without a password";
        assert_not_taken(
            &report,
            &[(without, 1), ("further userPassword of a user", 1), ("further uid of a user", 1)],
        );
        let roles = roles_of(&jeton, "ssha", "test password of ssha").await;
        assert_eq!(roles, ["admin", "reader", "staff"]);
        assert_eq!(roles_of(&jeton, "comma", "test password of comma").await, ["admin"]);
        assert_eq!(roles_of(&jeton, "argon2", "test password of argon2").await, ["staff"]);
        assert!(roles_of(&jeton, "sha512", "test password of sha512").await.is_empty());
    }
}

/// Accounts of Firebase, with the parameters of their project.
#[tokio::test]
async fn the_accounts_of_firebase_move() {
    let config = vectors("firebase", "hash-config.txt");
    let source = Exported::new("firebase", "export.json", "email_verified_role = \"verified\"");
    let (jeton, report) = users_move(&source, &["--hash-config", &config]).await;
    assert_eq!(report["problems"], json!([]));
    let expected = [
        ("user without a password", 4),
        ("second factor of a user, whose secret Firebase keeps", 2),
        ("login of a user at another provider", 1),
    ];
    assert_not_taken(&report, &expected);
    let roles = roles_of(&jeton, "dora@example.test", "test password of dora").await;
    assert_eq!(roles, ["admin", "editor"]);
    let roles = roles_of(&jeton, "anna@example.test", "test password of anna").await;
    assert_eq!(roles, ["verified"]);
}

/// Users of Auth0 whose hashes are of its own, and of each kind that it takes over from others; both exports in a folder,
/// and both of each user in one object.
#[tokio::test]
async fn the_users_of_auth0_move() {
    const MAPPING: &str =
        "audiences = [\"https://api.example\"]\nscope = \"read\"\ndefault_scope = \"read\"\n";
    for file in ["export", "joined.ndjson"] {
        let source = Exported::new("auth0", file, MAPPING);
        let (jeton, report) = users_move(&source, &[]).await;
        assert_eq!(report["authenticators"], 1, "{report}");
        let roles = roles_of(&jeton, "carl@example.test", "test password of carl").await;
        assert_eq!(roles, ["admin", "editor"]);
        if file != "export" {
            continue;
        }
        // Who has no hash, and who is known at another provider only.
        let others = [
            ("user without a password", 2),
            ("client of Auth0 itself", 1),
            ("client without the password grant", 2),
        ];
        assert_not_taken(&report, &others);
        assert_eq!(report["clients_added"], 2, "{report}");
        let clients = source.expected()["clients"].clone();
        let named = |name: &str| {
            let clients = clients.as_object().expect("clients").iter();
            let (id, client) =
                clients.clone().find(|(_, client)| client["name"] == name).expect(name);
            (id.clone(), client["secret"].as_str().map(str::to_owned))
        };
        for name in ["web", "phone"] {
            let (id, secret) = named(name);
            let client = (id.as_str(), secret.as_deref());
            let reply =
                login_as(&jeton, client, "anna@example.test", "test password of anna", "").await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        }
        let (id, _) = named("web");
        let wrong = (id.as_str(), Some("another secret"));
        let reply = login_as(&jeton, wrong, "anna@example.test", "test password of anna", "").await;
        reply.assert_error(401, "invalid_client");
    }
}

/// The tables of ASP.NET Identity: hashes of both versions, lockouts, roles and authenticators.
#[tokio::test]
async fn the_users_of_aspnet_identity_move() {
    let source = Exported::new("aspnet-identity", "export", "");
    let (jeton, report) = users_move(&source, &[]).await;
    assert_eq!(report["authenticators"], 1, "{report}");
    let expected = [
        ("user without a password", 1),
        ("table AspNetUserClaims", 1),
        ("TwoFactorEnabled of a user", 1),
    ];
    assert_not_taken(&report, &expected);
    let roles = roles_of(&jeton, "anna", "test password of Anna").await;
    assert_eq!(roles, ["Admin", "Editor of texts"]);
}

/// Nothing is stored by a dry run, nor when something cannot be taken and nobody has said to leave it out.
#[tokio::test]
async fn nothing_of_a_source_is_stored_unless_all_of_it_is() {
    let database = Database::migrated(ENGINE).await;
    let config = vectors("firebase", "hash-config.txt");
    for (kind, file, further, code) in [
        ("ldap", "slapcat.ldif", vec![], 1),
        ("auth0", "joined.ndjson", vec!["--dry-run"], 1),
        ("firebase", "export.json", vec!["--dry-run", "--hash-config", config.as_str()], 0),
        ("aspnet-identity", "export/AspNetUsers.csv", vec![], 1),
    ] {
        let path = vectors(kind, file);
        let output =
            run(&[&["import", kind, &path, "--database", &database.url], &further[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{kind}: {said}");
        let stored = database.query("SELECT COUNT(*) FROM users").await;
        assert_eq!(stored[0][0].as_deref(), Some("0"), "{kind}");
    }
}

/// What cannot be read is told with what to do, and nothing of it is repeated that could be a secret.
#[tokio::test]
async fn a_source_that_is_another_one_is_told_so() {
    let database = Database::migrated(ENGINE).await;
    let file = |name: &str, text: &str| {
        let path = database.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let changes = file("changes.ldif", "dn: uid=a\nchangetype: add\nuserPassword: hidden-word\n");
    let hashes = vectors("auth0", "export/password-hashes.ndjson");
    let export = vectors("firebase", "export.json");
    let headed = file("headed.ndjson", "{\"Id\":\"auth0|1\",\"Email\":\"a@example.test\"}\n");
    let config = file(
        "config.txt",
        "hash_config {\n algorithm: SCRYPT,\n base64_signer_key: hidden-word,\n}\n",
    );
    for (arguments, code, sentence) in [
        (vec!["ldap", &changes], 1, "line 2 lists changes"),
        (vec!["ldap", "-"], 2, "name its file instead"),
        (vec!["auth0", &hashes], 1, "Nothing says of 28 users whether they are blocked"),
        (vec!["auth0", &headed], 1, "export the users with the fields user_id"),
        (vec!["firebase", &export], 2, "name it with --hash-config"),
        (vec!["firebase", &export, "--hash-config", &config], 1, "it has no base64_salt_separator"),
        (vec!["ldap", &changes, "--hash-config", &config], 2, "--hash-config is for firebase"),
    ] {
        let all =
            [&["import"], &arguments[..], &["--dry-run", "--database", &database.url]].concat();
        let output = run(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
        assert!(!said.contains("hidden-word"), "{said}");
    }
}

/// An entry that cannot be read is left out with its lines, and those around it are imported.
#[tokio::test]
async fn entries_of_ldif_that_cannot_be_read_are_left_out_whole() {
    let jeton = Jeton::start_bare(ENGINE).await;
    let hash = "{SSHA}sTwCzNHRH2zvTc4zA9ZGNvNwCzOcNV6B";
    let entry = |name: &str, line: &str| {
        format!("dn: uid={name},dc=x\nuid: {name}\n{line}userPassword: {hash}\n\n")
    };
    let text = [entry("anna", ""), entry("bert", "cn:: %%\n"), entry("carl", "")].concat();
    let path = jeton.database.path("people.ldif");
    std::fs::write(&path, text).expect("a file");
    let skipped = jeton.database.path("skipped.jsonl");
    let options =
        ["--database", &jeton.database.url, "--scrypt", SCRYPT, "--skip-bad", &skipped, "--json"];
    let report = run_for_json(&[&["import", "ldap", &path][..], &options].concat(), "");
    assert_eq!(
        (&report["added"], &report["problems"][0]["line"]),
        (&json!(2), &json!(5)),
        "{report}"
    );
    let skipped = std::fs::read_to_string(skipped).expect("a file");
    let line: Value = serde_json::from_str(&skipped).expect("one line");
    assert!(
        line["text"]
            .as_str()
            .expect("its lines")
            .starts_with("dn: uid=bert,dc=x\nuid: bert\ncn:: %%\n")
    );
    assert!(line["problem"].as_str().expect("a reason").contains("in line 7, cn is not base64"));
}
