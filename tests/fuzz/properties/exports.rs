//! What Auth0, Firebase and ASP.NET Identity give out.

use std::io::Cursor;

use jeton::cli::import::{aspnet, auth0, firebase};
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
    let users = serde_json::from_slice::<Value>(input).ok();
    let users = users.and_then(|value| value.get("users").and_then(Value::as_array).map(Vec::len));
    if end.is_some() {
        assert_eq!(read, users.unwrap_or_default());
    } else {
        assert!(users.is_none_or(|users| read <= users));
    }
}

/// Each row is a user, or has no password.
pub(super) fn check_aspnet(input: &[u8]) {
    use jeton::cli::import::lines::Records;

    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = aspnet::read(file()) else { return };
    let (counts, end) = entries::check(reader);
    let records = Records::new(file()).expect("it was read before");
    let rows = records.map_while(Result::ok).take_while(|record| record.values.is_ok()).count();
    assert_eq!(counts.users + counts.left_out.len(), rows, "{end:?}");
}
