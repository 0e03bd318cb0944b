//! The signing keys in memory: one that signs, those that verify, and the published set (RFC 7517 §5) as octets.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::key_lifecycle::{self, KeyDates, KeyState, Schedule};
use super::signing::{PublicJwk, SigningKey, SigningKeyError};
use super::verified_tokens::{VerifiedTokens, digest_of};
use jeton_oauth::access_token::{self, AccessTokenClaims, UnverifiedToken};
use jeton_oauth::{Issuer, KeyId, Timestamp};

/// A key, as far as it could be opened.
#[derive(Clone, Debug)]
pub enum HeldKey {
    /// Both halves.
    Whole(Arc<SigningKey>),
    /// Its name. The public half in the database is not trusted: only the master key proves whose key it is.
    Name(KeyId),
}

impl HeldKey {
    /// The name.
    #[must_use]
    pub fn kid(&self) -> &KeyId {
        match self {
            Self::Whole(key) => &key.public().kid,
            Self::Name(kid) => kid,
        }
    }

    /// The key, if it can sign.
    #[must_use]
    pub fn whole(&self) -> Option<&Arc<SigningKey>> {
        match self {
            Self::Whole(key) => Some(key),
            Self::Name(_) => None,
        }
    }

    fn public(&self) -> Option<&PublicJwk> {
        match self {
            Self::Whole(key) => Some(key.public()),
            Self::Name(_) => None,
        }
    }

    /// Whether the key made this signature over the message; `None` if this replica cannot tell.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        match self {
            Self::Whole(key) => Some(key.verify(message, signature)),
            Self::Name(_) => None,
        }
    }
}

/// A key with its dates.
#[derive(Clone, Debug)]
pub struct DatedKey {
    /// The key.
    pub key: HeldKey,
    /// Its dates.
    pub dates: KeyDates,
}

/// The key that signs.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Its dates.
    pub dates: KeyDates,
    /// When it leaves the key set, if that is known. No token that it signs may live longer.
    pub gone_at: Option<Timestamp>,
}

impl Signer {
    /// Signs an access token.
    ///
    /// # Errors
    /// OpenSSL ran out of memory.
    pub fn sign(&self, claims: &AccessTokenClaims) -> Result<String, SigningKeyError> {
        let input = access_token::signing_input(self.key.header(claims.typ), claims);
        let signature = self.key.sign(input.as_bytes())?;
        Ok(access_token::attach_signature(input, &signature))
    }
}

/// The verdict on a presented token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified<T> {
    /// This service made it. These are its claims.
    Genuine(T),
    /// It names a key that is not here. Only somebody who knows every key can say whether it is genuine.
    OfUnknownKey,
    /// It names a key that exists but cannot be opened here. Another replica may be able to tell.
    OfClosedKey,
    /// This service did not make it, or it has expired.
    Forged,
}

impl<T> Verified<T> {
    /// The claims, if the token is genuine.
    #[must_use]
    pub fn genuine(self) -> Option<T> {
        match self {
            Self::Genuine(says) => Some(says),
            Self::OfUnknownKey | Self::OfClosedKey | Self::Forged => None,
        }
    }
}

/// The keys at one moment.
#[derive(Debug)]
pub struct KeySet {
    /// The key that signs. It is one of `published`.
    signing: Option<Signer>,
    published: HashMap<KeyId, PublishedKey>,
    states: Vec<KeyState>,
    jwks: Vec<u8>,
}

/// A published key, and the tokens that it was seen to have signed. They are forgotten with the key, when it is revoked
/// or its life has ended.
#[derive(Debug)]
struct PublishedKey {
    key: HeldKey,
    verified: Arc<VerifiedTokens>,
}

#[derive(Serialize)]
struct JwkSet<'a> {
    keys: Vec<&'a PublicJwk>,
}

impl KeySet {
    /// Sorts the keys by their states at this moment. `before` is the key set that this process has used until now.
    ///
    /// If the key whose turn it is to sign cannot be opened here, the newest key before it that can be opened signs on
    /// while it is published, because verifiers have it. A revoked key never signs.
    #[must_use]
    pub fn new(
        keys: &[DatedKey],
        now: Timestamp,
        schedule: &Schedule,
        before: Option<&Self>,
    ) -> Self {
        let dates: Vec<KeyDates> = keys.iter().map(|key| key.dates).collect();
        let signed_last = before.and_then(Self::signing).map(|key| key.dates.activates_at);
        let lives = key_lifecycle::lives(&dates, now, schedule, signed_last);
        let states: Vec<KeyState> = lives.iter().map(|life| life.state).collect();
        let published = keys.iter().zip(&states).filter(|(_, state)| **state != KeyState::Gone);
        let published = published.map(|(key, _)| &key.key);
        let set = JwkSet { keys: published.clone().filter_map(HeldKey::public).collect() };
        let jwks = serde_json::to_vec(&set).expect("a key set is JSON");
        let published = published.map(|key| {
            let known = before.and_then(|before| before.published.get(key.kid()));
            let verified = known.map(|known| Arc::clone(&known.verified)).unwrap_or_default();
            (key.kid().clone(), PublishedKey { key: key.clone(), verified })
        });
        let published = published.collect();
        let signing = keys.iter().zip(&lives).filter_map(|(key, life)| {
            let signs = matches!(life.state, KeyState::Signing | KeyState::Verifying);
            let signer = |key: &Arc<SigningKey>, dates| Signer {
                key: Arc::clone(key),
                dates,
                gone_at: life.gone_at,
            };
            key.key.whole().filter(|_| signs).map(|whole| signer(whole, key.dates))
        });
        let signing = signing.max_by_key(|signer| signer.dates.activates_at);
        Self { signing, published, states, jwks }
    }

    /// The published key set (RFC 7517 §5), as JSON.
    #[must_use]
    pub fn jwks(&self) -> &[u8] {
        &self.jwks
    }

    /// The key that signs now, if there is one.
    #[must_use]
    pub fn signing(&self) -> Option<&Signer> {
        self.signing.as_ref()
    }

    /// How many keys are in a state.
    #[must_use]
    pub fn count(&self, state: KeyState) -> usize {
        self.states.iter().filter(|own| **own == state).count()
    }

    /// Verifies form, key, signature, issuer and lifetime of an access token (RFC 9068 §4). It does not check whether
    /// the token is for the caller or whether its session is alive.
    #[must_use]
    pub fn verify(
        &self,
        token: &str,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Verified<AccessTokenClaims> {
        let Some(read) = UnverifiedToken::read(token) else { return Verified::Forged };
        let Some(published) = self.published.get(&read.key) else { return Verified::OfUnknownKey };
        match published.key.verify(read.signing_input, &read.signature) {
            Some(true) => published.verified.remember(digest_of(token)),
            Some(false) => return Verified::Forged,
            None => return Verified::OfClosedKey,
        }
        good_claims(&read, issuer, now).map_or(Verified::Forged, Verified::Genuine)
    }

    /// Like [`Self::verify`], if the token's signature is remembered as good. `None` says nothing about any other.
    #[must_use]
    pub fn recall(
        &self,
        token: &str,
        issuer: &Issuer,
        now: Timestamp,
    ) -> Option<AccessTokenClaims> {
        let read = UnverifiedToken::read(token)?;
        let published = self.published.get(&read.key)?;
        let known = published.verified.knows(&digest_of(token));
        known.then(|| good_claims(&read, issuer, now)).flatten()
    }
}

/// The claims of a token with a good signature, if this issuer made it and it has not expired.
fn good_claims(
    token: &UnverifiedToken<'_>,
    issuer: &Issuer,
    now: Timestamp,
) -> Option<AccessTokenClaims> {
    // The same clock issued the token and reads it, so there is no leeway (RFC 7519 §4.1.4).
    token.claims().filter(|claims| claims.iss == issuer.as_str() && now < claims.exp)
}
