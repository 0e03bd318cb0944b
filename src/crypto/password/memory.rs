//! Where hashes are computed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jeton_scrypt::{Cost, Memory};

use super::PHC;
use crate::config::ScryptCost;
use crate::crypto::random;
use crate::oauth::resource_owner::Password;
use crate::secret::Secret;

/// Octets of salt in new hashes.
const SALT_LENGTH: usize = 16;
/// Octets of output in new hashes.
const OUTPUT_LENGTH: usize = 32;

/// Where hashes are computed, one at a time.
#[derive(Debug)]
pub struct HashingMemory(Memory);

impl HashingMemory {
    /// Reserves memory for hashes that take so many octets each. The system gives it when it is first
    /// needed, and what was given stays until [`HashingMemory::give_back`].
    ///
    /// # Errors
    /// There is not so much.
    pub fn reserve(octets: u64) -> Result<Self, String> {
        Memory::reserve(octets).map(Self).map_err(|error| {
            format!("the system does not give the memory to hash passwords: {error}")
        })
    }

    /// Sees that hashes are what another implementation makes of the same, on this processor.
    ///
    /// # Errors
    /// They are not: no password may be hashed or verified.
    pub fn test(&mut self) -> Result<(), String> {
        let (password, salt) = (b"password", b"NaCl");
        let (mut expected, mut output) = ([0; OUTPUT_LENGTH], [0; OUTPUT_LENGTH]);
        let cost = ScryptCost { ln: 4, r: 8, p: 2 };
        scrypt::Params::new(cost.ln, cost.r, cost.p).map_err(|error| error.to_string()).and_then(
            |parameters| {
                scrypt::scrypt(password, salt, &parameters, &mut expected)
                    .map_err(|error| error.to_string())
            },
        )?;
        self.derive(password, salt, cost, &mut output);
        if output == expected {
            return Ok(());
        }
        Err("this processor computes wrong hashes: run jeton on another machine".to_owned())
    }

    /// Hashes a new password: the PHC string to store. Takes as long as the hash costs.
    #[must_use]
    pub fn hash(&mut self, password: &Secret, cost: ScryptCost) -> String {
        format!("{PHC}{}", self.hash_octets(password.expose().as_bytes(), cost))
    }

    /// Hashes octets with a new salt: `cost$salt$output`.
    pub(super) fn hash_octets(&mut self, octets: &[u8], cost: ScryptCost) -> String {
        let salt: [u8; SALT_LENGTH] = random::octets();
        let mut output = [0; OUTPUT_LENGTH];
        self.derive(octets, &salt, cost, &mut output);
        let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
        format!("{cost}${salt}${output}")
    }

    /// Does the work of [`PasswordHash::verify`](super::PasswordHash::verify) for nothing, so that an unknown
    /// user costs what a known one does.
    pub fn decoy(&mut self, password: &Password, cost: ScryptCost) {
        for form in [Some(&password.presented), password.other_form()].into_iter().flatten() {
            let mut output = [0; OUTPUT_LENGTH];
            self.derive(form.expose().as_bytes(), &[0; SALT_LENGTH], cost, &mut output);
            std::hint::black_box(output);
        }
    }

    /// Overwrites what hashes have left: whoever had it could check guesses for next to nothing.
    pub fn wipe(&mut self) {
        self.0.wipe();
    }

    /// Wipes the memory and gives it back to the system. The next hash takes it anew, for some hundredths of a
    /// second.
    pub fn give_back(&mut self) {
        self.0.give_back();
    }

    /// scrypt.
    pub(super) fn derive(
        &mut self,
        password: &[u8],
        salt: &[u8],
        cost: ScryptCost,
        output: &mut [u8],
    ) {
        let ScryptCost { ln, r, p } = cost;
        self.0.scrypt(password, salt, Cost { ln, r, p }, output);
    }

    /// Pages for Argon2.
    pub(super) fn lend(&mut self, pages: usize) -> &mut [argon2::Block] {
        self.0.lend(pages)
    }
}

/// Hashes a new password where nothing else is hashed: the PHC string to store.
///
/// # Errors
/// There is not enough memory.
pub fn hash(password: &Secret, cost: ScryptCost) -> Result<String, String> {
    let mut memory = HashingMemory::reserve(cost.memory())?;
    memory.test()?;
    Ok(memory.hash(password, cost))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory() -> HashingMemory {
        HashingMemory::reserve(16 << 20).expect("a little memory")
    }

    /// RFC 7914 §12, all vectors but the last, which takes a gigabyte.
    #[test]
    fn the_function_is_scrypt() {
        let vectors = [
            (
                ("", "", ScryptCost { ln: 4, r: 1, p: 1 }),
                "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442\
                 fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
            ),
            (
                ("password", "NaCl", ScryptCost { ln: 10, r: 8, p: 16 }),
                "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162\
                 2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
            ),
            (
                ("pleaseletmein", "SodiumChloride", ScryptCost { ln: 14, r: 8, p: 1 }),
                "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
                 d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
            ),
        ];
        let memory = &mut memory();
        for ((password, salt, cost), expected) in vectors {
            let mut output = [0; 64];
            memory.derive(password.as_bytes(), salt.as_bytes(), cost, &mut output);
            let pairs = expected.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair));
            let octets = pairs.map(|pair| u8::from_str_radix(pair.expect("ASCII"), 16));
            assert_eq!(output.to_vec(), octets.collect::<Result<Vec<_>, _>>().expect("hex digits"));
        }
    }

    proptest! {
        /// What another hash has left in the memory changes nothing.
        #[test]
        fn the_function_is_that_of_the_crate_scrypt(
            password in ".{0,100}",
            salt in proptest::collection::vec(any::<u8>(), 0..80),
            (ln, r, p) in (1_u8..8, 1_u32..20, 1_u32..5),
            length in 10_usize..100,
        ) {
            let parameters = scrypt::Params::new(ln, r, p).expect("valid parameters");
            let (mut expected, mut output) = (vec![0; length], vec![0; length]);
            scrypt::scrypt(password.as_bytes(), &salt, &parameters, &mut expected)
                .expect("a valid length");
            let memory = &mut memory();
            memory.decoy(
                &Password::new(Secret::new("another".to_owned())),
                ScryptCost { ln: 5, r: 30, p: 1 },
            );
            memory.derive(password.as_bytes(), &salt, ScryptCost { ln, r, p }, &mut output);
            prop_assert_eq!(output, expected);
        }
    }
}
