//! Whether every replica that lives publishes its keys, whatever the database does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::harness::Request;

/// How often each replica is asked, and how long it may take.
const SAMPLING: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks all replicas for their keys.
#[derive(Clone)]
pub(crate) struct KeyWatch {
    replicas: Arc<Vec<Watched>>,
}

struct Watched {
    address: SocketAddr,
    /// How often it went away or came back; it is away while that is odd.
    changes: AtomicU64,
    answers: AtomicU64,
    gaps: Mutex<Vec<String>>,
}

impl KeyWatch {
    /// Begins to ask.
    pub(crate) fn start(addresses: &[SocketAddr]) -> Self {
        let watched = addresses.iter().map(|&address| Watched {
            address,
            changes: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            gaps: Mutex::default(),
        });
        let replicas = Arc::new(watched.collect::<Vec<_>>());
        for index in 0..replicas.len() {
            let replicas = Arc::clone(&replicas);
            tokio::spawn(async move {
                loop {
                    replicas[index].ask().await;
                    sleep(SAMPLING).await;
                }
            });
        }
        Self { replicas }
    }

    /// Notes that a replica goes away, or that it is back.
    pub(crate) fn is_away(&self, replica: usize, away: bool) {
        let changes = self.replicas[replica].changes.fetch_add(1, Ordering::SeqCst);
        assert_eq!(changes.is_multiple_of(2), away, "it comes back after it went away");
    }

    /// How many answers there were, and what was not right while a replica lived.
    pub(crate) fn findings(&self) -> (u64, Vec<String>) {
        let answers = self.replicas.iter().map(|one| one.answers.load(Ordering::SeqCst)).sum();
        let gaps = self
            .replicas
            .iter()
            .flat_map(|one| one.gaps.lock().unwrap_or_else(PoisonError::into_inner).clone());
        (answers, gaps.collect())
    }
}

impl Watched {
    async fn ask(&self) {
        let before = self.changes.load(Ordering::SeqCst);
        let request = Request::new(self.address, "GET", "/.well-known/jwks.json");
        let reply = timeout(PATIENCE, request.try_send()).await.ok().flatten();
        if !before.is_multiple_of(2) || self.changes.load(Ordering::SeqCst) != before {
            return;
        }
        let status = reply.as_ref().map(|reply| reply.status);
        let has_keys = reply.is_some_and(|reply| {
            reply.status == 200
                && reply.json()["keys"].as_array().is_some_and(|all| !all.is_empty())
        });
        if has_keys {
            self.answers.fetch_add(1, Ordering::SeqCst);
        } else {
            let text = format!("{} publishes no keys: {status:?}", self.address);
            self.gaps.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }
}
