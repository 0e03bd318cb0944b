//! Users.

use serde::Serialize;

use super::data_keys::{StoredHash, StoredUnder};
use super::operator_acts::{Act, Deed, differing};
use super::second_factors::StoredSecondFactors;
pub use super::user_list::{ListUsers, UserFilter};
use super::value::{Row, Value};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{KeyId, Scope, Secret, Timestamp, UserId};

/// A user as stored. Serialised, it is what the command line prints.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// The prepared name.
    pub username: Username,
    /// `sub`.
    #[serde(rename = "sub")]
    pub id: UserId,
    /// A PHC string, or that sealed under a data key. It is a secret because passwords can be guessed from it, and is
    /// printed nowhere.
    #[serde(skip)]
    pub password_hash: Secret,
    /// The scope that the user may have; `None` if only the client limits it.
    pub scope: Option<Scope>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// When the user was added, here or at the service that the user came from.
    pub created_at: Timestamp,
    /// When the password was set.
    pub password_changed_at: Timestamp,
    /// Since when the user cannot log in.
    pub disabled_at: Option<Timestamp>,
    /// Since when the user must use a second factor.
    pub mfa_required_at: Option<Timestamp>,
    /// Since when the password is one that the user must change before the next login.
    pub password_temporary_at: Option<Timestamp>,
    /// When the user last logged in: here, or before at the service that the user came from.
    pub last_login_at: Option<Timestamp>,
    /// When the user was imported; `None` for a user who was added here, or imported by an older version.
    pub imported_at: Option<Timestamp>,
    /// The authenticators and recovery codes. What is printed of them is no secret.
    pub second_factors: StoredSecondFactors,
}

impl User {
    /// Reads the columns of `sql/columns/user.sql`.
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("user_id")?,
            username: row.get("username")?,
            password_hash: row.get("password_hash")?,
            password_changed_at: row.get("password_changed_at")?,
            scope: row.get("scope")?,
            roles: row.json("roles")?,
            created_at: row.get("created_at")?,
            disabled_at: row.get("disabled_at")?,
            mfa_required_at: row.get("mfa_required_at")?,
            password_temporary_at: row.get("password_temporary_at")?,
            last_login_at: row.get("last_login_at")?,
            imported_at: row.get("imported_at")?,
            second_factors: StoredSecondFactors::read(row)?,
        })
    }

    /// When the user last logged in here.
    #[must_use]
    pub fn last_login_here(&self) -> Option<Timestamp> {
        self.last_login_at.filter(|at| self.imported_at.is_none_or(|imported| *at >= imported))
    }

    /// Whether the user has neither logged in nor got a password since the import or since `jeton user add`. Only then
    /// an import gives the user another hash: `sql/import_users.sql` asks the same.
    #[must_use]
    pub fn is_as_added(&self) -> bool {
        self.password_changed_at == self.created_at && self.last_login_here().is_none()
    }

    /// Since when failed logins of the user count. An imported password may be older than the user is here.
    #[must_use]
    pub fn failures_since(&self) -> Timestamp {
        self.password_changed_at.max(self.imported_at.unwrap_or_default())
    }
}

pub(super) fn roles_value(roles: &[String]) -> Value {
    Value::Text(serde_json::to_string(roles).expect("strings are JSON"))
}

pub(super) fn scope_value(scope: Option<&Scope>) -> Value {
    Value::from(scope.map(|scope| Value::Text(scope.to_string())))
}

/// Adds a user; `false` if the name is taken, or the random `sub` is a client's name.
#[derive(Debug)]
pub struct AddUser {
    /// The `sub`.
    pub id: UserId,
    /// The prepared name.
    pub username: Username,
    /// The hash, in a format that can be verified.
    pub password_hash: StoredUnder<Secret>,
    /// The scope that the user may have; `None` if only the client limits it.
    pub scope: Option<Scope>,
    /// The user's roles.
    pub roles: Vec<String>,
    /// The present moment.
    pub now: Timestamp,
    /// Since when the user cannot log in; `None` for a user who can.
    pub disabled_at: Option<Timestamp>,
    /// Since when the user must use a second factor; `None` if not.
    pub mfa_required_at: Option<Timestamp>,
    /// A random number, by which a decoy is chosen.
    pub decoy_number: i64,
}

impl UseCase for AddUser {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let password_hash = self.password_hash.require(tx).await?;
        let values = [
            (&self.id).into(),
            self.username.as_str().into(),
            password_hash.expose().into(),
            self.now.into(),
            scope_value(self.scope.as_ref()),
            roles_value(&self.roles),
            self.mfa_required_at.into(),
            self.decoy_number.into(),
            self.disabled_at.into(),
        ];
        let added = tx.execute(&sql::INSERT_USER, &values).await? == 1;
        if added {
            tx.record(Act::new(Deed::UserAdded).on_user(&self.username, &self.id)).await?;
        }
        Ok(added)
    }
}

/// Finds a user by name. It takes as long if there is none.
#[derive(Debug)]
pub struct FindUser {
    /// The prepared name.
    pub username: Username,
}

impl UseCase for FindUser {
    type Outcome = Option<User>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<User>, StoreError> {
        let username = self.username.clone();
        Ok(FindUserOrOther { username: Some(username), decoy_number: 0 }.run(tx).await?.user)
    }
}

/// Finds a user by `sub`.
#[derive(Debug)]
pub struct FindUserById {
    /// The `sub`.
    pub id: UserId,
}

impl UseCase for FindUserById {
    type Outcome = Option<User>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<User>, StoreError> {
        let rows = tx.look_up(&sql::FIND_USERS_BY_ID, vec![(&self.id).into()]).await?;
        rows.first().map(User::read).transpose()
    }
}

/// Finds a user by name, or what the password of another is compared with.
#[derive(Debug)]
pub struct FindUserOrOther {
    /// `None` if no user can have the name.
    pub username: Option<Username>,
    /// Chooses the decoy. It depends on the name, and nobody outside can compute it.
    pub decoy_number: i64,
}

/// The user and the hash to verify against.
#[derive(Debug, Default)]
pub struct UserOrOther {
    /// The user of that name.
    pub user: Option<User>,
    /// The user's hash, or else another user's, which costs as much to verify; `None` if there are no users.
    pub password_hash: Option<StoredHash>,
    /// The data key under which a new hash is to be sealed; `None` if hashes are stored as they are.
    pub data_key: Option<KeyId>,
    /// The `sub` and second factors of the same one, so that a code is verified for as long; `None` if the row cannot
    /// be read.
    pub factors: Option<(UserId, StoredSecondFactors)>,
}

impl UseCase for FindUserOrOther {
    type Outcome = UserOrOther;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<UserOrOther, StoreError> {
        // No user has the empty name.
        let username = self.username.as_ref().map_or("", Username::as_str);
        let values = [username.into(), self.decoy_number.into()];
        let rows = tx.query(&sql::FIND_USER, &values).await?;
        let Some(row) = rows.first() else { return Ok(UserOrOther::default()) };
        let user = User::read(row);
        let (user_id, text) = (row.get("user_id")?, row.get("password_hash")?);
        let password_hash = Some(StoredHash { user_id, text });
        let data_key = row.get("data_key_id")?;
        // Another user's row was read in full only so that it takes as long.
        let is_it = row.get::<String>("username")? == username;
        let factors = user.as_ref().ok().map(|read| (read.id.clone(), read.second_factors.clone()));
        let user = if is_it { Some(user?) } else { None };
        Ok(UserOrOther { user, password_hash, data_key, factors })
    }
}

/// The row of the user of that prepared name.
pub(super) async fn find_row(
    tx: &mut Tx<'_>,
    username: &Username,
) -> Result<Option<Row>, StoreError> {
    let rows = tx.look_up(&sql::FIND_USERS_BY_NAME, vec![username.as_str().into()]).await?;
    Ok(rows.into_iter().next())
}

/// Gives a decoy number to users without one, which an older version has added. Returns to how many.
#[derive(Clone, Debug)]
pub struct DrawDecoyNumbers {
    /// Random numbers, one for each user.
    pub decoy_numbers: Vec<i64>,
}

impl UseCase for DrawDecoyNumbers {
    type Outcome = u64;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let limit = i64::try_from(self.decoy_numbers.len()).unwrap_or(i64::MAX);
        let rows = tx.query(&sql::LIST_USERS_WITHOUT_DECOY_NUMBER, &[limit.into()]).await?;
        for (row, decoy_number) in rows.iter().zip(&self.decoy_numbers) {
            let user: UserId = row.get("user_id")?;
            tx.execute(&sql::SET_DECOY_NUMBER, &[(&user).into(), (*decoy_number).into()]).await?;
        }
        Ok(rows.len() as u64)
    }
}

/// Changes scope, roles or duty to use a second factor of a user by compare and set, and starts again if another change
/// came first. If a second factor becomes required, sessions that used none are dead, and the caller ends them. Returns
/// the user before and after; `None` if there is no such user.
pub struct ChangeUser<F> {
    /// The prepared name.
    pub username: Username,
    /// Changes these three only; may be called several times.
    pub change: F,
}

impl<F: Fn(&mut User) + Send + Sync + 'static> UseCase for ChangeUser<F> {
    type Outcome = Option<(User, User)>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        // Each repetition means that another change has succeeded. The caller's time limit ends it.
        loop {
            let Some(row) = find_row(tx, &self.username).await? else { return Ok(None) };
            let before = User::read(&row)?;
            let mut after = before.clone();
            (self.change)(&mut after);
            let decided =
                |user: &User| (user.scope.clone(), user.roles.clone(), user.mfa_required_at);
            if decided(&before) == decided(&after) {
                return Ok(Some((before, after)));
            }
            let values = [
                (&after.id).into(),
                scope_value(after.scope.as_ref()),
                roles_value(&after.roles),
                after.mfa_required_at.into(),
                row.get::<Option<String>>("scope")?.as_ref().into(),
                (&row.get::<String>("roles")?).into(),
                before.mfa_required_at.into(),
            ];
            if tx.execute(&sql::UPDATE_USER, &values).await? == 1 {
                let act = Act::new(Deed::UserChanged).on_user(&after.username, &after.id);
                tx.record(act.changing(differing(&before, &after))).await?;
                return Ok(Some((before, after)));
            }
        }
    }
}

/// Sets another password and ends the user's sessions (RFC 9700 §4.14.2), of which there should be few; `false` if there
/// is no such user, or not any more with the hash that was verified.
#[derive(Debug)]
pub struct ChangePassword {
    /// The prepared name.
    pub username: Username,
    /// The hash, in a format that can be verified.
    pub password_hash: StoredUnder<Secret>,
    /// The stored hash that the present password matched: nothing is changed if it is another by now. `None` if nobody
    /// asked for the present password.
    pub verified_hash: Option<Secret>,
    /// Whether the user must change it before the next login.
    pub temporary: bool,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for ChangePassword {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let password_hash = self.password_hash.require(tx).await?;
        let values = [
            self.username.as_str().into(),
            password_hash.expose().into(),
            self.now.into(),
            self.temporary.then_some(self.now).into(),
            self.verified_hash.as_ref().map(Secret::expose).into(),
        ];
        let rows = tx.query(&sql::UPDATE_USER_PASSWORD, &values).await?;
        let Some(id) = end_sessions(tx, &rows).await? else { return Ok(false) };
        let act = Act::new(Deed::PasswordChanged).on_user(&self.username, &id);
        tx.record(act.changing(["password"])).await?;
        Ok(true)
    }
}

/// Disables or enables a user. While the user is disabled all sessions are dead; the caller ends them for good. `false`
/// if it was so already, and `None` if there is no such user.
#[derive(Debug)]
pub struct SetUserDisabled {
    /// The prepared name.
    pub username: Username,
    /// Whether to disable the user, or else to enable.
    pub disabled: bool,
    /// The present moment.
    pub now: Timestamp,
}

impl UseCase for SetUserDisabled {
    type Outcome = Option<bool>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<bool>, StoreError> {
        let name = || self.username.as_str().into();
        let changed = if self.disabled {
            tx.execute(&sql::DISABLE_USER, &[name(), self.now.into()]).await?
        } else {
            tx.execute(&sql::ENABLE_USER, &[name()]).await?
        };
        let Some(user) = find_row(tx, &self.username).await? else { return Ok(None) };
        if changed == 1 {
            let id = user.get("user_id")?;
            let deed = if self.disabled { Deed::UserDisabled } else { Deed::UserEnabled };
            tx.record(Act::new(deed).on_user(&self.username, &id)).await?;
        }
        Ok(Some(changed == 1))
    }
}

/// Deletes a user; `false` if there is none of that name. The caller ends the sessions before, in batches; this ends
/// those that are left.
#[derive(Debug)]
pub struct DeleteUser {
    /// The prepared name.
    pub username: Username,
}

impl UseCase for DeleteUser {
    type Outcome = bool;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let rows = tx.query(&sql::DELETE_USER, &[self.username.as_str().into()]).await?;
        let Some(id) = end_sessions(tx, &rows).await? else { return Ok(false) };
        tx.record(Act::new(Deed::UserDeleted).on_user(&self.username, &id)).await?;
        Ok(true)
    }
}

/// Ends the sessions of the user in `users`, the rows of a preceding statement, and returns the user; `None` if it is
/// empty. A concurrent login has written the user's row before, or will find it changed.
async fn end_sessions(tx: &mut Tx<'_>, users: &[Row]) -> Result<Option<UserId>, StoreError> {
    let Some(user) = users.first() else { return Ok(None) };
    let id: UserId = user.get("user_id")?;
    tx.execute(&sql::END_SESSIONS_OF_USER, &[(&id).into()]).await?;
    Ok(Some(id))
}
