//! What the hashes take that users bring from elsewhere, and whether they take what they are taken for:
//! that estimate is all that keeps a stored hash from being too expensive.

use jeton_crypto::password::{HashingMemory, PasswordHash};
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ScryptCost, Secret};
use serde::Deserialize;

use super::bare::processor_time;
use super::{ROUNDS, median};

/// The memory that a hash may take.
const MEMORY: u64 = 128 << 20;
/// How the vectors that have the cost of every day are called.
const USUAL: &str = " at its default";

/// A wrong password, and the octets of the longest one.
const WRONG: &str = "tuesday fern lamp";
const LONGEST: usize = 1_024;

/// A hash as a library made it.
#[derive(Deserialize)]
struct Vector {
    made_by: String,
    format: String,
    hash: String,
}

/// A hash that is verified against a password, and how often it took how many times as long as scrypt.
struct Format {
    name: String,
    hash: PasswordHash,
    password: String,
    ratios: Vec<f64>,
}

impl Format {
    fn new(name: &str, text: &str) -> Self {
        let hash = PasswordHash::parse(&PasswordHash::adopt(text), MEMORY)
            .unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
        Self { name: name.to_owned(), hash, password: WRONG.to_owned(), ratios: Vec::new() }
    }

    /// With the longest password that can be sent, for functions that read it in every round.
    fn with_long_password(mut self) -> Self {
        WRONG.repeat(LONGEST)[..LONGEST].clone_into(&mut self.password);
        self
    }

    /// What it is taken for, in hashes of the usual cost.
    fn estimate(&self) -> f64 {
        self.hash.work() as f64 / ScryptCost::RECOMMENDED.memory() as f64
    }

    /// The time of one verification, in seconds of the processor.
    fn time(&self, memory: &mut HashingMemory) -> f64 {
        // The password is wrong, which takes as long.
        let password = Password::new(Secret::new(self.password.clone()));
        // As often as it takes to be measured well.
        let calls = (0.5 / self.estimate()).ceil() as u32;
        let time = processor_time(calls, || {
            std::hint::black_box(self.hash.verify(&password, memory));
        });
        time.as_secs_f64()
    }

    fn print(&self) {
        let least = self.ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.ratios.iter().copied().fold(0.0, f64::max);
        let (own, estimate) = (median(self.ratios.clone()), self.estimate());
        println!(
            "  {}: {}: {own:.3} [{least:.3}..{most:.3}], taken for {estimate:.3}, which is {:.2} times as \
             much",
            self.name,
            self.hash,
            estimate / own
        );
    }
}

/// At the cost that each library has by default.
fn usual() -> Vec<Format> {
    let text = include_str!("../../tests/vectors/password-hashes.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).expect("a list of vectors");
    let usual = vectors.iter().filter_map(|Vector { made_by, format, hash }| {
        let format = format.strip_suffix(USUAL)?;
        Some(Format::new(&format!("{made_by}, {format}"), hash))
    });
    let (salt, output) = ("A".repeat(22), "A".repeat(86));
    let further = [
        ("bcrypt-sha256", format!("$bcrypt-sha256$v=2,t=2b,r=12${salt}${}", &output[..31])),
        ("pbkdf2-sha512", format!("$pbkdf2-sha512$25000${salt}${output}")),
    ];
    // Of those the vectors have the cheapest cost only.
    let further = further.map(|(name, text)| Format::new(&format!("passlib 1.7.4, {name}"), &text));
    usual.chain(further).collect()
}

/// With parameters that make the most of a work that is taken for little, if any do.
fn unusual() -> Vec<Format> {
    let salt = "A".repeat(22);
    let of = |name: &str, parameters: &str, octets: usize| {
        let output = "A".repeat((octets * 4).div_ceil(3));
        Format::new(name, &format!("{parameters}${salt}${output}"))
    };
    let crypt = |beginning: &str, characters: usize| {
        Format::new("", &format!("{beginning}{}", "A".repeat(characters)))
    };
    vec![
        Format::new("cheap", &format!("$2b$04${salt}{}", "A".repeat(31))),
        of("an output of two blocks", "$pbkdf2-sha256$200000", 64),
        of("an output of one block", "$pbkdf2-sha256$200000", 32),
        of("the shortest output", "$pbkdf2-sha512$200000", 16),
        of("small blocks", "$scrypt$ln=17,r=1,p=1", 32),
        of("large blocks", "$scrypt$ln=10,r=1024,p=1", 32),
        of("little memory often", "$scrypt$ln=10,r=8,p=128", 32),
        of("one pass", "$argon2id$v=19$m=131072,t=1,p=1", 32),
        of("many lanes", "$argon2id$v=19$m=131072,t=1,p=16384", 32),
        of("many passes", "$argon2id$v=19$m=131072,t=8,p=1", 32),
        of("little memory often", "$argon2id$v=19$m=8,t=20000,p=1", 32),
        of("many passes", "$argon2i$v=19$m=131072,t=8,p=1", 32),
        of("little memory often", "$argon2i$v=19$m=8,t=20000,p=1", 32),
        of("first version", "$argon2i$m=131072,t=8,p=1", 32),
        of("an output of four blocks", "$pbkdf2$100000", 64),
        crypt("$5$rounds=100000$salt$", 43).with_long_password(),
        crypt("$6$rounds=100000$salt$", 86).with_long_password(),
        crypt("$P$Hsaltsalt", 22).with_long_password(),
        crypt("$S$Dsaltsalt", 43),
        crypt("$S$Dsaltsalt", 43).with_long_password(),
        crypt("$digest$h=sha512,salt=after$c2FsdHNhbHQ$", 86).with_long_password(),
        crypt("$digest$h=sha1,salt=key$c2FsdHNhbHQ$", 27),
    ]
}

/// Verifies one password against each, and against scrypt of the usual cost.
pub(crate) fn formats() {
    let mut memory = HashingMemory::reserve(MEMORY).expect("the memory of a hash");
    let password = Secret::new("another".to_owned());
    // This also gives the memory the pages that later hashes find.
    let scrypt = Format::new("", &memory.hash(&password, ScryptCost::RECOMMENDED));
    let mut all = [usual(), unusual()];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for format in all.iter_mut().flatten() {
            let limit = scrypt.time(&mut memory);
            format.ratios.push(format.time(&mut memory) / limit);
            times.push(limit * 1e3);
        }
    }
    let [usual, unusual] = all;
    let time = median(times);
    println!("one verification / scrypt {}, {time:.0} ms:", ScryptCost::RECOMMENDED);
    usual.iter().for_each(Format::print);
    println!("the same where parameters are strange:");
    unusual.iter().for_each(Format::print);
}
