//! A connection that one use case has to itself, until it is known what became of its statements.
//!
//! A statement that nobody waits for any longer is still under way in the server. So its connection goes
//! on to count as one of the pool's until the server has answered: however long something is locked, the
//! server has no more connections of a replica than its pool has places.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Column, Error};

use super::super::sql::Statement;
use super::super::value::{Row, Value};
use super::super::{Access, Stop, StoreError, stopped};
use super::failure::{Remedy, classify, describe, remedy};
use super::hosts::Hosts;
use super::session::{Manager, Session};
use super::value::{typed, types, untyped};

/// Begins a transaction of one statement. Limits are set in the transaction, so a pooler neither refuses
/// them nor gives them to others. The statement must end before its caller gives it up: a commit that was
/// sent with it cannot be called back.
const BEGIN_SHORT: &str = "BEGIN; SET LOCAL statement_timeout = '4s'";
/// Begins one of several statements. Should this process stand still in between, others do not wait for it.
const BEGIN_LONGER: &str = "BEGIN; SET LOCAL statement_timeout = '4s'; \
                            SET LOCAL idle_in_transaction_session_timeout = '5s'";
/// Begins one that takes as long as it takes, whatever limit the role has.
const BEGIN_UNLIMITED: &str = "BEGIN; SET LOCAL statement_timeout = 0";

/// Begins a definition: it waits this long for others who use the table, with everybody who comes later behind
/// it.
const BEGIN_DEFINITION: &str =
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '1s'";

/// How long a request to cancel and the end of what it cancels may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server takes to end its side of a connection that was closed.
const CLOSING_TIME: Duration = Duration::from_millis(100);
/// How often it is looked whether another server took the place of the one on which a commit waits.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How statements are held together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Each is a transaction of its own: what reads only, and what PostgreSQL runs in no other.
    Nothing,
    /// Each is sent between the begin and the end of a transaction, in one go.
    Each,
    /// All are in one transaction, which this begins with the first of them.
    All(&'static str),
    /// All are in one transaction, which has begun.
    Begun,
}

/// What may be under way in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Nothing,
    /// Something that can be called off, and then was not done.
    Open,
    /// A commit. One that waits for a synchronous standby must not be cancelled: the server would say
    /// that it is done, and it is not on the standby.
    Committing,
}

/// A connection that one use case has to itself.
pub(crate) struct Lease {
    /// There until this is dropped.
    object: Option<Object<Manager>>,
    hosts: Arc<Hosts>,
    framing: Framing,
    phase: Phase,
    remedy: Option<Remedy>,
    /// Whether an error says that the connection, or its server, is not fit for the next use case, or a request
    /// to cancel was sent, which would hit the next statement if it came late.
    is_unfit: bool,
    given_up: Counter,
}

impl Lease {
    pub(super) fn new(
        object: Object<Manager>,
        hosts: Arc<Hosts>,
        access: Access,
        given_up: Counter,
    ) -> Self {
        let framing = match access {
            Access::Read | Access::Statement => Framing::Nothing,
            Access::Definition => Framing::All(BEGIN_DEFINITION),
            Access::Write => Framing::Each,
            Access::Transaction => Framing::All(BEGIN_LONGER),
            Access::LongTransaction => Framing::All(BEGIN_UNLIMITED),
        };
        let (object, phase) = (Some(object), Phase::Nothing);
        Self { object, hosts, framing, phase, remedy: None, is_unfit: false, given_up }
    }

    /// What helps against the error of the last statement, if that is certain to have done nothing.
    pub(super) fn remedy(&self) -> Option<Remedy> {
        self.remedy
    }

    /// Why a use case that took too long has no outcome.
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

    /// Runs a statement, and has the server cancel it when `stop` becomes true.
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
                    // If the server cannot be asked, it ends the statement by itself, sooner or later.
                    client.cancel_token().cancel_query(self.hosts.tls.clone()).await.ok();
                    running.await
                }
            }
        };
        self.is_unfit |= cancelled;
        self.judge(answers)
    }

    /// Ends the transaction of a use case: takes effect if it has an outcome.
    pub(super) async fn end(&mut self, has_outcome: bool) -> Result<(), StoreError> {
        if self.framing != Framing::Begun {
            return Ok(());
        }
        if !has_outcome {
            // If even this fails the connection is closed, and the server rolls back by itself.
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

    /// The statement as this connection prepared it once, if it may keep statements.
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

    /// Notes that something is about to be sent.
    fn begin(&mut self) -> Framing {
        let framing = self.framing;
        if framing == Framing::Each {
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

    /// What came of a statement, or of a commit.
    fn judge<T>(&mut self, answers: Answers<T>) -> Result<T, StoreError> {
        let Answers { begun, done, committed } = answers;
        let was_sent_alone = committed.is_none();
        if self.framing != Framing::Begun || committed.is_some() {
            self.phase = Phase::Nothing;
        }
        // Until the server was told to commit nothing is done; and if it says why it did not begin, or why
        // the statement failed, it rolls back whatever it is told then.
        if let Err(error) = begun {
            return Err(self.fail(&error, was_sent_alone || error.as_db_error().is_some()));
        }
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(error) => {
                return Err(self.fail(&error, was_sent_alone || error.as_db_error().is_some()));
            }
        };
        match committed {
            // It may have been done all the same, unless it met another transaction.
            Some(Err(error)) => Err(self.fail(&error, remedy(&error) == Some(Remedy::Again))),
            Some(Ok(())) if self.session().take_warning() => Err(StoreError::Unavailable(
                "the database warned of a commit: whether it will last is not known".to_owned(),
            )),
            Some(Ok(())) | None => Ok(outcome),
        }
    }

    /// Sorts an error. `undone` says whether it is certain that nothing was done.
    fn fail(&mut self, error: &Error, undone: bool) -> StoreError {
        let remedy = remedy(error);
        if remedy == Some(Remedy::NewConnection) {
            self.is_unfit = true;
            // Others that are in use are closed after it. One that only reads would never find out that its server
            // is not the primary any more.
            self.hosts.end_era(self.session().era);
        }
        self.remedy = remedy.filter(|_| undone);
        classify(error)
    }
}

impl Framing {
    /// Sends a statement with what goes before and after it, in one go.
    async fn send<T>(
        self,
        client: &Client,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Answers<T> {
        // Each of them is sent when it is first polled, which is in this order.
        let (begun, done, committed) = match self {
            Self::Nothing | Self::Begun => (Ok(()), statement.await, None),
            Self::All(opening) => {
                let (begun, done) = tokio::join!(biased; client.batch_execute(opening), statement);
                (begun, done, None)
            }
            Self::Each => {
                let (begun, done, committed) = tokio::join!(
                    biased;
                    client.batch_execute(BEGIN_SHORT),
                    statement,
                    client.batch_execute("COMMIT"),
                );
                (begun, done, Some(committed))
            }
        };
        Answers { begun, done, committed }
    }
}

/// What the server said to a statement and to what was sent around it.
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
            let winding_up = wind_up(object, self.phase, Arc::clone(&self.hosts));
            // Without a runtime the program ends, and all connections with it.
            Handle::try_current().map(|runtime| runtime.spawn(winding_up)).ok();
        }
    }
}

/// Waits for the end of what nobody waits for any longer. The place in the pool is taken until then.
async fn wind_up(object: Object<Manager>, phase: Phase, hosts: Arc<Hosts>) {
    match phase {
        Phase::Nothing => {}
        Phase::Open => call_off(&object, &hosts).await,
        Phase::Committing => {
            if see_through(&object, &hosts).await {
                // Nothing was done to this connection, so it is as good as before.
                return;
            }
        }
    }
    object.close();
    sleep(CLOSING_TIME).await;
    drop(Object::take(object));
}

/// Cancels what is under way. The connection is closed afterwards, because a request to cancel that comes
/// late would hit the next statement. What does not end then is on a server that does nothing at all.
async fn call_off(session: &Session, hosts: &Hosts) {
    let cancel = session.client.cancel_token();
    let ended = async {
        cancel.cancel_query(hosts.tls.clone()).await.ok();
        session.client.check_connection().await.ok();
    };
    timeout(CANCEL_TIMEOUT, ended).await.ok();
}

/// Waits until a commit is answered. `false` if it never will be, because the connection or its server has
/// gone.
async fn see_through(session: &Session, hosts: &Hosts) -> bool {
    // An empty request is answered after all that was sent before it. TCP notices a peer that is dead.
    let mut answer = pin!(session.client.check_connection());
    loop {
        match timeout(LOOK_INTERVAL, &mut answer).await {
            Ok(answered) => return answered.is_ok(),
            Err(_) if hosts.has_left(&session.target) => return false,
            Err(_) => {}
        }
    }
}
