//! Vectors of one, two or four lanes.

use fearless_simd::prelude::*;
use fearless_simd::{u32x4, u32x8, u32x16};

use super::block::Words;

/// A vector of 128-bit lanes, each of which belongs to another hash.
///
/// Everything here and in `lanes` is inlined into one function, which is compiled for the kernel's instructions. Code
/// that is not inlined would be compiled for every processor.
pub(crate) trait Vector<S: Simd>: SimdInt<S, Element = u32> {
    const LANES: usize = Self::LEN / 4;

    /// Puts `words(lane)` into each lane of four vectors, one row into each vector.
    fn load(simd: S, words: impl Fn(usize) -> Words) -> [Self; 4];

    /// Calls `words(lane, …)` with the words in each lane.
    fn store(rows: [Self; 4], words: impl FnMut(usize, Words));
}

#[inline(always)]
fn to_rows<S: Simd>(simd: S, words: Words) -> [u32x4<S>; 4] {
    let (low, high) = u32x16::load_array(simd, words).split();
    let ((a, b), (c, d)) = (low.split(), high.split());
    [a, b, c, d]
}

#[inline(always)]
fn to_words<S: Simd>([a, b, c, d]: [u32x4<S>; 4]) -> Words {
    a.combine(b).combine(c.combine(d)).to_array()
}

impl<S: Simd> Vector<S> for u32x4<S> {
    #[inline(always)]
    fn load(simd: S, words: impl Fn(usize) -> Words) -> [Self; 4] {
        to_rows(simd, words(0))
    }

    #[inline(always)]
    fn store(rows: [Self; 4], mut words: impl FnMut(usize, Words)) {
        words(0, to_words(rows));
    }
}

impl<S: Simd> Vector<S> for u32x8<S> {
    #[inline(always)]
    fn load(simd: S, words: impl Fn(usize) -> Words) -> [Self; 4] {
        let (low, high) = (to_rows(simd, words(0)), to_rows(simd, words(1)));
        [
            low[0].combine(high[0]),
            low[1].combine(high[1]),
            low[2].combine(high[2]),
            low[3].combine(high[3]),
        ]
    }

    #[inline(always)]
    fn store([a, b, c, d]: [Self; 4], mut words: impl FnMut(usize, Words)) {
        let (a, b, c, d) = (a.split(), b.split(), c.split(), d.split());
        words(0, to_words([a.0, b.0, c.0, d.0]));
        words(1, to_words([a.1, b.1, c.1, d.1]));
    }
}

impl<S: Simd> Vector<S> for u32x16<S> {
    #[inline(always)]
    fn load(simd: S, words: impl Fn(usize) -> Words) -> [Self; 4] {
        let low = u32x8::load(simd, &words);
        let high = u32x8::load(simd, |lane| words(2 + lane));
        [
            low[0].combine(high[0]),
            low[1].combine(high[1]),
            low[2].combine(high[2]),
            low[3].combine(high[3]),
        ]
    }

    #[inline(always)]
    fn store([a, b, c, d]: [Self; 4], mut words: impl FnMut(usize, Words)) {
        let (a, b, c, d) = (a.split(), b.split(), c.split(), d.split());
        u32x8::store([a.0, b.0, c.0, d.0], &mut words);
        u32x8::store([a.1, b.1, c.1, d.1], |lane, of_it| words(2 + lane, of_it));
    }
}
