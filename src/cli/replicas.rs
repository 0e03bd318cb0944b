//! `jeton db replicas`: which processes of the service share the database.

use super::listing::{self, Column, Width};
use super::{Failure, output};
use jeton_runtime::clock::Clock;
use jeton_store::Store;
use jeton_store::replicas::ListReplicas;

/// Lists replicas, with the settings that all of them should share.
pub(super) async fn list(store: &Store, json: bool, width: Width) -> Result<(), Failure> {
    let replicas = store.perform(ListReplicas).await?;
    if json {
        output::json(&replicas);
        return Ok(());
    }
    let now = Clock::System.now();
    let columns = [
        Column::whole("REPLICA"),
        Column::whole("STATE"),
        Column::cut("VERSION", 7),
        Column::whole("STARTED"),
        Column::whole("LAST SEEN"),
        Column::wide("ISSUER"),
        Column::wide("JWKS MAX AGE"),
        Column::wide("KEY ROTATION"),
    ];
    let rows = replicas.iter().map(|replica| {
        let state = match replica.stopped_at {
            Some(_) => "stopped",
            None if replica.runs(now) => "runs",
            None => "silent",
        };
        [
            replica.id.clone(),
            state.to_owned(),
            replica.settings.version.clone(),
            width.day(replica.started_at),
            width.minute(replica.seen_at),
            replica.settings.issuer.clone(),
            replica.settings.jwks_max_age.to_string(),
            replica.settings.key_rotation.to_string(),
        ]
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
    Ok(())
}
