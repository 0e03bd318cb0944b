//! What must hold of Jeton's parsers (`tests/fuzz/properties`), held for a moment in every test run: of
//! each input that was kept, and of some thousands next to those. `tests/fuzz/run` goes on for longer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::fuzz_properties::{ALL, Property};
use crate::harness::chance;

/// How many inputs each parser gets beside those that were kept.
const INPUTS: usize = 5_000;

/// The inputs that were kept of a parser, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).expect("a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds nothing", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

/// Whether a property holds of an input, which is shown if not.
#[expect(clippy::print_stderr, reason = "the run of a failed test shows it")]
fn holds(name: &str, property: Property, input: &[u8]) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| property(input)));
    if outcome.is_err() {
        eprintln!("{name}: \"{}\"", input.escape_ascii());
    }
    outcome.is_ok()
}

/// An input next to those that were kept: up to four changes, each one that parsers trip over.
fn next_to(kept: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let pick = |chance: &mut StdRng| &kept[chance.random_range(0..kept.len())];
    let mut input = pick(chance).clone();
    for _ in 0..chance.random_range(1..=4) {
        let at = chance.random_range(0..=input.len());
        let end = chance.random_range(at..=input.len().min(at + 12));
        match chance.random_range(0..6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => input.insert(at, chance.random()),
            3 => drop(input.splice(at..end, input[at..end].repeat(2))),
            4 => {
                let tokens =
                    [&b"%00"[..], b"%", b"=", b"&", b".", b":", b"$", b"\xff", b"\n", b"0"];
                drop(input.splice(at..end, tokens[chance.random_range(0..tokens.len())].to_vec()));
            }
            _ => {
                let other = pick(chance);
                let from = chance.random_range(0..=other.len());
                drop(input.splice(at..end, other[from..].to_vec()));
            }
        }
    }
    input.truncate(16_384);
    input
}

#[test]
fn every_input_that_was_kept_is_read_as_the_rules_have_it() {
    for (name, property) in ALL {
        assert!(corpus(name).iter().all(|input| holds(name, property, input)), "{name}");
    }
}

#[test]
fn inputs_next_to_those_that_were_kept_are_read_as_the_rules_have_it() {
    let seed = chance::seed();
    for (name, property) in ALL {
        let (kept, mut chance) = (corpus(name), chance::choices(seed));
        let mut inputs = (0..INPUTS).map(|_| next_to(&kept, &mut chance));
        assert!(inputs.all(|input| holds(name, property, &input)), "{name}");
    }
}
