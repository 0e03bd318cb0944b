//! The public documents: the key set (RFC 7517) and the metadata (RFC 8414), served from memory.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::keys::Keys;
use jeton_oauth::metadata::Metadata;
use jeton_oauth::{Issuer, Scope, Seconds};
use jeton_store::clients::ListClients;
use jeton_store::{Store, StoreError};

const METADATA_MAX_AGE: Seconds = Seconds::new(3_600);

/// A document that is served unchanged.
#[derive(Clone, Debug)]
pub struct Document {
    /// The JSON text.
    pub content: Bytes,
    /// For how long a client may cache it.
    pub max_age: Seconds,
}

/// Keeps the documents in memory.
#[derive(Debug)]
pub struct Discovery {
    store: Store,
    issuer: Issuer,
    keys: Arc<Keys>,
    metadata: ArcSwap<Document>,
}

impl Discovery {
    /// Writes the documents.
    ///
    /// # Errors
    /// [`StoreError`] if the scopes of the clients cannot be read.
    pub async fn load(store: Store, issuer: Issuer, keys: Arc<Keys>) -> Result<Self, StoreError> {
        let metadata = ArcSwap::new(write_metadata(&store, &issuer).await?);
        Ok(Self { store, issuer, keys, metadata })
    }

    /// The key set.
    #[must_use]
    pub fn jwks(&self) -> Arc<Document> {
        self.keys.jwks()
    }

    /// The metadata.
    #[must_use]
    pub fn metadata(&self) -> Arc<Document> {
        self.metadata.load_full()
    }

    /// Writes the metadata again. After an error the old text stays.
    ///
    /// # Errors
    /// [`StoreError`] if the scopes of the clients cannot be read.
    pub async fn reload(&self) -> Result<(), StoreError> {
        self.metadata.store(write_metadata(&self.store, &self.issuer).await?);
        Ok(())
    }
}

async fn write_metadata(store: &Store, issuer: &Issuer) -> Result<Arc<Document>, StoreError> {
    let clients = store.perform(ListClients::default()).await?;
    let enabled = clients.iter().filter(|client| client.disabled_at.is_none());
    let scopes =
        enabled.fold(Scope::default(), |all, client| all.union(&client.client.settings.scope));
    let content = serde_json::to_vec(&Metadata::new(issuer, &scopes)).expect("metadata is JSON");
    Ok(Arc::new(Document { content: content.into(), max_age: METADATA_MAX_AGE }))
}
