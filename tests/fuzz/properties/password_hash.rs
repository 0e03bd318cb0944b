//! Stored password hashes.

use jeton_crypto::password::{HashingMemory, PasswordHash, PasswordHashError};
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Secret};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use openssl::sign::Signer;

/// What a thread may take: 1 MiB, so that what is accepted can be computed here.
const MEMORY_MAX: u64 = 1 << 20;

/// What is computed to see that it can be, in octets of work. SHA-crypt's least is below it.
const WORK_MAX: u64 = 3 << 20;

/// A stored hash is accepted only if it can be computed within the memory and work that are allowed; what
/// is shown of it says nothing of what it must yield. One of scrypt has one spelling, and verifies
/// exactly the password that the `scrypt` crate says. A digest verifies what OpenSSL says. What comes from elsewhere is
/// rewritten once, and only into what is read.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check_text(text);
    let adopted = PasswordHash::adopt(text);
    assert_eq!(PasswordHash::adopt(&adopted), adopted);
    if PasswordHash::parse(text, u64::MAX) != Err(PasswordHashError::Unknown) {
        assert_eq!(adopted, text, "what is read stays as it is");
    } else if adopted != text {
        let parsed = PasswordHash::parse(&adopted, u64::MAX);
        assert!(matches!(parsed, Ok(_) | Err(PasswordHashError::TooExpensive)), "{adopted}");
        check_text(&adopted);
    }
}

fn check_text(text: &str) {
    for memory_max in [0, MEMORY_MAX, u64::MAX] {
        match PasswordHash::parse(text, memory_max) {
            Ok(hash) => check_hash(&hash, text, memory_max),
            Err(PasswordHashError::TooExpensive) => {
                assert_ne!(PasswordHash::parse(text, 0), Err(PasswordHashError::Unknown));
            }
            Err(error @ (PasswordHashError::Unknown | PasswordHashError::Sealed)) => {
                assert_eq!(PasswordHash::parse(text, u64::MAX), Err(error));
            }
        }
    }
}

fn check_hash(hash: &PasswordHash, text: &str, memory_max: u64) {
    let without_output = hash.without_output();
    let shown = hash.to_string();
    assert!(hash.work() <= ScryptCost::WORK_MAX);
    if let Some(rest) = text.strip_prefix("$scrypt$") {
        check_scrypt(hash, rest, memory_max);
    } else if let Some(rest) = text.strip_prefix("$digest$") {
        check_digest(rest);
    }
    if hash.work() <= WORK_MAX && memory_max == MEMORY_MAX {
        let mut memory = HashingMemory::reserve(MEMORY_MAX).expect("a little memory");
        let password = Password::new(Secret::new("fern lamp".to_owned()));
        assert_eq!(hash.verify(&password, &mut memory), None, "nobody finds a password");
    }
    let same = PasswordHash::parse(&without_output, memory_max).expect("the same form");
    assert_eq!(same.without_output(), without_output);
    match text.strip_prefix("$scrypt-over$") {
        None => assert!(without_output.len() == text.len() && same.to_string() == shown),
        Some(_) => assert!(text.ends_with(&without_output) && shown.ends_with(&same.to_string())),
    }
    assert!(!hash.is_fast() || hash.is_weak());
    assert!(hash.is_made_of(hash) || text.starts_with("$scrypt-over$"));
    assert!(PasswordHash::FUNCTIONS.contains(&hash.function()));
    assert!(!hash.is_weak() || !text.starts_with("$scrypt-over$"));
    assert_eq!(format!("{hash:?}"), format!("PasswordHash({shown})"));
}

/// `h=…,salt=…$salt$output`
fn check_digest(rest: &str) {
    let [parameters, salt, _] = rest.split('$').collect::<Vec<_>>()[..] else {
        panic!("three fields");
    };
    let (name, place) =
        parameters.strip_prefix("h=").and_then(|rest| rest.split_once(",salt=")).expect("both");
    let function = match name {
        "sha1" => MessageDigest::sha1(),
        "sha256" => MessageDigest::sha256(),
        "sha384" => MessageDigest::sha384(),
        "sha512" => MessageDigest::sha512(),
        _ => panic!("no such function"),
    };
    let password = b"fern lamp";
    let octets = decode(salt);
    let output = match place {
        "after" => hash(function, &[password, &octets[..]].concat()).expect("a digest").to_vec(),
        "before" => hash(function, &[&octets[..], password].concat()).expect("a digest").to_vec(),
        "key" => {
            let key = PKey::hmac(&octets).expect("a key");
            let mut signer = Signer::new(function, &key).expect("HMAC");
            signer.sign_oneshot_to_vec(password).expect("a code")
        }
        _ => panic!("no such place"),
    };
    let right = format!("$digest${parameters}${salt}${}", encode(&output));
    let stored = PasswordHash::parse(&right, 0).expect("the same form");
    let password = Password::new(Secret::new("fern lamp".to_owned()));
    let mut memory = HashingMemory::reserve(MEMORY_MAX).expect("a little memory");
    assert!(stored.verify(&password, &mut memory).is_some(), "OpenSSL computed it");
}

fn encode(octets: &[u8]) -> String {
    openssl::base64::encode_block(octets).replace('=', "")
}

fn decode(text: &str) -> Vec<u8> {
    let padded = format!("{text}{}", &"==="[..(4 - text.len() % 4) % 4]);
    openssl::base64::decode_block(&padded).expect("base64")
}

fn check_scrypt(hash: &PasswordHash, rest: &str, memory_max: u64) {
    let [cost, salt, output] = rest.split('$').collect::<Vec<_>>()[..] else {
        panic!("three fields");
    };
    assert_eq!(hash.to_string(), format!("scrypt {cost}"));
    let numbers: Vec<u32> = cost
        .split(['=', ','])
        .skip(1)
        .step_by(2)
        .map(|number| number.parse().expect("a number"))
        .collect();
    let ln = u8::try_from(numbers[0]).expect("a small number");
    let cost = ScryptCost { ln, r: numbers[1], p: numbers[2] };
    let work = u128::from(cost.memory()) * u128::from(cost.p);
    assert!(cost.memory() <= memory_max);
    assert!(work <= 16 * u128::from(ScryptCost::RECOMMENDED.memory()));
    let parameters =
        scrypt::Params::new(cost.ln, cost.r, cost.p).expect("a cost that has a meaning");
    let (salt, length) = (decode(salt), decode(output).len());
    assert!((4..=64).contains(&salt.len()) && (16..=64).contains(&length));
    let written = |output: &[u8]| format!("{cost}${}${}", encode(&salt), encode(output));
    assert_eq!(rest, written(&decode(output)));
    if work <= 1 << 16 {
        let mut memory = HashingMemory::reserve(cost.memory()).expect("a little memory");
        let password = Password::new(Secret::new("fern lamp".to_owned()));
        assert_eq!(hash.verify(&password, &mut memory), None, "nobody finds a password");
        let mut right = vec![0; length];
        scrypt::scrypt(b"fern lamp", &salt, &parameters, &mut right).expect("a length it has");
        let right = format!("$scrypt${}", written(&right));
        let hash = PasswordHash::parse(&right, memory_max).expect("the same form");
        assert!(hash.verify(&password, &mut memory).is_some(), "another library computed it");
    }
}
