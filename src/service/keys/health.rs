//! What a replica's keys can do, for readiness and metrics.

use super::Keys;
use jeton_crypto::key_lifecycle::{self, KeyState};
use jeton_oauth::{Seconds, Timestamp};

/// The state of a replica's keys, for health and metrics.
#[derive(Clone, Copy, Debug)]
pub struct KeyHealth {
    /// How long ago the keys were last read from the database.
    pub age: Seconds,
    /// For how long the key set may be cached. It is 0 once the database was unavailable for so long that a key may
    /// sign which this replica does not publish.
    pub jwks_max_age: Seconds,
    /// When the next key is due to be published; `None` if it is published already.
    pub next_published_at: Option<Timestamp>,
    /// When the next key begins to sign.
    pub next_signs_at: Option<Timestamp>,
    /// Whether access tokens can be signed.
    pub signs: bool,
    /// Whether refresh tokens can be derived.
    pub derives: bool,
    /// Whether failures to log in can be counted. Without this, no login is attempted.
    pub counts: bool,
    /// Whether sealed hashes can be opened, without which no login is judged; `None` if hashes are not sealed.
    pub opens: Option<bool>,
    /// How many needed keys cannot be opened here.
    pub unusable: usize,
}

impl Keys {
    /// The state of the keys.
    #[must_use]
    pub fn health(&self) -> KeyHealth {
        let current = self.current.load();
        let now = self.clock.presumed_now();
        let (dates, schedule) = (current.opened.signing_dates(), &current.schedule);
        let lives = key_lifecycle::lives(&dates, now, schedule, None);
        let of = |wanted| {
            let pairs = dates.iter().zip(&lives).filter(move |(_, life)| life.state == wanted);
            pairs.map(|(dates, _)| dates.activates_at).min()
        };
        let next_signs_at = of(KeyState::Published);
        let planned = of(KeyState::Signing).map(|at| at.after(schedule.rotation));
        let to_come = planned.filter(|_| next_signs_at.is_none());
        let published = |at: Timestamp| Timestamp(at.0.saturating_sub(schedule.lead.get()));
        KeyHealth {
            age: self.clock.elapsed().since(current.loaded),
            jwks_max_age: current.jwks.max_age,
            next_published_at: to_come.map(published),
            next_signs_at: next_signs_at.or(planned),
            signs: current.key_set.signing().is_some(),
            derives: current.refresh.can_derive(),
            counts: current.opened.throttle.is_some(),
            opens: current.opened.opens_hashes,
            unusable: current.opened.unusable.len(),
        }
    }
}
