//! Errors at the edges: what the service says when it cannot start, and that nothing is half-done.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use crate::harness::executable::serve_in_vain;
use crate::harness::{Database, Engine, Executable};

/// Asserts that `jeton serve` ends with one sentence that says all of this: with 6 if it may succeed later.
#[track_caller]
fn assert_refuses(arguments: &[&str], says: &[&str]) {
    assert_stops(arguments, &[1, 6], says);
}

/// The same, with one of these exit codes.
#[track_caller]
fn assert_stops(arguments: &[&str], codes: &[i32], says: &[&str]) {
    let (code, errors) = serve_in_vain(arguments);
    assert!(code.is_some_and(|code| codes.contains(&code)), "{arguments:?}: {code:?}, {errors}");
    // Beside the log, whose lines are JSON.
    let said: Vec<&str> = errors.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(said.len(), 1, "one line: {errors}");
    assert!(said[0].starts_with("error: "), "{errors}");
    for part in says {
        assert!(said[0].contains(part), "{arguments:?} names {part}: {errors}");
    }
    assert!(!errors.contains("panic"), "{errors}");
}

/// Asserts that `jeton serve` does not take a setting, as wrong usage.
#[track_caller]
fn assert_usage(arguments: &[&str], says: &[&str]) {
    let (code, errors) = serve_in_vain(arguments);
    assert_eq!(code, Some(2), "{arguments:?}: {errors}");
    for part in says {
        assert!(errors.contains(part), "{arguments:?} names {part}: {errors}");
    }
}

/// A self-signed certificate and its key, in files of these names.
fn make_certificate(database: &Database, name: &str) -> (String, String) {
    let (certificate, key) = (database.path(&format!("{name}.crt")), database.path(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=localhost", "-days", "2", "-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

/// The names of what is in the test's folder.
fn files(database: &Database) -> Vec<String> {
    let entries = std::fs::read_dir(&database.folder).expect("the folder of the test");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// How many tables there are.
async fn tables(database: &Database) -> String {
    let sql = match ENGINE {
        Engine::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
        Engine::Postgres => "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'",
    };
    database.query(sql).await[0][0].clone().expect("a number")
}

/// Settings that contradict each other or the machine end the start with the setting's name and a
/// remedy, before a file or a table is made. RFC 8414 §2
#[tokio::test]
async fn contradicting_settings_stop_the_start_and_leave_nothing() {
    let database = Database::empty(ENGINE).await;
    let (certificate, key) = make_certificate(&database, "one");
    let (_, other_key) = make_certificate(&database, "two");
    let garbage = database.path("garbage");
    std::fs::write(&garbage, "no PEM here").expect("a file");
    let before = files(&database);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address").to_string();
    let public_issuer = ["--issuer", "https://auth.example"];
    let cases: [(i32, &[&str], &[&str]); 16] = [
        (2, &["--issuer", "http://auth.example"], &["--issuer", "must be https"]),
        (2, &["--issuer", "https://auth.example?x"], &["--issuer", "query"]),
        (2, &["--issuer", "auth.example"], &["--issuer", "https://auth.example.com"]),
        (2, &["--listen", "0.0.0.0:0"], &["--issuer is missing"]),
        (
            2,
            &[&public_issuer[..], &["--listen", "0.0.0.0:0"]].concat(),
            &["--listen 0.0.0.0:0", "--tls-certificate", "--behind-tls-proxy"],
        ),
        (1, &["--listen", &taken], &["(--listen)", &taken, "name another"]),
        (1, &["--management-listen", &taken], &["(--management-listen)", &taken]),
        (
            1,
            &["--tls-certificate", &garbage, "--tls-key", &key, "--issuer", "https://a.example"],
            &["(--tls-certificate)", &garbage, "PEM"],
        ),
        (
            1,
            &["--tls-certificate", "/no/such", "--tls-key", &key, "--issuer", "https://a.example"],
            &["(--tls-certificate)", "/no/such"],
        ),
        (
            1,
            &[&public_issuer[..], &["--tls-certificate", &certificate, "--tls-key", &garbage]]
                .concat(),
            &["(--tls-key)", &garbage, "PEM"],
        ),
        (
            1,
            &[&public_issuer[..], &["--tls-certificate", &certificate, "--tls-key", &other_key]]
                .concat(),
            &["(--tls-certificate)", "(--tls-key)", &certificate, &other_key, "together"],
        ),
        (1, &["--hash-memory", "1MiB"], &["--hash-memory", "--hash-threads", "--scrypt"]),
        (
            // 2 GiB a hash.
            1,
            &["--scrypt", "ln=21,r=8,p=1", "--hash-memory", "1GiB"],
            &["ln=21,r=8,p=1 (--scrypt)", "1024MiB (--hash-memory)"],
        ),
        (2, &["--default-client", "no spaces"], &["--default-client"]),
        (
            2,
            &["--listen", "127.0.0.1:0", "--trusted-proxy", "10.0.0.0/8"],
            &["--trusted-proxy", "--listen 127.0.0.1:0", "add --trusted-proxy 127.0.0.1"],
        ),
        (2, &["--listen", "[::1]:0", "--trusted-proxy", "127.0.0.1"], &["--trusted-proxy ::1"]),
    ];
    let master_key = database.path("master.jwk");
    for (code, arguments, says) in cases {
        let usual = ["--database", &database.url, "--master-key-file", &master_key];
        assert_stops(&[&usual, arguments].concat(), &[code], says);
        assert_eq!(files(&database), before, "{arguments:?} left a file");
    }
    drop(holder);
    assert_eq!(tables(&database).await, "0");
}

/// A value that a setting cannot have is wrong usage, exit code 2, and names the setting and the
/// right form; weak costs of new hashes are among them. ASVS 5.0 11.4.2 [W-02]
#[tokio::test]
async fn impossible_values_are_wrong_usage() {
    let database = Database::empty(ENGINE).await;
    let cases: [(&[&str], &[&str]); 21] = [
        (&["--scrypt", "ln=10,r=8,p=1"], &["--scrypt", "ln=17,r=8,p=1"]),
        (&["--scrypt", "ln=22,r=8,p=1"], &["--scrypt", "16 times"]),
        (&["--scrypt", "ln=16,r=8,p=1"], &["--scrypt"]),
        (&["--scrypt", "ln=40,r=8,p=1"], &["--scrypt"]),
        (&["--scrypt", "17"], &["--scrypt"]),
        (&["--hash-memory", "plenty"], &["--hash-memory", "512MiB"]),
        (&["--hash-memory", "99999999999GiB"], &["--hash-memory"]),
        (&["--hash-threads", "0"], &["--hash-threads", "1 to 1024"]),
        (&["--access-token-lifetime", "2h"], &["--access-token-lifetime", "1h"]),
        (&["--access-token-lifetime", "10"], &["--access-token-lifetime", "10m"]),
        (&["--jwks-max-age", "0s"], &["--jwks-max-age", "1s to 1h"]),
        (&["--key-bits", "1024"], &["--key-bits", "2048, 3072 or 4096"]),
        (&["--cors-origin", "*"], &["--cors-origin", "https://app.example.com"]),
        (&["--trusted-proxy", "everyone"], &["--trusted-proxy", "10.0.0.0/8"]),
        (&["--trusted-proxy", "10.1.2.3/8"], &["--trusted-proxy", "write 10.0.0.0/8", "10.1.2.3"]),
        (&["--trusted-proxy", "::ffff:10.0.0.0/104"], &["never match", "write 10.0.0.0/8"]),
        (&["--trusted-proxy", "224.0.0.0/4"], &["--trusted-proxy", "never match"]),
        (&["--tls-certificate", "a.pem"], &["--tls-key"]),
        (&["--listen", "8080"], &["--listen"]),
        (&["--max-connections", "0"], &["--max-connections"]),
        (&["--no-such-setting", "1"], &["--no-such-setting", "--help"]),
    ];
    for (arguments, says) in cases {
        assert_usage(&[&["--database", &database.url], arguments].concat(), says);
    }
    for wrong in ["mysql://u@h/d", "jeton.db", "sqlite:", ""] {
        assert_usage(&["--database", wrong], &["--database", "postgres://USER:PASSWORD@HOST/NAME"]);
    }
    assert!(files(&database).is_empty());
    assert_eq!(tables(&database).await, "0");
}

/// A database that cannot be used is named, with the setting and what to look at, and without its
/// password.
#[tokio::test]
async fn a_database_that_cannot_be_used_stops_the_start() {
    let database = Database::empty(ENGINE).await;
    let file = database.path("file");
    std::fs::write(&file, "this is text and no database, of more than a page of nothing at all")
        .expect("a file");
    let below_a_file = format!("sqlite:{file}/jeton.db");
    let mut cases: Vec<(String, Vec<&str>)> = vec![
        (
            "postgres://jeton:s3cr3t@127.0.0.1:1/jeton".to_owned(),
            vec!["postgres://jeton@127.0.0.1:1/jeton (--database)", "check host"],
        ),
        ("postgres://jeton:s3cr3t@127.0.0.1:1".to_owned(), vec!["(--database)", "a database"]),
        ("postgres://u@h/d?sslmode=always".to_owned(), vec!["(--database)", "sslmode"]),
        (format!("sqlite:{file}"), vec!["(--database)", "SQLite database"]),
        (below_a_file.clone(), vec!["(--database)", "folder must exist and be writable"]),
        (format!("sqlite:{}/no/jeton.db", database.folder.display()), vec!["folder must exist"]),
        (format!("sqlite:{}", database.folder.display()), vec!["(--database)"]),
    ];
    if ENGINE == Engine::Postgres {
        let (server, name) = database.url.rsplit_once('/').expect("a URL that names a database");
        let unknown_user = server.replace("//postgres@", "//nobody_of_this_name:s3cr3t@");
        assert_ne!(unknown_user, server);
        cases.push((format!("{server}/no_such_name"), vec!["no_such_name", "does not exist"]));
        cases.push((format!("{unknown_user}/{name}"), vec!["nobody_of_this_name", "check host"]));
    }
    let before = files(&database);
    let master_key = database.path("master.jwk");
    for (url, says) in cases {
        let arguments = ["--database", &url, "--master-key-file", &master_key];
        assert_refuses(&arguments, &says);
        let (_, errors) = serve_in_vain(&arguments);
        assert!(!errors.contains("s3cr3t"), "{errors}");
        assert_eq!(files(&database), before, "{url} left a file");
    }
    // Commands say the same.
    let output = crate::harness::run(&["user", "list", "--database", &below_a_file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("(--database)"));
}

/// Tables that were made by other migrations are left alone: neither the service nor a command works on what it does
/// not know.
#[tokio::test]
async fn tables_of_other_migrations_stop_the_start() {
    for (change, says) in [
        (
            "UPDATE schema_migrations SET version = 99 WHERE version = 7",
            ["migration 7", "use the jeton that the database was made with"],
        ),
        (
            "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1",
            ["migration 1", "use the jeton that the database was made with"],
        ),
    ] {
        let (database, fixtures) = Database::filled(ENGINE).await;
        database.query(change).await;
        let master_key = fixtures.master_key.display().to_string();
        let applied = "SELECT version, checksum FROM schema_migrations ORDER BY version";
        let before = (database.dump().await, database.query(applied).await);
        let arguments = ["--database", &database.url, "--master-key-file", &master_key];
        assert_refuses(&arguments, &says);
        for command in [
            &["user", "list"][..],
            &["client", "delete", "web"],
            &["db", "migrate"],
            &["db", "status"],
            &["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"],
        ] {
            let all = [command, &["--database", &database.url]].concat();
            let output = crate::harness::run(&all);
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(says.iter().all(|part| errors.contains(part)), "{command:?}: {errors}");
        }
        assert_eq!((database.dump().await, database.query(applied).await), before);
    }
}

/// A default client that nobody could be, or that is not there, stops the start.
#[tokio::test]
async fn a_default_client_must_be_there_and_public() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let usual = ["--database", &database.url, "--master-key-file", &master_key];
    for (id, says) in [
        ("web", ["--default-client web is confidential", "--public"]),
        ("ghost", ["--default-client ghost does not exist", "jeton client add ghost --public"]),
    ] {
        assert_refuses(&[&usual[..], &["--default-client", id]].concat(), &says);
    }
    drop(Executable::serve(&[&usual[..], &["--default-client", "spa"]].concat()));
}

/// Without the right master key the service does not start: it names the key that is missing, makes
/// none in its place and changes nothing. ASVS 5.0 13.3
#[tokio::test]
async fn the_master_key_must_be_the_one_that_sealed_the_keys() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let text = std::fs::read_to_string(&fixtures.master_key).expect("the master key");
    let right: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let kid = right["kid"].as_str().expect("a kid");
    let other = Database::empty(ENGINE).await;
    let wrong = other.path("wrong.jwk");
    drop(Executable::serve(&["--database", &other.url, "--master-key-file", &wrong]));
    let wrong_text = std::fs::read_to_string(&wrong).expect("the other master key");

    let path = database.path("master.jwk");
    let before = database.dump().await;
    let arguments = ["--database", &database.url, "--master-key-file", &path];
    assert_refuses(&arguments, &["(--master-key-file)", &path, kid]);
    assert!(files(&database).iter().all(|name| !name.contains("master")), "none was made");

    let other_kid: serde_json::Value = serde_json::from_str(&wrong_text).expect("JSON");
    let swapped = text.replace(kid, other_kid["kid"].as_str().expect("a kid"));
    for (case, content) in [
        ("wrong", wrong_text.as_str()),
        ("empty", ""),
        ("cut", &text[..text.len() / 2]),
        ("text", "not a key"),
        ("swapped names", &swapped),
    ] {
        std::fs::write(&path, content).expect("a file");
        assert_refuses(&arguments, &["(--master-key-file)", &path, kid]);
        let check = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let output = crate::harness::run(&[&["check"][..], &check, &arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{case}");
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), content, "{case}");
    }
    assert_eq!(database.dump().await, before);

    // The wrong one may seal from now on, as long as the right one opens.
    let right = fixtures.master_key.display().to_string();
    let both = format!("{wrong},{right}");
    drop(Executable::serve(&["--database", &database.url, "--master-key-file", &both]));
    assert_eq!(database.dump().await, before);
}

/// A sealed key that was altered, or moved to another row, is not used.
#[tokio::test]
async fn a_sealed_key_that_was_altered_stops_the_start() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    for purpose in ["signing", "refresh"] {
        let query = format!("SELECT kid, sealed_key FROM keys WHERE purpose = '{purpose}'");
        let rows = database.query(&query).await;
        let (kid, sealed) =
            (rows[0][0].clone().expect("a kid"), rows[0][1].clone().expect("a JWE"));
        let middle = sealed.len() / 2;
        let other = if sealed.as_bytes()[middle] == b'A' { "B" } else { "A" };
        let altered = format!("{}{other}{}", &sealed[..middle], &sealed[middle + 1..]);
        let set = async |what: String| {
            database.query(&format!("UPDATE keys SET {what} WHERE purpose = '{purpose}'")).await;
        };
        for value in [altered.as_str(), "", "a.b.c.d.e", &sealed[..sealed.len() - 4]] {
            set(format!("sealed_key = '{value}'")).await;
            assert_refuses(&arguments, &[&kid, "damaged or was altered", "backup"]);
        }
        set(format!("sealed_key = '{sealed}', kid = 'moved'")).await;
        assert_refuses(&arguments, &["moved", "damaged or was altered"]);
        set(format!("kid = '{kid}'")).await;
        drop(Executable::serve(&arguments));
    }
}

/// A master key that cannot be written stops the first start, and once it can be the same database
/// starts as if nothing had been.
#[tokio::test]
async fn a_folder_that_cannot_be_written_stops_the_first_start() {
    let database = Database::empty(ENGINE).await;
    let file = database.path("file");
    std::fs::write(&file, "").expect("a file");
    let below = format!("{file}/keys/master.jwk");
    let arguments = ["--database", &database.url, "--master-key-file", &below];
    assert_refuses(&arguments, &["(--master-key-file)", &below, "name a file elsewhere"]);
    assert_eq!(database.query("SELECT kid FROM keys").await.len(), 0);

    let good = database.path("keys/master.jwk");
    drop(Executable::serve(&["--database", &database.url, "--master-key-file", &good]));
    let mode = std::fs::metadata(&good).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its owner only");
    let folder = std::fs::read_dir(database.folder.join("keys")).expect("its folder");
    assert_eq!(folder.count(), 1, "no draft is left");
}

/// Many replicas may start at once on one empty database: one makes the tables and the first key of
/// each kind, and all serve the same key. [K-27]
#[tokio::test]
async fn replicas_that_start_at_once_agree() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.path("keys/master.jwk");
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    let replicas: Vec<Executable> = std::thread::scope(|scope| {
        let start = || Executable::serve(&arguments);
        let starting: Vec<_> = (0..5).map(|_| scope.spawn(start)).collect();
        starting.into_iter().map(|one| one.join().expect("it starts")).collect()
    });
    let mut key_sets = Vec::new();
    for replica in &replicas {
        let request = crate::harness::Request::new(replica.public, "GET", "/.well-known/jwks.json");
        key_sets.push(request.send().await.json());
    }
    assert_eq!(key_sets[0]["keys"].as_array().map(Vec::len), Some(1));
    assert!(key_sets.iter().all(|set| set == &key_sets[0]), "{key_sets:?}");
    assert_eq!(database.keys("signing").await.len(), 1);
    assert_eq!(database.keys("refresh").await.len(), 1);
    let applied = database.query("SELECT version FROM schema_migrations WHERE version > 0").await;
    let status = crate::harness::run(&["db", "status", "--json", "--database", &database.url]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(status["applied"], applied.len());
    assert_eq!(status["applied"], status["known"]);
}
