//! The servers of a URL, and connecting to one that is suitable.
//!
//! The driver also tries hosts and addresses one after the other, but without a time limit for each: one that does not
//! answer would use up the time of all.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postgres_openssl::{MakeTlsConnector, TlsStream};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Client, Config, Connection, Socket};

use super::super::StoreError;
use super::failure::describe;

/// How long connecting to the servers of a URL may take in total.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The least time for each of them.
const SHARE_MIN: Duration = Duration::from_millis(500);

/// The port of PostgreSQL, where a URL names none.
const PORT: u16 = 5432;

/// A client with the connection that its task drives.
pub(super) type Connected = (Client, Connection<Socket, TlsStream<Socket>>);

/// One address of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: Option<u16>,
}

pub(super) struct Hosts {
    config: Config,
    pub(super) tls: MakeTlsConnector,
    /// Whether a pooler was already logged.
    pub(super) pooler_met: AtomicBool,
    /// How often connections were replaced all at once.
    era: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Servers that could not be reached at the last attempt. They are tried last.
    failed: Vec<Target>,
    /// The server that was reached last.
    current: Option<Target>,
    /// Counts connections, so that with load balancing each begins with another server.
    turn: usize,
}

impl Hosts {
    pub(super) fn new(config: Config, tls: MakeTlsConnector) -> Self {
        Self {
            config,
            tls,
            pooler_met: AtomicBool::new(false),
            era: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// The era of connections, as a number. A new one begins when all connections are to be replaced.
    pub(super) fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    /// Ends this era, unless it has ended. Its connections are not used again.
    pub(super) fn end_era(&self, era: u64) {
        let after = era.wrapping_add(1);
        self.era.compare_exchange(era, after, Ordering::SeqCst, Ordering::SeqCst).ok();
    }

    /// Whether another server has taken over: this one could not be reached at the last attempt, and another one could.
    pub(super) fn has_left(&self, target: &Target) -> bool {
        self.with_state(|state| {
            state.failed.contains(target) && state.current.as_ref() != Some(target)
        })
    }

    /// Connects to the first server that answers in its share of the time and accepts the session.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] with the errors of all of them.
    pub(super) async fn connect(&self) -> Result<(Connected, Target), StoreError> {
        let end = Instant::now() + CONNECT_TIMEOUT;
        let mut problems = Vec::new();
        let targets = self.targets(end, &mut problems).await;
        for (index, target) in targets.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let others = u32::try_from(targets.len() - index).unwrap_or(u32::MAX);
            let share = (left / others).max(SHARE_MIN).min(left);
            if share.is_zero() {
                break;
            }
            let config = self.config_for(target, share);
            let problem = match timeout(share, config.connect(self.tls.clone())).await {
                Ok(Ok(connected)) => {
                    self.with_state(|state| {
                        state.failed.retain(|failed| failed != target);
                        state.current = Some(target.clone());
                    });
                    return Ok((connected, target.clone()));
                }
                Ok(Err(error)) => describe(&error),
                Err(_) => "no answer in time".to_owned(),
            };
            self.with_state(|state| {
                if !state.failed.contains(target) {
                    state.failed.push(target.clone());
                }
            });
            problems.push(if targets.len() > 1 { format!("{target}: {problem}") } else { problem });
        }
        Err(StoreError::Unavailable(problems.join("; ")))
    }

    /// The addresses of all hosts, in the order in which they are tried.
    async fn targets(&self, end: Instant, problems: &mut Vec<String>) -> Vec<Target> {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let ports = self.config.get_ports();
        let mut targets = Vec::new();
        for index in 0..hosts.len().max(addresses.len()) {
            let port = ports.get(index).or(ports.first()).copied();
            let (host, address) = (hosts.get(index).cloned(), addresses.get(index).copied());
            match (&host, address) {
                (Some(Host::Tcp(name)), None) => {
                    let lookup = lookup_host((name.as_str(), port.unwrap_or_default()));
                    match timeout_at(end, lookup).await {
                        Ok(Ok(found)) => targets.extend(found.map(|address| Target {
                            host: host.clone(),
                            address: Some(address.ip()),
                            port,
                        })),
                        Ok(Err(error)) => problems.push(format!("{name}: {error}")),
                        Err(_) => problems.push(format!("{name}: its name was not found in time")),
                    }
                }
                _ => targets.push(Target { host, address, port }),
            }
        }
        let balances = self.config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        self.with_state(|state| {
            if balances && !targets.is_empty() {
                state.turn = (state.turn + 1) % targets.len();
                targets.rotate_left(state.turn);
            }
            state.failed.retain(|failed| targets.contains(failed));
            targets.sort_by_key(|target| state.failed.contains(target));
        });
        targets
    }

    /// The settings of the URL, for one server.
    fn config_for(&self, target: &Target, share: Duration) -> Config {
        let all = &self.config;
        let mut config = Config::new();
        match &target.host {
            Some(Host::Tcp(name)) => _ = config.host(name),
            Some(Host::Unix(folder)) => _ = config.host_path(folder),
            None => {}
        }
        target.address.map(|address| config.hostaddr(address));
        target.port.map(|port| config.port(port));
        all.get_user().map(|user| config.user(user));
        all.get_password().map(|password| config.password(password));
        all.get_dbname().map(|name| config.dbname(name));
        all.get_options().map(|options| config.options(options));
        all.get_application_name().map(|name| config.application_name(name));
        all.get_tcp_user_timeout().map(|limit| config.tcp_user_timeout(*limit));
        all.get_keepalives_interval().map(|interval| config.keepalives_interval(interval));
        all.get_keepalives_retries().map(|retries| config.keepalives_retries(retries));
        config
            .connect_timeout(share)
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .ssl_mode(all.get_ssl_mode())
            .ssl_negotiation(all.get_ssl_negotiation())
            .channel_binding(all.get_channel_binding())
            .target_session_attrs(all.get_target_session_attrs());
        config
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Target {
    pub(super) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Its port, or that of PostgreSQL if the URL names none.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.host, &self.address) {
            (Some(Host::Tcp(name)), Some(address)) if *name != address.to_string() => {
                write!(formatter, "{name} ({address})")?;
            }
            (Some(Host::Tcp(name)), _) => write!(formatter, "{name}")?,
            (Some(Host::Unix(folder)), _) => write!(formatter, "{}", folder.display())?,
            (None, Some(address)) => write!(formatter, "{address}")?,
            (None, None) => {}
        }
        self.port.map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}
