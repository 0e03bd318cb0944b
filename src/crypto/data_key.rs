//! Stored hashes under a data key: those of passwords, and those of client secrets that came from another service.
//!
//! A data key is 256 random bits, which the database holds sealed under the master key (`sealing`) and, unless that was
//! declined, for an offline recovery key (`recovery`). A stored hash, in whatever format, is encrypted with AES-256-GCM
//! under a key that HKDF (RFC 5869) derives from it. The column and whose hash it is are additional data, so a sealed hash
//! cannot be moved to another user or client. All are padded to one length, so their size tells nothing of their formats.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::random;
use jeton_oauth::{ClientId, KeyId, Secret, UserId};

/// The beginning of a sealed hash: `$sealed$kid$`, then nonce, ciphertext and authentication tag in base64url.
const SEALED: &str = "$sealed$";

/// What the derived key is for (RFC 5869 §3.2).
const PASSWORD_HASHES: &[u8] = b"jeton users.password_hash";

const KEY_LENGTH: usize = 32;

const NONCE_LENGTH: usize = 12;

const TAG_LENGTH: usize = 16;

/// A hash is filled with zeros to this many octets. The longest that this service stores is a wrapped Argon2 hash of
/// Spring with a salt and an output of 64 octets, which has 357; only scrypt of Firebase could have more, with longer
/// salts than Firebase makes. A longer text is filled to a multiple of this.
const PADDED_LENGTH: usize = 384;

/// A secret has the wrong length for a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it has {0} octets instead of {KEY_LENGTH}")]
pub struct WrongLength(usize);

/// Why a sealed hash cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealedHashError {
    /// Its data key is not open here.
    #[error("it is sealed under the data key {0}, which is not open here")]
    KeyMissing(KeyId),
    /// It was damaged or altered, or is that of another user or client.
    #[error("it was altered, or is that of another user or client")]
    Altered,
}

/// Whose hash it is. It opens for nobody else.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The hash is that of a user's password.
    User(&'a UserId),
    /// The hash is that of a client's secret.
    Client(&'a ClientId),
}

impl<'a> From<&'a UserId> for Owner<'a> {
    fn from(id: &'a UserId) -> Self {
        Self::User(id)
    }
}

impl<'a> From<&'a ClientId> for Owner<'a> {
    fn from(id: &'a ClientId) -> Self {
        Self::Client(id)
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(formatter, "the user with the sub {id}"),
            Self::Client(id) => write!(formatter, "the client {id}"),
        }
    }
}

impl Owner<'_> {
    /// The additional data: the column, and whose row it is.
    fn context(self) -> Vec<u8> {
        match self {
            Self::User(id) => [b"users.password_hash\0", id.as_str().as_bytes()].concat(),
            Self::Client(id) => [b"client_secrets.secret_hash\0", id.as_str().as_bytes()].concat(),
        }
    }
}

/// A data key, which seals and opens stored hashes.
#[derive(Clone)]
pub struct DataKey {
    id: KeyId,
    secret: Zeroizing<[u8; KEY_LENGTH]>,
    /// Encrypts hashes.
    derived: Zeroizing<[u8; KEY_LENGTH]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl DataKey {
    /// Makes a new key.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(random::refresh_key_id(), Zeroizing::new(random::octets()))
    }

    /// Builds a key from its secret.
    ///
    /// # Errors
    /// The secret has another length.
    pub fn from_secret(id: KeyId, secret: &[u8]) -> Result<Self, WrongLength> {
        let octets = secret.try_into().map_err(|_| WrongLength(secret.len()))?;
        Ok(Self::new(id, Zeroizing::new(octets)))
    }

    fn new(id: KeyId, secret: Zeroizing<[u8; KEY_LENGTH]>) -> Self {
        let mut derived = Zeroizing::new([0; KEY_LENGTH]);
        let length = Hkdf::<Sha256>::new(None, &*secret).expand(PASSWORD_HASHES, &mut *derived);
        length.expect("HKDF gives up to 8160 octets");
        Self { id, secret, derived }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The 256 bits, to be sealed.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &*self.secret
    }

    /// The key as a JWK, to be sealed for recovery.
    #[must_use]
    pub fn to_jwk(&self) -> Zeroizing<Vec<u8>> {
        let k = URL_SAFE_NO_PAD.encode(*self.secret);
        let jwk = Jwk { kty: "oct".to_owned(), kid: self.id.to_string(), k };
        Zeroizing::new(serde_json::to_vec(&jwk).expect("strings are JSON"))
    }

    /// Reads what [`Self::to_jwk`] wrote.
    #[must_use]
    pub fn from_jwk(text: &[u8]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_slice(text).ok()?;
        let secret = URL_SAFE_NO_PAD.decode(&jwk.k).map(Zeroizing::new).ok()?;
        Self::from_secret(jwk.kid.parse().ok()?, &secret).ok()
    }

    /// Seals the hash of a user or client.
    #[must_use]
    pub fn seal<'a>(&self, owner: impl Into<Owner<'a>>, hash: &Secret) -> Secret {
        let hash = hash.expose().as_bytes();
        let mut padded = Zeroizing::new(hash.to_vec());
        padded.resize(hash.len().next_multiple_of(PADDED_LENGTH).max(PADDED_LENGTH), 0);
        let nonce: [u8; NONCE_LENGTH] = random::octets();
        let mut tag = [0; TAG_LENGTH];
        let sealed = encrypt_aead(
            Cipher::aes_256_gcm(),
            &*self.derived,
            Some(&nonce),
            &owner.into().context(),
            &padded,
            &mut tag,
        );
        let sealed = sealed.expect("AES-GCM does not fail");
        let octets = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed, &tag].concat());
        Secret::new(beginning(&self.id) + &octets)
    }

    /// Opens octets that were sealed: nonce, ciphertext and tag.
    fn open(&self, owner: Owner<'_>, octets: &[u8]) -> Option<Secret> {
        let (nonce, rest) = octets.split_at_checked(NONCE_LENGTH)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LENGTH)?)?;
        let cipher = Cipher::aes_256_gcm();
        let context = owner.context();
        let opened =
            decrypt_aead(cipher, &*self.derived, Some(nonce), &context, sealed, tag).ok()?;
        let opened = Zeroizing::new(opened);
        let text = std::str::from_utf8(&opened).ok()?;
        Some(Secret::new(text.trim_end_matches('\0').to_owned()))
    }
}

/// A data key as a recovery key seals it: a JWK (RFC 7518 §6.4).
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    k: String,
}

impl Drop for Jwk {
    fn drop(&mut self) {
        self.k.zeroize();
    }
}

/// The name of the data key that a stored text is sealed under, as the text claims; `None` for a text that is not
/// sealed.
#[must_use]
pub fn sealed_under(stored: &Secret) -> Option<KeyId> {
    parts(stored).map(|(id, _)| id)
}

/// How every hash begins that a data key sealed.
#[must_use]
pub fn beginning(id: &KeyId) -> String {
    format!("{SEALED}{id}$")
}

/// Whether a stored text is sealed, or begins like one that is.
#[must_use]
pub fn is_sealed(stored: &str) -> bool {
    stored.starts_with(SEALED)
}

fn parts(stored: &Secret) -> Option<(KeyId, &str)> {
    let (id, octets) = stored.expose().strip_prefix(SEALED)?.split_once('$')?;
    Some((id.parse().ok()?, octets))
}

/// The data keys that are open here.
#[derive(Clone, Debug, Default)]
pub struct DataKeys(Vec<DataKey>);

impl DataKeys {
    /// These keys.
    #[must_use]
    pub fn new(keys: Vec<DataKey>) -> Self {
        Self(keys)
    }

    /// The key of this name.
    #[must_use]
    pub fn find(&self, id: &KeyId) -> Option<&DataKey> {
        self.0.iter().find(|key| key.id == *id)
    }

    /// The hash in a stored text of a user or client. A text that is not sealed is the hash.
    ///
    /// # Errors
    /// [`SealedHashError`].
    pub fn open<'a>(
        &self,
        owner: impl Into<Owner<'a>>,
        stored: &Secret,
    ) -> Result<Secret, SealedHashError> {
        if !is_sealed(stored.expose()) {
            return Ok(stored.clone());
        }
        let (id, octets) = parts(stored).ok_or(SealedHashError::Altered)?;
        let key = self.find(&id).ok_or(SealedHashError::KeyMissing(id))?;
        let octets = URL_SAFE_NO_PAD.decode(octets).map_err(|_| SealedHashError::Altered)?;
        key.open(owner.into(), &octets).ok_or(SealedHashError::Altered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::PasswordHash;

    fn user(text: &str) -> UserId {
        text.parse().expect("a sub")
    }

    fn client(text: &str) -> ClientId {
        text.parse().expect("a client_id")
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_sealed_hash_opens_only_for_its_user_and_under_its_key() {
        let (key, other) = (DataKey::generate(), DataKey::generate());
        let hash = secret("$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW");
        let sealed = key.seal(&user("a"), &hash);
        let again = key.seal(&user("a"), &hash);
        assert_ne!(sealed.expose(), again.expose(), "the nonce is random");
        assert_eq!(sealed_under(&sealed).as_ref(), Some(key.id()));
        assert_eq!(sealed_under(&hash), None);

        let both = DataKeys::new(vec![other.clone(), key.clone()]);
        assert_eq!(both.open(&user("a"), &sealed).expect("it opens").expose(), hash.expose());
        assert_eq!(both.open(&user("a"), &hash).expect("it is open").expose(), hash.expose());
        assert_eq!(both.open(&user("b"), &sealed).err(), Some(SealedHashError::Altered));
        assert_eq!(both.open(&client("a"), &sealed).err(), Some(SealedHashError::Altered));
        let of_client = key.seal(&client("a"), &hash);
        assert_eq!(both.open(&client("a"), &of_client).expect("it opens").expose(), hash.expose());
        assert_eq!(both.open(&client("b"), &of_client).err(), Some(SealedHashError::Altered));
        assert_eq!(both.open(&user("a"), &of_client).err(), Some(SealedHashError::Altered));
        let missing = SealedHashError::KeyMissing(key.id().clone());
        assert_eq!(DataKeys::new(vec![other]).open(&user("a"), &sealed).err(), Some(missing));
        let of_same_name = DataKey::from_secret(key.id().clone(), &[7; 32]).expect("256 bits");
        let opened = DataKeys::new(vec![of_same_name]).open(&user("a"), &sealed);
        assert_eq!(opened.err(), Some(SealedHashError::Altered));
        for cut in SEALED.len()..sealed.expose().len() {
            assert!(both.open(&user("a"), &secret(&sealed.expose()[..cut])).is_err(), "{cut}");
        }
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.id().to_string()) && shown.len() < 60, "{shown}");
        assert!(DataKey::from_secret(key.id().clone(), b"short").is_err());
    }

    /// Every format that is read, with the longest salt and output that are, and wrapped by this service.
    #[test]
    fn all_sealed_hashes_have_one_length_and_parse_as_no_hash() {
        let key = DataKey::generate();
        let octets = "A".repeat(86);
        let outer = format!("$scrypt-over$ln=17,r=8,p=1${}${}$", "A".repeat(22), "A".repeat(43));
        let longest = [
            format!(
                "{{argon2@SpringSecurity_v5_8}}$argon2id$v=19$m=16383,t=4294967295,p=1${octets}${octets}"
            ),
            format!("pbkdf2:sha512:4294967295${}${}", "s".repeat(64), "a".repeat(128)),
            format!("$pbkdf2-sha512$4294967295${octets}${octets}"),
            "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW".to_owned(),
        ];
        let wrapped = longest.iter().map(|inner| format!("{outer}{inner}"));
        let texts: Vec<String> = longest.iter().cloned().chain(wrapped).collect();
        for text in &texts {
            assert!(text.len() <= PADDED_LENGTH, "{} {text}", text.len());
            let sealed = key.seal(&user("a"), &secret(text));
            assert_eq!(sealed.expose().len(), 571, "{text}");
            assert!(PasswordHash::parse(sealed.expose(), u64::MAX).is_err());
        }
        let longer = key.seal(&user("a"), &secret(&"x".repeat(PADDED_LENGTH + 1)));
        assert_eq!(longer.expose().len(), 571 + PADDED_LENGTH * 4 / 3);
        let keys = DataKeys::new(vec![key]);
        let opened = keys.open(&user("a"), &longer).expect("it opens");
        assert_eq!(opened.expose().len(), PADDED_LENGTH + 1);
    }
}
