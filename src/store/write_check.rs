//! Whether the database takes writes. The disk may be full, another process may hold the lock, the server may be a
//! standby, or the file may have been deleted.

use super::{Access, Store, StoreError, Tx, UseCase, sql};

impl Store {
    /// Writes a row, deletes it and commits, to prove that a login could be stored. Concurrent checks need other names.
    ///
    /// # Errors
    /// [`StoreError`], which says why no write is possible.
    pub async fn check_write(&self, name: String) -> Result<(), StoreError> {
        self.perform(CheckWrite { name }).await
    }
}

struct CheckWrite {
    name: String,
}

impl UseCase for CheckWrite {
    type Outcome = ();
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let name = [self.name.as_str().into()];
        tx.execute(&sql::INSERT_WRITE_CHECK, &name).await?;
        tx.execute(&sql::DELETE_WRITE_CHECK, &name).await.map(drop)
    }
}
