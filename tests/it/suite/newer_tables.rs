//! Tables that a newer program has migrated: an older one goes on with them as long as the gate lets it.

use std::net::SocketAddr;
use std::process::Output;

use serde_json::{Value, json};

use super::*;
use crate::harness::executable::{run_for_json, serve_in_vain};
use crate::harness::keys::JWKS;
use crate::harness::{Database, Executable, Request, run};

/// A migration of a later program, which has added a column.
const NEWER: [&str; 2] = [
    "INSERT INTO schema_migrations (version, name, checksum, applied_at) VALUES (99, 'later', '', 0)",
    "ALTER TABLE users ADD COLUMN later TEXT DEFAULT 'kept'",
];

/// What a later program leaves behind that has contracted the tables.
fn close(gate: i64, reason: &str) -> String {
    format!(
        "INSERT INTO write_gate (gate_id, reason, closed_below, closed_at, run, peer) \
         VALUES ({gate}, '{reason}', 99, 1700000000, 'run', '')"
    )
}

async fn make_newer(database: &Database) {
    for statement in NEWER {
        database.query(statement).await;
    }
}

/// Waits until a replica answers `/readyz` with this status, and returns what it says.
async fn report_of(management: SocketAddr, is_awaited: impl Fn(u16, &Value) -> bool) -> Value {
    loop {
        let reply = Request::new(management, "GET", "/readyz").send().await;
        let report = reply.json();
        if is_awaited(reply.status, &report) {
            return report;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn command(database: &Database, arguments: &[&str]) -> Output {
    run(&[arguments, &["--database", &database.url]].concat())
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// A migration that only expands leaves older programs whole: they serve, start, change what they know, and say that
/// the tables are newer. They migrate nothing.
#[tokio::test]
async fn a_program_goes_on_with_tables_that_were_only_expanded() {
    let jeton = jeton().await;
    let before = jeton.login_through("web", "").await;
    make_newer(&jeton.database).await;
    assert_eq!(jeton.refresh("web", &before.refresh_token(), "").await.status, 200);
    let replica = jeton.replica().await;
    assert_eq!(readiness(replica.management).await.1["database"], "takes writes");
    for arguments in [
        &["user", "set", "bob", "--scope", "read"][..],
        &["user", "add", "new", "--password-stdin"],
        &["client", "disable", "spa"],
        &["db", "purge"],
    ] {
        let all = [arguments, &["--database", &jeton.database.url]].concat();
        let input = "a long password of somebody";
        let output = crate::harness::executable::run_with_input(&all, input);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
    let kept = "SELECT COUNT(*), COUNT(CASE WHEN later = 'kept' THEN 1 END) FROM users";
    let kept = jeton.database.query(kept).await.remove(0);
    assert_eq!(kept[0], kept[1]);

    let newer = "The tables are of version 99, which a newer jeton has made.";
    for arguments in [&["db", "status"][..], &["db", "migrate"]] {
        let output = command(&jeton.database, arguments);
        assert!(output.status.success() && said(&output).contains(newer), "{}", said(&output));
    }
    let status = run_for_json(&["db", "status", "--json", "--database", &jeton.database.url], "");
    assert_eq!((&status["applied"], &status["closed"]), (&json!(99), &Value::Null));
    let master_key = jeton.fixtures.master_key.display().to_string();
    let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let check = [&["check", "--master-key-file", &master_key][..], &free].concat();
    let checked = command(&jeton.database, &check);
    assert!(checked.status.success() && said(&checked).contains(newer), "{}", said(&checked));
    let mut service = Executable::serve_on(&jeton.database, jeton.fixtures, &[]);
    while !service.log().contains(newer) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(service.stop_and_read_log().matches(newer).count(), 1, "it is said once");
}

/// Where a newer program has closed the gate, an older one serves what it need not write, answers the rest 503, and
/// says so; whether it was running or starts then. No command of it changes anything, and none opens the gate.
#[tokio::test]
async fn a_program_that_must_not_write_serves_what_it_need_not_write() {
    let jeton = jeton().await;
    let login = jeton.login_through("web", "").await;
    make_newer(&jeton.database).await;
    jeton.database.query(&close(2, "outdated")).await;
    let replica = jeton.replica().await;
    for form in ["grant_type=refresh_token", "grant_type=password"] {
        let form = match form {
            "grant_type=password" => login_form("alice", PASSWORD),
            _ => format!("{form}&refresh_token={}", login.refresh_token()),
        };
        let reply = jeton.post_as("web", "/token", &form).send().await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, "10"), "{}", reply.text());
    }
    let form = format!("token={}", login.access_token());
    assert_eq!(jeton.post_as("web", "/revoke", &form).send().await.status, 503);
    assert!(jeton.is_active(&login.access_token()).await);
    assert_eq!(jeton.request("GET", JWKS).send().await.status, 200);
    for management in [jeton.service.management, replica.management] {
        let newer = "has the tables of a newer jeton, so it takes no writes from this one";
        report_of(management, |status, report| {
            assert_eq!(status, 200, "{report}");
            report["database"] == newer
        })
        .await;
    }
    let before = jeton.database.query("SELECT username, disabled_at FROM users ORDER BY 1").await;
    for arguments in [
        &["user", "disable", "alice"][..],
        &["client", "delete", "spa", "--yes"],
        &["session", "revoke", "--user", "alice"],
        &["db", "purge"],
    ] {
        let output = command(&jeton.database, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains("use the newer one"), "{}", said(&output));
    }
    let after = jeton.database.query("SELECT username, disabled_at FROM users ORDER BY 1").await;
    assert_eq!(before, after);
    assert!(command(&jeton.database, &["user", "list"]).status.success());
    let reopen = command(&jeton.database, &["db", "reopen", "--yes"]);
    assert_eq!(reopen.status.code(), Some(5), "{}", said(&reopen));
    let status = said(&command(&jeton.database, &["db", "status"]));
    assert!(status.contains("version 99") && status.contains("the backup from before"), "{status}");
    assert!(jeton.is_active(&login.access_token()).await);
}

/// Where even reading would be wrong, the start and every command are refused, and the way back is named. A replica
/// that runs is not ready.
#[tokio::test]
async fn a_refused_downgrade_names_the_way_back() {
    let jeton = jeton().await;
    make_newer(&jeton.database).await;
    jeton.database.query(&close(2, "outdated")).await;
    jeton.database.query(&close(3, "unreadable")).await;
    let back = ["use the newer jeton again", "the backup from before the upgrade"];
    let master_key = jeton.fixtures.master_key.display().to_string();
    let url = &jeton.database.url;
    let (code, log) = serve_in_vain(&["--database", url, "--master-key-file", &master_key]);
    assert_eq!(code, Some(1));
    assert!(back.iter().all(|text| log.contains(text)), "{log}");
    for arguments in
        [&["user", "list"][..], &["db", "status"], &["db", "migrate"], &["db", "purge"]]
    {
        let output = command(&jeton.database, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert!(back.iter().all(|text| said(&output).contains(text)), "{}", said(&output));
    }
    let report = report_of(jeton.service.management, |status, _| status == 503).await;
    assert!(report.to_string().contains("This jeton cannot use it"), "{report}");
}

/// What a program does not know is not copied, so a copy is left to the newer one.
#[tokio::test]
async fn newer_tables_are_not_copied() {
    let (source, _) = Database::filled(ENGINE).await;
    let target = Database::migrated(ENGINE).await;
    make_newer(&source).await;
    for (from, to) in [(&source, &target), (&target, &source)] {
        let copy = run(&["db", "copy", "--from", &from.url, "--to", &to.url, "--yes"]);
        assert_eq!(copy.status.code(), Some(1), "{}", said(&copy));
        assert!(said(&copy).contains("copy with the newer jeton"), "{}", said(&copy));
    }
}

/// Members of JSON that a later program has added survive whatever an older one changes beside them.
#[tokio::test]
async fn members_that_a_program_does_not_know_are_kept() {
    let jeton = jeton().await;
    let own = jeton.enrol("alice", &["--name", "phone"]).await;
    let add = |text: &str| text.replacen('{', r#"{"later":{"a":[1]},"#, 1);
    let read = |column: &'static str, of: &'static str| {
        let database = &jeton.database;
        async move {
            let rows = database.query(&format!("SELECT {column} FROM {of}")).await;
            rows[0][0].clone().expect("it is there")
        }
    };
    let (web, alice) = ("clients WHERE client_id = 'web'", "users WHERE username = 'alice'");
    let settings = add(&read("settings", web).await);
    jeton
        .database
        .query(&format!("UPDATE clients SET settings = '{settings}' WHERE client_id = 'web'"))
        .await;
    let factors = add(&read("second_factors", alice).await);
    let factors = factors.replacen("[{", r#"[{"later":7,"#, 1);
    jeton
        .database
        .query(&format!("UPDATE users SET second_factors = '{factors}' WHERE username = 'alice'"))
        .await;

    jeton.command("client set web --access-token-lifetime 60s").await;
    let login = jeton.login_with_code("web", "alice", &jeton.code(&own, 0)).await;
    assert_eq!(login.status, 200, "{}", login.text());
    let json = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let settings = json(read("settings", web).await);
    assert_eq!(
        (&settings["later"], &settings["access_token_lifetime"]),
        (&json!({"a": [1]}), &json!(60))
    );
    let factors = json(read("second_factors", alice).await);
    let phone = &factors["authenticators"][0];
    assert_eq!((&factors["later"], &phone["later"]), (&json!({"a": [1]}), &json!(7)));
    assert!(phone["last_step"].is_i64(), "the code is used up");
    // What belongs to the authenticator goes with it, and the rest stays.
    jeton.otp(&["remove", "alice", &own.id]).await;
    let factors = json(read("second_factors", alice).await);
    assert_eq!((&factors["later"], &factors["authenticators"]), (&json!({"a": [1]}), &json!([])));
}
