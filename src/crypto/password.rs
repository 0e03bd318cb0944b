//! Stored password hashes: what they are, what they cost, how they are verified.
//!
//! New hashes are scrypt in the PHC string form. [`PasswordHash`] is the place where formats that
//! were imported from elsewhere join it: a variant each, verified inside the same bounds and
//! replaced by scrypt at the next login.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use scrypt::Params;
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
    pub fn verify(&self, password: &Secret) -> bool {
        match self {
            Self::Scrypt { cost, salt, output } => {
                let mut computed = vec![0; output.len()];
                derive(password, salt, *cost, &mut computed);
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

/// Hashes a new password: the PHC string to store. Takes as long as the hash costs.
#[must_use]
pub fn hash(password: &Secret, cost: ScryptCost) -> String {
    let salt: [u8; SALT_LENGTH] = random::octets();
    let mut output = [0; OUTPUT_LENGTH];
    derive(password, &salt, cost, &mut output);
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    format!("$scrypt${cost}${salt}${output}")
}

/// Does the work of one hash for nothing, so that an unknown user costs what a known one does.
pub fn decoy(password: &Secret, cost: ScryptCost) {
    let mut output = [0; OUTPUT_LENGTH];
    derive(password, &[0; SALT_LENGTH], cost, &mut output);
    std::hint::black_box(output);
}

fn derive(password: &Secret, salt: &[u8], cost: ScryptCost, output: &mut [u8]) {
    let parameters = Params::new(cost.ln, cost.r, cost.p).expect("costs were checked when read");
    scrypt::scrypt(password.expose().as_bytes(), salt, &parameters, output)
        .expect("output lengths were checked when read");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: ScryptCost = ScryptCost { ln: 4, r: 8, p: 1 };

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let first = hash(&secret("a\0b"), CHEAP);
        let stored = PasswordHash::parse(&first, u64::MAX).expect("our own format");
        assert!(stored.verify(&secret("a\0b")));
        // [W-41] A NUL does not end the password.
        for other in ["a", "a\0c", "a\0b ", "A\0b", ""] {
            assert!(!stored.verify(&secret(other)), "{other:?}");
        }
        assert_ne!(first, hash(&secret("a\0b"), CHEAP), "the salt is random");
        assert!(stored.is_outdated(ScryptCost::RECOMMENDED) && !stored.is_outdated(CHEAP));
    }

    /// RFC 7914 §12, the second vector.
    #[test]
    fn the_function_is_scrypt() {
        let cost = ScryptCost { ln: 10, r: 8, p: 16 };
        let mut output = [0; 64];
        derive(&secret("password"), b"NaCl", cost, &mut output);
        assert_eq!(output[..8], [0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00]);
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
