//! Counts failures for all replicas together, and holds back who had too many (RFC 6749 §4.3.2,
//! §10.10). The rules are in `oauth/throttle.rs`.
//!
//! What is right is held back only where passwords are guessed at. A client secret has 256 random bits
//! and a genuine token a signature: refusing those because others guess would help only the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::alarm::UnnamedEndUsers;
use super::incident::Incident;
use super::keys::Keys;
use super::origin::{Origin, Source, network};
use super::{Refusal, Trail};
use crate::clock::{Clock, Seconds, Timestamp};
use crate::oauth::resource_owner::Username;
use crate::oauth::throttle::{Counted, CounterName, FAILURES_MAX, KNOWN_FOR, Tally, Verdict};
use crate::oauth::{Client, Reason};
use crate::presence::Presence;
use crate::store::Store;
use crate::store::throttle::{
    CountFailures, Failure, FindTallies, RecordOrigin, ReplaceTallies, Replacement,
};

/// How often an attempt is decided when others are counted meanwhile.
const DECISIONS_MAX: usize = 16;
/// How exactly the last login of an account at an origin is recorded.
const KNOWN_PRECISION: Seconds = Seconds::new(86_400);
/// How many lines are kept before those that nobody stands in are given up.
const LINES_MAX: usize = 1_024;

/// Counts failures.
#[derive(Clone, Debug)]
pub struct Throttle {
    store: Store,
    keys: Arc<Keys>,
    clock: Clock,
    /// How long an attempt waits for others of the same account.
    patience: Duration,
    lines: Arc<Lines>,
    unnamed: UnnamedEndUsers,
}

/// The account that a login is for.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The mapped name, or what was typed if no user can be called so.
    pub name: &'a str,
    /// What was counted before is void. The beginning of time for a name that no user has.
    pub password_changed_at: Timestamp,
}

/// An attempt to log in that may be made. What came of it must be told.
#[derive(Debug)]
#[must_use = "tell what came of it"]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    counters: Counters,
    since: Timestamp,
    known: bool,
    /// How long others must wait who share the origin, and whose addresses are not known.
    others_wait: Option<Seconds>,
    /// What counts as failed already, until it is known to be right.
    claims: Vec<Replacement>,
    /// The place among the attempts that are under way.
    _place: Option<OwnedSemaphorePermit>,
}

/// A place among the attempts that are under way at one counter.
#[derive(Debug)]
struct Place {
    permit: OwnedSemaphorePermit,
    counter: CounterName,
    width: i64,
}

/// What is to be done about an attempt.
enum Decision {
    /// It may be made when there is a place, which is the wider the fewer may fail.
    Queue(Counter, i64),
    /// It may be made once it counts as failed.
    Claim(Vec<Replacement>),
    /// It may not be made.
    Refuse(Refusal),
}

impl Throttle {
    /// Counts in a store. `patience` is how long an attempt waits for others of the same account.
    #[must_use]
    pub fn new(store: Store, keys: Arc<Keys>, clock: Clock, patience: Duration) -> Self {
        Self {
            store,
            keys,
            clock,
            patience,
            lines: Arc::default(),
            unnamed: UnnamedEndUsers::default(),
        }
    }

    /// Lets an attempt to log in be made, or not. Of those that are made at the same time no more can
    /// fail than of those that follow each other.
    ///
    /// # Errors
    /// [`Reason::ThrottledAccount`] and [`Reason::LockedAccount`], which look like a wrong password;
    /// [`Refusal::Throttled`] for an origin.
    pub async fn admit(
        &self,
        origin: Origin<'_>,
        account: Account<'_>,
        caller: &Presence,
    ) -> Result<Attempt<'_>, Refusal> {
        let since = account.password_changed_at;
        let names = self.names(origin, account)?;
        let mut place: Option<Place> = None;
        for _ in 0..DECISIONS_MAX {
            let now = self.clock.now();
            let counters =
                Counters::new(names, self.store.perform(FindTallies(names)).await?, since);
            let known = counters.at_origin.tally.is_known(now);
            let others_wait = if origin.address.is_none() { counters.wait(now) } else { None };
            let attempt = |claims, place: Option<Place>| Attempt {
                throttle: self,
                counters,
                since,
                known,
                others_wait,
                claims,
                _place: place.map(|place| place.permit),
            };
            match counters.decide(known, others_wait.is_some(), now) {
                Decision::Refuse(refusal) => return Err(refusal),
                Decision::Claim(claims) => {
                    // Of all who waited for this moment one is first.
                    if self.store.perform(ReplaceTallies(claims.clone())).await? {
                        return Ok(attempt(claims, None));
                    }
                }
                Decision::Queue(counter, width) => {
                    let fits =
                        |place: &Place| place.counter == counter.name && place.width >= width;
                    if let Some(place) = place.take().filter(fits) {
                        return Ok(attempt(Vec::new(), Some(place)));
                    }
                    let (permit, waited) = self.queue(counter, width, caller).await?;
                    let taken = Place { permit, counter: counter.name, width };
                    if !waited {
                        return Ok(attempt(Vec::new(), Some(taken)));
                    }
                    // Those before it may have failed meanwhile.
                    place = Some(taken);
                }
            }
        }
        Err(busy("an account is tried faster than its failures are counted"))
    }

    /// Chooses whose hash is computed if nobody has this name: the same for a name each time, and nobody
    /// outside can tell which names have the same.
    ///
    /// # Errors
    /// [`Refusal::Fault`] if there is no key.
    pub fn lot(&self, username: &Username) -> Result<i64, Refusal> {
        Ok(self.keys.throttle_key()?.lot(username.as_str()))
    }

    /// Warns the operator, once, that a client does not name its end users though it was registered to.
    pub fn warn_of_unnamed_end_users(&self, client: &Client) {
        self.unnamed.warn_once(&client.id);
    }

    /// The names of the counters that an attempt may touch.
    fn names(&self, origin: Origin<'_>, account: Account<'_>) -> Result<[CounterName; 3], Refusal> {
        let (name, client) = (account.name.as_bytes(), origin.client.id.as_str().as_bytes());
        let address = network(origin.address);
        let key = self.keys.throttle_key()?;
        Ok([
            key.name(Counted::Origin, &[client, &address]),
            key.name(Counted::Account, &[name]),
            key.name(Counted::AccountAtOrigin, &[name, client, &address]),
        ])
    }

    /// Takes a place in the line before a counter, and says whether it had to be waited for.
    async fn queue(
        &self,
        counter: Counter,
        width: i64,
        caller: &Presence,
    ) -> Result<(OwnedSemaphorePermit, bool), Refusal> {
        let line = self.lines.find(counter);
        let width = u32::try_from(width).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&line).try_acquire_many_owned(width) {
            return Ok((permit, false));
        }
        let waited = timeout(self.patience, line.acquire_many_owned(width)).await;
        if caller.is_gone() {
            return Err(busy("the caller hung up while others tried the same account"));
        }
        match waited {
            Ok(Ok(permit)) => Ok((permit, true)),
            Ok(Err(_)) | Err(_) => Err(busy("too many try the same account at once")),
        }
    }

    /// Counts a failure of an address, unless it has had too many.
    ///
    /// # Errors
    /// [`Refusal::Throttled`] if it has; [`Refusal::Unavailable`] if that cannot be told.
    pub async fn count(&self, counted: Counted, source: Source) -> Result<(), Refusal> {
        let name = self.keys.throttle_key()?.name(counted, &[&network(source.address)]);
        let now = self.clock.now();
        let [tally, ..] = self.store.perform(FindTallies([name; 3])).await?;
        if let Verdict::Wait(until) = tally.verdict(counted, now) {
            return Err(Refusal::Throttled { counted, retry_after: until.since(now) });
        }
        let failure = Counter { name, counted, tally }.failure(None, Timestamp::default());
        Ok(self.store.perform(CountFailures { failures: vec![failure], now }).await?)
    }
}

/// Not decided, because too much happens at once.
fn busy(detail: &str) -> Refusal {
    Refusal::Unavailable { retry_after: Seconds::new(1), detail: detail.to_owned() }
}

impl Attempt<'_> {
    /// Whether the password may be looked at. If not the attempt is to fail after the same work: where
    /// many share an origin that must wait, nobody is to find out which accounts it does not concern.
    #[must_use]
    pub fn may_succeed(&self) -> bool {
        self.known || self.others_wait.is_none()
    }

    /// Counts the attempt as failed, and returns how that is to be answered: 429 where others must wait.
    pub async fn failed(self, refusal: Refusal, trail: &mut Trail) -> Refusal {
        let counted = Counted::Origin;
        let answer =
            self.others_wait.map(|retry_after| Refusal::Throttled { counted, retry_after });
        match self.count_failure().await {
            Ok(incident) => trail.incident = incident,
            // What is not counted is not answered.
            Err(error) => return error,
        }
        answer.unwrap_or(refusal)
    }

    async fn count_failure(self) -> Result<Option<Incident>, Refusal> {
        let now = self.throttle.clock.now();
        let Counters { origin, account, at_origin } = self.counters;
        let is_claimed =
            |counter: &Counter| self.claims.iter().any(|claim| claim.counter == counter.name);
        // An account counts at its origin once.
        let new_there = at_origin.tally.is_forgotten(now);
        let counts = |counter: &&Counter| match counter.counted {
            Counted::Origin => !self.known && new_there && self.others_wait.is_none(),
            Counted::Account => !self.known,
            _ => true,
        };
        let uncounted = [&origin, &account, &at_origin].into_iter().filter(counts);
        let failures = uncounted.filter(|counter| !is_claimed(counter)).map(|counter| {
            let of_account = counter.counted == Counted::AccountAtOrigin;
            counter.failure(of_account.then_some(account.name), self.since)
        });
        let count = CountFailures { failures: failures.collect(), now };
        self.throttle.store.perform(count).await?;
        let is_last = !self.known && account.tally.failures + 1 == FAILURES_MAX;
        Ok(is_last.then_some(Incident::AccountLocked))
    }

    /// Takes back that the attempt was counted: it was not made.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if that could not be stored: it counts as failed then.
    pub async fn not_made(self) -> Result<(), Refusal> {
        if !self.claims.is_empty() {
            // Who was counted meanwhile has made the wait longer; that stays.
            self.throttle.store.perform(ReplaceTallies::reversed(&self.claims)).await?;
        }
        Ok(())
    }

    /// Forgets what failed before, and remembers the origin as one that the account knows.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if that could not be stored.
    pub async fn succeeded(self) -> Result<(), Refusal> {
        let now = self.throttle.clock.now();
        let Counters { origin, account, at_origin } = self.counters;
        let recorded = |at: Timestamp| now.since(at) < KNOWN_PRECISION;
        let is_recorded = at_origin.tally.succeeded_at.is_some_and(recorded);
        if self.known && is_recorded && at_origin.tally.failures == 0 && self.claims.is_empty() {
            return Ok(());
        }
        let claimed = self.claims.iter().any(|claim| claim.counter == origin.name);
        let record = RecordOrigin {
            at_origin: at_origin.name,
            account: account.name,
            newly_known: (!self.known).then_some(origin.name),
            now,
            kept_for: KNOWN_FOR,
            forgiven: 1 + i64::from(claimed),
        };
        Ok(self.throttle.store.perform(record).await?)
    }
}

/// A counter as it was read.
#[derive(Clone, Copy, Debug)]
struct Counter {
    name: CounterName,
    counted: Counted,
    tally: Tally,
}

impl Counter {
    fn failure(&self, account: Option<CounterName>, since: Timestamp) -> Failure {
        let kept_for = self.counted.kept_for(self.tally.failures + 1);
        Failure { counter: self.name, account, since, kept_for }
    }
}

/// The counters of an attempt.
#[derive(Clone, Copy, Debug)]
struct Counters {
    origin: Counter,
    account: Counter,
    at_origin: Counter,
}

impl Counters {
    /// What was read, as far as it was counted since the password was changed.
    fn new(names: [CounterName; 3], tallies: [Tally; 3], since: Timestamp) -> Self {
        let ([origin, account, at_origin], [of_origin, of_account, there]) = (names, tallies);
        let counter = |name, counted, tally| Counter { name, counted, tally };
        Self {
            origin: counter(origin, Counted::Origin, of_origin),
            account: counter(account, Counted::Account, of_account.since(since)),
            at_origin: counter(at_origin, Counted::AccountAtOrigin, there.since(since)),
        }
    }

    /// How long the origin must wait.
    fn wait(&self, now: Timestamp) -> Option<Seconds> {
        match self.origin.tally.verdict(Counted::Origin, now) {
            Verdict::Wait(until) => Some(until.since(now)),
            Verdict::Free(_) | Verdict::Once => None,
        }
    }

    /// Decides about one more attempt. At an origin that the account knows nothing else counts; one
    /// that is to fail in any case is not held back by its origin.
    fn decide(&self, known: bool, fails: bool, now: Timestamp) -> Decision {
        let all = [self.at_origin, self.account, self.origin];
        let asked = match (known, fails) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        let mut claims = Vec::new();
        let mut width = 1;
        for Counter { name, counted, tally } in all.iter().take(asked).rev() {
            if *counted == Counted::Account && tally.is_locked() {
                return Decision::Refuse(Reason::LockedAccount.into());
            }
            match tally.verdict(*counted, now) {
                Verdict::Wait(until) if *counted == Counted::Origin => {
                    let retry_after = until.since(now);
                    return Decision::Refuse(Refusal::Throttled { counted: *counted, retry_after });
                }
                Verdict::Wait(_) => return Decision::Refuse(Reason::ThrottledAccount.into()),
                Verdict::Once => {
                    let (from, to) = (*tally, tally.and_failure(now));
                    let deletable_at = now.after(counted.kept_for(to.failures));
                    claims.push(Replacement { counter: *name, from, to, deletable_at });
                }
                // Logins of many users at one origin do not wait for each other.
                Verdict::Free(_) if *counted == Counted::Origin => {}
                Verdict::Free(left) => width = width.max(1 + counted.free() - left),
            }
        }
        if !claims.is_empty() {
            return Decision::Claim(claims);
        }
        Decision::Queue(if known { self.at_origin } else { self.account }, width)
    }
}

/// Lines of attempts before counters: at each no more are under way than may fail.
#[derive(Debug, Default)]
struct Lines(Mutex<HashMap<CounterName, Weak<Semaphore>>>);

impl Lines {
    fn find(&self, counter: Counter) -> Arc<Semaphore> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&counter.name).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= LINES_MAX {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let places = usize::try_from(counter.counted.free()).unwrap_or(1);
        let line = Arc::new(Semaphore::new(places));
        lines.insert(counter.name, Arc::downgrade(&line));
        line
    }
}
