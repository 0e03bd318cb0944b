//! Jeton: a standalone OAuth 2.0 token service for the password grant. This is its command line, which puts the
//! parts together: [`cli`] has the commands, [`config`] the settings.
//!
//! The parts are packages of one workspace, each a folder below `src/`. What a part must not know is absent from
//! its manifest, so the compiler holds the walls:
//!
//! ```text
//! jeton           the command line; puts the parts together
//!   jeton-http      the way in: knows warp
//!     jeton-service   what each endpoint and grant does, in RFC words
//!       jeton-store     SQL on two engines
//!       jeton-crypto    all that needs a key, a hash or randomness
//!         jeton-scrypt    scrypt of several passwords at once
//!   jeton-doctor    looks at a running service from outside
//!
//! below all:  jeton-runtime   the clock, and what a process knows of itself
//!             jeton-oauth     vocabulary and rules: pure types
//! ```
//!
//! Start reading at [`jeton_service::token`], which answers a token request in numbered steps.

pub mod cli;
pub mod config;
