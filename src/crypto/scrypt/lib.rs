//! scrypt (RFC 7914) of several passwords at once, in memory that is kept from one hash to the next. This package does
//! not know what a password is for.
//!
//! # Lanes
//! scrypt is one long chain: each instruction of Salsa20/8 needs the result of the one before it, so a processor core
//! that computes one hash waits most of the time. Therefore several hashes are computed in lockstep. A block of scrypt
//! is 16 words, in four rows of four. A row has 128 bits, so a vector register of 128, 256 or 512 bits holds the same
//! row of 1, 2 or 4 hashes. Each 128 bits of a register are a *lane*. One instruction does the same step for all lanes.
//! Several registers are in flight at once, so that the processor works on some while others wait.
//!
//! | file | content |
//! |---|---|
//! | here | what surrounds the mixing: PBKDF2, and which hash gets which lane and which part of the memory |
//! | `lanes` | the mixing (scryptROMix), written once for every width and number of registers |
//! | `vector` | puts the blocks of up to four hashes into the lanes of a vector and takes them out again |
//! | `kernel` | the instructions that the processor has, and the widths and numbers that are compiled for them |
//! | `block` | a block of scrypt, read from octets and written to octets |
//!
//! The hashes of a batch share only their cost. Each has its own part of the memory, and its lane reads and writes only
//! there. All take the same steps and finish at the same time. That time depends on their cost and number, but not on
//! what is hashed. With `p` greater than 1, a hash has `p` parts that are mixed independently, each in a lane.
//!
//! The crate `fearless_simd` detects what the processor can do and compiles the code for it, without unsafe code here.
//! Everything in `lanes` and `vector` is inlined into one function for each kernel and width.
//!
//! # Memory
//! Other implementations take the memory of each hash from the program's allocator. Allocators keep freed memory for a
//! while, so nobody can say how much a service takes at most. Nor can anybody wipe what a hash left behind, with which
//! guesses of the password can be checked cheaply.
//!
//! Here the memory comes from the system's allocator, whatever allocator the rest of the program uses. The system's
//! allocator keeps no freed piece of this size, so [`Memory::give_back`] works. Hashes that are computed at once take
//! [`Cost::memory`] each, and no more. The memory consists of the blocks of the crate `argon2`, so that it can be lent
//! to that crate for hashes made elsewhere ([`Memory::lend`]).
//!
//! This is a package of its own, so that tests run it with optimisation. They compare every kernel with the vectors of
//! RFC 7914 and with the crate `scrypt`. `cargo bench -p jeton-scrypt` compares how fast they are.

#![no_std]
#![expect(
    clippy::indexing_slicing,
    reason = "the bounds follow from the cost, and a check of each would be half the work"
)]
#![expect(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for the instructions of the kernel that calls it"
)]

extern crate alloc;

/// A closure that is compiled for the instructions of the kernel that calls it.
macro_rules! inline {
    ($closure:expr) => {
        #[inline(always)]
        $closure
    };
}

mod block;
mod kernel;
mod lanes;
mod vector;

use alloc::vec::Vec;

use allocator_api2::alloc::System;
pub use allocator_api2::collections::TryReserveError;
use allocator_api2::vec::Vec as VecIn;
use argon2::Block as Page;
use block::{BLOCK_LENGTH, Block};
use hmac::{Hmac, KeyInit, Mac};
pub use kernel::Kernel;
use sha2::Sha256;
use zeroize::Zeroize;

/// The largest block size `r` that there is room for.
pub const R_MAX: u32 = 1_024;

/// How many blocks are mixed at once at most, for all hashes together: one hash with the largest `r` has as many.
const MIXED_MAX: usize = 2 * R_MAX as usize;

/// The cost of a hash (RFC 7914 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The binary logarithm of `N`: 1 to 40.
    pub ln: u8,
    /// The block size: 1 to [`R_MAX`].
    pub r: u32,
    /// How many parts are mixed: at least 1, and `p·r` below 2^30.
    pub p: u32,
}

impl Cost {
    /// The memory of one lane in octets: 128·r·N, with `r` rounded up to a multiple of 8. It is enough for one hash
    /// with any `p`, whose parts can be mixed one after the other.
    #[must_use]
    pub fn memory(self) -> u64 {
        (u64::from(self.r.div_ceil(8)) * Page::SIZE as u64) << self.ln.min(40)
    }

    /// Whether each field is within its bounds, and `p` also within that of RFC 7914 §2.
    fn is_in_bounds(self) -> bool {
        let Self { ln, r, p } = self;
        let is_short = u64::from(p) * u64::from(r) < 1 << 30;
        (1..=40).contains(&ln) && (1..=R_MAX).contains(&r) && p > 0 && is_short
    }

    fn pages(self) -> usize {
        usize::try_from(self.memory()).unwrap_or(usize::MAX) / Page::SIZE
    }
}

/// The input of one hash.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The password, of any length.
    pub password: &'a [u8],
    /// The salt, of any length.
    pub salt: &'a [u8],
}

impl core::fmt::Debug for Input<'_> {
    /// Shows nothing of the input.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Input")
    }
}

/// The memory of the hashes that are computed at once.
pub struct Memory {
    kernel: Kernel,
    /// It only grows until it is given back, because the system provides memory when that is first written to.
    pages: VecIn<Page, System>,
    pages_max: usize,
    /// How many pages from the start may contain something of a password.
    used: usize,
    mixed: Vec<Block>,
}

impl core::fmt::Debug for Memory {
    /// Shows the size and none of the content.
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Memory({} octets)", self.pages_max * Page::SIZE)
    }
}

impl Memory {
    /// Reserves this many octets for the hashes that are computed at once, and 128 KiB. While hashes are mixed, each
    /// takes 256·r octets more, rounded up to the lanes of whole vectors.
    ///
    /// # Errors
    /// The system does not have that much memory.
    pub fn reserve(octets: u64) -> Result<Self, TryReserveError> {
        Self::reserve_for(Kernel::best(), octets)
    }

    /// Like [`Memory::reserve`]; this kernel computes the hashes.
    ///
    /// # Errors
    /// The system does not have that much memory.
    pub fn reserve_for(kernel: Kernel, octets: u64) -> Result<Self, TryReserveError> {
        let pages = usize::try_from(octets).unwrap_or(usize::MAX) / Page::SIZE;
        let mut memory = Self {
            kernel,
            pages: VecIn::new_in(System),
            pages_max: pages,
            used: 0,
            mixed: Vec::new(),
        };
        memory.reserve_pages()?;
        memory.mixed.reserve_exact(MIXED_MAX);
        Ok(memory)
    }

    /// The kernel that computes the hashes.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    fn reserve_pages(&mut self) -> Result<(), TryReserveError> {
        self.pages.try_reserve_exact(self.pages_max - self.pages.len())
    }

    /// Overwrites what hashes left behind, and gives the memory back to the system. The next hash takes longer, because
    /// the system must provide the memory again.
    pub fn give_back(&mut self) {
        self.wipe();
        self.pages = VecIn::new_in(System);
        // An error does not matter: the next hash reserves again. Reserved pages take no memory before their first use.
        self.reserve_pages().ok();
    }

    /// Lends this many pages to another function. What it leaves there stays until the next hash or [`Memory::wipe`].
    ///
    /// # Panics
    /// If this is more than was reserved, or if the system does not provide again what was given back to it.
    pub fn lend(&mut self, pages: usize) -> &mut [Page] {
        assert!(pages <= self.pages_max, "{pages} pages are more than was reserved");
        self.reserve_pages().expect("the system has the memory that was given back to it");
        self.used = self.used.max(pages);
        if self.pages.len() < pages {
            self.pages.resize(pages, Page::new());
        }
        &mut self.pages[..pages]
    }

    /// Computes scrypt. What it used stays in memory until the next hash or [`Memory::wipe`]. If `p` is greater than 1,
    /// as many parts are computed at once as kernel and memory allow.
    ///
    /// # Panics
    /// If the cost is out of the bounds of [`Cost`], and like [`Memory::lend`].
    pub fn scrypt(&mut self, password: &[u8], salt: &[u8], cost: Cost, output: &mut [u8]) {
        self.compute(cost, &[Input { password, salt }], |_, last| {
            fill_with_parts(last, 0, output);
        });
    }

    /// Computes scrypt of each input: `outputs[i]` is that of `inputs[i]`. As many are computed at once as kernel and
    /// memory allow, and the rest after them. What they used stays in memory until the next hash or [`Memory::wipe`].
    ///
    /// # Panics
    /// Like [`Memory::scrypt`], and if there are not as many outputs as inputs.
    pub fn scrypt_many(&mut self, cost: Cost, inputs: &[Input<'_>], outputs: &mut [[u8; 32]]) {
        assert_eq!(inputs.len(), outputs.len(), "each input has an output");
        self.compute(cost, inputs, |input, last| fill_with_parts(last, 0, &mut outputs[input]));
    }

    /// Computes scrypt up to the last step. For each input in order, `done` gets the index and the HMAC for the output.
    ///
    /// An input has `p` parts, which are independent until all are mixed. So a lane takes a part of any input.
    fn compute(
        &mut self,
        cost: Cost,
        inputs: &[Input<'_>],
        mut done: impl FnMut(usize, &Hmac<Sha256>),
    ) {
        assert!(cost.is_in_bounds(), "{cost:?} is out of bounds");
        let (length, p) = (2 * cost.r as usize, cost.p as usize);
        let pages = cost.pages();
        let at_once =
            self.kernel.lanes().min(self.pages_max / pages).min(MIXED_MAX / length).max(1);
        let parts = inputs.len() * p;
        // Of an input whose parts are not all mixed yet.
        let mut last = None;
        for first in (0..parts).step_by(at_once) {
            let lanes = first..parts.min(first + at_once);
            self.lend(lanes.len() * pages);
            self.mixed.resize(self.mixed.len().max(lanes.len() * length), Block::default());
            let mixed = &mut self.mixed[..lanes.len() * length];
            for (at, blocks) in lanes.clone().zip(mixed.chunks_exact_mut(length)) {
                let Input { password, salt } = inputs[at / p];
                let mut salted = keyed(password);
                salted.update(salt);
                fill_with_blocks(&salted, at % p * length, blocks);
            }
            self.kernel.ro_mix(lanes.len(), mixed, &mut self.pages[..lanes.len() * pages]);
            for (at, blocks) in lanes.zip(mixed.chunks_exact(length)) {
                let mut so_far = last.take().unwrap_or_else(|| keyed(inputs[at / p].password));
                for block in blocks {
                    let mut octets = block.write();
                    so_far.update(&octets);
                    octets.zeroize();
                }
                if at % p + 1 == p {
                    done(at / p, &so_far);
                } else {
                    last = Some(so_far);
                }
            }
        }
    }

    /// Overwrites what hashes left behind.
    pub fn wipe(&mut self) {
        self.pages[..self.used].iter_mut().zeroize();
        self.used = 0;
        self.mixed.zeroize();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn keyed(password: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(password).expect("keys of any length")
}

/// The output of PBKDF2 with one iteration (RFC 8018 §5.2), without its first `skipped` parts of 32 octets. Each part
/// is an HMAC of its own, so the whole output is never in memory.
fn fill_with_parts(salted: &Hmac<Sha256>, skipped: usize, output: &mut [u8]) {
    for (octets, number) in output.chunks_mut(32).zip(skipped + 1..) {
        let mut mac = salted.clone();
        mac.update(&u32::try_from(number).expect("within the bounds of the cost").to_be_bytes());
        let mut tag = mac.finalize().into_bytes();
        octets.copy_from_slice(&tag[..octets.len()]);
        tag.zeroize();
    }
}

/// Like [`fill_with_parts`], in blocks.
fn fill_with_blocks(salted: &Hmac<Sha256>, skipped: usize, blocks: &mut [Block]) {
    for (block, before) in blocks.iter_mut().zip(skipped..) {
        let mut octets = [0; BLOCK_LENGTH];
        fill_with_parts(salted, before * (BLOCK_LENGTH / 32), &mut octets);
        *block = Block::read(&octets);
        octets.zeroize();
    }
}

#[cfg(test)]
mod tests;
