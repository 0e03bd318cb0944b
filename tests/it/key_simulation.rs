//! Ten simulated years of key rotation: replicas that crash, lose the database and have wrong clocks,
//! and verifiers with every kind of cache. No token fails for want of its key; and with keys that sign
//! as soon as they are published, the same simulation sees tokens fail.

use jeton_crypto::key_lifecycle::{KeyDates, KeyState, Schedule, lives, next_activation};
use jeton_oauth::{Seconds, Timestamp};

const YEARS: i64 = 10;
const REPLICAS: usize = 5;
const MAX_AGE: i64 = 600;
const ROTATION: i64 = 2 * 86_400;
/// How far the clocks of replicas and verifiers are off.
const SKEW: i64 = 30;
/// How long a load balancer goes on asking a replica that says it is not ready.
const BALANCER_LAG: i64 = 20;
/// How long after a key was stored every replica has read of it.
const RELOAD: i64 = 3;

/// `SplitMix64`: the simulation is the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, least: i64, most: i64) -> i64 {
        let span = u64::try_from(most - least + 1).expect("least is not more than most");
        least + i64::try_from(self.next() % span).expect("it fits")
    }

    fn one_in(&mut self, number: i64) -> bool {
        self.between(1, number) == 1
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let last = i64::try_from(all.len()).expect("few") - 1;
        (last >= 0).then(|| &all[usize::try_from(self.between(0, last)).expect("an index")])
    }
}

/// A key of the table; its name is its generation.
#[derive(Clone, Copy)]
struct Row {
    generation: i64,
    dates: KeyDates,
}

/// The rows that are not long gone. A key of the next generation is added by whoever comes first.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    down_until: i64,
}

impl Table {
    fn add(&mut self, read: &[Row], dates: KeyDates) {
        let newest = |rows: &[Row]| rows.iter().map(|row| row.generation).max().unwrap_or(0);
        if newest(read) == newest(&self.rows) {
            self.rows.push(Row { generation: newest(read) + 1, dates });
            if self.rows.len() > 8 {
                self.rows.remove(0);
            }
        }
    }
}

/// A replica: what it remembers is what the service remembers.
struct Replica {
    /// How far its clock is off.
    skew: i64,
    /// Off by more, until then.
    jump: (i64, i64),
    down_until: i64,
    cut_off_until: i64,
    rows: Vec<Row>,
    /// When it last read the table, by a clock that never jumps; never, if it has yet to start.
    read_at: Option<i64>,
    signed_last: Option<Timestamp>,
}

/// What a replica publishes.
#[derive(Clone)]
struct KeySet {
    keys: Vec<i64>,
    max_age: i64,
}

impl Replica {
    fn new(skew: i64) -> Self {
        let (rows, jump) = (Vec::new(), (0, 0));
        Self { skew, jump, down_until: 0, cut_off_until: 0, rows, read_at: None, signed_last: None }
    }

    fn clock(&self, time: i64) -> Timestamp {
        let jump = if time < self.jump.1 { self.jump.0 } else { 0 };
        Timestamp(time + self.skew + jump)
    }

    fn reaches(&self, table: &Table, time: i64) -> bool {
        time >= self.cut_off_until && time >= table.down_until
    }

    fn is_up(&self, time: i64) -> bool {
        time >= self.down_until && self.read_at.is_some()
    }

    /// Whether a load balancer lets it answer: it is ready, or was until just now.
    fn is_ready(&self, time: i64) -> bool {
        self.is_up(time) && self.read_at.is_some_and(|read| time - read <= RELOAD + BALANCER_LAG)
    }

    fn dates(&self) -> Vec<KeyDates> {
        self.rows.iter().map(|row| row.dates).collect()
    }

    /// What the service does every few seconds.
    fn look(&mut self, table: &mut Table, schedule: &Schedule, time: i64) {
        if time < self.down_until || !self.reaches(table, time) {
            return;
        }
        let now = self.clock(time);
        self.rows.clone_from(&table.rows);
        if let Some(activates_at) = next_activation(&self.dates(), now, schedule) {
            let dates = KeyDates { created_at: now, activates_at, revoked_at: None };
            table.add(&self.rows, dates);
            self.rows.clone_from(&table.rows);
        }
        self.read_at = Some(time);
        self.signed_last = self.signing(schedule, time).map(|row| row.dates.activates_at);
    }

    fn states(&self, schedule: &Schedule, time: i64) -> Vec<(Row, KeyState)> {
        let lives = lives(&self.dates(), self.clock(time), schedule, self.signed_last);
        self.rows.iter().copied().zip(lives.iter().map(|life| life.state)).collect()
    }

    fn signing(&self, schedule: &Schedule, time: i64) -> Option<Row> {
        let mut states = self.states(schedule, time).into_iter();
        states.find(|(_, state)| *state == KeyState::Signing).map(|(row, _)| row)
    }

    fn publish(&self, schedule: &Schedule, promised: &Schedule, time: i64) -> KeySet {
        let states = self.states(schedule, time).into_iter();
        let published = states.filter(|(_, state)| *state != KeyState::Gone);
        let age = Seconds::new(time - self.read_at.expect("it is up"));
        KeySet {
            keys: published.map(|(row, _)| row.generation).collect(),
            max_age: promised.vouched(age).get(),
        }
    }
}

/// How a verifier keeps the key set.
#[derive(Clone, Copy, Debug)]
enum Cache {
    /// As long as `Cache-Control` says, and never asks before.
    MaxAge,
    /// For so long, whatever is said, and never asks before.
    Fixed(i64),
    /// For so long; asks again for an unknown key, unless it has just asked.
    Refetching { lifetime: i64, cooldown: i64 },
    /// As long as it is said, and once more while it asks in the background, within so long.
    StaleWhileRevalidating(i64),
}

struct Verifier {
    cache: Cache,
    skew: i64,
    held: Option<(KeySet, i64)>,
}

struct World {
    schedule: Schedule,
    /// What decides about `Cache-Control`: the right schedule, even where keys go by a wrong one.
    promised: Schedule,
    chance: Chance,
    time: i64,
    table: Table,
    replicas: Vec<Replica>,
    /// Key and end of the tokens that are in use.
    tokens: Vec<(i64, i64)>,
    verified: u64,
    failures: Vec<String>,
}

impl World {
    fn new(schedule: Schedule, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let replicas = (0..REPLICAS).map(|_| Replica::new(chance.between(-SKEW, SKEW))).collect();
        let (table, tokens, failures) = (Table::default(), Vec::new(), Vec::new());
        let (promised, time, verified) = (self::schedule(), 0, 0);
        Self { schedule, promised, chance, time, table, replicas, tokens, verified, failures }
    }

    /// Something goes wrong somewhere, now and then.
    fn trouble(&mut self) {
        let (time, chance) = (self.time, &mut self.chance);
        if chance.one_in(2_000) {
            self.table.down_until = time + chance.between(1, 6 * 3_600);
        }
        for replica in &mut self.replicas {
            if chance.one_in(3_000) {
                // A process that starts again remembers nothing.
                *replica = Replica::new(replica.skew);
                replica.down_until = time + chance.between(1, 7_200);
            }
            if chance.one_in(2_000) {
                replica.cut_off_until = time + chance.between(1, 2 * 86_400);
            }
            if chance.one_in(500) {
                replica.skew = chance.between(-SKEW, SKEW);
            }
            if chance.one_in(2_000) {
                let most = MAX_AGE / 2 - SKEW;
                replica.jump = (chance.between(-7_200, most), time + chance.between(1, 3_600));
            }
        }
    }

    /// An operator rotates by hand, now and then.
    fn rotate_by_hand(&mut self) {
        if self.chance.one_in(4_000) && self.time >= self.table.down_until {
            let created_at = Timestamp(self.time + self.chance.between(-SKEW, SKEW));
            let activates_at = created_at.after(self.schedule.lead);
            let published = |row: &Row| row.dates.activates_at > created_at;
            let rows = self.table.rows.clone();
            if !rows.iter().any(published) {
                self.table.add(&rows, KeyDates { created_at, activates_at, revoked_at: None });
            }
        }
    }

    /// A replica that reaches the database issues a token, with any allowed lifetime.
    fn issue(&mut self) {
        let (time, table) = (self.time, &self.table);
        let able: Vec<&Replica> = self
            .replicas
            .iter()
            .filter(|own| own.is_up(time) && own.reaches(table, time))
            .collect();
        let Some(replica) = self.chance.pick(&able).copied() else { return };
        let key = replica.signing(&self.schedule, time).expect("a key signs").generation;
        let lifetime = if self.chance.one_in(2) { 600 } else { 3_600 };
        self.tokens.push((key, replica.clock(time).0 + lifetime));
    }

    /// A key set, from a replica that a load balancer picks; none if no replica runs.
    fn fetch(&mut self) -> Option<KeySet> {
        let time = self.time - self.chance.between(0, RELOAD);
        let ready: Vec<&Replica> = self.replicas.iter().filter(|own| own.is_ready(time)).collect();
        let up: Vec<&Replica> = self.replicas.iter().filter(|own| own.is_up(self.time)).collect();
        let pool = if ready.is_empty() { up } else { ready };
        self.chance
            .pick(&pool)
            .map(|replica| replica.publish(&self.schedule, &self.promised, self.time))
    }

    /// Whether the verifier finds the key; what it cannot know because nobody tells it is no failure.
    fn verify(&mut self, verifier: &mut Verifier, key: i64) -> bool {
        let time = self.time;
        let (lifetime, stale) = match (verifier.cache, &verifier.held) {
            (_, None) => (0, 0),
            (Cache::MaxAge, Some((set, _))) => (set.max_age, 0),
            (Cache::Fixed(lifetime) | Cache::Refetching { lifetime, .. }, _) => (lifetime, 0),
            // What may not be kept at all is not used stale either.
            (_, Some((set, _))) if set.max_age == 0 => (0, 0),
            (Cache::StaleWhileRevalidating(stale), Some((set, _))) => (set.max_age, stale),
        };
        let age = verifier.held.as_ref().map_or(i64::MAX, |(_, at)| time - at);
        if age >= lifetime + stale {
            match self.fetch() {
                Some(set) => verifier.held = Some((set, time)),
                None => return true,
            }
        }
        let Some((set, at)) = verifier.held.clone() else { return true };
        let mut found = set.keys.contains(&key);
        if age >= lifetime && age < lifetime + stale {
            // The answer of the background comes after this token was looked at.
            if let Some(fresh) = self.fetch() {
                verifier.held = Some((fresh, time));
            }
        }
        if let Cache::Refetching { cooldown, .. } = verifier.cache
            && !found
            && time - at >= cooldown
            && let Some(fresh) = self.fetch()
        {
            found = fresh.keys.contains(&key);
            verifier.held = Some((fresh, time));
        }
        // A set of no lifetime says itself that it may lack a key.
        found || verifier.held.as_ref().is_some_and(|(set, _)| set.max_age == 0)
    }

    /// Small steps around what may go wrong, the handing over from one key to the next.
    fn step(&mut self) -> i64 {
        let soon = |row: &Row| (row.dates.activates_at.0 - self.time).abs() < 4_000;
        let most = if self.table.rows.iter().any(soon) { 120 } else { 3_000 };
        self.chance.between(1, most)
    }

    fn run(&mut self) {
        let caches = [
            Cache::MaxAge,
            Cache::Fixed(MAX_AGE),
            Cache::Fixed(300),
            Cache::Refetching { lifetime: MAX_AGE, cooldown: 30 },
            Cache::StaleWhileRevalidating(MAX_AGE / 2),
        ];
        let skew = |own: usize| SKEW - i64::try_from(own).expect("few") * 2 * SKEW / 4;
        let verifier = |(own, cache)| Verifier { cache, skew: skew(own), held: None };
        let mut verifiers: Vec<Verifier> = caches.into_iter().enumerate().map(verifier).collect();
        let mut order: Vec<usize> = (0..REPLICAS).collect();
        while self.time < YEARS * 365 * 86_400 {
            self.time += self.step();
            self.trouble();
            self.rotate_by_hand();
            order.rotate_left(usize::try_from(self.chance.between(0, 4)).expect("few"));
            for own in &order {
                self.replicas[*own].look(&mut self.table, &self.schedule, self.time);
            }
            self.issue();
            let time = self.time;
            self.tokens.retain(|(_, end)| *end > time);
            for verifier in &mut verifiers {
                // The newest token as often as any other: that is where a key is missed.
                let newest = self.tokens.last().filter(|_| self.chance.one_in(2)).copied();
                let Some((key, end)) = newest.or_else(|| self.chance.pick(&self.tokens).copied())
                else {
                    continue;
                };
                if time + verifier.skew >= end {
                    continue;
                }
                self.verified += 1;
                if !self.verify(verifier, key) {
                    self.failures.push(format!("{:?} lacks key {key} at {time}", verifier.cache));
                }
            }
        }
    }
}

fn simulate(schedule: Schedule) -> World {
    let mut world = World::new(schedule, 20_260_101);
    world.run();
    world
}

fn schedule() -> Schedule {
    Schedule::new(Seconds::new(ROTATION), Seconds::new(MAX_AGE))
}

/// RFC 7517 §4.5: keys roll over without a token that fails. [K-20] [K-22]
/// [K-23]
#[test]
fn no_verifier_misses_a_key_in_ten_years() {
    let world = simulate(schedule());
    assert_eq!(world.failures, Vec::<String>::new());
    let keys = world.table.rows.last().map_or(0, |row| row.generation);
    assert!(keys > 1_800, "there were rotations: {keys}");
    assert!(world.verified > 1_500_000, "and verifications: {}", world.verified);
}

/// The simulation sees what it looks for.
#[test]
fn keys_that_sign_as_soon_as_they_are_published_are_missed() {
    let world = simulate(Schedule { lead: Seconds::new(0), ..schedule() });
    for kind in ["MaxAge", "Fixed(600)", "Fixed(300)", "Refetching", "StaleWhileRevalidating"] {
        let missed = world.failures.iter().filter(|failure| failure.starts_with(kind)).count();
        assert!(missed > 0, "{kind} never missed a key");
    }
}
