//! `jeton import`: what a mapping decides about clients.

use std::process::Output;

use serde_json::{Value, json};

use super::exported::Exported;
use super::*;
use crate::harness::executable::run_for_json;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A mapping brings clients over that only introspect, with the secret that they had, and says which audience of a client
/// is the first. What it names and the source has not is told.
#[tokio::test]
async fn a_mapping_says_who_introspects_and_for_whom_tokens_are() {
    const COMMON: &str = "audiences = [\"https://api.example\"]\nscope = \"read\"\n";
    for (kind, path, client, secret) in [
        ("django-oauth-toolkit", "database.sqlite3", "client-of-machine", "test-secret-of-machine"),
        (
            "laravel-passport",
            "passport-13",
            "cc7e6ac7-eb53-4bd1-88d0-2891070d4982",
            "test-secret-of-machine-7817c52b25607be67ce9",
        ),
        (
            "auth0",
            "export",
            "a8ef6abdd1448d02ab5ab074a6c10b7e",
            "test-secret-of-machine-b644818126dfbbd78decfb1a686a9cc0813150f8",
        ),
    ] {
        let jeton = Jeton::start_bare(ENGINE).await;
        let source = Exported::new(kind, path, "");
        let mapping = jeton.database.path("introspects.toml");
        std::fs::write(
            &mapping,
            format!("{COMMON}[introspects]\n\"{client}\" = [\"https://api.example\"]\n\"no-such\" = [\"x\"]\n"),
        )
        .expect("a file");
        let skipped = jeton.database.path("skipped");
        let output = source.try_import(&jeton, &mapping, &["--skip-bad", &skipped, "--keep-fast"]);
        assert!(output.status.success(), "{kind}: {}", said(&output));
        assert!(
            said(&output)
                .contains("no user or client of the source has, so it says nothing: \"no-such\""),
            "{}",
            said(&output)
        );
        let request = |secret: &str| {
            jeton.request("POST", "/introspect").basic(client, secret).form("token=x")
        };
        let answer = request(secret).send().await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "active": false })), "{kind}");
        request("another secret").send().await.assert_error(401, "invalid_client");
        let settings = run_for_json(
            &["client", "show", client, "--json", "--database", &jeton.database.url],
            "",
        );
        assert_eq!(settings["introspects"], json!(["https://api.example"]), "{settings}");
        assert_eq!(settings["grants"], json!([]), "{settings}");
    }
    let jeton = Jeton::start_bare(ENGINE).await;
    let mapping = jeton.database.path("audiences.toml");
    let text = "[client_audiences]\nshop = [\"https://api.example.test\", \"api\"]\n[introspects]\napi = [\"api\", \"https://api.example.test\"]\n";
    std::fs::write(&mapping, format!("{COMMON}{text}")).expect("a file");
    let output =
        Exported::new("keycloak", "realm.json", "").try_import(&jeton, &mapping, &["--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let further = report["not_taken"]
        .as_object()
        .expect("names")
        .keys()
        .filter(|name| name.starts_with("further audience"));
    assert_eq!(further.count(), 0, "{report}");
    let show = |client: &str| {
        run_for_json(&["client", "show", client, "--json", "--database", &jeton.database.url], "")
    };
    assert_eq!(show("shop")["audiences"], json!(["https://api.example.test", "api"]));
    assert_eq!(show("api")["introspects"], json!(["api", "https://api.example.test"]));
}
