//! Checks settings together and with the machine, before anything is touched.

use std::sync::Arc;

use super::super::memory_limit::MemoryLimit;
use super::super::{Failure, machine};
use super::exposure;
use crate::config::{KeySettings, ServeSettings};
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::key_lifecycle::Schedule;
use jeton_http::server::memory_bound;
use jeton_http::tls::Certificate;
use jeton_oauth::{ClientId, Invalid, Issuer};
use jeton_service::keys::key_store::KeyStore;
use jeton_store::replicas::ReplicaSettings;
use jeton_store::{DatabaseLocation, Store, migration};

/// The result of these checks.
pub(in crate::cli) struct Plan {
    pub(in crate::cli) hashing: HashingLimits,
    /// How much memory this process may use, and what limits it.
    pub(in crate::cli) memory_limit: Option<MemoryLimit>,
    pub(in crate::cli) certificate: Option<Arc<Certificate>>,
    pub(in crate::cli) default_client: Option<ClientId>,
    /// How many connections can be open at once.
    pub(in crate::cli) connections_max: usize,
    /// The most octets that they can take.
    pub(in crate::cli) connections_memory: usize,
    /// Sentences about files with secrets that others can read or replace.
    pub(in crate::cli) exposed: Vec<String>,
}

impl Plan {
    /// Checks what can be checked without the database and the network.
    pub(in crate::cli) fn make(settings: &ServeSettings) -> Result<Self, Failure> {
        issuer(settings, settings.listen.port())?;
        let certificate = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(chain), Some(key)) => {
                Some(Arc::new(Certificate::load(chain.clone(), key.clone())?))
            }
            _ => None,
        };
        let protected = certificate.is_some() || settings.behind_tls_proxy;
        if !protected && !settings.listen.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "--listen {} would carry passwords in the clear: name --tls-certificate and \
                 --tls-key, or say --behind-tls-proxy if a proxy speaks TLS before it",
                settings.listen
            )));
        }
        trusted_proxies(settings)?;
        schedule(&settings.keys).check()?;
        let (idle, lifetime) = (settings.refresh_token_idle, settings.session_lifetime);
        if idle > lifetime {
            return Err(Failure::usage(format!(
                "--refresh-token-idle {idle} is longer than --session-lifetime {lifetime}: no \
                 session lives that long; shorten the first or lengthen the second"
            )));
        }
        let connections_max = machine::connections_max(settings.max_connections);
        let default_client = settings.default_client.as_deref().map(str::parse).transpose();
        Ok(Self {
            hashing: machine::hashing_limits(
                &settings.hashing,
                settings.login_deadline,
                settings.hash_memory_idle,
            )?,
            memory_limit: machine::memory_limit(),
            certificate,
            connections_max,
            connections_memory: memory_bound(connections_max),
            exposed: exposure::look(settings)?,
            default_client: default_client
                .map_err(|error: Invalid| Failure::usage(format!("--default-client: {error}")))?,
        })
    }
}

/// Refuses trusted proxies if none of them can connect. A proxy that cannot connect may still be named by one that can.
fn trusted_proxies(settings: &ServeSettings) -> Result<(), Failure> {
    let (proxies, listener) = (&settings.trusted_proxy, settings.listen.ip());
    if proxies.is_empty() || proxies.iter().any(|network| network.may_reach(listener)) {
        return Ok(());
    }
    let remedy = if listener.is_loopback() {
        format!("callers of a loopback address have one themselves: add --trusted-proxy {listener}")
    } else {
        "name the addresses that the proxies connect from, which are of the family of the listener's"
            .to_owned()
    };
    Err(Failure::usage(format!(
        "--trusted-proxy can never match: nobody there reaches --listen {}; {remedy}, or listen elsewhere",
        settings.listen
    )))
}

/// The issuer as set, or derived from the listener.
pub(in crate::cli) fn issuer(settings: &ServeSettings, port: u16) -> Result<Issuer, Failure> {
    match &settings.issuer {
        Some(text) => {
            text.parse().map_err(|problem| Failure::usage(format!("--issuer: {problem}")))
        }
        None if settings.listen.ip().is_loopback() && settings.tls_certificate.is_none() => {
            Ok(format!("http://localhost:{port}").parse()?)
        }
        None => Err(Failure::usage(
            "--issuer is missing: name the URL under which clients reach this service, as \
             https://auth.example.com",
        )),
    }
}

/// Requires that the database role may do what the service must, and if `migrates`, what migrations need.
pub(in crate::cli) async fn require_rights(
    store: &Store,
    location: &DatabaseLocation,
    migrates: bool,
) -> Result<(), Failure> {
    let missing = store.missing_rights(migrates).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the role of the database {location} (--database) lacks {}: grant that to it, or let a role that \
         has it run `jeton db migrate`",
        missing.join(", ")
    )))
}

/// The key store of a database, with these settings.
pub(in crate::cli) fn key_store(store: Store, settings: &KeySettings) -> KeyStore {
    KeyStore {
        store,
        master_key_files: settings.master.master_key_file.clone(),
        bits: settings.key_bits,
        schedule: schedule(settings),
    }
}

/// The settings of this replica that other replicas and the command line must know.
pub(super) fn replica_settings(settings: &ServeSettings, issuer: &Issuer) -> ReplicaSettings {
    ReplicaSettings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        issuer: issuer.as_str().to_owned(),
        jwks_max_age: settings.keys.jwks_max_age,
        key_rotation: settings.keys.key_rotation,
        knows_migration: migration::status_of_nothing().known,
    }
}

fn schedule(settings: &KeySettings) -> Schedule {
    Schedule::new(settings.key_rotation, settings.jwks_max_age)
}
