//! Who is next: clients take turns, and within a client those go first who come from where they came from
//! before. So a client that is flooded keeps nobody waiting but its own, and of these those whom it does not
//! know.

use std::collections::{HashMap, VecDeque};

use crate::oauth::ClientId;

/// In whose turn a password is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The client that asks.
    pub client: ClientId,
    /// Whether the account logged in from the same origin lately.
    pub known: bool,
}

/// What waits, by clients.
#[derive(Debug)]
pub(super) struct Queue<J> {
    waiting: HashMap<ClientId, OfClient<J>>,
    /// The clients that something waits for, each once, in the order of their turns.
    turns: VecDeque<ClientId>,
    length: usize,
}

/// What waits for one client, which is never nothing.
#[derive(Debug)]
struct OfClient<J> {
    known: VecDeque<J>,
    strangers: VecDeque<J>,
}

impl<J> OfClient<J> {
    fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }

    /// The last that is served, so that it gives way first.
    fn pop_last(&mut self) -> Option<J> {
        self.strangers.pop_back().or_else(|| self.known.pop_back())
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

    /// How many would be served before one that came now, if no more came.
    pub(super) fn ahead(&self, turn: &Turn) -> usize {
        let own = self
            .waiting
            .get(&turn.client)
            .map_or(0, |own| own.known.len() + if turn.known { 0 } else { own.strangers.len() });
        let others = self.waiting.iter().filter(|(client, _)| **client != turn.client);
        own + others.map(|(_, other)| other.len().min(own + 1)).sum::<usize>()
    }

    pub(super) fn push(&mut self, turn: Turn, job: J) {
        let Turn { client, known } = turn;
        let own = self.waiting.entry(client).or_insert_with_key(|client| {
            self.turns.push_back(client.clone());
            OfClient { known: VecDeque::new(), strangers: VecDeque::new() }
        });
        let line = if known { &mut own.known } else { &mut own.strangers };
        line.push_back(job);
        self.length += 1;
    }

    /// Takes the next.
    pub(super) fn pop(&mut self) -> Option<J> {
        let client = self.turns.pop_front()?;
        let own = self.waiting.get_mut(&client)?;
        let job = own.known.pop_front().or_else(|| own.strangers.pop_front());
        self.length -= 1;
        if own.len() == 0 {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        job
    }

    /// Takes the last of the client that has most, to make room for this turn; `None` if its own client has
    /// as many.
    pub(super) fn give_way(&mut self, turn: &Turn) -> Option<J> {
        let own = self.waiting.get(&turn.client).map_or(0, OfClient::len);
        let (client, most) = self.waiting.iter_mut().max_by_key(|(_, other)| other.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        debug_assert!(*client != turn.client, "it has more than its own");
        self.length -= 1;
        most.pop_last()
    }

    /// Takes out what this says.
    pub(super) fn take_out(&mut self, is_out: impl Fn(&J) -> bool) -> Vec<J> {
        let mut out = Vec::new();
        for own in self.waiting.values_mut() {
            for line in [&mut own.known, &mut own.strangers] {
                let (gone, waiting): (VecDeque<_>, _) = line.drain(..).partition(&is_out);
                *line = waiting;
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

    fn turn(client: &str, known: bool) -> Turn {
        Turn { client: ClientId::parse(client).expect("a name"), known }
    }

    fn drain<J>(queue: &mut Queue<J>) -> Vec<J> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_known_origins_go_first() {
        let mut queue = Queue::new();
        for job in ["a1", "a2", "a3"] {
            queue.push(turn("a", false), job);
        }
        queue.push(turn("b", false), "b1");
        queue.push(turn("a", true), "known");
        queue.push(turn("b", false), "b2");
        assert_eq!(drain(&mut queue), ["known", "b1", "a1", "b2", "a2", "a3"]);
        assert!(queue.is_empty() && queue.waiting.is_empty() && queue.turns.is_empty());
    }

    /// However much one client is flooded, those of another wait for one of its logins each, and known
    /// origins of the flooded one for none of its strangers.
    #[test]
    fn a_flood_of_one_client_takes_no_turn_of_another() {
        for flood in [15, 50 * 15, 4_000] {
            let mut queue = Queue::new();
            for _ in 0..flood {
                queue.push(turn("flooded", false), "stranger");
            }
            for place in 0..3 {
                assert_eq!(queue.ahead(&turn("other", false)), 2 * place + 1, "{flood}");
                queue.push(turn("other", false), "other");
            }
            assert_eq!(queue.ahead(&turn("flooded", true)), 1);
            queue.push(turn("flooded", true), "known");
            let served = drain(&mut queue);
            assert_eq!(served[..6], ["known", "other", "stranger", "other", "stranger", "other"]);
            assert_eq!(served.len(), flood + 4);
        }
    }

    /// What is said to be ahead is what is served before, if no more come.
    #[test]
    fn who_is_ahead_is_served_before() {
        for (own, known) in [("a", false), ("a", true), ("b", false), ("b", true), ("c", false)] {
            let mut queue = Queue::new();
            for (client, known, count) in [("a", false, 5), ("b", true, 2), ("b", false, 2)] {
                for _ in 0..count {
                    queue.push(turn(client, known), "other");
                }
            }
            let ahead = queue.ahead(&turn(own, known));
            queue.push(turn(own, known), "own");
            let served = drain(&mut queue).iter().position(|job| *job == "own");
            assert!(served.is_some_and(|served| served <= ahead), "{own} {known}");
        }
    }

    #[test]
    fn the_client_with_most_gives_way_when_all_places_are_taken() {
        let mut queue = Queue::new();
        queue.push(turn("a", true), "known");
        for job in ["a1", "a2"] {
            queue.push(turn("a", false), job);
        }
        queue.push(turn("b", false), "b1");
        assert_eq!(queue.give_way(&turn("a", true)), None);
        assert_eq!(queue.give_way(&turn("b", false)), Some("a2"));
        assert_eq!(queue.give_way(&turn("b", false)), None, "it would have more than the other");
        assert_eq!(queue.give_way(&turn("c", false)), Some("a1"));
        assert_eq!((queue.give_way(&turn("c", false)), queue.len()), (None, 2));
        assert_eq!(queue.take_out(|job| *job == "b1"), ["b1"]);
        assert_eq!(drain(&mut queue), ["known"]);
    }
}
