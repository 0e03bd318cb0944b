//! The key under which failures are counted: the database holds names of counters that say nothing
//! without it. A user name that was typed may be a password.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::oauth::KeyId;
use crate::oauth::throttle::{Counted, CounterName};

/// A key that names counters; the same on all replicas, never replaced by itself.
#[derive(Clone)]
pub struct ThrottleKey {
    id: KeyId,
    /// Keyed once; a copy of it computes each name.
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for ThrottleKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ThrottleKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ThrottleKey {
    /// Builds a key from its secret form.
    ///
    /// # Errors
    /// A sentence if the secret cannot be a key.
    pub fn from_secret(id: KeyId, secret: &[u8]) -> Result<Self, String> {
        let mac = Hmac::new_from_slice(secret).map_err(|error| error.to_string())?;
        Ok(Self { id, mac })
    }

    /// The key's name.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The name of the counter of this kind for what these parts say together.
    #[must_use]
    pub fn name(&self, counted: Counted, parts: &[&[u8]]) -> CounterName {
        let mut mac = self.mac.clone();
        for part in [counted.as_str().as_bytes()].iter().chain(parts) {
            // With the length first no two lists of parts are the same octets.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let code = mac.finalize().into_bytes();
        let (half, _) = code.split_first_chunk().expect("SHA-256 has 32 octets");
        CounterName(*half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_kind_key_and_parts() {
        let key = |secret| ThrottleKey::from_secret(KeyId::from_text("k".to_owned()), secret);
        let (one, other) = (key(b"one").expect("a key"), key(b"other").expect("a key"));
        let names = [
            one.name(Counted::Account, &[b"alice"]),
            other.name(Counted::Account, &[b"alice"]),
            one.name(Counted::Origin, &[b"alice"]),
            one.name(Counted::Account, &[b"ali", b"ce"]),
            one.name(Counted::Account, &[b"alic", b"e"]),
        ];
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
        assert_eq!(one.name(Counted::Account, &[b"alice"]), names[0]);
    }
}
