//! Refresh tokens taken apart, as no client may.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::percent_encode;

/// A refresh token, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    pub(crate) version: u8,
    pub(crate) key: Vec<u8>,
    /// As in the claim `sid`.
    pub(crate) session: String,
    pub(crate) generation: i64,
    pub(crate) mac: Vec<u8>,
}

impl RefreshToken {
    /// Takes a token apart: 1 octet of version, 9 of key id, 16 of session, 8 of generation, 32 of
    /// authentication code.
    #[track_caller]
    pub(crate) fn of(token: &str) -> Self {
        assert_eq!(token.len(), 88, "{token}");
        let octets = URL_SAFE_NO_PAD.decode(token).expect("base64url without padding");
        Self {
            version: octets[0],
            key: octets[1..10].to_vec(),
            session: URL_SAFE_NO_PAD.encode(&octets[10..26]),
            generation: i64::from_be_bytes(octets[26..34].try_into().expect("8 octets")),
            mac: octets[34..].to_vec(),
        }
    }

    /// Puts a token together again.
    pub(crate) fn join(&self) -> String {
        let session = URL_SAFE_NO_PAD.decode(&self.session).expect("base64url");
        let generation = self.generation.to_be_bytes();
        let parts = [&[self.version][..], &self.key, &session, &generation, &self.mac];
        URL_SAFE_NO_PAD.encode(parts.concat())
    }
}

/// The form of a refresh request.
pub(crate) fn refresh_form(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={}", percent_encode(token))
}
