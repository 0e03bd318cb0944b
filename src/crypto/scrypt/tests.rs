//! What every kernel that this processor runs must satisfy.

extern crate std;

use std::vec::Vec;
use std::{env, eprintln, vec};

use super::lanes::LANES_MAX;
use super::*;

const COST: Cost = Cost { ln: 4, r: 3, p: 2 };

/// RFC 7914 §12, all vectors but the last, which takes a gigabyte.
#[test]
fn every_kernel_computes_the_vectors_of_the_rfc() {
    let vectors = [
        (
            ("", "", Cost { ln: 4, r: 1, p: 1 }),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442\
             fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        ),
        (
            ("password", "NaCl", Cost { ln: 10, r: 8, p: 16 }),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162\
             2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
        (
            ("pleaseletmein", "SodiumChloride", Cost { ln: 14, r: 8, p: 1 }),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
             d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
    ];
    for kernel in Kernel::all_here() {
        let mut memory = Memory::reserve_for(kernel, 16 << 20).expect("a little memory");
        for ((password, salt, cost), expected) in vectors {
            let mut output = [0; 64];
            memory.scrypt(password.as_bytes(), salt.as_bytes(), cost, &mut output);
            let pairs = expected.as_bytes().chunks(2).map(|pair| core::str::from_utf8(pair));
            let octets = pairs.map(|pair| u8::from_str_radix(pair.expect("ASCII"), 16));
            let expected: Result<Vec<u8>, _> = octets.collect();
            assert_eq!(output.to_vec(), expected.expect("hex digits"), "{kernel:?}");
        }
    }
}

/// Each batch has another cost. So this also shows that what a hash left in memory does not change the next one.
#[test]
fn every_kernel_agrees_with_the_crate_scrypt() {
    compare(400);
}

#[test]
#[ignore = "takes some minutes: `tests/long` runs it"]
fn every_kernel_agrees_with_the_crate_scrypt_over_100_000_inputs() {
    compare(100_000);
}

/// Compares every kernel with the crate `scrypt` over this many inputs, in batches of 1 to 20, partly or all at once.
fn compare(inputs: usize) {
    let mut chance = Chance::new();
    let octets = Cost { ln: 10, r: 16, p: 1 }.memory() * LANES_MAX as u64;
    let memory_of = |kernel| (kernel, Memory::reserve_for(kernel, octets).expect("some memory"));
    let mut memories: Vec<(Kernel, Memory)> = Kernel::all_here().map(memory_of).collect();
    let mut compared = 0;
    while compared < inputs {
        let cost = Cost { ln: chance.of(1, 10), r: chance.of(1, 32), p: chance.of(1, 5) };
        if (cost.r * cost.p) << cost.ln > 1 << 14 {
            continue; // It would take the time of many others.
        }
        let texts: Vec<(Vec<u8>, Vec<u8>)> =
            (0..chance.of(1, 20)).map(|_: usize| (chance.octets(), chance.octets())).collect();
        let inputs: Vec<Input<'_>> =
            texts.iter().map(|(password, salt)| Input { password, salt }).collect();
        let parameters = scrypt::Params::new(cost.ln, cost.r, cost.p).expect("valid parameters");
        let hashed = inputs.iter().map(|input| {
            let mut output = [0; 32];
            scrypt::scrypt(input.password, input.salt, &parameters, &mut output)
                .expect("a length it has");
            output
        });
        let expected: Vec<[u8; 32]> = hashed.collect();
        for (kernel, memory) in &mut memories {
            memory.kernel = kernel.at_most(chance.of(1, LANES_MAX as u64));
            let mut outputs = vec![[0; 32]; inputs.len()];
            memory.scrypt_many(cost, &inputs, &mut outputs);
            assert_eq!(outputs, expected, "{cost:?}, {:?}", memory.kernel);

            let mut output = [0; 32];
            memory.scrypt(inputs[0].password, inputs[0].salt, cost, &mut output);
            assert_eq!(output, expected[0], "{cost:?}, {:?}, one alone", memory.kernel);
        }
        compared += inputs.len();
    }
}

#[test]
fn hashes_at_once_take_no_more_than_was_reserved() {
    for hashes in 1..=5 {
        let mut memory =
            Memory::reserve((COST.pages() * hashes * Page::SIZE) as u64).expect("a little memory");
        let inputs = [Input { password: b"password", salt: b"salt" }; 7];
        let (mut outputs, mut alone) = ([[0; 32]; 7], [0; 32]);
        memory.scrypt_many(COST, &inputs, &mut outputs);
        memory.scrypt(b"password", b"salt", COST, &mut alone);
        assert_eq!(outputs, [alone; 7]);
        assert!(memory.pages.capacity() * Page::SIZE <= COST.pages() * hashes * Page::SIZE);
    }
}

#[test]
fn what_a_hash_leaves_can_be_wiped() {
    let mut memory = Memory::reserve(1 << 20).expect("a little memory");
    memory.scrypt(b"password", b"salt", COST, &mut [0; 32]);
    let is_blank = |page: &Page| page.as_ref().iter().all(|word| *word == 0);
    assert!(memory.pages.iter().all(|page| !is_blank(page)));
    memory.wipe();
    assert!(!memory.pages.is_empty() && memory.pages.iter().all(is_blank));
    let nothing = [0; BLOCK_LENGTH];
    assert!(memory.mixed.iter().all(|block| block.write() == nothing));
}

#[test]
fn memory_that_was_given_back_is_taken_again() {
    let mut memory = Memory::reserve(1 << 20).expect("a little memory");
    let (mut before, mut after) = ([0; 32], [0; 32]);
    memory.scrypt(b"password", b"salt", COST, &mut before);
    memory.give_back();
    assert!(memory.pages.is_empty());
    memory.scrypt(b"password", b"salt", COST, &mut after);
    assert_eq!(before, after);
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

/// Random numbers (`SplitMix64`).
struct Chance(u64);

impl Chance {
    /// The seed is printed; `JETON_TEST_SEED` sets it.
    #[expect(clippy::print_stderr, reason = "the run of a failed test shows it")]
    fn new() -> Self {
        let given = env::var("JETON_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(0)
        });
        eprintln!("JETON_TEST_SEED={seed}");
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn of<T: TryFrom<u64>>(&mut self, least: u64, most: u64) -> T {
        let number = least + self.number() % (most - least + 1);
        T::try_from(number).ok().expect("the type has the bounds")
    }

    /// 0 to 200 octets.
    fn octets(&mut self) -> Vec<u8> {
        (0..self.of(0, 200)).map(|_: usize| self.of(0, 255)).collect()
    }
}
