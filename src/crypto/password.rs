//! Stored password hashes: what they are, what they cost, how they are verified.
//!
//! New hashes are scrypt in the PHC string form. [`PasswordHash`] is the place where formats that
//! were imported from elsewhere join it: a variant each, verified inside the same bounds and
//! replaced by scrypt at the next login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jeton_scrypt::{Cost, Memory};
use subtle::ConstantTimeEq;

use super::random;
use crate::config::ScryptCost;
use crate::secret::Secret;

/// Octets of salt in new hashes.
const SALT_LENGTH: usize = 16;
/// Octets of output in new hashes.
const OUTPUT_LENGTH: usize = 32;
/// The most work that a stored hash may ask for, in units of [`ScryptCost::RECOMMENDED`].
const WORK_MAX: u64 = 16;

/// A stored hash, read and found to be within bounds.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// `$scrypt$ln=…,r=…,p=…$salt$output`
    Scrypt {
        /// What it costs to compute.
        cost: ScryptCost,
        /// The salt.
        salt: Vec<u8>,
        /// What the password must yield.
        output: Vec<u8>,
    },
}

/// Why a stored hash cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordHashError {
    /// It is in no format known here, or damaged.
    Unknown,
    /// It asks for more memory or work than this process allows.
    TooExpensive,
}

impl std::fmt::Display for PasswordHashError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => {
                "the stored password hash is in no known format: set a new password with \
                 `jeton user passwd`"
            }
            Self::TooExpensive => {
                "the stored password hash asks for more than --hash-memory allows a thread: raise \
                 it, or set a new password with `jeton user passwd`"
            }
        })
    }
}

impl std::fmt::Debug for PasswordHash {
    /// Shows the cost and nothing that could be guessed at.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scrypt { cost, .. } => write!(formatter, "Scrypt({cost})"),
        }
    }
}

impl PasswordHash {
    /// Reads a stored hash that may take `memory_max` octets to compute. The bounds are checked
    /// here, before anything is allocated, so that a poisoned row cannot exhaust the machine.
    ///
    /// # Errors
    /// [`PasswordHashError`], which says what to do.
    pub fn parse(text: &str, memory_max: u64) -> Result<Self, PasswordHashError> {
        let unknown = PasswordHashError::Unknown;
        let mut fields = text.strip_prefix("$scrypt$").ok_or(unknown)?.split('$');
        let mut next = || fields.next().ok_or(unknown);
        let (parameters, salt, output) = (next()?, next()?, next()?);
        if fields.next().is_some() {
            return Err(unknown);
        }
        let cost = parse_cost(parameters).ok_or(unknown)?;
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| unknown);
        let (salt, output) = (decode(salt)?, decode(output)?);
        if !(4..=64).contains(&salt.len()) || !(16..=64).contains(&output.len()) {
            return Err(unknown);
        }
        let work_max = WORK_MAX * ScryptCost::RECOMMENDED.memory();
        if cost.memory() > memory_max || cost.memory().saturating_mul(cost.p.into()) > work_max {
            return Err(PasswordHashError::TooExpensive);
        }
        Ok(Self::Scrypt { cost, salt, output })
    }

    /// Whether the password is the one that was hashed. Takes as long as the hash costs.
    #[must_use]
    pub fn verify(&self, password: &Secret, memory: &mut HashingMemory) -> bool {
        match self {
            Self::Scrypt { cost, salt, output } => {
                let mut computed = vec![0; output.len()];
                memory.derive(password, salt, *cost, &mut computed);
                bool::from(computed.ct_eq(output))
            }
        }
    }

    /// Whether the hash should be replaced by one of this cost.
    #[must_use]
    pub fn is_outdated(&self, policy: ScryptCost) -> bool {
        match self {
            Self::Scrypt { cost, .. } => *cost != policy,
        }
    }
}

/// Reads `ln=…,r=…,p=…` of a stored hash: within RFC 7914 §2 and what can be computed at all.
fn parse_cost(text: &str) -> Option<ScryptCost> {
    let mut parts = text.split(',');
    let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let (ln, r, p) = (number("ln=")?, number("r=")?, number("p=")?);
    let cost = ScryptCost { ln: u8::try_from(ln).ok()?, r, p };
    let sane = (1..=40).contains(&ln) && (1..=1_024).contains(&r) && (1..=1_024).contains(&p);
    // Numbers have one spelling in a PHC string: no sign, no zero before them.
    (sane && cost.to_string() == text).then_some(cost)
}

/// Where hashes are computed, one at a time.
#[derive(Debug)]
pub struct HashingMemory(Memory);

impl HashingMemory {
    /// Reserves memory for hashes that take so many octets each. The system gives it when it is first
    /// needed, and what was given stays.
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
        let (password, salt) = (Secret::new("password".to_owned()), b"NaCl");
        let (mut expected, mut output) = ([0; OUTPUT_LENGTH], [0; OUTPUT_LENGTH]);
        let cost = ScryptCost { ln: 4, r: 8, p: 2 };
        scrypt::Params::new(cost.ln, cost.r, cost.p).map_err(|error| error.to_string()).and_then(
            |parameters| {
                let password = password.expose().as_bytes();
                scrypt::scrypt(password, salt, &parameters, &mut expected)
                    .map_err(|error| error.to_string())
            },
        )?;
        self.derive(&password, salt, cost, &mut output);
        if output == expected {
            return Ok(());
        }
        Err("this processor computes wrong hashes: run jeton on another machine".to_owned())
    }

    /// Hashes a new password: the PHC string to store. Takes as long as the hash costs.
    #[must_use]
    pub fn hash(&mut self, password: &Secret, cost: ScryptCost) -> String {
        let salt: [u8; SALT_LENGTH] = random::octets();
        let mut output = [0; OUTPUT_LENGTH];
        self.derive(password, &salt, cost, &mut output);
        let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
        format!("$scrypt${cost}${salt}${output}")
    }

    /// Does the work of one hash for nothing, so that an unknown user costs what a known one does.
    pub fn decoy(&mut self, password: &Secret, cost: ScryptCost) {
        let mut output = [0; OUTPUT_LENGTH];
        self.derive(password, &[0; SALT_LENGTH], cost, &mut output);
        std::hint::black_box(output);
    }

    /// Overwrites what hashes have left: whoever had it could check guesses for next to nothing.
    pub fn wipe(&mut self) {
        self.0.wipe();
    }

    fn derive(&mut self, password: &Secret, salt: &[u8], cost: ScryptCost, output: &mut [u8]) {
        let ScryptCost { ln, r, p } = cost;
        self.0.scrypt(password.expose().as_bytes(), salt, Cost { ln, r, p }, output);
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

    const CHEAP: ScryptCost = ScryptCost { ln: 4, r: 8, p: 1 };

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn memory() -> HashingMemory {
        HashingMemory::reserve(16 << 20).expect("a little memory")
    }

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let memory = &mut memory();
        let first = memory.hash(&secret("a\0b"), CHEAP);
        let stored = PasswordHash::parse(&first, u64::MAX).expect("our own format");
        assert!(stored.verify(&secret("a\0b"), memory));
        // [W-41] A NUL does not end the password.
        for other in ["a", "a\0c", "a\0b ", "A\0b", ""] {
            assert!(!stored.verify(&secret(other), memory), "{other:?}");
        }
        assert_ne!(first, memory.hash(&secret("a\0b"), CHEAP), "the salt is random");
        assert!(stored.is_outdated(ScryptCost::RECOMMENDED) && !stored.is_outdated(CHEAP));
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
            memory.derive(&secret(password), salt.as_bytes(), cost, &mut output);
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
            memory.decoy(&secret("another"), ScryptCost { ln: 5, r: 30, p: 1 });
            memory.derive(&secret(&password), &salt, ScryptCost { ln, r, p }, &mut output);
            prop_assert_eq!(output, expected);
        }
    }

    #[test]
    fn absurd_rows_are_refused_before_they_cost_anything() {
        let row = |cost: &str| format!("$scrypt${cost}$AAAAAAAAAAAAAAAAAAAAAA${}", "A".repeat(43));
        let parse = |text: &str| PasswordHash::parse(text, 128 << 20).err();
        assert_eq!(parse(&row("ln=17,r=8,p=1")), None);
        for dear in ["ln=40,r=8,p=1", "ln=18,r=8,p=1", "ln=17,r=8,p=1000", "ln=40,r=1024,p=1024"] {
            assert_eq!(parse(&row(dear)), Some(PasswordHashError::TooExpensive), "{dear}");
        }
        for odd in ["ln=0,r=8,p=1", "ln=41,r=8,p=1", "ln=300,r=8,p=1", "ln=17,r=0,p=1", "ln=17,r=8"]
        {
            assert_eq!(parse(&row(odd)), Some(PasswordHashError::Unknown), "{odd}");
        }
        for odd in
            ["", "secret", "plain:secret", "$scrypt$", "$2b$12$abc", "$scrypt$ln=17,r=8,p=1$$"]
        {
            assert_eq!(parse(odd), Some(PasswordHashError::Unknown), "{odd}");
        }
        for odd in ["ln=017,r=8,p=1", "ln=17,r=+8,p=1", "ln=17,r=8,p=1,"] {
            assert_eq!(parse(&row(odd)), Some(PasswordHashError::Unknown), "{odd}");
        }
    }
}
