//! A user's other name.

use super::operator_acts::{Act, Deed};
use super::users::find_row;
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
            if let Some(user) = find_row(tx, &self.new_name).await? {
                // Under the old name; under the new one it is found by the `sub`.
                let id = user.get("user_id")?;
                let act = Act::new(Deed::UserRenamed).on_user(&self.username, &id);
                tx.record(act.changing(["username"])).await?;
            }
            return Ok(Renamed::Done);
        }
        let is_there = find_row(tx, &self.username).await?.is_some();
        Ok(if is_there { Renamed::Taken } else { Renamed::Unknown })
    }
}
