//! A use case on its way to a thread, and its outcome on the way back.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use prometheus_client::metrics::counter::Counter;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::operator_acts::Operator;
use super::super::{EngineConnection, StoreError, Tx, UseCase, gate};
use jeton_runtime::supervision::panic_text;

/// Work for one caller.
pub(super) trait Job: Send {
    /// Whether the caller has given up. Then the job must not take effect later.
    fn is_given_up(&self) -> bool;

    /// Runs the job; it may be called again. After an error nothing may remain of it.
    fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError>;

    /// Answers the caller. `effect` says whether what was run took effect.
    fn answer(self: Box<Self>, effect: Result<(), StoreError>);
}

pub(super) struct Asked<U: UseCase> {
    pub(super) use_case: U,
    pub(super) statements: Counter,
    pub(super) operator: Option<Arc<Operator>>,
    pub(super) reply: oneshot::Sender<Result<U::Outcome, StoreError>>,
    /// The outcome of the last run.
    pub(super) outcome: Option<Result<U::Outcome, StoreError>>,
}

impl<U: UseCase> Job for Asked<U> {
    fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let connection = EngineConnection::Sqlite(connection);
        let operator = self.operator.as_deref();
        let mut tx = Tx { connection, statements: &self.statements, operator };
        let is_gated = self.use_case.access().is_gated() && !U::PASSES_CLOSED_GATE;
        let work = AssertUnwindSafe(|| {
            complete(async {
                if is_gated {
                    gate::pass(&mut tx).await?;
                }
                self.use_case.run(&mut tx).await
            })
        });
        let outcome = catch_unwind(work).unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            tracing::error!("a use case of the database panicked, and was undone: {text}");
            Err(StoreError::Refused(format!("a use case panicked: {text}")))
        });
        let done = outcome.as_ref().map(drop).map_err(Clone::clone);
        self.outcome = Some(outcome);
        done
    }

    fn answer(self: Box<Self>, effect: Result<(), StoreError>) {
        let Self { outcome, reply, .. } = *self;
        let undone = || Err(StoreError::Unavailable("it was not done".to_owned()));
        reply.send(effect.and_then(|()| outcome.unwrap_or_else(undone))).ok();
    }
}

/// Completes a use case whose statements do not wait. On this engine none do.
fn complete<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a use case waits for nothing but its statements"),
    }
}
