//! `jeton client show`, `list` and `export`: how the secrets of clients are stored, and clients that go elsewhere.

use serde_json::{Value, json};

use super::foreign_hashes::{RIGHT, hashes_of};
use super::imported_rows::open;
use super::*;
use crate::harness::Database;
use crate::harness::executable::run_for_json;
use jeton_oauth::Timestamp;
use jeton_store::client_import::ImportClients;
use jeton_store::clients::NewClient;
use jeton_store::data_keys::StoredUnder;

/// Adds a client as a file has it.
async fn import(database: &Database, lines: &[Value]) -> Vec<NewClient> {
    let read = |line: &Value| {
        let members = line.as_object().expect("an object").clone();
        jeton::cli::client_file::read(members, 1 << 27).expect("a client")
    };
    let clients = StoredUnder { hashes: lines.iter().map(read).collect(), data_key: None };
    let import = ImportClients { clients, now: Timestamp(1_700_000_000) };
    open(database).await.perform(import).await.expect("they are stored")
}

fn bcrypt() -> String {
    let found = hashes_of(RIGHT).into_iter().find(|(_, hash)| hash.starts_with("$2b$"));
    found.expect("a vector").1
}

/// A client that introspects, with these secrets.
fn client(name: &str, secrets: &Value) -> Value {
    json!({"client_id": name, "introspects": ["https://api1.example"], "secrets": secrets})
}

/// What is shown of a secret says how it is stored, and nothing of the hash. Either is removed by its number. [TC-27]
#[tokio::test]
async fn it_is_shown_how_each_secret_is_stored() {
    let jeton = jeton().await;
    let hash = bcrypt();
    import(&jeton.database, &[client("app", &json!([{"hash": &hash}]))]).await;
    jeton.command("client secret add app").await;
    let shown = jeton.run(&["client", "show", "app"], "").await;
    assert!(shown.contains("STORED AS") && shown.contains("bcrypt cost 4"), "{shown}");
    let listed = jeton.run(&["client", "list", "--json"], "").await;
    let one = jeton.run(&["client", "show", "app", "--json"], "").await;
    for printed in [&shown, &listed, &one] {
        assert!(!printed.contains(&hash[7..]), "{printed}");
    }
    let one: Value = serde_json::from_str(&one).expect("JSON");
    let forms = |client: &Value| {
        let secrets = client["secrets"].as_array().expect("a list").iter();
        secrets.map(|secret| secret["stored_as"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(forms(&one), ["bcrypt cost 4", "sha256"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let app = listed.as_array().and_then(|all| all.iter().find(|one| one["client_id"] == "app"));
    assert_eq!(app, Some(&one));

    jeton.command("client secret remove app 1").await;
    let request = jeton.post("/introspect", "token=x").basic("app", RIGHT);
    request.send().await.assert_error(401, "invalid_client");
    let left: Value =
        serde_json::from_str(&jeton.run(&["client", "show", "app", "--json"], "").await)
            .expect("JSON");
    assert_eq!(forms(&left), ["sha256"]);
}

/// What is exported makes the same clients elsewhere, with the secrets that they have, and is the same there.
#[tokio::test]
async fn exported_clients_are_the_same_elsewhere() {
    let jeton = jeton().await;
    let secrets =
        json!([{"hash": bcrypt(), "created_at": 1_600_000_000, "expires_at": 4_000_000_000_i64}]);
    import(&jeton.database, &[client("app", &secrets)]).await;
    jeton.command("client disable other").await;
    let export = |url: &str| {
        let output = crate::harness::run(&["client", "export", "--database", url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let exported = export(&jeton.database.url);
    let lines: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let find = |name: &str| lines.iter().find(|line| line["client_id"] == name).expect("a line");
    assert_eq!(
        (&find("other")["disabled"], &find("web")["disabled"]),
        (&true.into(), &false.into())
    );
    assert_eq!(find("app")["secrets"], secrets);
    assert_eq!(find("spa")["secrets"], json!([]));
    let digest = find("web")["secrets"][0]["sha256"].as_str().expect("a digest");
    assert_eq!(digest.len(), 43);

    let elsewhere = Database::migrated(ENGINE).await;
    let outcomes = import(&elsewhere, &lines).await;
    assert_eq!(outcomes, vec![NewClient::Added; lines.len()]);
    let again = export(&elsewhere.url);
    // The dates of secrets are kept, as far as they are not in the future.
    let without_dates = |text: &str| {
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            for secret in line["secrets"].as_array_mut().expect("a list") {
                let date = secret["created_at"].as_i64().expect("a date");
                secret["created_at"] = date.min(1_700_000_000).into();
            }
            line
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(without_dates(&again), without_dates(&exported));
    let open = ["client", "export", "--without-secrets", "--database", &elsewhere.url];
    let output = crate::harness::run(&open);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!text.contains("sha256") && !text.contains("$2b$"), "{text}");
    let settings = |database: &Database| {
        let show = ["client", "show", "web", "--json", "--database", &database.url];
        let mut shown = run_for_json(&show, "");
        for dated in ["created_at", "last_used_at", "secrets"] {
            shown[dated].take();
        }
        shown
    };
    assert_eq!(settings(&elsewhere), settings(&jeton.database));
}
