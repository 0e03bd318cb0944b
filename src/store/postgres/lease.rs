//! A connection that one use case has to itself until the outcome of its statements is known.
//!
//! A statement that nobody waits for any more is still running in the server. So its connection counts as one of the
//! pool's until the server has answered. However long something is locked, the server never has more connections from a
//! replica than its pool allows.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use deadpool::managed::Object;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column, Error};

use super::super::copy::ColumnType;
use super::super::migration::newest;
use super::super::sql::Statement;
use super::super::value::{Row, Value};
use super::super::{Access, Stop, StoreError, stopped};
use super::cancel::cancel;
use super::failure::{Remedy, classify, describe, remedy};
use super::hosts::Hosts;
use super::session::{Manager, Session};
use super::value::{typed, types, untyped};

/// Begins a transaction of one statement. The limit is set in the transaction, so that a pooler neither refuses it nor
/// applies it to others. The statement must end before its caller stops waiting, because the commit that was sent with
/// it cannot be undone.
const BEGIN_SHORT: &str = "BEGIN; SET LOCAL statement_timeout = '4s'";
/// Begins a transaction of several statements. If this process stops between them, others do not wait for it.
const BEGIN_LONGER: &str = "BEGIN; SET LOCAL statement_timeout = '4s'; \
                            SET LOCAL idle_in_transaction_session_timeout = '5s'";
/// Begins a transaction without a time limit, even if the role has one.
const BEGIN_UNLIMITED: &str = "BEGIN; SET LOCAL statement_timeout = 0";

/// Begins a definition. This is how long it waits for others who use the table, while later ones queue behind it.
const BEGIN_DEFINITION: &str =
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '1s'";

/// What begins transactions that pass the gate: the same, and what fails if the gate is closed.
struct Gated {
    short: String,
    longer: String,
    unlimited: String,
}

static GATED: LazyLock<Gated> = LazyLock::new(|| Gated::new(""));
/// The same where a transaction goes on seeing what was there before it waited for the gate ([`Session`]).
static GATED_BY_LOCK: LazyLock<Gated> = LazyLock::new(|| {
    Gated::new(&Statement::new(include_str!("../../../sql/templates/wait_for_gate.sql")).postgres)
});

impl Gated {
    fn new(before: &str) -> Self {
        let pass = include_str!("../../../sql/templates/pass_gate.sql");
        let pass = Statement::new(&pass.replace("{known}", &newest().to_string())).postgres;
        let gated = |begin: &str| {
            let parts = [begin, before, &pass].into_iter().filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join("; ")
        };
        let (short, longer) = (gated(BEGIN_SHORT), gated(BEGIN_LONGER));
        Self { short, longer, unlimited: gated(BEGIN_UNLIMITED) }
    }
}

/// What begins and ends transactions. Those that pass the gate begin with all of the others.
#[cfg(test)]
pub(crate) fn frames() -> Vec<String> {
    let gated = [&*GATED, &*GATED_BY_LOCK].into_iter();
    let gated = gated.flat_map(|begin| [&begin.short, &begin.longer, &begin.unlimited]).cloned();
    gated.chain([BEGIN_DEFINITION.to_owned(), "COMMIT; ROLLBACK".to_owned()]).collect()
}

/// How long a cancellation may take, including the end of what it cancels.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server takes to close its side of a connection.
const CLOSING_TIME: Duration = Duration::from_millis(100);
/// How often to check whether another server has replaced the one on which a commit waits.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How statements are put into transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// None is begun, for statements that only read, or that PostgreSQL does not run in a transaction.
    Nothing,
    /// Each statement is sent in one go with this begin and the commit of its transaction.
    Each(&'static str),
    /// All are in one transaction, which this text begins together with the first statement.
    All(&'static str),
    /// All are in one transaction, which has begun.
    Begun,
}

/// What may be running in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Nothing,
    /// Something that can be cancelled, and then changes nothing.
    Open,
    /// A commit. It must not be cancelled while it waits for a synchronous standby: the server would report success
    /// although the standby does not have it.
    Committing,
}

pub(crate) struct Lease {
    /// Always set until this is dropped.
    object: Option<Object<Manager>>,
    hosts: Arc<Hosts>,
    framing: Framing,
    phase: Phase,
    remedy: Option<Remedy>,
    /// Whether the connection must not be reused: an error says that it or its server is unfit, or a cancellation was
    /// sent, which would hit the next statement if it arrived late.
    is_unfit: bool,
    given_up: Counter,
}

impl Lease {
    pub(super) fn new(
        object: Object<Manager>,
        hosts: Arc<Hosts>,
        access: Access,
        is_gated: bool,
        given_up: Counter,
    ) -> Self {
        let gated = if object.sees_the_past { &*GATED_BY_LOCK } else { &*GATED };
        let framing = match (access, is_gated) {
            (Access::Read | Access::Statement, _) => Framing::Nothing,
            (Access::Definition, _) => Framing::All(BEGIN_DEFINITION),
            (Access::Write, false) => Framing::Each(BEGIN_SHORT),
            (Access::Write, true) => Framing::Each(&gated.short),
            (Access::Transaction, false) => Framing::All(BEGIN_LONGER),
            (Access::Transaction, true) => Framing::All(&gated.longer),
            (Access::LongTransaction, false) => Framing::All(BEGIN_UNLIMITED),
            (Access::LongTransaction, true) => Framing::All(&gated.unlimited),
        };
        let (object, phase) = (Some(object), Phase::Nothing);
        Self { object, hosts, framing, phase, remedy: None, is_unfit: false, given_up }
    }

    /// How to repeat the last statement, if it failed and certainly changed nothing.
    pub(super) fn remedy(&self) -> Option<Remedy> {
        self.remedy
    }

    /// The error text for a use case that took too long.
    pub(super) fn why_given_up(&self) -> &'static str {
        match self.phase {
            Phase::Committing => {
                "the database did not answer a commit in time: whether it is done is not known"
            }
            Phase::Nothing | Phase::Open => "the database did not answer in time",
        }
    }

    pub(crate) async fn query(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let prepared = self.prepare(statement, values).await?;
        let framing = self.begin();
        let client = self.client();
        let answers = if let Some(prepared) = prepared {
            framing.send(client, client.query(&prepared, &untyped(values))).await
        } else {
            let (text, values) = (&statement.postgres, typed(values));
            framing.send(client, client.query_typed(text, &values)).await
        };
        let rows = self.judge(answers)?;
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let columns = statement.columns(|| first.columns().iter().map(Column::name));
        rows.iter()
            .map(|row| {
                let mistyped = |error| StoreError::Corrupt(describe(&error));
                let column = |index| row.try_get(index).map_err(mistyped);
                let values: Result<Vec<Value>, _> = (0..row.len()).map(column).collect();
                Ok(Row::new(&columns, values?))
            })
            .collect()
    }

    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        let prepared = self.prepare(statement, values).await?;
        let framing = self.begin();
        let client = self.client();
        let answers = if let Some(prepared) = prepared {
            framing.send(client, client.execute(&prepared, &untyped(values))).await
        } else {
            let (text, values) = (&statement.postgres, typed(values));
            framing.send(client, client.execute_typed(text, &values)).await
        };
        self.judge(answers)
    }

    /// Runs a statement that copies rows in. Their values are of these types.
    pub(crate) async fn copy_in(
        &mut self,
        statement: &Statement,
        types: &[ColumnType],
        rows: &[Vec<Value>],
    ) -> Result<(), StoreError> {
        let framing = self.begin();
        let client = self.client();
        let types: Vec<Type> = types.iter().copied().map(Type::from).collect();
        let copying = async {
            let sink = client.copy_in(&statement.postgres).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
            for row in rows {
                writer.as_mut().write(&untyped(row)).await?;
            }
            writer.finish().await.map(drop)
        };
        let answers = framing.send(client, copying).await;
        self.judge(answers)
    }

    /// Runs a statement, which the server cancels when `stop` becomes true.
    pub(crate) async fn run_until(
        &mut self,
        stop: &Stop,
        statement: &str,
    ) -> Result<(), StoreError> {
        let framing = self.begin();
        let mut cancelled = false;
        let answers = {
            let client = self.client();
            let mut running = pin!(framing.send(client, client.batch_execute(statement)));
            tokio::select! {
                answers = &mut running => answers,
                () = stopped(stop) => {
                    cancelled = true;
                    // If the request cannot be sent, the statement runs to its end.
                    timeout(CANCEL_TIMEOUT, cancel(self.session(), &self.hosts)).await.ok();
                    running.await
                }
            }
        };
        self.is_unfit |= cancelled;
        self.judge(answers)
    }

    /// Ends the transaction: commits if the use case has an outcome, else rolls back.
    pub(super) async fn end(&mut self, has_outcome: bool) -> Result<(), StoreError> {
        if self.framing != Framing::Begun {
            return Ok(());
        }
        if !has_outcome {
            // If this fails, the connection is closed, and the server rolls back by itself.
            if self.client().batch_execute("ROLLBACK").await.is_ok() {
                self.phase = Phase::Nothing;
            }
            return Ok(());
        }
        self.phase = Phase::Committing;
        self.session().take_warning();
        let committed = self.client().batch_execute("COMMIT").await;
        self.judge(Answers { begun: Ok(()), done: Ok(()), committed: Some(committed) })
    }

    fn session(&self) -> &Session {
        self.object.as_ref().expect("the connection is there until this is dropped")
    }

    fn client(&self) -> &Client {
        &self.session().client
    }

    /// The statement, prepared once for this connection, if it may keep prepared statements.
    async fn prepare(
        &mut self,
        statement: &Statement,
        values: &[Value],
    ) -> Result<Option<tokio_postgres::Statement>, StoreError> {
        if !self.session().prepares {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.phase, Phase::Open);
        let client = &self.session().client;
        let prepared = client.prepare_typed_cached(&statement.postgres, &types(values)).await;
        self.phase = before;
        prepared.map(Some).map_err(|error| self.fail(&error, true))
    }

    /// Records that something is about to be sent.
    fn begin(&mut self) -> Framing {
        let framing = self.framing;
        if matches!(framing, Framing::Each(_)) {
            self.phase = Phase::Committing;
            self.session().take_warning();
        } else {
            self.phase = Phase::Open;
        }
        if matches!(framing, Framing::All(_)) {
            self.framing = Framing::Begun;
        }
        framing
    }

    /// The outcome of a statement, or of a commit.
    fn judge<T>(&mut self, answers: Answers<T>) -> Result<T, StoreError> {
        let Answers { begun, done, committed } = answers;
        let was_sent_alone = committed.is_none();
        if self.framing != Framing::Begun || committed.is_some() {
            self.phase = Phase::Nothing;
        }
        // Without a commit nothing is changed. If the server reports an error of the begin or the statement, it rolls
        // back even if a commit follows.
        if let Err(error) = begun {
            if error.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION) {
                return Err(StoreError::Closed);
            }
            return Err(self.fail(&error, was_sent_alone || error.as_db_error().is_some()));
        }
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(error) => {
                return Err(self.fail(&error, was_sent_alone || error.as_db_error().is_some()));
            }
        };
        match committed {
            // It may have been committed nevertheless, unless it conflicted with another transaction.
            Some(Err(error)) => Err(self.fail(&error, remedy(&error) == Some(Remedy::Again))),
            Some(Ok(())) if self.session().take_warning() => Err(StoreError::Unavailable(
                "the database warned of a commit: whether it will last is not known".to_owned(),
            )),
            Some(Ok(())) | None => Ok(outcome),
        }
    }

    /// Sorts an error. `undone` says whether it is certain that nothing was changed.
    fn fail(&mut self, error: &Error, undone: bool) -> StoreError {
        let remedy = remedy(error);
        if remedy == Some(Remedy::NewConnection) {
            self.is_unfit = true;
            // Other connections are closed after their use cases. One that only reads would not notice that its server
            // is no longer the primary.
            self.hosts.end_era(self.session().era);
        }
        self.remedy = remedy.filter(|_| undone);
        classify(error)
    }
}

impl Framing {
    /// Sends a statement in one go with what precedes and follows it.
    async fn send<T>(
        self,
        client: &Client,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Answers<T> {
        // Each is sent when it is first polled, so in this order.
        let (begun, done, committed) = match self {
            Self::Nothing | Self::Begun => (Ok(()), statement.await, None),
            Self::All(opening) => {
                let (begun, done) = tokio::join!(biased; client.batch_execute(opening), statement);
                (begun, done, None)
            }
            Self::Each(opening) => {
                let (begun, done, committed) = tokio::join!(
                    biased;
                    client.batch_execute(opening),
                    statement,
                    client.batch_execute("COMMIT"),
                );
                (begun, done, Some(committed))
            }
        };
        Answers { begun, done, committed }
    }
}

/// The server's answers to a statement and to what was sent around it.
struct Answers<T> {
    begun: Result<(), Error>,
    done: Result<T, Error>,
    committed: Option<Result<(), Error>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let is_spent = self.is_unfit || object.is_old(Object::metrics(&object), &self.hosts);
        if object.client.is_closed() {
            drop(Object::take(object));
            return;
        }
        if self.phase != Phase::Nothing {
            self.given_up.inc();
        }
        if self.phase != Phase::Nothing || is_spent {
            let finishing = finish_abandoned(object, self.phase, Arc::clone(&self.hosts));
            // Without a runtime the program is ending, and its connections with it.
            Handle::try_current().map(|runtime| runtime.spawn(finishing)).ok();
        }
    }
}

/// Waits for the end of what nobody waits for any more. The connection counts in the pool until then.
async fn finish_abandoned(object: Object<Manager>, phase: Phase, hosts: Arc<Hosts>) {
    match phase {
        Phase::Nothing => {}
        Phase::Open => cancel_statement(&object, &hosts).await,
        Phase::Committing => {
            if wait_for_commit(&object, &hosts).await {
                // The connection is as good as before.
                return;
            }
        }
    }
    object.close();
    sleep(CLOSING_TIME).await;
    drop(Object::take(object));
}

/// Cancels what is running, and waits for its end for a limited time. The connection must be closed afterwards, because
/// a cancellation that arrives late would hit the next statement.
async fn cancel_statement(session: &Session, hosts: &Hosts) {
    let ended = async {
        cancel(session, hosts).await;
        session.client.check_connection().await.ok();
    };
    timeout(CANCEL_TIMEOUT, ended).await.ok();
}

/// Waits until a commit is answered. Returns `false` if it never will be, because the connection or its server is gone.
async fn wait_for_commit(session: &Session, hosts: &Hosts) -> bool {
    // An empty request is answered after everything before it. TCP notices a dead peer.
    let mut answer = pin!(session.client.check_connection());
    loop {
        match timeout(LOOK_INTERVAL, &mut answer).await {
            Ok(answered) => return answered.is_ok(),
            Err(_) if hosts.has_left(&session.target) => return false,
            Err(_) => {}
        }
    }
}
