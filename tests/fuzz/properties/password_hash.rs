//! Stored password hashes.

use jeton::config::ScryptCost;
use jeton::crypto::password::{HashingMemory, PasswordHash, PasswordHashError};
use jeton::secret::Secret;

/// What a thread may take: 1 MiB, so that what is accepted can be computed here.
const MEMORY_MAX: u64 = 1 << 20;

/// A stored hash is accepted only if it can be computed within the memory and work that are allowed,
/// has one spelling, and verifies exactly the password that the `scrypt` crate says.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for memory_max in [0, MEMORY_MAX, u64::MAX] {
        match PasswordHash::parse(text, memory_max) {
            Ok(hash) => check_hash(&hash, text, memory_max),
            Err(PasswordHashError::TooExpensive) => {
                assert_ne!(PasswordHash::parse(text, 0), Err(PasswordHashError::Unknown));
            }
            Err(PasswordHashError::Unknown) => {
                assert_eq!(PasswordHash::parse(text, u64::MAX), Err(PasswordHashError::Unknown));
            }
        }
    }
}

fn check_hash(hash: &PasswordHash, text: &str, memory_max: u64) {
    let PasswordHash::Scrypt { cost, salt, output } = hash;
    let work = u128::from(cost.memory()) * u128::from(cost.p);
    assert!(cost.memory() <= memory_max);
    assert!(work <= 16 * u128::from(ScryptCost::RECOMMENDED.memory()));
    assert!((4..=64).contains(&salt.len()) && (16..=64).contains(&output.len()));
    let parameters =
        scrypt::Params::new(cost.ln, cost.r, cost.p).expect("a cost that has a meaning");
    let encode = |octets: &[u8]| openssl::base64::encode_block(octets).replace('=', "");
    let written = |output: &[u8]| format!("$scrypt${cost}${}${}", encode(salt), encode(output));
    assert_eq!(text, written(output));
    assert!(format!("{hash:?}").starts_with("Scrypt(ln="));
    if work <= 1 << 16 {
        let mut memory = HashingMemory::reserve(cost.memory()).expect("a little memory");
        let password = Secret::new(text.to_owned());
        assert!(!hash.verify(&password, &mut memory), "nobody finds a password");
        let mut right = vec![0; output.len()];
        scrypt::scrypt(text.as_bytes(), salt, &parameters, &mut right).expect("a length it has");
        let hash = PasswordHash::parse(&written(&right), memory_max).expect("the same form");
        assert!(hash.verify(&password, &mut memory), "another library computed it");
    }
}
