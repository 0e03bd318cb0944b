//! `jeton db copy`: everything in another database.

use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::time::timeout;

use super::confirmation::Confirmation;
use super::serve::stop_signal;
use super::{Failure, make_store, migrating, open_to_read, operator, output};
use crate::config::{self, DatabaseSettings};
use jeton_crypto::random;
use jeton_runtime::clock::Clock;
use jeton_store::copy::{self, CopiedTable, PrepareTarget, Target, WasCompleted};
use jeton_store::gate::{ChangeGate, CloseGate, ClosedFor, Closure, ReadGate};
use jeton_store::replicas::{ListReplicas, StoredReplica};
use jeton_store::{DatabaseLocation, Stop, Store, StoreError, migration};

/// How long closing the source may take before it is said that it waits.
const SAY_AFTER: Duration = Duration::from_secs(1);

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
    if let Some(closure) = source.perform(ReadGate).await? {
        require_not_moved(&closure, &from)?;
    }
    confirmation.ask(&format!(
        "The database {from} takes no changes from now on: logins, refreshes and revocations are answered 503 with \
         Retry-After, and so they stay until the service uses {to}. Introspection and the key set go on."
    ))?;
    let target = make_store(&settings(to.clone())).await;
    let target = target.map_err(|failure| {
        named(failure, "(--to)").reworded(|text| {
            // A service that starts on the target fills it.
            let text = text.replace(", or start the service", " with it, and this command again");
            format!("{text}; {from} was not touched")
        })
    })?;
    require_known_tables(&target, &to.to_string(), "--to").await?;
    let target = target.operated_by(operator::operator(claimed_name.as_deref()));
    let moving = Move { run: random::token_id(), from, to: to.to_string(), source, target };
    let prepared = moving.prepare_target().await;
    prepared.map_err(|failure| {
        failure.reworded(|text| format!("{text}; {} was not touched", moving.from))
    })?;
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

/// Requires a source that was not copied already: what has happened in that copy since would be missing.
fn require_not_moved(closure: &Closure, from: &str) -> Result<(), Failure> {
    let Closure { reason, since, peer, .. } = closure;
    if *reason != ClosedFor::Moved {
        return Ok(());
    }
    Err(Failure::conflict(format!(
        "the database {from} (--from) was copied to {peer} at {since}, which is used instead: copy from that one; or give \
         it up first, with `jeton db reopen`"
    )))
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
                "the database {} (--to) is not empty, there are rows in {table}: {}",
                self.to,
                self.about_rows().await?
            ))),
        }
    }

    /// What to do about a target that has rows. A copy that was killed after its last step has left them.
    async fn about_rows(&self) -> Result<&'static str, StoreError> {
        let closure = self.source.perform(ReadGate).await?;
        let is_own =
            |closure: Closure| closure.reason == ClosedFor::Copying && closure.peer == self.to;
        Ok(if closure.is_some_and(is_own) {
            "the copy that was killed, or runs, has come to its end, so this one is complete and can be used; \
             otherwise name a new file or a new database"
        } else {
            "name a new file or a new database; `jeton db status` says whether this one is in use"
        })
    }

    /// Copies everything. If that fails, the source takes changes as before.
    async fn copy(&self, mut stop: Stop) -> Result<Vec<CopiedTable>, Failure> {
        let say = migrating::say_to_person();
        let before = tokio::select! {
            before = self.close_source(&say) => before,
            _ = stop.wait_for(|stop| *stop) => Err(StoreError::Unavailable("told to stop".to_owned())),
        };
        let before = match before {
            Ok(before) => before,
            Err(error) => {
                self.give_back(None).await.ok();
                return Err(self.nothing_done(&error.to_string()).await);
            }
        };
        match before.as_ref().map(|closure| closure.reason) {
            Some(ClosedFor::Unfinished) if before.as_ref().is_some_and(|it| it.run == self.run) => {
                self.give_back(None).await?;
                return Err(Failure::conflict(format!(
                    "{} (--from) and {} (--to) are the same database, in which there is nothing to copy",
                    self.from, self.to
                )));
            }
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
            Some(ClosedFor::Moved) => {
                self.give_back(before.clone()).await?;
                before.as_ref().map_or(Ok(()), |closure| require_not_moved(closure, &self.from))?;
            }
            Some(ClosedFor::Copying) | None => {}
        }
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

    /// Closes the source, and says so if that has to wait. Returns how it was closed before.
    async fn close_source(
        &self,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Option<Closure>, StoreError> {
        let closing = CloseGate(self.closure(ClosedFor::Copying, &self.to));
        let mut closing = pin!(self.source.perform(closing));
        loop {
            match timeout(SAY_AFTER, &mut closing).await {
                Ok(before) => return before,
                Err(_) => say(&format!(
                    "Waiting for transactions that have begun in {}, such as one of pg_dump, to end",
                    self.from
                )),
            }
        }
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
                Ok(()) => self.nothing_done(&error.to_string()).await,
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

    /// Says how it left the source, which a copy before this one may have closed.
    async fn nothing_done(&self, error: &str) -> Failure {
        let from = &self.from;
        let (state, remedy) = match self.source.perform(ReadGate).await {
            Ok(None) => (format!("{from} takes changes as before"), ""),
            Ok(Some(_)) => (
                format!("{from} still takes no changes, because of a copy before this one"),
                ", or give the copy up with `jeton db reopen`",
            ),
            Err(_) => (
                format!("whether {from} takes changes is not known"),
                "; `jeton db status` says whether it does",
            ),
        };
        Failure::unavailable(format!(
            "nothing was copied, and {state}: {error}; run the same command again{remedy}"
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
