//! `jeton check`: the settings that will be in force, and whether a login would succeed with them.

use std::net::TcpListener;

use super::*;
use crate::harness::database::new_folder;
use crate::harness::executable::{run_with_environment, serve_in_vain};
use crate::harness::{Database, Engine, Executable, run};

/// Addresses that the system chooses.
const FREE: [&str; 4] = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];

/// What `jeton check` says of a database: its exit code, standard output and standard error.
fn check(url: &str, master_key: &str, further: &[&str]) -> (Option<i32>, String, String) {
    let arguments = ["check", "--database", url, "--master-key-file", master_key];
    let output = run(&[&arguments[..], further].concat());
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// `jeton check` shows each setting with its value and where it came from, finds what would stop a
/// start, warns of variables that mean nothing, and changes nothing.
#[tokio::test]
async fn check_proves_that_the_service_can_start() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.path("keys/master.jwk");
    let variables = [
        ("JETON_DATABASE", database.url.as_str()),
        ("JETON_MASTER_KEY_FILE", &master_key),
        ("JETON_ACESS_TOKEN_LIFETIME", "5m"),
        ("JETON_MANAGEMENT_LISTEN", "127.0.0.1:0"),
    ];
    let arguments = ["check", "--listen", "127.0.0.1:0", "--access-token-lifetime", "7m"];
    let output = run_with_environment(&arguments, &variables);
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}");
    for (setting, value, source) in [
        ("--access-token-lifetime", "7m", "command line"),
        ("--master-key-file", &*master_key, "environment"),
        ("--jwks-max-age", "10m", "default"),
        ("--issuer", "http://localhost:PORT", "default"),
        (
            "--refresh-retry-window",
            "until-used for confidential clients, 2m for public ones",
            "default",
        ),
    ] {
        let line = printed.lines().find(|line| line.starts_with(&format!("{setting} ")));
        let line = line.unwrap_or_else(|| panic!("{setting} is shown: {printed}"));
        assert!(line.contains(value) && line.ends_with(source), "{line}");
    }
    assert!(printed.contains("The service can start."), "{printed}");
    assert!(errors.contains("warning") && errors.contains("JETON_ACESS_TOKEN_LIFETIME"));
    assert_eq!(std::fs::read_dir(&database.folder).expect("a folder").count(), 0, "no file made");

    let (filled, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    // The server of the tests asks for no password, so any will do.
    let with_password = filled.url.replace("//postgres@", "//postgres:s3cr3t@");
    let variables = [("JETON_DATABASE", &*with_password), ("JETON_MASTER_KEY_FILE", &*master_key)];
    let before = filled.dump().await;
    let free = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let output = run_with_environment(&free, &variables);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(printed.contains("2 keys open"), "{printed}");
    assert!(!printed.contains("s3cr3t"), "{printed}");
    for refused in [
        &["--issuer", "http://auth.example"][..],
        &["--master-key-file", "/no/such/key"],
        &["--default-client", "web"],
    ] {
        let output = run_with_environment(&[&free[..], refused].concat(), &variables);
        assert_eq!(output.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(refused[0]), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("can start."), "{output:?}");
    }
    assert_eq!(filled.dump().await, before);
}

/// Beside a running service all is looked at but whether the addresses are free. What else has them is a
/// problem, and hides none of the others.
#[tokio::test]
async fn check_works_beside_a_running_service() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let service = Executable::serve_on(&database, fixtures, &[]);
    readiness(service.management).await;
    let (public, management) = (service.public.to_string(), service.management.to_string());
    let same = ["--listen", &public, "--management-listen", &management];
    let before = database.dump().await;
    let (code, printed, errors) = check(&database.url, &master_key, &same);
    assert_eq!(code, Some(0), "{printed}{errors}");
    for part in [
        "not looked at: whether both addresses will be free",
        "the service that runs is ready",
        "it takes writes",
        "the clock agrees",
        "2 keys open",
        "once the one that runs is stopped",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(database.dump().await, before);
    drop(service);

    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("an address").to_string();
    let arguments = ["--listen", &taken, "--management-listen", "127.0.0.1:0"];
    let (code, printed, errors) = check(&database.url, "/no/such/key", &arguments);
    assert_eq!(code, Some(1), "{printed}{errors}");
    for part in ["--listen", "--master-key-file", "the 2 problems above"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(printed.contains("it takes writes"), "{printed}");
    assert!(!printed.contains("can start"), "{printed}");
}

/// A service that runs and is not ready is a problem, with its reasons.
#[tokio::test]
async fn check_says_what_a_running_service_lacks() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let service = Executable::serve_on(&database, fixtures, &[]);
    let (public, management) = (service.public.to_string(), service.management.to_string());
    let same = ["--listen", &public, "--management-listen", &management];
    let _refusal = database.refuse_writes().await;
    let (code, printed, errors) = check(&database.url, &master_key, &same);
    assert_eq!(code, Some(1), "{printed}{errors}");
    let why = match ENGINE {
        Engine::Sqlite => "database is locked",
        Engine::Postgres => "name the server that takes writes",
    };
    assert!(errors.contains(why) && errors.contains("--database"), "{errors}");
    assert!(!printed.contains("can start"), "{printed}");
}

/// A standby is seen where the tables have to be brought up to date, too.
#[tokio::test]
async fn check_sees_a_standby_without_tables() {
    let database = Database::empty(ENGINE).await;
    let refusal = database.refuse_writes().await;
    let (code, printed, errors) = check(&database.url, &database.path("master.jwk"), &FREE);
    assert_eq!(code, Some(1), "{printed}{errors}");
    let why = match ENGINE {
        Engine::Sqlite => "database is locked",
        Engine::Postgres => "is a standby, or read-only",
    };
    assert!(errors.contains(why) && errors.contains("--database"), "{errors}");
    refusal.end().await;
    let (code, printed, errors) = check(&database.url, &database.path("master.jwk"), &FREE);
    assert_eq!(code, Some(0), "{printed}{errors}");
}

/// Where the first keys could not be made, or the first database, that is said before the first start.
#[tokio::test]
async fn check_sees_where_nothing_can_be_made() {
    let database = Database::migrated(ENGINE).await;
    let file = database.path("file");
    std::fs::write(&file, "").expect("a file");
    let below = format!("{file}/keys/master.jwk");
    let (code, printed, errors) = check(&database.url, &below, &FREE);
    assert_eq!(code, Some(1), "{printed}");
    for part in [&*below, "--master-key-file", "not a folder that this process can write to"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let garbage = database.path("garbage");
    std::fs::write(&garbage, "{}").expect("a file");
    let (code, _, errors) = check(&database.url, &garbage, &FREE);
    assert_eq!(code, Some(1));
    assert!(errors.contains(&garbage), "{errors}");

    let folder = new_folder();
    let good = folder.join("new/keys/master.jwk").display().to_string();
    let (code, printed, errors) = check(&database.url, &good, &FREE);
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains(&format!("the master key {good}")), "{printed}");
    assert!(!folder.join("new").exists());
    let nowhere = format!("sqlite:{file}/jeton.db");
    let (code, _, errors) = check(&nowhere, &good, &FREE);
    assert_eq!(code, Some(1));
    assert!(errors.contains("--database") && errors.contains("not a folder"), "{errors}");
    std::fs::remove_dir_all(folder).ok();
}

/// A role that may not do what the service must is named with what it lacks, before the start and by it.
#[tokio::test]
async fn check_sees_what_the_role_may_not_do() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let Some(url) = database.url_of_another_role().await else { return };
    let grant = async |rights: &str| {
        database.run_script(&format!("GRANT {rights} TO {}", role_of(&url))).await;
    };
    let (code, printed, errors) = check(&url, &master_key, &FREE);
    assert_eq!(code, Some(1), "{printed}{errors}");
    grant("SELECT ON ALL TABLES IN SCHEMA public").await;
    let (code, printed, errors) = check(&url, &master_key, &FREE);
    assert_eq!(code, Some(1), "{printed}{errors}");
    for part in ["--database", "INSERT on table sessions", "UPDATE on table users"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(!errors.contains("INSERT on table users"), "the service adds no user: {errors}");
    let (code, said) = serve_in_vain(&["--database", &url, "--master-key-file", &master_key]);
    assert_eq!(code, Some(1));
    assert!(said.contains("INSERT on table sessions"), "{said}");

    for rights in [
        "INSERT, UPDATE, DELETE ON sessions, login_throttle, replicas",
        "UPDATE ON users, clients, client_secrets",
        "INSERT, UPDATE ON keys, clock",
        "DELETE ON operator_acts",
    ] {
        grant(rights).await;
    }
    let (code, printed, errors) = check(&url, &master_key, &FREE);
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("it lets the service do what it must"), "{printed}");
    let mut arguments = vec!["--database", &url, "--master-key-file", &master_key];
    let service = Executable::serve(&arguments);
    let login = crate::harness::Request::new(service.public, "POST", "/token");
    let login = login.form(&login_form("alice", PASSWORD)).basic("web", fixtures.secret("web"));
    login.send().await.access_token();
    drop(service);

    let empty = Database::empty(ENGINE).await;
    let url = empty.url_of_another_role().await.expect("the same engine");
    arguments[1] = &url;
    let (code, _, errors) = check(&url, &master_key, &FREE);
    assert_eq!(code, Some(1));
    assert!(errors.contains("CREATE on schema public"), "{errors}");
    let (code, said) = serve_in_vain(&arguments);
    assert_eq!(code, Some(1));
    assert!(said.contains("a role that may create tables"), "{said}");
}

/// The role of a URL.
fn role_of(url: &str) -> &str {
    let after = url.split("//").nth(1).expect("a URL");
    after.split(['@', ':']).next().expect("a role")
}
