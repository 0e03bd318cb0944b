//! Client secrets that came from another service as hashes. The first use of one replaces its hash by a digest.
//!
//! Other services let people choose secrets, and a hash takes long to compute. So until then a secret is treated as a
//! password is: the same throttle, the same threads, the same bounds.

use std::sync::Arc;

use crate::incident::Incident;
use crate::throttle::origin::{Origin, Source};
use crate::throttle::{Account, AccountOf, Attempt, SentCode, Throttle};
use crate::{AuditContext, Refusal};
use jeton_crypto::digest::SecretDigest;
use jeton_crypto::hashing_pool::{HashingPool, Requester};
use jeton_crypto::password::PasswordHash;
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ClientId, Reason, Secret, Timestamp};
use jeton_runtime::caller::CallerConnection;
use jeton_store::Store;
use jeton_store::clients::{ReplaceSecretHash, StoredClient, StoredSecret};

/// A shorter secret has less than the 128 random bits that make a digest impossible to guess from, whatever its alphabet.
const LENGTH_MIN: usize = 22;

/// Verifies such secrets.
#[derive(Clone, Debug)]
pub(super) struct HashedSecrets {
    pub(super) store: Store,
    pub(super) throttle: Throttle,
    pub(super) hashing: Arc<HashingPool>,
}

/// A secret to hold against the hashes of a client.
pub(super) struct Presented {
    client: ClientId,
    secret: Secret,
    /// The live secrets of the client of which there is a hash.
    hashed: Vec<StoredSecret>,
    /// Since when failures count.
    since: Timestamp,
    source: Source,
    caller: CallerConnection,
}

impl Presented {
    /// `None` if the client has no such secret among those that are `live`.
    pub(super) fn new<'a>(
        stored: &StoredClient,
        live: impl Iterator<Item = &'a StoredSecret>,
        secret: &Secret,
        source: Source,
        caller: &CallerConnection,
    ) -> Option<Self> {
        let hashed: Vec<_> = live.filter(|live| live.hash.is_some()).cloned().collect();
        // One more secret is a new beginning, as another password is for a user. So a client that is held back by
        // guesses of others can be helped without a key.
        let dates = stored.secrets.iter().map(|secret| secret.created_at);
        (!hashed.is_empty()).then(|| Self {
            client: stored.client.id.clone(),
            secret: secret.clone(),
            hashed,
            since: dates.fold(stored.created_at, Timestamp::max),
            source,
            caller: caller.clone(),
        })
    }
}

/// What came of a presented secret.
#[derive(Debug)]
pub(super) struct Verified {
    /// The number of the secret that it is.
    pub(super) outcome: Result<(i64, Replaced), Refusal>,
    /// What gets an audit event of its own.
    pub(super) incident: Option<Incident>,
}

/// Whether the digest of a secret is stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// This request has stored it.
    Now,
    /// The hash is not there any more: another request has replaced it, or the secret was removed.
    Gone,
    /// It could not be stored. The next use tries again.
    NotYet,
}

impl HashedSecrets {
    /// Verifies a secret, in a task of its own: a failure is counted even if the caller hangs up.
    ///
    /// # Errors
    /// [`Refusal`] if the task failed.
    pub(super) async fn verify(&self, presented: Presented) -> Result<Verified, Refusal> {
        let own = self.clone();
        let verify = tokio::spawn(async move {
            let mut audit = AuditContext::default();
            let outcome = own.attempt(&presented, &mut audit).await;
            let incident = audit.incident.map(|incident| match incident {
                Incident::AccountLocked => Incident::ClientLocked,
                other => other,
            });
            Verified { outcome, incident }
        });
        verify.await.map_err(|error| Refusal::Fault(error.to_string()))
    }

    async fn attempt(
        &self,
        presented: &Presented,
        audit: &mut AuditContext,
    ) -> Result<(i64, Replaced), Refusal> {
        // 1. Check that one more attempt may be made.
        let account = Account {
            of: AccountOf::Client(&presented.client),
            password_changed_at: presented.since,
        };
        let origin = Origin::of_client(presented.source);
        let attempt = self.throttle.admit(origin, account, &presented.caller).await;
        let attempt = attempt.map_err(as_client)?;
        // 2. Hold the secret against each hash. No database connection is held meanwhile.
        let first = presented.hashed.first().and_then(|secret| secret.hash.as_ref());
        let guess = self.throttle.guess(first, &presented.secret, None);
        match self.find(presented, &attempt).await {
            // 3. Store the digest in its place, and forget the failures, before the answer. The request goes on if
            //    that fails: the secret was right.
            Ok(Some(matched)) => {
                let replace = self.replace(presented, matched);
                let (replaced, recorded) = tokio::join!(replace, attempt.succeeded(false));
                if let Err(refusal) = recorded {
                    tracing::warn!(
                        "a use of a client secret is not recorded for throttling: {}",
                        refusal.label()
                    );
                }
                Ok((matched.number, replaced))
            }
            // 4. Count a failure before it is answered.
            Ok(None) => {
                let refusal = Reason::WrongClientSecret.into();
                Err(attempt.failed(refusal, guess, SentCode::None, audit).await)
            }
            Err(refusal @ Refusal::Protocol(_)) => {
                Err(attempt.failed(refusal, guess, SentCode::None, audit).await)
            }
            Err(refusal) => {
                attempt.not_made().await?;
                Err(refusal)
            }
        }
    }

    /// The secret that was presented, among those of which there is a hash.
    async fn find<'a>(
        &self,
        presented: &'a Presented,
        attempt: &Attempt<'_>,
    ) -> Result<Option<&'a StoredSecret>, Refusal> {
        let memory_max = self.hashing.limits().memory_per_thread;
        let mut usable = false;
        for stored in &presented.hashed {
            let text = stored.hash.as_ref().map_or("", Secret::expose);
            let Ok(hash) = PasswordHash::parse(text, memory_max) else {
                tracing::error!(
                    client_id = %presented.client,
                    secret = stored.number,
                    "the hash of this client secret cannot be used: it is damaged, or asks for more than --hash-memory \
                     allows a thread or for more than 16 times the work of ln=17,r=8,p=1; give the client another \
                     secret with `jeton client secret add`"
                );
                continue;
            };
            usable = true;
            // Other services hash the octets that they are sent (RFC 6749 §2.3.1), so no other form may match.
            let secret = Password::exact(presented.secret.clone());
            let requester =
                Requester { client: presented.client.clone(), known: attempt.is_known() };
            let caller = presented.caller.clone();
            let verify = self.hashing.verify(secret, Some(hash), false, requester, caller);
            if verify.await?.matches {
                return Ok(Some(stored));
            }
        }
        if usable { Ok(None) } else { Err(Reason::UnusableSecretHash.into()) }
    }

    async fn replace(&self, presented: &Presented, matched: &StoredSecret) -> Replaced {
        let Some(verified_hash) = matched.hash.clone() else { return Replaced::Gone };
        let replace = ReplaceSecretHash {
            id: presented.client.clone(),
            number: matched.number,
            verified_hash,
            digest: SecretDigest::of(&presented.secret).as_bytes().to_vec(),
        };
        match self.store.perform(replace).await {
            Ok(true) => {
                if presented.secret.expose().chars().count() < LENGTH_MIN {
                    tracing::warn!(
                        client_id = %presented.client,
                        secret = matched.number,
                        "this client secret is so short that whoever steals the database may find it from its digest: \
                         give the client another one with `jeton client secret add`"
                    );
                }
                Replaced::Now
            }
            Ok(false) => Replaced::Gone,
            Err(error) => {
                tracing::warn!(
                    client_id = %presented.client,
                    secret = matched.number,
                    "the hash of this client secret was not replaced, which its next use tries again: {error}"
                );
                Replaced::NotYet
            }
        }
    }
}

/// The refusal of an attempt, which looks like a wrong secret where that of a user looks like a wrong password.
fn as_client(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Protocol(Reason::ThrottledAccount) => Reason::ThrottledClient.into(),
        Refusal::Protocol(Reason::LockedAccount) => Reason::LockedClient.into(),
        other => other,
    }
}
