//! Client secrets that came from another service as hashes. The first use of one replaces its hash by a digest.
//!
//! Other services let people choose secrets, and a hash takes long to compute. So until then a secret is treated as a
//! password is: the same throttle, the same threads, the same bounds.

use std::sync::Arc;

use crate::incident::Incident;
use crate::keys::Keys;
use crate::throttle::origin::{Origin, Source};
use crate::throttle::{Account, AccountOf, Attempt, SentCode, Throttle};
use crate::{AuditContext, Refusal};
use jeton_crypto::data_key::sealed_under;
use jeton_crypto::digest::SecretDigest;
use jeton_crypto::hashing_pool::{HashingPool, Requester};
use jeton_crypto::password::PasswordHash;
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{ClientId, KeyId, Reason, Secret, Timestamp};
use jeton_runtime::caller::CallerConnection;
use jeton_store::Store;
use jeton_store::clients::{ReplaceSecretHash, StoredClient, StoredSecret};

/// A shorter secret has less than the 128 random bits that make a digest impossible to guess from, whatever its alphabet.
const LENGTH_MIN: usize = 22;

/// Verifies such secrets.
#[derive(Clone, Debug)]
pub(super) struct HashedSecrets {
    pub(super) store: Store,
    /// Opens hashes that are sealed.
    pub(super) keys: Arc<Keys>,
    pub(super) throttle: Throttle,
    pub(super) hashing: Arc<HashingPool>,
}

/// A secret of which there is a hash.
struct Hashed {
    number: i64,
    /// As it is stored, perhaps sealed.
    stored: Secret,
    /// The hash. One that was altered stays sealed, and is then no hash that can be used.
    hash: Secret,
}

/// A secret to hold against the hashes of a client.
pub(super) struct Presented {
    client: ClientId,
    secret: Secret,
    /// The live secrets of the client of which there is a hash.
    hashed: Vec<Hashed>,
    /// Since when failures count.
    since: Timestamp,
    source: Source,
    caller: CallerConnection,
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
    /// The hash is not there any more as it was: another request has replaced it, it was sealed or opened, or the secret
    /// was removed.
    Gone,
    /// It could not be stored. The next use tries again.
    NotYet,
}

impl HashedSecrets {
    /// Opens the hashes of the secrets of a client that are `live`. `None` if there are none.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if a data key cannot be opened here: without it a right secret looks like a wrong one.
    pub(super) async fn open<'a>(
        &self,
        stored: &StoredClient,
        live: impl Iterator<Item = &'a StoredSecret>,
        secret: &Secret,
        source: Source,
        caller: &CallerConnection,
    ) -> Result<Option<Presented>, Refusal> {
        let live: Vec<_> =
            live.filter_map(|live| Some((live.number, live.hash.clone()?))).collect();
        if live.is_empty() {
            return Ok(None);
        }
        let client = stored.client.id.clone();
        let ids: Vec<KeyId> = live.iter().filter_map(|(_, text)| sealed_under(text)).collect();
        let keys = self.keys.data_keys(&ids.iter().collect::<Vec<_>>()).await?;
        let open = |(number, stored): (i64, Secret)| {
            let hash = keys.open(&client, &stored).unwrap_or_else(|_| stored.clone());
            Hashed { number, stored, hash }
        };
        let hashed = live.into_iter().map(open).collect();
        // One more secret is a new beginning, as another password is for a user. So a client that is held back by
        // guesses of others can be helped without a key.
        let dates = stored.secrets.iter().map(|secret| secret.created_at);
        let since = dates.fold(stored.created_at, Timestamp::max);
        let (secret, caller) = (secret.clone(), caller.clone());
        Ok(Some(Presented { client, secret, hashed, since, source, caller }))
    }

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
        let first = presented.hashed.first().map(|secret| &secret.hash);
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
    ) -> Result<Option<&'a Hashed>, Refusal> {
        let memory_max = self.hashing.limits().memory_per_thread;
        let mut usable = false;
        for own in &presented.hashed {
            let Ok(hash) = PasswordHash::parse(own.hash.expose(), memory_max) else {
                tracing::error!(
                    client_id = %presented.client,
                    secret = own.number,
                    "the hash of this client secret cannot be used: it is damaged, or another client's, or asks for more than --hash-memory \
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
                return Ok(Some(own));
            }
        }
        if usable { Ok(None) } else { Err(Reason::UnusableSecretHash.into()) }
    }

    async fn replace(&self, presented: &Presented, matched: &Hashed) -> Replaced {
        let replace = ReplaceSecretHash {
            id: presented.client.clone(),
            number: matched.number,
            verified_hash: matched.stored.clone(),
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
