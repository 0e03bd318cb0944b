//! The processes of the service that share the database: `jeton db replicas`, and what they must know before something is
//! stored that an older one would get wrong.

use super::listing::{self, Column, Width};
use super::{Failure, output};
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use jeton_service::replicas;
use jeton_store::Store;
use jeton_store::replicas::ListReplicas;
use jeton_store::second_factors;

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

/// Requires that every running replica knows a migration. `otherwise` says what one that does not know it would do.
pub(super) async fn require_known(
    store: &Store,
    migration: i64,
    otherwise: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let running = replicas::running(store, now).await?;
    match running.iter().find(|replica| replica.settings.knows_migration < migration) {
        None => Ok(()),
        Some(old) => Err(Failure::refused(format!(
            "the replica {} is of version {}, which {otherwise}: replace it by one of this version, or stop it and \
             wait three minutes",
            old.id, old.settings.version
        ))),
    }
}

/// Requires that every running replica asks for second factors.
pub(super) async fn require_second_factors(store: &Store, now: Timestamp) -> Result<(), Failure> {
    let otherwise = "asks for no second factor and lets in with the password alone";
    require_known(store, second_factors::KNOWN_SINCE, otherwise, now).await
}
