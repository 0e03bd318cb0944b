//! Seals the authenticators of a file of users.

use std::path::PathBuf;

use super::Failure;
use super::otp_files::ReadAuthenticator;
use crate::cli::replicas;
use jeton_crypto::random;
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_oauth::second_factor::{Authenticator, SecondFactors};
use jeton_oauth::{Timestamp, UserId};
use jeton_service::keys::second_factors::second_factor_key;
use jeton_store::Store;
use jeton_store::second_factors::StoredSecondFactors;

/// Opens the key when the first authenticator is sealed.
pub(super) struct Sealer<'a> {
    /// The master keys.
    pub(super) files: &'a [PathBuf],
    pub(super) key: Option<SecondFactorKey>,
    pub(super) now: Timestamp,
}

impl Sealer<'_> {
    /// Seals the authenticators of a new user. They count, because they did where the file comes from.
    pub(super) async fn seal(
        &mut self,
        store: &Store,
        user: &UserId,
        authenticators: &[ReadAuthenticator],
    ) -> Result<StoredSecondFactors, Failure> {
        let key = match &mut self.key {
            Some(key) => key,
            none => {
                replicas::require_second_factors(store, self.now).await?;
                none.insert(second_factor_key(store.clone(), self.files, self.now).await?)
            }
        };
        let mut factors = SecondFactors::default();
        for ReadAuthenticator { name, secret } in authenticators {
            let mut own = new_authenticator(name, self.now);
            own.sealed = key.seal(user, &own.id, secret);
            own.confirmed_at = Some(self.now);
            factors.authenticators.push(own);
        }
        Ok(StoredSecondFactors::new(factors))
    }
}

/// A new authenticator that is not proved yet.
#[must_use]
pub(in crate::cli) fn new_authenticator(name: &str, now: Timestamp) -> Authenticator {
    let id = jeton_oauth::otpauth::to_base32(&random::octets::<5>());
    Authenticator {
        id: id.expose().to_ascii_lowercase(),
        name: name.to_owned(),
        sealed: String::new(),
        added_at: now,
        confirmed_at: None,
        last_step: None,
        drift: 0,
        last_used_at: None,
    }
}
