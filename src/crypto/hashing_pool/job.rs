//! The work of a hashing thread: jobs, many of which can be computed at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{HashingLimits, NotVerified, Verification};
use crate::password::{Hashed, Hashing, HashingMemory, NewHash, PasswordHash, hash_together};
use jeton_oauth::ScryptCost;
use jeton_oauth::resource_owner::Password;
use jeton_runtime::caller::CallerConnection;

/// A password to verify, and to hash again if the stored hash is to be replaced.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) password: Password,
    /// The hash to verify against. Without one, the work of a new hash is done for nothing.
    pub(super) stored: Option<PasswordHash>,
    /// Whether the stored hash may be replaced.
    pub(super) replace: bool,
    pub(super) asked_at: Instant,
    pub(super) caller: CallerConnection,
    pub(super) reply: oneshot::Sender<Result<Verification, NotVerified>>,
    pub(super) replacement: Option<Replacement>,
}

/// The new hash that replaces one that the password matched.
#[derive(Debug)]
pub(super) struct Replacement {
    new: NewHash,
    /// When it could first have been computed.
    pub(super) since: Instant,
}

/// What jobs must have in common to be computed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// scrypt of this cost, each job in one or two lanes.
    Lanes(ScryptCost),
    /// Nothing: such a job is computed alone.
    Alone,
}

impl Job {
    fn kind(&self, new: ScryptCost) -> Kind {
        match (&self.stored, &self.replacement) {
            (Some(stored), None) => stored.lane_cost().map_or(Kind::Alone, Kind::Lanes),
            _ => Kind::Lanes(new),
        }
    }

    fn hashing(&self) -> Hashing<'_> {
        match &self.replacement {
            Some(replacement) => Hashing::Make(&replacement.new),
            None => Hashing::Verify { stored: self.stored.as_ref(), password: &self.password },
        }
    }

    /// The part of a batch that the job takes, from 0 to 1.
    pub(super) fn share(&self, limits: &HashingLimits) -> f64 {
        let Kind::Lanes(cost) = self.kind(limits.cost) else { return 1.0 };
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let share = self.hashing().lanes() as f64 / limits.lanes(cost) as f64;
        share
    }

    /// Whether its caller hung up, or it has waited too long.
    pub(super) fn is_out(&self, deadline: Duration) -> bool {
        self.caller.is_gone() || self.asked_at.elapsed() > deadline
    }

    pub(super) fn function(&self) -> &'static str {
        self.stored.as_ref().map_or("scrypt", PasswordHash::function)
    }

    /// Answers the job, or returns it if the hash must be replaced first.
    pub(super) fn go_on(mut self, hashed: Hashed, cost: ScryptCost) -> Option<Self> {
        let verification = match hashed {
            Hashed::Made(text) => Verification { matches: true, replacement: Some(text) },
            Hashed::Verified(right) => {
                let replaceable = self.stored.as_ref().filter(|_| self.replace).zip(right);
                let new = replaceable
                    .and_then(|(stored, form)| stored.replacement(&self.password, form, cost));
                if let Some(new) = new {
                    self.replacement = Some(Replacement { new, since: Instant::now() });
                    return Some(self);
                }
                Verification { matches: right.is_some(), replacement: None }
            }
        };
        self.answer(Ok(verification));
        None
    }

    /// Answers the job. If the caller has gone meanwhile, nobody receives the answer.
    pub(super) fn answer(self, answer: Result<Verification, NotVerified>) {
        self.reply.send(answer).ok();
    }
}

/// The jobs that a thread computes at once.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    kind: Kind,
    free_lanes: usize,
    new: ScryptCost,
}

impl Batch {
    pub(super) fn of(first: Job, limits: &HashingLimits) -> Self {
        let kind = first.kind(limits.cost);
        let lanes = match kind {
            Kind::Lanes(cost) => limits.lanes(cost),
            Kind::Alone => 0,
        };
        let free_lanes = lanes.saturating_sub(first.hashing().lanes());
        Self { jobs: vec![first], kind, free_lanes, new: limits.cost }
    }

    /// Whether the job can be computed in this batch. If so, its lanes are reserved.
    pub(super) fn has_room_for(&mut self, job: &Job) -> bool {
        let lanes = job.hashing().lanes();
        let has_room = lanes <= self.free_lanes && job.kind(self.new) == self.kind;
        self.free_lanes -= if has_room { lanes } else { 0 };
        has_room
    }

    pub(super) fn is_full(&self) -> bool {
        self.free_lanes == 0
    }

    /// Takes jobs from the front for as long as they fit.
    pub(super) fn take(&mut self, jobs: &mut VecDeque<Job>) {
        while let Some(job) = jobs.pop_front_if(|job| self.has_room_for(job)) {
            self.jobs.push(job);
        }
    }

    /// Computes the batch, and returns the result of each job.
    pub(super) fn compute(&self, memory: &mut HashingMemory) -> Vec<Hashed> {
        match self.kind {
            Kind::Lanes(cost) => {
                let hashings: Vec<_> = self.jobs.iter().map(Job::hashing).collect();
                hash_together(&hashings, cost, memory)
            }
            Kind::Alone => {
                let verify = |job: &Job| {
                    let stored = job.stored.as_ref();
                    stored.and_then(|stored| stored.verify(&job.password, memory))
                };
                self.jobs.iter().map(verify).map(Hashed::Verified).collect()
            }
        }
    }
}
