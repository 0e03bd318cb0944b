//! Sessions: a row for each login.

use super::value::Value;
use super::{Access, StoreError, Tx, UseCase, sql};
use crate::clock::Timestamp;
use crate::oauth::client::Audience;
use crate::oauth::{ClientId, Scope, SessionId, UserId};
use crate::secret::Secret;

/// Opens a session for a user whose password was verified, and puts a better hash of the same
/// password in the place of the old one. `false`, and nothing done, if user or client changed since
/// they were read.
#[derive(Debug)]
pub(crate) struct OpenSession {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) client_id: ClientId,
    pub(crate) scope: Scope,
    pub(crate) audiences: Vec<Audience>,
    pub(crate) auth_time: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The stored hash that the password matched.
    pub(crate) verified_hash: Secret,
    pub(crate) replacement_hash: Option<Secret>,
}

impl UseCase for OpenSession {
    type Outcome = bool;

    fn access(&self) -> Access {
        if self.replacement_hash.is_some() { Access::Transaction } else { Access::Write }
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let audiences = serde_json::to_string(&self.audiences).expect("strings are JSON");
        let values = [
            (&self.id).into(),
            (&self.user_id).into(),
            (&self.client_id).into(),
            (&self.scope.to_string()).into(),
            Value::Text(audiences),
            self.auth_time.into(),
            self.expires_at.into(),
            self.verified_hash.expose().into(),
        ];
        if tx.execute(&sql::INSERT_SESSION, &values).await? == 0 {
            return Ok(false);
        }
        if let Some(replacement) = &self.replacement_hash {
            let values = [
                (&self.user_id).into(),
                self.verified_hash.expose().into(),
                replacement.expose().into(),
            ];
            tx.execute(&sql::REPLACE_PASSWORD_HASH, &values).await?;
        }
        Ok(true)
    }
}

/// Finds a session of this user and client that is good at this moment: not expired, not revoked,
/// its user and client neither disabled nor deleted.
#[derive(Debug)]
pub(crate) struct FindLiveSession {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) client_id: ClientId,
    pub(crate) now: Timestamp,
}

/// A session that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The user's name.
    pub username: String,
}

impl UseCase for FindLiveSession {
    type Outcome = Option<LiveSession>;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<LiveSession>, StoreError> {
        let values =
            [(&self.id).into(), (&self.user_id).into(), (&self.client_id).into(), self.now.into()];
        let rows = tx.query(&sql::FIND_LIVE_SESSION, &values).await?;
        rows.first().map(|row| Ok(LiveSession { username: row.text(0)? })).transpose()
    }
}
