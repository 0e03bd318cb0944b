//! Importing many users.
//!
//! Users read from a file are first staged in a private SQLite database, which is on disk if it is large, which nobody
//! else can open, and which disappears with the process. So a file may have any size, names within it are unique, and
//! nothing is stored before all of it was checked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::data_keys::StoredUnder;
use super::operator_acts::{Act, Deed};
use super::second_factors::StoredSecondFactors;
use super::sql::ROWS;
use super::users::{User, roles_value, scope_value};
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase, sql, sqlite};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, Scope, Secret, Timestamp, UserId};

/// How many columns an import writes.
const COLUMNS: usize = 12;
/// The first of them which holds numbers.
const FIRST_NUMBER: usize = 6;

/// A user of an imported file.
#[derive(Clone, Debug)]
pub struct StagedUser {
    /// Where it stands, for people: `line 12`, `users[41] of FILE`.
    pub place: String,
    /// The prepared name.
    pub username: Username,
    /// `sub`: from the file, or new.
    pub id: UserId,
    /// Whether the file contains the `sub`.
    pub has_own_id: bool,
    /// The hash as it will be stored.
    pub password_hash: Secret,
    /// The scope that the user may have; `None` if only the client limits it.
    pub scope: Option<Scope>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// The authenticators, sealed; only a new user gets them.
    pub second_factors: StoredSecondFactors,
    /// Whether the user cannot log in.
    pub disabled: bool,
    /// Whether the user must use a second factor.
    pub mfa_required: bool,
    /// A random number, by which a decoy is chosen: see `sql/find_user.sql`.
    pub decoy_number: i64,
    /// When the user was added where the file comes from, and got the password, as far as is known. `None`, or a date in
    /// the future, stands for the moment of the import.
    pub created_at: Option<Timestamp>,
    /// When the user last logged in there. A date that is not before the import stands for the second before it.
    pub last_login_at: Option<Timestamp>,
}

/// Why a user was not staged: another one of the file has the same name or `sub`.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The place of the user with the same name.
    Name(String),
    /// The place of the user with the same `sub`.
    Sub(String),
}

/// Users that were read and are not stored yet.
pub struct Staging(Mutex<Connection>);

impl fmt::Debug for Staging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Staging")
    }
}

impl Staging {
    /// Opens the private database.
    ///
    /// # Errors
    /// [`StoreError`] if the temporary file cannot be read or written.
    pub fn new() -> Result<Self, StoreError> {
        // Without a name, it is a temporary file that is already deleted.
        let mut connection = Connection::open("").map_err(sqlite::classify)?;
        let script =
            "PRAGMA secure_delete = ON; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN";
        sqlite::run_script(&mut connection, script)?;
        sqlite::execute(&connection, &sql::CREATE_STAGING, &[])?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stages a user, unless its name or `sub` is staged already. Only `wanted` users are stored later.
    ///
    /// # Errors
    /// [`StoreError`] if the temporary file cannot be read or written.
    pub fn add(&self, user: &StagedUser, wanted: bool) -> Result<Option<Taken>, StoreError> {
        let connection = self.connection();
        let (name, id): (Value, Value) = (user.username.as_str().into(), (&user.id).into());
        let values = [
            (&user.place).into(),
            name.clone(),
            id.clone(),
            user.password_hash.expose().into(),
            scope_value(user.scope.as_ref()),
            roles_value(&user.roles),
            user.second_factors.value(),
            i64::from(user.disabled).into(),
            i64::from(user.mfa_required).into(),
            user.decoy_number.into(),
            user.created_at.into(),
            user.last_login_at.into(),
            i64::from(wanted).into(),
        ];
        if sqlite::execute(&connection, &sql::STAGE_USER, &values)? == 1 {
            return Ok(None);
        }
        let rows = sqlite::query(&connection, &sql::FIND_STAGED_USER, &[name, id])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let place = row.get("place")?;
        let same_name = row.get::<String>("username")? == user.username.as_str();
        Ok(Some(if same_name { Taken::Name(place) } else { Taken::Sub(place) }))
    }

    /// The place of the staged user with this `sub`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if the temporary file cannot be read.
    pub fn place_of_sub(&self, sub: &str) -> Result<Option<String>, StoreError> {
        // No user has an empty name.
        let values = ["".into(), sub.into()];
        let rows = sqlite::query(&self.connection(), &sql::FIND_STAGED_USER, &values)?;
        rows.first().map(|row| row.get("place")).transpose()
    }

    /// The next wanted users after number `after`, at most `limit`, with their numbers.
    ///
    /// # Errors
    /// [`StoreError`] if the temporary file cannot be read or written.
    pub fn page(&self, after: i64, limit: i64) -> Result<Vec<(i64, StagedUser)>, StoreError> {
        let values = [after.into(), limit.into()];
        let rows = sqlite::query(&self.connection(), &sql::LIST_STAGED_USERS, &values)?;
        rows.iter().map(|row| Ok((row.get("staged_number")?, StagedUser::read(row)?))).collect()
    }

    /// Replaces the hash of a staged user.
    ///
    /// # Errors
    /// [`StoreError`] if the temporary file cannot be read or written.
    pub fn replace_hash(&self, number: i64, hash: &Secret) -> Result<(), StoreError> {
        let values = [number.into(), hash.expose().into()];
        sqlite::execute(&self.connection(), &sql::REPLACE_STAGED_HASH, &values).map(drop)
    }
}

impl StagedUser {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            place: row.get("place")?,
            username: row.get("username")?,
            id: row.get("user_id")?,
            has_own_id: true,
            password_hash: row.get("password_hash")?,
            scope: row.get("scope")?,
            roles: row.json("roles")?,
            second_factors: StoredSecondFactors::read(row)?,
            disabled: row.get::<i64>("disabled")? != 0,
            mfa_required: row.get::<i64>("mfa_required")? != 0,
            decoy_number: row.get("lot")?,
            created_at: row.get("created_at")?,
            last_login_at: row.get("last_login_at")?,
        })
    }

    /// The columns of a row in `users`: first the texts, then the numbers.
    fn values(&self, now: Timestamp) -> [Value; COLUMNS] {
        // Failures that were before a change of the password do not count, so no such date may lie in the future.
        let created_at = self.created_at.map_or(now, |at| at.min(now));
        // A login at the moment of the import or later was here.
        let before = Timestamp(now.0.saturating_sub(1));
        [
            self.username.as_str().into(),
            (&self.id).into(),
            self.password_hash.expose().into(),
            scope_value(self.scope.as_ref()),
            roles_value(&self.roles),
            self.second_factors.value(),
            self.disabled.then_some(now).into(),
            self.mfa_required.then_some(now).into(),
            self.decoy_number.into(),
            created_at.into(),
            self.last_login_at.map(|at| at.min(before)).into(),
            now.into(),
        ]
    }
}

/// Finds users and clients that conflict with users of a file.
#[derive(Debug)]
pub struct FindKnown {
    /// Prepared names.
    pub names: Vec<String>,
    /// The `sub`s.
    pub ids: Vec<UserId>,
}

/// What the database contains already.
#[derive(Debug, Default)]
pub struct Known {
    /// The users with these names or `sub`s.
    pub users: Vec<User>,
    /// The clients with one of these `sub`s as their name.
    pub clients: Vec<String>,
}

impl UseCase for FindKnown {
    type Outcome = Known;

    /// Several statements, although they may see different moments: storing the users checks again.
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Known, StoreError> {
        let names: Vec<Value> = self.names.iter().map(Value::from).collect();
        let ids: Vec<Value> = self.ids.iter().map(Value::from).collect();
        let mut known = Known::default();
        for (statement, keys) in
            [(&*sql::FIND_USERS_BY_NAME, &names), (&*sql::FIND_USERS_BY_ID, &ids)]
        {
            for row in tx.look_up(statement, keys.clone()).await? {
                known.users.push(User::read(&row)?);
            }
        }
        for row in tx.look_up(&sql::FIND_CLIENTS_LIKE_USERS, ids).await? {
            known.clients.push(row.get("client_id")?);
        }
        Ok(known)
    }
}

/// Stores some users, all or none, and returns how many. Repeating it changes nothing.
#[derive(Clone, Debug)]
pub struct ImportUsers {
    /// The users, checked, with their hashes as they are to be stored.
    pub users: StoredUnder<Arc<[StagedUser]>>,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ImportUsers {
    type Outcome = u64;
    const ACCESS: Access = Access::LongTransaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let users = self.users.require(tx).await?;
        // Such a client may have been added since the file was checked.
        let ids = users.iter().map(|user| (&user.id).into()).collect();
        if let Some(client) = tx.look_up(&sql::FIND_CLIENTS_LIKE_USERS, ids).await?.first() {
            let name: ClientId = client.get("client_id")?;
            return Err(StoreError::Conflict(format!(
                "the client {name} is named like the sub of a user, and the one could pass for the other (RFC 9068 §5)"
            )));
        }
        if tx.has_lists() {
            tx.execute(&sql::IMPORT_LISTS_OF_USERS, &self.lists(users)).await?;
        } else {
            self.store_in_rows(tx, users).await?;
        }
        let stored = users.len() as u64;
        tx.record(Act::new(Deed::UsersImported).slice(stored)).await?;
        Ok(stored)
    }
}

impl ImportUsers {
    /// The columns of the users, as one list each.
    fn lists(&self, users: &[StagedUser]) -> Vec<Value> {
        let mut columns: [Vec<Value>; COLUMNS] = Default::default();
        for user in users {
            for (column, value) in columns.iter_mut().zip(user.values(self.now)) {
                column.push(value);
            }
        }
        let is_number = |column: usize| column >= FIRST_NUMBER;
        let list = |(column, values)| {
            if is_number(column) { Value::integers(values) } else { Value::texts(values) }
        };
        columns.into_iter().enumerate().map(list).collect()
    }

    async fn store_in_rows(&self, tx: &mut Tx<'_>, users: &[StagedUser]) -> Result<(), StoreError> {
        for batch in users.chunks(ROWS) {
            // Rows that do not fill a batch are inserted one by one.
            let rows = if batch.len() == ROWS { ROWS } else { 1 };
            for rows in batch.chunks(rows) {
                let values: Vec<Value> =
                    rows.iter().flat_map(|user| user.values(self.now)).collect();
                tx.execute(sql::IMPORT_USERS.for_rows(rows.len()), &values).await?;
            }
        }
        Ok(())
    }
}
