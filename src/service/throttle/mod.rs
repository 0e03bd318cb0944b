//! Counts failures, for all replicas together, and throttles whoever has too many (RFC 6749 §4.3.2, §10.10). The rules
//! are in `oauth/throttle.rs`.
//!
//! Only passwords can be guessed, and client secrets that came from another service as hashes. So only these are refused
//! even if they are right. A client secret of this service has 256 random bits and a genuine token a signature: they are
//! accepted however often others guess.

mod account;
pub mod administration;
pub mod alarm;
mod codes;
mod counters;
pub mod held_back;
mod in_advance;
pub mod origin;
mod permits;
mod repeats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::incident::Incident;
use crate::keys::{KeyError, Keys};
use crate::{AuditContext, Refusal};
pub use account::{Account, AccountOf};
use alarm::UnnamedEndUsers;
pub use codes::SentCode;
use counters::{CodeNames, Counter, Counters, Decision, Names};
use jeton_crypto::throttle_key::ThrottleKey;
use jeton_oauth::throttle::{Counted, CounterName, FAILURES_MAX, FORGET, KNOWN_FOR, Verdict};
use jeton_oauth::{Client, Seconds, Secret, Timestamp};
use jeton_runtime::caller::CallerConnection;
use jeton_runtime::clock::Clock;
use jeton_store::Store;
use jeton_store::throttle::{
    CountFailures, FindCounter, FindCounters, RecordOrigin, ReplaceCounters, Replacement,
};
use origin::{Group, Origin, Source, site};
use permits::{AttemptPermits, HeldPermits, Permits};
pub use repeats::Guess;
use repeats::Repeats;

/// How often an attempt is decided if others are counted meanwhile.
const DECISIONS_MAX: usize = 16;
/// How long an attempt of a command waits for others, of which there are none in its process.
const COMMAND_PATIENCE: Duration = Duration::from_secs(3);
/// How exactly the last login of an account at an origin is recorded.
const KNOWN_PRECISION: Seconds = Seconds::new(86_400);

/// Counts failures.
#[derive(Clone, Debug)]
pub struct Throttle {
    store: Store,
    keys: ThrottleKeys,
    clock: Clock,
    /// How long an attempt waits for other attempts.
    patience: Duration,
    permits: Arc<Permits>,
    repeats: Arc<Repeats>,
    unnamed: UnnamedEndUsers,
}

/// Where the key comes from that names counters.
#[derive(Clone, Debug)]
enum ThrottleKeys {
    /// It is the one of the service at that moment.
    Service(Arc<Keys>),
    /// It was opened by a command.
    Command(ThrottleKey),
}

/// An attempt to log in that may be made. What came of it must be told.
#[derive(Debug)]
#[must_use = "tell what came of it"]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    counters: Counters,
    since: Timestamp,
    known: bool,
    /// Whether the origin is known and says where the end user is. A code is not slowed there by wrong ones elsewhere.
    trusted: bool,
    /// Counters that already contain this attempt as a failure.
    in_advance: Vec<Replacement>,
    permits: AttemptPermits,
    /// Released when the attempt is dropped, which is after its outcome was counted.
    _held: HeldPermits,
}

impl Throttle {
    /// Counts in `store`. `patience` is how long an attempt waits for other attempts.
    #[must_use]
    pub fn new(store: Store, keys: Arc<Keys>, clock: Clock, patience: Duration) -> Self {
        let repeats = Arc::new(Repeats::new(clock.clone()));
        let (permits, unnamed) = (Arc::default(), UnnamedEndUsers::default());
        let keys = ThrottleKeys::Service(keys);
        Self { store, keys, clock, patience, permits, repeats, unnamed }
    }

    /// The same for a command, which opens the key by itself.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do: the master key is needed.
    pub async fn of_command(
        store: Store,
        master_key_files: &[PathBuf],
        clock: Clock,
    ) -> Result<Self, KeyError> {
        let key = administration::throttle_key(&store, master_key_files).await?;
        let key = key.ok_or_else(|| {
            KeyError::new(
                "there is no key yet by which failed logins are counted: start `jeton serve` once",
            )
        })?;
        let repeats = Arc::new(Repeats::new(clock.clone()));
        let (permits, unnamed) = (Arc::default(), UnnamedEndUsers::default());
        let keys = ThrottleKeys::Command(key);
        Ok(Self { store, keys, clock, patience: COMMAND_PATIENCE, permits, repeats, unnamed })
    }

    /// The key that names counters.
    fn throttle_key(&self) -> Result<ThrottleKey, Refusal> {
        match &self.keys {
            ThrottleKeys::Service(keys) => keys.throttle_key(),
            ThrottleKeys::Command(key) => Ok(key.clone()),
        }
    }

    /// Decides about a login. On one replica, parallel attempts can fail no more often than sequential ones.
    ///
    /// # Errors
    /// [`Reason::ThrottledAccount`](jeton_oauth::Reason) and `LockedAccount`, which look like a wrong password;
    /// [`Refusal::Throttled`] if a group of accounts must wait; [`Refusal::Unavailable`] if this cannot be decided now.
    pub async fn admit(
        &self,
        origin: Origin<'_>,
        account: Account<'_>,
        caller: &CallerConnection,
    ) -> Result<Attempt<'_>, Refusal> {
        let since = account.password_changed_at;
        let names = self.names(origin, account)?;
        let permits = self.permits.of_attempt(&names);
        let mut waited_for: Option<HeldPermits> = None;
        for _ in 0..DECISIONS_MAX {
            let failures_before = permits.failures();
            let now = self.clock.now();
            let stored = self.store.perform(FindCounters(names.all())).await?;
            let counters = Counters::new(names, stored, since);
            let known = counters.at_origin.stored.is_known(now);
            let (in_advance, strikes) = match counters.decide(known, now) {
                Decision::Refuse(refusal) => return Err(refusal),
                Decision::Admit { in_advance, strikes } => (in_advance, strikes),
            };
            let suffice = |held: &HeldPermits| permits.suffice(held, &strikes, &failures_before);
            let taken = || permits.try_take(&strikes).filter(suffice);
            let Some(held) = waited_for.take().filter(suffice).or_else(taken) else {
                // The attempts that it waits for may change the counters, so it decides again.
                waited_for =
                    self.wait_for_permits(&permits, &strikes, &failures_before, caller).await?;
                continue;
            };
            // Compare and set: of all that waited for the same moment, one succeeds.
            if in_advance.is_empty()
                || self.store.perform(ReplaceCounters(in_advance.clone())).await?
            {
                return Ok(Attempt {
                    throttle: self,
                    counters,
                    since,
                    known,
                    trusted: known && origin.address.is_some(),
                    in_advance,
                    permits,
                    _held: held,
                });
            }
            waited_for = Some(held);
        }
        Err(busy("an account is tried faster than its failures are counted"))
    }

    /// Waits for a permit of each counter. `None` if one has no free failures left meanwhile.
    async fn wait_for_permits(
        &self,
        permits: &AttemptPermits,
        strikes: &[(Counted, i64)],
        failures_before: &[u64],
        caller: &CallerConnection,
    ) -> Result<Option<HeldPermits>, Refusal> {
        let taken = timeout(self.patience, permits.take(strikes, failures_before)).await;
        if caller.is_gone() {
            return Err(busy("the caller hung up while others tried to log in"));
        }
        taken.map_err(|_| busy("too many try the same account or origin at once"))
    }

    /// Identifies a password with its code, to recognise its repeat: see `Repeats`. `stored` is the hash that it is
    /// compared with.
    #[must_use]
    pub fn guess(
        &self,
        stored: Option<&Secret>,
        password: &Secret,
        code: Option<&Secret>,
    ) -> Guess {
        self.repeats.guess(stored, password, code)
    }

    /// Logs, once for each client, that it does not send its end users' addresses although it is registered to.
    pub fn warn_of_unnamed_end_users(&self, client: &Client) {
        self.unnamed.warn_once(&client.id);
    }

    fn names(&self, origin: Origin<'_>, account: Account<'_>) -> Result<Names, Refusal> {
        let ([kind, value], client) = (account.of.parts(), origin.client_id());
        let key = self.throttle_key()?;
        let group = |group: Group| {
            let counted = group.counted();
            (counted, key.name(counted, &[client, &group.octets()]))
        };
        let (narrow, wide) = origin.groups();
        let codes = |kind: &[u8]| CodeNames {
            account: key.name(Counted::Codes, &[kind, value]),
            at_origin: key.name(Counted::CodesAtOrigin, &[kind, value, client, &narrow.octets()]),
        };
        Ok(Names {
            account: account.of.counter(&key),
            at_origin: key.name(Counted::AccountAtOrigin, &[kind, value, client, &narrow.octets()]),
            narrow: group(narrow),
            wide: wide.map(group),
            codes: codes(kind),
            unjudged: codes(&[b"unjudged ", kind].concat()),
        })
    }

    /// Counts a failure of an address. On one replica, parallel failures get no further than sequential ones.
    ///
    /// # Errors
    /// [`Refusal::Throttled`] if the address has too many failures; [`Refusal::Unavailable`] if this cannot be decided
    /// now.
    pub async fn count(&self, counted: Counted, source: Source) -> Result<(), Refusal> {
        let name = self.throttle_key()?.name(counted, &[&site(source.address)]);
        let permits = self.permits.of_counter(counted, name);
        for _ in 0..DECISIONS_MAX {
            let failures_before = permits.failures();
            let now = self.clock.now();
            let stored = self.store.perform(FindCounter(name)).await?;
            let own = Counter { name, counted, stored };
            let strikes = match stored.verdict(counted, now) {
                Verdict::Wait(until) => {
                    return Err(Refusal::Throttled { counted, retry_after: until.since(now) });
                }
                // Compare and set: of all that waited for the same moment, one succeeds.
                Verdict::Once => {
                    let in_advance = ReplaceCounters(vec![own.count_in_advance(now)]);
                    if self.store.perform(in_advance).await? {
                        return Ok(());
                    }
                    continue;
                }
                Verdict::Free(left) => [(counted, counted.free() - left)],
            };
            let taken = timeout(self.patience, permits.take(&strikes, &failures_before)).await;
            // `None` means that no failure is free any more: the next round finds a wait.
            if let Some(_permit) = taken.map_err(|_| busy("too many fail at once"))? {
                let failures = vec![own.failure(None, Timestamp::default())];
                self.store.perform(CountFailures { failures, now }).await?;
                permits.note_failure();
                return Ok(());
            }
        }
        Err(busy("an address fails faster than it is counted"))
    }
}

fn busy(detail: &str) -> Refusal {
    Refusal::Unavailable { retry_after: Seconds::new(1), detail: detail.to_owned() }
}

impl Attempt<'_> {
    /// Whether the account knows the origin.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Counts the attempt as failed, and returns the refusal to answer with. A repeat is not counted (see `Repeats`).
    pub async fn failed(
        self,
        refusal: Refusal,
        guess: Guess,
        sent: SentCode,
        audit: &mut AuditContext,
    ) -> Refusal {
        let (repeats, at_origin) = (&self.throttle.repeats, self.counters.at_origin.name);
        // An attempt after a wait counts even if it is a repeat.
        if repeats.take(at_origin, guess) && self.in_advance.is_empty() {
            return refusal;
        }
        match self.count_failure(sent).await {
            Ok(incident) => {
                repeats.remember(at_origin, guess);
                audit.incident = incident;
            }
            // A failure that cannot be counted is not answered as one.
            Err(error) => return error,
        }
        refusal
    }

    /// The counters of a failure that do not count it already.
    fn uncounted(&self, now: Timestamp) -> Vec<Counter> {
        let is_counted =
            |counter: &Counter| self.in_advance.iter().any(|change| change.counter == counter.name);
        let counters = self.counters.of_failure(self.known, now);
        counters.filter(|counter| !is_counted(counter)).collect()
    }

    /// What counts a failure at these counters.
    fn count_at(&self, counters: &[Counter], now: Timestamp) -> CountFailures {
        let Counters { account, codes, .. } = self.counters;
        let failures = counters.iter().map(|counter| {
            let of_account = match counter.counted {
                Counted::AccountAtOrigin => Some(account.name),
                Counted::CodesAtOrigin => Some(codes.name),
                _ => None,
            };
            // What others have failed in a group is not void because this user has a new password.
            let is_own = of_account.is_some()
                || matches!(counter.counted, Counted::Account | Counted::Codes);
            let since = if is_own { self.since } else { Timestamp::default() };
            counter.failure(of_account, since)
        });
        CountFailures { failures: failures.collect(), now }
    }

    async fn count_failure(self, sent: SentCode) -> Result<Option<Incident>, Refusal> {
        let now = self.throttle.clock.now();
        let mut counters = self.uncounted(now);
        if sent != SentCode::None {
            counters.extend(self.counters.of_code(sent == SentCode::Wrong, self.trusted));
        }
        // In one transaction, and as many rows whatever was wrong, so that its time does not tell.
        let count = self.count_at(&counters, now);
        self.throttle.store.perform(count).await?;
        self.permits.note_failure();
        let is_last = |counter: Counter| counter.stored.failures + 1 == FAILURES_MAX;
        if sent == SentCode::Wrong && !self.trusted && is_last(self.counters.codes) {
            return Ok(Some(Incident::CodesLocked));
        }
        Ok((!self.known && is_last(self.counters.account)).then_some(Incident::AccountLocked))
    }

    /// Reports that the attempt was not made, so it does not count.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if that cannot be stored: then it counts as failed.
    pub async fn not_made(self) -> Result<(), Refusal> {
        if !self.in_advance.is_empty() {
            // If another failure was counted meanwhile, the row has changed and stays as it is.
            self.throttle.store.perform(ReplaceCounters::reversed(&self.in_advance)).await?;
        }
        Ok(())
    }

    /// Forgets the failures of the account at this origin, and records the origin as known. The account's wait for
    /// unknown callers stays, or they could see that its owner has logged in. `with_code` says whether the login used a
    /// second factor: then wrong codes are no longer in a row, where they count for all origins together.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if that cannot be stored.
    pub async fn succeeded(self, with_code: bool) -> Result<(), Refusal> {
        let now = self.throttle.clock.now();
        let Counters { account, at_origin, .. } = self.counters;
        self.throttle.repeats.forget(at_origin.name);
        let recorded = |at: Timestamp| now.since(at) < KNOWN_PRECISION;
        let is_recorded = at_origin.stored.succeeded_at.is_some_and(recorded);
        let has_wrong_codes = with_code && !self.trusted && self.counters.codes.stored.failures > 0;
        let is_unchanged = at_origin.stored.failures == 0 && self.in_advance.is_empty();
        if self.known && is_recorded && is_unchanged && !has_wrong_codes {
            return Ok(());
        }
        let record = RecordOrigin {
            at_origin: at_origin.name,
            account: account.name,
            no_longer_in_a_row: [
                (!self.known).then_some(account.name),
                has_wrong_codes.then_some(self.counters.codes.name),
            ]
            .into_iter()
            .flatten()
            .collect(),
            forgiven: self.forgiven(),
            now,
            kept_for: KNOWN_FOR,
        };
        Ok(self.throttle.store.perform(record).await?)
    }

    /// By how much the counters of the groups are reduced after a success: by what was counted in advance, and in
    /// groups that count accounts by one failure.
    fn forgiven(&self) -> Vec<(CounterName, Seconds)> {
        if self.known {
            return Vec::new();
        }
        let forgiven = self.counters.groups().map(|group| {
            let in_advance = self.in_advance.iter().filter(|change| change.counter == group.name);
            let claimed =
                in_advance.map(|claim| claim.to.forgotten_at.since(claim.from.forgotten_at));
            let made_up = if group.counted == Counted::UnknownCallers { 0 } else { FORGET.get() };
            let span = claimed.fold(made_up, |sum, span| sum + span.get());
            (group.name, Seconds::new(span))
        });
        forgiven.filter(|(_, span)| *span > Seconds::default()).collect()
    }
}
