//! Which tokens of a key were recently seen to have a good signature. Such a signature need not be verified again.
//!
//! Only the digest of a whole token is kept, so a token that differs in one bit is not found. That a signature is good
//! never changes. Whether key, client, user and session are good may change at any time, and is checked elsewhere.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::digest;

/// The most tokens in a generation: they fill a table of 16,384 places.
const GENERATION: usize = 14_336;

/// The most tokens that are remembered for one key. Each takes 33 octets; with free places, all take 1.1 MiB.
pub const TOKENS_MAX: usize = 2 * GENERATION;

pub(super) type TokenDigest = [u8; 32];

/// The tokens of one key with a good signature, in two generations. When the younger one is full, it replaces the elder
/// one, which is forgotten. A token that is looked up moves to the younger one, and so stays.
#[derive(Debug, Default)]
pub(super) struct VerifiedTokens(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    younger: HashSet<TokenDigest>,
    elder: HashSet<TokenDigest>,
}

pub(super) fn digest_of(token: &str) -> TokenDigest {
    digest::sha256(token.as_bytes())
}

impl VerifiedTokens {
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn knows(&self, token: &TokenDigest) -> bool {
        let mut generations = self.generations();
        if generations.younger.contains(token) {
            return true;
        }
        let known = generations.elder.remove(token);
        if known {
            generations.add(*token);
        }
        known
    }

    pub(super) fn remember(&self, token: TokenDigest) {
        self.generations().add(token);
    }
}

impl Generations {
    fn add(&mut self, token: TokenDigest) {
        if self.younger.len() >= GENERATION {
            // The elder tokens are forgotten, and their memory is reused.
            std::mem::swap(&mut self.younger, &mut self.elder);
            self.younger.clear();
        }
        self.younger.insert(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> TokenDigest {
        digest_of(&number.to_string())
    }

    #[test]
    fn no_more_tokens_are_remembered_than_there_is_room_for() {
        let tokens = VerifiedTokens::default();
        for number in 0..5 * TOKENS_MAX {
            tokens.remember(token(number));
            let generations = tokens.generations();
            assert!(generations.younger.len() + generations.elder.len() <= TOKENS_MAX);
            let room = generations.younger.capacity().max(generations.elder.capacity());
            assert!(room <= GENERATION, "{room}");
        }
        assert!(!tokens.knows(&token(0)));
        assert!(tokens.knows(&token(5 * TOKENS_MAX - 1)));
    }

    #[test]
    fn a_token_that_is_looked_up_stays() {
        let tokens = VerifiedTokens::default();
        for number in 0..4 * TOKENS_MAX {
            tokens.remember(token(number));
            assert!(tokens.knows(&token(0)), "{number}");
        }
    }
}
