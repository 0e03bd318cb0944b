//! Clients and their secrets.

use super::look_up::LookUp;
use super::operator_acts::{Act, Deed, differing};
use super::sql::LookUpStatement;
use super::value::{Row, Value, keep_unknown};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{Client, ClientId, ClientSettings, Invalid, Secret, Timestamp};

/// A client as stored.
#[derive(Clone, Debug)]
pub struct StoredClient {
    /// What the protocol needs to know about it.
    pub client: Client,
    /// When it was added.
    pub created_at: Timestamp,
    /// Since when it is disabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was last used, to within an hour: when it proved who it is, or, if it is public, was named.
    pub last_used_at: Option<Timestamp>,
    /// Its secrets, expired ones too.
    pub secrets: Vec<StoredSecret>,
}

/// A stored secret: only its digest, or the hash that another service made of it.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// Its name on the command line.
    pub number: i64,
    /// SHA-256; empty if there is a `hash`. Printed nowhere.
    pub digest: Vec<u8>,
    /// The hash of a secret that came with it and was not used since, perhaps sealed. The first use replaces it by the
    /// digest.
    pub hash: Option<Secret>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to within an hour.
    pub last_used_at: Option<Timestamp>,
}

/// Reads the rows of a join of clients and secrets, which are ordered by client.
fn read_clients(rows: &[Row]) -> Result<Vec<StoredClient>, StoreError> {
    let mut clients: Vec<StoredClient> = Vec::new();
    for row in rows {
        let id: ClientId = row.get("client_id")?;
        if clients.last().is_none_or(|last| last.client.id != id) {
            clients.push(StoredClient {
                client: Client { id, settings: row.json("settings")? },
                secrets: Vec::new(),
                created_at: row.get("created_at")?,
                disabled_at: row.get("disabled_at")?,
                last_used_at: row.get("client_last_used_at")?,
            });
        }
        let (Some(last), Some(number)) = (clients.last_mut(), row.get("secret_number")?) else {
            continue;
        };
        last.secrets.push(StoredSecret {
            number,
            digest: row.get("secret_digest")?,
            hash: row.get("secret_hash")?,
            created_at: row.get("secret_created_at")?,
            expires_at: row.get("secret_expires_at")?,
            last_used_at: row.get("last_used_at")?,
        });
    }
    Ok(clients)
}

/// Parameters to end the few sessions that a client may have left.
pub(super) fn sessions_of(id: &ClientId) -> [Value; 2] {
    [id.into(), 10_000.into()]
}

pub(super) fn settings_value(settings: &ClientSettings) -> Value {
    Value::Text(serde_json::to_string(settings).expect("settings are JSON"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FindClient {
    pub(super) id: ClientId,
}

impl LookUp for FindClient {
    type Found = StoredClient;

    fn key(&self) -> Value {
        (&self.id).into()
    }

    fn statement() -> &'static LookUpStatement {
        &sql::FIND_CLIENT
    }

    fn read(rows: &[Row]) -> Result<Vec<StoredClient>, StoreError> {
        read_clients(rows)
    }

    fn is_found(&self, found: &StoredClient) -> bool {
        found.client.id == self.id
    }
}

/// Lists clients.
#[derive(Debug, Default)]
pub struct ListClients {
    /// Only those that were added by then, and of which nothing tells that they were used since.
    pub unused_since: Option<Timestamp>,
}

impl UseCase for ListClients {
    type Outcome = Vec<StoredClient>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StoredClient>, StoreError> {
        read_clients(&tx.query(&sql::LIST_CLIENTS, &[self.unused_since.into()]).await?)
    }
}

/// The outcome of adding a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewClient {
    /// It was added.
    Added,
    /// Another client has the name.
    Taken,
    /// A user has this name as `sub`, so the two could be confused (RFC 9068 §5).
    IsUser,
}

/// Adds a client, with its first secret if it is confidential.
#[derive(Debug)]
pub struct AddClient {
    /// The client with its settings.
    pub client: Client,
    /// The digest of the secret.
    pub secret: Option<Vec<u8>>,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for AddClient {
    type Outcome = NewClient;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<NewClient, StoreError> {
        tx.lock(&sql::LOCK_NAMES).await?;
        let id = Value::from(&self.client.id);
        let settings = settings_value(&self.client.settings);
        let values = [id.clone(), settings, self.now.into(), Value::Null];
        if tx.execute(&sql::INSERT_CLIENT, &values).await? == 0 {
            let users = tx.look_up(&sql::FIND_USER_IDS, vec![id]).await?;
            return Ok(if users.is_empty() { NewClient::Taken } else { NewClient::IsUser });
        }
        // A login may have been in progress while an earlier client of this name was deleted.
        tx.execute(&sql::END_SESSIONS_OF_CLIENT, &sessions_of(&self.client.id)).await?;
        if let Some(digest) = &self.secret {
            let digest = digest.as_slice().into();
            let values = [id, digest, self.now.into(), Value::Null, Value::Null];
            tx.query(&sql::INSERT_CLIENT_SECRET, &values).await?;
        }
        tx.record(Act::new(Deed::ClientAdded).on_client(&self.client.id)).await?;
        Ok(NewClient::Added)
    }
}

/// Changes a client's settings by compare and set, and starts again if another change came first. Returns them before
/// and after, or the refusal of `change`; `None` if there is no such client.
pub struct ChangeClient<F> {
    /// The `client_id`.
    pub id: ClientId,
    /// Changes the settings or refuses; may be called several times.
    pub change: F,
}

impl<F> UseCase for ChangeClient<F>
where
    F: Fn(&mut ClientSettings) -> Result<(), Invalid> + Send + Sync + 'static,
{
    type Outcome = Option<Result<(ClientSettings, ClientSettings), Invalid>>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        // Each repetition means that another change has succeeded. The caller's time limit ends it.
        loop {
            let Some(row) = find(tx, &self.id).await? else { return Ok(None) };
            let before: ClientSettings = row.json("settings")?;
            let mut after = before.clone();
            if let Err(problem) = (self.change)(&mut after) {
                return Ok(Some(Err(problem)));
            }
            if after == before {
                return Ok(Some(Ok((before, after))));
            }
            let as_read: String = row.get("settings")?;
            let mut stored = serde_json::to_value(&after).expect("settings are JSON");
            keep_unknown(&row.json("settings")?, &mut stored);
            let values = [(&self.id).into(), Value::Text(stored.to_string()), (&as_read).into()];
            if tx.execute(&sql::UPDATE_CLIENT, &values).await? == 1 {
                let act = Act::new(Deed::ClientChanged).on_client(&self.id);
                tx.record(act.changing(differing(&before, &after))).await?;
                return Ok(Some(Ok((before, after))));
            }
        }
    }
}

async fn find(tx: &mut Tx<'_>, id: &ClientId) -> Result<Option<Row>, StoreError> {
    let rows = tx.look_up(&sql::FIND_CLIENT, vec![id.into()]).await?;
    Ok(rows.into_iter().next())
}

/// Disables or enables a client. `false` if nothing changed, and `None` if there is no such client.
#[derive(Debug)]
pub struct SetClientDisabled {
    /// The `client_id`.
    pub id: ClientId,
    /// Whether to disable the client, or else to enable.
    pub disabled: bool,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for SetClientDisabled {
    type Outcome = Option<bool>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<bool>, StoreError> {
        let id = (&self.id).into();
        let changed = if self.disabled {
            tx.execute(&sql::DISABLE_CLIENT, &[id, self.now.into()]).await?
        } else {
            tx.execute(&sql::ENABLE_CLIENT, &[id]).await?
        };
        if changed == 1 {
            let deed = if self.disabled { Deed::ClientDisabled } else { Deed::ClientEnabled };
            tx.record(Act::new(deed).on_client(&self.id)).await?;
            return Ok(Some(true));
        }
        Ok(find(tx, &self.id).await?.map(|_| false))
    }
}

/// Deletes a client and its secrets; `false` if there is none. The caller ends its sessions before, in batches; this
/// ends those that were opened meanwhile.
#[derive(Debug)]
pub struct DeleteClient {
    /// The `client_id`.
    pub id: ClientId,
}

impl UseCase for DeleteClient {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let deleted = tx.execute(&sql::DELETE_CLIENT, &[(&self.id).into()]).await? == 1;
        tx.execute(&sql::END_SESSIONS_OF_CLIENT, &sessions_of(&self.id)).await?;
        if deleted {
            tx.record(Act::new(Deed::ClientDeleted).on_client(&self.id)).await?;
        }
        Ok(deleted)
    }
}

/// Adds a secret to a client, and returns its number; `None` if there is no such client.
#[derive(Debug)]
pub struct AddClientSecret {
    /// The `client_id`.
    pub id: ClientId,
    /// The SHA-256 digest of the secret.
    pub digest: Vec<u8>,
    /// The present moment.
    pub now: Timestamp,
    /// When the secret expires, if it does.
    pub expires_at: Option<Timestamp>,
}

impl UseCase for AddClientSecret {
    type Outcome = Option<i64>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<i64>, StoreError> {
        let values = [
            (&self.id).into(),
            self.digest.as_slice().into(),
            self.now.into(),
            self.expires_at.into(),
            Value::Null,
        ];
        // Another secret that was added at the same moment may have taken the next number.
        while find(tx, &self.id).await?.is_some() {
            let rows = tx.query(&sql::INSERT_CLIENT_SECRET, &values).await?;
            if let Some(row) = rows.first() {
                let number: i64 = row.get("secret_number")?;
                tx.record(Act::new(Deed::SecretAdded).on_client(&self.id).on(&number)).await?;
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

/// Removes a secret; `false` if the client has none of this number.
#[derive(Debug)]
pub struct RemoveClientSecret {
    /// The `client_id`.
    pub id: ClientId,
    /// Which of the client's secrets.
    pub number: i64,
}

impl UseCase for RemoveClientSecret {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [(&self.id).into(), self.number.into()];
        let removed = tx.execute(&sql::DELETE_CLIENT_SECRET, &values).await? == 1;
        if removed {
            tx.record(Act::new(Deed::SecretRemoved).on_client(&self.id).on(&self.number)).await?;
        }
        Ok(removed)
    }
}

/// Notes that a client was used.
#[derive(Debug)]
pub struct RecordClientUse {
    /// The `client_id`.
    pub id: ClientId,
    /// The present moment.
    pub now: Timestamp,
    /// A use that was noted since this moment is noted exactly enough.
    pub since: Timestamp,
}

impl UseCase for RecordClientUse {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    fn contended_row(&self) -> Option<String> {
        Some(format!("client {}", self.id))
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let values = [(&self.id).into(), self.now.into(), self.since.into()];
        tx.execute(&sql::RECORD_CLIENT_USE, &values).await.map(drop)
    }
}

/// Notes that a secret was used.
#[derive(Debug)]
pub struct RecordSecretUse {
    /// The `client_id`.
    pub id: ClientId,
    /// Which of the client's secrets.
    pub number: i64,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for RecordSecretUse {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    fn contended_row(&self) -> Option<String> {
        Some(format!("client secret {} {}", self.id, self.number))
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let values = [(&self.id).into(), self.number.into(), self.now.into()];
        tx.execute(&sql::RECORD_CLIENT_SECRET_USE, &values).await.map(|_| ())
    }
}

/// Replaces the hash of a secret, which came from another service, by the secret's digest. `false` if the hash is not
/// there any more: another use of the secret has replaced it, or the secret was removed.
#[derive(Debug)]
pub struct ReplaceSecretHash {
    /// The `client_id`.
    pub id: ClientId,
    /// Which of the client's secrets.
    pub number: i64,
    /// The hash that the secret matched, as it was stored.
    pub verified_hash: Secret,
    /// The SHA-256 digest of the secret.
    pub digest: Vec<u8>,
}

impl UseCase for ReplaceSecretHash {
    type Outcome = bool;
    const ACCESS: Access = Access::Write;

    fn contended_row(&self) -> Option<String> {
        Some(format!("client secret {} {}", self.id, self.number))
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let values = [
            (&self.id).into(),
            self.number.into(),
            self.verified_hash.expose().into(),
            self.digest.as_slice().into(),
        ];
        Ok(tx.execute(&sql::REPLACE_CLIENT_SECRET_HASH, &values).await? == 1)
    }
}
