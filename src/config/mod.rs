//! Every setting: its name, meaning, default and bounds.
//!
//! A setting is a flag and an environment variable `JETON_…` of the same name. Values are parsed into types that cannot
//! hold a wrong one. What settings must satisfy together, and on this machine, is checked in `cli/serve/`. The comments
//! of fields with `#[arg]` are the text of `--help`.

mod byte_size;
mod database;
mod log_filter;

use std::fmt::{self, Display};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

pub use byte_size::ByteSize;
pub use database::{AdministeredDatabase, DatabaseSettings, claimed_name, location_in_file};
use jeton_http::TrustedProxy;
use jeton_oauth::lifetime::{ACCESS_TOKEN_LIFETIME_MAX, SESSION_LIFETIME_MAX};
use jeton_oauth::{CorsOrigin, Invalid, RetryWindow, ScryptCost, Seconds};
pub use log_filter::{AUDIT_TARGET, LogFilter};

const HOUR: Seconds = Seconds::new(3_600);
const YEAR: Seconds = Seconds::new(365 * 86_400);

/// The settings of `jeton serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeSettings {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// The address of the public listener, which carries the protocol
    #[arg(
        long,
        env = "JETON_LISTEN",
        default_value = "127.0.0.1:8080",
        value_parser = address,
        value_name = "ADDRESS"
    )]
    pub listen: SocketAddr,

    /// The address of the management listener: /livez, /readyz and /metrics
    #[arg(
        long,
        env = "JETON_MANAGEMENT_LISTEN",
        default_value = "127.0.0.1:8081",
        value_parser = address,
        value_name = "ADDRESS"
    )]
    pub management_listen: SocketAddr,

    /// The issuer identifier: `iss` in tokens and the base of the URLs in the metadata; https,
    /// or http on a loopback host [default: `http://localhost:PORT` on a loopback listener]
    #[arg(long, env = "JETON_ISSUER", value_name = "URL")]
    pub issuer: Option<String>,

    /// How long access tokens live, at most 1h
    #[arg(
        long,
        env = "JETON_ACCESS_TOKEN_LIFETIME",
        default_value = "10m",
        value_parser = duration(Seconds::new(1), ACCESS_TOKEN_LIFETIME_MAX),
        value_name = "DURATION"
    )]
    pub access_token_lifetime: Seconds,

    /// How long a session lives without being refreshed; clients can have their own
    #[arg(
        long,
        env = "JETON_REFRESH_TOKEN_IDLE",
        default_value = "14d",
        value_parser = session_lifetime,
        value_name = "DURATION"
    )]
    pub refresh_token_idle: Seconds,

    /// How long a session lives however often it is refreshed, at most 365d; clients can have their own
    #[arg(
        long,
        env = "JETON_SESSION_LIFETIME",
        default_value = "30d",
        value_parser = session_lifetime,
        value_name = "DURATION"
    )]
    pub session_lifetime: Seconds,

    /// How long an exchanged refresh token gets the same successor again, while that was not used: 0s to 10m, or
    /// until-used; clients can have their own [default: until-used for confidential clients, 2m for public ones]
    #[arg(long, env = "JETON_REFRESH_RETRY_WINDOW", value_name = "DURATION|until-used")]
    pub refresh_retry_window: Option<RetryWindow>,

    /// How many sessions a user may have through one client; one more ends the oldest. Of sessions that cannot be
    /// refreshed there may be 10000
    #[arg(
        long,
        env = "JETON_SESSIONS_PER_USER_AND_CLIENT",
        default_value = "50",
        value_parser = number(1_i64, 10_000),
        value_name = "NUMBER"
    )]
    pub sessions_per_user_and_client: i64,

    /// The keys.
    #[command(flatten)]
    pub keys: KeySettings,

    /// Password hashing.
    #[command(flatten)]
    pub hashing: HashingSettings,

    /// The longest wait for a password to be verified, 1s to 1m; a login that would wait longer is answered 503 at once
    #[arg(
        long,
        env = "JETON_LOGIN_DEADLINE",
        default_value = "3s",
        value_parser = duration(Seconds::new(1), Seconds::new(60)),
        value_name = "DURATION"
    )]
    pub login_deadline: Seconds,

    /// How long the service goes on serving when it is told to stop, 0s to 10m; requests that are left then are
    /// answered 503 [default: --login-deadline + 7s]
    #[arg(long, env = "JETON_DRAIN", value_parser = duration(Seconds::new(0), Seconds::new(600)), value_name = "DURATION")]
    pub drain: Option<Seconds>,

    /// How long a hashing thread without work keeps its memory before it gives it back to the system, 1s to
    /// 365d; the next login then waits some hundredths of a second longer
    #[arg(
        long,
        env = "JETON_HASH_MEMORY_IDLE",
        default_value = "30s",
        value_parser = duration(Seconds::new(1), YEAR),
        value_name = "DURATION"
    )]
    pub hash_memory_idle: Seconds,

    /// A public client for password requests that name none
    #[arg(long, env = "JETON_DEFAULT_CLIENT", value_name = "CLIENT_ID")]
    pub default_client: Option<String>,

    /// A browser origin that may call /token, as `https://app.example.com`; repeatable. "loopback"
    /// stands for every origin on this machine, for development
    #[arg(long, env = "JETON_CORS_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origin: Vec<CorsOrigin>,

    /// A network of proxies whose X-Forwarded-For is believed, as 10.0.0.0/8; repeatable
    #[arg(long, env = "JETON_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    pub trusted_proxy: Vec<TrustedProxy>,

    /// The certificate chain of the public listener, PEM; read again when it changes
    #[arg(long, env = "JETON_TLS_CERTIFICATE", requires = "tls_key", value_name = "PATH")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key of the certificate, PEM; read again when it changes
    #[arg(long, env = "JETON_TLS_KEY", requires = "tls_certificate", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Tell browsers to use TLS for this host but not for its subdomains (HSTS without includeSubDomains); browsers are
    /// told if Jeton speaks TLS itself
    #[arg(long, env = "JETON_HSTS_HOST_ONLY", value_parser = switch)]
    pub hsts_host_only: bool,

    /// Allow plain HTTP on a listener that is not loopback, because a proxy speaks TLS before it
    #[arg(long, env = "JETON_BEHIND_TLS_PROXY", value_parser = switch)]
    pub behind_tls_proxy: bool,

    /// How many connections are open at once, on the public listener
    #[arg(
        long,
        env = "JETON_MAX_CONNECTIONS",
        default_value = "10000",
        value_parser = number(1_usize, 1_000_000),
        value_name = "NUMBER"
    )]
    pub max_connections: usize,

    /// How long a connection without a request is kept, 1s to 1h; it is closed earlier if another caller needs it
    #[arg(
        long,
        env = "JETON_CONNECTION_IDLE",
        default_value = "1m",
        value_parser = duration(Seconds::new(1), HOUR),
        value_name = "DURATION"
    )]
    pub connection_idle: Seconds,

    /// The same for connections from --trusted-proxy; set it longer than the proxy keeps them, so that the proxy closes
    /// them and never sends a request into one that was just closed
    #[arg(
        long,
        env = "JETON_PROXY_CONNECTION_IDLE",
        default_value = "620s",
        value_parser = duration(Seconds::new(1), HOUR),
        value_name = "DURATION"
    )]
    pub proxy_connection_idle: Seconds,

    /// Logging.
    #[command(flatten)]
    pub log: LogSettings,
}

impl ServeSettings {
    /// How long the service goes on serving when told to stop, at most. The default suffices for a login that waits for
    /// its turn and is then hashed.
    #[must_use]
    pub fn drain(&self) -> Seconds {
        self.drain.unwrap_or(Seconds::new(self.login_deadline.get() + 7))
    }

    /// What is wrong with `--drain`, if anything. The service starts nevertheless.
    #[must_use]
    pub fn drain_problem(&self) -> Option<String> {
        let (drain, deadline) = (self.drain(), self.login_deadline);
        (drain < deadline).then(|| {
            format!(
                "--drain {drain} is shorter than --login-deadline {deadline}: when the service stops, logins \
                 that still wait for their turn then are answered 503"
            )
        })
    }
}

/// The settings of password hashing, for `serve` and for commands that check hashes.
#[derive(Args, Clone, Debug)]
pub struct HashingSettings {
    /// The cost of new password hashes, at least that of ln=17,r=8,p=1 or an equivalent, and at most 16 times its work
    #[arg(long, env = "JETON_SCRYPT", default_value = "ln=17,r=8,p=1", value_name = "COST")]
    pub scrypt: ScryptCost,

    /// How many threads hash passwords, each several at once if it has memory for them [default: what makes most
    /// logins with the memory, at most one a core]
    #[arg(long, env = "JETON_HASH_THREADS", value_parser = number(1_usize, 1_024), value_name = "NUMBER")]
    pub hash_threads: Option<usize>,

    /// The memory that password hashing may use, all threads together; `jeton bench hash` measures what more memory
    /// gives [default: what makes most logins, at most a quarter of the memory limit of the cgroup or machine; one hash
    /// in each thread up to half of it]
    #[arg(long, env = "JETON_HASH_MEMORY", value_name = "SIZE")]
    pub hash_memory: Option<ByteSize>,
}

/// The settings of keys. They must be the same for `jeton serve` on every replica and for `jeton key`.
#[derive(Args, Clone, Debug)]
pub struct KeySettings {
    /// The master key.
    #[command(flatten)]
    pub master: MasterKeySettings,

    /// How long a signing key signs, at most 365d
    #[arg(
        long,
        env = "JETON_KEY_ROTATION",
        default_value = "30d",
        value_parser = duration(Seconds::new(1), YEAR),
        value_name = "DURATION"
    )]
    pub key_rotation: Seconds,

    /// The size of new signing keys: 2048, 3072 or 4096
    #[arg(
        long,
        env = "JETON_KEY_BITS",
        default_value = "2048",
        value_parser = key_bits,
        value_name = "BITS"
    )]
    pub key_bits: u32,

    /// How long verifiers may cache the JWKS, 1s to 1h; a new key is published 2 x this + 1m before it signs
    #[arg(
        long,
        env = "JETON_JWKS_MAX_AGE",
        default_value = "10m",
        value_parser = duration(Seconds::new(1), HOUR),
        value_name = "DURATION"
    )]
    pub jwks_max_age: Seconds,
}

/// The settings of the master key.
#[derive(Args, Clone, Debug)]
pub struct MasterKeySettings {
    /// A file with a key that seals the private keys in the database; repeatable: the first
    /// seals, all open. The first is made if it does not exist and nothing was sealed yet
    #[arg(
        long,
        env = "JETON_MASTER_KEY_FILE",
        default_value = "keys/master.jwk",
        value_delimiter = ',',
        value_name = "PATH"
    )]
    pub master_key_file: Vec<PathBuf>,
}

/// The settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// What is logged: a level (off, error, warn, info, debug, trace), and others for single targets, as
    /// info,jeton=debug. Audit events are logged unless `jeton::audit` itself is named
    #[arg(long, env = "JETON_LOG", default_value = "info", value_name = "FILTER")]
    pub log: LogFilter,

    /// The form of the log: text or json [default: text on a terminal, else json]
    #[arg(long, env = "JETON_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON objects, one a line.
    Json,
}

impl Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Reads a duration between two bounds.
fn duration(
    least: Seconds,
    most: Seconds,
) -> impl Fn(&str) -> Result<Seconds, Invalid> + Clone + Send + Sync {
    move |text| {
        let span: Seconds = text.parse()?;
        if span < least || span > most {
            return Err(Invalid::new(format!("it must be {least} to {most}")));
        }
        Ok(span)
    }
}

/// Parses how long a session may live, or live without being refreshed.
///
/// # Errors
/// What is wrong with the text.
pub fn session_lifetime(text: &str) -> Result<Seconds, Invalid> {
    duration(Seconds::new(1), SESSION_LIFETIME_MAX)(text)
}

/// Reads a number between two bounds.
fn number<T: FromStr + PartialOrd + Display + Copy + Send + Sync>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, Invalid> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Invalid::new(format!("it must be a number from {least} to {most}"))),
    }
}

/// Reads the address of a listener: a host, which may be a name such as `localhost`, and a port.
///
/// # Errors
/// What would be right.
pub fn address(text: &str) -> Result<SocketAddr, Invalid> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(Invalid::new(
            "write a host and a port, as 127.0.0.1:8080, [::1]:8080 or localhost:8080",
        ));
    }
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| {
            Invalid::new(format!("the host cannot be resolved: {error}; write its address"))
        })?
        .collect();
    // A name of this machine often has an address of each family, and what connects tries the older one too.
    let address = found.iter().find(|address| address.is_ipv4()).or(found.first());
    address.copied().ok_or(Invalid::new("the host has no address"))
}

fn key_bits(text: &str) -> Result<u32, Invalid> {
    match text {
        "2048" => Ok(2_048),
        "3072" => Ok(3_072),
        "4096" => Ok(4_096),
        _ => Err(Invalid::new("it must be 2048, 3072 or 4096")),
    }
}

/// Parses a switch: `1`, `true`, `yes` or `on`, or `0`, `false`, `no` or `off`, in any case.
///
/// # Errors
/// What may be written.
pub fn switch(text: &str) -> Result<bool, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Invalid::new("write true, yes, on or 1, or false, no, off or 0")),
    }
}
