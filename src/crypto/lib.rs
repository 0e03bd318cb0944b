//! Everything that needs a key, a hash or randomness: signing and verifying tokens, the life of keys, password hashes
//! and the threads that compute them, and sealing keys for the database.
//!
//! It never stores anything, and knows neither endpoints nor HTTP. Tests apart, only it uses josekit, scrypt and rand.

pub mod data_key;
pub mod digest;
pub mod hashing_pool;
pub mod imported_key;
pub mod key_lifecycle;
pub mod key_set;
pub mod one_time_password;
pub mod password;
pub mod password_policy;
pub mod random;
pub mod recovery;
pub mod refresh_keys;
pub mod sealing;
pub mod second_factor_key;
pub mod signing;
pub mod throttle_key;
pub mod verified_tokens;
