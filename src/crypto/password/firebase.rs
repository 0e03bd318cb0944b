//! scrypt of Firebase: its output is a key, which encrypts a secret of the project.

use openssl::symm::{self, Cipher};
use zeroize::Zeroizing;

use super::memory::HashingMemory;
use jeton_oauth::ScryptCost;

/// The octets of an AES-256 key.
const KEY_LENGTH: usize = 32;

/// The inputs of Firebase's scrypt besides the password (<https://github.com/firebase/scrypt>).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FirebaseScrypt {
    pub(super) cost: ScryptCost,
    /// The salt of the user, and then the separator of the project.
    pub(super) salt: Vec<u8>,
    /// The secret of the project, as long as the output.
    pub(super) signer_key: Vec<u8>,
}

impl FirebaseScrypt {
    /// The signer key, encrypted by AES-256 in counter mode from zero. Each key encrypts nothing else.
    pub(super) fn compute(&self, password: &[u8], memory: &mut HashingMemory) -> Vec<u8> {
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        memory.derive(password, &self.salt, self.cost, &mut key[..]);
        symm::encrypt(Cipher::aes_256_ctr(), &key[..], Some(&[0; 16]), &self.signer_key)
            .expect("a key and a counter of the right length")
    }
}
