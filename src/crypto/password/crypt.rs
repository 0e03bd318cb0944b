//! SHA-crypt and phpass: functions of crypt(3) and of PHP that repeat a digest.
//!
//! Both write octets in base64 of their own: the first character has the lowest six bits.

use std::ops::Range;

use md5::Md5;
use sha_crypt::Params;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::format::{Parts, number};
use super::scheme::Scheme;

/// The digits of that base64.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The longest salt of SHA-crypt, in octets.
const SHA_CRYPT_SALT_MAX: usize = 16;
/// The octets of a salt of phpass.
const PHPASS_SALT: usize = 8;

/// SHA-crypt with one of its two digests (<https://www.akkadia.org/drepper/SHA-crypt.txt>).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShaCrypt {
    /// `$5$`
    Sha256,
    /// `$6$`
    Sha512,
}

impl ShaCrypt {
    /// The octets of its output.
    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Computes it with a number of rounds that was looked at when it was read.
    pub(super) fn compute(self, password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
        let rounds = Params::new(rounds).expect("a number that SHA-crypt has");
        match self {
            Self::Sha256 => sha_crypt::sha256_crypt(password, salt, rounds).to_vec(),
            Self::Sha512 => sha_crypt::sha512_crypt(password, salt, rounds).to_vec(),
        }
    }

    /// Reads `rounds=…$salt$output` or `salt$output`, which means 5,000 rounds. The salt is text.
    pub(super) fn read(self, rest: &str) -> Option<Parts> {
        let (rounds, rest) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$')?;
                (number(rounds)?, rest)
            }
            None => (Params::RECOMMENDED_ROUNDS, rest),
        };
        Params::new(rounds).ok()?;
        let (salt, output) = rest.split_once('$')?;
        let written = decode(output).filter(|octets| octets.len() == self.length())?;
        let mut octets = vec![0; written.len()];
        for (place, octet) in self.order().zip(written) {
            *octets.get_mut(place)? = octet;
        }
        (salt.len() <= SHA_CRYPT_SALT_MAX).then(|| Parts {
            scheme: Scheme::ShaCrypt { of: self, rounds, salt: salt.into() },
            output: octets,
            output_characters: output.len(),
        })
    }

    /// Which octet of the output is written at each place: three of different thirds together, and each time the next
    /// ones, of which the thirds take turns in being first.
    fn order(self) -> impl Iterator<Item = usize> {
        let (third, step, last): (usize, usize, Range<usize>) = match self {
            Self::Sha256 => (10, 21, 30..32),
            Self::Sha512 => (21, 22, 63..64),
        };
        let of_group = move |group| {
            [2 * third, third, 0].map(move |place| (place + step * group) % (3 * third))
        };
        (0..third).flat_map(of_group).chain(last)
    }
}

/// The digest that phpass repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phpass {
    /// `$P$` of WordPress and others, `$H$` of phpBB
    Md5,
    /// `$S$` of Drupal 7
    Sha512,
}

impl Phpass {
    /// How many octets of its output are written whole. Drupal cuts the text off.
    fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha512 => 32,
        }
    }

    /// Computes it: 2^`log` times the digest of the digest before and the password.
    pub(super) fn compute(self, password: &[u8], salt: &[u8], log: u8) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Md5 => repeated::<Md5>(password, salt, log),
            Self::Sha512 => repeated::<Sha512>(password, salt, log),
        }
    }

    /// Reads a digit that says how often, the salt as text, and the output.
    pub(super) fn read(self, rest: &str) -> Option<Parts> {
        let (log, rest) = rest.split_at_checked(1)?;
        let log = digit(*log.as_bytes().first()?).filter(|log| (7..=30).contains(log))?;
        let (salt, output) = rest.split_at_checked(PHPASS_SALT)?;
        let octets = decode(output).filter(|octets| octets.len() == self.length())?;
        Some(Parts {
            scheme: Scheme::Phpass { of: self, log, salt: salt.into() },
            output: octets,
            output_characters: output.len(),
        })
    }
}

fn repeated<H: Digest>(password: &[u8], salt: &[u8], log: u8) -> Zeroizing<Vec<u8>> {
    let mut digest = H::new().chain_update(salt).chain_update(password).finalize();
    for _ in 0..1_u64 << log {
        digest = H::new().chain_update(&digest).chain_update(password).finalize();
    }
    let output = Zeroizing::new(digest.to_vec());
    digest.as_mut_slice().zeroize();
    output
}

/// Octets in that base64. Bits of the last character that are left over may be anything, as those of bcrypt.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let digits: Option<Vec<u32>> = group.iter().map(|c| digit(*c).map(u32::from)).collect();
        let bits = digits?.iter().rev().fold(0, |bits, digit| bits << 6 | digit);
        octets.extend(bits.to_le_bytes().into_iter().take(group.len() * 6 / 8));
    }
    Some(octets)
}

fn digit(character: u8) -> Option<u8> {
    u8::try_from(DIGITS.iter().position(|digit| *digit == character)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the reference implementation (Drepper), as it writes its first groups and its last one.
    #[test]
    fn octets_are_written_in_the_order_of_sha_crypt() {
        let order: Vec<_> = ShaCrypt::Sha256.order().collect();
        assert_eq!(order[..9], [20, 10, 0, 11, 1, 21, 2, 22, 12]);
        assert_eq!(order[27..], [29, 19, 9, 30, 31]);
        let order: Vec<_> = ShaCrypt::Sha512.order().collect();
        assert_eq!(order[..6], [42, 21, 0, 1, 43, 22]);
        assert_eq!(order[60..], [41, 20, 62, 63]);
    }

    #[test]
    fn base64_of_crypt_is_read() {
        assert_eq!(decode("./01"), Some(vec![0x40, 0x20, 0x0c]));
        assert_eq!(decode("zz"), Some(vec![0xff]));
        assert_eq!(decode("zzz"), Some(vec![0xff, 0xff]));
        assert_eq!(decode("+zz"), None);
        assert_eq!(decode(&"A".repeat(86)).map(|octets| octets.len()), Some(64));
    }
}
