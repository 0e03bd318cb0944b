//! The memory in which hashes are computed.

use jeton_scrypt::{Cost, Input, Kernel, Memory, TryReserveError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::PasswordHash;
use super::together::NewHash;
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Secret};

/// Octets of output in new hashes.
pub(super) const OUTPUT_LENGTH: usize = 32;
/// More than [`HashingMemory::test`] takes, in octets.
const TEST_MEMORY: u64 = 1 << 20;

/// How many scrypt hashes of this cost are computed at once in this much memory. It is a power of two, because half a
/// vector more takes as long as a whole one.
#[must_use]
pub fn lanes(kernel: Kernel, memory: u64, cost: ScryptCost) -> usize {
    let by_memory = usize::try_from(memory / cost.memory()).unwrap_or(usize::MAX);
    let lanes = kernel.lanes().min(by_memory).max(1);
    1 << lanes.ilog2()
}

/// Why hashes cannot be computed here.
#[derive(Debug, Error)]
pub enum HashingError {
    /// The system does not have that much memory.
    #[error("the system does not give the memory to hash passwords: {0}")]
    NoMemory(#[source] TryReserveError),
    /// A hash differs from that of another implementation.
    #[error("this processor computes wrong hashes: run jeton on another machine")]
    WrongHashes,
    /// The other implementation refused a cost.
    #[error(transparent)]
    Cost(#[from] scrypt::errors::InvalidParams),
    /// The other implementation refused a length.
    #[error(transparent)]
    Length(#[from] scrypt::errors::InvalidOutputLen),
}

/// The memory in which one thread computes hashes.
#[derive(Debug)]
pub struct HashingMemory(Memory);

impl HashingMemory {
    /// Reserves this many octets for the hashes that are computed at once. The system provides the memory when it is
    /// first used, and the memory stays until [`HashingMemory::give_back`].
    ///
    /// # Errors
    /// The system does not have that much memory.
    pub fn reserve(octets: u64) -> Result<Self, HashingError> {
        Self::reserve_for(Kernel::best(), octets)
    }

    /// Like [`HashingMemory::reserve`]; this kernel computes scrypt.
    ///
    /// # Errors
    /// The system does not have that much memory.
    pub fn reserve_for(kernel: Kernel, octets: u64) -> Result<Self, HashingError> {
        Memory::reserve_for(kernel, octets).map(Self).map_err(HashingError::NoMemory)
    }

    /// Tests that hashes on this processor equal those of another implementation, for each number of lanes.
    ///
    /// # Errors
    /// They differ: no password may be hashed or verified.
    pub fn test(&mut self) -> Result<(), HashingError> {
        let password = b"password";
        let cost = |p| ScryptCost { ln: 4, r: 8, p };
        let expected = |salt: &[u8], cost: ScryptCost| {
            let parameters = scrypt::Params::new(cost.ln, cost.r, cost.p)?;
            let mut output = [0; OUTPUT_LENGTH];
            scrypt::scrypt(password, salt, &parameters, &mut output)?;
            Ok(output)
        };
        let salts: Vec<_> =
            (0..self.kernel().lanes()).map(|lane| format!("NaCl {lane}").into_bytes()).collect();
        let each = salts.iter().map(|salt| expected(salt, cost(1)));
        let each: Vec<_> = each.collect::<Result<_, HashingError>>()?;
        let inputs: Vec<_> = salts.iter().map(|salt| Input { password, salt }).collect();
        // Different code computes one hash, two and more at once.
        let mut is_right = (1..=inputs.len()).all(|count| {
            let computed = self.derive_many(inputs.get(..count).unwrap_or_default(), cost(1));
            each.get(..count) == Some(computed.as_slice())
        });
        let mut in_parts = [0; OUTPUT_LENGTH];
        self.derive(password, b"NaCl", cost(2), &mut in_parts);
        is_right &= in_parts == expected(b"NaCl", cost(2))?;
        if is_right {
            return Ok(());
        }
        Err(HashingError::WrongHashes)
    }

    /// The kernel that computes scrypt.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.0.kernel()
    }

    /// Hashes a new password to a PHC string. Takes as long as the hash costs.
    #[must_use]
    pub fn hash(&mut self, password: &Secret, cost: ScryptCost) -> String {
        NewHash::of(password).make(cost, self)
    }

    /// Overwrites what hashes left behind. With it, guesses could be checked at almost no cost.
    pub fn wipe(&mut self) {
        self.0.wipe();
    }

    /// Wipes the memory and gives it back to the system. The next hash needs some hundredths of a second to get it.
    pub fn give_back(&mut self) {
        self.0.give_back();
    }

    /// Computes scrypt.
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

    /// Computes scrypt of several inputs, as many at once as kernel and memory allow.
    pub(super) fn derive_many(
        &mut self,
        inputs: &[Input<'_>],
        cost: ScryptCost,
    ) -> Zeroizing<Vec<[u8; OUTPUT_LENGTH]>> {
        let ScryptCost { ln, r, p } = cost;
        let mut outputs = Zeroizing::new(vec![[0; OUTPUT_LENGTH]; inputs.len()]);
        self.0.scrypt_many(Cost { ln, r, p }, inputs, &mut outputs);
        outputs
    }

    pub(super) fn lend(&mut self, pages: usize) -> &mut [argon2::Block] {
        self.0.lend(pages)
    }
}

/// Verifies a password where nothing else is hashed: whether it is the one of this hash. Takes as long as the hash costs.
///
/// # Errors
/// There is not enough memory.
pub fn verify(hash: &PasswordHash, password: &Password) -> Result<bool, HashingError> {
    let mut memory = HashingMemory::reserve(hash.memory().max(TEST_MEMORY))?;
    memory.test()?;
    let is_right = hash.verify(password, &mut memory).is_some();
    memory.wipe();
    Ok(is_right)
}

/// Hashes a new password to a PHC string, in memory of its own.
///
/// # Errors
/// There is not enough memory, or this processor computes wrong hashes.
pub fn hash(password: &Secret, cost: ScryptCost) -> Result<String, HashingError> {
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

    proptest! {
        /// What another hash left in the memory changes nothing.
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
            let _ = memory.hash(&Secret::new("another".to_owned()), ScryptCost { ln: 5, r: 30, p: 1 });
            memory.derive(password.as_bytes(), &salt, ScryptCost { ln, r, p }, &mut output);
            prop_assert_eq!(output, expected);
        }
    }
}
