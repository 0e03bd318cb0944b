//! Certificates, and clients that speak TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::database::new_folder;

/// A certificate for localhost that signs itself, and its key; gone when dropped.
pub(crate) struct Pair(PathBuf);

impl Drop for Pair {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Pair {
    /// Makes both, good from now on for a day.
    pub(crate) fn new() -> Self {
        let day = |days| Asn1Time::days_from_now(days).expect("a time");
        Self::make([day(0), day(1)], None)
    }

    /// Makes both, good between two times since the epoch.
    pub(crate) fn good_between(times: [i64; 2]) -> Self {
        Self::make(times.map(|time| Asn1Time::from_unix(time).expect("a time")), None)
    }

    /// Makes both, issued by another.
    pub(crate) fn issued_by(issuer: &Self) -> Self {
        let day = |days| Asn1Time::days_from_now(days).expect("a time");
        Self::make([day(0), day(1)], Some(issuer))
    }

    fn make([not_before, not_after]: [Asn1Time; 2], issuer: Option<&Self>) -> Self {
        let pair = Self(new_folder());
        let key = PKey::from_rsa(Rsa::generate(2_048).expect("a key")).expect("a key");
        let mut name = X509NameBuilder::new().expect("memory");
        // A name of its own, so that it is known by it who issued what.
        let folder = pair.0.file_name().expect("a folder").to_string_lossy();
        name.append_entry_by_text("CN", &folder).expect("a name");
        let name = name.build();
        let read = |path: PathBuf| std::fs::read(path).expect("a file");
        let issuer = issuer.map(|issuer| {
            let certificate = X509::from_pem(&read(issuer.chain())).expect("PEM");
            (certificate, PKey::private_key_from_pem(&read(issuer.key())).expect("PEM"))
        });
        let mut builder = X509::builder().expect("memory");
        let serial = BigNum::from_u32(1).and_then(|one| one.to_asn1_integer()).expect("memory");
        builder.set_version(2).expect("version 3");
        builder.set_serial_number(&serial).expect("a number");
        builder.set_subject_name(&name).expect("a name");
        let issuer_name = issuer.as_ref().map_or(&*name, |(issuer, _)| issuer.subject_name());
        builder.set_issuer_name(issuer_name).expect("a name");
        builder.set_pubkey(&key).expect("a key");
        builder.set_not_before(&not_before).expect("a time");
        builder.set_not_after(&not_after).expect("a time");
        let mut names = SubjectAlternativeName::new();
        let names = names.dns("localhost").build(&builder.x509v3_context(None, None));
        builder.append_extension(names.expect("a name")).expect("memory");
        let signer = issuer.as_ref().map_or(&key, |(_, key)| key);
        builder.sign(signer, MessageDigest::sha256()).expect("a signature");
        let certificate = builder.build().to_pem().expect("PEM");
        std::fs::write(pair.chain(), certificate).expect("a file");
        std::fs::write(pair.key(), key.private_key_to_pem_pkcs8().expect("PEM")).expect("a file");
        pair
    }

    /// A path beside them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The file of the certificate.
    pub(crate) fn chain(&self) -> PathBuf {
        self.0.join("chain.pem")
    }

    /// The file of the key.
    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// The settings that name it.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let certificate = ["--tls-certificate".to_owned(), path(self.chain())];
        let issuer = ["--issuer".to_owned(), "https://localhost".to_owned()];
        [certificate, ["--tls-key".to_owned(), path(self.key())], issuer].concat()
    }
}

/// Connects to a service that has this certificate, and shakes hands for one protocol.
pub(crate) async fn connect(
    address: SocketAddr,
    pair: &Pair,
    protocol: &str,
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    shake_hands(stream, pair, protocol).await
}

/// The same on a connection that is there.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    pair: &Pair,
    protocol: &str,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(pair.chain()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}
