//! `jeton user rename`: another name for a user.

use clap::Args;

use super::{Failure, Named, find, open_existing_store, say, unknown};
use jeton_oauth::resource_owner::Username;
use jeton_store::StoreError;
use jeton_store::renaming::{RenameUser, Renamed};

/// What `jeton user rename` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Rename {
    #[command(flatten)]
    named: Named,
    /// The name that the user gets
    new_name: Username,
}

pub(super) async fn run(options: Rename) -> Result<(), Failure> {
    let Rename { named, new_name } = options;
    let store = open_existing_store(&named.common.database).await?;
    let user = find(&store, &named.name).await?;
    if user.username == new_name {
        return say(true, &named, "named so already: nothing was changed");
    }
    let rename = RenameUser { username: named.name.clone(), new_name: new_name.clone() };
    let renamed = match store.perform(rename).await {
        // Another user has got the name at the same moment, which PostgreSQL refuses.
        Err(StoreError::Conflict(_)) => Renamed::Taken,
        renamed => renamed?,
    };
    match renamed {
        Renamed::Done => {
            let done = format!("renamed to {new_name}; the sub and all sessions stay");
            say(true, &named, &done)
        }
        Renamed::Taken => Err(Failure::conflict(format!(
            "there is a user {new_name} already: nothing was changed"
        ))),
        Renamed::Unknown => Err(unknown(&named.name)),
    }
}
