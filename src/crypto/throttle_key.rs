//! The keys of throttling. With a [`ThrottleKey`], the database holds only keyed names of counters, because what was
//! typed as a user name may be a password. With a [`GuessKey`], a process recognises a wrong password that it has seen.

use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::random;
use jeton_oauth::KeyId;
use jeton_oauth::throttle::{Counted, CounterName};

/// A key that names counters. It is the same on all replicas, and is never replaced automatically.
#[derive(Clone)]
pub struct ThrottleKey {
    id: KeyId,
    /// HMAC with this key; each name is computed by a copy of it.
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for ThrottleKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ThrottleKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ThrottleKey {
    /// Builds a key from its secret.
    ///
    /// # Errors
    /// The secret cannot be a key.
    pub fn from_secret(id: KeyId, secret: &[u8]) -> Result<Self, InvalidLength> {
        let mac = Hmac::new_from_slice(secret)?;
        Ok(Self { id, mac })
    }

    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The name of the counter of this kind for these parts together.
    #[must_use]
    pub fn name(&self, counted: Counted, parts: &[&[u8]]) -> CounterName {
        CounterName(self.code(counted.as_str(), parts))
    }

    /// The decoy number for a user name, not negative. If the name is unknown, it chooses whose hash is verified.
    #[must_use]
    pub fn decoy_number(&self, username: &str) -> i64 {
        let code: [u8; 8] = self.code("lot", &[username.as_bytes()]);
        i64::from_be_bytes(code) & i64::MAX
    }

    fn code<const N: usize>(&self, kind: &str, parts: &[&[u8]]) -> [u8; N] {
        code(self.mac.clone(), [kind.as_bytes()].iter().chain(parts))
    }
}

/// A random key of this process. It is stored nowhere and ends with the process.
pub struct GuessKey(Hmac<Sha256>);

impl std::fmt::Debug for GuessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GuessKey").finish_non_exhaustive()
    }
}

impl GuessKey {
    /// Makes a random key.
    #[must_use]
    pub fn random() -> Self {
        let secret: [u8; 32] = random::octets();
        Self(Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length"))
    }

    /// 128 bits that identify these parts together. Without the key they reveal nothing about them.
    #[must_use]
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 16] {
        code(self.0.clone(), parts.iter())
    }
}

fn code<'a, const N: usize>(
    mut mac: Hmac<Sha256>,
    parts: impl Iterator<Item = &'a &'a [u8]>,
) -> [u8; N] {
    for part in parts {
        // Each part follows its length, so that no two lists of parts are the same octets.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let code = mac.finalize().into_bytes();
    *code.first_chunk().expect("SHA-256 has 32 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_kind_key_and_parts() {
        let key = |secret| ThrottleKey::from_secret("k".parse::<KeyId>().expect("an id"), secret);
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
        let decoy_numbers =
            [one.decoy_number("alice"), one.decoy_number("bob"), other.decoy_number("alice")];
        assert!(
            decoy_numbers.iter().all(|decoy_number| *decoy_number >= 0)
                && decoy_numbers[0] != decoy_numbers[1]
                && decoy_numbers[0] != decoy_numbers[2]
        );
    }
}
