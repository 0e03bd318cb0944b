//! Floor 2: everything that needs a key, a hash or randomness.
//!
//! josekit and scrypt are known here and nowhere else. Nothing here stores or speaks HTTP.

pub mod digest;
pub mod hashing_pool;
pub mod imported_key;
pub mod key_lifecycle;
pub mod key_ring;
pub mod password;
pub mod password_policy;
pub mod random;
pub mod refresh_keys;
pub mod sealing;
pub mod signing;
pub mod throttle_key;
pub mod verified_tokens;
