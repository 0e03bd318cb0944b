//! Hashes computed together, each in a lane of one batch of scrypt. That takes less time than one after the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jeton_scrypt::Input;
use zeroize::Zeroizing;

use super::memory::{HashingMemory, OUTPUT_LENGTH};
use super::{Form, PHC, PasswordHash, WRAPPER};
use crate::random;
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Secret};

/// Octets of salt in new hashes.
const SALT_LENGTH: usize = 16;

/// A hash to compute beside others.
#[derive(Debug)]
pub enum Hashing<'a> {
    /// Verify a password.
    Verify {
        /// The hash to verify against. Its [`PasswordHash::lane_cost`] must be that of the batch. Without one the work
        /// is done for nothing, so that an unknown user takes as long as a known one.
        stored: Option<&'a PasswordHash>,
        /// The password.
        password: &'a Password,
    },
    /// Make a new hash.
    Make(&'a NewHash),
}

/// The result of a [`Hashing`].
#[derive(Debug)]
pub enum Hashed {
    /// The form in which the password matched, if any.
    Verified(Option<Form>),
    /// The text of the new hash.
    Made(String),
}

impl Hashing<'_> {
    /// The inputs, each for one lane. A password has two if its prepared form differs from the presented one.
    fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        let (salt, octets) = match self {
            Self::Verify { stored, password } => {
                let salt = stored.and_then(PasswordHash::lane_salt);
                let other = password.other_form().map(|form| form.expose().as_bytes());
                (
                    salt.unwrap_or(&[0; SALT_LENGTH]),
                    [Some(password.presented.expose().as_bytes()), other],
                )
            }
            Self::Make(new) => (&new.salt[..], [Some(&new.octets[..]), None]),
        };
        octets.into_iter().flatten().map(move |password| Input { password, salt })
    }

    /// How many lanes it takes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.inputs().count()
    }

    /// The result, given the output of each lane.
    fn outcome(&self, cost: ScryptCost, outputs: &[[u8; OUTPUT_LENGTH]]) -> Hashed {
        let mut outputs = outputs.iter();
        let first = outputs.next().expect("at least one lane");
        match self {
            Self::Verify { stored, password } => {
                let is_right = |output| stored.is_some_and(|stored| stored.is_output(output));
                let (presented, other) = (is_right(first), outputs.next().map(is_right));
                Hashed::Verified(Form::of(password, presented, other))
            }
            Self::Make(new) => Hashed::Made(new.text(cost, first)),
        }
    }
}

/// Computes all in one batch of scrypt of this cost, and returns the result of each.
#[must_use]
pub fn hash_together(
    hashings: &[Hashing<'_>],
    cost: ScryptCost,
    memory: &mut HashingMemory,
) -> Vec<Hashed> {
    let inputs: Vec<_> = hashings.iter().flat_map(Hashing::inputs).collect();
    let outputs = memory.derive_many(&inputs, cost);
    let mut rest = outputs.as_slice();
    let outcomes = hashings.iter().map(|hashing| {
        let (own, others) = rest.split_at(hashing.lanes());
        rest = others;
        hashing.outcome(cost, own)
    });
    outcomes.collect()
}

/// A hash to be computed and stored.
pub struct NewHash {
    octets: Zeroizing<Vec<u8>>,
    salt: [u8; SALT_LENGTH],
    /// The text of the wrapped hash, without its output.
    wrapped: Option<String>,
}

impl std::fmt::Debug for NewHash {
    /// Shows nothing of what is hashed.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewHash")
    }
}

impl NewHash {
    /// The hash of a password.
    #[must_use]
    pub fn of(password: &Secret) -> Self {
        Self::of_octets(password.expose().as_bytes(), None)
    }

    pub(super) fn of_octets(octets: &[u8], wrapped: Option<String>) -> Self {
        Self { octets: Zeroizing::new(octets.to_vec()), salt: random::octets(), wrapped }
    }

    /// Computes the text to store. Takes as long as the hash costs.
    #[must_use]
    pub fn make(&self, cost: ScryptCost, memory: &mut HashingMemory) -> String {
        let outputs = memory.derive_many(&[self.input()], cost);
        outputs.iter().map(|output| self.text(cost, output)).collect()
    }

    fn input(&self) -> Input<'_> {
        Input { password: &self.octets, salt: &self.salt }
    }

    fn text(&self, cost: ScryptCost, output: &[u8; OUTPUT_LENGTH]) -> String {
        let (salt, output) = (STANDARD_NO_PAD.encode(self.salt), STANDARD_NO_PAD.encode(output));
        match &self.wrapped {
            None => format!("{PHC}{cost}${salt}${output}"),
            Some(wrapped) => format!("{WRAPPER}{cost}${salt}${output}${wrapped}"),
        }
    }
}

/// Computes the texts of new hashes, as many at once as the memory allows.
#[must_use]
pub fn make_together(new: &[NewHash], cost: ScryptCost, memory: &mut HashingMemory) -> Vec<String> {
    let inputs: Vec<_> = new.iter().map(NewHash::input).collect();
    let outputs = memory.derive_many(&inputs, cost);
    new.iter().zip(outputs.iter()).map(|(new, output)| new.text(cost, output)).collect()
}
