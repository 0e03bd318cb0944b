//! The key of second factors, for commands.

use std::path::PathBuf;

use super::error::KeyError;
use super::key_store::KeyStore;
use jeton_crypto::key_lifecycle::Schedule;
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_oauth::{Seconds, Timestamp};
use jeton_store::Store;

/// What it means to revoke the key.
pub const REVOKING: &str = "No authenticator and no recovery code is good any more: this key opens them, and nothing else does. Users who have \
     one cannot log in until theirs are removed, with `jeton user otp remove`, and added again.";

/// Longer than any service publishes: all keys count that may still be in use.
const SCHEDULE: (Seconds, Seconds) = (Seconds::new(30 * 86_400), Seconds::new(3_600));

/// Opens the key of second factors, and makes it if there is none. `files` are the master keys.
///
/// # Errors
/// A sentence that says what is wrong and what to do: the master key is needed, and a service that has run once.
pub async fn second_factor_key(
    store: Store,
    files: &[PathBuf],
    now: Timestamp,
) -> Result<SecondFactorKey, KeyError> {
    let (rotation, jwks_max_age) = SCHEDULE;
    let key_store = KeyStore {
        store,
        master_key_files: files.to_vec(),
        // No signing key is made here.
        bits: 2_048,
        schedule: Schedule::new(rotation, jwks_max_age),
    };
    key_store.second_factor_key(now).await
}
