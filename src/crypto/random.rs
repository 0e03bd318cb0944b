//! The only source of randomness: the generator of `rand`, which the operating system seeds.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;

use jeton_oauth::refresh_token::{KEY_ID_LENGTH, SESSION_ID_LENGTH};
use jeton_oauth::{KeyId, Secret, SessionId, UserId};

/// Random octets.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
pub fn octets<const N: usize>() -> [u8; N] {
    rand::rng().random()
}

/// Random octets as base64url text without padding.
fn text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(octets::<N>())
}

/// A new user identifier: 128 random bits.
#[must_use]
pub fn user_id() -> UserId {
    UserId::from_octets(&octets::<16>())
}

/// A new decoy number of a user, greater than 0: see `sql/find_user.sql`.
#[must_use]
pub fn decoy_number() -> i64 {
    (i64::from_be_bytes(octets()) & i64::MAX).max(1)
}

/// A new session identifier: 128 random bits.
#[must_use]
pub fn session_id() -> SessionId {
    SessionId::from_octets(&octets::<SESSION_ID_LENGTH>())
}

/// A new identifier of a refresh key: 72 random bits, which are no secret.
#[must_use]
pub fn refresh_key_id() -> KeyId {
    KeyId::from_octets(&octets::<KEY_ID_LENGTH>())
}

/// A new `jti`: 128 random bits (RFC 9068 §2.2).
#[must_use]
pub fn token_id() -> String {
    text::<16>()
}

/// A new identifier of a request, for the log and `X-Request-Id`: 96 random bits.
#[must_use]
pub fn request_id() -> Arc<str> {
    let mut text = [0; 16];
    let length = URL_SAFE_NO_PAD.encode_slice(octets::<12>(), &mut text);
    let text = length.ok().and_then(|length| text.get(..length));
    text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default().into()
}

/// A new identifier of a run of `jeton serve`: 96 random bits.
#[must_use]
pub fn replica_id() -> String {
    text::<12>()
}

/// A new client secret: 256 random bits in characters that both forms of Basic spell alike (RFC 6749 §2.3.1, §10.10).
#[must_use]
pub fn client_secret() -> Secret {
    Secret::new(text::<32>())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// RFC 7519 §4.1.7, RFC 9068 §2.2: no two tokens have the same name. [J-21]
    #[test]
    fn names_of_tokens_have_128_random_bits_and_do_not_repeat() {
        let names: HashSet<String> = (0..100_000).map(|_| token_id()).collect();
        assert_eq!(names.len(), 100_000);
        let mut ever_set = [0_u8; 16];
        let mut ever_clear = [0_u8; 16];
        for name in &names {
            let octets = URL_SAFE_NO_PAD.decode(name).expect("base64url");
            assert_eq!(octets.len(), 16);
            for ((set, clear), octet) in ever_set.iter_mut().zip(&mut ever_clear).zip(octets) {
                *set |= octet;
                *clear |= !octet;
            }
        }
        assert_eq!((ever_set, ever_clear), ([0xff; 16], [0xff; 16]), "every bit varies");
    }
}
