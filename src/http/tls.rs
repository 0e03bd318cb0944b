//! TLS of the public listener: rustls with its secure defaults (TLS 1.2 and 1.3, forward secrecy, authenticated
//! encryption). The certificate is read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::x509::{X509, X509Ref, X509VerifyResult};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use zeroize::Zeroizing;

use jeton_crypto::digest;
use jeton_oauth::Timestamp;

/// A certificate cannot be used. The text names the setting, the file and what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The chain cannot be read, or is not PEM.
    #[error(
        "cannot read the certificate {} (--tls-certificate): {source}; it must be a PEM file with the \
         certificate first and then its issuers",
        file.display()
    )]
    NoChain {
        /// Its file.
        file: PathBuf,
        /// The error of the system or the parser.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The private key cannot be read, or is not PEM.
    #[error(
        "cannot read the private key {} (--tls-key): {source}; it must be a PEM file without a \
         passphrase",
        file.display()
    )]
    NoKey {
        /// Its file.
        file: PathBuf,
        /// The error of the system or the parser.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The chain is incomplete or in the wrong order.
    #[error("{} (--tls-certificate): {source}", file.display())]
    Chain {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        source: ChainError,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the certificate {} (--tls-certificate) and the private key {} (--tls-key) cannot be used \
         together: {source}; the first certificate of the file must be the one of the key",
        chain_file.display(), key_file.display()
    )]
    Pair {
        /// The file of the chain.
        chain_file: PathBuf,
        /// The file of the key.
        key_file: PathBuf,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The provider of rustls has no usable versions.
    #[error(transparent)]
    Provider(#[from] rustls::Error),
}

impl TlsError {
    fn of_chain(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::NoChain { file: file.to_owned(), source: Box::new(error) }
    }

    fn of_key(file: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::NoKey { file: file.to_owned(), source: Box::new(error) }
    }
}

/// What is wrong with a chain of certificates.
#[derive(Debug, Error)]
pub enum ChainError {
    /// Some of it cannot be read.
    #[error(
        "{begun} certificates begin in it, and {read} can be read: each must begin and end on a line of its \
         own, with -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----"
    )]
    Cut {
        /// How many certificates begin in it.
        begun: usize,
        /// How many can be read.
        read: usize,
    },
    /// One is not a certificate.
    #[error("a certificate in it cannot be read: {0}")]
    Damaged(#[source] ErrorStack),
    /// One is not followed by its issuer. Certificates are counted from 1.
    #[error(
        "certificate {above} in it has not issued certificate {below}: put the service's own first, and \
         after each the one that issued it"
    )]
    Order {
        /// The certificate.
        below: usize,
        /// The one that follows.
        above: usize,
    },
    /// The file has no certificate.
    #[error("there is no certificate in it: it must be a PEM file")]
    Empty,
    /// The dates of the first certificate cannot be read.
    #[error("the dates of the certificate cannot be read")]
    Dates,
}

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    chain_file: PathBuf,
    key_file: PathBuf,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    certified: Arc<CertifiedKey>,
    validity: Validity,
    /// The digests of both files.
    files: [[u8; 32]; 2],
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Why clients refuse the certificate at this time; `None` if they accept it.
    #[must_use]
    pub fn problem(&self, now: Timestamp) -> Option<String> {
        let Self { not_before, not_after } = self;
        if now > *not_after {
            return Some(format!(
                "the certificate (--tls-certificate) has expired at {not_after}, so clients refuse it: \
                 renew it and write it to the same file, which is read again without a restart"
            ));
        }
        (now < *not_before).then(|| {
            format!(
                "the certificate (--tls-certificate) is not valid before {not_before}, so clients refuse \
                 it until then: put the one before it back, or set the clock"
            )
        })
    }
}

impl Certificate {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting, the file and what to do.
    pub fn load(chain_file: PathBuf, key_file: PathBuf) -> Result<Self, TlsError> {
        let files = Files::read(&chain_file, &key_file)?;
        let current = ArcSwap::from_pointee(files.load(&chain_file, &key_file)?);
        Ok(Self { chain_file, key_file, current })
    }

    /// Reads the files again, and uses them if they have changed. Returns whether they have. If certificate and key do
    /// not fit, as may happen between two writes, the old pair stays in use.
    ///
    /// # Errors
    /// [`TlsError`], which names the setting, the file and what to do.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let files = Files::read(&self.chain_file, &self.key_file)?;
        if files.digests() == self.current.load().files {
            return Ok(false);
        }
        self.current.store(Arc::new(files.load(&self.chain_file, &self.key_file)?));
        Ok(true)
    }

    /// When the certificate in use is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.current.load().validity
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().certified))
    }
}

/// Accepts TLS connections with this certificate.
///
/// # Errors
/// [`TlsError::Provider`] if rustls has no usable versions.
pub fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The content of both files.
struct Files {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(chain_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let chain =
            std::fs::read(chain_file).map_err(|error| TlsError::of_chain(chain_file, error))?;
        let key = std::fs::read(key_file).map_err(|error| TlsError::of_key(key_file, error))?;
        Ok(Self { chain, key: Zeroizing::new(key) })
    }

    fn digests(&self) -> [[u8; 32]; 2] {
        [digest::sha256(&self.chain), digest::sha256(&self.key)]
    }

    fn load(&self, chain_file: &Path, key_file: &Path) -> Result<Loaded, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::of_chain(chain_file, error))?;
        let validity = check_chain(&self.chain, &chain)
            .map_err(|source| TlsError::Chain { file: chain_file.to_owned(), source })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| TlsError::of_key(key_file, error))?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let certified = certified.map_err(|source| TlsError::Pair {
            chain_file: chain_file.to_owned(),
            key_file: key_file.to_owned(),
            source,
        })?;
        Ok(Loaded { certified: Arc::new(certified), validity, files: self.digests() })
    }
}

/// Checks that the whole chain was read and is in order. Returns when its first certificate is valid.
fn check_chain(pem: &[u8], chain: &[CertificateDer<'_>]) -> Result<Validity, ChainError> {
    let begun = String::from_utf8_lossy(pem)
        .split("-----BEGIN ")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----"))
        .filter(|(label, _)| label.ends_with("CERTIFICATE"))
        .count();
    if begun != chain.len() {
        return Err(ChainError::Cut { begun, read: chain.len() });
    }
    let read = chain.iter().map(|der| X509::from_der(der)).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(ChainError::Damaged)?;
    for (number, pair) in (1..).zip(read.windows(2)) {
        if let [below, above] = pair
            && !has_issued(above, below)
        {
            return Err(ChainError::Order { below: number, above: number + 1 });
        }
    }
    let own = read.first().ok_or(ChainError::Empty)?;
    let dates = (timestamp(own.not_before()), timestamp(own.not_after()));
    let (Ok(not_before), Ok(not_after)) = dates else {
        return Err(ChainError::Dates);
    };
    Ok(Validity { not_before, not_after })
}

/// Whether `above` is the issuer that `below` names and has signed `below`.
fn has_issued(above: &X509Ref, below: &X509Ref) -> bool {
    above.issued(below) == X509VerifyResult::OK
        && above.public_key().is_ok_and(|key| below.verify(&key).unwrap_or(false))
}

fn timestamp(time: &Asn1TimeRef) -> Result<Timestamp, ErrorStack> {
    let since_epoch = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(Timestamp(i64::from(since_epoch.days) * 86_400 + i64::from(since_epoch.secs)))
}
