//! `jeton import`: the users and clients of another service, as that service itself exported them
//! (`tests/vectors/README.md`), keep their passwords and secrets.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::exported::{Exported, claims_of, login_as, uses_password};
use super::*;
use crate::harness::{Database, Engine, run};

const KEYCLOAK: &str = r#"
audiences = ["https://api.example"]
email_verified_role = "verified"
[roles]
reader = ""
[groups]
"/staff" = "staff"
"#;

/// A realm of Keycloak 26 with users of each hasher, one-time passwords, and clients; in one file, and in a folder.
#[tokio::test]
async fn a_realm_of_keycloak_moves() {
    let secret = "test-secret-of-web-4b5e57f6eb2f42b9039b3d1e13929295";
    let [source, folder] =
        ["realm.json", "realm"].map(|file| Exported::new("keycloak", file, KEYCLOAK));
    source.assert_same_rows(&[folder]).await;
    let (jeton, report) = source.moves(("web", Some(secret))).await;
    assert_eq!(report["clients_added"], 5, "{report}");
    for left_out in [
        "user without a password",
        "user that is the service account of a client",
        "client that neither uses the password grant nor has a secret",
        "identity provider",
        "requiredActions of a user",
        "department of a user",
        "authorization code flow of a client",
        "further audience https://api.example.test of a client",
    ] {
        assert!(report["not_taken"][left_out].as_u64() > Some(0), "{left_out}: {report}");
    }
    // Roles by themselves, by composites, by groups; those that the mapping leaves out are not there.
    let anna = login_as(
        &jeton,
        ("web", Some(secret)),
        "anna",
        "test password of anna",
        "&scope=openid+profile",
    )
    .await;
    let claims = claims_of(&anna);
    let mut roles: Vec<&str> =
        claims["roles"].as_array().expect("roles").iter().filter_map(Value::as_str).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["admin", "api:report", "editor", "staff", "verified"], "{claims}");
    assert_eq!(claims["scope"], "openid profile");
    assert_eq!(claims["preferred_username"], "anna");
    assert_eq!(claims["aud"], "https://api.example");
    // A client with audiences and lifetimes of its own.
    let shop = ("shop", Some("test-secret-of-shop-8d9001d32c6a703d95921a77115050f3"));
    let reply = login_as(&jeton, shop, "anna", "test password of anna", "").await;
    let claims = claims_of(&reply);
    assert_eq!(reply.json()["expires_in"], 120);
    assert_eq!(claims["aud"], "api");
    // A resource server introspects what is for it, with the secret that it had.
    let api = ("api", "test-secret-of-api-14c2529eb4498c5d1ffd6915d05bf58a");
    let answer = reply.json();
    let form = format!("token={}", answer["access_token"].as_str().expect("a token"));
    let introspected =
        jeton.request("POST", "/introspect").basic(api.0, api.1).form(&form).send().await;
    assert_eq!(introspected.json()["active"], true);
    // A public client needs no secret, a disabled one is refused.
    let phone = login_as(&jeton, ("phone", None), "anna", "test password of anna", "").await;
    assert_eq!(phone.status, 200, "{}", phone.text());
    let old = ("old", Some("test-secret-of-old-cba06b5736faf67e54b07b561eae9439"));
    login_as(&jeton, old, "anna", "test password of anna", "")
        .await
        .assert_error(401, "invalid_client");
    // The second factor is wanted, as it was there.
    login_as(&jeton, ("web", Some(secret)), "totp", "test password of totp", "")
        .await
        .assert_error(400, "invalid_grant");
}

/// Lifetimes that are longer than they may be here are shortened, and that is said.
#[tokio::test]
async fn lifetimes_are_shortened_to_what_they_may_be() {
    let jeton = Jeton::start_bare(ENGINE).await;
    let mut source = Exported::new("keycloak", "realm.json", KEYCLOAK);
    let realm = std::fs::read_to_string(&source.path).expect("a file");
    let longer = realm.replace("\"accessTokenLifespan\" : 300", "\"accessTokenLifespan\" : 7200");
    // A token lives no longer than its session, so that is made longer too.
    let idle = "\"ssoSessionIdleTimeout\" : 1800";
    let longer = longer.replace(idle, "\"ssoSessionIdleTimeout\" : 7200");
    assert_ne!(longer, realm);
    source.path = jeton.database.path("realm.json");
    std::fs::write(&source.path, longer).expect("a file");
    let report = source.import(&jeton);
    let shortened = &report["not_taken"]["life of access tokens beyond 1h of a client"];
    assert_eq!(*shortened, 3, "of web, phone and old: {report}");
    let phone = login_as(&jeton, ("phone", None), "anna", "test password of anna", "").await;
    assert_eq!(phone.json()["expires_in"], 3_600);
}

const DJANGO: &str = r#"
audiences = ["https://api.example"]
scope = "read write"
default_scope = "read"
[groups]
editors = "editor"
"#;

/// Django with django-oauth-toolkit: its SQLite file, its tables in PostgreSQL, and what dumpdata writes.
#[tokio::test]
async fn an_application_of_django_moves() {
    let files = ["database.sqlite3", "dumpdata.json"];
    let [source, others @ ..] = &sources_of("django-oauth-toolkit", &files, DJANGO).await[..]
    else {
        panic!("no source")
    };
    source.assert_same_rows(others).await;
    let expected = source.expected();
    let clients = expected["clients"].as_object().expect("clients");
    let (id, client) = clients
        .iter()
        .find(|(_, client)| {
            client["hashed"] == true && client["secret"].is_string() && uses_password(client)
        })
        .expect("a client with a hashed secret");
    let (jeton, _) = source.moves((id, client["secret"].as_str())).await;
    assert_clients(&jeton, &expected, "Anna", "test password of Anna").await;
}

const PASSPORT: &str = r#"
audiences = ["https://api.example"]
scope = "read write"
"#;

/// Laravel with Passport 12 and 13: SQLite files, tables in PostgreSQL, and a folder of CSV.
#[tokio::test]
async fn an_application_of_laravel_moves() {
    let files = ["passport-12.sqlite3", "passport-13.sqlite3", "passport-13"];
    let [source, others @ ..] = &sources_of("laravel-passport", &files, PASSPORT).await[..] else {
        panic!("no source")
    };
    source.assert_same_rows(others).await;
    let expected = source.expected();
    let web = "3d2f3488-92e2-452c-8880-67efc9254a26";
    let secret = expected["clients"][web]["secret"].as_str();
    let (jeton, _) = source.moves((web, secret)).await;
    assert_clients(&jeton, &expected, "anna@example.test", "test password of anna").await;
}

const SUPABASE: &str = r#"
email_verified_role = "verified"
[columns]
role = "app_metadata.roles"
"#;

/// The users of Supabase: tables in PostgreSQL, a folder of CSV, and the users alone.
#[tokio::test]
async fn the_users_of_supabase_move() {
    let mut sources = sources_of("supabase", &["export", "export/users.csv"], SUPABASE).await;
    // Without the table of factors nothing tells of them.
    let alone = sources.remove(1);
    let source = sources.remove(0);
    source.assert_same_rows(&sources).await;
    let later = Jeton::start_bare(ENGINE).await;
    let report = alone.import(&later);
    assert_eq!(report["not_taken"]["second factors, since there is no table auth.mfa_factors"], 1);
    assert_eq!(
        report["added"],
        source.expected()["users"].as_object().map_or(0, serde_json::Map::len)
    );
    // Who is there already gets no second factor later, which is said.
    let report = source.import(&later);
    assert_eq!(report["not_taken"]["authenticator of a user who is there already"], 1, "{report}");
    let jeton = Jeton::start_bare(ENGINE).await;
    let client = ["client", "add", "web", "--public", "--grant", "password", "--scope", "read"];
    let settings =
        ["--default-scope", "read", "--audience", "https://api.example", "--claim", "roles"];
    jeton.run(&[&client[..], &settings].concat(), "").await;
    let report = source.import(&jeton);
    assert_eq!(report["authenticators"], 1, "{report}");
    for (name, user) in source.expected()["users"].as_object().expect("users") {
        source.assert_user(&jeton, ("web", None), name, user).await;
    }
    let carl =
        login_as(&jeton, ("web", None), "carl@example.test", "test password of carl", "").await;
    assert_eq!(claims_of(&carl)["roles"], json!(["editor", "admin", "verified"]));
    let again = source.import(&jeton);
    assert_eq!((&again["added"], &again["updated"]), (&json!(0), &json!(0)), "{again}");
}

/// The files of a kind, and on PostgreSQL the database that its script fills.
async fn sources_of(kind: &'static str, files: &[&str], mapping: &'static str) -> Vec<Exported> {
    let mut sources: Vec<Exported> =
        files.iter().map(|file| Exported::new(kind, file, mapping)).collect();
    if ENGINE == Engine::Postgres {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(kind);
        let is_script = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sql");
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        for script in entries.map(|entry| entry.path()).filter(is_script) {
            let database = Database::empty(ENGINE).await;
            database.run_script(&std::fs::read_to_string(script).expect("a script")).await;
            sources.push(Exported { kind, path: database.url.clone(), mapping });
            // The tests' server deletes it with all others.
            std::mem::forget(database);
        }
    }
    sources
}

/// Each client that used the password grant does so with the secret that it had, and with no other.
async fn assert_clients(jeton: &Jeton, expected: &Value, user: &str, password: &str) {
    for (id, client) in expected["clients"].as_object().expect("clients") {
        let secret = client["secret"].as_str();
        if !uses_password(client) || client["disabled"] == true {
            login_as(jeton, (id, secret), user, password, "")
                .await
                .assert_error(401, "invalid_client");
            continue;
        }
        if let Some(secret) = secret {
            let wrong = format!("{secret}!");
            login_as(jeton, (id, Some(&wrong)), user, password, "")
                .await
                .assert_error(401, "invalid_client");
        }
        // Twice: the first use may replace a hash by a digest.
        for _ in 0..2 {
            let reply = login_as(jeton, (id, secret), user, password, "").await;
            assert_eq!(reply.status, 200, "{id}: {}", reply.text());
        }
    }
    let hashes = "SELECT COUNT(*) FROM client_secrets WHERE secret_hash IS NOT NULL AND last_used_at IS NOT NULL";
    assert_eq!(jeton.database.query(hashes).await[0][0].as_deref(), Some("0"));
}

/// A first mapping names what there is, and changes nothing while nobody edits it. [design: import]
#[tokio::test]
async fn a_dry_run_writes_a_first_mapping() {
    let jeton = Jeton::start_bare(ENGINE).await;
    let source = Exported::new("keycloak", "realm.json", "");
    let mapping = jeton.database.path("first.toml");
    let import = |further: &[&str]| source.try_import(&jeton, &mapping, further);
    let without = import(&[]);
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&without.stderr).contains("--dry-run writes a first one"));
    // Its clients lack an audience, so the dry run fails, and says which.
    let dry = import(&["--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&dry.stderr).contains("`audiences` of a mapping"));
    let text = std::fs::read_to_string(&mapping).expect("a mapping");
    for line in [
        "\"admin\" = \"admin\"",
        "\"/staff\" = \"\"",
        "\"web\" = \"web\"",
        "\"profile\" = \"profile\"",
        "\"department\"",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let edited = text.replace("audiences = []", "audiences = [\"https://api.example\"]");
    std::fs::write(&mapping, edited).expect("a file");
    let output = import(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let roles = jeton.database.query("SELECT roles FROM users WHERE username = 'anna'").await;
    let roles = roles[0][0].clone().expect("roles");
    assert_eq!(roles, r#"["admin","api:report","editor","reader"]"#);

    // What is no mapping says where.
    for (text, said) in [
        ("audience = []", "unknown field `audience`"),
        ("[columns]\nname = \"email\"", "NAME is one of"),
        ("[scopes]\nadmin = \"a  b\"", "(--mapping)"),
        ("audiences = [\"\"]", "an audience has 1 to"),
    ] {
        std::fs::write(&mapping, text).expect("a file");
        let output = import(&[]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{text}: {stderr}");
    }
}

/// Scopes by roles and groups limit every user: nobody who has none of them is let in without a limit.
#[tokio::test]
async fn scopes_by_roles_never_widen() {
    const SCOPES: &str =
        "audiences = [\"https://api.example\"]\n[scopes]\nadmin = \"openid email\"\n";
    let jeton = Jeton::start_bare(ENGINE).await;
    let narrow = Exported::new("keycloak", "realm.json", SCOPES);
    let mapping = jeton.database.path("mapping.toml");
    std::fs::write(&mapping, SCOPES).expect("a file");
    let import = |further: &[&str]| narrow.try_import(&jeton, &mapping, further);
    let refused = import(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("none of its roles and groups is in [scopes]")
    );
    assert_eq!(
        jeton.database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(),
        Some("0")
    );
    std::fs::write(&mapping, format!("{SCOPES}\"*\" = \"openid\"\n")).expect("a file");
    assert!(import(&[]).status.success());
    for (name, scope) in [("anna", "openid email"), ("argon2", "openid")] {
        let statement = format!("SELECT scope FROM users WHERE username = '{name}'");
        assert_eq!(jeton.database.query(&statement).await[0][0].as_deref(), Some(scope), "{name}");
    }
}

/// A row that cannot be read is one bad line, which --skip-bad leaves out; a table beside the users must be whole.
#[tokio::test]
async fn a_torn_row_is_one_bad_line() {
    let jeton = Jeton::start_bare(ENGINE).await;
    let folder = PathBuf::from(jeton.database.path("export"));
    std::fs::create_dir(&folder).expect("a folder");
    let hash = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
    let users = format!(
        "id,email,password\n1,anna@example.test,{hash}\n2,torn\n3,carl@example.test,{hash}\n"
    );
    std::fs::write(folder.join("users.csv"), users).expect("a file");
    let clients =
        "id,name,secret,provider,redirect,password_client,revoked\nweb,Web,short one,,,1,0\n";
    std::fs::write(folder.join("oauth_clients.csv"), clients).expect("a file");
    let mapping = jeton.database.path("mapping.toml");
    std::fs::write(&mapping, PASSPORT).expect("a file");
    let folder_name = folder.display().to_string();
    let import = |further: &[&str]| {
        let source = ["import", "laravel-passport", &folder_name, "--mapping", &mapping];
        run(&[&source[..], &["--database", &jeton.database.url], further].concat())
    };
    let refused = import(&[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("line 3 of users.csv: it has 2 fields, and the header has 3"), "{said}");
    let skipped = jeton.database.path("skipped");
    let taken = import(&["--skip-bad", &skipped]);
    let said = String::from_utf8_lossy(&taken.stderr);
    assert!(taken.status.success(), "{said}");
    // A secret that somebody chose is told of.
    assert!(said.contains("can be guessed") && said.contains(": web."), "{said}");
    let text = std::fs::read_to_string(&skipped).expect("a file");
    assert!(text.contains("2,torn"), "{text}");
    assert_eq!(
        jeton.database.query("SELECT COUNT(*) FROM users").await[0][0].as_deref(),
        Some("2")
    );
    std::fs::write(folder.join("oauth_clients.csv"), "id,secret,revoked\nweb\n").expect("a file");
    let torn = import(&["--skip-bad", &jeton.database.path("skipped-too")]);
    assert_eq!(torn.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&torn.stderr).contains("line 2 of oauth_clients.csv"));
}
