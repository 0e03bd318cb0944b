//! Refresh tokens taken apart, as no client may.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What stands in a refresh token: version, key, session, generation, authentication code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// The session, as in the `sid` of its access tokens.
    pub(crate) sid: String,
    /// How often the session had been refreshed when the token was issued.
    pub(crate) generation: i64,
}

impl RefreshToken {
    #[track_caller]
    pub(crate) fn read(token: &str) -> Self {
        let octets = URL_SAFE_NO_PAD.decode(token).expect("base64url without padding");
        assert_eq!((octets.len(), octets[0]), (66, 1), "{token}");
        let generation = octets[26..34].try_into().expect("eight octets");
        Self {
            sid: URL_SAFE_NO_PAD.encode(&octets[10..26]),
            generation: i64::from_be_bytes(generation),
        }
    }
}

/// The form of a refresh request.
pub(crate) fn refresh_form(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={token}")
}
