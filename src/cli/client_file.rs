//! Clients in a file: JSON Lines as `jeton client export` writes them.
//!
//! What is said of a line that cannot be taken names the member and repeats nothing of a secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use jeton_crypto::digest::SecretDigest;
use jeton_crypto::password::{PasswordHash, PasswordHashError};
use jeton_oauth::{Client, ClientId, ClientSettings, Secret, Timestamp};
use jeton_store::client_import::{ImportedClient, ImportedSecret, SecretForm};
use jeton_store::clients::{StoredClient, StoredSecret};

/// A client as it is written.
#[derive(Serialize)]
struct WrittenClient<'a> {
    #[serde(flatten)]
    client: &'a Client,
    disabled: bool,
    secrets: Vec<FileSecret>,
}

/// A secret in a file: its digest, the hash of another service, or the secret itself, which is never written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSecret {
    /// SHA-256 in base64url without padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing)]
    secret: Option<String>,
    /// When it was made, in seconds since the epoch.
    created_at: Option<Timestamp>,
    /// From when on it is refused.
    expires_at: Option<Timestamp>,
}

/// The client as a line of the file.
pub(super) fn written(stored: &StoredClient, with_secrets: bool) -> Value {
    let written = WrittenClient {
        client: &stored.client,
        disabled: stored.disabled_at.is_some(),
        secrets: stored.secrets.iter().filter(|_| with_secrets).map(FileSecret::of).collect(),
    };
    serde_json::to_value(written).expect("a client is JSON")
}

impl FileSecret {
    fn of(stored: &StoredSecret) -> Self {
        let hash = stored.hash.as_ref().map(|hash| hash.expose().to_owned());
        let sha256 = hash.is_none().then(|| URL_SAFE_NO_PAD.encode(&stored.digest));
        let (created_at, expires_at) = (Some(stored.created_at), stored.expires_at);
        Self { sha256, hash, secret: None, created_at, expires_at }
    }

    fn read(self, memory_max: u64) -> Result<ImportedSecret, String> {
        let stored_as = match (self.sha256, self.hash, self.secret) {
            (None, None, Some(secret)) => {
                SecretForm::Digest(*SecretDigest::of(&Secret::new(secret)).as_bytes())
            }
            (Some(digest), None, None) => {
                let octets = URL_SAFE_NO_PAD.decode(digest).ok();
                let octets = octets.and_then(|octets| octets.try_into().ok());
                SecretForm::Digest(octets.ok_or(
                    "has a \"sha256\" that is not 32 octets in base64url without padding: 43 characters",
                )?)
            }
            (None, Some(hash), None) => SecretForm::Hash(checked_hash(&hash, memory_max)?),
            _ => return Err("needs either \"sha256\", \"hash\" or \"secret\"".to_owned()),
        };
        let Self { created_at, expires_at, .. } = self;
        Ok(ImportedSecret { stored_as, created_at, expires_at })
    }
}

/// The hash of a client's secret, which may take `memory_max` octets to compute.
///
/// # Errors
/// What is wrong with it, in words that follow «it» or «the secret».
pub fn checked_hash(text: &str, memory_max: u64) -> Result<Secret, String> {
    let text = Secret::new(PasswordHash::adopt(text).into_owned());
    match PasswordHash::parse(text.expose(), memory_max) {
        Ok(_) => Ok(text),
        Err(PasswordHashError::TooExpensive) => Err(
            "has a hash that asks for more memory than --hash-memory allows a thread, or for more than 16 times the \
             work of scrypt ln=17,r=8,p=1: give the client another secret here"
                .to_owned(),
        ),
        Err(PasswordHashError::Unknown | PasswordHashError::Sealed) => Err(
            "has a hash in no format known here: see the list in docs/passwords.md, or give the client another \
             secret here"
                .to_owned(),
        ),
    }
}

/// Reads a client. The hash of a secret may take `memory_max` octets to compute.
///
/// # Errors
/// What is wrong with it, in words that follow «it».
pub fn read(mut members: Map<String, Value>, memory_max: u64) -> Result<ImportedClient, String> {
    let id = match members.remove("client_id") {
        Some(Value::String(text)) => text.parse::<ClientId>().map_err(|error| error.to_string())?,
        _ => return Err("has no \"client_id\", which is a text".to_owned()),
    };
    let disabled = match members.remove("disabled") {
        None => false,
        Some(Value::Bool(disabled)) => disabled,
        Some(_) => return Err("has a \"disabled\" that is neither true nor false".to_owned()),
    };
    let secrets = members.remove("secrets").unwrap_or_else(|| Value::Array(Vec::new()));
    // The sentences of the reader could repeat what stands there.
    let secrets: Vec<FileSecret> = serde_json::from_value(secrets).map_err(|_| {
        "has \"secrets\" that are not a list of objects with \"sha256\", \"hash\" or \"secret\", \"created_at\" and \"expires_at\" \
         in seconds since 1970"
            .to_owned()
    })?;
    let secrets: Vec<ImportedSecret> =
        secrets.into_iter().map(|secret| secret.read(memory_max)).collect::<Result<_, _>>()?;
    let known = serde_json::to_value(ClientSettings::default()).expect("settings are JSON");
    for (name, value) in &members {
        if known.get(name).is_none() {
            return Err(format!("has a member {name:?}, which is no setting of a client"));
        }
        // Alone, so that it can be named. The sentences of the reader could repeat what stands there.
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        if serde_json::from_value::<ClientSettings>(Value::Object(alone)).is_err() {
            return Err(format!(
                "has a {name:?} that cannot be read: write it as `jeton client export` does"
            ));
        }
    }
    let settings = serde_json::from_value::<ClientSettings>(Value::Object(members));
    let settings = settings.map_err(|_| "has settings that cannot be read together".to_owned())?;
    settings.check().map_err(|error| error.to_string())?;
    if settings.public && !secrets.is_empty() {
        return Err("is public and has secrets, which a public client cannot keep: leave one out"
            .to_owned());
    }
    Ok(ImportedClient { client: Client { id, settings }, disabled, secrets })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HASH: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

    fn read_json(value: &Value) -> Result<ImportedClient, String> {
        read(value.as_object().expect("an object").clone(), 1 << 27)
    }

    #[test]
    fn a_client_is_read_as_it_was_written() {
        let secret = |number, digest: &[u8], hash: Option<&str>| StoredSecret {
            number,
            digest: digest.to_vec(),
            hash: hash.map(|hash| Secret::new(hash.to_owned())),
            created_at: Timestamp(5),
            expires_at: (number == 2).then_some(Timestamp(9)),
            last_used_at: None,
        };
        let settings = ClientSettings {
            audiences: vec!["https://api.example".parse().expect("an audience")],
            scope: "read write".to_owned().try_into().expect("a scope"),
            ..ClientSettings::default()
        };
        let client = Client { id: "web".parse().expect("a name"), settings: settings.clone() };
        let stored = StoredClient {
            client,
            created_at: Timestamp(1),
            disabled_at: Some(Timestamp(2)),
            last_used_at: None,
            secrets: vec![secret(1, &[7; 32], None), secret(2, &[], Some(HASH))],
        };
        let imported = read_json(&written(&stored, true)).expect("it can be read");
        assert_eq!((imported.client.id.as_str(), imported.disabled), ("web", true));
        assert_eq!(imported.client.settings, settings);
        let [first, second] = &imported.secrets[..] else { panic!("two secrets") };
        assert!(matches!(&first.stored_as, SecretForm::Digest(digest) if *digest == [7; 32]));
        assert!(matches!(&second.stored_as, SecretForm::Hash(hash) if hash.expose() == HASH));
        assert_eq!(
            (second.created_at, second.expires_at),
            (Some(Timestamp(5)), Some(Timestamp(9)))
        );
        assert!(read_json(&written(&stored, false)).is_ok_and(|read| read.secrets.is_empty()));
    }

    #[test]
    fn what_cannot_be_taken_is_said_without_repeating_it() {
        let dear = HASH.replace("$04$", "$31$");
        for (line, says) in [
            (json!({}), "no \"client_id\""),
            (json!({"client_id": "a b"}), "client"),
            (json!({"client_id": "a", "disabled": "no"}), "neither true nor false"),
            (json!({"client_id": "a", "scopes": "read"}), "\"scopes\", which is no setting"),
            (json!({"client_id": "a", "grants": ["Zqx7"]}), "\"grants\" that cannot be read"),
            (json!({"client_id": "a", "grants": ["password"]}), "--audience"),
            (json!({"client_id": "a", "access_token_lifetime": 7_200}), "must be 1s to 1h"),
            (json!({"client_id": "a", "session_lifetime": 0}), "must be 1s to 365d"),
            (json!({"client_id": "a", "secrets": ["Zqx7"]}), "not a list of objects"),
            (json!({"client_id": "a", "secrets": [{"key": "Zqx7"}]}), "not a list of objects"),
            (json!({"client_id": "a", "secrets": [{"secret": "Zqx7", "hash": HASH}]}), "either"),
            (json!({"client_id": "a", "secrets": [{"sha256": "Zqx7"}]}), "43 characters"),
            (json!({"client_id": "a", "secrets": [{"hash": "Zqx7"}]}), "in no format"),
            (json!({"client_id": "a", "secrets": [{"hash": dear}]}), "--hash-memory"),
            (json!({"client_id": "a", "secrets": [{}]}), "either"),
            (json!({"client_id": "a", "public": true, "secrets": [{"hash": HASH}]}), "public"),
        ] {
            let problem = read_json(&line).expect_err(says);
            assert!(problem.contains(says), "{line}: {problem}");
            assert!(!problem.contains("Zqx7") && !problem.contains("$2b$"), "{problem}");
        }
    }
}
