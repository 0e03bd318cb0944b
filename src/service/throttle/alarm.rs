//! Notices clients that present many tokens which this service never made, and clients that do not send their end
//! users' addresses although they should. This only raises an alarm: a gateway passes on what it is sent, so if it were
//! throttled, anyone could lock it out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::incident::Incident;
use jeton_oauth::{ClientId, Seconds};
use jeton_runtime::clock::Clock;

/// The time over which tokens are counted.
const WINDOW: Seconds = Seconds::new(60);
/// The number of tokens in one window that raises the alarm.
const TOKENS_MAX: u32 = 100;

/// Counts the tokens that this service never made, by client.
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

    /// Counts one more token. Returns an incident when the window reaches the limit, so once in each window.
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

/// Notices clients that are registered to send their end users' addresses and do not.
#[derive(Clone, Debug, Default)]
pub struct UnnamedEndUsers(Arc<Mutex<HashSet<ClientId>>>);

impl UnnamedEndUsers {
    /// Logs a warning about this client, the first time only.
    pub fn warn_once(&self, client: &ClientId) {
        let mut warned_of = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_of.insert(client.clone()) {
            tracing::warn!(
                client_id = client.as_str(),
                "the client is to name its end users and does not, so all of them count as one origin: let \
                 it send X-Forwarded-For that ends with the address of the end user, or run `jeton client \
                 set {} --forwards-end-user-ip=false`. This is said once; jeton_unnamed_callers_total \
                 counts on",
                client.as_str()
            );
        }
    }
}
