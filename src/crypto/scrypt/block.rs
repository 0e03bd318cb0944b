//! The block that Salsa20/8 works on.

use zeroize::DefaultIsZeroes;

pub(crate) const BLOCK_LENGTH: usize = 64;

/// The position of each word of a block in its octets. Each row here is a diagonal there, so that one instruction
/// computes four words of a round.
const DIAGONALS: [usize; 16] = [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11];

/// Four rows of four words.
pub(crate) type Words = [u32; 16];

#[derive(Clone, Copy, Default)]
pub(crate) struct Block(pub(crate) Words);

impl DefaultIsZeroes for Block {}

impl Block {
    pub(crate) fn read(octets: &[u8; BLOCK_LENGTH]) -> Self {
        let (words, _) = octets.as_chunks::<4>();
        Self(DIAGONALS.map(|at| u32::from_le_bytes(words[at])))
    }

    pub(crate) fn write(&self) -> [u8; BLOCK_LENGTH] {
        let mut octets = [0; BLOCK_LENGTH];
        let (words, _) = octets.as_chunks_mut::<4>();
        for (word, at) in self.0.iter().zip(DIAGONALS) {
            words[at] = word.to_le_bytes();
        }
        octets
    }
}
