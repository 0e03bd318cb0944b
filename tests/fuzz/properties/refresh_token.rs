//! Refresh tokens.

use std::sync::LazyLock;

use jeton_crypto::key_lifecycle::KeyDates;
use jeton_crypto::key_set::Verified;
use jeton_crypto::refresh_keys::{RefreshKey, RefreshKeys};
use jeton_oauth::refresh_token::{RefreshTokenClaims, UnverifiedRefreshToken, encode};
use jeton_oauth::{Secret, Timestamp};

use super::{URL_SAFE, decode_base64, edited};

/// When each of the two keys begins to derive tokens.
const ACTIVATIONS: [Timestamp; 2] = [Timestamp(0), Timestamp(100)];

static KEYS: LazyLock<RefreshKeys> = LazyLock::new(|| {
    let key = |(id, activates_at): (&str, Timestamp)| {
        let dates = KeyDates { created_at: Timestamp(0), activates_at, revoked_at: None };
        let secret = id.as_bytes().repeat(32);
        let id = id.repeat(12).parse().expect("an id");
        RefreshKey::from_secret(id, dates, &secret).expect("32 octets")
    };
    RefreshKeys::new(["A", "B"].into_iter().zip(ACTIVATIONS).map(key), ACTIVATIONS[1])
});

/// The first octet of the input says what the rest is: `d` the parts of a token that is derived, `e`
/// the same with changes of the token after it. Anything else is a token as it is.
pub(super) fn check(input: &[u8]) {
    match input.split_first() {
        Some((b'd' | b'e', parts)) => check_derived(parts),
        _ => check_text(&String::from_utf8_lossy(input)),
    }
}

/// The parts: 22 characters of the session, its generation in 8 octets, one octet for the time. The
/// token is genuine and says what it was derived of; a changed one is checked as any text.
fn check_derived(parts: &[u8]) {
    let Some((session, rest)) = parts.split_at_checked(22) else { return };
    let Some((generation, rest)) = rest.split_first_chunk::<8>() else { return };
    let (at, edits) = rest.split_first().unwrap_or((&0, rest));
    let session = String::from_utf8_lossy(session).into_owned();
    let Ok(id) = session.parse() else { return };
    let claims = RefreshTokenClaims { session: id, generation: i64::from_be_bytes(*generation) };
    let derived = KEYS.derive(&claims, Timestamp(i64::from(*at)));
    let octets = decode_base64(URL_SAFE, session.as_bytes());
    assert_eq!(derived.is_ok(), octets.is_some_and(|octets| octets.len() == 16));
    let Ok(token) = derived else { return };
    assert_eq!(KEYS.verify(&token), Verified::Genuine(claims));
    check_text(token.expose());
    check_text(&edited(token.expose(), edits));
}

/// A genuine token is, octet for octet, one that is derived from what it says; and what is taken apart
/// has one spelling.
fn check_text(text: &str) {
    let verified = KEYS.verify(&Secret::new(text.to_owned()));
    if let Verified::Genuine(claims) = &verified {
        let derive = |at: Timestamp| KEYS.derive(claims, at).expect("a key and a session");
        assert!(ACTIVATIONS.into_iter().any(|at| derive(at).expose() == text), "{text}");
    }
    let octets = decode_base64(URL_SAFE, text.as_bytes());
    let has_form = octets.is_some_and(|octets| octets.len() == 66 && octets[0] == 1);
    let read = UnverifiedRefreshToken::read(text);
    assert_eq!(read.is_some(), has_form, "{text}");
    let Some(read) = read else {
        assert_eq!(verified, Verified::Forged);
        return;
    };
    let claims = RefreshTokenClaims::read(&read.message).expect("the version that there is");
    assert_eq!(claims.message(), Some(read.message));
    assert_eq!(encode(&read.key, &read.message, &read.mac).as_deref(), Some(text));
    let is_known = KEYS.keys().iter().any(|key| *key.id() == read.key);
    assert_eq!(verified == Verified::OfUnknownKey, !is_known);
}
