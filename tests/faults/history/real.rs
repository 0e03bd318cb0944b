//! The real service, asked over HTTP, and what was done to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::clients::{Patience, Service};
use crate::harness::database::PASSWORD;
use crate::harness::executable::run_for_json;
use crate::harness::service::login_form;
use crate::harness::{RefreshToken, Reply, Request, refresh_form};
use crate::model::{Answer, Call, Moment, SECOND};

/// For how long after a standstill the service may refuse a used token without ending its session, and a
/// second for the time that a standstill takes to end.
const WAKING: Moment = 11 * SECOND;
/// How often this process looks whether it runs, and what is a standstill: less than it is for the service.
const TICK: Duration = Duration::from_millis(200);
const STANDSTILL_MIN: Moment = SECOND;
/// For how long an access token is asked about: not near its end.
const ACCESS_TOKEN_AGE_MAX: Duration = Duration::from_mins(8);
/// How long a caller waits that soon gives up.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// How long one waits that does not.
const LONG_PATIENCE: Duration = Duration::from_secs(3);

/// A client that may introspect its own refresh tokens.
pub(crate) const CLIENT: &str = "reader";

/// Adds [`CLIENT`] to a database; its secret.
pub(crate) fn add_client(database: &str) -> String {
    let add = "client add --grant password --grant refresh_token --scope read --default-scope read \
               --audience https://api1.example --introspects https://api1.example --json --database";
    let mut add: Vec<&str> = add.split_whitespace().collect();
    add.extend([database, CLIENT]);
    run_for_json(&add, "")["client_secret"].as_str().expect("a secret").to_owned()
}

/// The replicas of a service.
pub(crate) struct Replicas {
    pub(crate) addresses: Vec<SocketAddr>,
    /// The secret of [`CLIENT`].
    secret: String,
    began: Instant,
    /// Between which moments each replica stood still.
    standstills: Mutex<Vec<(usize, Moment, Moment)>>,
    /// How many requests were answered, and how many had an unknown outcome.
    pub(crate) answered: AtomicU64,
    pub(crate) unknown: AtomicU64,
}

/// The tokens of a session.
pub(crate) struct Tokens {
    sid: String,
    /// By generation.
    refresh: Mutex<Vec<String>>,
    access: Mutex<(String, Instant)>,
}

impl Replicas {
    /// The replicas at these addresses.
    pub(crate) fn new(addresses: Vec<SocketAddr>, secret: String) -> Self {
        let (began, standstills) = (Instant::now(), Mutex::default());
        let (answered, unknown) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { addresses, secret, began, standstills, answered, unknown }
    }

    /// Asks once; nothing if the service did not answer in time, or says to come back.
    async fn post(
        &self,
        replica: usize,
        path: &str,
        form: &str,
        patience: Duration,
    ) -> Option<Reply> {
        let request = Request::new(self.addresses[replica], "POST", path).form(form);
        let request = request.basic(CLIENT, &self.secret);
        let reply = timeout(patience, request.try_send()).await.ok().flatten();
        let reply = reply.filter(|reply| reply.status != 503);
        let counter = if reply.is_some() { &self.answered } else { &self.unknown };
        counter.fetch_add(1, Ordering::SeqCst);
        reply
    }

    /// Begins a standstill of a replica.
    pub(crate) fn begin_standstill(&self, replica: usize) {
        let standstill = (replica, self.now(), Moment::MAX);
        self.standstills.lock().unwrap_or_else(PoisonError::into_inner).push(standstill);
    }

    /// Notes whenever this process stood still itself: then the machine was so busy that the replicas may
    /// have stood still, too.
    pub(crate) async fn watch_machine(self: Arc<Self>) {
        loop {
            let before = self.now();
            sleep(TICK).await;
            if self.now() - before >= STANDSTILL_MIN {
                let all = 0..self.addresses.len();
                let stood = all.map(|replica| (replica, before, self.now()));
                self.standstills.lock().unwrap_or_else(PoisonError::into_inner).extend(stood);
            }
        }
    }

    /// Ends the standstills of a replica.
    pub(crate) fn end_standstill(&self, replica: usize) {
        let now = self.now();
        let mut standstills = self.standstills.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, _, end) in standstills.iter_mut() {
            if *of == replica {
                *end = now.min(*end);
            }
        }
    }
}

impl Tokens {
    /// Keeps the tokens of an answer; the generation of the refresh token.
    fn keep(&self, reply: &Reply) -> i64 {
        let token = reply.refresh_token();
        let read = RefreshToken::of(&token);
        assert_eq!(read.session, self.sid, "the token of another session");
        let index = usize::try_from(read.generation).expect("no generation is negative");
        let mut refresh = self.refresh.lock().expect("no client panics");
        if index >= refresh.len() {
            refresh.resize(index + 1, String::new());
        }
        if refresh[index].is_empty() {
            refresh[index].clone_from(&token);
        }
        assert_eq!(refresh[index], token, "whoever gets to a generation gets the same token");
        *self.access.lock().expect("no client panics") = (reply.access_token(), Instant::now());
        read.generation
    }

    fn refresh(&self, generation: i64) -> String {
        let index = usize::try_from(generation).expect("no generation is negative");
        self.refresh.lock().expect("no client panics")[index].clone()
    }

    fn access(&self) -> String {
        let (token, issued) = self.access.lock().expect("no client panics").clone();
        assert!(issued.elapsed() < ACCESS_TOKEN_AGE_MAX, "a session is short");
        token
    }
}

impl Service for Replicas {
    type Session = Tokens;

    fn now(&self) -> Moment {
        Moment::try_from(self.began.elapsed().as_micros()).expect("a run is short")
    }

    async fn open(&self, replica: usize) -> Option<Tokens> {
        let form = login_form("alice", PASSWORD);
        let reply = self.post(replica, "/token", &form, LONG_PATIENCE).await?;
        let read = RefreshToken::of(&reply.refresh_token());
        let access = Mutex::new((String::new(), Instant::now()));
        let tokens = Tokens { sid: read.session, refresh: Mutex::default(), access };
        assert_eq!(tokens.keep(&reply), 0, "a session begins with generation 0");
        Some(tokens)
    }

    async fn ask(
        &self,
        session: &Tokens,
        replica: usize,
        call: Call,
        patience: Patience,
    ) -> Answer {
        let (path, form) = match call {
            Call::Refresh(of) => ("/token", refresh_form(&session.refresh(of))),
            Call::IntrospectRefreshToken(of) => {
                ("/introspect", format!("token={}", session.refresh(of)))
            }
            Call::IntrospectAccessToken => ("/introspect", format!("token={}", session.access())),
            Call::Revoke => ("/revoke", format!("token={}", session.access())),
        };
        let patience = match patience {
            Patience::Short => SHORT_PATIENCE,
            Patience::Long => LONG_PATIENCE,
        };
        let Some(reply) = self.post(replica, path, &form, patience).await else {
            return Answer::Unknown;
        };
        match (call, reply.status) {
            (Call::Refresh(_), 200) => Answer::Token(session.keep(&reply)),
            (Call::Refresh(_), 400) if reply.error() == "invalid_grant" => Answer::Refused,
            (Call::IntrospectRefreshToken(_) | Call::IntrospectAccessToken, 200) => {
                if reply.json()["active"] == true { Answer::Active } else { Answer::Inactive }
            }
            (Call::Revoke, 200) => Answer::Revoked,
            _ => panic!("{call}: {} {}", reply.status, reply.text()),
        }
    }

    fn stood_still(&self, replica: usize, since: Moment) -> bool {
        let standstills = self.standstills.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = standstills.iter().filter(|(of, ..)| *of == replica);
        own.any(|(_, _, end)| since <= end.saturating_add(WAKING))
    }

    async fn rest(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds)).await;
    }
}
