//! Whether a history fits one order of the reference model.
//!
//! Sessions do not touch each other, so each has a history of its own (Herlihy and Wing, "Linearizability",
//! 1990: locality). The search is Wing and Gong's, "Testing and verifying concurrent objects", 1993: take
//! any operation that may be the next one, see that its answer is right, go on, come back if that led
//! nowhere. As Lowe adds ("Testing for linearizability", 2017), no two ways to the same point are searched.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::model::{Answer, Call, Moment, Operation, Rules, Session};

/// The operations of one session after its login.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) rules: Rules,
    /// In the order in which they were asked.
    pub(crate) operations: Vec<Operation>,
}

/// The most operations that a history may have: a bit for each in the search.
pub(crate) const LENGTH_MAX: usize = 128;

/// How many operations before the wrong one are shown.
const SHOWN: usize = 20;

/// The first answer that no order of what was asked until then explains.
#[derive(Debug)]
pub(crate) struct Violation {
    /// What was asked until then, the wrong answer last.
    operations: Vec<Operation>,
    /// What the session can have been before it.
    before: Vec<Session>,
}

/// Holds a history against the model.
///
/// # Errors
/// [`Violation`] if no order explains it.
pub(crate) fn check(history: &History) -> Result<(), Violation> {
    if Search::run(history, false).is_some() {
        return Ok(());
    }
    let mut answers: Vec<Moment> = history.known().map(|known| known.answered_at).collect();
    answers.sort_unstable();
    let mut before = vec![Session::OPENED];
    for moment in answers {
        let until = history.until(moment);
        let Some(sessions) = Search::run(&until, true) else {
            let mut operations = until.operations;
            operations.sort_unstable_by_key(|one| (one.answered_at == moment, one.asked_at));
            return Err(Violation { operations, before });
        };
        before = sessions;
    }
    unreachable!("the last part is the whole history, which no order explains");
}

impl Violation {
    /// From when to when something was asked and answered.
    pub(crate) fn span(&self) -> (Moment, Moment) {
        let asked = self.operations.iter().map(|one| one.asked_at).min();
        let wrong = self.operations.last().map(|one| one.answered_at);
        (asked.unwrap_or_default(), wrong.unwrap_or_default())
    }
}

impl History {
    fn known(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(|one| one.answer != Answer::Unknown)
    }

    /// What was known at a moment: whatever was not answered by then had an unknown outcome.
    fn until(&self, moment: Moment) -> Self {
        let asked = self.operations.iter().filter(|one| one.asked_at <= moment).map(|one| {
            let open = one.answered_at > moment;
            Operation { answer: if open { Answer::Unknown } else { one.answer }, ..*one }
        });
        Self { rules: self.rules, operations: asked.collect() }
    }
}

struct Search<'a> {
    history: &'a History,
    /// The operations with a known answer, a bit for each: all of them must take effect.
    known: u128,
    /// Whether every end is wanted, or any.
    exhaustive: bool,
    /// Where the search has been: which known operations were done, what the session was then, and
    /// which unknown ones it took to get there.
    seen: HashMap<(u128, Session), Vec<u128>>,
    ends: HashSet<Session>,
}

impl Search<'_> {
    /// What the session may be at the end of a history, in order; one possibility unless all are wanted.
    fn run(history: &History, exhaustive: bool) -> Option<Vec<Session>> {
        assert!(history.operations.len() <= LENGTH_MAX, "a history is short");
        let bits = history.operations.iter().enumerate();
        let known = bits.filter(|(_, one)| one.answer != Answer::Unknown);
        let known = known.fold(0, |known, (index, _)| known | 1 << index);
        let (seen, ends) = (HashMap::new(), HashSet::new());
        let mut search = Search { history, known, exhaustive, seen, ends };
        search.go_on(0, Session::OPENED);
        let mut ends: Vec<Session> = search.ends.into_iter().collect();
        ends.sort_unstable();
        (!ends.is_empty()).then_some(ends)
    }

    /// Tries every operation that may be the next one after those that are done; whether to stop.
    fn go_on(&mut self, done: u128, session: Session) -> bool {
        let (known, unknown) = (done & self.known, done & !self.known);
        let ways = self.seen.entry((known, session)).or_default();
        // An unknown operation never has to take effect, so a way that spends more of them leads nowhere new.
        if ways.iter().any(|way| way & !unknown == 0) {
            return false;
        }
        ways.push(unknown);
        if known == self.known {
            self.ends.insert(session);
            if !self.exhaustive {
                return true;
            }
        }
        for index in self.candidates(done) {
            let next = &self.history.operations[index];
            for after in session.after(next, self.history.rules) {
                if self.go_on(done | 1 << index, after) {
                    return true;
                }
            }
        }
        false
    }

    /// The operations that may be the next one: first the known ones, then of the unknown ones that ask
    /// for the same the one that was asked first, as it can do whatever the others can.
    fn candidates(&self, done: u128) -> Vec<usize> {
        let operations = &self.history.operations;
        let is_open = |index: &usize| done & 1 << index == 0;
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            (0..operations.len()).filter(is_open).partition(|index| self.known & 1 << index != 0);
        // Whatever was answered before another was asked comes before it.
        let answered = known.iter().map(|index| operations[*index].answered_at);
        let first_answer = answered.min().unwrap_or(Moment::MAX);
        let mut calls: Vec<Call> = Vec::new();
        let mut is_new = |call: Call| {
            let is_new = !calls.contains(&call);
            calls.push(call);
            is_new
        };
        let mut candidates = known;
        candidates.extend(unknown.into_iter().filter(|index| is_new(operations[*index].call)));
        candidates.retain(|index| operations[*index].asked_at <= first_answer);
        candidates
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order of these operations explains the last answer:")?;
        let skipped = self.operations.len().saturating_sub(SHOWN);
        if skipped > 0 {
            writeln!(f, "  … {skipped} before …")?;
        }
        for operation in self.operations.iter().skip(skipped) {
            writeln!(f, "  {operation}")?;
        }
        let mut before: Vec<String> = self.before.iter().map(Session::to_string).collect();
        before.dedup();
        write!(f, "before it the session was {}", before.join(", or "))
    }
}

impl fmt::Display for Operation {
    #[expect(clippy::cast_precision_loss, reason = "moments of a run are small")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |moment: Moment| moment as f64 / 1_000_000.0;
        let Self { worker, replica, call, answer, asked_at, answered_at, .. } = self;
        let asked = seconds(*asked_at);
        match answer {
            Answer::Unknown => write!(f, "{asked:10.6} s and later       ")?,
            _ => write!(f, "{asked:10.6} s to {:10.6} s", seconds(*answered_at))?,
        }
        write!(f, "  worker {worker}, replica {replica}: ")?;
        write!(f, "{call} -> {answer}")?;
        f.write_str(if self.may_be_spared { " (after a standstill)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Call::{IntrospectAccessToken, IntrospectRefreshToken, Refresh, Revoke};
    use crate::model::SECOND;
    use Answer::{Active, Inactive, Refused, Revoked, Token, Unknown};

    const UNTIL_USED: Rules = Rules { retry_window: None, late_tab_window: None, reuse_ends: true };
    const HONEST: Rules = Rules { reuse_ends: false, ..UNTIL_USED };

    /// A history of these calls, each with when it was asked and answered, in seconds.
    fn history(rules: Rules, calls: &[(u64, u64, Call, Answer)]) -> History {
        let operation = |&(asked, answered, call, answer): &(u64, u64, Call, Answer)| {
            let (asked_at, answered_at) = (asked * SECOND, answered * SECOND);
            let (worker, replica, may_be_spared) = (0, 0, false);
            Operation { worker, replica, call, answer, asked_at, answered_at, may_be_spared }
        };
        History { rules, operations: calls.iter().map(operation).collect() }
    }

    /// Requires that an order explains these calls.
    #[track_caller]
    fn fits(rules: Rules, calls: &[(u64, u64, Call, Answer)]) {
        if let Err(violation) = check(&history(rules, calls)) {
            panic!("{violation}");
        }
    }

    /// Requires that no order explains the last of these calls, and that one explains the others.
    #[track_caller]
    fn last_does_not_fit(rules: Rules, calls: &[(u64, u64, Call, Answer)]) {
        let violation = check(&history(rules, calls)).expect_err("a wrong answer");
        assert_eq!(violation.operations.len(), calls.len(), "{violation}");
    }

    #[test]
    fn a_session_is_refreshed_retried_and_revoked() {
        fits(
            UNTIL_USED,
            &[
                (0, 1, Refresh(0), Token(1)),
                (2, 3, IntrospectRefreshToken(0), Inactive),
                (2, 3, IntrospectRefreshToken(1), Active),
                (4, 5, Refresh(0), Token(1)),
                (6, 7, Refresh(1), Token(2)),
                (8, 9, IntrospectAccessToken, Active),
                (10, 11, Revoke, Revoked),
                (12, 13, Refresh(2), Refused),
                (12, 13, IntrospectAccessToken, Inactive),
            ],
        );
    }

    #[test]
    fn two_that_refresh_at_once_get_the_same_successor() {
        fits(UNTIL_USED, &[(0, 9, Refresh(0), Token(1)), (1, 8, Refresh(0), Token(1))]);
        last_does_not_fit(
            UNTIL_USED,
            &[(0, 8, Refresh(0), Token(1)), (1, 9, Refresh(0), Token(2))],
        );
        last_does_not_fit(UNTIL_USED, &[(0, 8, Refresh(0), Token(1)), (1, 9, Refresh(0), Refused)]);
    }

    #[test]
    fn a_token_that_was_used_before_ends_the_session() {
        let reuse = [
            (0, 1, Refresh(0), Token(1)),
            (2, 3, Refresh(1), Token(2)),
            (4, 5, Refresh(0), Refused),
        ];
        let then = |call| [&reuse[..], &[call]].concat();
        fits(UNTIL_USED, &then((6, 7, Refresh(2), Refused)));
        last_does_not_fit(UNTIL_USED, &then((6, 7, Refresh(2), Token(3))));
        last_does_not_fit(UNTIL_USED, &then((6, 7, IntrospectAccessToken, Active)));
        let answered = [reuse[0], reuse[1], (4, 5, Refresh(0), Token(1))];
        last_does_not_fit(UNTIL_USED, &answered);
    }

    #[test]
    fn a_refusal_after_a_standstill_may_spare_the_session() {
        let calls = [
            (0, 1, Refresh(0), Token(1)),
            (2, 3, Refresh(1), Token(2)),
            (4, 5, Refresh(0), Refused),
            (6, 7, Refresh(2), Token(3)),
        ];
        let mut spared = history(UNTIL_USED, &calls);
        assert!(check(&spared).is_err());
        spared.operations[2].may_be_spared = true;
        assert!(check(&spared).is_ok());
        spared.operations[3].answer = Refused;
        assert!(check(&spared).is_ok(), "it may end it, too");
    }

    #[test]
    fn what_was_answered_before_another_was_asked_comes_first() {
        let overlapping = [(0, 5, Revoke, Revoked), (4, 9, IntrospectAccessToken, Active)];
        fits(UNTIL_USED, &overlapping);
        last_does_not_fit(UNTIL_USED, &[overlapping[0], (6, 9, IntrospectAccessToken, Active)]);
        let (old, new) = (IntrospectRefreshToken(0), IntrospectRefreshToken(1));
        let refresh = (0, 9, Refresh(0), Token(1));
        fits(UNTIL_USED, &[refresh, (1, 2, old, Active), (3, 4, old, Inactive)]);
        last_does_not_fit(UNTIL_USED, &[(0, 1, Refresh(0), Token(1)), (2, 3, new, Inactive)]);
        // A state that was seen does not go away.
        let seen = [(0, 9, Refresh(0), Unknown), (1, 2, old, Inactive), (3, 4, old, Active)];
        last_does_not_fit(UNTIL_USED, &seen);
    }

    #[test]
    fn an_unknown_outcome_took_effect_or_will_or_never_does() {
        let refresh = (0, 1, Refresh(0), Unknown);
        fits(UNTIL_USED, &[refresh, (2, 3, Refresh(0), Token(1)), (4, 5, Refresh(1), Token(2))]);
        let late = [(2, 3, IntrospectRefreshToken(0), Active), (4, 5, Refresh(0), Token(1))];
        fits(UNTIL_USED, &[&[refresh], &late[..]].concat());
        let revoke = (0, 1, Revoke, Unknown);
        for answer in [Active, Inactive] {
            fits(UNTIL_USED, &[revoke, (2, 3, IntrospectAccessToken, answer)]);
        }
        let revived =
            [(2, 3, IntrospectAccessToken, Inactive), (4, 5, IntrospectAccessToken, Active)];
        last_does_not_fit(UNTIL_USED, &[&[revoke], &revived[..]].concat());
    }

    #[test]
    fn an_unknown_outcome_takes_effect_once_and_not_before_it_was_asked_for() {
        let twice = [
            (0, 1, Refresh(0), Unknown),
            (2, 3, Refresh(0), Token(1)),
            (4, 5, IntrospectRefreshToken(1), Inactive),
        ];
        last_does_not_fit(UNTIL_USED, &twice);
        let early = [(0, 1, IntrospectAccessToken, Inactive), (2, 3, Revoke, Unknown)];
        assert!(check(&history(UNTIL_USED, &early)).is_err());
    }

    #[test]
    fn a_token_that_the_service_cannot_have_issued_fits_nothing() {
        last_does_not_fit(UNTIL_USED, &[(0, 1, Refresh(1), Token(2))]);
        last_does_not_fit(UNTIL_USED, &[(0, 1, Refresh(0), Token(2))]);
    }

    #[test]
    fn a_window_bounds_only_when_a_retry_is_refused() {
        let rules = Rules { retry_window: Some(30 * SECOND), ..UNTIL_USED };
        let retry =
            |asked, answer| [(0, 1, Refresh(0), Token(1)), (asked, asked + 1, Refresh(0), answer)];
        fits(rules, &retry(10, Token(1)));
        last_does_not_fit(rules, &retry(10, Refused));
        fits(rules, &retry(30, Refused));
        fits(rules, &retry(30, Token(1)));
        last_does_not_fit(UNTIL_USED, &retry(1_000, Refused));
    }

    #[test]
    fn a_late_tab_is_refused_and_its_session_lives() {
        let rules = Rules { late_tab_window: Some(30 * SECOND), ..UNTIL_USED };
        let calls = |late, after| {
            [
                (0, 1, Refresh(0), Token(1)),
                (2, 3, Refresh(1), Token(2)),
                (4, 5, Refresh(2), Token(3)),
                (late, late + 1, Refresh(1), Refused),
                (100, 101, Refresh(3), after),
            ]
        };
        fits(rules, &calls(6, Token(4)));
        last_does_not_fit(rules, &calls(6, Refused));
        fits(rules, &calls(40, Refused));
        last_does_not_fit(UNTIL_USED, &calls(6, Token(4)));
    }

    #[test]
    fn where_everybody_behaves_only_a_revocation_ends_a_session() {
        let gone = (0, 1, Refresh(0), Unknown);
        let good = [(2, 3, Refresh(0), Token(1)), (4, 5, Refresh(1), Token(2))];
        let then = |call| [&[gone], &good[..], &[call]].concat();
        fits(UNTIL_USED, &then((6, 7, Refresh(2), Refused)));
        last_does_not_fit(HONEST, &then((6, 7, Refresh(2), Refused)));
        fits(HONEST, &then((6, 7, Revoke, Revoked)));
    }

    #[test]
    fn many_unknown_outcomes_are_searched_in_no_time() {
        let mut calls = Vec::new();
        for round in 0..20 {
            let at = u64::try_from(round).expect("a small number") * 10;
            calls.extend([(at, at + 1, Refresh(round), Unknown); 5]);
            calls.push((at + 2, at + 3, Refresh(round), Token(round + 1)));
        }
        fits(UNTIL_USED, &calls);
        calls.push((500, 501, IntrospectRefreshToken(19), Active));
        last_does_not_fit(HONEST, &calls);
    }
}
