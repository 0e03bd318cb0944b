//! What other services give out.

use std::io::Cursor;

use jeton::cli::import::lines::Records;
use jeton::cli::import::{aspnet, auth0, django, firebase, keycloak, passport, supabase};
use jeton_oauth::Secret;
use serde_json::Value;

use super::entries;

/// How the project of the corpus hashes.
const HASH_CONFIG: &str = "hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==,\n  base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: 4,\n}\n";

/// Each line that says anything is one entry.
pub(super) fn check_auth0(input: &[u8]) {
    let Ok(reader) = auth0::read(Cursor::new(input.to_vec())) else { return };
    let (counts, end) = entries::check(reader);
    let factors = counts.named(|name| name.starts_with("second factor"));
    let read = counts.users + counts.clients + counts.left_out.len() - factors;
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    if text.trim_ascii().starts_with(b"[") {
        if let Ok(Value::Array(list)) = serde_json::from_slice(text) {
            end.expect("what is JSON can be read");
            assert_eq!(read, list.len());
        }
    } else {
        end.expect("lines in memory can be read");
        let lines = text.split(|octet| *octet == b'\n');
        assert_eq!(read, lines.filter(|line| !line.trim_ascii().is_empty()).count());
    }
}

/// Each account is a user, or has no password.
pub(super) fn check_firebase(input: &[u8]) {
    let config = Secret::new(HASH_CONFIG.to_owned());
    let reader =
        firebase::read(&config, Cursor::new(input.to_vec())).expect("the parameters are whole");
    let (counts, end) = entries::check(reader);
    let read = counts.users + counts.named(|name| name == "user without a password");
    // What is passed over is not looked at closely, so this may be no JSON.
    let Ok(export) = serde_json::from_slice::<Value>(input) else { return };
    let users = export.get("users").and_then(Value::as_array).map_or(0, Vec::len);
    // What cannot be read on may have its list twice, of which that second reading knows the last.
    assert!(end.is_none() || read == users, "{read} of {users}");
}

/// Each row is a user, or has no password.
pub(super) fn check_aspnet(input: &[u8]) {
    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = aspnet::read(file()) else { return };
    let (counts, end) = entries::check(reader);
    assert_eq!(counts.users + counts.left_out.len(), rows_of(input), "{end:?}");
}

/// How many rows there are.
fn rows_of(input: &[u8]) -> usize {
    let records = Records::new(Cursor::new(input.to_vec())).expect("it was read before");
    records.map_while(Result::ok).count()
}

/// Each user of a realm is one, or is counted as none.
pub(super) fn check_keycloak(input: &[u8]) {
    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = keycloak::read(file(), file()) else { return };
    let (counts, end) = entries::check(reader);
    let read = counts.users + counts.named(|name| name.starts_with("user "));
    // What is passed over is not looked at closely, so this may be no JSON.
    let Ok(realm) = serde_json::from_slice::<Value>(input) else { return };
    let users = realm.get("users").and_then(Value::as_array).map_or(0, Vec::len);
    assert!(end.is_none() || read == users, "{read} of {users}");
}

/// Each object with a password is a user, or has none that is usable; each application a client, or is counted as none.
pub(super) fn check_django(input: &[u8]) {
    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = django::read_dump(file(), file()) else { return };
    let (counts, end) = entries::check(reader);
    // It was read to its end once.
    end.expect("what was read can be read again");
    let objects: Vec<Value> = match serde_json::from_slice(input) {
        Ok(objects) => objects,
        // More than one list, or a mark before it.
        Err(_) => return,
    };
    let has_password = |object: &&Value| object["fields"].get("password").is_some();
    let users = objects.iter().filter(has_password).count();
    assert_eq!(counts.users + counts.named(|name| name.starts_with("user ")), users);
    let is_application = |object: &&Value| object["model"] == "oauth2_provider.application";
    let applications = objects.iter().filter(is_application).count();
    assert_eq!(counts.clients + counts.named(|name| name.starts_with("client ")), applications);
}

/// Each row is a user, or is counted as none.
pub(super) fn check_supabase(input: &[u8]) {
    let Ok(reader) = supabase::read(Cursor::new(input.to_vec())) else { return };
    let (counts, end) = entries::check(reader);
    assert_eq!(counts.users + counts.left_out.len(), rows_of(input), "{end:?}");
}

/// Each row is a user or a client, or is counted as none: here both tables are the same.
pub(super) fn check_passport(input: &[u8]) {
    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = passport::read(file(), file()) else { return };
    let (counts, _) = entries::check(reader);
    let rows = rows_of(input);
    assert_eq!(counts.users + counts.named(|name| name.starts_with("user ")), rows);
    assert_eq!(counts.clients + counts.named(|name| name.starts_with("client ")), rows);
}
