//! Digests of secrets that are random, so that they need no slow hash.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use jeton_oauth::Secret;

/// The SHA-256 digest of a client secret. Nothing else of the secret is stored.
#[derive(Clone, Copy, Debug)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Digests a secret.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose().as_bytes()).into())
    }

    /// Compares with a stored digest in constant time.
    #[must_use]
    pub fn matches(&self, stored: &[u8]) -> bool {
        bool::from(self.0.ct_eq(stored))
    }

    /// The octets to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// SHA-256 of public octets.
#[must_use]
pub fn sha256(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}
