//! scryptROMix (RFC 7914 §5) of several hashes in lockstep.

use alloc::vec;

use argon2::Block as Page;
use fearless_simd::prelude::*;
use zeroize::Zeroize;

use crate::block::{BLOCK_LENGTH, Block, Words};
use crate::vector::Vector;

/// The blocks of a page.
const PAGE_BLOCKS: usize = Page::SIZE / BLOCK_LENGTH;

/// The same block of each hash: four rows, each in `R` vectors.
#[derive(Clone, Copy)]
struct Blocks<V, const R: usize>([[V; R]; 4]);

/// Mixes `lanes` hashes, at most as many as `R` vectors have lanes. `mixed` is both input and output, the
/// blocks of one hash after those of another; `filled` is their memory in the same order.
///
/// A lane without a hash does what the last hash does, in that one's memory: it reads and writes the same.
#[inline(always)]
pub(crate) fn ro_mix<S: Simd, V: Vector<S>, const R: usize>(
    simd: S,
    lanes: usize,
    mixed: &mut [Block],
    filled: &mut [Page],
) {
    let length = mixed.len() / lanes;
    let part = length.div_ceil(PAGE_BLOCKS);
    let hash_pages = filled.len() / lanes;
    let n = hash_pages / part;
    let hash = |k: usize, lane: usize| (k * V::LANES + lane).min(lanes - 1);

    let mut from = vec![Blocks([[V::splat(simd, 0); R]; 4]); length];
    let mut to = from.clone();
    for (at, blocks) in from.iter_mut().enumerate() {
        for k in 0..R {
            let rows = V::load(simd, inline!(|lane| mixed[hash(k, lane) * length + at].0));
            for row in 0..4 {
                blocks.0[row][k] = rows[row];
            }
        }
    }

    // Where the memory of each lane's hash begins.
    let mut start = [[0; 4]; R];
    for (k, starts) in start.iter_mut().enumerate() {
        for (lane, start) in starts.iter_mut().enumerate() {
            *start = hash(k, lane) * hash_pages;
        }
    }
    for i in 0..n {
        for (at, blocks) in from.iter().enumerate() {
            let (page, at) = (i * part + at / PAGE_BLOCKS, at % PAGE_BLOCKS);
            for k in 0..R {
                let [a, b, c, d] = blocks.0;
                V::store(
                    [a[k], b[k], c[k], d[k]],
                    inline!(|lane, words| {
                        blocks_mut(&mut filled[start[k][lane] + page])[at] = words;
                    }),
                );
            }
        }
        block_mix(&from, &mut to);
        core::mem::swap(&mut from, &mut to);
    }
    for _ in 0..n {
        let mut chosen = start;
        let last = &from[length - 1].0;
        for (k, chosen) in chosen.iter_mut().enumerate() {
            for lane in 0..V::LANES {
                let (low, high) =
                    (last[0][k].as_slice()[4 * lane], last[3][k].as_slice()[4 * lane + 1]);
                // N is a power of two that is at most 2^40, so 64 bits of Integerify are as good as all.
                let number = (u64::from(high) << 32 | u64::from(low)) & (n as u64 - 1);
                chosen[lane] += usize::try_from(number).expect("less than N") * part;
            }
        }
        // Apart from the mixing: so the memory is asked for all of it at once.
        for (at, blocks) in from.iter_mut().enumerate() {
            let (page, at) = (at / PAGE_BLOCKS, at % PAGE_BLOCKS);
            for k in 0..R {
                let rows =
                    V::load(simd, inline!(|lane| blocks_of(&filled[chosen[k][lane] + page])[at]));
                for row in 0..4 {
                    blocks.0[row][k] ^= rows[row];
                }
            }
        }
        block_mix(&from, &mut to);
        core::mem::swap(&mut from, &mut to);
    }

    for (at, blocks) in from.iter().enumerate() {
        for k in 0..R {
            let [a, b, c, d] = blocks.0;
            V::store(
                [a[k], b[k], c[k], d[k]],
                inline!(|lane, words| mixed[hash(k, lane) * length + at].0 = words),
            );
        }
    }
    for blocks in from.iter_mut().chain(&mut to) {
        for vector in blocks.0.as_flattened_mut() {
            vector.as_mut_slice().zeroize();
        }
    }
}

/// The blocks of a page.
#[inline(always)]
fn blocks_of(page: &Page) -> &[Words] {
    bytemuck::cast_slice(page.as_ref())
}

#[inline(always)]
fn blocks_mut(page: &mut Page) -> &mut [Words] {
    bytemuck::cast_slice_mut(page.as_mut())
}

/// scryptBlockMix (RFC 7914 §4).
#[inline(always)]
fn block_mix<S: Simd, V: Vector<S>, const R: usize>(
    input: &[Blocks<V, R>],
    output: &mut [Blocks<V, R>],
) {
    let (even, odd) = output.split_at_mut(input.len() / 2);
    let mut last = input[input.len() - 1];
    for ((pair, even), odd) in input.chunks_exact(2).zip(even).zip(odd) {
        last = salsa20_8(xor(last, &pair[0]));
        *even = last;
        last = salsa20_8(xor(last, &pair[1]));
        *odd = last;
    }
}

#[inline(always)]
fn xor<S: Simd, V: Vector<S>, const R: usize>(
    mut blocks: Blocks<V, R>,
    other: &Blocks<V, R>,
) -> Blocks<V, R> {
    for i in 0..4 {
        for k in 0..R {
            blocks.0[i][k] ^= other.0[i][k];
        }
    }
    blocks
}

/// The Salsa20/8 core (RFC 7914 §3).
#[inline(always)]
fn salsa20_8<S: Simd, V: Vector<S>, const R: usize>(blocks: Blocks<V, R>) -> Blocks<V, R> {
    let [mut a, mut b, mut c, mut d] = blocks.0;
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
        // Columns become rows and rows columns: the next round is the same again.
        for k in 0..R {
            (b[k], c[k], d[k]) =
                (turn::<S, V, 1>(d[k]), turn::<S, V, 2>(c[k]), turn::<S, V, 3>(b[k]));
        }
    }
    let mut mixed = blocks;
    for (first, row) in mixed.0.iter_mut().zip([a, b, c, d]) {
        for k in 0..R {
            first[k] += row[k];
        }
    }
    mixed
}

/// Rotates each word to the left; both numbers are 32 together.
#[inline(always)]
fn rotate<S: Simd, V: Vector<S>, const LEFT: u32, const RIGHT: u32>(words: V) -> V {
    (words << LEFT) | (words >> RIGHT)
}

/// Moves the words of each lane to the left.
#[inline(always)]
fn turn<S: Simd, V: Vector<S>, const BY: usize>(words: V) -> V {
    words.slide_within_blocks::<BY>(words)
}
