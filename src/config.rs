//! Every setting: its name, its meaning, its default and what it may be.
//!
//! A setting is a flag and an environment variable `JETON_…` of the same name. Values are parsed
//! into types that cannot hold a wrong one; what settings must satisfy together, and with the
//! machine, is checked where the parts are put together (`cli/serve.rs`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use ipnet::IpNet;

use crate::clock::Seconds;
use crate::secret::Secret;

/// Where the data is; common to all commands.
#[derive(Args, Clone, Debug)]
pub struct DatabaseSettings {
    /// The database: `sqlite:PATH`, or `postgres://USER:PASSWORD@HOST/NAME` with sslmode,
    /// sslrootcert, `target_session_attrs` and several hosts as libpq knows them
    #[arg(
        long,
        env = "JETON_DATABASE",
        default_value = "sqlite:jeton.db",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: DatabaseLocation,
}

/// The settings of `jeton serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeSettings {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// The address of the public listener, which carries the protocol
    #[arg(long, env = "JETON_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The address of the management listener: /livez, /readyz and /metrics
    #[arg(
        long,
        env = "JETON_MANAGEMENT_LISTEN",
        default_value = "127.0.0.1:8081",
        value_name = "ADDRESS"
    )]
    pub management_listen: SocketAddr,

    /// The issuer identifier: `iss` in tokens and the base of the URLs in the metadata; https,
    /// or http on a loopback host [default: `http://localhost:PORT` on a loopback listener]
    #[arg(long, env = "JETON_ISSUER", value_name = "URL")]
    pub issuer: Option<String>,

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

    /// How long access tokens live, at most 1h
    #[arg(
        long,
        env = "JETON_ACCESS_TOKEN_LIFETIME",
        default_value = "10m",
        value_parser = access_token_lifetime,
        value_name = "DURATION"
    )]
    pub access_token_lifetime: Seconds,

    /// The size of new signing keys: 2048, 3072 or 4096
    #[arg(
        long,
        env = "JETON_KEY_BITS",
        default_value = "2048",
        value_parser = key_bits,
        value_name = "BITS"
    )]
    pub key_bits: u32,

    /// How long verifiers may cache the JWKS, 1m to 1h
    #[arg(
        long,
        env = "JETON_JWKS_MAX_AGE",
        default_value = "10m",
        value_parser = jwks_max_age,
        value_name = "DURATION"
    )]
    pub jwks_max_age: Seconds,

    /// The cost of new password hashes, at least that of ln=17,r=8,p=1 or an equivalent
    #[arg(long, env = "JETON_SCRYPT", default_value = "ln=17,r=8,p=1", value_name = "COST")]
    pub scrypt: ScryptCost,

    /// How many passwords are hashed at once [default: one a core, as far as memory allows]
    #[arg(long, env = "JETON_HASH_THREADS", value_parser = hash_threads, value_name = "NUMBER")]
    pub hash_threads: Option<usize>,

    /// The memory that password hashing may use, all threads together [default: 128MiB, or one
    /// hash's need if greater, a thread; at most half of the memory limit of the cgroup or machine]
    #[arg(long, env = "JETON_HASH_MEMORY", value_name = "SIZE")]
    pub hash_memory: Option<ByteSize>,

    /// The longest wait for a password to be verified, 1s to 1m; a login that would wait longer is
    /// answered 503 at once
    #[arg(
        long,
        env = "JETON_LOGIN_DEADLINE",
        default_value = "3s",
        value_parser = login_deadline,
        value_name = "DURATION"
    )]
    pub login_deadline: Seconds,

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

    /// Allow plain HTTP on a listener that is not loopback, because a proxy speaks TLS before it
    #[arg(long, env = "JETON_BEHIND_TLS_PROXY")]
    pub behind_tls_proxy: bool,

    /// How many connections are open at once, on the public listener
    #[arg(
        long,
        env = "JETON_MAX_CONNECTIONS",
        default_value = "10000",
        value_parser = max_connections,
        value_name = "NUMBER"
    )]
    pub max_connections: usize,

    /// Logging.
    #[command(flatten)]
    pub log: LogSettings,
}

/// The settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// What is logged: a filter such as info,jeton=debug
    #[arg(long, env = "JETON_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,

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

/// Where the data is.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// The embedded store: the path of its file.
    Sqlite(PathBuf),
    /// PostgreSQL: the URL, which may hold a password.
    Postgres(Secret),
}

impl FromStr for DatabaseLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text.to_owned())));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err("write it as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseLocation {
    /// The location without its password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => {
                let url = url.expose();
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
                let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
                let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
                let name = user.split_once(':').map_or(user, |(name, _)| name);
                let at = if name.is_empty() { "" } else { "@" };
                write!(formatter, "{scheme}://{name}{at}{place}")
            }
        }
    }
}

/// The cost of a scrypt hash (RFC 7914 §2): `N = 2^ln`, block size `r`, parallelisation `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    /// The binary logarithm of `N`.
    pub ln: u8,
    /// The block size.
    pub r: u32,
    /// How many times the memory is filled.
    pub p: u32,
}

impl ScryptCost {
    /// The recommendation of the OWASP Password Storage Cheat Sheet: 128 MiB.
    pub const RECOMMENDED: Self = Self { ln: 17, r: 8, p: 1 };

    /// The memory that one hash takes, in octets: `128 · N · r`.
    #[must_use]
    pub fn memory(self) -> u64 {
        (128 * u64::from(self.r)) << self.ln.min(40)
    }

    /// Whether new hashes may cost this: at least what OWASP ASVS 5.0 approves.
    fn is_approved(self) -> bool {
        let least_ln = match self.p {
            0 => return false,
            1 => 17,
            2 => 16,
            _ => 15,
        };
        self.ln >= least_ln && self.ln <= 24 && (8..=32).contains(&self.r) && self.p <= 16
    }
}

impl fmt::Display for ScryptCost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ln={},r={},p={}", self.ln, self.r, self.p)
    }
}

impl FromStr for ScryptCost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(',');
            let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse::<u32>().ok();
            let (ln, r, p) = (number("ln=")?, number("r=")?, number("p=")?);
            let cost = Self { ln: u8::try_from(ln).ok()?, r, p };
            (parts.next().is_none() && cost.is_approved()).then_some(cost)
        };
        parse().ok_or_else(|| {
            "write it as ln=17,r=8,p=1, with r of 8 to 32, p of 1 to 16, and ln of at least 17 \
             (16 with p=2, 15 with p of 3 or more) and at most 24"
                .to_owned()
        })
    }
}

/// An amount of memory. On the command line `512MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [("GiB", 30), ("MiB", 20), ("KiB", 10)]
            .iter()
            .find_map(|(unit, shift)| {
                text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift)
            })
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: write it as 512MiB or 2GiB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}MiB", self.0 >> 20)
    }
}

/// An origin that may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Any scheme and port on a loopback host.
    Loopback,
    /// This one, compared exactly.
    Exact(String),
}

impl CorsOrigin {
    /// Whether this lets in the origin that a request names.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Exact(own) => own == origin,
            Self::Loopback => origin.split_once("://").is_some_and(|(scheme, authority)| {
                let host = match authority.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => host,
                    _ => authority,
                };
                matches!(scheme, "http" | "https")
                    && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
            }),
        }
    }
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match authority {
            Some(authority)
                if !authority.is_empty()
                    && !authority.contains(['/', '?', '#', '*', '@'])
                    && !text
                        .contains(|c: char| c.is_ascii_uppercase() || !c.is_ascii_graphic()) =>
            {
                Ok(Self::Exact(text.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is not an origin: write it as a browser sends it, in lower case and \
                 without a path, as https://app.example.com"
            )),
        }
    }
}

/// A network of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl TrustedProxy {
    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| format!("{text:?} is not a network: write it as 10.0.0.0/8"))
    }
}

/// Parses a duration between two bounds.
fn duration(text: &str, least: Seconds, most: Seconds) -> Result<Seconds, String> {
    let span: Seconds = text.parse()?;
    if span < least || span > most {
        return Err(format!("it must be {least} to {most}"));
    }
    Ok(span)
}

fn access_token_lifetime(text: &str) -> Result<Seconds, String> {
    duration(text, Seconds::new(1), ACCESS_TOKEN_LIFETIME_MAX)
}

/// The longest life of an access token, wherever it is set (RFC 6750 §5.3).
pub const ACCESS_TOKEN_LIFETIME_MAX: Seconds = Seconds::new(3_600);

fn jwks_max_age(text: &str) -> Result<Seconds, String> {
    duration(text, Seconds::new(60), Seconds::new(3_600))
}

fn login_deadline(text: &str) -> Result<Seconds, String> {
    duration(text, Seconds::new(1), Seconds::new(60))
}

fn key_bits(text: &str) -> Result<u32, String> {
    match text {
        "2048" => Ok(2_048),
        "3072" => Ok(3_072),
        "4096" => Ok(4_096),
        _ => Err("it must be 2048, 3072 or 4096".to_owned()),
    }
}

/// Parses a number between two bounds.
fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("it must be a number from {least} to {most}")),
    }
}

fn hash_threads(text: &str) -> Result<usize, String> {
    number(text, 1, 1_024)
}

fn max_connections(text: &str) -> Result<usize, String> {
    number(text, 1, 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("postgres://u:p@ss@h:1,h2/db?sslmode=x", "postgres://u@h:1,h2/db"),
            ("postgres://h/db?password=p", "postgres://h/db"),
        ] {
            let location: DatabaseLocation = url.parse().expect("a valid location");
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("p@ss"));
        }
    }

    #[test]
    fn weak_and_absurd_costs_are_refused() {
        for good in ["ln=17,r=8,p=1", "ln=16,r=8,p=2", "ln=15,r=8,p=3", "ln=18,r=16,p=1"] {
            assert_eq!(good.parse::<ScryptCost>().map(|cost| cost.to_string()), Ok(good.into()));
        }
        for bad in
            ["", "ln=10,r=8,p=1", "ln=16,r=8,p=1", "ln=17,r=1,p=1", "ln=17,r=8", "ln=40,r=8,p=1"]
        {
            assert!(bad.parse::<ScryptCost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_compared_exactly() {
        let exact: CorsOrigin = "https://good.example".parse().expect("a valid origin");
        assert!(exact.allows("https://good.example"));
        for other in [
            "http://good.example",
            "https://good.example:8443",
            "https://good.example.evil",
            "null",
        ] {
            assert!(!exact.allows(other), "{other}");
        }
        for own in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"] {
            assert!(CorsOrigin::Loopback.allows(own), "{own}");
        }
        for other in
            ["http://localhost.evil", "http://127.0.0.1.evil:80", "null", "file://localhost"]
        {
            assert!(!CorsOrigin::Loopback.allows(other), "{other}");
        }
        for bad in ["*", "https://", "https://a/", "https://A.example", "a.example", "null"] {
            assert!(bad.parse::<CorsOrigin>().is_err(), "{bad}");
        }
    }
}
