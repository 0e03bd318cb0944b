//! Stored password hashes.

use jeton::config::ScryptCost;
use jeton::crypto::password::{HashingMemory, PasswordHash, PasswordHashError};
use jeton::secret::Secret;

/// What a thread may take: 1 MiB, so that what is accepted can be computed here.
const MEMORY_MAX: u64 = 1 << 20;

/// A stored hash is accepted only if it can be computed within the memory and work that are allowed,
/// and has one spelling; whether it is accepted depends on nothing that was computed.
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
    assert!(scrypt::Params::new(cost.ln, cost.r, cost.p).is_ok(), "{cost} cannot be computed");
    let encode = |octets: &[u8]| openssl::base64::encode_block(octets).replace(['=', '\n'], "");
    assert_eq!(text, format!("$scrypt${cost}${}${}", encode(salt), encode(output)));
    assert!(format!("{hash:?}").starts_with("Scrypt(ln="));
    if work <= 1 << 16 {
        let mut memory = HashingMemory::reserve(cost.memory()).expect("a little memory");
        let password = Secret::new(text.to_owned());
        assert!(!hash.verify(&password, &mut memory), "nobody finds a password");
    }
}
