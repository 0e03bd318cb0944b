//! The URL of a PostgreSQL database, including options of libpq that the driver does not know.

use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use percent_encoding::percent_decode_str;
use postgres_openssl::MakeTlsConnector;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::with_causes;
use jeton_oauth::issuer::is_loopback;
use jeton_runtime::system_roots::SYSTEM_ROOTS;

/// Why a URL cannot be used. No text repeats what could be the end of a password.
#[derive(Debug, Error)]
pub enum UrlError {
    /// A part is wrong; the sentence says which.
    #[error("{0}")]
    Wrong(String),
    /// The driver cannot parse it.
    #[error(
        "the URL is wrong: {}; in the user and the password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F and \
         % as %25",
        with_causes(.0)
    )]
    Driver(#[source] tokio_postgres::Error),
    /// The root certificates cannot be read.
    #[error("cannot read sslrootcert {path}: {source}")]
    RootCertificate {
        /// Their file.
        path: String,
        /// The error of OpenSSL.
        source: ErrorStack,
    },
    /// OpenSSL failed.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
}

impl From<&str> for UrlError {
    fn from(sentence: &str) -> Self {
        Self::Wrong(sentence.to_owned())
    }
}

/// How much of the connection is protected, in the words of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const OPTIONS: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

pub(super) struct Location {
    pub(super) config: Config,
    pub(super) tls: MakeTlsConnector,
    /// Whether a connection may keep prepared statements.
    pub(super) prepares: bool,
}

/// Parses a URL. Without `sslmode`, a server on another machine must prove its identity; one on this machine need not.
pub(super) fn read_url(url: &str) -> Result<Location, UrlError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut protection, mut root_certificate, mut prepares) = (None, None, false);
    let mut passed_on: Vec<&str> = Vec::new();
    let options = query.split('&').filter(|option| !option.is_empty());
    for (before, option) in options.enumerate() {
        match option.split_once('=') {
            Some(("sslmode", mode)) => protection = Some(read_protection(mode)?),
            Some(("statements", "unnamed")) => prepares = false,
            Some(("statements", "prepared")) => prepares = true,
            Some(("statements", _)) => return Err("statements must be unnamed or prepared".into()),
            Some(("sslrootcert", path)) => {
                let path = percent_decode_str(path).decode_utf8();
                root_certificate = Some(path.map_err(|_| "sslrootcert is not UTF-8")?);
            }
            Some((name, _)) if OPTIONS.contains(&name) => passed_on.push(option),
            // It may be the end of a password, so it is not repeated.
            _ => {
                return Err(UrlError::Wrong(format!(
                    "option {} after the question mark of the URL is unknown: write ? and & in the \
                     user or the password as %3F and %26",
                    before + 1
                )));
            }
        }
    }
    let url = format!("{base}?{}", passed_on.join("&"));
    let mut config: Config = url.parse().map_err(UrlError::Driver)?;
    if config.get_hosts().is_empty() || config.get_dbname().is_none() {
        return Err("the URL must name a host and a database, as postgres://USER@HOST/NAME".into());
    }
    // What follows it may be the end of a password, and would be resolved and logged as a host name.
    let has_at = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
    if config.get_hosts().iter().any(has_at) {
        return Err("the URL is wrong: write an @ in the user or the password as %40".into());
    }
    let protection = protection.unwrap_or_else(|| {
        let is_local = |host: &Host| match host {
            Host::Tcp(name) => is_loopback(name),
            Host::Unix(_) => true,
        };
        let local = config.get_hosts().iter().all(is_local);
        if local { Protection::Prefer } else { Protection::VerifyFull }
    });
    config.ssl_mode(match protection {
        Protection::Disable => SslMode::Disable,
        Protection::Prefer => SslMode::Prefer,
        Protection::Require | Protection::VerifyCa | Protection::VerifyFull => SslMode::Require,
    });
    config.application_name("jeton");
    keep_alive(&mut config);
    let tls = connector(protection, root_certificate.as_deref())?;
    Ok(Location { config, tls, prepares })
}

/// Makes TCP notice within some ten seconds that the other side is gone, whether data was sent to it or not. Data that
/// was not acknowledged by then is not delivered later. Options in the URL override this.
fn keep_alive(config: &mut Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(10));
    }
    if config.get_keepalives_interval().is_none() && config.get_keepalives_retries().is_none() {
        config.keepalives_idle(Duration::from_secs(5));
        config.keepalives_interval(Duration::from_secs(2)).keepalives_retries(3);
    }
}

fn read_protection(mode: &str) -> Result<Protection, UrlError> {
    match mode {
        "disable" => Ok(Protection::Disable),
        "prefer" => Ok(Protection::Prefer),
        "require" => Ok(Protection::Require),
        "verify-ca" => Ok(Protection::VerifyCa),
        "verify-full" => Ok(Protection::VerifyFull),
        _ => Err("sslmode must be disable, prefer, require, verify-ca or verify-full".into()),
    }
}

fn connector(protection: Protection, roots: Option<&str>) -> Result<MakeTlsConnector, UrlError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    match roots {
        Some(path) => builder
            .set_ca_file(path)
            .map_err(|source| UrlError::RootCertificate { path: path.to_owned(), source })?,
        // The vendored OpenSSL has no certificates of its own, so the system's are used.
        None => SYSTEM_ROOTS.iter().for_each(|path| {
            builder.set_ca_file(path).ok();
        }),
    }
    // As in libpq, `require` verifies if there is a root certificate.
    let verifies = matches!(protection, Protection::VerifyCa | Protection::VerifyFull)
        || (protection == Protection::Require && roots.is_some());
    builder.set_verify(if verifies { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    let mut connector = MakeTlsConnector::new(builder.build());
    if protection != Protection::VerifyFull {
        connector.set_callback(|connection, _| {
            connection.set_verify_hostname(false);
            Ok(())
        });
    }
    Ok(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protection_follows_the_host_unless_it_is_named() {
        for (url, mode) in [
            ("postgres://u@localhost/d", SslMode::Prefer),
            ("postgres://u@[::1]:5433/d", SslMode::Prefer),
            ("postgres://u@/d?host=/run/postgresql", SslMode::Prefer),
            ("postgres://u@db.example/d", SslMode::Require),
            ("postgres://u@localhost,db.example/d", SslMode::Require),
            ("postgres://u@db.example/d?sslmode=disable", SslMode::Disable),
            ("postgres://u@localhost/d?statements=prepared", SslMode::Prefer),
            ("postgres://u@localhost/d?statements=unnamed", SslMode::Prefer),
            (
                "postgres://u@db.example/d?sslmode=require&target_session_attrs=read-write",
                SslMode::Require,
            ),
        ] {
            let location = read_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(location.config.get_ssl_mode(), mode, "{url}");
            assert_eq!(location.prepares, url.contains("prepared"), "{url}");
        }
        for bad in [
            "postgres://u@h/d?sslmode=always",
            "postgres://u@h",
            "postgres://u:p@q@h/d",
            "postgres://u@h/d?nonsense=1",
            "postgres://u@h/d?statements=none",
            "postgres://u@h/d?sslrootcert=/no/such/file",
        ] {
            assert!(read_url(bad).is_err(), "{bad}");
        }
    }

    /// RFC 3986 §2.1, §6.2.2.1: every octet may be escaped, in digits of either case.
    #[test]
    fn the_path_of_a_root_certificate_may_be_escaped() {
        for path in ["/no/such file", "%2Fno%2Fsuch file", "%2fno%2fsuch%20file"] {
            let problem = read_url(&format!("postgres://u@h/d?sslrootcert={path}")).err();
            let problem = problem.expect("there is no such file").to_string();
            assert!(problem.contains("sslrootcert /no/such file:"), "{path}: {problem}");
        }
        assert!(read_url("postgres://u@h/d?sslrootcert=%FF").is_err());
    }
}
