//! The vocabulary and the rules of OAuth 2.0, as pure types: what is requested, what is granted, when a session ends,
//! and how many attempts may fail.
//!
//! This package never waits, logs, reads a clock or stores anything, and of HTTP it knows only URIs: its manifest has
//! no crate for more. A value that exists is valid. Parsers return a [`Reason`] or [`Invalid`] for what they refuse.

pub mod access_token;
pub mod authorization;
pub mod client;
pub mod client_credentials;
mod cors_origin;
pub mod error;
pub mod identifier;
mod invalid;
pub mod issuer;
pub mod lifetime;
pub mod metadata;
pub mod otpauth;
pub mod parameter;
pub mod parameters;
pub mod refresh_token;
pub mod resource_owner;
mod retry_window;
pub mod scope;
mod scrypt_cost;
pub mod second_factor;
mod secret;
pub mod session;
pub mod throttle;
mod time;
pub mod token_request;
pub mod username_pattern;

pub use access_token::AccessTokenClaims;
pub use client::{Client, ClientSettings};
pub use cors_origin::CorsOrigin;
pub use error::{ErrorCode, Reason};
pub use identifier::{ClientId, KeyId, SessionId, UserId};
pub use invalid::Invalid;
pub use issuer::Issuer;
pub use parameter::Parameter;
pub use parameters::Parameters;
pub use retry_window::RetryWindow;
pub use scope::Scope;
pub use scrypt_cost::ScryptCost;
pub use secret::{Secret, SecretOctets};
pub use time::{Seconds, Timestamp};
