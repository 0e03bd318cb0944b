//! The order of jobs. Clients take turns, and within a client, logins from known origins go first. So a flood of one
//! client delays only that client's logins, and of those only the ones from unknown origins.
//!
//! Jobs of a batch are taken in the same turns. A job that does not fit stays, and its client keeps its turn.

use std::collections::{HashMap, VecDeque};
use std::mem;

use jeton_oauth::ClientId;

/// For whom a password is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The client that asks.
    pub client: ClientId,
    /// Whether the account knows the origin, because it logged in from there recently.
    pub known: bool,
}

/// The waiting jobs, by client.
#[derive(Debug)]
pub(super) struct Queue<J> {
    waiting: HashMap<ClientId, OfClient<J>>,
    /// The clients with waiting jobs, each once, in the order of their turns.
    turns: VecDeque<ClientId>,
    length: usize,
}

/// The waiting jobs of one client; there is at least one.
#[derive(Debug)]
struct OfClient<J> {
    known: VecDeque<J>,
    unknown: VecDeque<J>,
}

impl<J> OfClient<J> {
    fn len(&self) -> usize {
        self.known.len() + self.unknown.len()
    }

    /// In the order in which they are served.
    fn iter(&self) -> impl Iterator<Item = &J> {
        self.known.iter().chain(&self.unknown)
    }

    /// Takes the first job that fits, and says whether it was the first of all.
    fn take_first(&mut self, fits: &mut impl FnMut(&J) -> bool) -> Option<(J, bool)> {
        let place = self.iter().position(fits)?;
        let known = self.known.len();
        let job = match place.checked_sub(known) {
            None => self.known.remove(place),
            Some(place) => self.unknown.remove(place),
        };
        Some((job?, place == 0))
    }

    /// Takes the job that would be served last, which is the first to be evicted.
    fn pop_last(&mut self) -> Option<J> {
        self.unknown.pop_back().or_else(|| self.known.pop_back())
    }
}

impl<J> Queue<J> {
    pub(super) fn new() -> Self {
        Self { waiting: HashMap::new(), turns: VecDeque::new(), length: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The jobs that would be served before a job that came now, if no more came.
    pub(super) fn ahead(&self, requester: &Requester) -> impl Iterator<Item = &J> {
        let own = self.waiting.get(&requester.client);
        let unknown = own.filter(|_| !requester.known).map(|own| &own.unknown);
        let before = own.map_or(0, |own| own.known.len()) + unknown.map_or(0, VecDeque::len);
        let own = own.map(|own| own.known.iter()).into_iter().flatten();
        let unknown = unknown.into_iter().flatten();
        let others = self.waiting.iter().filter(|(client, _)| **client != requester.client);
        own.chain(unknown).chain(others.flat_map(move |(_, other)| other.iter().take(before + 1)))
    }

    pub(super) fn push(&mut self, requester: Requester, job: J) {
        let Requester { client, known } = requester;
        let own = self.waiting.entry(client).or_insert_with_key(|client| {
            self.turns.push_back(client.clone());
            OfClient { known: VecDeque::new(), unknown: VecDeque::new() }
        });
        let jobs = if known { &mut own.known } else { &mut own.unknown };
        jobs.push_back(job);
        self.length += 1;
    }

    pub(super) fn pop(&mut self) -> Option<J> {
        let client = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let job = own.known.pop_front().or_else(|| own.unknown.pop_front());
        self.length -= 1;
        if own.len() == 0 {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        job
    }

    /// Takes all jobs that fit beside the one just taken: of each client in turn the first that fits, again and again
    /// until none fits. A client whose next job did not fit keeps its turn, even if other jobs of it were taken. The
    /// other clients come after those, in the order of their turns.
    pub(super) fn pop_fitting(&mut self, mut fits: impl FnMut(&J) -> bool) -> Vec<J> {
        let mut taken = Vec::new();
        let mut round: VecDeque<_> =
            mem::take(&mut self.turns).into_iter().enumerate().map(|turn| (turn, false)).collect();
        let (mut skipped, mut served) = (Vec::new(), VecDeque::new());
        while let Some(((place, client), had_turn)) = round.pop_front() {
            let Some(own) = self.waiting.get_mut(&client) else { continue };
            match own.take_first(&mut fits) {
                Some((job, was_next)) => {
                    taken.push(job);
                    if own.len() == 0 {
                        self.waiting.remove(&client);
                    } else {
                        round.push_back(((place, client), had_turn || was_next));
                    }
                }
                None if had_turn => served.push_back(client),
                None => skipped.push((place, client)),
            }
        }
        skipped.sort_by_key(|(place, _)| *place);
        self.turns = skipped.into_iter().map(|(_, client)| client).chain(served).collect();
        self.length -= taken.len();
        taken
    }

    /// Takes the last job of the client with the most jobs. `None` if the requester's client would then have as many.
    pub(super) fn evict(&mut self, requester: &Requester) -> Option<J> {
        let own = self.waiting.get(&requester.client).map_or(0, OfClient::len);
        let (client, most) = self.waiting.iter_mut().max_by_key(|(_, other)| other.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        debug_assert!(*client != requester.client, "it has more than its own");
        self.length -= 1;
        most.pop_last()
    }

    pub(super) fn take_out(&mut self, is_out: impl Fn(&J) -> bool) -> Vec<J> {
        let mut out = Vec::new();
        for own in self.waiting.values_mut() {
            for jobs in [&mut own.known, &mut own.unknown] {
                let (gone, waiting): (VecDeque<_>, _) = jobs.drain(..).partition(&is_out);
                *jobs = waiting;
                out.extend(gone);
            }
        }
        self.waiting.retain(|_, own| own.len() > 0);
        self.turns.retain(|client| self.waiting.contains_key(client));
        self.length -= out.len();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requester(client: &str, known: bool) -> Requester {
        Requester { client: ClientId::parse(client).expect("a name"), known }
    }

    fn drain<J>(queue: &mut Queue<J>) -> Vec<J> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_known_origins_go_first() {
        let mut queue = Queue::new();
        for job in ["a1", "a2", "a3"] {
            queue.push(requester("a", false), job);
        }
        queue.push(requester("b", false), "b1");
        queue.push(requester("a", true), "known");
        queue.push(requester("b", false), "b2");
        assert_eq!(drain(&mut queue), ["known", "b1", "a1", "b2", "a2", "a3"]);
        assert!(queue.is_empty() && queue.waiting.is_empty() && queue.turns.is_empty());
    }

    /// However large the flood of one client is, a login of another client waits for one login of the flood at a time.
    /// A login from a known origin waits for none from unknown origins.
    #[test]
    fn a_flood_of_one_client_takes_no_turn_of_another() {
        for flood in [15, 50 * 15, 4_000] {
            let mut queue = Queue::new();
            for _ in 0..flood {
                queue.push(requester("flooded", false), "unknown");
            }
            for place in 0..3 {
                assert_eq!(queue.ahead(&requester("other", false)).count(), 2 * place + 1);
                queue.push(requester("other", false), "other");
            }
            assert_eq!(queue.ahead(&requester("flooded", true)).count(), 1);
            queue.push(requester("flooded", true), "known");
            let served = drain(&mut queue);
            assert_eq!(served[..6], ["known", "other", "unknown", "other", "unknown", "other"]);
            assert_eq!(served.len(), flood + 4);
        }
    }

    /// The jobs that are said to be ahead are served before, if no more come.
    #[test]
    fn jobs_ahead_are_served_before() {
        for (own, known) in [("a", false), ("a", true), ("b", false), ("b", true), ("c", false)] {
            let mut queue = Queue::new();
            for (client, known, count) in [("a", false, 5), ("b", true, 2), ("b", false, 2)] {
                for _ in 0..count {
                    queue.push(requester(client, known), "other");
                }
            }
            let ahead = queue.ahead(&requester(own, known)).count();
            queue.push(requester(own, known), "own");
            let served = drain(&mut queue).iter().position(|job| *job == "own");
            assert!(served.is_some_and(|served| served <= ahead), "{own} {known}");
        }
    }

    /// A batch of at most `most` jobs. The first letter of a job is its kind.
    fn batch(queue: &mut Queue<&'static str>, most: usize) -> Vec<&'static str> {
        let Some(first) = queue.pop() else { return Vec::new() };
        let mut room = most - 1;
        let fits = |job: &&str| {
            let fits = room > 0 && job[..1] == first[..1];
            room -= usize::from(fits);
            fits
        };
        let mut batch = vec![first];
        batch.extend(queue.pop_fitting(fits));
        batch
    }

    fn filled(jobs: &[(&str, bool, &'static str)]) -> Queue<&'static str> {
        let mut queue = Queue::new();
        for (client, known, job) in jobs {
            queue.push(requester(client, *known), *job);
        }
        queue
    }

    #[test]
    fn a_batch_of_equals_is_what_would_have_been_taken_one_by_one() {
        let counts = [
            ("a", false, 5, "xa"),
            ("b", true, 2, "xb"),
            ("b", false, 2, "xb"),
            ("c", false, 1, "xc"),
        ];
        let of = |(client, known, count, job)| vec![(client, known, job); count];
        let jobs: Vec<_> = counts.into_iter().flat_map(of).collect();
        let one_by_one = drain(&mut filled(&jobs));
        for most in 1..=jobs.len() {
            let mut queue = filled(&jobs);
            let batches = (0..jobs.len()).flat_map(|_| batch(&mut queue, most));
            assert_eq!(batches.collect::<Vec<_>>(), one_by_one, "{most}");
            assert!(queue.is_empty() && queue.waiting.is_empty() && queue.turns.is_empty());
        }
    }

    #[test]
    fn a_job_that_does_not_fit_is_the_first_of_the_next_batch() {
        let mut queue = filled(&[
            ("a", false, "x1"),
            ("b", false, "y1"),
            ("c", false, "z1"),
            ("a", false, "y2"),
            ("a", false, "x2"),
            ("b", false, "x3"),
            ("b", false, "y3"),
        ]);
        assert_eq!(batch(&mut queue, 8), ["x1", "x3", "x2"]);
        assert_eq!(batch(&mut queue, 8), ["y1", "y2", "y3"]);
        assert_eq!(batch(&mut queue, 8), ["z1"]);
        assert!(queue.is_empty() && queue.turns.is_empty());
    }

    /// However many jobs fit together, another one begins a batch after at most as many batches as there are clients.
    #[test]
    fn a_flood_of_equals_does_not_starve_another_kind() {
        let mut queue = Queue::new();
        for _ in 0..1_000 {
            queue.push(requester("flooded", false), "x");
        }
        for _ in 0..3 {
            queue.push(requester("other", false), "y");
            queue.push(requester("other", false), "z");
        }
        let first: Vec<_> = (0..6).map(|_| batch(&mut queue, 8)[0]).collect();
        assert_eq!(first, ["x", "y", "x", "z", "x", "x"]);
        assert_eq!(queue.len(), 1_000 - 4 * 8);
    }

    /// A full batch takes from each client what its turns give it.
    #[test]
    fn a_flood_takes_no_lane_of_another_client() {
        let mut queue = Queue::new();
        for _ in 0..1_000 {
            queue.push(requester("flooded", false), "x flood");
        }
        for _ in 0..6 {
            queue.push(requester("other", false), "x other");
        }
        for _ in 0..2 {
            let of_other = batch(&mut queue, 6).iter().filter(|job| **job == "x other").count();
            assert_eq!(of_other, 3);
        }
        assert_eq!(batch(&mut queue, 6), ["x flood"; 6]);
    }

    #[test]
    fn a_job_of_the_client_with_most_is_evicted_from_a_full_queue() {
        let mut queue = Queue::new();
        queue.push(requester("a", true), "known");
        for job in ["a1", "a2"] {
            queue.push(requester("a", false), job);
        }
        queue.push(requester("b", false), "b1");
        assert_eq!(queue.evict(&requester("a", true)), None);
        assert_eq!(queue.evict(&requester("b", false)), Some("a2"));
        assert_eq!(queue.evict(&requester("b", false)), None, "it would have more than the other");
        assert_eq!(queue.evict(&requester("c", false)), Some("a1"));
        assert_eq!((queue.evict(&requester("c", false)), queue.len()), (None, 2));
        assert_eq!(queue.take_out(|job| *job == "b1"), ["b1"]);
        assert_eq!(drain(&mut queue), ["known"]);
    }
}
