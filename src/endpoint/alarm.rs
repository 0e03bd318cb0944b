//! Notices a client that presents many tokens which this service never made. They are answered like any
//! other bad token: a gateway passes on what it is sent, and who refuses it lets anyone cut it off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::incident::Incident;
use crate::clock::{Clock, Seconds};
use crate::oauth::ClientId;

/// In how long a time tokens are counted together.
const WINDOW: Seconds = Seconds::new(60);
/// How many of them are an alarm.
const TOKENS_MAX: u32 = 100;

/// Counts, for each client, the tokens that this service never made.
#[derive(Clone, Debug)]
pub struct UnknownTokens {
    clock: Clock,
    clients: Arc<Mutex<HashMap<ClientId, Window>>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Seconds,
    tokens: u32,
}

impl UnknownTokens {
    /// Counts by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, clients: Arc::default() }
    }

    /// Counts one more; once for each window that is an alarm.
    #[must_use]
    pub fn count(&self, client: &ClientId) -> Option<Incident> {
        let now = self.clock.elapsed();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let window = clients.entry(client.clone()).or_insert(Window { began: now, tokens: 0 });
        if now.since(window.began) >= WINDOW {
            *window = Window { began: now, tokens: 0 };
        }
        window.tokens = window.tokens.saturating_add(1);
        (window.tokens == TOKENS_MAX).then_some(Incident::UnknownTokens)
    }
}
