//! The block that Salsa20/8 works on.

use core::ops::BitXor;

use wide::u32x4;
use zeroize::DefaultIsZeroes;

/// How many octets a block has.
pub(crate) const BLOCK_LENGTH: usize = 64;

/// Where the words of a block stand in its octets: each row here is a diagonal there, so that one
/// instruction computes four words of a round.
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [4, 9, 14, 3], [8, 13, 2, 7], [12, 1, 6, 11]];

/// Four rows of four words.
pub(crate) type Words = [u32x4; 4];

/// 64 octets.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
pub(crate) struct Block(pub(crate) Words);

impl DefaultIsZeroes for Block {}

impl Block {
    /// The block of these octets.
    pub(crate) fn read(octets: &[u8; BLOCK_LENGTH]) -> Self {
        let (words, _) = octets.as_chunks::<4>();
        Self(DIAGONALS.map(|row| u32x4::new(row.map(|at| u32::from_le_bytes(words[at])))))
    }

    /// The octets of this block.
    pub(crate) fn write(&self) -> [u8; BLOCK_LENGTH] {
        let mut octets = [0; BLOCK_LENGTH];
        let (words, _) = octets.as_chunks_mut::<4>();
        for (row, diagonal) in self.0.iter().zip(DIAGONALS) {
            for (word, at) in row.to_array().into_iter().zip(diagonal) {
                words[at] = word.to_le_bytes();
            }
        }
        octets
    }

    /// The number in its first 8 octets.
    #[inline]
    pub(crate) fn first_octets(&self) -> u64 {
        let [low, ..] = self.0[0].to_array();
        let [_, high, ..] = self.0[3].to_array();
        u64::from(high) << 32 | u64::from(low)
    }

    /// The Salsa20/8 core (RFC 7914 §3).
    #[inline]
    pub(crate) fn salsa20_8(self) -> Self {
        let [mut a, mut b, mut c, mut d] = self.0;
        for _ in 0..8 {
            b ^= rotate::<7, 25>(a + d);
            c ^= rotate::<9, 23>(b + a);
            d ^= rotate::<13, 19>(c + b);
            a ^= rotate::<18, 14>(d + c);
            // Columns become rows and rows columns: the next round is the same again.
            (b, c, d) = (turn::<1>(d), turn::<2>(c), turn::<3>(b));
        }
        let [first_a, first_b, first_c, first_d] = self.0;
        Self([a + first_a, b + first_b, c + first_c, d + first_d])
    }
}

impl BitXor for Block {
    type Output = Self;

    #[inline]
    fn bitxor(self, other: Self) -> Self {
        let (own, other) = (self.0, other.0);
        Self([own[0] ^ other[0], own[1] ^ other[1], own[2] ^ other[2], own[3] ^ other[3]])
    }
}

/// Rotates each word to the left; both numbers are 32 together.
#[inline]
fn rotate<const LEFT: u32, const RIGHT: u32>(row: u32x4) -> u32x4 {
    (row << LEFT) | (row >> RIGHT)
}

/// Moves the words of a row to the left.
#[inline]
fn turn<const BY: usize>(row: u32x4) -> u32x4 {
    let words = row.to_array();
    u32x4::new([words[BY % 4], words[(BY + 1) % 4], words[(BY + 2) % 4], words[(BY + 3) % 4]])
}
