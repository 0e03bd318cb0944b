//! Jeton: a standalone OAuth 2.0 token service for the password grant.
//!
//! The code stands on floors. A folder uses only floors below its own, and folders on one floor do
//! not know each other; `cli::serve` alone puts the parts together. A test reads the sources and
//! fails when the rule is broken.
//!
//! ```text
//! floor 5   main                             starts nothing itself
//! floor 4   http/  cli/                      the two ways in: know warp, and the terminal
//! floor 3   endpoint/                        what each endpoint and grant does, in RFC words
//! floor 2   store/  crypto/                  SQL on two engines, and all that needs a key or hash
//! floor 1   oauth/                           vocabulary and rules: pure types
//! floor 0   secret, clock, config, presence, availability, supervision
//!                                            know nothing of the rest
//! ```
//!
//! Start reading at [`endpoint::token`], which answers a token request in numbered steps.

#![warn(missing_docs)]

pub mod availability;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod endpoint;
pub mod http;
pub mod oauth;
pub mod presence;
pub mod secret;
pub mod store;
pub mod supervision;
