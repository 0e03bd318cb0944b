//! The form of a refresh token: opaque to clients (RFC 6749 §1.5), derived, never stored. `crypto/` authenticates it.
//!
//! ```text
//! version (1) ‖ key id (9) ‖ session id (16) ‖ generation (8, big endian) ‖ MAC (32)
//! ```
//!
//! 66 octets fill 88 characters of base64url exactly, so each token has only one text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::identifier::{KeyId, SessionId};

/// The only version. Another layout or another MAC gets another number.
const VERSION: u8 = 1;

/// Octets of the identifier of a refresh key.
pub const KEY_ID_LENGTH: usize = 9;
/// Octets of a session's identifier.
pub const SESSION_ID_LENGTH: usize = 16;
/// Octets of the MAC: HMAC-SHA-256 (RFC 2104).
pub const MAC_LENGTH: usize = 32;

/// What the MAC authenticates: version, session and generation.
pub type Message = [u8; MESSAGE_LENGTH];

/// Octets of a message.
pub const MESSAGE_LENGTH: usize = 1 + SESSION_ID_LENGTH + 8;

/// Octets of a token.
const LENGTH: usize = KEY_ID_LENGTH + MESSAGE_LENGTH + MAC_LENGTH;

/// The claims of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenClaims {
    /// The session that it continues.
    pub session: SessionId,
    /// How often the session had been refreshed when the token was issued.
    pub generation: i64,
}

impl RefreshTokenClaims {
    /// What the MAC authenticates; `None` if the session's identifier does not have [`SESSION_ID_LENGTH`] octets.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let session = URL_SAFE_NO_PAD.decode(self.session.as_str()).ok()?;
        let session: [u8; SESSION_ID_LENGTH] = session.try_into().ok()?;
        let mut message = [0; MESSAGE_LENGTH];
        let (version, rest) = message.split_at_mut(1);
        let (session_part, generation_part) = rest.split_at_mut(SESSION_ID_LENGTH);
        version.copy_from_slice(&[VERSION]);
        session_part.copy_from_slice(&session);
        generation_part.copy_from_slice(&self.generation.to_be_bytes());
        Some(message)
    }

    /// Reads a message; `None` if it is of another version.
    #[must_use]
    pub fn read(message: &Message) -> Option<Self> {
        let (version, rest) = message.split_first_chunk::<1>()?;
        let (session, generation) = rest.split_first_chunk::<SESSION_ID_LENGTH>()?;
        let generation = i64::from_be_bytes(generation.try_into().ok()?);
        let session = SessionId::from_octets(session);
        (*version == [VERSION]).then_some(Self { session, generation })
    }
}

/// Joins the parts of a token; `None` if the key's identifier or the MAC has another length.
#[must_use]
pub fn encode(key: &KeyId, message: &Message, mac: &[u8]) -> Option<String> {
    let key = URL_SAFE_NO_PAD.decode(key.as_str()).ok()?;
    let (version, rest) = message.split_at(1);
    let octets = [version, &key, rest, mac].concat();
    (octets.len() == LENGTH).then(|| URL_SAFE_NO_PAD.encode(octets))
}

/// A presented token, decoded but not authenticated.
#[derive(Debug)]
pub struct UnverifiedRefreshToken {
    /// The named key. It is unverified: use it only to look up the key.
    pub key: KeyId,
    /// The claimed message. Call [`RefreshTokenClaims::read`] after the MAC was verified.
    pub message: Message,
    /// The claimed MAC.
    pub mac: [u8; MAC_LENGTH],
}

impl UnverifiedRefreshToken {
    /// Decodes a token; `None` for anything that this service cannot have made.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        let octets = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = octets.split_first_chunk::<1>()?;
        let (key, rest) = rest.split_first_chunk::<KEY_ID_LENGTH>()?;
        let (said, mac) = rest.split_last_chunk::<MAC_LENGTH>()?;
        let message = [version, said].concat().try_into().ok()?;
        (*version == [VERSION]).then(|| Self { key: KeyId::from_octets(key), message, mac: *mac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_unchanged_and_has_one_text_only() {
        let key = KeyId::from_octets(&[7; KEY_ID_LENGTH]);
        let session = SessionId::from_octets(&[9; SESSION_ID_LENGTH]);
        let claims = RefreshTokenClaims { session, generation: 258 };
        let message = claims.message().expect("an identifier of 16 octets");
        let token = encode(&key, &message, &[5; MAC_LENGTH]).expect("identifiers of our own");
        assert_eq!(token.len(), 88);

        let read = UnverifiedRefreshToken::read(&token).expect("the form it was made in");
        assert_eq!((read.key, read.message, read.mac), (key, message, [5; MAC_LENGTH]));
        assert_eq!(RefreshTokenClaims::read(&read.message), Some(claims));
        for other in [format!("{token}="), format!(" {token}"), format!("{token}AAAA"), "B".into()]
        {
            assert!(UnverifiedRefreshToken::read(&other).is_none(), "{other}");
        }
        let another_version = format!("Ag{}", &token[2..]);
        assert!(UnverifiedRefreshToken::read(&another_version).is_none());
    }
}
