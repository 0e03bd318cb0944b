//! The failure counters that concern a login, and the decision that follows from them.

use crate::Refusal;
use jeton_oauth::throttle::{Counted, CounterName, FailureCounter, Verdict};
use jeton_oauth::{Reason, Timestamp};
use jeton_store::throttle::{Failure, Replacement};

#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) account: CounterName,
    pub(super) at_origin: CounterName,
    /// The smaller group of accounts that share the origin.
    pub(super) narrow: (Counted, CounterName),
    /// The larger group around it, if there is one.
    pub(super) wide: Option<(Counted, CounterName)>,
    pub(super) codes: CodeNames,
    /// What a failure is counted at instead if a code was sent and not judged, so that it takes as long.
    pub(super) unjudged: CodeNames,
}

/// The counters of wrong one-time passwords.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeNames {
    pub(super) account: CounterName,
    pub(super) at_origin: CounterName,
}

impl Names {
    /// All names, for the store. Without a larger group the smaller one is named twice.
    pub(super) fn all(&self) -> [CounterName; 6] {
        let (wide, codes) = (self.wide.unwrap_or(self.narrow), self.codes);
        [self.at_origin, self.account, self.narrow.1, wide.1, codes.at_origin, codes.account]
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Counter {
    pub(super) name: CounterName,
    pub(super) counted: Counted,
    pub(super) stored: FailureCounter,
}

impl Counter {
    pub(super) fn failure(&self, account: Option<CounterName>, since: Timestamp) -> Failure {
        let kept_for = self.counted.kept_for(self.stored.failures + 1);
        Failure { counter: self.name, account, since, kept_for }
    }

    /// Counts the attempt that is allowed after a wait as failed, before it is made.
    pub(super) fn count_in_advance(&self, now: Timestamp) -> Replacement {
        let (from, to) = (self.stored, self.stored.and_failure(self.counted, now));
        let deletable_at = now.after(self.counted.kept_for(to.failures));
        Replacement { counter: self.name, from, to, deletable_at }
    }
}

pub(super) enum Decision {
    /// The attempt may be made. `in_advance` is stored first: the attempt as a failure, for counters whose wait is
    /// over. `strikes` are the recent failures of counters that still have free failures: there it needs permits.
    Admit { in_advance: Vec<Replacement>, strikes: Vec<(Counted, i64)> },
    /// The attempt may not be made.
    Refuse(Refusal),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) at_origin: Counter,
    pub(super) account: Counter,
    narrow: Counter,
    wide: Option<Counter>,
    pub(super) codes_at_origin: Counter,
    pub(super) codes: Counter,
    unjudged: CodeNames,
}

impl Counters {
    /// Takes what was read. Failures of the account before `since`, when its password changed, do not count.
    pub(super) fn new(names: Names, stored: [FailureCounter; 6], since: Timestamp) -> Self {
        let [at_origin, account, narrow, wide, codes_at_origin, codes] = stored;
        let counter = |name, counted, stored| Counter { name, counted, stored };
        let of_group = |(counted, name), stored| Counter { name, counted, stored };
        Self {
            at_origin: counter(names.at_origin, Counted::AccountAtOrigin, at_origin.since(since)),
            account: counter(names.account, Counted::Account, account.since(since)),
            narrow: of_group(names.narrow, narrow),
            wide: names.wide.map(|group| of_group(group, wide)),
            codes_at_origin: counter(
                names.codes.at_origin,
                Counted::CodesAtOrigin,
                codes_at_origin.since(since),
            ),
            codes: counter(names.codes.account, Counted::Codes, codes.since(since)),
            unjudged: names.unjudged,
        }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = Counter> {
        [Some(self.narrow), self.wide].into_iter().flatten()
    }

    /// The groups in which a failure counts. Groups of addresses count accounts, so an account counts there once.
    fn counting_groups(&self, now: Timestamp) -> impl Iterator<Item = Counter> {
        let new_there = self.at_origin.stored.is_forgotten(now);
        self.groups().filter(move |group| new_there || group.counted == Counted::UnknownCallers)
    }

    pub(super) fn of_failure(&self, known: bool, now: Timestamp) -> impl Iterator<Item = Counter> {
        self.counting_groups(now).filter(move |_| !known).chain(self.of_account(known))
    }

    /// Whether a code is judged at all. From an origin that is known and says where the end user is, only the codes from
    /// there matter.
    pub(super) fn allow_codes(&self, trusted: bool, now: Timestamp) -> bool {
        let is_locked = !trusted && self.codes.stored.is_locked();
        !is_locked && !self.codes_at_origin.stored.has_no_code_free(now)
    }

    /// The counters of a failed login that sent a code: those of codes if the code was wrong, else others.
    pub(super) fn of_code(&self, is_wrong: bool, trusted: bool) -> impl Iterator<Item = Counter> {
        let named = |counter: Counter, name| Counter { name, ..counter };
        let (at_origin, account) = if is_wrong {
            (self.codes_at_origin, self.codes)
        } else {
            let CodeNames { account, at_origin } = self.unjudged;
            (named(self.codes_at_origin, at_origin), named(self.codes, account))
        };
        (!trusted).then_some(account).into_iter().chain([at_origin])
    }

    /// The account's own counters that matter to an attempt.
    fn of_account(&self, known: bool) -> impl Iterator<Item = Counter> {
        (!known).then_some(self.account).into_iter().chain([self.at_origin])
    }

    /// Decides about one more attempt. From a known origin, only the counter of account and origin matters. Groups are
    /// checked first: their wait is the same for every account, so it says nothing about this one.
    pub(super) fn decide(&self, known: bool, now: Timestamp) -> Decision {
        let (mut in_advance, mut strikes) = (Vec::new(), Vec::new());
        for group in self.groups().filter(|_| !known) {
            match group.stored.verdict(group.counted, now) {
                Verdict::Wait(until) => {
                    let (counted, retry_after) = (group.counted, until.since(now));
                    return Decision::Refuse(Refusal::Throttled { counted, retry_after });
                }
                Verdict::Once => in_advance.push(group.count_in_advance(now)),
                Verdict::Free(left) => strikes.push((group.counted, group.counted.free() - left)),
            }
        }
        // An account that counts in a group already needs no permit there.
        let counts = |counted| self.counting_groups(now).any(|group| group.counted == counted);
        strikes.retain(|(counted, _)| counts(*counted));
        let mut most = Some(0);
        for own in self.of_account(known) {
            if own.counted == Counted::Account && own.stored.is_locked() {
                return Decision::Refuse(Reason::LockedAccount.into());
            }
            match own.stored.verdict(own.counted, now) {
                Verdict::Wait(_) => return Decision::Refuse(Reason::ThrottledAccount.into()),
                Verdict::Once => {
                    in_advance.push(own.count_in_advance(now));
                    most = None;
                }
                Verdict::Free(left) => most = most.map(|most| most.max(own.counted.free() - left)),
            }
        }
        let own = if known { Counted::AccountAtOrigin } else { Counted::Account };
        // The own counter comes first, as in `AttemptPermits`: all attempts wait in the same order.
        strikes.splice(0..0, most.map(|most| (own, most)));
        Decision::Admit { in_advance, strikes }
    }
}
