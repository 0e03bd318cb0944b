//! Whoever uses a session: its honest holders, or beside them a thief and somebody who revokes.

use std::cmp::max;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::checker::{History, LENGTH_MAX};
use crate::harness::chance::choices;
use crate::model::{Answer, Call, Moment, Operation, Rules};

/// What the clients ask: the real service, or one that is simulated.
pub(crate) trait Service: Send + Sync + 'static {
    /// A session, and the tokens that were issued for it.
    type Session: Send + Sync;

    /// What time it is.
    fn now(&self) -> Moment;

    /// Logs in; `None` if there was no answer.
    fn open(&self, replica: usize) -> impl Future<Output = Option<Self::Session>> + Send;

    /// Asks a replica, which has patience or gives up soon.
    fn ask(
        &self,
        session: &Self::Session,
        replica: usize,
        call: Call,
        patience: Patience,
    ) -> impl Future<Output = Answer> + Send;

    /// Whether a replica stood still shortly before a moment or since.
    fn stood_still(&self, replica: usize, since: Moment) -> bool;

    /// Rests for so many milliseconds.
    fn rest(&self, milliseconds: u64) -> impl Future<Output = ()> + Send;
}

/// How long a caller waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Like a person before a page that does not load.
    Short,
    /// Longer than any pause of the run.
    Long,
}

/// How many operations a session has.
const LENGTH: usize = 96;
/// How many it still has after it was seen to have ended.
const LENGTH_AFTER_END: usize = 10;
/// How many use a session that a thief and somebody who revokes have their hands on.
const WORKERS: usize = 4;

/// A session that is used.
struct Shared<S: Service> {
    service: Arc<S>,
    session: S::Session,
    replicas: usize,
    operations: Mutex<Vec<Operation>>,
    /// How many operations may still begin.
    left: AtomicUsize,
    /// The highest generation that was answered.
    latest: AtomicI64,
    /// Whether somebody saw that the session has ended.
    ended: AtomicBool,
}

/// Lives through one session and returns its history; `None` if there was no answer to the login.
pub(crate) async fn live<S: Service>(
    service: Arc<S>,
    replicas: usize,
    rules: Rules,
    seed: u64,
) -> Option<History> {
    let mut random = choices(seed);
    let session = service.open(random.random_range(0..replicas)).await?;
    let shared = Arc::new(Shared {
        service,
        session,
        replicas,
        operations: Mutex::default(),
        left: AtomicUsize::new(LENGTH),
        latest: AtomicI64::new(0),
        ended: AtomicBool::new(false),
    });
    if rules.reuse_ends {
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let random = choices(random.random());
            workers.spawn(Arc::clone(&shared).fight(worker, random));
        }
        while let Some(ended) = workers.join_next().await {
            ended.expect("a worker is content");
        }
    } else {
        shared.share(&mut random).await;
    }
    let mut operations = std::mem::take(&mut *shared.operations.lock().await);
    operations.sort_by_key(|one| one.asked_at);
    assert!(operations.len() <= LENGTH_MAX);
    Some(History { rules, operations })
}

impl<S: Service> Shared<S> {
    async fn ask(&self, worker: usize, replica: usize, call: Call, patience: Patience) -> Answer {
        let asked_at = self.service.now();
        let answer = self.service.ask(&self.session, replica, call, patience).await;
        let answered_at = self.service.now();
        let may_be_spared = self.service.stood_still(replica, asked_at);
        match answer {
            Answer::Token(of) => {
                self.latest.fetch_max(of, Ordering::SeqCst);
            }
            Answer::Refused => self.ended.store(true, Ordering::SeqCst),
            Answer::Inactive if call == Call::IntrospectAccessToken => {
                self.ended.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
        self.operations.lock().await.push(Operation {
            worker,
            replica,
            call,
            answer,
            asked_at,
            answered_at,
            may_be_spared,
        });
        answer
    }

    /// Takes one of the operations that may still begin; whether there was one.
    fn take(&self) -> bool {
        if self.ended.load(Ordering::SeqCst) {
            self.left.fetch_min(LENGTH_AFTER_END, Ordering::SeqCst);
        }
        let less = |left: usize| left.checked_sub(1);
        self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    fn latest(&self) -> i64 {
        self.latest.load(Ordering::SeqCst)
    }

    /// One of several that go on without waiting for each other: who has a stolen copy, too. Each has a
    /// replica, so that some go on while one stands still.
    async fn fight(self: Arc<Self>, worker: usize, mut random: StdRng) {
        let replica = worker % self.replicas;
        while self.take() {
            let call = self.choose(&mut random);
            let answer = self.ask(worker, replica, call, Patience::Short).await;
            let pause = match random.random_range(0..100) {
                _ if answer == Answer::Unknown => 500..1_500,
                ..60 => 0..10,
                _ => 0..2_500,
            };
            self.service.rest(random.random_range(pause)).await;
        }
    }

    fn choose(&self, random: &mut StdRng) -> Call {
        let latest = self.latest();
        match random.random_range(0..1_000) {
            ..400 => Call::Refresh(latest),
            400..550 => Call::Refresh(max(latest - 1, 0)),
            550..565 => Call::Refresh(random.random_range(0..=latest)),
            565..575 => Call::Revoke,
            575..780 => {
                Call::IntrospectRefreshToken(random.random_range(max(latest - 1, 0)..=latest))
            }
            _ => Call::IntrospectAccessToken,
        }
    }

    /// Two tabs with one store of tokens: they may present the same token at once, and neither
    /// goes on before both have an answer or gave up. At the end they log out.
    async fn share(&self, random: &mut StdRng) {
        while self.take() {
            let replica = random.random_range(0..self.replicas);
            let call = match random.random_range(0..10) {
                ..6 => Call::Refresh(self.latest()),
                6..8 => Call::IntrospectAccessToken,
                _ => Call::IntrospectRefreshToken(self.latest()),
            };
            let other = (replica + 1) % self.replicas;
            let (first, second) = tokio::join!(self.ask(0, replica, call, Patience::Long), async {
                if random.random_bool(0.5) && self.take() {
                    self.service.rest(random.random_range(0..5)).await;
                    return self.ask(1, other, call, Patience::Long).await;
                }
                Answer::Active
            },);
            let unknown = [first, second].contains(&Answer::Unknown);
            let pause = if unknown { 200..500 } else { 0..600 };
            self.service.rest(random.random_range(pause)).await;
        }
        self.ask(0, 0, Call::Revoke, Patience::Long).await;
        self.ask(0, self.replicas - 1, Call::IntrospectAccessToken, Patience::Long).await;
    }
}
