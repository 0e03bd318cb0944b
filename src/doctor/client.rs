//! The doctor's HTTP client: it connects for each request, follows no redirect, and shows answers as they came.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

use super::CannotBegin;
use jeton_oauth::{Issuer, SecretOctets, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_runtime::system_roots::SYSTEM_ROOTS;

/// The most octets that are read of an answer.
const CONTENT_LENGTH_MAX: usize = 1_024 * 1_024;

pub(super) struct Client {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// For TLS, if the service speaks it.
    tls: Option<SslConnector>,
    timeout: Duration,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// It may contain tokens.
    pub(super) content: SecretOctets,
    /// When it was complete, by the local clock.
    pub(super) at: Timestamp,
}

/// Why there is no answer. One that is too long counts as `Protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    Name(String),
    Connection(String),
    Certificate { code: i32, what: String },
    Handshake(String),
    Protocol(String),
    Timeout(Duration),
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(what) => write!(formatter, "the name has no address: {what}"),
            Self::Connection(what) => write!(formatter, "cannot connect: {what}"),
            Self::Certificate { what, .. } => write!(formatter, "the certificate: {what}"),
            Self::Handshake(what) => write!(formatter, "no TLS handshake: {what}"),
            Self::Protocol(what) => write!(formatter, "no HTTP answer: {what}"),
            Self::Timeout(after) => write!(formatter, "no answer within {} s", after.as_secs()),
        }
    }
}

/// What is known of a connection that was made.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Tls>,
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) version: &'static str,
    /// When the first certificate of the chain expires.
    pub(super) expires_at: Option<Timestamp>,
}

/// A connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Client {
    /// A client of this service. `ca` is a file with certificates that are trusted beside the system's.
    pub(super) fn new(
        issuer: &Issuer,
        ca: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, CannotBegin> {
        let malformed = || CannotBegin::Url(issuer.clone());
        let uri: Uri = issuer.as_str().parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        let is_secure = uri.scheme_str() == Some("https");
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?,
            tls: if is_secure { Some(connector(ca)?) } else { None },
            timeout,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Connects, and closes the connection.
    pub(super) async fn look(&self) -> Result<Link, RequestError> {
        let addresses = self.resolve().await?;
        let connecting = timeout(self.timeout, self.connect(addresses)).await;
        let (_, link) = connecting.map_err(|_| RequestError::Timeout(self.timeout))??;
        Ok(link)
    }

    pub(super) async fn send(&self, request: Request<String>) -> Result<Answer, RequestError> {
        let addresses = self.resolve().await?;
        let answering = timeout(self.timeout, self.exchange(addresses, request)).await;
        answering.map_err(|_| RequestError::Timeout(self.timeout))?
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, RequestError> {
        let resolving = tokio::net::lookup_host((self.host.as_str(), self.port));
        match timeout(self.timeout, resolving).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(RequestError::Name(error.to_string())),
            Err(_) => Err(RequestError::Name("no answer in time".to_owned())),
        }
    }

    async fn exchange(
        &self,
        addresses: Vec<SocketAddr>,
        mut request: Request<String>,
    ) -> Result<Answer, RequestError> {
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(USER_AGENT, HeaderValue::from_static("jeton-doctor"));
        let (stream, _) = self.connect(addresses).await?;
        let broken = |error: hyper::Error| RequestError::Protocol(error.to_string());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The task ends with the answer, or with the runtime.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let content = read(body).await?;
        let at = Clock::System.now();
        Ok(Answer { status: head.status, headers: head.headers, content, at })
    }

    async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<(Box<dyn Stream>, Link), RequestError> {
        let (stream, address) = connect_plainly(addresses).await?;
        let Some(connector) = &self.tls else {
            return Ok((Box::new(stream), Link { address, tls: None }));
        };
        let failed = |error: openssl::error::ErrorStack| RequestError::Handshake(error.to_string());
        let ssl = connector.configure().and_then(|configured| configured.into_ssl(&self.host));
        let mut stream = SslStream::new(ssl.map_err(failed)?, stream).map_err(failed)?;
        let shaken = Pin::new(&mut stream).connect().await;
        let verified = stream.ssl().verify_result();
        if verified != X509VerifyResult::OK {
            let what = verified.error_string().to_owned();
            return Err(RequestError::Certificate { code: verified.as_raw(), what });
        }
        shaken.map_err(|error| RequestError::Handshake(error.to_string()))?;
        let chain = stream.ssl().verified_chain();
        let dates = chain.into_iter().flatten().filter_map(|link| date(link.not_after()));
        let tls = Tls { version: stream.ssl().version_str(), expires_at: dates.min() };
        Ok((Box::new(stream), Link { address, tls: Some(tls) }))
    }
}

async fn connect_plainly(
    addresses: Vec<SocketAddr>,
) -> Result<(TcpStream, SocketAddr), RequestError> {
    let mut last = RequestError::Name("there is none".to_owned());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = RequestError::Connection(format!("{address}: {error}")),
        }
    }
    Err(last)
}

fn connector(ca: Option<&Path>) -> Result<SslConnector, CannotBegin> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    // The vendored OpenSSL has no certificates of its own, so the system's are used.
    for path in SYSTEM_ROOTS {
        builder.set_ca_file(path).ok();
    }
    if let Some(path) = ca {
        // OpenSSL does not say in words that there is no such file.
        File::open(path)
            .map_err(|source| CannotBegin::NoAuthority { file: path.to_owned(), source })?;
        builder
            .set_ca_file(path)
            .map_err(|source| CannotBegin::Authority { file: path.to_owned(), source })?;
    }
    Ok(builder.build())
}

fn date(time: &Asn1TimeRef) -> Option<Timestamp> {
    let span = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(Timestamp(i64::from(span.days) * 86_400 + i64::from(span.secs)))
}

async fn read(mut body: Incoming) -> Result<SecretOctets, RequestError> {
    let mut content = Zeroizing::new(Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| RequestError::Protocol(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            content.extend_from_slice(&data);
        }
        if content.len() > CONTENT_LENGTH_MAX {
            return Err(RequestError::Protocol("the answer does not end".to_owned()));
        }
    }
    Ok(SecretOctets::new(content))
}
