//! scryptROMix (RFC 7914 §5) of several hashes in lockstep.

use alloc::vec;

use argon2::Block as Page;
use fearless_simd::prelude::*;
use zeroize::Zeroize;

use super::block::{BLOCK_LENGTH, Block, Words};
use super::vector::Vector;

/// The most hashes at once.
pub(crate) const LANES_MAX: usize = 16;

const PAGE_BLOCKS: usize = Page::SIZE / BLOCK_LENGTH;

/// Mixes hashes, at most as many as `R` vectors have lanes. `mixed` is input and output: the blocks of each hash, one
/// hash after the other. `filled` is their memory in the same order: `N` rows for each hash, each on its own pages.
///
/// A spare lane repeats what the last hash does, in that hash's memory.
#[inline(always)]
pub(crate) fn ro_mix<S: Simd, V: Vector<S>, const R: usize>(
    simd: S,
    hashes: usize,
    mixed: &mut [Block],
    filled: &mut [Page],
) {
    let length = mixed.len() / hashes;
    let row_pages = length.div_ceil(PAGE_BLOCKS);
    let hash_pages = filled.len() / hashes;
    let n = hash_pages / row_pages;
    let lanes = R * V::LANES;
    let hash_of = |lane: usize| lane.min(hashes - 1);
    // The first page of a row. N is a power of two. Each hash begins one row later than the hash before it, and wraps
    // around. Otherwise the same row of all hashes would be in the same few sets of the cache.
    let page_of = |lane: usize, row: usize| {
        let hash = hash_of(lane);
        hash * hash_pages + ((row + hash) & (n - 1)) * row_pages
    };

    let mut from = vec![Blocks::<V, R>::blank(simd); length];
    let mut to = from.clone();
    for (at, blocks) in from.iter_mut().enumerate() {
        *blocks = Blocks::load(simd, |lane| mixed[hash_of(lane) * length + at].0);
    }
    let mut pages = [0; LANES_MAX];
    for row in 0..n {
        for (lane, page) in pages[..lanes].iter_mut().enumerate() {
            *page = page_of(lane, row);
        }
        block_mix(
            &from,
            &mut to,
            inline!(|at: usize, blocks: &Blocks<V, R>| {
                let (page, at) = (at / PAGE_BLOCKS, at % PAGE_BLOCKS);
                blocks.store(|lane, words| {
                    blocks_mut(&mut filled[pages[lane] + page])[at] = words;
                });
            }),
        );
        core::mem::swap(&mut from, &mut to);
    }
    for _ in 0..n {
        let last = &from[length - 1];
        for (lane, page) in pages[..lanes].iter_mut().enumerate() {
            // N is at most 2^40, so 64 bits of Integerify are enough.
            let row =
                usize::try_from(last.first_octets(lane) & (n as u64 - 1)).expect("less than N");
            *page = page_of(lane, row);
        }
        // This is separate from the mixing, so that all of it is requested from memory at once.
        for (at, blocks) in from.iter_mut().enumerate() {
            let (page, at) = (at / PAGE_BLOCKS, at % PAGE_BLOCKS);
            let kept = Blocks::load(simd, |lane| blocks_of(&filled[pages[lane] + page])[at]);
            *blocks = blocks.xor(&kept);
        }
        block_mix(&from, &mut to, inline!(|_, _| {}));
        core::mem::swap(&mut from, &mut to);
    }
    for (at, blocks) in from.iter().enumerate() {
        blocks.store(|lane, words| mixed[hash_of(lane) * length + at].0 = words);
    }
    for blocks in from.iter_mut().chain(&mut to) {
        blocks.wipe();
    }
}

/// scryptBlockMix (RFC 7914 §4). `see` gets the index and the content of each input block.
#[inline(always)]
fn block_mix<S: Simd, V: Vector<S>, const R: usize>(
    input: &[Blocks<V, R>],
    output: &mut [Blocks<V, R>],
    mut see: impl FnMut(usize, &Blocks<V, R>),
) {
    let (even, odd) = output.split_at_mut(input.len() / 2);
    let mut last = input[input.len() - 1];
    for (at, ((pair, even), odd)) in input.chunks_exact(2).zip(even).zip(odd).enumerate() {
        see(2 * at, &pair[0]);
        last = last.xor(&pair[0]).salsa20_8();
        *even = last;
        see(2 * at + 1, &pair[1]);
        last = last.xor(&pair[1]).salsa20_8();
        *odd = last;
    }
}

/// The same block of each hash: four rows, each in `R` vectors. The vectors do not depend on each other, so the
/// processor computes one while another waits for a result.
#[derive(Clone, Copy)]
struct Blocks<V, const R: usize>([[V; R]; 4]);

impl<V, const R: usize> Blocks<V, R> {
    #[inline(always)]
    fn blank<S: Simd>(simd: S) -> Self
    where
        V: Vector<S>,
    {
        Self([[V::splat(simd, 0); R]; 4])
    }

    /// Puts `words(lane)` into each lane.
    #[inline(always)]
    fn load<S: Simd>(simd: S, words: impl Fn(usize) -> Words) -> Self
    where
        V: Vector<S>,
    {
        let mut blocks = Self::blank(simd);
        for k in 0..R {
            let rows = V::load(simd, |lane| words(k * V::LANES + lane));
            for (row, vector) in blocks.0.iter_mut().zip(rows) {
                row[k] = vector;
            }
        }
        blocks
    }

    /// Calls `words(lane, …)` with the words in each lane.
    #[inline(always)]
    fn store<S: Simd>(&self, mut words: impl FnMut(usize, Words))
    where
        V: Vector<S>,
    {
        let [a, b, c, d] = &self.0;
        for k in 0..R {
            let rows = [a[k], b[k], c[k], d[k]];
            V::store(rows, |lane, of_it| words(k * V::LANES + lane, of_it));
        }
    }

    /// The number in the first 8 octets of a lane's block.
    #[inline(always)]
    fn first_octets<S: Simd>(&self, lane: usize) -> u64
    where
        V: Vector<S>,
    {
        let (k, word) = (lane / V::LANES, lane % V::LANES * 4);
        let (low, high) = (self.0[0][k].as_slice()[word], self.0[3][k].as_slice()[word + 1]);
        u64::from(high) << 32 | u64::from(low)
    }

    #[inline(always)]
    fn xor<S: Simd>(mut self, other: &Self) -> Self
    where
        V: Vector<S>,
    {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            for k in 0..R {
                own[k] ^= other[k];
            }
        }
        self
    }

    /// The Salsa20/8 core (RFC 7914 §3).
    #[inline(always)]
    fn salsa20_8<S: Simd>(mut self) -> Self
    where
        V: Vector<S>,
    {
        let [mut a, mut b, mut c, mut d] = self.0;
        for _ in 0..8 {
            for k in 0..R {
                b[k] ^= rotate::<S, V, 7, 25>(a[k] + d[k]);
            }
            for k in 0..R {
                c[k] ^= rotate::<S, V, 9, 23>(b[k] + a[k]);
            }
            for k in 0..R {
                d[k] ^= rotate::<S, V, 13, 19>(c[k] + b[k]);
            }
            for k in 0..R {
                a[k] ^= rotate::<S, V, 18, 14>(d[k] + c[k]);
            }
            // Columns become rows and rows become columns, so the next round is the same again.
            for k in 0..R {
                let (from_b, from_c) = (turn::<S, V, 3>(b[k]), turn::<S, V, 2>(c[k]));
                (b[k], c[k], d[k]) = (turn::<S, V, 1>(d[k]), from_c, from_b);
            }
        }
        for (own, row) in self.0.iter_mut().zip([a, b, c, d]) {
            for k in 0..R {
                own[k] += row[k];
            }
        }
        self
    }

    #[inline(always)]
    fn wipe<S: Simd>(&mut self)
    where
        V: Vector<S>,
    {
        for vector in self.0.as_flattened_mut() {
            vector.as_mut_slice().zeroize();
        }
    }
}

/// Rotates each word to the left. `LEFT` and `RIGHT` are 32 together.
#[inline(always)]
fn rotate<S: Simd, V: Vector<S>, const LEFT: u32, const RIGHT: u32>(words: V) -> V {
    (words << LEFT) | (words >> RIGHT)
}

/// Rotates the words of each lane to the left.
#[inline(always)]
fn turn<S: Simd, V: Vector<S>, const BY: usize>(words: V) -> V {
    words.slide_within_blocks::<BY>(words)
}

#[inline(always)]
fn blocks_of(page: &Page) -> &[Words] {
    bytemuck::cast_slice(page.as_ref())
}

#[inline(always)]
fn blocks_mut(page: &mut Page) -> &mut [Words] {
    bytemuck::cast_slice_mut(page.as_mut())
}
