//! Stored password hashes: what they are, what they cost, how they are verified.
//!
//! New hashes are scrypt in the PHC string form. Hashes that users bring from elsewhere are verified as they are,
//! within the same limits, and replaced at the next login. Before that, a weak hash can be wrapped: scrypt then hashes
//! its output. scrypt hashes of the same cost are computed together (`together`).

mod crypt;
mod firebase;
mod format;
mod memory;
pub mod of_parts;
mod rewriting;
mod scheme;
mod together;
mod unknown;

use std::borrow::Cow;
use std::fmt;

use subtle::ConstantTimeEq;

use super::data_key;
use format::Parts;
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Secret};
pub use jeton_scrypt::Kernel;
use memory::OUTPUT_LENGTH;
pub use memory::{HashingError, HashingMemory, hash, lanes, verify};
use scheme::Scheme;
pub use scheme::Sha;
pub use together::{Hashed, Hashing, NewHash, hash_together, make_together};
pub use unknown::{describe as describe_unknown, looks_like_hash};

/// The beginning of a new hash.
const PHC: &str = "$scrypt$";
/// The beginning of a wrapped hash: `$scrypt-over$cost$salt$output$`, then the inner hash with letters A as its output.
const WRAPPER: &str = "$scrypt-over$";
/// A hash that takes less memory than this, in octets, is called weak: it is no obstacle for machines that only guess.
const STRONG_MEMORY: u64 = 16 << 20;

/// A stored hash that was read and is within the limits.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    text: Secret,
    scheme: Scheme,
    /// scrypt over the output of `scheme`.
    wrapper: Option<Scheme>,
    /// The output that the right password yields.
    output: Vec<u8>,
    /// The length of the output of `scheme`.
    length: usize,
}

/// The form in which a password matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it was sent, which is how other libraries hash it.
    Presented,
    /// As this service hashes it. This is also the form if both are the same.
    Prepared,
}

impl Form {
    /// The form that matched, if any: given whether the presented form matched, and the other form, if there is one.
    fn of(password: &Password, presented: bool, other: Option<bool>) -> Option<Self> {
        let prepared = other.unwrap_or(presented && password.prepared().is_some());
        match (presented, prepared) {
            (_, true) => Some(Self::Prepared),
            (true, false) => Some(Self::Presented),
            (false, false) => None,
        }
    }
}

/// Why a stored hash cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordHashError {
    /// It is damaged, or in no format known here.
    Unknown,
    /// It is sealed, and so cannot be opened.
    Sealed,
    /// It asks for more memory or work than this process allows.
    TooExpensive,
}

impl fmt::Display for PasswordHashError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => {
                "the stored password hash is in no known format: set a new password with \
                 `jeton user passwd`"
            }
            Self::Sealed => {
                "the stored password hash is sealed and does not open: it was altered, or copied from another user's \
                 row; look who can write the database, and set a new password with `jeton user passwd`"
            }
            Self::TooExpensive => {
                "the stored password hash asks for more than --hash-memory allows a thread, or for \
                 more than 16 times the work of ln=17,r=8,p=1: raise --hash-memory, or set a new \
                 password with `jeton user passwd`"
            }
        })
    }
}

impl fmt::Display for PasswordHash {
    /// The function and its cost, and nothing that helps to guess.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wrapper {
            None => self.scheme.fmt(formatter),
            Some(wrapper) => write!(formatter, "{wrapper} over {}", self.scheme),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PasswordHash({self})")
    }
}

impl PasswordHash {
    /// The names of the functions.
    pub const FUNCTIONS: [&str; 8] = [
        "scrypt",
        "bcrypt",
        "pbkdf2",
        "argon2",
        "sha-crypt",
        "phpass",
        "firebase-scrypt",
        "digest",
    ];

    /// The text to store for a hash that comes from elsewhere. What LDAP directories, ASP.NET Identity and others write in
    /// a form of their own is rewritten as a text that [`Self::parse`] reads; every other text stays as it is. The same
    /// text always yields the same.
    #[must_use]
    pub fn adopt(text: &str) -> Cow<'_, str> {
        rewriting::adopt(text)
    }

    /// Reads a stored hash that may take `memory_max` octets to compute. The limits are checked here, before anything
    /// is allocated, so that a forged row cannot exhaust the machine.
    ///
    /// # Errors
    /// [`PasswordHashError`], which says what to do.
    pub fn parse(text: &str, memory_max: u64) -> Result<Self, PasswordHashError> {
        if data_key::is_sealed(text) {
            return Err(PasswordHashError::Sealed);
        }
        let hash = Self::read(text).ok_or(PasswordHashError::Unknown)?;
        if hash.schemes().any(|scheme| scheme.memory() > memory_max)
            || hash.work() > ScryptCost::WORK_MAX
        {
            return Err(PasswordHashError::TooExpensive);
        }
        Ok(hash)
    }

    /// Whether a text is a hash, perhaps cut off, and not something that only begins like one.
    #[must_use]
    pub fn is_text_of_one(text: &str) -> bool {
        let is_named = format::beginning(text).or_else(|| rewriting::beginning(text)).is_some();
        text.len() >= 32 && (text.starts_with(WRAPPER) || is_named)
    }

    fn read(text: &str) -> Option<Self> {
        let stored = Secret::new(text.to_owned());
        let Some(rest) = text.strip_prefix(WRAPPER) else {
            let Parts { scheme, output, .. } = format::read(text)?;
            let length = output.len();
            return Some(Self { text: stored, scheme, wrapper: None, output, length });
        };
        let (wrapper, other) = split_wrapper(rest)?;
        let inner = format::read(other)?;
        (blank(other, &inner) == other).then_some(Self {
            text: stored,
            scheme: inner.scheme,
            wrapper: Some(wrapper.scheme),
            output: wrapper.output,
            length: inner.output.len(),
        })
    }

    /// The function that is computed first, one of [`Self::FUNCTIONS`].
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.scheme.function()
    }

    /// What is computed, including the wrapper.
    fn schemes(&self) -> impl Iterator<Item = &Scheme> {
        [Some(&self.scheme), self.wrapper.as_ref()].into_iter().flatten()
    }

    /// The estimated work, in octets that scrypt fills in the same time. It is limited before anything is computed.
    #[must_use]
    pub fn work(&self) -> u64 {
        let wrapper = self.wrapper.as_ref().map_or(0, |wrapper| wrapper.work(self.output.len()));
        self.scheme.work(self.length).saturating_add(wrapper)
    }

    /// The memory that it takes to compute, in octets.
    fn memory(&self) -> u64 {
        self.schemes().map(Scheme::memory).fold(0, u64::max)
    }

    /// The form in which the password matches, if any. Other libraries hash a password as it was sent, and passlib
    /// writes scrypt as this service does, so both forms are compared. This takes as long as the hash costs, or twice
    /// as long if the forms differ, whether one of them matches or not.
    #[must_use]
    pub fn verify(&self, password: &Password, memory: &mut HashingMemory) -> Option<Form> {
        let presented = self.matches(&password.presented, memory);
        let other = password.other_form().map(|form| self.matches(form, memory));
        Form::of(password, presented, other)
    }

    /// The cost if the hash can be computed in a lane ([`hash_together`]): plain scrypt, no longer than a new hash.
    #[must_use]
    pub fn lane_cost(&self) -> Option<ScryptCost> {
        self.in_lane().map(|(cost, _)| cost)
    }

    fn lane_salt(&self) -> Option<&[u8]> {
        self.in_lane().map(|(_, salt)| salt)
    }

    fn in_lane(&self) -> Option<(ScryptCost, &[u8])> {
        match &self.scheme {
            Scheme::Scrypt { cost, salt }
                if self.wrapper.is_none() && self.length <= OUTPUT_LENGTH =>
            {
                Some((*cost, salt))
            }
            _ => None,
        }
    }

    /// Whether scrypt computed this hash. `computed` is as long as the output of a new hash.
    fn is_output(&self, computed: &[u8; OUTPUT_LENGTH]) -> bool {
        // scrypt's output is that of PBKDF2, where a shorter output is the beginning of a longer one (RFC 8018 §5.2).
        computed.get(..self.length).is_some_and(|computed| computed.ct_eq(&self.output).into())
    }

    fn matches(&self, form: &Secret, memory: &mut HashingMemory) -> bool {
        let mut computed = self.scheme.compute(form.expose().as_bytes(), self.length, memory);
        if let Some(wrapper) = &self.wrapper {
            computed = wrapper.compute(&computed, self.output.len(), memory);
        }
        computed.ct_eq(&self.output).into()
    }

    /// What to store in place of this hash after the password matched in this form: the hash of the prepared form, or
    /// this hash wrapped. `None` if this hash may stay.
    #[must_use]
    pub fn replacement(
        &self,
        password: &Password,
        right: Form,
        cost: ScryptCost,
    ) -> Option<NewHash> {
        let Some(prepared) = password.prepared() else {
            // The password has no prepared form, so it can only match as it was sent.
            return if self.is_current(cost) { None } else { self.wrapped(cost) };
        };
        let verified = match right {
            Form::Presented => &password.presented,
            Form::Prepared => prepared,
        };
        if self.scheme.ignores_some_of(verified.expose()) {
            // Nobody knows the rest of the password. Only what was verified may be required from now on.
            return self.wrapped(cost);
        }
        let is_to_stay = self.is_current(cost) && right == Form::Prepared;
        (!is_to_stay).then(|| NewHash::of(prepared))
    }

    /// This hash wrapped in scrypt. `None` if it is wrapped already, or if both together would exceed the limit of
    /// work.
    #[must_use]
    pub fn wrapped(&self, cost: ScryptCost) -> Option<NewHash> {
        let wrapper = Scheme::Scrypt { cost, salt: Vec::new() };
        let is_possible =
            self.work().saturating_add(wrapper.work(OUTPUT_LENGTH)) <= ScryptCost::WORK_MAX;
        let possible = self.wrapper.is_none() && is_possible;
        possible.then(|| NewHash::of_octets(&self.output, Some(self.without_output())))
    }

    /// Whether it is in the format of this service's own hashes. passlib writes scrypt in the same format.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.text.expose().starts_with(PHC)
    }

    /// Whether it is as a new hash would be.
    #[must_use]
    pub fn is_current(&self, policy: ScryptCost) -> bool {
        let is_policy = matches!(&self.scheme, Scheme::Scrypt { cost, .. } if *cost == policy);
        is_policy && self.is_own()
    }

    /// Whether it is easy for machines that only guess: it takes less than 16 MiB and is not wrapped.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.scheme.memory() < STRONG_MEMORY && self.wrapper.is_none()
    }

    /// Whether it costs next to nothing to compute and is not wrapped: a digest, phpass, SHA-crypt below 100,000 rounds,
    /// PBKDF2 below 10,000 iterations. Whoever gets a copy of the database finds most passwords from such a hash.
    #[must_use]
    pub fn is_fast(&self) -> bool {
        self.scheme.is_fast() && self.wrapper.is_none()
    }

    /// Whether this stored hash is `other`, or wraps it. What is wrapped shows its salt and not its output, so without a
    /// salt the answer is no: wrapping it again is better than keeping a password that was changed elsewhere.
    #[must_use]
    pub fn is_made_of(&self, other: &Self) -> bool {
        match self.wrapper {
            None => self.text == other.text,
            Some(_) => {
                !self.scheme.is_unsalted() && self.without_output() == other.without_output()
            }
        }
    }

    /// The text of the hash, or of the inner one if it is wrapped, with letters A for its output.
    #[must_use]
    pub fn without_output(&self) -> String {
        let text = self.text.expose();
        let wrapped = text.strip_prefix(WRAPPER).and_then(split_wrapper);
        let text = wrapped.map_or(text, |(_, other)| other);
        format::read(text).map_or_else(String::new, |parts| blank(text, &parts))
    }
}

/// The wrapper of a hash, and the text of the inner hash, which has dollar signs too.
fn split_wrapper(text: &str) -> Option<(Parts, &str)> {
    let (end, _) = text.match_indices('$').nth(2)?;
    let (wrapper, other) = (text.get(..end)?, text.get(end + 1..)?);
    Some((format::read(&format!("{PHC}{wrapper}"))?, other))
}

/// The text of a hash with letters A for its output.
fn blank(text: &str, parts: &Parts) -> String {
    let (begin, output) = text.split_at(text.len() - parts.output_characters);
    let letters = output.chars().map(|letter| if letter == '=' { '=' } else { 'A' });
    begin.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests;
