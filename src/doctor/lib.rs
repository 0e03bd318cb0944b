//! `jeton doctor`: checks a running service over the network, as client, browser and resource server, and says what is
//! wrong and how to mend it.
//!
//! This package never opens the database or the keys, and knows nothing of how the service is built. Asking and judging
//! are apart: every judgement is a function of an answer. Only `client` speaks HTTP.

mod access_token;
mod answer;
mod client;
mod connection;
mod cors;
mod introspection;
mod jwks;
mod login;
mod metadata;
mod published;
mod report;
mod token;
mod visit;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::HeaderValue;
use openssl::error::ErrorStack;
use thiserror::Error;

use client::Client;
use jeton_oauth::client::ClientAuthenticationMethod;
use jeton_oauth::{CorsOrigin, Invalid, Issuer, Seconds, Secret};
use jeton_runtime::clock::Clock;
pub use report::{Finding, Outcome};
use visit::{Caller, User, Visit};

/// The environment variable with the client's secret, so that the secret is on no command line.
const CLIENT_SECRET_VARIABLE: &str = "JETON_DOCTOR_CLIENT_SECRET";
/// The same for the resource server's secret.
const INTROSPECT_SECRET_VARIABLE: &str = "JETON_DOCTOR_INTROSPECT_SECRET";
/// The environment variables that may contain secrets.
pub const SECRET_VARIABLES: [&str; 2] = [CLIENT_SECRET_VARIABLE, INTROSPECT_SECRET_VARIABLE];

/// The options of `jeton doctor`.
#[derive(Args, Debug)]
pub struct Options {
    /// The issuer: the URL that clients and resource servers are configured with
    url: Address,
    /// A client that asks for tokens
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<String>,
    /// A file with the client's secret; else it is read from the variable
    /// `JETON_DOCTOR_CLIENT_SECRET`, and without that the client is public
    #[arg(long, value_name = "PATH", requires = "client")]
    client_secret_file: Option<PathBuf>,
    /// Where clients put their secrets: in Authorization or in the body
    #[arg(long, value_name = "WHERE", default_value = "basic")]
    client_authentication: Authentication,
    /// A user to log in: a session is opened, and ended again
    #[arg(long, value_name = "NAME", requires = "client")]
    user: Option<String>,
    /// Read the password from the first line of standard input instead of a prompt
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Try a wrong password first, which counts as a failed login
    #[arg(long, requires = "user")]
    wrong_password: bool,
    /// The scope to ask for, as "read write" [default: the client's]
    #[arg(long, requires = "user")]
    scope: Option<String>,
    /// An audience to ask for; repeatable [default: the client's first]
    #[arg(long, value_name = "URI", requires = "user")]
    resource: Vec<String>,
    /// The origin of a page that should be able to log in, as `https://app.example.com`
    #[arg(long, value_parser = origin)]
    origin: Option<HeaderValue>,
    /// A client that introspects tokens: a resource server
    #[arg(long, value_name = "CLIENT_ID")]
    introspect_client: Option<String>,
    /// A file with its secret; else it is read from the variable `JETON_DOCTOR_INTROSPECT_SECRET`
    #[arg(long, value_name = "PATH", requires = "introspect_client")]
    introspect_secret_file: Option<PathBuf>,
    /// A file of certificates, PEM, that are trusted beside the system's
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    /// How long each answer may take, 1s to 5m
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = patience)]
    timeout: Seconds,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why the service was not asked anything. A person must change this first.
#[derive(Debug, Error)]
pub enum CannotBegin {
    /// The URL names no host.
    #[error("{0} is no URL")]
    Url(Issuer),
    /// The file of a secret cannot be read.
    #[error("cannot read the secret in {}: {source}", file.display())]
    NoSecret {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file of a secret is empty.
    #[error("there is no secret in {}: it is empty", .0.display())]
    EmptySecret(PathBuf),
    /// The password is empty.
    #[error("the password is empty: the service was not asked")]
    EmptyPassword,
    /// The file of an authority cannot be read.
    #[error("cannot read {} (--ca): {source}; name a PEM file with the certificates of the authority", file.display())]
    NoAuthority {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The certificates of an authority cannot be read.
    #[error("cannot read certificates from {} (--ca): {source}; it must be a PEM file", file.display())]
    Authority {
        /// Their file.
        file: PathBuf,
        /// What OpenSSL says.
        source: ErrorStack,
    },
    /// OpenSSL failed.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The URL of a service.
#[derive(Clone, Debug)]
enum Address {
    Issuer(Issuer),
    /// Not an issuer, because anybody on the way can listen. It is a finding, and no password is sent.
    InTheClear(String),
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self::Issuer).or_else(|error| {
            let protected = text.strip_prefix("http://").map(|rest| format!("https://{rest}"));
            let is_url = protected.is_some_and(|url| url.parse::<Issuer>().is_ok());
            if is_url { Ok(Self::InTheClear(text.to_owned())) } else { Err(error) }
        })
    }
}

/// Where a client puts its secret.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Authentication {
    Basic,
    Post,
}

impl Authentication {
    fn method(self) -> ClientAuthenticationMethod {
        match self {
            Self::Basic => ClientAuthenticationMethod::ClientSecretBasic,
            Self::Post => ClientAuthenticationMethod::ClientSecretPost,
        }
    }
}

fn origin(text: &str) -> Result<HeaderValue, Invalid> {
    let exact = match text.parse()? {
        CorsOrigin::Exact(exact) => exact,
        CorsOrigin::Loopback => return Err(Invalid::new("name one, as http://localhost:3000")),
    };
    HeaderValue::from_str(&exact).map_err(|error| Invalid::new(error.to_string()))
}

fn patience(text: &str) -> Result<Seconds, Invalid> {
    let span: Seconds = text.parse()?;
    if !(1..=300).contains(&span.get()) {
        return Err(Invalid::new("it must be 1s to 5m"));
    }
    Ok(span)
}

impl Options {
    /// Whether the findings are to be printed as JSON.
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether the password is read from standard input. If not, a person is asked for it.
    #[must_use]
    pub fn password_stdin(&self) -> bool {
        self.password_stdin
    }
}

/// Checks a service. `ask_password` is called at most once, before the first request, and only if a user logs in.
///
/// # Errors
/// [`CannotBegin`], or the error of `ask_password`. What is wrong with the service is a finding.
pub async fn run<E: From<CannotBegin>>(
    options: &Options,
    ask_password: impl FnOnce() -> Result<Secret, E>,
) -> Result<Vec<Finding>, E> {
    Ok(match &options.url {
        Address::InTheClear(url) => connection::in_the_clear(url),
        Address::Issuer(issuer) => examine(&prepare(issuer.clone(), options, ask_password)?).await,
    })
}

/// Collects all that is needed, so that nobody is asked half-way.
fn prepare<E: From<CannotBegin>>(
    issuer: Issuer,
    options: &Options,
    ask_password: impl FnOnce() -> Result<Secret, E>,
) -> Result<Visit, E> {
    let timeout = Duration::from_secs(options.timeout.get().unsigned_abs());
    let client = Client::new(&issuer, options.ca.as_deref(), timeout)?;
    let method = options.client_authentication.method();
    let caller = |id: &Option<String>, file: &Option<PathBuf>, variable| {
        let Some(id) = id.clone() else { return Ok(None) };
        let secret = read_secret(file.as_deref(), variable)?;
        Ok::<_, CannotBegin>(Some(Caller { id, secret, method }))
    };
    let caller_of_tokens =
        caller(&options.client, &options.client_secret_file, CLIENT_SECRET_VARIABLE)?;
    let introspector = caller(
        &options.introspect_client,
        &options.introspect_secret_file,
        INTROSPECT_SECRET_VARIABLE,
    )?;
    let user = match &options.user {
        Some(name) => {
            let password = ask_password()?;
            if password.expose().is_empty() {
                return Err(CannotBegin::EmptyPassword.into());
            }
            Some(User { name: name.clone(), password })
        }
        None => None,
    };
    Ok(Visit {
        issuer,
        client,
        caller: caller_of_tokens,
        introspector,
        user,
        wrong_password: options.wrong_password,
        scope: options.scope.clone(),
        resource: options.resource.clone(),
        origin: options.origin.clone(),
    })
}

/// The secret in the file, or else in the environment variable.
fn read_secret(file: Option<&Path>, variable: &str) -> Result<Option<Secret>, CannotBegin> {
    let Some(path) = file else {
        let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
        return Ok(text.map(Secret::new));
    };
    let mut text = std::fs::read_to_string(path)
        .map_err(|source| CannotBegin::NoSecret { file: path.to_owned(), source })?;
    text.truncate(text.trim_end().len());
    if text.is_empty() {
        return Err(CannotBegin::EmptySecret(path.to_owned()));
    }
    Ok(Some(Secret::new(text)))
}

/// Runs the checks in order. If the service cannot be reached, all others are left out.
async fn examine(visit: &Visit) -> Vec<Finding> {
    let link = visit.client.look().await;
    let mut findings = connection::judge_link(visit.client.host(), &link, Clock::System.now());
    if findings.iter().any(Finding::is_wrong) {
        return findings;
    }
    findings.extend(metadata::examine(visit).await);
    let (of_keys, keys) = jwks::examine(visit).await;
    findings.extend(of_keys);
    let is_unread = |check: &str| findings.iter().any(|own| own.check == check && own.is_wrong());
    if is_unread("metadata.document") && is_unread("jwks.document") {
        let remedy = "mend what is wrong above first: nothing shows that Jeton is there";
        findings.push(Finding::note("token.get", "left out, and all that follows", remedy));
        return findings;
    }
    let of_clients = token::examine(visit).await;
    findings.extend(of_clients.findings);
    findings.extend(cors::examine(visit).await);
    let (of_introspection, introspector) = introspection::examine(visit).await;
    findings.extend(of_introspection);
    findings.extend(login::examine(visit, of_clients.caller.as_ref(), introspector, &keys).await);
    findings
}
