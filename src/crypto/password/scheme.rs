//! How a hash is computed, and what that costs.

use std::fmt;

use argon2::Argon2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::crypt::{Phpass, ShaCrypt};
use super::firebase::FirebaseScrypt;
use super::memory::HashingMemory;
use super::of_parts::SaltPlace;
use jeton_oauth::ScryptCost;

/// How much of a password bcrypt reads, in octets.
const BCRYPT_LENGTH_MAX: usize = 72;

/// A hash function with all its inputs but the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Scheme {
    /// RFC 7914
    Scrypt { cost: ScryptCost, salt: Vec<u8> },
    /// Provos and Mazières, 1999
    Bcrypt { cost: u8, salt: [u8; 16], of: Before },
    /// RFC 8018 §5.2, with HMAC
    Pbkdf2 { hash: Sha, iterations: u32, salt: Vec<u8> },
    /// RFC 9106
    Argon2 { of: Argon2Parameters, salt: Vec<u8> },
    /// Drepper, 2007
    ShaCrypt { of: ShaCrypt, rounds: u32, salt: Vec<u8> },
    /// The portable hashes of phpass, with 2^`log` repetitions
    Phpass { of: Phpass, log: u8, salt: Vec<u8> },
    /// scrypt of Firebase
    Firebase(FirebaseScrypt),
    /// One digest of password and salt
    Digest { hash: Sha, place: SaltPlace, salt: Vec<u8> },
}

/// What happens to a password before bcrypt, which reads no more than 72 octets.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// SHA-256 in base64 (passlib, first version).
    Base64Digest,
    /// HMAC-SHA-256 in base64, keyed with the salt as it is written (passlib, second version).
    Base64Hmac {
        key: String,
    },
    /// SHA-256 in hexadecimal (Django).
    HexDigest,
    /// HMAC-SHA-384 in base64, with a key that everybody knows (WordPress 6.8).
    WordPressHmac,
}

/// A function of FIPS 180-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sha {
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Sha {
    pub(super) const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name in texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The octets of its output.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of these octets, one after the other.
    fn digest(self, octets: [&[u8]; 2]) -> Vec<u8> {
        fn of<H: Digest>([first, second]: [&[u8]; 2]) -> Vec<u8> {
            H::new().chain_update(first).chain_update(second).finalize().to_vec()
        }
        match self {
            Self::Sha1 => of::<Sha1>(octets),
            Self::Sha256 => of::<Sha256>(octets),
            Self::Sha384 => of::<Sha384>(octets),
            Self::Sha512 => of::<Sha512>(octets),
        }
    }

    /// RFC 2104
    pub(super) fn hmac(self, key: &[u8], octets: &[u8]) -> Vec<u8> {
        fn of<H: EagerHash>(key: &[u8], octets: &[u8]) -> Vec<u8> {
            let mac = Hmac::<H>::new_from_slice(key).expect("any length");
            mac.chain_update(octets).finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha1 => of::<Sha1>(key, octets),
            Self::Sha256 => of::<Sha256>(key, octets),
            Self::Sha384 => of::<Sha384>(key, octets),
            Self::Sha512 => of::<Sha512>(key, octets),
        }
    }

    /// RFC 8018 §5.2, with HMAC
    fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32, output: &mut [u8]) {
        use pbkdf2::pbkdf2_hmac;
        match self {
            Self::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, iterations, output),
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, iterations, output),
            Self::Sha384 => pbkdf2_hmac::<Sha384>(password, salt, iterations, output),
            Self::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, iterations, output),
        }
    }
}

impl fmt::Display for Sha {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// The inputs of Argon2 besides password and salt.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Argon2Parameters {
    pub(super) algorithm: argon2::Algorithm,
    pub(super) version: argon2::Version,
    pub(super) parameters: argon2::Params,
}

impl Scheme {
    pub(super) fn function(&self) -> &'static str {
        match self {
            Self::Scrypt { .. } => "scrypt",
            Self::Bcrypt { .. } => "bcrypt",
            Self::Pbkdf2 { .. } => "pbkdf2",
            Self::Argon2 { .. } => "argon2",
            Self::ShaCrypt { .. } => "sha-crypt",
            Self::Phpass { .. } => "phpass",
            Self::Firebase(_) => "firebase-scrypt",
            Self::Digest { .. } => "digest",
        }
    }

    /// The memory that it takes, in octets.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Self::Scrypt { cost, .. } | Self::Firebase(FirebaseScrypt { cost, .. }) => {
                cost.memory()
            }
            Self::Bcrypt { .. }
            | Self::Pbkdf2 { .. }
            | Self::ShaCrypt { .. }
            | Self::Phpass { .. }
            | Self::Digest { .. } => 0,
            Self::Argon2 { of, .. } => u64::from(of.parameters.m_cost()) << 10,
        }
    }

    /// The work that it takes, in octets that scrypt fills in the same time. The figures were measured, and rounded up
    /// for processors without instructions for SHA-256. What reads the password in each round takes longer for a long
    /// one: those figures are for the longest that can be sent.
    pub(super) fn work(&self, length: usize) -> u64 {
        match self {
            Self::Scrypt { cost, .. } | Self::Firebase(FirebaseScrypt { cost, .. }) => cost.work(),
            Self::Bcrypt { cost, .. } => 40_000 << cost,
            Self::Pbkdf2 { hash, iterations, .. } => {
                let blocks = length.div_ceil(hash.length()) as u64;
                320 * u64::from(*iterations) * blocks
            }
            Self::ShaCrypt { rounds, .. } => 2_400 * u64::from(*rounds),
            Self::Phpass { log, .. } => 1_200 << log,
            Self::Digest { .. } => 1_200,
            Self::Argon2 { of, .. } => self.memory() / 2 * u64::from(of.parameters.t_cost()),
        }
    }

    /// Whether it is a digest, or repeats one less often than it should: SHA-crypt below 100,000 rounds, phpass, PBKDF2
    /// below 10,000 iterations.
    pub(super) fn is_fast(&self) -> bool {
        match self {
            Self::Digest { .. } | Self::Phpass { .. } => true,
            Self::ShaCrypt { rounds, .. } => *rounds < 100_000,
            Self::Pbkdf2 { iterations, .. } => *iterations < 10_000,
            _ => false,
        }
    }

    /// Whether it yields the same for everybody who has the same password.
    pub(super) fn is_unsalted(&self) -> bool {
        match self {
            Self::Digest { salt, .. } | Self::ShaCrypt { salt, .. } => salt.is_empty(),
            _ => false,
        }
    }

    /// Whether it ignores the end of this password.
    pub(super) fn ignores_some_of(&self, password: &str) -> bool {
        let Self::Bcrypt { of: Before::Nothing, .. } = self else { return false };
        password.len() > BCRYPT_LENGTH_MAX
    }

    /// Computes `length` octets of output.
    pub(super) fn compute(
        &self,
        password: &[u8],
        length: usize,
        memory: &mut HashingMemory,
    ) -> Zeroizing<Vec<u8>> {
        let mut output = Zeroizing::new(vec![0; length]);
        match self {
            Self::Scrypt { cost, salt } => memory.derive(password, salt, *cost, &mut output),
            Self::Bcrypt { cost, salt, of } => {
                let computed = Zeroizing::new(bcrypt(*cost, *salt, &of.apply(password)));
                output.iter_mut().zip(*computed).for_each(|(to, from)| *to = from);
            }
            Self::Pbkdf2 { hash, iterations, salt } => {
                hash.pbkdf2(password, salt, *iterations, &mut output);
            }
            Self::ShaCrypt { of, rounds, salt } => {
                output = Zeroizing::new(of.compute(password, salt, *rounds));
            }
            Self::Phpass { of, log, salt } => {
                output = of.compute(password, salt, *log);
                output.truncate(length);
            }
            Self::Firebase(firebase) => output = Zeroizing::new(firebase.compute(password, memory)),
            Self::Digest { hash, place, salt } => {
                output = Zeroizing::new(match place {
                    SaltPlace::After => hash.digest([password, salt]),
                    SaltPlace::Before => hash.digest([salt, password]),
                    SaltPlace::Key => hash.hmac(salt, password),
                });
            }
            Self::Argon2 { of, salt } => {
                let pages = memory.lend(of.parameters.block_count());
                Argon2::new(of.algorithm, of.version, of.parameters.clone())
                    .hash_password_into_with_memory(password, salt, &mut output, pages)
                    .expect("lengths that were looked at when it was read");
            }
        }
        output
    }
}

/// bcrypt of the password and a zero octet, if there is room for one.
fn bcrypt(cost: u8, salt: [u8; 16], password: &[u8]) -> [u8; 24] {
    let mut key = Zeroizing::new(Vec::with_capacity(BCRYPT_LENGTH_MAX));
    key.extend(password.iter().copied().chain([0]).take(BCRYPT_LENGTH_MAX));
    bcrypt::bcrypt(cost.into(), salt, &key)
}

impl Before {
    /// The input of bcrypt.
    fn apply(&self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        let text = match self {
            Self::Nothing => return Zeroizing::new(password.to_vec()),
            Self::Base64Digest => STANDARD.encode(Sha256::digest(password)),
            Self::Base64Hmac { key } => {
                let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
                STANDARD.encode(mac.chain_update(password).finalize().into_bytes())
            }
            Self::WordPressHmac => STANDARD.encode(Sha::Sha384.hmac(b"wp-sha384", password)),
            Self::HexDigest => base16ct::lower::encode_string(&Sha256::digest(password)),
        };
        Zeroizing::new(text.into_bytes())
    }
}

impl fmt::Display for Scheme {
    /// The function and its cost, without the salt.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scrypt { cost, .. } => write!(formatter, "scrypt {cost}"),
            Self::Bcrypt { cost, of: Before::Nothing, .. } => {
                write!(formatter, "bcrypt cost {cost}")
            }
            Self::Bcrypt { cost, of: Before::WordPressHmac, .. } => {
                write!(formatter, "bcrypt of SHA-384 cost {cost}")
            }
            Self::Bcrypt { cost, .. } => write!(formatter, "bcrypt of SHA-256 cost {cost}"),
            Self::Pbkdf2 { hash, iterations, .. } => {
                write!(formatter, "PBKDF2-{hash} {iterations} iterations")
            }
            Self::ShaCrypt { of: ShaCrypt::Sha256, rounds, .. } => {
                write!(formatter, "SHA-crypt SHA-256 {rounds} rounds")
            }
            Self::ShaCrypt { of: ShaCrypt::Sha512, rounds, .. } => {
                write!(formatter, "SHA-crypt SHA-512 {rounds} rounds")
            }
            Self::Phpass { of: Phpass::Md5, log, .. } => {
                write!(formatter, "phpass MD5 2^{log} rounds")
            }
            Self::Phpass { of: Phpass::Sha512, log, .. } => {
                write!(formatter, "phpass SHA-512 2^{log} rounds")
            }
            Self::Firebase(FirebaseScrypt { cost, .. }) => {
                write!(formatter, "firebase-scrypt {cost}")
            }
            Self::Digest { hash, place: SaltPlace::Key, .. } => {
                write!(formatter, "digest HMAC-{hash}")
            }
            Self::Digest { hash, salt, .. } if salt.is_empty() => {
                write!(formatter, "digest {hash} without salt")
            }
            Self::Digest { hash, .. } => write!(formatter, "digest {hash} with a salt"),
            Self::Argon2 { of, .. } => {
                let Argon2Parameters { algorithm, parameters, .. } = of;
                let (m, t, p) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
                write!(formatter, "{algorithm} m={m},t={t},p={p}")
            }
        }
    }
}
