//! What is remembered of many users while a source is read: keyed digests of how it calls them, which take little memory.

use std::hash::{BuildHasher, Hash, RandomState};

/// Digests of 128 bits under keys of this process: nobody can make two users alike.
#[derive(Debug)]
pub(super) struct Digests([RandomState; 2]);

impl Digests {
    pub(super) fn new() -> Self {
        Self([RandomState::new(), RandomState::new()])
    }

    pub(super) fn of(&self, value: impl Hash) -> u128 {
        let [one, other] = &self.0;
        u128::from(one.hash_one(&value)) << 64 | u128::from(other.hash_one(&value))
    }
}

/// Who is in which of some groups. A membership takes 32 octets of memory.
#[derive(Debug)]
pub(super) struct Members {
    digests: Digests,
    /// The digest of the member, and the number of the group; in ascending order once all are there.
    members: Vec<(u128, u32)>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { digests: Digests::new(), members: Vec::new() }
    }

    /// Puts somebody into the group of this number.
    pub(super) fn add(&mut self, member: impl Hash, group: u32) {
        self.members.push((self.digests.of(member), group));
    }

    /// How many memberships there are.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// Forgets all but the first of this count.
    pub(super) fn truncate(&mut self, count: usize) {
        self.members.truncate(count);
    }

    /// All are there.
    pub(super) fn end(&mut self) {
        self.members.sort_unstable();
        self.members.dedup();
    }

    /// The numbers of the groups that somebody is in, in ascending order.
    pub(super) fn of(&self, member: impl Hash) -> impl Iterator<Item = u32> {
        let member = self.digests.of(member);
        let begin = self.members.partition_point(|(other, _)| *other < member);
        let same = self.members.get(begin..).unwrap_or_default().iter();
        same.take_while(move |(other, _)| *other == member).map(|(_, group)| *group)
    }
}
