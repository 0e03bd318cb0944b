//! Client secrets that came from another service as hashes, where hashes are sealed.

use std::process::Output;

use super::sealed_hashes::{WEAK, succeed};
use super::*;
use crate::harness::run_with_input;

/// The secret of [`WEAK`].
const RIGHT: &str = "secret";

/// Clients that introspect, each with one secret that came as a hash.
fn clients(names: &[&str]) -> String {
    let line = |name: &&str| {
        let secrets = serde_json::json!([{"hash": WEAK}]);
        let line = serde_json::json!({
            "client_id": name, "introspects": ["https://api1.example"], "secrets": secrets,
        });
        format!("{line}\n")
    };
    names.iter().map(line).collect()
}

/// A file of clients, as `jeton client export` writes it.
fn file(jeton: &Jeton, names: &[&str]) -> String {
    let path = jeton.database.path(&format!("{}.jsonl", names[0]));
    std::fs::write(&path, clients(names)).expect("a file");
    path
}

/// What is stored of the secrets of clients with a hash, by the client's name.
async fn stored(jeton: &Jeton) -> Vec<(String, String)> {
    let rows = "SELECT client_id, secret_hash FROM client_secrets WHERE secret_hash IS NOT NULL ORDER BY client_id";
    let rows = jeton.database.query(rows).await.into_iter();
    rows.map(|row| (row[0].clone().expect("a name"), row[1].clone().expect("a hash"))).collect()
}

fn assert_sealed(stored: &[(String, String)], names: &[&str]) {
    assert_eq!(stored.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for (name, text) in stored {
        assert!(text.starts_with("$sealed$") && text.len() == 571, "{name}: {text}");
    }
}

async fn set(jeton: &Jeton, client: &str, text: &str) {
    let set =
        format!("UPDATE client_secrets SET secret_hash = '{text}' WHERE client_id = '{client}'");
    jeton.database.query(&set).await;
}

async fn status(jeton: &Jeton, client: &str, secret: &str) -> u16 {
    jeton.post("/introspect", "token=x").basic(client, secret).send().await.status
}

fn try_command(jeton: &Jeton, arguments: &[&str], with_key: bool) -> Output {
    let master = jeton.fixtures.master_key.display().to_string();
    let key = ["--master-key-file", &master];
    let place = ["--database", &jeton.database.url];
    let key = if with_key { &key[..] } else { &[] };
    run_with_input(&[arguments, &place, key].concat(), "")
}

/// The hash of a client's secret is sealed with those of users, by an import too, and bound to its client. It is right as
/// it was, and becomes a digest at its first use. What unseals opens it. [TC-27] [W-11]
#[tokio::test]
async fn hashes_of_client_secrets_are_sealed_with_those_of_users() {
    let jeton = jeton().await;
    succeed(&jeton, &["import", "jsonl", &file(&jeton, &["a", "b", "c"])], "");
    let plain = ["a", "b", "c"].map(|name| (name.to_owned(), WEAK.to_owned()));
    assert_eq!(stored(&jeton).await, plain);

    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    succeed(&jeton, &["import", "jsonl", &file(&jeton, &["d", "e"])], "");
    let sealed = stored(&jeton).await;
    assert_sealed(&sealed, &["a", "b", "c", "d", "e"]);
    let shown = succeed(&jeton, &["client", "export"], "");
    assert_eq!(shown.matches(WEAK).count(), 5, "{shown}");
    let shown = jeton.run(&["client", "show", "a"], "").await;
    assert!(shown.contains("(sealed)") && !shown.contains("$sealed$"), "{shown}");
    let without = try_command(&jeton, &["client", "export"], false);
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(!without.status.success() && said.contains("master key"), "{said}");

    for name in ["a", "d"] {
        assert_eq!(status(&jeton, name, "wrong").await, 401, "{name}");
        assert_eq!(status(&jeton, name, RIGHT).await, 200, "{name}");
        assert_eq!(status(&jeton, name, RIGHT).await, 200, "{name}");
    }
    assert_sealed(&stored(&jeton).await, &["b", "c", "e"]);
    set(&jeton, "b", &sealed[2].1).await;
    assert_eq!(status(&jeton, "b", RIGHT).await, 401, "the hash of another client");
    set(&jeton, "b", &sealed[1].1).await;

    succeed(&jeton, &["user", "seal", "--new-key", "--no-recovery", "--yes"], "");
    let under_another = stored(&jeton).await;
    assert_sealed(&under_another, &["b", "c", "e"]);
    assert_ne!(under_another[0].1.get(..30), sealed[1].1.get(..30));
    let keys = "SELECT kid FROM keys WHERE purpose = 'data'";
    assert_eq!(jeton.database.query(keys).await.len(), 1, "the old key was deleted");
    assert_eq!(status(&jeton, "c", RIGHT).await, 200);

    succeed(&jeton, &["user", "unseal", "--yes"], "");
    let opened = ["b", "e"].map(|name| (name.to_owned(), WEAK.to_owned()));
    assert_eq!(stored(&jeton).await, opened);
    assert_eq!(jeton.database.query(keys).await.len(), 0);
    assert_eq!(status(&jeton, "e", RIGHT).await, 200);
}

/// `jeton check` counts those that are not sealed yet, and the next run goes on. A data key stays as long as it seals one
/// of them, and what does not open is named.
#[tokio::test]
async fn a_hash_of_a_client_secret_that_was_left_over_is_found() {
    let jeton = jeton().await;
    succeed(&jeton, &["import", "jsonl", &file(&jeton, &["a", "b"])], "");
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let sealed = stored(&jeton).await;
    set(&jeton, "a", WEAK).await;
    let check = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
    let output = try_command(&jeton, &check, true);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: 1 hashes of client secrets are not sealed"), "{said}");
    let said = succeed(&jeton, &["user", "seal", "--yes"], "");
    assert!(said.contains("1 hashes were sealed"), "{said}");
    assert_sealed(&stored(&jeton).await, &["a", "b"]);

    set(&jeton, "a", &sealed[1].1).await;
    let output = try_command(&jeton, &["user", "unseal", "--yes"], true);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("The hash of the client a stays as it is"), "{said}");
    let keys = "SELECT kid FROM keys WHERE purpose = 'data'";
    assert_eq!(jeton.database.query(keys).await.len(), 1);
}

/// Without the data key nobody says that a client secret is wrong, and one of which there is a digest is served.
#[tokio::test]
async fn without_the_data_key_no_hashed_client_secret_is_judged() {
    let jeton = jeton().await;
    succeed(&jeton, &["import", "jsonl", &file(&jeton, &["a"])], "");
    let own = jeton.run(&["client", "secret", "add", "a", "--json"], "").await;
    let own: serde_json::Value = serde_json::from_str(&own).expect("JSON");
    let own = own["client_secret"].as_str().expect("a secret");
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    jeton.database.query("UPDATE keys SET sealed_key = 'x' WHERE purpose = 'data'").await;
    // The first replica may have opened it already.
    let replica = jeton.replica().await;
    for (secret, expected) in [(RIGHT, 503), ("wrong", 503), (own, 200)] {
        let request = jeton.post("/introspect", "token=x").basic("a", secret).at(replica.public);
        assert_eq!(request.send().await.status, expected);
    }
}

/// A hash that is sealed while a request computes it refuses no right secret.
#[tokio::test]
async fn a_hash_that_is_sealed_while_it_is_verified_is_right() {
    let jeton = Jeton::start_with(ENGINE, &["--hash-threads", "1"]).await;
    let names = ["a", "b", "c", "d"];
    succeed(&jeton, &["import", "jsonl", &file(&jeton, &names)], "");
    succeed(&jeton, &["user", "seal", "--no-recovery", "--yes"], "");
    let sealed = stored(&jeton).await;
    assert_sealed(&sealed, &names);
    for name in names {
        set(&jeton, name, WEAK).await;
    }
    // One hash is computed at a time. So the last of them was read long before its turn comes.
    let mut requests = tokio::task::JoinSet::new();
    for name in names {
        let request = jeton.post("/introspect", "token=x").basic(name, RIGHT);
        requests.spawn(async move { request.send().await.status });
    }
    let waiting = names.len() as u64 - 1;
    while jeton.metric("jeton_hashing_queue_depth").await < waiting
        && jeton.passwords_verified().await == 0
    {
        tokio::task::yield_now().await;
    }
    for (name, text) in &sealed {
        let seal = format!(
            "UPDATE client_secrets SET secret_hash = '{text}' WHERE client_id = '{name}' AND secret_hash IS NOT NULL"
        );
        jeton.database.query(&seal).await;
    }
    assert_eq!(requests.join_all().await, [200; 4]);
    assert_eq!(stored(&jeton).await, []);
}
