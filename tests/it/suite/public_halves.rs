//! The public halves of signing keys that stand in the database: whoever can write there has no key of theirs
//! published, exported or installed elsewhere.

use super::*;
use crate::harness::keys::{KeySet, key_command};
use crate::harness::{Database, Executable, run};

/// Puts another public half beside the signing key; of the name that it says, or of the key's own.
async fn replace_public_half(database: &Database, kid: Option<&str>) {
    let column = "SELECT public_jwk FROM keys WHERE purpose = 'signing'";
    let before = database.query(column).await.remove(0).remove(0).expect("JSON");
    let mut jwk: serde_json::Value = serde_json::from_str(&before).expect("JSON");
    let modulus = jwk["n"].as_str().expect("a modulus").to_owned();
    jwk["n"] = format!("zzzz{}", &modulus[4..]).into();
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    let update = format!("UPDATE keys SET public_jwk = '{jwk}' WHERE purpose = 'signing'");
    database.query(&update).await;
}

/// A public half that was replaced in the database is refused with a sentence and nothing is exported, whatever it
/// calls itself; the list and `jeton check` say so; the service publishes its own key and says so in the log.
#[tokio::test]
async fn a_public_half_that_was_replaced_is_exported_nowhere() {
    for name in [None, Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")] {
        let (database, fixtures) = Database::filled(ENGINE).await;
        let master_key = fixtures.master_key.display().to_string();
        let key = |arguments: &[&str]| {
            let output = key_command(&database, &master_key, arguments, "");
            let text = |octets| String::from_utf8(octets).expect("UTF-8");
            (output.status.code(), text(output.stdout), text(output.stderr))
        };
        let (_, right, errors) = key(&["export", "--public"]);
        assert_eq!(errors, "");
        let kid = database.keys("signing").await.remove(0).kid;
        replace_public_half(&database, name).await;
        for export in [
            &["export", "--public"][..],
            &["export", "--public", "--pem"],
            &["export", "--public", "--pem", &kid],
        ] {
            let (code, printed, errors) = key(export);
            assert_eq!((code, printed.as_str()), (Some(1), ""), "{export:?}: {errors}");
            assert!(errors.contains(&kid) && errors.contains("nothing was exported"), "{errors}");
        }
        let (code, printed, errors) = key(&["list"]);
        assert!(code == Some(0) && printed.contains(&kid), "{printed}");
        assert!(errors.contains("warning: the public half") && errors.contains(&kid), "{errors}");
        let without = key_command(&database, &database.path("none.jwk"), &["list"], "");
        let errors = String::from_utf8_lossy(&without.stderr);
        assert!(errors.contains("warning: the public half"), "by its name alone: {errors}");

        let place = ["--database", &database.url, "--master-key-file", &master_key];
        let check = ["check", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let checked = run(&[&check[..], &place].concat());
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.code() == Some(1) && errors.contains("public half"), "{errors}");

        let mut service = Executable::serve_on(&database, fixtures, &[]);
        let published = KeySet::of(service.public).await;
        let right: serde_json::Value = serde_json::from_str(&right).expect("JSON");
        assert_eq!(published.json, right, "the service publishes its own");
        let log = service.stop_and_read_log();
        let said = log.lines().filter(|line| line.contains("the public half in the database"));
        assert_eq!(said.filter(|line| line.contains("\"ERROR\"")).count(), 1, "{log}");
    }
}

/// Without the master key nothing proves that a key is the service's, so nothing is exported.
#[tokio::test]
async fn without_the_master_key_nothing_is_exported() {
    let (database, _) = Database::filled(ENGINE).await;
    let absent = database.path("absent.jwk");
    let output = key_command(&database, &absent, &["export", "--public"], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{said}");
    assert!(said.contains("master key"), "{said}");
    assert!(!std::path::Path::new(&absent).exists(), "and none is made");
}
