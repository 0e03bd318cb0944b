//! Notices clients that present many tokens which this service never made, and clients that do not say for
//! whom they call though they should. Bogus tokens are answered like any other bad token: a gateway passes on
//! what it is sent, and who refuses it lets anyone cut it off.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::incident::Incident;
use jeton_oauth::{ClientId, Seconds};
use jeton_runtime::clock::Clock;

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

/// Notices clients that were registered to name their end users and do not.
#[derive(Clone, Debug, Default)]
pub struct UnnamedEndUsers(Arc<Mutex<HashSet<ClientId>>>);

impl UnnamedEndUsers {
    /// Warns of this client, the first time.
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
