//! Refresh tokens. They are derived from session and generation with a refresh key (HMAC-SHA-256). So none is stored,
//! and a forged one is refused before the database is asked.
//!
//! The time at which a session reached a generation decides which key derives the token. So every replica answers a
//! retry with the same octets, before and after a rotation of keys.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::key_lifecycle::KeyDates;
use super::key_set::Verified;
use super::random;
use jeton_oauth::lifetime::SESSION_LIFETIME_MAX;
use jeton_oauth::refresh_token::{self, Message, RefreshTokenClaims, UnverifiedRefreshToken};
use jeton_oauth::{KeyId, Secret, Timestamp};

const KEY_LENGTH: usize = 32;

/// A secret has the wrong length for a refresh key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it has {0} octets instead of {KEY_LENGTH}")]
pub struct WrongLength(usize);

/// Why a refresh token cannot be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DeriveError {
    /// The session's identifier is not of this service's form.
    #[error("the session has an identifier of another form")]
    Session,
    /// There is no key.
    #[error("there is no refresh key")]
    NoKey,
    /// The key's identifier is not of this service's form.
    #[error("the refresh key has an identifier of another form")]
    Key,
}

/// A key that derives and authenticates refresh tokens.
#[derive(Clone)]
pub struct RefreshKey {
    id: KeyId,
    dates: KeyDates,
    /// HMAC with this key; each MAC is computed by a copy of it. `None` if the key cannot be opened here.
    mac: Option<Hmac<Sha256>>,
}

impl std::fmt::Debug for RefreshKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RefreshKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Makes a new key: its identifier and its secret, 256 random bits.
#[must_use]
pub fn generate() -> (KeyId, Zeroizing<Vec<u8>>) {
    (random::refresh_key_id(), Zeroizing::new(random::octets::<KEY_LENGTH>().to_vec()))
}

impl RefreshKey {
    /// Builds a key from its secret.
    ///
    /// # Errors
    /// The secret has another length.
    pub fn from_secret(id: KeyId, dates: KeyDates, secret: &[u8]) -> Result<Self, WrongLength> {
        let wrong = WrongLength(secret.len());
        if secret.len() != KEY_LENGTH {
            return Err(wrong);
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| wrong)?;
        Ok(Self { id, dates, mac: Some(mac) })
    }

    /// A key that cannot be opened here, so that only its identifier and dates are known.
    #[must_use]
    pub fn closed(id: KeyId, dates: KeyDates) -> Self {
        Self { id, dates, mac: None }
    }

    /// Whether it can derive and authenticate.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.mac.is_some()
    }

    /// The key's identifier.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The same key with the dates that its row has now.
    #[must_use]
    pub fn dated(self, dates: KeyDates) -> Self {
        Self { dates, ..self }
    }

    fn authenticate(&self, message: &Message) -> Option<Hmac<Sha256>> {
        let mut mac = self.mac.clone()?;
        mac.update(message);
        Some(mac)
    }
}

/// Whether a key is of use at this time: it was not revoked, and a session whose token it derived may still be alive.
/// Such sessions end at most [`SESSION_LIFETIME_MAX`] after the key was superseded.
#[must_use]
pub fn is_of_use(key: KeyDates, all: impl IntoIterator<Item = KeyDates>, now: Timestamp) -> bool {
    let live = all.into_iter().filter(|other| other.revoked_at.is_none());
    let superseded_at =
        live.map(|other| other.activates_at).filter(|at| *at > key.activates_at).min();
    key.revoked_at.is_none() && superseded_at.is_none_or(|at| now < at.after(SESSION_LIFETIME_MAX))
}

/// The refresh keys in memory.
#[derive(Clone, Debug, Default)]
pub struct RefreshKeys(Vec<RefreshKey>);

impl RefreshKeys {
    /// Keeps the keys that are of use at this time.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = RefreshKey>, now: Timestamp) -> Self {
        let keys: Vec<RefreshKey> = keys.into_iter().collect();
        let all: Vec<KeyDates> = keys.iter().map(|key| key.dates).collect();
        let is_good = |key: &RefreshKey| is_of_use(key.dates, all.iter().copied(), now);
        Self(keys.into_iter().filter(is_good).collect())
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[RefreshKey] {
        &self.0
    }

    /// Whether any key can derive.
    #[must_use]
    pub fn can_derive(&self) -> bool {
        self.0.iter().any(RefreshKey::is_open)
    }

    /// Derives the token of a session that reached this generation at `refreshed_at`. If the key of that time cannot be
    /// opened here, the newest older key that can be is used: as good, but a retry elsewhere gets another text.
    ///
    /// # Errors
    /// There is no key, or the session's identifier is not of this service's form.
    pub fn derive(
        &self,
        claims: &RefreshTokenClaims,
        refreshed_at: Timestamp,
    ) -> Result<Secret, DeriveError> {
        let open = || self.0.iter().filter(|key| key.is_open());
        let active = open().filter(|key| key.dates.activates_at <= refreshed_at);
        let key = active
            .max_by_key(|key| key.dates.activates_at)
            // A clock that is behind may see no active key yet.
            .or_else(|| open().min_by_key(|key| key.dates.activates_at));
        let message = claims.message().ok_or(DeriveError::Session)?;
        let (key, mac) = key
            .and_then(|key| Some((key, key.authenticate(&message)?.finalize().into_bytes())))
            .ok_or(DeriveError::NoKey)?;
        refresh_token::encode(&key.id, &message, &mac).map(Secret::new).ok_or(DeriveError::Key)
    }

    /// Verifies a presented token. The MAC is compared in constant time.
    #[must_use]
    pub fn verify(&self, token: &Secret) -> Verified<RefreshTokenClaims> {
        let Some(token) = UnverifiedRefreshToken::read(token.expose()) else {
            return Verified::Forged;
        };
        let Some(key) = self.0.iter().find(|key| key.id == token.key) else {
            return Verified::OfUnknownKey;
        };
        if !key.is_open() {
            return Verified::OfClosedKey;
        }
        let mac = key.authenticate(&token.message);
        let genuine = mac.is_some_and(|mac| mac.verify_slice(&token.mac).is_ok());
        let claims = RefreshTokenClaims::read(&token.message).filter(|_| genuine);
        claims.map_or(Verified::Forged, Verified::Genuine)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use jeton_oauth::Seconds;

    fn key(activates_at: i64) -> RefreshKey {
        let (id, secret) = generate();
        let activates_at = Timestamp(activates_at);
        let dates = KeyDates { created_at: Timestamp(0), activates_at, revoked_at: None };
        RefreshKey::from_secret(id, dates, &secret).expect("a key of the right length")
    }

    /// RFC 6749 §10.10: 256 bits that nobody can guess, and no two tokens are alike. [TR-24]
    #[test]
    fn tokens_do_not_repeat() {
        let keys = RefreshKeys::new([key(0)], Timestamp(0));
        let derive = |session, generation| {
            let claims = RefreshTokenClaims { session, generation };
            keys.derive(&claims, Timestamp(1)).expect("a key").expose().to_owned()
        };
        let session = random::session_id();
        let of_one = (0..50_000).map(|generation| derive(session.clone(), generation));
        let of_many = (0..50_000).map(|_| derive(random::session_id(), 0));
        assert_eq!(of_one.chain(of_many).collect::<HashSet<_>>().len(), 100_000);
    }

    #[test]
    fn a_token_is_derived_with_the_key_of_its_time_and_verified_with_any() {
        let (old, new) = (key(0), key(100));
        let claims = RefreshTokenClaims { session: random::session_id(), generation: 3 };
        let now = Timestamp(100);
        let before = RefreshKeys::new([old.clone()], now);
        let both = RefreshKeys::new([old.clone(), new.clone()], now);
        let derive = |keys: &RefreshKeys, at| keys.derive(&claims, Timestamp(at)).expect("a key");

        assert_eq!(derive(&before, 99).expose(), derive(&both, 99).expose());
        assert_ne!(derive(&both, 99).expose(), derive(&both, 100).expose());
        assert_eq!(derive(&both, -1).expose(), derive(&before, 0).expose(), "a clock behind");
        for at in [0, 99, 100] {
            let genuine = Verified::Genuine(claims.clone());
            assert_eq!(both.verify(&derive(&both, at)), genuine);
        }
        let of_new = derive(&both, 100);
        assert_eq!(before.verify(&of_new), Verified::OfUnknownKey);

        let revoked_at = Some(Timestamp(100).after(Seconds::new(1)));
        let withdrawn = new.clone().dated(KeyDates { revoked_at, ..new.dates });
        let left = RefreshKeys::new([old.clone(), withdrawn], now);
        assert_eq!(left.verify(&of_new), Verified::OfUnknownKey);
        let of_old = derive(&both, 0);
        for (last, held) in [(Timestamp(99), true), (now, false)] {
            let at = last.after(SESSION_LIFETIME_MAX);
            let keys = RefreshKeys::new([old.clone(), new.clone()], at);
            assert_eq!(keys.verify(&of_old) != Verified::OfUnknownKey, held);
        }

        let closed = RefreshKey::closed(new.id.clone(), new.dates);
        let half = RefreshKeys::new([old.clone(), closed.clone()], now);
        assert_eq!(half.verify(&of_new), Verified::OfClosedKey);
        assert_eq!(half.verify(&of_old), Verified::Genuine(claims.clone()));
        assert_eq!(derive(&half, 100).expose(), of_old.expose(), "the key before");
        let none = RefreshKeys::new([closed], now);
        assert!(half.can_derive() && !none.can_derive());
        assert!(none.derive(&claims, now).is_err());
        assert!(RefreshKeys::default().derive(&claims, Timestamp(0)).is_err());
    }
}
