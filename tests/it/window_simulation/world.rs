//! A client with its tabs, perhaps a thief with a copy of its refresh token, and the service, whose rule is
//! the one that ships (`oauth::session`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jeton_oauth::session::Presented;
use jeton_oauth::{RetryWindow, Seconds};

use super::life::{DAY, HOUR, Life, MINUTE, Random, SECOND};

/// How long an access token lives, as shipped.
const LIFETIME: i64 = 10 * MINUTE;
/// One in so many refreshes loses its answer, and its device is offline then.
const REFRESHES_PER_LOSS: i64 = 1_000;
/// The time of a request, or of its answer, on the way.
const WAY: (i64, i64) = (20, 2_560);

/// A thief with a copy of a refresh token that was good when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thief {
    /// Uses it once, 1 s to 24 h later.
    Once,
    /// Begins as late, and refreshes whenever the own access token has expired.
    Schedule,
    /// Presents the token that the client just exchanged, 0.1 s to 10 s after each refresh; and while the
    /// client is silent refreshes 30 s after the own access token expired.
    InStep,
}

/// The rule under test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) window: RetryWindow,
    /// For how long a token whose successor was used too is refused and ends nothing.
    pub(super) late_tab: Seconds,
}

/// What came of one user's days.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// How often the client was logged out, though nobody else had its token.
    pub(super) logouts: i64,
    /// How often a tab was refused and its session lived.
    pub(super) refused_tabs: i64,
    pub(super) lost_answers: i64,
    /// How long after the first use of the copy the session ended; absent if it did not.
    pub(super) noticed_after: Option<i64>,
}

/// Something that happens, in the order of its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The application calls and its access token has expired: so many tabs refresh.
    Refresh { tabs: i64 },
    /// A tab reads the token that is stored.
    Read,
    /// The service gets a tab's token of this generation.
    Arrive { generation: i64 },
    /// A tab gets its answer: the token of a generation, if it is one.
    Answer { generation: Option<i64> },
    /// The thief copies what is stored.
    Steal,
    /// The thief presents the own token.
    Use,
    /// The thief follows the client, which presented the token of this generation.
    Follow { generation: i64 },
}

struct World {
    rule: Rule,
    random: Random,
    life: Life,
    tabs: i64,
    events: BinaryHeap<Reverse<(i64, i64, Event)>>,
    scheduled: i64,
    now: i64,
    // The session's row.
    generation: i64,
    exchanged_at: i64,
    // The client.
    stored: i64,
    on_the_way: i64,
    offline_until: Option<i64>,
    // The thief.
    thief: Option<Thief>,
    copy: Option<i64>,
    used_first: Option<i64>,
    expires_at: i64,
    outcome: Outcome,
}

/// Lives through some days of one user.
pub(super) fn live(
    user: u64,
    rule: Rule,
    tabs_max: i64,
    thief: Option<Thief>,
    days: i64,
) -> Outcome {
    let mut random = Random::new(user);
    let life = Life::new(Random::new(random.next()));
    let tabs = if tabs_max == 1 { 1 } else { 2 + random.below(tabs_max - 1) };
    let mut world = World {
        rule,
        random,
        life,
        tabs,
        events: BinaryHeap::new(),
        scheduled: 0,
        now: 0,
        generation: 0,
        exchanged_at: 0,
        stored: 0,
        on_the_way: 0,
        offline_until: None,
        thief,
        copy: None,
        used_first: None,
        expires_at: 0,
        outcome: Outcome::default(),
    };
    world.log_in();
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        if now > days * DAY {
            break;
        }
        world.now = now;
        if world.happens(event) {
            if let Some(first) = world.used_first {
                world.outcome.noticed_after = Some(now - first);
                break;
            }
            world.outcome.logouts += 1;
            world.log_in();
        }
    }
    world.outcome
}

impl World {
    fn schedule(&mut self, after: i64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, event)));
    }

    /// Opens a session. A thief who has not used the copy yet takes another, a day or two later.
    fn log_in(&mut self) {
        self.events.clear();
        (self.generation, self.stored, self.on_the_way) = (0, 0, 0);
        (self.copy, self.offline_until, self.exchanged_at) = (None, None, self.now);
        if self.thief.is_some() {
            let after = DAY + self.random.below(DAY);
            self.schedule(after, Event::Steal);
        }
        self.schedule_refresh();
    }

    /// The client refreshes at its first call after the access token expired: in one tab, or, after a pause,
    /// in all of them.
    fn schedule_refresh(&mut self) {
        let (call, after_pause) = self.life.call_after(self.now + LIFETIME);
        let tabs = if after_pause { self.tabs } else { 1 };
        self.schedule(call - self.now, Event::Refresh { tabs });
    }

    fn way(&mut self) -> i64 {
        self.random.span(WAY.0, WAY.1)
    }

    /// Lets something happen; whether it ended the session.
    fn happens(&mut self, event: Event) -> bool {
        match event {
            Event::Refresh { tabs } => {
                self.on_the_way = tabs;
                if self.random.below(REFRESHES_PER_LOSS) == 0 {
                    self.outcome.lost_answers += 1;
                    self.offline_until = Some(self.now + self.random.span(SECOND, DAY));
                }
                self.schedule(0, Event::Read);
                for _ in 1..tabs {
                    let after = self.random.below(2 * SECOND);
                    self.schedule(after, Event::Read);
                }
            }
            Event::Read => {
                let way = self.way();
                self.schedule(way, Event::Arrive { generation: self.stored });
            }
            Event::Arrive { generation } => return self.arrives(generation),
            Event::Answer { generation } => self.is_answered(generation),
            Event::Steal => {
                self.copy = Some(self.stored);
                self.expires_at = self.now + LIFETIME;
                let after = match self.thief {
                    Some(Thief::InStep) => LIFETIME + 30 * SECOND,
                    _ => self.random.span(SECOND, DAY),
                };
                self.schedule(after, Event::Use);
            }
            Event::Follow { generation } if self.copy != Some(generation) => {}
            // Following the client, the thief has a newer token meanwhile.
            Event::Use if self.thief == Some(Thief::InStep) && self.now < self.expires_at => {
                self.schedule(self.expires_at + 30 * SECOND - self.now, Event::Use);
            }
            Event::Use | Event::Follow { .. } => return self.is_used(event),
        }
        false
    }

    /// What the service makes of a token.
    fn judge(&mut self, generation: i64) -> Presented {
        let elapsed = Seconds::new((self.now - self.exchanged_at) / SECOND);
        let window = self.rule.window;
        let judged = if self.generation - generation == 2 {
            let is_late = window.holds(elapsed) && elapsed < self.rule.late_tab;
            if is_late { Presented::Late } else { Presented::Reused }
        } else {
            Presented::judge(generation, self.generation, elapsed, window)
        };
        if judged == Presented::Current {
            (self.generation, self.exchanged_at) = (generation + 1, self.now);
        }
        judged
    }

    fn arrives(&mut self, generation: i64) -> bool {
        let judged = self.judge(generation);
        self.outcome.refused_tabs += i64::from(judged == Presented::Late);
        if judged == Presented::Reused {
            return true;
        }
        if self.thief == Some(Thief::InStep) && self.copy == Some(generation) {
            let after = self.random.span(SECOND / 10, 10 * SECOND);
            self.schedule(after, Event::Follow { generation });
        }
        let way = self.way();
        let answered = (judged != Presented::Late).then_some(self.generation);
        self.schedule(way, Event::Answer { generation: answered });
        false
    }

    /// A tab stores the newest token it knows of, unless its answer was lost. When the last one is done, the
    /// client waits for its next refresh, or tries this one again when it is back.
    fn is_answered(&mut self, generation: Option<i64>) {
        if self.offline_until.is_none() {
            self.stored = self.stored.max(generation.unwrap_or_default());
        }
        self.on_the_way -= 1;
        if self.on_the_way == 0 {
            match self.offline_until.take() {
                Some(back_at) => {
                    let after = (back_at - self.now).max(0);
                    self.schedule(after, Event::Refresh { tabs: self.tabs });
                }
                None => self.schedule_refresh(),
            }
        }
    }

    /// The thief presents the copy; whether that ended the session.
    fn is_used(&mut self, event: Event) -> bool {
        let Some(copy) = self.copy else { return false };
        self.used_first.get_or_insert(self.now);
        match self.judge(copy) {
            Presented::Reused => return true,
            // Refused, and nobody is told: the thief has got nothing.
            Presented::Late => {}
            Presented::Current | Presented::Retry | Presented::Ahead => {
                self.copy = Some(self.generation);
            }
        }
        self.expires_at = self.now + LIFETIME;
        match self.thief {
            Some(Thief::Schedule) => self.schedule(LIFETIME + 5 * SECOND, Event::Use),
            Some(Thief::InStep) if event == Event::Use => {
                self.schedule(LIFETIME + 30 * SECOND, Event::Use);
            }
            _ => {}
        }
        false
    }
}

/// Of clients whose answer was lost to an outage, 1 s to 24 h long, and which ask again within a minute of
/// its end: how many of 1,000 are logged out, if the window counts all time, and if it counts time in which
/// the service could have answered.
pub(super) fn logged_out_by_outages(window: RetryWindow) -> [i64; 2] {
    const CLIENTS: i64 = 20_000;
    let mut random = Random::new(0);
    let mut logged_out = [0, 0];
    for _ in 0..CLIENTS {
        let (outage, wait) = (random.span(SECOND, 24 * HOUR), random.below(MINUTE));
        for (count, counted) in logged_out.iter_mut().zip([outage + wait, wait]) {
            let judged = Presented::judge(4, 5, Seconds::new(counted / SECOND), window);
            *count += i64::from(judged == Presented::Reused);
        }
    }
    logged_out.map(|count| count * 1_000 / CLIENTS)
}
