//! What the service may do with the database, found out without trying it.

use super::{Access, Engine, Store, StoreError, Tx, UseCase, sql};

impl Store {
    /// The rights that the database role lacks, each as `INSERT on table sessions`. If `migrates`, includes those that
    /// migrations need. Empty on SQLite, where whoever opens the file may do everything.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn missing_rights(&self, migrates: bool) -> Result<Vec<String>, StoreError> {
        match self.engine {
            Engine::Sqlite(_) => Ok(Vec::new()),
            Engine::Postgres { .. } => self.perform(FindMissingRights { migrates }).await,
        }
    }

    /// Whether the server is read-only, as a standby of PostgreSQL is.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot be read.
    pub async fn is_read_only(&self) -> Result<bool, StoreError> {
        match self.engine {
            Engine::Sqlite(_) => Ok(false),
            Engine::Postgres { .. } => self.perform(FindReadOnly).await,
        }
    }
}

struct FindMissingRights {
    migrates: bool,
}

impl UseCase for FindMissingRights {
    type Outcome = Vec<String>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
        let migrates = [i64::from(self.migrates).into()];
        let rows = tx.query(&sql::FIND_MISSING_RIGHTS, &migrates).await?;
        rows.iter().map(|row| row.get("missing_right")).collect()
    }
}

struct FindReadOnly;

impl UseCase for FindReadOnly {
    type Outcome = bool;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let rows = tx.query(&sql::FIND_READ_ONLY, &[]).await?;
        let read_only: Option<String> = rows.first().map(|row| row.get("read_only")).transpose()?;
        Ok(read_only.as_deref() == Some("on"))
    }
}
