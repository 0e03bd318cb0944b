//! A line of a file of clients.

use jeton::cli::client_file;
use jeton_crypto::password::PasswordHash;
use jeton_store::client_import::SecretForm;
use serde_json::Value;

/// What a thread may take.
const MEMORY_MAX: u64 = 1 << 20;

/// A client that is taken can be stored as it is: its settings fit together, its hashes can be computed, and only a
/// confidential one has secrets. What is said of one that is not taken does not repeat what stands at its secrets.
pub(super) fn check(input: &[u8]) {
    let Ok(Value::Object(members)) = serde_json::from_slice(input) else { return };
    let secrets = members.get("secrets").cloned().unwrap_or_default();
    match client_file::read(members.clone(), MEMORY_MAX) {
        Ok(read) => {
            assert_eq!(members["client_id"], read.client.id.as_str());
            assert_eq!(members.get("disabled") == Some(&Value::Bool(true)), read.disabled);
            read.client.settings.check().expect("settings that fit together");
            assert_eq!(secrets.as_array().map_or(0, Vec::len), read.secrets.len());
            assert!(!read.client.settings.public || read.secrets.is_empty());
            for secret in read.secrets {
                if let SecretForm::Hash(hash) = secret.stored_as {
                    PasswordHash::parse(hash.expose(), MEMORY_MAX).expect("one that can be used");
                }
            }
        }
        Err(problem) => {
            let texts = secrets.as_array().into_iter().flatten().filter_map(Value::as_object);
            let texts = texts.flat_map(|secret| secret.values()).filter_map(Value::as_str);
            for text in texts.filter(|text| text.len() > 12 && !members.contains_key(*text)) {
                assert!(!problem.contains(text), "{problem}");
            }
        }
    }
}
