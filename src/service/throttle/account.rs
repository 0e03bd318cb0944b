//! Whose failures are counted.

use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::throttle::{Counted, CounterName};
use jeton_oauth::{ClientId, Timestamp, UserId};

/// The account that an attempt is for.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Whose it is.
    pub of: AccountOf<'a>,
    /// What was counted before is void. The beginning of time for a name that no user has, and the date
    /// of the newest secret for a client.
    pub password_changed_at: Timestamp,
}

/// By what an account is told from others. A user keeps it when the name changes, and whoever gets that name later does
/// not inherit it.
#[derive(Clone, Copy, Debug)]
pub enum AccountOf<'a> {
    /// A user.
    User(&'a UserId),
    /// The mapped name, or what was typed if no user can be called so, where no user has it.
    Name(&'a str),
    /// A client of which a secret is a hash.
    Client(&'a ClientId),
}

impl AccountOf<'_> {
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::User(id) => [b"sub", id.as_str().as_bytes()],
            Self::Name(name) => [b"name", name.as_bytes()],
            Self::Client(id) => [b"client", id.as_str().as_bytes()],
        }
    }

    /// The name of the account's counter.
    pub(super) fn counter(&self, key: &ThrottleKey) -> CounterName {
        key.name(Counted::Account, &self.parts())
    }
}
