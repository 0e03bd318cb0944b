//! The code that mixes, compiled for the instructions of each kind of processor.

use argon2::Block as Page;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u32x4, u32x8, u32x16};

use crate::block::Block;
use crate::lanes::ro_mix;
use crate::vector::Vector;

/// Which vector instructions compute the hashes, and how many hashes they compute at once at most.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    level: Level,
    lanes: usize,
}

impl Kernel {
    /// The fastest one that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        Self::of(Level::new())
    }

    /// All that this processor can run, the fastest one first.
    pub fn all_here() -> impl Iterator<Item = Self> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        let levels = [
            best.as_avx512().map(Simd::level),
            best.as_avx2().map(Simd::level),
            best.as_sse2().map(Simd::level),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(best)];
        levels.into_iter().flatten().map(Self::of)
    }

    fn of(level: Level) -> Self {
        Self { level, lanes: dispatch!(level, simd => lanes(simd)) }
    }

    /// The same instructions for at most so many hashes at once.
    #[must_use]
    pub fn at_most(self, lanes: usize) -> Self {
        Self { lanes: self.lanes.min(lanes).max(1), ..self }
    }

    /// What it is called in logs and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Level::Sse2(_) | Level::Sse4_2(_) => "SSE2",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "NEON",
            _ => "plain",
        }
    }

    /// How many hashes at once make most hashes a second.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.lanes
    }

    /// As [`ro_mix`], with as few vectors as so many lanes take.
    pub(crate) fn ro_mix(self, lanes: usize, mixed: &mut [Block], filled: &mut [Page]) {
        dispatch!(self.level, simd => shaped(simd, lanes, mixed, filled));
    }
}

/// How many lanes are in flight at most: four vectors of a processor.
fn lanes<S: Simd>(_: S) -> usize {
    4 * S::u32s::LEN / 4
}

fn shaped<S: Simd>(simd: S, lanes: usize, mixed: &mut [Block], filled: &mut [Page]) {
    match lanes {
        1 => run::<S, u32x4<S>, 1>(simd, lanes, mixed, filled),
        2 => run::<S, u32x8<S>, 1>(simd, lanes, mixed, filled),
        3..=4 => run::<S, u32x16<S>, 1>(simd, lanes, mixed, filled),
        5..=8 => run::<S, u32x16<S>, 2>(simd, lanes, mixed, filled),
        9..=12 => run::<S, u32x16<S>, 3>(simd, lanes, mixed, filled),
        _ => run::<S, u32x16<S>, 4>(simd, lanes, mixed, filled),
    }
}

/// A function of its own for each shape, compiled for this processor.
fn run<S: Simd, V: Vector<S>, const R: usize>(
    simd: S,
    lanes: usize,
    mixed: &mut [Block],
    filled: &mut [Page],
) {
    simd.vectorize(
        #[inline(always)]
        || ro_mix::<S, V, R>(simd, lanes, mixed, filled),
    );
}
