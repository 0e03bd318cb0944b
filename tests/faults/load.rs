//! Honest clients: each has a session, refreshes it, presents the same token again until it has an
//! answer, and remembers what it was told. No answer that it gets may contradict what it knows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::chance::choices;
use crate::harness::database::PASSWORD;
use crate::harness::service::login_form;
use crate::harness::{Fixtures, RefreshToken, Reply, Request, percent_encode, refresh_form};
use crate::ledger::{Ledger, Operation, Verdict, Wrong};

/// After how long a client hangs up, in seconds. Most libraries wait longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client does between two requests, in milliseconds: nothing, for so long.
const PAUSE: std::ops::Range<u64> = 500..1_500;
/// How long a client waits before it asks again, in milliseconds.
const RETRY_PAUSE: std::ops::Range<u64> = 200..1_000;
/// Of so many answers to a refresh a client throws one away, as if the network had lost it.
const ANSWERS_PER_LOSS: u32 = 10;
/// How often a client that revoked its tokens sees that they are dead before it logs in again.
const AUDITS_OF_REVOKED: u32 = 12;
/// One of so many clients revokes now and then; another one logs in anew now and then.
const CLIENTS_PER_REVOKER: usize = 6;
const CLIENTS_PER_LOGIN: usize = 20;

/// A session that a client was given before the run.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client_id: &'static str,
    pub(crate) refresh_token: String,
}

/// What all clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What honest clients do.
    Work,
    /// Nothing.
    Rest,
    /// Refresh once, lose the answer, and then nothing.
    LoseAnswer,
    /// Forget the access token, and then nothing.
    ForgetAccessToken,
    End,
}

/// What clients have in common.
struct Shared {
    /// Where the service is; clients take turns among the replicas.
    replicas: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    ledger: Arc<Ledger>,
    fixtures: &'static Fixtures,
    phase: watch::Sender<Phase>,
}

/// What a client knows of its session.
enum Knowledge {
    /// It is alive: its tokens must be accepted.
    Alive,
    /// Its revocation was begun and not acknowledged: either is right.
    Revoking,
    /// Its revocation was acknowledged so many audits ago: no token of it may be accepted.
    Revoked(u32),
    /// A new session is to be opened.
    None,
    /// The service said that the session is no more, which is wrong, and was counted.
    Lost,
}

/// One client, and what it remembers.
struct Client {
    id: &'static str,
    index: usize,
    shared: Arc<Shared>,
    random: StdRng,
    refresh_token: String,
    access_token: Option<String>,
    knowledge: Knowledge,
    /// How many of its requests were answered.
    progress: Arc<AtomicU64>,
}

/// The clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<Client>,
    progress: Vec<Arc<AtomicU64>>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Load {
    /// Lets a client work with each of these sessions.
    pub(crate) fn start(
        replicas: Vec<SocketAddr>,
        sessions: &[Session],
        fixtures: &'static Fixtures,
    ) -> Self {
        let ledger = Arc::new(Ledger::default());
        let shared = Arc::new(Shared {
            replicas: Mutex::new(replicas),
            turn: AtomicUsize::new(0),
            ledger: Arc::clone(&ledger),
            fixtures,
            phase: watch::channel(Phase::Work).0,
        });
        let mut tasks = JoinSet::new();
        let mut progress = Vec::new();
        for (index, session) in sessions.iter().enumerate() {
            let client = Client {
                id: session.client_id,
                index,
                shared: Arc::clone(&shared),
                random: choices(rand::random()),
                refresh_token: session.refresh_token.clone(),
                access_token: None,
                knowledge: Knowledge::Alive,
                progress: Arc::new(AtomicU64::new(0)),
            };
            progress.push(Arc::clone(&client.progress));
            tasks.spawn(client.work());
        }
        Self { shared, tasks, progress, ledger }
    }

    /// Has clients go to these replicas from now on.
    pub(crate) fn lead_to(&self, replicas: Vec<SocketAddr>) {
        *self.shared.replicas.lock().unwrap_or_else(PoisonError::into_inner) = replicas;
    }

    /// Has clients do nothing until [`work`](Self::work).
    pub(crate) fn rest(&self) {
        self.shared.phase.send_replace(Phase::Rest);
    }

    pub(crate) fn work(&self) {
        self.shared.phase.send_replace(Phase::Work);
    }

    /// Has every client refresh once, lose the answer, and do nothing until [`work`](Self::work).
    pub(crate) fn lose_answers(&self) {
        self.shared.phase.send_replace(Phase::LoseAnswer);
    }

    /// Has every client forget its access token, because it will be good no longer, and do nothing until
    /// [`work`](Self::work).
    pub(crate) fn forget_access_tokens(&self) {
        self.shared.phase.send_replace(Phase::ForgetAccessToken);
    }

    /// Waits until each client has had one more answer that it can go on with; whether that was within
    /// this time. The first one is to a refresh.
    pub(crate) async fn goes_on(&self, within: Duration) -> bool {
        let count = |progress: &Arc<AtomicU64>| progress.load(Ordering::SeqCst);
        let before: Vec<u64> = self.progress.iter().map(count).collect();
        let everyone = async {
            for (progress, before) in self.progress.iter().zip(before) {
                while count(progress) == before {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(within, everyone).await.is_ok()
    }

    /// Ends the work, and has each client show once more that it can go on, or that what it revoked is
    /// dead, whichever it knows. Returns how many could not.
    pub(crate) async fn finish(mut self) -> usize {
        self.shared.phase.send_replace(Phase::End);
        let mut audits = JoinSet::new();
        while let Some(client) = self.tasks.join_next().await {
            audits.spawn(client.expect("a client does not panic").audit());
        }
        audits.join_all().await.into_iter().filter(|&answered| !answered).count()
    }
}

impl Client {
    async fn work(mut self) -> Self {
        let mut phases = self.shared.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let pause = match phase {
                Phase::End => return self,
                Phase::Rest => PAUSE,
                Phase::LoseAnswer => {
                    if matches!(self.knowledge, Knowledge::Alive) {
                        self.refresh(true).await;
                    }
                    phases.changed().await.ok();
                    continue;
                }
                Phase::ForgetAccessToken => {
                    self.access_token = None;
                    phases.changed().await.ok();
                    continue;
                }
                Phase::Work if self.step().await => {
                    self.progress.fetch_add(1, Ordering::SeqCst);
                    PAUSE
                }
                Phase::Work => RETRY_PAUSE,
            };
            let pause = Duration::from_millis(self.random.random_range(pause));
            timeout(pause, phases.changed()).await.ok();
        }
    }

    /// One request; whether it was answered.
    async fn step(&mut self) -> bool {
        match self.knowledge {
            Knowledge::Lost => true,
            Knowledge::None => self.log_in().await,
            Knowledge::Revoking => self.revoke().await,
            Knowledge::Revoked(audits) if audits >= AUDITS_OF_REVOKED => {
                self.knowledge = Knowledge::None;
                true
            }
            Knowledge::Revoked(_) => self.audit_revoked().await,
            Knowledge::Alive => {
                let is_one_of = |count| self.index % count == count - 1;
                let revokes = is_one_of(CLIENTS_PER_REVOKER) && self.random.random_ratio(1, 40);
                if revokes && self.access_token.is_some() {
                    self.knowledge = Knowledge::Revoking;
                    self.revoke().await
                } else if self.index.is_multiple_of(CLIENTS_PER_LOGIN)
                    && self.random.random_ratio(1, 20)
                {
                    // The old session goes on without its owner.
                    self.log_in().await
                } else if self.access_token.is_some() && self.random.random_ratio(1, 3) {
                    self.introspect().await
                } else {
                    let loses = self.random.random_ratio(1, ANSWERS_PER_LOSS);
                    self.refresh(loses).await
                }
            }
        }
    }

    /// Shows that what the client knows is still true, however often it takes; whether it was answered
    /// within some seconds.
    async fn audit(mut self) -> bool {
        let enough = Instant::now() + PATIENCE;
        let mut answered = false;
        while !answered && Instant::now() < enough {
            answered = match self.knowledge {
                Knowledge::Alive => self.refresh(false).await && self.introspect().await,
                Knowledge::Revoked(_) => self.audit_revoked().await,
                Knowledge::Revoking | Knowledge::None | Knowledge::Lost => true,
            };
            if !answered {
                let pause = self.random.random_range(RETRY_PAUSE);
                sleep(Duration::from_millis(pause)).await;
            }
        }
        answered
    }

    /// Sends a request to the replica whose turn it is.
    async fn ask(&self, path: &str, form: &str, caller: &str) -> (Instant, Option<Reply>) {
        let address = {
            let replicas = self.shared.replicas.lock().unwrap_or_else(PoisonError::into_inner);
            replicas[self.shared.turn.fetch_add(1, Ordering::Relaxed) % replicas.len()]
        };
        let request = Request::new(address, "POST", path);
        let request = match self.shared.fixtures.find_secret(caller) {
            Some(secret) => request.basic(caller, secret).form(form),
            None => request.form(&format!("{form}&client_id={caller}")),
        };
        let begun = Instant::now();
        let reply = timeout(PATIENCE, request.try_send()).await.ok().flatten();
        (begun, reply)
    }

    /// Writes down what an answer is worth; whether there was one that decides.
    fn judge(
        &self,
        operation: Operation,
        (begun, reply): (Instant, Option<Reply>),
        judge: impl FnOnce(&Reply) -> Verdict,
    ) -> Option<Reply> {
        let verdict = match &reply {
            None => Verdict::NoAnswer,
            Some(reply) if reply.status == 503 && reply.has("retry-after") => Verdict::ComeBack,
            Some(reply) if reply.status == 500 => Verdict::Wrong(Wrong::ServerError),
            Some(reply) => judge(reply),
        };
        let text = reply.as_ref().map(|reply| {
            let request = reply.header("x-request-id");
            format!("{} {} ({request}, client {})", reply.status, reply.text(), self.index)
        });
        self.shared.ledger.record(operation, begun, verdict, &text.unwrap_or_default());
        reply.filter(|_| matches!(verdict, Verdict::Right | Verdict::Wrong(_)))
    }

    async fn refresh(&mut self, loses: bool) -> bool {
        let answer = self.ask("/token", &refresh_form(&self.refresh_token), self.id).await;
        let presented = RefreshToken::of(&self.refresh_token);
        let reply = self.judge(Operation::Refresh, answer, |reply| match reply.status {
            200 => {
                let next = RefreshToken::of(&reply.refresh_token());
                let place = (next.session, next.generation);
                let is_next = place == (presented.session, presented.generation + 1);
                if is_next { Verdict::Right } else { Verdict::Wrong(Wrong::ForeignSuccessor) }
            }
            400 if reply.error() == "invalid_grant" => Verdict::Wrong(Wrong::SessionLost),
            _ => Verdict::Wrong(Wrong::Unexpected),
        });
        let Some(reply) = reply else { return false };
        if reply.status == 400 && reply.error() == "invalid_grant" {
            self.knowledge = Knowledge::Lost;
        }
        if reply.status == 200 && !loses {
            self.keep(&reply);
        }
        !loses
    }

    async fn introspect(&self) -> bool {
        self.introspect_for(true).await
    }

    /// Asks whether the access token is active, which is to be answered so.
    async fn introspect_for(&self, active: bool) -> bool {
        let Some(token) = &self.access_token else { return true };
        let form = format!("token={}", percent_encode(token));
        let wrong = if active { Wrong::GoodTokenInactive } else { Wrong::RevokedTokenAccepted };
        let answer = self.ask("/introspect", &form, "rs1").await;
        let reply = self.judge(Operation::Introspect, answer, |reply| match reply.status {
            200 if reply.json()["active"] == active => Verdict::Right,
            200 => Verdict::Wrong(wrong),
            _ => Verdict::Wrong(Wrong::Unexpected),
        });
        reply.is_some()
    }

    async fn revoke(&mut self) -> bool {
        let form = format!("token={}", percent_encode(&self.refresh_token));
        let answer = self.ask("/revoke", &form, self.id).await;
        let reply = self.judge(Operation::Revoke, answer, |reply| {
            if reply.status == 200 { Verdict::Right } else { Verdict::Wrong(Wrong::Unexpected) }
        });
        if reply.as_ref().is_some_and(|reply| reply.status == 200) {
            self.knowledge = Knowledge::Revoked(0);
        }
        reply.is_some()
    }

    /// Presents tokens whose revocation was acknowledged.
    async fn audit_revoked(&mut self) -> bool {
        let introspected = self.introspect_for(false).await;
        let answer = self.ask("/token", &refresh_form(&self.refresh_token), self.id).await;
        let refused = self.judge(Operation::Refresh, answer, |reply| match reply.status {
            200 => Verdict::Wrong(Wrong::RevokedTokenAccepted),
            400 if reply.error() == "invalid_grant" => Verdict::Right,
            _ => Verdict::Wrong(Wrong::Unexpected),
        });
        if let Knowledge::Revoked(audits) = &mut self.knowledge {
            *audits += 1;
        }
        introspected && refused.is_some()
    }

    async fn log_in(&mut self) -> bool {
        let form = login_form("alice", PASSWORD) + "&scope=read";
        let answer = self.ask("/token", &form, self.id).await;
        let reply = self.judge(Operation::LogIn, answer, |reply| match reply.status {
            200 => Verdict::Right,
            400 if reply.error() == "invalid_grant" => Verdict::Wrong(Wrong::RightPasswordRefused),
            _ => Verdict::Wrong(Wrong::Unexpected),
        });
        if let Some(reply) = reply.as_ref().filter(|reply| reply.status == 200) {
            self.knowledge = Knowledge::Alive;
            self.keep(reply);
        }
        reply.is_some()
    }

    fn keep(&mut self, reply: &Reply) {
        self.refresh_token = reply.refresh_token();
        self.access_token = Some(reply.access_token());
    }
}
