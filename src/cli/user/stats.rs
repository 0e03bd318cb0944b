//! `jeton user list --stats`: how far a migration is.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Common, Failure, for_each, open_existing_store, output};
use jeton_crypto::password::PasswordHash;
use jeton_oauth::Timestamp;
use jeton_store::users::User;

/// The users whose hashes have one format and cost.
#[derive(Debug, Default, Serialize)]
struct OfFormat {
    users: u64,
    /// How many of them have not logged in here.
    never_logged_in: u64,
    /// When one of them last logged in.
    last_login_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Row<'a> {
    format: &'a str,
    #[serde(flatten)]
    of_format: &'a OfFormat,
}

pub(super) async fn run(common: &Common) -> Result<(), Failure> {
    let store = open_existing_store(&common.database).await?;
    let mut formats: BTreeMap<String, OfFormat> = BTreeMap::new();
    let count = |user: User| {
        let hash = PasswordHash::parse(user.password_hash.expose(), u64::MAX);
        let format = hash.map_or("(unusable)".to_owned(), |hash| hash.to_string());
        let of_format = formats.entry(format).or_default();
        of_format.users += 1;
        of_format.never_logged_in += u64::from(user.last_login_at.is_none());
        of_format.last_login_at = of_format.last_login_at.max(user.last_login_at);
        Ok(())
    };
    for_each(&store, count).await?;
    if common.json {
        let rows = formats.iter().map(|(format, of_format)| Row { format, of_format });
        output::json(&rows.collect::<Vec<_>>());
        return Ok(());
    }
    let rows = formats.into_iter().map(|(format, of)| {
        let last = of.last_login_at.map_or("never".to_owned(), |at| at.to_string());
        [format, of.users.to_string(), of.never_logged_in.to_string(), last]
    });
    let rows: Vec<_> = rows.collect();
    output::table(["FORMAT", "USERS", "NEVER LOGGED IN HERE", "LAST LOGIN"], &rows);
    Ok(())
}
