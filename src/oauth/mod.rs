//! Floor 1: the vocabulary of OAuth and its rules, as pure types.
//!
//! Nothing here waits, logs, stores or knows HTTP. A value that exists is valid: parsers return a
//! [`Reason`] for what they refuse.

pub mod access_token;
pub mod authorization;
pub mod client;
pub mod client_credentials;
pub mod error;
pub mod identifier;
pub mod issuer;
pub mod metadata;
pub mod parameter;
pub mod parameters;
pub mod refresh_token;
pub mod resource_owner;
pub mod scope;
pub mod session;
pub mod throttle;
pub mod token_request;

pub use access_token::AccessTokenClaims;
pub use client::{Client, ClientSettings};
pub use error::{ErrorCode, Reason};
pub use identifier::{ClientId, KeyId, SessionId, UserId};
pub use issuer::Issuer;
pub use parameter::Parameter;
pub use parameters::Parameters;
pub use scope::Scope;
