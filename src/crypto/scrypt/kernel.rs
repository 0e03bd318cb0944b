//! The mixing, compiled for the instructions of each kind of processor.

use argon2::Block as Page;
use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch, u32x4, u32x8, u32x16};

use super::block::Block;
use super::lanes::ro_mix;
use super::vector::Vector;

/// The vector instructions that compute hashes, and how many hashes they compute at once at most.
///
/// | name | on | lanes of a register | hashes at once |
/// |---|---|---|---|
/// | `AVX-512` | x86-64 since Ice Lake and Zen 4 | 4 | 16 |
/// | `AVX2` | x86-64 since Haswell and Zen | 2 | 8 |
/// | `SSE2` | all of x86-64 | 1 | 4 |
/// | `NEON` | ARM of 64 bits | 1 | 4 |
/// | `plain` | others | 1, if the compiler finds one | 1 |
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    level: Level,
    lanes: usize,
}

impl Kernel {
    /// The fastest kernel that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        Self::all_here().next().expect("some instructions are there on every processor")
    }

    /// All kernels that this processor can run, the fastest one first.
    pub fn all_here() -> impl Iterator<Item = Self> {
        let level = Level::new();
        #[cfg(target_arch = "x86_64")]
        let levels = [
            level.as_avx512().map(Simd::level),
            level.as_avx2().map(Simd::level),
            level.as_sse2().map(Simd::level),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(level)];
        levels.into_iter().flatten().map(|level| Self {
            level,
            // Without vectors, several hashes at once gain nothing.
            lanes: if level.is_fallback() { 1 } else { dispatch!(level, simd => lanes(simd)) },
        })
    }

    /// The same instructions, for at most this many hashes at once.
    #[must_use]
    pub fn at_most(self, lanes: usize) -> Self {
        Self { lanes: self.lanes.min(lanes).max(1), ..self }
    }

    /// Its name in logs and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Level::Sse2(_) => "SSE2",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "NEON",
            _ => "plain",
        }
    }

    /// The number of hashes at once that gives the most hashes per second.
    #[must_use]
    pub fn lanes(self) -> usize {
        self.lanes
    }

    /// [`ro_mix`] with as few vectors as this many hashes need.
    pub(crate) fn ro_mix(self, hashes: usize, mixed: &mut [Block], filled: &mut [Page]) {
        dispatch!(self.level, simd => choose(simd, hashes, mixed, filled));
    }
}

/// As many lanes as four registers have. With fewer, instructions wait for each other; more do not fit the processor.
fn lanes<S: Simd>(_: S) -> usize {
    4 * S::u32s::LEN / 4
}

/// A vector that is wider than a register is several registers in flight.
fn choose<S: Simd>(simd: S, hashes: usize, mixed: &mut [Block], filled: &mut [Page]) {
    match hashes {
        1 => compiled::<S, u32x4<S>, 1>(simd, hashes, mixed, filled),
        2 => compiled::<S, u32x8<S>, 1>(simd, hashes, mixed, filled),
        3..=4 => compiled::<S, u32x16<S>, 1>(simd, hashes, mixed, filled),
        5..=8 => compiled::<S, u32x16<S>, 2>(simd, hashes, mixed, filled),
        9..=12 => compiled::<S, u32x16<S>, 3>(simd, hashes, mixed, filled),
        _ => compiled::<S, u32x16<S>, 4>(simd, hashes, mixed, filled),
    }
}

/// [`ro_mix`], compiled for a processor, a vector width and a number of vectors in flight.
fn compiled<S: Simd, V: Vector<S>, const R: usize>(
    simd: S,
    hashes: usize,
    mixed: &mut [Block],
    filled: &mut [Page],
) {
    simd.vectorize(
        #[inline(always)]
        || ro_mix::<S, V, R>(simd, hashes, mixed, filled),
    );
}
