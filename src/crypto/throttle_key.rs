//! The keys of the throttle. The database holds names of counters that say nothing without one of them: a user
//! name that was typed may be a password. By the other a process knows a password again that was wrong.

use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::random;
use jeton_oauth::KeyId;
use jeton_oauth::throttle::{Counted, CounterName};

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
    /// The secret cannot be a key.
    pub fn from_secret(id: KeyId, secret: &[u8]) -> Result<Self, InvalidLength> {
        let mac = Hmac::new_from_slice(secret)?;
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
        CounterName(self.code(counted.as_str(), parts))
    }

    /// A number for the name of a user, not negative: by it a user is chosen whose hash is computed where
    /// nobody has that name.
    #[must_use]
    pub fn decoy_number(&self, username: &str) -> i64 {
        let code: [u8; 8] = self.code("lot", &[username.as_bytes()]);
        i64::from_be_bytes(code) & i64::MAX
    }

    fn code<const N: usize>(&self, kind: &str, parts: &[&[u8]]) -> [u8; N] {
        code(self.mac.clone(), [kind.as_bytes()].iter().chain(parts))
    }
}

/// A key that this process drew, which is stored nowhere and ends with it.
pub struct GuessKey(Hmac<Sha256>);

impl std::fmt::Debug for GuessKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GuessKey").finish_non_exhaustive()
    }
}

impl GuessKey {
    /// Draws a key.
    #[must_use]
    pub fn random() -> Self {
        let secret: [u8; 32] = random::octets();
        Self(Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length"))
    }

    /// 128 bits that tell what these parts say together, and nothing of it without the key.
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
        // With the length first no two lists of parts are the same octets.
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
