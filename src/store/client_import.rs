//! Importing clients, with the secrets that they have.

use std::collections::HashSet;

use super::clients::{NewClient, sessions_of, settings_value};
use super::data_keys::StoredUnder;
use super::operator_acts::{Act, Deed};
use super::value::Value;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::{Client, ClientId, Secret, Timestamp};

/// A client of an imported file.
#[derive(Clone, Debug)]
pub struct ImportedClient {
    /// The client with its settings.
    pub client: Client,
    /// Whether it is refused.
    pub disabled: bool,
    /// Its secrets, which are numbered in this order. A public client has none.
    pub secrets: Vec<ImportedSecret>,
}

/// A secret of an imported client.
#[derive(Clone, Debug)]
pub struct ImportedSecret {
    /// What is known of the secret.
    pub stored_as: SecretForm,
    /// When it was made, as far as is known; `None`, or a date in the future, stands for the moment of the import.
    pub created_at: Option<Timestamp>,
    /// From when on it is refused, if it is.
    pub expires_at: Option<Timestamp>,
}

/// In which form a secret is stored.
#[derive(Clone, Debug)]
pub enum SecretForm {
    /// Its SHA-256 digest.
    Digest([u8; 32]),
    /// A hash of another service, in a format that can be verified, and sealed if hashes are. The first use replaces it by
    /// the digest.
    Hash(Secret),
}

/// Says what adding clients of these names would come to, in their order. Nothing is changed.
#[derive(Debug)]
pub struct LookAtNewClients {
    /// The `client_id`s.
    pub ids: Vec<ClientId>,
}

impl UseCase for LookAtNewClients {
    type Outcome = Vec<NewClient>;

    /// Two statements, although they may see different moments: storing the clients checks again.
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<NewClient>, StoreError> {
        look_at(tx, self.ids.iter()).await
    }
}

async fn look_at<'a>(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = &'a ClientId> + Clone,
) -> Result<Vec<NewClient>, StoreError> {
    let keys: Vec<Value> = ids.clone().map(Value::from).collect();
    let (mut clients, mut users) = (HashSet::new(), HashSet::new());
    for row in tx.look_up(&sql::FIND_CLIENTS_LIKE_USERS, keys.clone()).await? {
        clients.insert(row.get::<String>("client_id")?);
    }
    for row in tx.look_up(&sql::FIND_USER_IDS, keys).await? {
        users.insert(row.get::<String>("user_id")?);
    }
    let outcome = |id: &ClientId| {
        if clients.contains(id.as_str()) {
            NewClient::Taken
        } else if users.contains(id.as_str()) {
            NewClient::IsUser
        } else {
            NewClient::Added
        }
    };
    Ok(ids.map(outcome).collect())
}

/// Adds clients with their secrets, all or none, and says of each what came of it, in their order. A client that is
/// there already stays exactly as it is, and gets none of the secrets: it may have been changed here, or a secret taken
/// away. So repeating an import changes nothing. If one of them is named like the `sub` of a user, none is added, and
/// the others say what they would have come to.
#[derive(Clone, Debug)]
pub struct ImportClients {
    /// The clients, each of another name, and the data key under which hashes of their secrets are sealed.
    pub clients: StoredUnder<Vec<ImportedClient>>,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ImportClients {
    type Outcome = Vec<NewClient>;
    const ACCESS: Access = Access::LongTransaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<NewClient>, StoreError> {
        // This takes the lock on names: from here on nobody else adds a user or a client.
        let clients = self.clients.require(tx).await?;
        let ids = clients.iter().map(|imported| &imported.client.id);
        let outcomes = look_at(tx, ids).await?;
        if outcomes.contains(&NewClient::IsUser) {
            return Ok(outcomes);
        }
        for (imported, outcome) in clients.iter().zip(&outcomes) {
            if *outcome == NewClient::Added {
                self.add(tx, imported).await?;
            }
        }
        Ok(outcomes)
    }
}

impl ImportClients {
    async fn add(&self, tx: &mut Tx<'_>, imported: &ImportedClient) -> Result<(), StoreError> {
        let Client { id, settings } = &imported.client;
        let disabled_at = imported.disabled.then_some(self.now);
        let values = [id.into(), settings_value(settings), self.now.into(), disabled_at.into()];
        if tx.execute(&sql::INSERT_CLIENT, &values).await? == 0 {
            return Err(StoreError::Conflict(format!("the client {id} is in the list twice")));
        }
        // A login may have been in progress while an earlier client of this name was deleted.
        tx.execute(&sql::END_SESSIONS_OF_CLIENT, &sessions_of(id)).await?;
        for secret in &imported.secrets {
            tx.query(&sql::INSERT_CLIENT_SECRET, &secret.values(id, self.now)).await?;
        }
        tx.record(Act::new(Deed::ClientAdded).on_client(id)).await
    }
}

impl ImportedSecret {
    fn values(&self, id: &ClientId, now: Timestamp) -> [Value; 5] {
        // No digest equals the empty one.
        let (digest, hash): (&[u8], _) = match &self.stored_as {
            SecretForm::Digest(digest) => (digest, Value::Null),
            SecretForm::Hash(hash) => (&[], hash.expose().into()),
        };
        let created_at = self.created_at.map_or(now, |at| at.min(now));
        [id.into(), digest.into(), created_at.into(), self.expires_at.into(), hash]
    }
}
