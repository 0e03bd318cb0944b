//! How a hash is computed, and what that costs.

use std::fmt;

use argon2::Argon2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::memory::HashingMemory;
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
    Pbkdf2 { hash: Sha2, iterations: u32, salt: Vec<u8> },
    /// RFC 9106
    Argon2 { of: Argon2Parameters, salt: Vec<u8> },
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
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sha2 {
    Sha256,
    Sha512,
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
        }
    }

    /// The memory that it takes, in octets.
    pub(super) fn memory(&self) -> u64 {
        match self {
            Self::Scrypt { cost, .. } => cost.memory(),
            Self::Bcrypt { .. } | Self::Pbkdf2 { .. } => 0,
            Self::Argon2 { of, .. } => u64::from(of.parameters.m_cost()) << 10,
        }
    }

    /// The work that it takes, in octets that scrypt fills in the same time. The figures were measured, and rounded up
    /// for processors without instructions for SHA-256.
    pub(super) fn work(&self) -> u64 {
        match self {
            Self::Scrypt { cost, .. } => cost.work(),
            Self::Bcrypt { cost, .. } => 40_000 << cost,
            Self::Pbkdf2 { iterations, .. } => 320 * u64::from(*iterations),
            Self::Argon2 { of, .. } => self.memory() / 2 * u64::from(of.parameters.t_cost()),
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
            Self::Pbkdf2 { hash, iterations, salt } => match hash {
                Sha2::Sha256 => pbkdf2::<Sha256>(password, salt, *iterations, &mut output),
                Sha2::Sha512 => pbkdf2::<Sha512>(password, salt, *iterations, &mut output),
            },
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

fn pbkdf2<H: EagerHash>(password: &[u8], salt: &[u8], iterations: u32, output: &mut [u8]) {
    pbkdf2::pbkdf2_hmac::<H>(password, salt, iterations, output);
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
            Self::Bcrypt { cost, .. } => write!(formatter, "bcrypt of SHA-256 cost {cost}"),
            Self::Pbkdf2 { hash, iterations, .. } => {
                let bits = match hash {
                    Sha2::Sha256 => 256,
                    Sha2::Sha512 => 512,
                };
                write!(formatter, "PBKDF2-SHA-{bits} {iterations} iterations")
            }
            Self::Argon2 { of, .. } => {
                let Argon2Parameters { algorithm, parameters, .. } = of;
                let (m, t, p) = (parameters.m_cost(), parameters.t_cost(), parameters.p_cost());
                write!(formatter, "{algorithm} m={m},t={t},p={p}")
            }
        }
    }
}
