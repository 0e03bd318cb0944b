//! `jeton user list --stats`: how far a migration is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;

use super::{Failure, for_each, output};
use crate::cli::listing;
use jeton_crypto::password::PasswordHash;
use jeton_oauth::Timestamp;
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::Store;
use jeton_store::users::{User, UserFilter};

/// The users whose hashes have one format and cost.
#[derive(Debug, Default, Serialize)]
struct OfFormat {
    users: u64,
    /// How many of them have not logged in here.
    never_logged_in: u64,
    /// When one of them last logged in here.
    last_login_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Row<'a> {
    format: &'a str,
    #[serde(flatten)]
    of_format: &'a OfFormat,
}

/// The function and the cost of a user's hash. `(sealed)` for one that does not open with the given master keys.
pub(super) fn format_of(user: &User, hashes: &StoredHashes) -> String {
    let Ok(hash) = hashes.hash_of(user) else { return "(sealed)".to_owned() };
    let hash = PasswordHash::parse(hash.expose(), u64::MAX);
    hash.map_or("(unusable)".to_owned(), |hash| hash.to_string())
}

pub(super) async fn run(
    store: &Store,
    hashes: &StoredHashes,
    filter: UserFilter,
    is_wanted: impl Fn(&User) -> bool,
    json: bool,
) -> Result<(), Failure> {
    let mut formats: BTreeMap<String, OfFormat> = BTreeMap::new();
    let count = |user: User| {
        if !is_wanted(&user) {
            return Ok(ControlFlow::Continue(()));
        }
        let of_format = formats.entry(format_of(&user, hashes)).or_default();
        of_format.users += 1;
        of_format.never_logged_in += u64::from(user.last_login_here().is_none());
        of_format.last_login_at = of_format.last_login_at.max(user.last_login_here());
        Ok(ControlFlow::Continue(()))
    };
    for_each(store, filter, None, count).await?;
    if json {
        let rows = formats.iter().map(|(format, of_format)| Row { format, of_format });
        output::json(&rows.collect::<Vec<_>>());
        return Ok(());
    }
    let rows = formats.into_iter().map(|(format, of)| {
        let last = of.last_login_at.map_or("never".to_owned(), |at| at.to_string());
        [format, of.users.to_string(), of.never_logged_in.to_string(), last]
    });
    let rows: Vec<_> = rows.collect();
    listing::table(["FORMAT", "USERS", "NEVER LOGGED IN HERE", "LAST LOGIN"], &rows);
    Ok(())
}
