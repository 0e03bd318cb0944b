//! A user's other name.

use super::operator_acts::{Act, Deed};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::resource_owner::Username;

/// What came of giving a user another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// The user has it. Sessions and `sub` are as they were.
    Done,
    /// Another user has it: nothing was changed.
    Taken,
    /// There is no such user.
    Unknown,
}

/// Gives a user another name.
#[derive(Debug)]
pub struct RenameUser {
    /// The mapped name that the user has.
    pub username: Username,
    /// The mapped name that the user gets.
    pub new_name: Username,
}

impl UseCase for RenameUser {
    type Outcome = Renamed;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Renamed, StoreError> {
        let names = [self.username.as_str().into(), self.new_name.as_str().into()];
        if tx.execute(&sql::RENAME_USER, &names).await? == 1 {
            let name = self.new_name.as_str().into();
            let users = tx.look_up(&sql::FIND_USERS_BY_NAME, vec![name]).await?;
            if let Some(user) = users.first() {
                // Under the old name; under the new one it is found by the `sub`.
                let id = user.get("user_id")?;
                let act = Act::new(Deed::UserRenamed).on_user(&self.username, &id);
                tx.record(act.changing(["username"])).await?;
            }
            return Ok(Renamed::Done);
        }
        let users = tx.look_up(&sql::FIND_USERS_BY_NAME, vec![self.username.as_str().into()]);
        Ok(if users.await?.is_empty() { Renamed::Unknown } else { Renamed::Taken })
    }
}
