//! The audit trail of the command line: who changed what, and when.
//!
//! A [`Store`] that an [`Operator`] uses writes a row in the transaction of each change, so there is
//! neither without the other. The service has no operator, so nothing that a caller does writes a row. Names of what
//! was changed are recorded, values are not: no secret gets here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::value::{Row, Value};
use super::{Access, Engine, SharedPostgres, Store, StoreError, Tx, UseCase, sql};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, Seconds, Timestamp, UserId};
use jeton_runtime::clock::Clock;

/// For how long acts are kept: a year, and a month to look at it.
pub const KEPT_FOR: Seconds = Seconds::new(400 * 86_400);

/// Who runs a command.
#[derive(Debug)]
pub struct Operator {
    /// The user of the operating system.
    pub system_user: String,
    /// The user that logged in to the host, if the system knows it and it is another one.
    pub login_user: Option<String>,
    /// The host.
    pub host: String,
    /// Who they say they are. Nothing checks it.
    pub claimed_name: Option<String>,
    /// A random name of this run of the program.
    pub run: String,
    /// Dates the acts.
    pub clock: Clock,
    /// How many acts there were.
    acts: AtomicU64,
}

impl Operator {
    /// An operator who has done nothing yet.
    #[must_use]
    pub fn new(system_user: String, host: String, run: String, clock: Clock) -> Self {
        let (login_user, claimed_name, acts) = (None, None, AtomicU64::new(0));
        Self { system_user, login_user, host, claimed_name, run, clock, acts }
    }
}

impl Store {
    /// The same database for an operator, whose acts are recorded.
    #[must_use]
    pub fn operated_by(self, operator: Operator) -> Self {
        let operator = Arc::new(operator);
        let engine = match self.engine {
            Engine::Sqlite(sqlite) => Engine::Sqlite(sqlite.operated_by(operator)),
            Engine::Postgres(shared) => {
                let SharedPostgres { postgres, clients, sessions, refreshes } = *shared;
                let postgres = postgres.operated_by(operator);
                Engine::Postgres(Box::new(SharedPostgres {
                    postgres,
                    clients,
                    sessions,
                    refreshes,
                }))
            }
        };
        Self { engine, ..self }
    }
}

macro_rules! deeds {
    ($($(#[$documentation:meta])* $name:ident = $text:literal,)+) => {
        /// What was done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Deed {
            $($(#[$documentation])* $name,)+
        }

        impl Deed {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name, which stays what it is in later versions.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

deeds! {
    /// A user was added.
    UserAdded = "user_added",
    /// Users were added, or given other hashes, from a file.
    UsersImported = "users_imported",
    /// Scope, roles or the second factor of a user were changed.
    UserChanged = "user_changed",
    /// A user was given another name.
    UserRenamed = "user_renamed",
    /// A user was given another password.
    PasswordChanged = "password_changed",
    /// A user was disabled.
    UserDisabled = "user_disabled",
    /// A user was enabled.
    UserEnabled = "user_enabled",
    /// An authenticator was given to a user. It does not count before a code has proved it.
    AuthenticatorAdded = "authenticator_added",
    /// A code has proved an authenticator: the user must use one from now on.
    AuthenticatorConfirmed = "authenticator_confirmed",
    /// An authenticator was taken away from a user.
    AuthenticatorRemoved = "authenticator_removed",
    /// A user was given new recovery codes. Those before are good no longer.
    RecoveryCodesMade = "recovery_codes_made",
    /// The failed logins of a user were forgotten.
    UserUnlocked = "user_unlocked",
    /// Stored hashes were sealed under a data key.
    HashesSealed = "hashes_sealed",
    /// Sealed hashes were opened and stored as they are.
    HashesUnsealed = "hashes_unsealed",
    /// A user was deleted.
    UserDeleted = "user_deleted",
    /// A client was added.
    ClientAdded = "client_added",
    /// Settings of a client were changed.
    ClientChanged = "client_changed",
    /// A client was disabled.
    ClientDisabled = "client_disabled",
    /// A client was enabled.
    ClientEnabled = "client_enabled",
    /// A client was deleted.
    ClientDeleted = "client_deleted",
    /// A client was given one more secret.
    SecretAdded = "client_secret_added",
    /// A secret was taken away from a client.
    SecretRemoved = "client_secret_removed",
    /// Sessions were ended.
    SessionsEnded = "sessions_ended",
    /// A key was made or imported.
    KeyAdded = "key_added",
    /// A key that waited began its work at once.
    KeyActivated = "key_activated",
    /// A key was withdrawn.
    KeyRevoked = "key_revoked",
    /// A data key that seals nothing any more was deleted.
    KeyDeleted = "key_deleted",
    /// Other recovery keys open a data key, or none does.
    RecoverySet = "recovery_set",
    /// Keys were sealed under another master key.
    KeysResealed = "keys_resealed",
    /// Sessions that had expired were deleted.
    ExpiredSessionsDeleted = "expired_sessions_deleted",
    /// Failure counters that said nothing any more were deleted.
    ExpiredCountersDeleted = "expired_counters_deleted",
    /// Acts that were too old were deleted.
    OldActsDeleted = "old_acts_deleted",
    /// A copy was put in the place of the database.
    DatabaseRestored = "database_restored",
    /// Everything was copied from another database into this one.
    DatabaseCopied = "database_copied",
    /// A database that was copied takes changes again.
    DatabaseReopened = "database_reopened",
}

/// An act that is to be recorded.
pub(super) struct Act<'a> {
    deed: Deed,
    username: Option<&'a Username>,
    user_id: Option<&'a UserId>,
    client_id: Option<&'a ClientId>,
    object: Option<String>,
    changed: Vec<String>,
    affected: u64,
    /// Whether what the same run did before to the same is counted with it.
    is_slice: bool,
}

impl<'a> Act<'a> {
    pub(super) fn new(deed: Deed) -> Self {
        Self {
            deed,
            username: None,
            user_id: None,
            client_id: None,
            object: None,
            changed: Vec::new(),
            affected: 1,
            is_slice: false,
        }
    }

    pub(super) fn on_user(self, username: &'a Username, id: &'a UserId) -> Self {
        Self { username: Some(username), ..self }.on_user_id(id)
    }

    pub(super) fn on_user_id(self, id: &'a UserId) -> Self {
        Self { user_id: Some(id), ..self }
    }

    pub(super) fn on_client(self, id: impl Into<Option<&'a ClientId>>) -> Self {
        Self { client_id: id.into(), ..self }
    }

    pub(super) fn on(self, object: &impl ToString) -> Self {
        Self { object: Some(object.to_string()), ..self }
    }

    pub(super) fn changing(self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { changed: names.into_iter().map(Into::into).collect(), ..self }
    }

    /// It is one of several transactions that did so much together.
    pub(super) fn slice(self, affected: u64) -> Self {
        Self { affected, is_slice: true, ..self }
    }

    /// So much was done at once.
    pub(super) fn affecting(self, affected: u64) -> Self {
        Self { affected, ..self }
    }

    fn id(&self, operator: &Operator) -> String {
        let run = &operator.run;
        if self.is_slice {
            let user = self.user_id.map_or("", UserId::as_str);
            let client = self.client_id.map_or("", ClientId::as_str);
            return format!("{run}-{}-{user}-{client}", self.deed.as_str());
        }
        format!("{run}-{:06}", operator.acts.fetch_add(1, Ordering::Relaxed))
    }

    fn values(&self, operator: &Operator) -> [Value; 13] {
        [
            Value::Text(self.id(operator)),
            operator.clock.now().into(),
            self.deed.as_str().into(),
            (&operator.system_user).into(),
            operator.login_user.as_ref().into(),
            (&operator.host).into(),
            operator.claimed_name.as_ref().into(),
            self.username.map(Username::as_str).into(),
            self.user_id.into(),
            self.client_id.into(),
            self.object.as_ref().into(),
            Value::Text(serde_json::to_string(&self.changed).expect("texts are JSON")),
            i64::try_from(self.affected).unwrap_or(i64::MAX).into(),
        ]
    }
}

impl Tx<'_> {
    /// Records an act in this transaction, if an operator does it. One that affected nothing is none.
    pub(super) async fn record(&mut self, act: Act<'_>) -> Result<(), StoreError> {
        let Some(operator) = self.operator.filter(|_| act.affected > 0) else { return Ok(()) };
        self.execute(&sql::INSERT_OPERATOR_ACT, &act.values(operator)).await.map(drop)
    }
}

/// The names of the members that differ, in the order of the alphabet.
#[must_use]
pub fn differing<T: Serialize>(before: &T, after: &T) -> Vec<String> {
    let json = |value| serde_json::to_value(value).expect("it is JSON");
    let (before, after) = (json(before), json(after));
    let names = |value: &serde_json::Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let all = &names(&before) | &names(&after);
    all.into_iter().filter(|name| before.get(name) != after.get(name)).collect()
}

/// An act that was recorded. Serialised, it is what the command line prints.
#[derive(Clone, Debug, Serialize)]
pub struct RecordedAct {
    #[serde(skip)]
    id: String,
    /// When it was.
    pub at: Timestamp,
    /// What was done: one of [`Deed`], or what a later version records.
    pub act: String,
    /// The user of the operating system.
    pub system_user: String,
    /// The user that logged in to the host, if it is another one.
    pub login_user: Option<String>,
    /// The host.
    pub host: String,
    /// What `--as` claimed.
    pub claimed_name: Option<String>,
    /// The user's name at that time.
    pub username: Option<String>,
    /// The user's `sub`.
    pub sub: Option<UserId>,
    /// The client.
    pub client_id: Option<ClientId>,
    /// The session, the key, or the number of the secret.
    pub object: Option<String>,
    /// The names of what was changed.
    pub changed: Vec<String>,
    /// How many sessions, users, keys or rows.
    pub affected: i64,
}

impl RecordedAct {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("act_id")?,
            at: row.get("acted_at")?,
            act: row.get("deed")?,
            system_user: row.get("system_user")?,
            login_user: row.get("login_user")?,
            host: row.get("host")?,
            claimed_name: row.get("claimed_name")?,
            username: row.get("username")?,
            sub: row.get("user_id")?,
            client_id: row.get("client_id")?,
            object: row.get("object")?,
            changed: row.json("changed")?,
            affected: row.get("affected")?,
        })
    }
}

/// Lists acts, oldest first.
#[derive(Clone, Debug)]
pub struct ListOperatorActs {
    /// From this moment on.
    pub since: Timestamp,
    /// Only those on users who had this name then.
    pub username: Option<Username>,
    /// With the name: also those on this user, whatever the name was.
    pub user_id: Option<UserId>,
    /// Only those on this client.
    pub client_id: Option<ClientId>,
    /// The act after which the page begins; `None` for the first page.
    pub after: Option<RecordedAct>,
    /// The most that are listed.
    pub limit: i64,
}

impl UseCase for ListOperatorActs {
    type Outcome = Vec<RecordedAct>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<RecordedAct>, StoreError> {
        let after = self.after.as_ref();
        let values = [
            self.since.into(),
            self.username.as_ref().map(Username::as_str).into(),
            self.user_id.as_ref().into(),
            self.client_id.as_ref().into(),
            after.map_or(i64::MIN, |act| act.at.0).into(),
            after.map_or("", |act| &act.id).into(),
            self.limit.into(),
        ];
        let rows = tx.query(&sql::LIST_OPERATOR_ACTS, &values).await?;
        rows.iter().map(RecordedAct::read).collect()
    }
}

/// Deletes so many of the acts that are too old, and returns how many there were to delete.
#[derive(Clone, Debug)]
pub struct DeleteOldActs {
    /// Acts of this moment and before are deleted.
    pub before: Timestamp,
    /// The most rows that one call changes.
    pub limit: i64,
}

impl UseCase for DeleteOldActs {
    type Outcome = u64;
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
        let values = [self.before.into(), self.limit.into()];
        let deleted = tx.execute(&sql::DELETE_OLD_OPERATOR_ACTS, &values).await?;
        tx.record(Act::new(Deed::OldActsDeleted).slice(deleted)).await?;
        Ok(deleted)
    }
}

/// Records that this database was put in the place of another.
#[derive(Debug)]
pub struct RecordRestore;

impl UseCase for RecordRestore {
    type Outcome = ();
    const ACCESS: Access = Access::Write;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.record(Act::new(Deed::DatabaseRestored)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_one_act_share_a_row_and_acts_do_not() {
        let operator =
            Operator::new("root".to_owned(), "host".to_owned(), "run".to_owned(), Clock::System);
        let id = |act: Act<'_>| act.id(&operator);
        assert_eq!(id(Act::new(Deed::KeyAdded)), "run-000000");
        assert_eq!(id(Act::new(Deed::KeyAdded)), "run-000001");
        let slice = || Act::new(Deed::SessionsEnded).slice(7);
        assert_eq!(id(slice()), id(slice()));
        let client: ClientId = "web".parse().expect("a name");
        assert_ne!(id(slice()), id(slice().on_client(&client)));
    }

    #[test]
    fn names_of_what_differs_are_told() {
        let (before, after) = (
            serde_json::json!({"a": 1, "b": [2], "c": null}),
            serde_json::json!({"a": 1, "b": [3], "d": true}),
        );
        assert_eq!(differing(&before, &after), ["b", "c", "d"]);
    }
}
