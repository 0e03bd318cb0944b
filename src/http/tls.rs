//! TLS of the public listener: rustls with its secure defaults (TLS 1.2 and 1.3, forward secrecy,
//! authenticated encryption), and a certificate that is read again when its files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

/// The certificate in use.
#[derive(Debug)]
pub struct Certificate {
    chain_file: PathBuf,
    key_file: PathBuf,
    current: ArcSwap<CertifiedKey>,
    /// When the files were last changed, as of the last look at them.
    seen: std::sync::Mutex<Seen>,
}

/// The times at which the two files were changed.
type Seen = (Option<SystemTime>, Option<SystemTime>);

impl Certificate {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// A sentence that names the setting, the file and what to do.
    pub fn load(chain_file: PathBuf, key_file: PathBuf) -> Result<Self, String> {
        let current = ArcSwap::from_pointee(read(&chain_file, &key_file)?);
        let seen = std::sync::Mutex::new(modified(&chain_file, &key_file));
        Ok(Self { chain_file, key_file, current, seen })
    }

    /// Reads the files again if they changed, and says whether it did. A pair that does not fit
    /// together, as there may be between two writes, leaves the old one in use.
    ///
    /// # Errors
    /// A sentence that names the setting, the file and what to do.
    pub fn reload(&self) -> Result<bool, String> {
        let modified = modified(&self.chain_file, &self.key_file);
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *seen == modified {
            return Ok(false);
        }
        *seen = modified;
        self.current.store(Arc::new(read(&self.chain_file, &self.key_file)?));
        Ok(true)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// What accepts TLS connections with this certificate.
///
/// # Errors
/// What rustls says, if its provider has no usable versions.
pub fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn modified(chain_file: &PathBuf, key_file: &PathBuf) -> Seen {
    let time = |file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    (time(chain_file), time(key_file))
}

fn read(chain_file: &PathBuf, key_file: &PathBuf) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_file_iter(chain_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            format!(
                "cannot read the certificate {} (--tls-certificate): {error}; it must be a PEM file \
                 with the certificate first and then its issuers",
                chain_file.display()
            )
        })?;
    if chain.is_empty() {
        return Err(format!(
            "there is no certificate in {} (--tls-certificate): it must be a PEM file",
            chain_file.display()
        ));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| {
        format!(
            "cannot read the private key {} (--tls-key): {error}; it must be a PEM file without a \
             passphrase",
            key_file.display()
        )
    })?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    certified.map_err(|error| {
        format!(
            "the certificate {} (--tls-certificate) and the private key {} (--tls-key) cannot be \
             used together: {error}",
            chain_file.display(),
            key_file.display()
        )
    })
}
