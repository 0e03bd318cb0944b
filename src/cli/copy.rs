//! `jeton db copy`: everything in another database. `jeton db reopen`: the way back.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::confirmation::Confirmation;
use super::serve::stop_signal;
use super::{Failure, make_store, migrating, open_existing_store, open_to_read, operator, output};
use crate::config::{self, AdministeredDatabase, DatabaseSettings};
use jeton_crypto::random;
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;
use jeton_store::copy::{self, CopiedTable, PrepareTarget, Target, WasCompleted};
use jeton_store::gate::{ChangeGate, CloseGate, ClosedFor, Closure, ReadGate, Reopen};
use jeton_store::replicas::{ListReplicas, StoredReplica};
use jeton_store::{DatabaseLocation, Stop, Store, StoreError, migration};

/// What `jeton db copy` takes.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    from: CopiedDatabase,
    #[command(flatten)]
    to: EmptyDatabase,
    /// Who you are, for `jeton audit` of the target; nothing checks it
    #[arg(long = "as", value_name = "NAME", value_parser = config::claimed_name)]
    claimed_name: Option<String>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The database that is copied.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct CopiedDatabase {
    /// The database that is copied, as `--database` of `jeton serve` names it
    #[arg(long, value_name = "URL")]
    from: Option<DatabaseLocation>,
    /// A file with the value of --from in it
    #[arg(long, value_name = "PATH", value_parser = config::location_in_file)]
    from_file: Option<DatabaseLocation>,
}

/// The database that receives everything.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct EmptyDatabase {
    /// The database that receives everything; it must be new, or have no rows
    #[arg(long, value_name = "URL")]
    to: Option<DatabaseLocation>,
    /// A file with the value of --to in it
    #[arg(long, value_name = "PATH", value_parser = config::location_in_file)]
    to_file: Option<DatabaseLocation>,
}

/// What `jeton db reopen` takes.
#[derive(Args, Debug)]
pub(super) struct Reopening {
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    database: AdministeredDatabase,
}

/// What was copied, as it is printed.
#[derive(Serialize)]
struct Report {
    from: String,
    to: String,
    rows: u64,
    /// For how long the source has taken no changes by now.
    seconds: f64,
    tables: Vec<CopiedTable>,
}

/// Both databases.
struct Move {
    /// The name of this run.
    run: String,
    from: String,
    to: String,
    source: Store,
    target: Store,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let Options { from, to, claimed_name, confirmation, json } = options;
    let (Some(from), Some(to)) = (from.from.or(from.from_file), to.to.or(to.to_file)) else {
        return Err(Failure::usage("both --from and --to are needed"));
    };
    let stop = stop_signal()?;
    let settings = |database| DatabaseSettings { database, file: None };
    let named = |failure: Failure, setting: &str| {
        failure.reworded(|text| text.replace("(--database)", setting))
    };
    let source = open_to_read(&settings(from.clone())).await;
    let source = source.map_err(|failure| named(failure, "(--from)"))?;
    let from = from.to_string();
    require_known_tables(&source, &from, "--from").await?;
    require_known_replicas(&source).await?;
    confirmation.ask(&format!(
        "The database {from} takes no changes from now on: logins, refreshes and revocations are answered 503 with \
         Retry-After, and so they stay until the service uses {to}. Introspection and the key set go on."
    ))?;
    let target = make_store(&settings(to.clone())).await;
    let target = target.map_err(|failure| named(failure, "(--to)"))?;
    require_known_tables(&target, &to.to_string(), "--to").await?;
    let target = target.operated_by(operator::operator(claimed_name.as_deref()));
    let moving = Move { run: random::token_id(), from, to: to.to_string(), source, target };
    moving.prepare_target().await?;
    let begun = Instant::now();
    let tables = moving.copy(stop).await?;
    moving.target.close().await;
    moving.source.close().await;
    print(&moving, tables, begun, json);
    Ok(())
}

/// Requires tables that no newer program has migrated: what it added would not be copied.
async fn require_known_tables(store: &Store, name: &str, setting: &str) -> Result<(), Failure> {
    let is_newer = migration::status(store).await?.is_newer();
    if is_newer { Err(too_new(name, setting)) } else { Ok(()) }
}

fn too_new(name: &str, setting: &str) -> Failure {
    Failure::failed(format!(
        "a newer jeton has changed the tables of {name} ({setting}), and this one does not know all that is in them: \
         copy with the newer jeton; nothing was changed"
    ))
}

/// Requires that all replicas of the source know the gate.
async fn require_known_replicas(source: &Store) -> Result<(), Failure> {
    let now = Clock::System.now();
    let replicas = source.perform(ListReplicas).await?;
    let is_old =
        |replica: &&StoredReplica| replica.runs(now) && replica.settings.knows_migration == 0;
    match replicas.iter().find(is_old) {
        None => Ok(()),
        Some(replica) => Err(Failure::refused(format!(
            "the replica {} is of version {}, which would go on writing to the source, so logins would be lost: \
             replace it by one of this version, or stop it and wait three minutes",
            replica.id, replica.settings.version
        ))),
    }
}

impl Move {
    fn closure(&self, reason: ClosedFor, peer: &str) -> Closure {
        Closure::of_copy(reason, self.run.clone(), peer.to_owned(), Clock::System.now())
    }

    async fn prepare_target(&self) -> Result<(), Failure> {
        let prepare = PrepareTarget(self.closure(ClosedFor::Unfinished, &self.from));
        match self.target.perform(prepare).await? {
            Target::Ready => Ok(()),
            Target::NotEmpty(table) => Err(Failure::conflict(format!(
                "the database {} (--to) is not empty, there are rows in {table}: name a new file or a new database; \
                 `jeton db status` says whether this one is in use",
                self.to
            ))),
        }
    }

    /// Copies everything. If that fails, the source takes changes as before.
    async fn copy(&self, mut stop: Stop) -> Result<Vec<CopiedTable>, Failure> {
        let closing = CloseGate(self.closure(ClosedFor::Copying, &self.to));
        let before = tokio::select! {
            before = self.source.perform(closing) => before,
            _ = stop.wait_for(|stop| *stop) => Err(StoreError::Unavailable("told to stop".to_owned())),
        };
        let before = match before {
            Ok(before) => before,
            Err(error) => {
                self.give_back(None).await.ok();
                return Err(self.nothing_done(&error.to_string()));
            }
        };
        match before.as_ref().map(|closure| closure.reason) {
            Some(ClosedFor::Unfinished) => {
                self.give_back(before).await?;
                return Err(Failure::conflict(format!(
                    "the database {} (--from) is the target of a copy that is not complete: name the source of that one",
                    self.from
                )));
            }
            Some(ClosedFor::Outdated | ClosedFor::Unreadable) => {
                self.give_back(None).await?;
                return Err(too_new(&self.from, "--from"));
            }
            Some(ClosedFor::Copying | ClosedFor::Moved) | None => {}
        }
        let say = migrating::say_to_person();
        let say = |table: &str, rows: u64| say(&format!("Copying {table}: {rows} rows"));
        let copying = copy::copy(&self.source, &self.target, &self.run, &self.from, &say);
        let copied = tokio::select! {
            copied = copying => copied,
            _ = stop.wait_for(|stop| *stop) => Err(StoreError::Unavailable("told to stop".to_owned())),
        };
        output::end_progress();
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => return Err(self.settle(&error, before).await),
        };
        self.retire_source().await?;
        Ok(copied)
    }

    /// The source is used no more.
    async fn retire_source(&self) -> Result<(), Failure> {
        let to = Some(self.closure(ClosedFor::Moved, &self.to));
        let retired = self.source.perform(ChangeGate { run: self.run.clone(), to }).await;
        match retired {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::conflict(format!(
                "{} is complete, but another `jeton db copy` or `jeton db reopen` has changed the state of {} meanwhile: \
                 look at both with `jeton db status`, and use one of them",
                self.to, self.from
            ))),
            Err(error) => Err(Failure::unavailable(format!(
                "{} is complete and can be used; the source {} could not be marked as moved and still takes no changes: \
                 {error}",
                self.to, self.from
            ))),
        }
    }

    /// After a failure: finds out whether the target was completed nevertheless, and else lets the source go on.
    async fn settle(&self, error: &StoreError, before: Option<Closure>) -> Failure {
        match self.target.perform(WasCompleted).await {
            Ok(false) => match self.give_back(before).await {
                Ok(()) => self.nothing_done(&error.to_string()),
                Err(failure) => failure.reworded(|text| {
                    format!(
                        "the copy failed: {error}; and the source {} still takes no changes: {text}; run the same \
                         command again, or `jeton db reopen`",
                        self.from
                    )
                }),
            },
            Ok(true) => match self.retire_source().await {
                Ok(()) => Failure::unavailable(format!(
                    "the copy {} is complete and can be used, and {} takes no changes any more; but the answer was lost: \
                     {error}",
                    self.to, self.from
                )),
                Err(failure) => failure,
            },
            Err(unknown) => Failure::unavailable(format!(
                "the copy failed: {error}; whether it was completed is not known: {unknown}. So the source {} still \
                 takes no changes: run the same command again; if it says that {} is not empty, that one is complete; else \
                 `jeton db reopen` gives the copy up",
                self.from, self.to
            )),
        }
    }

    fn nothing_done(&self, error: &str) -> Failure {
        Failure::unavailable(format!(
            "nothing was copied, and {} takes changes as before: {error}; run the same command again",
            self.from
        ))
    }

    /// Puts the gate of the source back to what it was.
    async fn give_back(&self, before: Option<Closure>) -> Result<(), Failure> {
        self.source.perform(ChangeGate { run: self.run.clone(), to: before }).await?;
        Ok(())
    }
}

fn print(moving: &Move, tables: Vec<CopiedTable>, begun: Instant, json: bool) {
    let rows = tables.iter().map(|table| table.rows).sum();
    let seconds = begun.elapsed().as_secs_f64();
    let (from, to) = (moving.from.clone(), moving.to.clone());
    if json {
        output::json(&Report { from, to, rows, seconds, tables });
        return;
    }
    for table in &tables {
        output::line(&format!("{:16} {:>10} rows  {}", table.table, table.rows, table.digest));
    }
    output::line(&format!(
        "Copied {rows} rows from {from} to {to} in {seconds:.1} s, and compared them. Start the service with \
         --database of the copy and the same master key. {from} takes no changes any more; `jeton db reopen` gives the \
         copy up."
    ));
}

/// Says in one sentence why a database takes no changes.
pub(in crate::cli) fn explain(closure: &Closure) -> String {
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

pub(super) async fn reopen(options: Reopening) -> Result<(), Failure> {
    let Reopening { confirmation, database } = options;
    let store = open_existing_store(&database).await?;
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
