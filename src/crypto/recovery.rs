//! Sealing for an offline recovery key, in the format of age, version 1 (<https://c2sp.org/age>), with X25519 recipients.
//!
//! Whoever sealed something needs only the recipient (`age1…`), and cannot open it. The identity
//! (`AGE-SECRET-KEY-1…`), which `age-keygen` makes, opens it, here and with the program `age`. The text is armored, so
//! it can be copied out of a database as it is. The primitives are OpenSSL's. docs/decisions.md says why not the crate `age`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use openssl::derive::Deriver;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::random;

/// The first line of the header.
const VERSION: &str = "age-encryption.org/v1";
/// The beginning of the stanza of a recipient, and what its key is derived for.
const STANZA: &str = "-> X25519 ";

const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";

const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

const ARMOR_END: &str = "-----END AGE ENCRYPTED FILE-----";

const POINT_LENGTH: usize = 32;

const FILE_KEY_LENGTH: usize = 16;

const PAYLOAD_NONCE_LENGTH: usize = 16;

const TAG_LENGTH: usize = 16;

/// A payload has chunks of this many octets. What is sealed here fits in one.
const CHUNK_LENGTH: usize = 64 << 10;
/// The nonce of the first chunk, if it is the last one.
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// A text is no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecipientError {
    /// It is an identity, which belongs off this machine.
    #[error(
        "this is the secret half, which opens: give the line that begins with `age1`, and keep this one off this \
         machine"
    )]
    Identity,
    /// It is a recipient of another kind.
    #[error(
        "this is a recipient of another kind than X25519, which is the only one that is known here: give one of \
         `age1` and 58 more characters, as `age-keygen` prints it without options"
    )]
    OtherKind,
    /// It is something else.
    #[error("a recipient is `age1` and 58 more characters, as `age-keygen` prints it")]
    Malformed,
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecoveryError {
    /// A file contains no identity.
    #[error("it has no line that begins with `AGE-SECRET-KEY-1`, as `age-keygen` writes it")]
    NoIdentity,
    /// A file is itself encrypted, perhaps with a passphrase.
    #[error(
        "it is encrypted, perhaps with a passphrase: open it first, as with `age -d FILE | jeton key recover --identity - \
         --yes`"
    )]
    Encrypted,
    /// A file contains an identity of another kind.
    #[error(
        "it has an identity of another kind than X25519, which is the only one that is known here"
    )]
    OtherKind,
    /// It was sealed for others.
    #[error("it was sealed for another recovery key")]
    OtherRecipient,
    /// It was damaged or altered.
    #[error("it was damaged or altered")]
    Altered,
}

/// Who can open what is sealed: the public half of a recovery key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    text: String,
    point: [u8; POINT_LENGTH],
}

impl Recipient {
    fn hrp() -> Hrp {
        Hrp::parse_unchecked("age")
    }

    fn of(point: [u8; POINT_LENGTH]) -> Self {
        let text = bech32::encode::<Bech32>(Self::hrp(), &point).expect("32 octets are few enough");
        Self { text, point }
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        if text.starts_with("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") {
            return Err(RecipientError::Identity);
        }
        // Post-quantum ones are longer than what Bech32 is read in.
        let begins_otherwise = ["ssh-", "age1pq1"].iter().any(|kind| text.starts_with(kind));
        let is_of_plugin = || bech32::decode(text).is_ok_and(|(hrp, _)| hrp != Self::hrp());
        if begins_otherwise || is_of_plugin() {
            return Err(RecipientError::OtherKind);
        }
        let point = decode(text, Self::hrp()).ok_or(RecipientError::Malformed)?;
        let recipient = Self::of(*point);
        let is_lower_case = recipient.text == text;
        // A point of low order would let everybody open what is sealed.
        let agrees = new_share(&recipient.point).is_ok();
        (is_lower_case && agrees).then_some(recipient).ok_or(RecipientError::Malformed)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What opens: the private half of a recovery key.
pub struct Identity {
    secret: PKey<Private>,
    recipient: Recipient,
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identity({})", self.recipient)
    }
}

impl Identity {
    /// Reads the first identity of a file, as `age-keygen` writes it. Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// [`RecoveryError::NoIdentity`], [`RecoveryError::Encrypted`] or [`RecoveryError::OtherKind`].
    pub fn read(file: &[u8]) -> Result<Self, RecoveryError> {
        let encrypted = [ARMOR_BEGIN, VERSION].map(str::as_bytes);
        if encrypted.iter().any(|begin| file.trim_ascii_start().starts_with(begin)) {
            return Err(RecoveryError::Encrypted);
        }
        let file = std::str::from_utf8(file).map_err(|_| RecoveryError::NoIdentity)?;
        let mut lines = file.lines().map(str::trim);
        let line = lines.clone().find(|line| line.starts_with("AGE-SECRET-KEY-1"));
        let of_other_kind = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "-----BEGIN OPENSSH"];
        if line.is_none()
            && lines.any(|line| of_other_kind.iter().any(|kind| line.starts_with(kind)))
        {
            return Err(RecoveryError::OtherKind);
        }
        let hrp = Hrp::parse_unchecked("age-secret-key-");
        let octets = line.and_then(|line| decode(line, hrp)).ok_or(RecoveryError::NoIdentity)?;
        let read = || {
            let secret = PKey::private_key_from_raw_bytes(&*octets, Id::X25519)?;
            let point = secret.raw_public_key()?;
            Ok::<_, ErrorStack>((secret, point))
        };
        let (secret, point) = read().map_err(|_| RecoveryError::NoIdentity)?;
        let point = point.try_into().map_err(|_| RecoveryError::NoIdentity)?;
        Ok(Self { secret, recipient: Recipient::of(point) })
    }

    /// Its public half.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Opens what was sealed for this key, perhaps among others.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub fn open(&self, armored: &str) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
        let octets = remove_armor(armored).ok_or(RecoveryError::Altered)?;
        let sealed = Sealed::read(&octets).ok_or(RecoveryError::Altered)?;
        let keys = sealed.stanzas.iter().filter_map(|(share, wrapped)| self.unwrap(share, wrapped));
        let file_key = keys.into_iter().next().ok_or(RecoveryError::OtherRecipient)?;
        let is_genuine: bool = header_mac(&file_key, sealed.header).ct_eq(&sealed.mac).into();
        if !is_genuine {
            return Err(RecoveryError::Altered);
        }
        let (nonce, chunk) =
            sealed.payload.split_at_checked(PAYLOAD_NONCE_LENGTH).ok_or(RecoveryError::Altered)?;
        let key = derive(&file_key, nonce, b"payload");
        open(&*key, &ONLY_CHUNK, chunk).ok_or(RecoveryError::Altered)
    }

    /// The file key in a stanza; `None` if the stanza is another recipient's.
    fn unwrap(&self, share: &[u8; POINT_LENGTH], wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let shared = agree(&self.secret, share).ok()?;
        let key = wrap_key(&shared, share, &self.recipient.point);
        open(&*key, &[0; 12], wrapped)
    }
}

/// Seals something short, which any of the recipients can open. The text is armored.
///
/// # Errors
/// OpenSSL cannot make a key.
pub fn seal(recipients: &[Recipient], secret: &[u8]) -> Result<String, ErrorStack> {
    debug_assert!(secret.len() <= CHUNK_LENGTH, "it fits in one chunk");
    let file_key: Zeroizing<[u8; FILE_KEY_LENGTH]> = Zeroizing::new(random::octets());
    let mut header = format!("{VERSION}\n");
    for recipient in recipients {
        let (share, shared) = new_share(&recipient.point)?;
        let key = wrap_key(&shared, &share, &recipient.point);
        let wrapped = seal_chunk(&*key, &[0; 12], &*file_key)?;
        let (share, wrapped) = (STANDARD_NO_PAD.encode(share), STANDARD_NO_PAD.encode(wrapped));
        header.extend([STANZA, &share, "\n", &wrapped, "\n"]);
    }
    header += "---";
    let mac = STANDARD_NO_PAD.encode(*header_mac(&*file_key, header.as_bytes()));
    let nonce: [u8; PAYLOAD_NONCE_LENGTH] = random::octets();
    let key = derive(&*file_key, &nonce, b"payload");
    let chunk = seal_chunk(&*key, &ONLY_CHUNK, secret)?;
    let octets = [header.as_bytes(), b" ", mac.as_bytes(), b"\n", &nonce, &chunk].concat();
    Ok(armor(&octets))
}

/// A new ephemeral share, and the secret that its key and the recipient's point agree on.
fn new_share(
    point: &[u8; POINT_LENGTH],
) -> Result<([u8; POINT_LENGTH], Zeroizing<Vec<u8>>), ErrorStack> {
    let ephemeral = PKey::generate_x25519()?;
    let share = ephemeral.raw_public_key()?;
    let share = share.try_into().expect("a point of X25519 has 32 octets");
    Ok((share, agree(&ephemeral, point)?))
}

/// What both agree on. OpenSSL refuses a point of low order, with which that would be no secret (RFC 7748 §6.1).
fn agree(
    secret: &PKey<Private>,
    point: &[u8; POINT_LENGTH],
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let point = PKey::public_key_from_raw_bytes(point, Id::X25519)?;
    let mut deriver = Deriver::new(secret)?;
    deriver.set_peer(&point)?;
    deriver.derive_to_vec().map(Zeroizing::new)
}

fn wrap_key(shared: &[u8], share: &[u8], point: &[u8]) -> Zeroizing<[u8; 32]> {
    derive(shared, &[share, point].concat(), WRAP_INFO)
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let length = Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut *key);
    length.expect("HKDF gives up to 8160 octets");
    key
}

fn header_mac(file_key: &[u8], header: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = derive(file_key, &[], b"header");
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&*key).expect("HMAC takes keys of any length");
    mac.update(header);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn seal_chunk(key: &[u8], nonce: &[u8], secret: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let mut tag = [0; TAG_LENGTH];
    let cipher = Cipher::chacha20_poly1305();
    let mut sealed = encrypt_aead(cipher, key, Some(nonce), &[], secret, &mut tag)?;
    sealed.extend(tag);
    Ok(sealed)
}

fn open(key: &[u8], nonce: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (sealed, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_LENGTH)?)?;
    let cipher = Cipher::chacha20_poly1305();
    decrypt_aead(cipher, key, Some(nonce), &[], sealed, tag).ok().map(Zeroizing::new)
}

/// What was sealed, in its parts.
struct Sealed<'a> {
    /// What is authenticated: the beginning, up to and including `---`.
    header: &'a [u8],
    /// The share and the wrapped file key of each recipient of the kind that is known here.
    stanzas: Vec<([u8; POINT_LENGTH], Vec<u8>)>,
    mac: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn read(octets: &'a [u8]) -> Option<Self> {
        let mark = b"\n--- ";
        let end = octets.windows(mark.len()).position(|part| part == mark)?;
        let (header, rest) = octets.split_at_checked(end + mark.len() - 1)?;
        let mac_end = rest.iter().position(|octet| *octet == b'\n')?;
        let mac = STANDARD_NO_PAD.decode(rest.get(1..mac_end)?).ok()?;
        let payload = rest.get(mac_end + 1..)?;
        let text = std::str::from_utf8(header).ok()?;
        let stanzas = text.strip_prefix(VERSION)?.strip_prefix('\n')?.split("-> ").skip(1);
        let stanza = |text: &str| {
            let (share, wrapped) = text.strip_prefix("X25519 ")?.split_once('\n')?;
            let wrapped = wrapped.lines().next()?;
            let share = STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
            Some((share, STANDARD_NO_PAD.decode(wrapped).ok()?))
        };
        Some(Self { header, stanzas: stanzas.filter_map(stanza).collect(), mac, payload })
    }
}

/// A text of lines of 64 characters.
fn armor(octets: &[u8]) -> String {
    let text = STANDARD.encode(octets);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>();
    format!("{ARMOR_BEGIN}\n{}\n{ARMOR_END}\n", lines.join("\n"))
}

fn remove_armor(armored: &str) -> Option<Vec<u8>> {
    let inner = armored.trim().strip_prefix(ARMOR_BEGIN)?.strip_suffix(ARMOR_END)?;
    STANDARD.decode(inner.split_whitespace().collect::<String>()).ok()
}

/// The 32 octets of a text in Bech32 (BIP 173) with this human-readable part.
fn decode(text: &str, hrp: Hrp) -> Option<Zeroizing<[u8; POINT_LENGTH]>> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    let octets = Zeroizing::new(checked.byte_iter().collect::<Vec<_>>());
    let octets: [u8; POINT_LENGTH] = octets.as_slice().try_into().ok()?;
    (checked.hrp() == hrp).then(|| Zeroizing::new(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity of what age 1.1.1 made (`age-keygen`; `printf 'fern lamp' | age -a -r …`).
    const IDENTITY: &str =
        "AGE-SECRET-KEY-1ZNVHAHRXM3ATAAU56EH7M2F77P86X6AY9SXSY9W9JX7YQGACGUVQGK7DSP";
    const RECIPIENT: &str = "age1nlpcleqk4kma2kuqaljx7enn59g3w892ygdsfpggs0xatrvdcqzqetvweq";
    const SEALED: &str = "\
-----BEGIN AGE ENCRYPTED FILE-----\n\
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBXSWs3TEJJd1dNR0VqbmFO\n\
Y2E3SURaL3dVd29WRkwzVGZXaG10VGRCdFhnCmNlVmd3dCtmMXpZZGlLNlZyTDBl\n\
ejF5dW9vakl6ZnUvZmpIbDlBbTJ6aFUKLS0tIGZNemFaRTBSWnhKQS9qLzdibzR4\n\
Mk02VWdHbUpqd0xSQ2Fxc01qaWFlUlkKCGr0Tua8EcxV06yPamA1MayI+vWP6cZu\n\
6wYbdDaa8HReEy9pi45ZSPM=\n\
-----END AGE ENCRYPTED FILE-----\n";

    fn identity() -> Identity {
        let file = format!("# created: today\n# public key: {RECIPIENT}\n{IDENTITY}\n");
        Identity::read(file.as_bytes()).expect("an identity")
    }

    #[test]
    fn what_age_sealed_opens() {
        assert_eq!(identity().recipient().to_string(), RECIPIENT);
        assert_eq!(*identity().open(SEALED).expect("it opens"), b"fern lamp");
        assert!(!format!("{:?}", identity()).contains("SECRET"));
    }

    #[test]
    fn each_recipient_opens_and_nobody_else() {
        let other = Recipient::of(
            PKey::generate_x25519()
                .and_then(|key| key.raw_public_key())
                .expect("a key")
                .try_into()
                .expect("32 octets"),
        );
        let own: Recipient = RECIPIENT.parse().expect("a recipient");
        for recipients in [vec![own.clone()], vec![other.clone(), own]] {
            let sealed = seal(&recipients, b"secret").expect("sealed");
            assert_eq!(*identity().open(&sealed).expect("it opens"), b"secret");
        }
        let sealed = seal(&[other], b"secret").expect("sealed");
        assert_eq!(identity().open(&sealed).err(), Some(RecoveryError::OtherRecipient));
    }

    #[test]
    fn nothing_that_was_altered_opens() {
        let octets = remove_armor(SEALED).expect("armor");
        for at in 0..octets.len() {
            let mut altered = octets.clone();
            altered[at] ^= 1;
            assert!(identity().open(&armor(&altered)).is_err(), "octet {at}");
            assert!(identity().open(&armor(&octets[..at])).is_err(), "cut at {at}");
        }
        for text in ["", ARMOR_BEGIN, &format!("{ARMOR_BEGIN}{ARMOR_END}"), "age"] {
            assert_eq!(identity().open(text).err(), Some(RecoveryError::Altered), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        let identity_as_recipient = IDENTITY.parse::<Recipient>();
        assert_eq!(identity_as_recipient.err(), Some(RecipientError::Identity));
        let low_order = Recipient::of([0; 32]).to_string();
        let last = RECIPIENT.len() - 1;
        for text in ["", "age1", &RECIPIENT[..last], &RECIPIENT.to_uppercase(), &low_order] {
            let read = text.parse::<Recipient>();
            assert_eq!(read.err(), Some(RecipientError::Malformed), "{text:?}");
        }
        let plugin = bech32::encode::<Bech32>(Hrp::parse_unchecked("age1yubikey"), &[7; 33]);
        let quantum = format!("age1pq1{}", "q".repeat(1_952));
        for text in [plugin.expect("short"), quantum, "ssh-ed25519 AAAA a".to_owned()] {
            let read = text.parse::<Recipient>();
            assert_eq!(read.err(), Some(RecipientError::OtherKind), "{text:?}");
        }
    }

    #[test]
    fn it_is_said_what_is_wrong_with_a_file_of_identities() {
        let error = |file: &str| Identity::read(file.as_bytes()).err();
        assert_eq!(error(RECIPIENT), Some(RecoveryError::NoIdentity));
        assert_eq!(error("AGE-SECRET-KEY-1QQQ"), Some(RecoveryError::NoIdentity));
        assert_eq!(error(SEALED), Some(RecoveryError::Encrypted));
        assert_eq!(error("age-encryption.org/v1\n-> scrypt"), Some(RecoveryError::Encrypted));
        for other in [
            "AGE-SECRET-KEY-PQ-1QQQ",
            "AGE-PLUGIN-YUBIKEY-1QQQ",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert_eq!(error(other), Some(RecoveryError::OtherKind), "{other}");
        }
        assert!(Identity::read(format!("# of 2026\r\n{IDENTITY}\r\n").as_bytes()).is_ok());
        assert!(matches!(
            Identity::read(b"age-encryption.org/v1\n\xff"),
            Err(RecoveryError::Encrypted)
        ));
    }
}
