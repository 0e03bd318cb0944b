//! The command line: clients and their secrets.

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, run};

/// What a client with a grant needs at least.
const WHOLE: [&str; 6] =
    ["--grant", "password", "--scope", "read", "--audience", "https://a.example"];

/// Runs a command on a database, and returns its exit code, what it printed and its errors.
fn command(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[arguments, &["--database", &database.url]].concat());
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn succeed(database: &Database, arguments: &[&str]) -> String {
    let (code, printed, errors) = command(database, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {errors}");
    printed
}

/// Runs a command that must fail with one sentence that says all of this. `exit_codes.rs` has the codes.
#[track_caller]
fn fail(database: &Database, arguments: &[&str], says: &[&str]) {
    let (code, printed, errors) = command(database, arguments);
    assert_ne!(code, Some(0), "{arguments:?}: {errors}");
    assert_eq!((printed.as_str(), errors.lines().count()), ("", 1), "{arguments:?}: {errors}");
    for part in says {
        assert!(errors.contains(part), "{arguments:?} says {part:?}: {errors}");
    }
}

#[track_caller]
fn json_of(database: &Database, arguments: &[&str]) -> Value {
    run_for_json(&[arguments, &["--json", "--database", &database.url]].concat(), "")
}

/// The names of the members of an object, sorted.
fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(|n| &**n).collect();
    names.sort_unstable();
    names
}

/// A confidential client is given a secret of 256 bits, shown once and stored as a digest only; a
/// public one, which must be asked for, is given none; a name that is taken stays as it was.
/// RFC 6749 §2.2, §2.3.1. [S-10]
#[tokio::test]
async fn clients_are_added_with_a_secret_that_is_shown_once() {
    let database = Database::empty(ENGINE).await;
    let added = json_of(&database, &[&["client", "add", "app"][..], &WHOLE].concat());
    assert_eq!(members(&added), ["client_id", "client_secret"]);
    assert_eq!(added["client_id"], "app");
    let secret = added["client_secret"].as_str().expect("a secret").to_owned();
    assert!(secret.len() >= 43, "256 bits: {secret}");
    assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{secret}");
    let public = json_of(&database, &[&["client", "add", "page", "--public"][..], &WHOLE].concat());
    assert_eq!(public, json!({"client_id": "page"}));

    // Ids are compared octet for octet: another case is another client.
    let other = json_of(&database, &["client", "add", "APP"]);
    assert_ne!(other["client_secret"], added["client_secret"]);
    let longest = "x".repeat(128);
    json_of(&database, &["client", "add", &longest]);
    for wrong in ["", "two words", "a:b", "caf\u{e9}", "a/b", &"x".repeat(129)] {
        let (code, _, errors) = command(&database, &["client", "add", wrong]);
        assert_eq!(code, Some(2), "{wrong}: {errors}");
    }

    let before = database.dump().await;
    assert!(!before.contains(&secret), "only the digest is stored");
    for again in [&["client", "add", "app"][..], &["client", "add", "app", "--public"]] {
        fail(&database, again, &["there is a client app already", "nothing was changed"]);
    }
    assert_eq!(database.dump().await, before);
    for arguments in [&["client", "list"][..], &["client", "show", "app"]] {
        let (table, json) = (succeed(&database, arguments), json_of(&database, arguments));
        assert!(!table.contains(&secret) && !json.to_string().contains(&secret), "{arguments:?}");
        assert!(!json.to_string().contains("digest"), "{json}");
    }
    let ids: Vec<Value> = json_of(&database, &["client", "list"])
        .as_array()
        .expect("an array")
        .iter()
        .map(|client| client["client_id"].clone())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

/// Settings that make no sense together are refused with the option's name, by `add` before there is
/// a client and by `set` before it is changed.
#[tokio::test]
async fn wrong_settings_are_refused_with_the_name_of_the_option() {
    let database = Database::migrated(ENGINE).await;
    let whole = |more: &[&'static str]| [&WHOLE[..], more].concat();
    let contradictions = [
        (vec!["--grant", "password", "--scope", "read"], "--audience"),
        (vec!["--grant", "password", "--audience", "https://a.example"], "--scope"),
        (whole(&["--default-scope", "write"]), "--default-scope"),
        (whole(&["--audience-scope", "https://b.example=read"]), "--audience-scope"),
        (whole(&["--audience-scope", "https://a.example=write"]), "--audience-scope"),
        (vec!["--public", "--introspects", "https://a.example"], "--introspects"),
        (
            whole(&["--public", "--authentication-method", "client_secret_basic"]),
            "--authentication-method",
        ),
    ];
    for (arguments, option) in &contradictions {
        fail(&database, &[&["client", "add", "app"][..], arguments].concat(), &[option]);
    }
    for (arguments, option) in [
        (["--grant", "implicit"], "--grant"),
        (["--scope", "a\"b"], "--scope"),
        (["--default-scope", "a\\b"], "--default-scope"),
        (["--audience", "with blank"], "--audience"),
        (["--audience", "https://a.example#fragment"], "--audience"),
        (["--audience-scope", "read"], "--audience-scope"),
        (["--access-token-lifetime", "61m"], "--access-token-lifetime"),
        (["--access-token-lifetime", "0s"], "--access-token-lifetime"),
        (["--refresh-token-idle", "0s"], "--refresh-token-idle"),
        (["--session-lifetime", "soon"], "--session-lifetime"),
        (["--refresh-retry-window", "11m"], "--refresh-retry-window"),
        (["--refresh-retry-window", "used"], "--refresh-retry-window"),
        (["--claim", "email"], "--claim"),
        (["--authentication-method", "none"], "--authentication-method"),
        (["--introspects", "with blank"], "--introspects"),
        (["--introspects-username=perhaps", "--json"], "--introspects-username"),
    ] {
        let (code, _, errors) =
            command(&database, &[&["client", "add", "app"][..], &arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(option), "{arguments:?}: {errors}");
    }
    assert_eq!(json_of(&database, &["client", "list"]), json!([]), "none was added");

    let add = [&["client", "add", "app", "--default-scope", "read"][..], &WHOLE].concat();
    succeed(&database, &add);
    let before = database.dump().await;
    for (arguments, option) in [
        (["--default-scope", "write"], "--default-scope"),
        // The default stays, and is no longer within what may be asked for.
        (["--scope", "write"], "--default-scope"),
        (["--audience-scope", "https://b.example=read"], "--audience-scope"),
    ] {
        fail(&database, &[&["client", "set", "app"][..], &arguments].concat(), &[option]);
    }
    assert_eq!(database.dump().await, before);
}

/// `show` tells for how long a client's exchanged refresh tokens are answered again, and who decided that.
#[tokio::test]
async fn show_tells_the_retry_window_that_is_in_force() {
    let database = Database::empty(ENGINE).await;
    for (id, public, usual) in [("app", false, "until-used"), ("page", true, "2m")] {
        let mut add = [&["client", "add", id][..], &WHOLE].concat();
        add.extend(["--grant", "refresh_token"]);
        add.extend(public.then_some("--public"));
        succeed(&database, &add);
        let shown = succeed(&database, &["client", "show", id]);
        let unset = format!("Refresh retry window    {usual}, unless --refresh-retry-window of");
        assert!(shown.contains(&unset), "{shown}");
        succeed(&database, &["client", "set", id, "--refresh-retry-window", "30s"]);
        let shown = succeed(&database, &["client", "show", id]);
        assert!(shown.contains("Refresh retry window    30s, the client's own"), "{shown}");
    }
    succeed(&database, &["client", "add", "rs", "--introspects", "https://a.example"]);
    let shown = succeed(&database, &["client", "show", "rs"]);
    assert!(shown.contains("Refresh retry window    (none)"), "{shown}");
}

/// `set` replaces what it names and leaves the rest; `show` tells what holds.
#[tokio::test]
async fn set_changes_what_it_names() {
    let database = Database::empty(ENGINE).await;
    succeed(&database, &[&["client", "add", "app"][..], &WHOLE].concat());
    let mut expected = json_of(&database, &["client", "show", "app"]);
    for (arguments, changed) in [
        (
            &["--grant", "password", "--grant", "refresh_token"][..],
            json!({"grants": ["password", "refresh_token"]}),
        ),
        (&["--scope", "read write", "--scope", "admin"], json!({"scope": "read write admin"})),
        (&["--default-scope", "write"], json!({"default_scope": "write"})),
        (
            &["--audience", "https://b.example", "--audience", "plain"],
            json!({"audiences": ["https://b.example", "plain"]}),
        ),
        (
            &["--audience-scope", "plain=admin", "--audience-scope", "plain=write"],
            json!({"audience_scopes": {"plain": "admin write"}}),
        ),
        (&["--audience-array"], json!({"audience_array": true})),
        (&["--audience-array=false"], json!({"audience_array": false})),
        (&["--access-token-typ", "JWT"], json!({"access_token_typ": "JWT"})),
        (&["--access-token-lifetime", "2m"], json!({"access_token_lifetime": 120})),
        (&["--refresh-token-idle", "7d"], json!({"refresh_token_idle": 604_800})),
        (&["--session-lifetime", "8d"], json!({"session_lifetime": 691_200})),
        (&["--refresh-retry-window", "10m"], json!({"refresh_retry_window": "10m"})),
        (&["--refresh-retry-window", "until-used"], json!({"refresh_retry_window": "until-used"})),
        (&["--refresh-retry-window", "default"], json!({"refresh_retry_window": null})),
        (&["--claim", "roles"], json!({"claims": ["roles"]})),
        (
            &["--authentication-method", "client_secret_post"],
            json!({"authentication_method": "client_secret_post"}),
        ),
        (
            &["--introspects", "plain", "--introspects-username"],
            json!({"introspects": ["plain"], "introspects_username": true}),
        ),
    ] {
        succeed(&database, &[&["client", "set", "app"][..], arguments].concat());
        for (name, value) in changed.as_object().expect("an object") {
            assert_ne!(expected[name], *value, "{arguments:?} changes something");
            expected[name] = value.clone();
        }
        assert_eq!(json_of(&database, &["client", "show", "app"]), expected, "{arguments:?}");
    }
    let table = succeed(&database, &["client", "list"]);
    assert!(table.starts_with("ID") && table.contains("confidential"), "{table}");
    assert!(succeed(&database, &["client", "show", "app"]).contains("SECRET"));
}

/// Every command about one client fails with 1 for an id that nobody has, and says where to look.
#[tokio::test]
async fn an_unknown_client_is_a_failure() {
    let database = Database::migrated(ENGINE).await;
    for arguments in [
        &["client", "show", "ghost"][..],
        &["client", "set", "ghost", "--claim", "roles"],
        &["client", "disable", "ghost"],
        &["client", "enable", "ghost"],
        &["client", "delete", "ghost"],
        &["client", "secret", "add", "ghost"],
    ] {
        fail(&database, arguments, &["there is no client ghost", "jeton client list"]);
    }
    fail(&database, &["client", "secret", "remove", "ghost", "1"], &["ghost", "secret 1"]);
}

/// A client may have several secrets at once, so that they can be replaced without an outage; one
/// with an end is refused from that second on, and one that was removed at once.
#[tokio::test]
async fn several_secrets_hold_until_they_expire_or_are_removed() {
    let jeton = jeton().await;
    let url = jeton.database.url.clone();
    let add = move |further: &'static [&'static str]| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let arguments = ["client", "secret", "add", "web", "--json", "--database", &url];
            run_for_json(&[&arguments[..], further].concat(), "")
        })
    };
    let expiring = add(&["--expires", "30d"]).await.expect("it succeeds");
    assert_eq!(members(&expiring), ["client_id", "client_secret", "number"]);
    assert_eq!((&expiring["client_id"], &expiring["number"]), (&json!("web"), &json!(2)));
    let lasting = add(&[]).await.expect("it succeeds");
    let rows = "SELECT secret_number, expires_at - created_at FROM client_secrets \
                WHERE client_id = 'web' ORDER BY secret_number";
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        jeton.database.query(rows).await,
        [[some("1"), None], [some("2"), some(&(30 * 86_400).to_string())], [some("3"), None]]
    );

    let first = jeton.fixtures.secret("web");
    let text = |value: &Value| value["client_secret"].as_str().expect("a secret").to_owned();
    let (expiring, lasting) = (text(&expiring), text(&lasting));
    let form = login_form("alice", PASSWORD);
    let with = async |secret: &str| jeton.post("/token", &form).basic("web", secret).send().await;
    for secret in [first, &expiring, &lasting] {
        with(secret).await.access_token();
    }
    // The clock of the test began before the secret was made, and stands still.
    let end = "SELECT expires_at FROM client_secrets WHERE client_id = 'web' AND secret_number = 2";
    let end: i64 = jeton.database.query(end).await[0][0].as_deref().unwrap().parse().unwrap();
    jeton.clock.advance(end - jeton.clock.now().0 - 1);
    with(&expiring).await.access_token();
    jeton.clock.advance(1);
    with(&expiring).await.assert_error(401, "invalid_client");
    with(first).await.access_token();

    jeton.command("client secret remove web 1").await;
    with(first).await.assert_error(401, "invalid_client");
    with(&lasting).await.access_token();
    let shown = json_of(&jeton.database, &["client", "show", "web"]);
    let secrets = shown["secrets"].as_array().expect("an array");
    let numbers: Vec<_> = secrets.iter().map(|secret| secret["number"].clone()).collect();
    assert_eq!(numbers, [2, 3]);
    assert!(secrets[0]["expires_at"].is_i64() && secrets[1]["expires_at"].is_null(), "{shown}");
    assert!(secrets[1]["last_used_at"].is_i64(), "{shown}");

    fail(&jeton.database, &["client", "secret", "remove", "web", "1"], &["no secret 1", "show"]);
    for wrong in ["30", "-1d", "soon", ""] {
        let expires = format!("--expires={wrong}");
        let (code, _, errors) =
            command(&jeton.database, &["client", "secret", "add", "web", &expires]);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("--expires"), "{errors}");
    }
}

/// A client that is disabled, or deleted with all it had, is refused at once by a service that runs,
/// and one that is added again has nothing of the old one.
#[tokio::test]
async fn disabled_and_deleted_clients_are_refused_at_once() {
    let jeton = jeton().await;
    let login = async || jeton.login_through("web", "").await;
    let token = login().await.access_token();
    jeton.command("client disable web").await;
    login().await.assert_error(401, "invalid_client");
    assert!(!jeton.is_active(&token).await);
    assert!(json_of(&jeton.database, &["client", "show", "web"])["disabled_at"].is_i64());
    jeton.command("client enable web").await;
    login().await.access_token();

    jeton.command("client delete web --yes").await;
    login().await.assert_error(401, "invalid_client");
    assert!(!jeton.is_active(&token).await);
    for table in ["client_secrets", "sessions"] {
        let rows = format!("SELECT client_id FROM {table} WHERE client_id = 'web'");
        assert_eq!(jeton.database.query(&rows).await.len(), 0, "{table}");
    }
    jeton
        .command("client add web --grant password --scope read --default-scope read --audience x")
        .await;
    login().await.assert_error(401, "invalid_client");
    assert!(!jeton.is_active(&token).await);
}
