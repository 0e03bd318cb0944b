//! The key of second factors: it seals the secrets of authenticators, and names recovery codes by keyed digests. It is
//! itself sealed under the master key, as every key is, so a stolen database opens none, and another master key takes
//! one row.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::one_time_password::{OtpSecret, prepare_code};
use super::sealing;
use jeton_oauth::{KeyId, Secret, UserId};

/// What is sealed: in the header of the sealed secret.
const PURPOSE: &str = "otp";

/// The key.
#[derive(Clone)]
pub struct SecondFactorKey {
    id: KeyId,
    /// Seals. Derived, as each use has a key of its own.
    sealing: Zeroizing<[u8; 32]>,
    /// Digests recovery codes; each digest is computed by a copy of it.
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for SecondFactorKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SecondFactorKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SecondFactorKey {
    /// Builds a key from its secret.
    ///
    /// # Errors
    /// The secret cannot be a key.
    pub fn from_secret(id: KeyId, secret: &[u8]) -> Result<Self, InvalidLength> {
        let derive = |label: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
            mac.update(label);
            Ok(Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes())))
        };
        let sealing = derive(b"jeton second factor: seal")?;
        let mac = Hmac::new_from_slice(&*derive(b"jeton second factor: recovery codes")?)?;
        Ok(Self { id, sealing, mac })
    }

    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Seals the secret of a user's authenticator. It opens as nothing else's.
    #[must_use]
    pub fn seal(&self, user: &UserId, authenticator: &str, secret: &OtpSecret) -> String {
        let bound = bound(user, authenticator);
        sealing::seal(&self.sealing, self.id.as_str(), (PURPOSE, &bound), &secret.to_json())
    }

    /// Opens the secret of a user's authenticator; `None` if it was sealed for another, under another key, or altered.
    #[must_use]
    pub fn open(&self, user: &UserId, authenticator: &str, sealed: &str) -> Option<OtpSecret> {
        let bound = bound(user, authenticator);
        let opened = sealing::open(&self.sealing, (PURPOSE, &bound), sealed)?;
        OtpSecret::from_json(&opened)
    }

    /// The digest by which a user's recovery code is known. Without the key it tells nothing of the code.
    #[must_use]
    pub fn digest(&self, user: &UserId, code: &Secret) -> String {
        let mut mac = self.mac.clone();
        for part in [user.as_str(), prepare_code(code).expose()] {
            // Each part follows its length, so that no two lists of parts are the same octets.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

fn bound(user: &UserId, authenticator: &str) -> String {
    format!("{authenticator}/{}", user.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::one_time_password::recovery_code;
    use crate::random;
    use jeton_oauth::otpauth::OtpParameters;

    fn key() -> SecondFactorKey {
        let secret: [u8; 32] = random::octets();
        SecondFactorKey::from_secret(random::refresh_key_id(), &secret).expect("a key")
    }

    /// A sealed secret cannot be moved to another user or authenticator. [O-02]
    #[test]
    fn a_secret_opens_only_as_what_it_was() {
        let (key, other) = (key(), key());
        let (anna, bert) = (random::user_id(), random::user_id());
        let secret = OtpSecret::random(OtpParameters::default());
        let sealed = key.seal(&anna, "1", &secret);
        let opened = key.open(&anna, "1", &sealed).expect("its own");
        assert_eq!(opened.code(7), secret.code(7));
        assert!(key.open(&bert, "1", &sealed).is_none());
        assert!(key.open(&anna, "2", &sealed).is_none());
        assert!(other.open(&anna, "1", &sealed).is_none());
        assert_ne!(sealed, key.seal(&anna, "1", &secret), "the nonce is random");
    }

    #[test]
    fn a_recovery_code_has_a_digest_for_each_user_and_key() {
        let (key, other) = (key(), key());
        let (anna, bert) = (random::user_id(), random::user_id());
        let code = recovery_code();
        let typed = Secret::new(format!(" {}", code.expose().to_uppercase()));
        assert_eq!(key.digest(&anna, &code), key.digest(&anna, &typed));
        assert_ne!(key.digest(&anna, &code), key.digest(&bert, &code));
        assert_ne!(key.digest(&anna, &code), other.digest(&anna, &code));
    }
}
