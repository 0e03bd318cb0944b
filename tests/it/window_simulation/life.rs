//! What users do, and how long things take. Everything is drawn from a seed, in whole milliseconds.

pub(super) const SECOND: i64 = 1_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// `SplitMix64`: the numbers in the document do not change with the version of a library.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to less than this.
    pub(super) fn below(&mut self, end: i64) -> i64 {
        (self.next() >> 1).cast_signed() % end
    }

    /// A span between two bounds, each doubling of it as likely as any other: log-uniform, in integers.
    pub(super) fn span(&mut self, least: i64, most: i64) -> i64 {
        let doublings = i64::from((most / least).ilog2()) + 1;
        loop {
            let from = least << self.below(doublings);
            let span = from + self.below(from);
            if span <= most {
                return span;
            }
        }
    }
}

/// When a user is there. Stretches of use and pauses take turns.
#[derive(Debug)]
pub(super) struct Life {
    random: Random,
    used_until: i64,
}

impl Life {
    pub(super) fn new(random: Random) -> Self {
        Self { random, used_until: 0 }
    }

    /// The first call of the application at or after this moment, and whether a pause came before it.
    pub(super) fn call_after(&mut self, moment: i64) -> (i64, bool) {
        let (mut moment, mut after_pause) = (moment, false);
        while moment >= self.used_until {
            let back_at = self.used_until + self.random.span(SECOND, DAY);
            self.used_until = back_at + self.random.span(MINUTE, 4 * HOUR);
            moment = moment.max(back_at);
            after_pause = true;
        }
        let call = moment + self.random.span(SECOND, 2 * MINUTE);
        (call.min(self.used_until), after_pause)
    }
}
