//! What is only known when it is asked for.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::super::tls::Validity;
use jeton_crypto::key_lifecycle::KeyState;
use jeton_crypto::key_set::KeySet;
use jeton_oauth::Timestamp;
use jeton_service::keys::KeyHealth;
use jeton_service::readiness::Need;
use jeton_store::PoolUse;

/// What readiness is told by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NeedLabels {
    need: &'static str,
}

/// What keys are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// How things stand when the metrics are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// What a login needs.
    pub needs: &'a [Need],
    /// The way to the database.
    pub pool: PoolUse,
    /// The signing keys.
    pub keys: &'a KeySet,
    /// All keys.
    pub health: KeyHealth,
    /// When the certificate of the public listener is good, if it speaks TLS.
    pub certificate: Option<Validity>,
    /// What time it is.
    pub time: Timestamp,
    /// By how many seconds the clock is ahead of the second one.
    pub clock_offset: f64,
}

/// What is only known when it is asked for.
#[derive(Debug, Default)]
pub(super) struct WhenAsked {
    ready: Family<NeedLabels, Gauge>,
    /// By how many seconds the clock is ahead of the second one.
    clock_offset: Gauge<f64, AtomicU64>,
    pool_capacity: Gauge,
    pool_in_use: Gauge,
    pool_waiting: Gauge,
    signing_key_age: Gauge,
    signing_keys: Family<StateLabels, Gauge>,
    keys_age: Gauge,
    keys_unusable: Gauge,
    next_key_published: Gauge,
    next_key_signs: Gauge,
    /// Nothing without TLS: a family of one, which is missing until it is set.
    certificate_expires: Family<[(&'static str, &'static str); 0], Gauge>,
}

impl WhenAsked {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let help = "Whether what a login needs is there, by need: 1, or 0; a login could succeed if all are 1";
        registry.register("ready", help, own.ready.clone());
        let help = "Connections to the database, or threads, that there are at most";
        registry.register("database_pool_capacity", help, own.pool_capacity.clone());
        let help = "Connections to the database, or threads, that are in use";
        registry.register("database_pool_in_use", help, own.pool_in_use.clone());
        let help = "Use cases that wait for a connection to the database, or a thread";
        registry.register("database_pool_waiting", help, own.pool_waiting.clone());
        let help = "Signing keys by state";
        registry.register("signing_keys", help, own.signing_keys.clone());
        let help = "Keys that are needed now or later and cannot be opened here";
        registry.register("keys_unusable", help, own.keys_unusable.clone());
        let mut spans = |name, help, span: &Gauge| {
            registry.register_with_unit(name, help, Unit::Seconds, span.clone());
        };
        spans("signing_key_age", "Since the signing key began to sign", &own.signing_key_age);
        spans("keys_age", "Since the keys were last read from the database", &own.keys_age);
        let help = "Until the next key is in the JWKS; 0 if it is";
        spans("next_signing_key_published", help, &own.next_key_published);
        spans("next_signing_key_signs", "Until the next key signs", &own.next_key_signs);
        let help = "By how much the clock is ahead of the database's, or of what it should show";
        registry.register_with_unit("clock_offset", help, Unit::Seconds, own.clock_offset.clone());
        let help = "Until the certificate expires; negative since it has";
        let expires = own.certificate_expires.clone();
        registry.register_with_unit("tls_certificate_expires", help, Unit::Seconds, expires);
        own
    }

    pub(super) fn set(&self, now: &Now<'_>) {
        let Now { needs, pool, keys, health, certificate, time, clock_offset } = *now;
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for Need { name: need, met } in needs.iter().copied() {
            let labels = NeedLabels { need };
            match met {
                Some(met) => drop(self.ready.get_or_create(&labels).set(i64::from(met))),
                // Nobody asked lately: no value is better than an old one.
                None => drop(self.ready.remove(&labels)),
            }
        }
        self.clock_offset.set(clock_offset);
        self.pool_capacity.set(gauge(pool.capacity));
        self.pool_in_use.set(gauge(pool.in_use));
        self.pool_waiting.set(gauge(pool.waiting));
        for state in [KeyState::Published, KeyState::Signing, KeyState::Verifying] {
            let labels = StateLabels { state: state.as_str() };
            self.signing_keys.get_or_create(&labels).set(gauge(keys.count(state)));
        }
        let until = |at: Option<Timestamp>| at.map_or(0, |at| at.since(time).get());
        self.keys_age.set(health.age.get());
        self.keys_unusable.set(gauge(health.unusable));
        self.next_key_published.set(until(health.next_published_at));
        self.next_key_signs.set(until(health.next_signs_at));
        if let Some(key) = keys.signing() {
            self.signing_key_age.set(time.since(key.dates.activates_at).get());
        }
        if let Some(Validity { not_after, .. }) = certificate {
            self.certificate_expires.get_or_create(&[]).set(not_after.0.saturating_sub(time.0));
        }
    }
}
