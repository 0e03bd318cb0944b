//! `jeton db reopen`: gives a copy up, and lets its source take changes again.

use clap::Args;

use super::confirmation::Confirmation;
use super::{Failure, migrating, open_existing, operated, output};
use crate::config::AdministeredDatabase;
use jeton_oauth::Timestamp;
use jeton_store::DatabaseLocation;
use jeton_store::gate::{ClosedFor, Closure, ReadGate, Reopen};

/// What `jeton db reopen` takes.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    database: AdministeredDatabase,
}

/// Says in one sentence why a database takes no changes.
pub(super) fn explain(closure: &Closure) -> String {
    let Closure { since, peer, .. } = closure;
    match closure.reason {
        ClosedFor::Copying => format!(
            "It takes no changes since {since}: `jeton db copy` copies it to {peer}, or was killed. Then run it again, or \
             give the copy up with `jeton db reopen`."
        ),
        ClosedFor::Moved => format!(
            "It takes no changes since {since}: it was copied to {peer}, which is used instead. `jeton db reopen` gives \
             the copy up."
        ),
        ClosedFor::Unfinished => format!(
            "It is a copy of {peer} that was begun at {since} and is not complete: it cannot be used. Run the same \
             `jeton db copy` again, which begins anew."
        ),
        ClosedFor::Outdated => format!(
            "It takes no changes from this jeton since {since}, and can still be read: a newer jeton has changed its tables. \
             Use the newer one; or go back to the backup from before the upgrade, which undoes everything since."
        ),
        ClosedFor::Unreadable => format!(
            "This jeton cannot use it since {since}: a newer jeton has changed its tables. Use the newer one; or go back \
             to the backup from before the upgrade, which undoes everything since."
        ),
    }
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let Options { confirmation, database } = options;
    // A database that is closed is not migrated, so it is opened whatever version its tables are of.
    let (store, status) = open_existing(&database.settings).await?;
    if !status.has_gate() {
        migrating::require_up_to_date(&database.settings, status)?;
    }
    let store = operated(store, &database);
    let name = &database.settings.database;
    let Some(closure) = store.perform(ReadGate).await? else {
        output::line(&format!("The database {name} takes changes: nothing was changed."));
        return Ok(());
    };
    let Closure { reason, peer, since, .. } = closure.clone();
    match reason {
        ClosedFor::Copying | ClosedFor::Moved => {}
        ClosedFor::Unfinished | ClosedFor::Outdated | ClosedFor::Unreadable => {
            return Err(Failure::refused(explain(&closure)));
        }
    }
    confirmation.ask(&consequence(name, &peer, since))?;
    if !store.perform(Reopen(closure)).await? {
        return Err(Failure::conflict(
            "it was closed otherwise meanwhile: look at `jeton db status`, and nothing was changed",
        ));
    }
    output::line(&format!("The database {name} takes changes again."));
    Ok(())
}

fn consequence(name: &DatabaseLocation, peer: &str, since: Timestamp) -> String {
    format!(
        "The database {name} takes changes again, and knows nothing of what happened in {peer} since {since}: stop every \
         service that uses {peer} first, and use it no more. Sessions opened there are unknown here, and sessions \
         revoked there are alive here."
    )
}
