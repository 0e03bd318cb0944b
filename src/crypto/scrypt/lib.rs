//! scrypt (RFC 7914) in memory that is kept from one hash to the next.
//!
//! Other implementations take the memory of each hash from the allocator. Then nobody can say how much
//! a service takes at most, because allocators keep what was freed for a while; and what a hash leaves
//! behind, from which guesses of the password can be checked cheaply, is nobody's to wipe.
//!
//! A package of its own, so that tests run it with optimisation. They hold it against the vectors of
//! RFC 7914 and against the crate `scrypt` (`src/crypto/password.rs`).

#![no_std]
#![expect(
    clippy::indexing_slicing,
    reason = "the bounds follow from the cost, and a check of each would be half the work"
)]

extern crate alloc;

mod block;

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

use block::{BLOCK_LENGTH, Block};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// The greatest block size `r` there is room for.
pub const R_MAX: u32 = 1_024;

/// What the two strings of 2·r blocks that are mixed into each other take at most.
const MIXED_MAX: usize = 2 * 2 * R_MAX as usize;

/// What a hash costs (RFC 7914 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The binary logarithm of `N`: 1 to 40.
    pub ln: u8,
    /// The block size: 1 to [`R_MAX`].
    pub r: u32,
    /// How many times the memory is filled: at least 1.
    pub p: u32,
}

impl Cost {
    /// The blocks that are filled: 2·r·N.
    fn filled(self) -> usize {
        (2 * self.r as usize) << self.ln
    }
}

/// The memory of one hash at a time.
pub struct Memory {
    /// Its capacity never changes, and its length only grows: the system gives pages when they are first
    /// written to.
    blocks: Vec<Block>,
    /// How many blocks from the start may hold something of a password.
    used: usize,
}

impl core::fmt::Debug for Memory {
    /// Shows the size and nothing of what is inside.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Memory({} octets)", self.blocks.capacity() * BLOCK_LENGTH)
    }
}

impl Memory {
    /// Reserves memory for hashes whose `128·r·N` is at most this many octets, and 256 KiB.
    ///
    /// # Errors
    /// There is not so much.
    pub fn reserve(octets: u64) -> Result<Self, TryReserveError> {
        let filled = usize::try_from(octets).unwrap_or(usize::MAX) / BLOCK_LENGTH;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(filled.saturating_add(MIXED_MAX))?;
        Ok(Self { blocks, used: 0 })
    }

    /// Computes scrypt. What it needed stays in memory until the next hash or [`Memory::wipe`].
    ///
    /// # Panics
    /// If the cost is out of the bounds of [`Cost`], or takes more than was reserved.
    pub fn scrypt(&mut self, password: &[u8], salt: &[u8], cost: Cost, output: &mut [u8]) {
        assert!((1..=40).contains(&cost.ln) && (1..=R_MAX).contains(&cost.r) && cost.p > 0);
        let length = 2 * cost.r as usize;
        let needed = cost.filled() + 2 * length;
        assert!(needed <= self.blocks.capacity(), "{cost:?} takes more than was reserved");
        self.used = self.used.max(needed);
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::default());
        }
        let (mixed, rest) = self.blocks.split_at_mut(length);
        let (other, rest) = rest.split_at_mut(length);
        let filled = &mut rest[..cost.filled()];

        // PBKDF2 with one iteration is an HMAC for each part of its output, so neither its output nor
        // the second one's salt need be in memory as a whole.
        let keyed = Hmac::<Sha256>::new_from_slice(password).expect("keys of any length");
        let mut salted = keyed.clone();
        salted.update(salt);
        let mut last = keyed;
        let mut part = 0;
        for _ in 0..cost.p {
            for block in &mut *mixed {
                let mut octets = [0; BLOCK_LENGTH];
                fill_with_parts(&salted, &mut part, &mut octets);
                *block = Block::read(&octets);
                octets.zeroize();
            }
            ro_mix(mixed, other, filled);
            for block in &*mixed {
                let mut octets = block.write();
                last.update(&octets);
                octets.zeroize();
            }
        }
        fill_with_parts(&last, &mut 0, output);
    }

    /// Overwrites what hashes have left.
    pub fn wipe(&mut self) {
        self.blocks[..self.used].zeroize();
        self.used = 0;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The next parts of the output of PBKDF2 with one iteration (RFC 8018 §5.2); `part` counts them.
fn fill_with_parts(salted: &Hmac<Sha256>, part: &mut u32, output: &mut [u8]) {
    for octets in output.chunks_mut(32) {
        *part += 1;
        let mut mac = salted.clone();
        mac.update(&part.to_be_bytes());
        let mut tag = mac.finalize().into_bytes();
        octets.copy_from_slice(&tag[..octets.len()]);
        tag.zeroize();
    }
}

/// scryptROMix (RFC 7914 §5): `mixed` is both input and output; `other` is room for as much; `filled`
/// is the memory, `N` times as long.
fn ro_mix(mixed: &mut [Block], other: &mut [Block], filled: &mut [Block]) {
    let length = mixed.len();
    let n = filled.len() / length;
    filled[..length].copy_from_slice(mixed);
    for end in 1..n {
        let (before, rest) = filled.split_at_mut(end * length);
        block_mix(&before[(end - 1) * length..], &mut rest[..length]);
    }
    block_mix(&filled[(n - 1) * length..], mixed);

    let (mut from, mut to) = (mixed, other);
    for _ in 0..n {
        // N is a power of two that is at most 2^40, so 64 bits of Integerify are as good as all.
        let chosen = usize::try_from(from[length - 1].first_octets() & (n as u64 - 1));
        let start = chosen.expect("less than N") * length;
        // Apart from the mixing: so the memory is asked for all of it at once.
        for (block, chosen) in from.iter_mut().zip(&filled[start..start + length]) {
            *block = *block ^ *chosen;
        }
        block_mix(from, to);
        core::mem::swap(&mut from, &mut to);
    }
    // N is even: the last was written to `mixed`.
}

/// scryptBlockMix (RFC 7914 §4).
#[inline]
fn block_mix(input: &[Block], output: &mut [Block]) {
    let (even, odd) = output.split_at_mut(input.len() / 2);
    let mut last = input[input.len() - 1];
    for ((pair, even), odd) in input.chunks_exact(2).zip(even).zip(odd) {
        last = (last ^ pair[0]).salsa20_8();
        *even = last;
        last = (last ^ pair[1]).salsa20_8();
        *odd = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost { ln: 4, r: 3, p: 2 };

    #[test]
    fn what_a_hash_leaves_can_be_wiped() {
        let mut memory = Memory::reserve(1 << 20).expect("a little memory");
        memory.scrypt(b"password", b"salt", COST, &mut [0; 32]);
        let is_blank = |block: &Block| block.write() == [0; BLOCK_LENGTH];
        assert!(memory.blocks.iter().all(|block| !is_blank(block)));
        memory.wipe();
        assert!(!memory.blocks.is_empty() && memory.blocks.iter().all(is_blank));
    }

    #[test]
    fn more_memory_than_there_is_is_an_error() {
        assert!(Memory::reserve(u64::MAX).is_err());
    }

    #[test]
    #[should_panic(expected = "more than was reserved")]
    fn a_hash_takes_no_more_than_was_reserved() {
        let mut memory = Memory::reserve(1 << 20).expect("a little memory");
        memory.scrypt(b"password", b"salt", Cost { ln: 14, ..COST }, &mut [0; 32]);
    }
}
