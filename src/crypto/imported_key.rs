//! Keys that were made elsewhere. A key that can sign here is accepted. For everything else, the error says what it is
//! and which command converts it into an acceptable key.

use josekit::jwk::Jwk;
use josekit::jwk::alg::rsa::RsaKeyPair;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{Id, PKey};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use thiserror::Error;
use zeroize::Zeroizing;

use super::signing::{NewSigningKey, SigningKey, SigningKeyError};

const MAKE: &str =
    "make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem`";
const ONLY_PUBLIC: &str =
    "it has the public half alone, which signs nothing: bring the private key that belongs to it";

/// Why a key is not accepted.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It is something else. The sentence says what and which command converts it, and contains nothing of the key.
    #[error("{0}")]
    Refused(String),
    /// It is an RSA key, but cannot be used.
    #[error(transparent)]
    Unusable(#[from] SigningKeyError),
}

fn refused(sentence: impl Into<String>) -> ImportError {
    ImportError::Refused(sentence.into())
}

/// Reads a private RSA key: a JWK, or PEM (PKCS #1 or PKCS #8, not encrypted) with any text around it.
///
/// # Errors
/// A sentence that says what was given instead and what to do. It contains nothing of the key.
pub fn read(text: &[u8]) -> Result<NewSigningKey, ImportError> {
    let trimmed = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    let pair = if trimmed.starts_with(b"{") {
        read_jwk(trimmed)?
    } else {
        match std::str::from_utf8(trimmed) {
            Ok(text) if text.contains("-----BEGIN ") => read_pem(text)?,
            Ok(text) => return Err(refused(describe_text(text))),
            Err(_) => return Err(refused(describe_octets(text))),
        }
    };
    take(&pair)
}

/// Accepts a key that is sound and fit for RS256 (RFC 7518 §3.3).
fn take(pair: &RsaKeyPair) -> Result<NewSigningKey, ImportError> {
    // OpenSSL signs even with a key whose parts do not belong together, only more slowly.
    let key = Rsa::private_key_from_der(&Zeroizing::new(pair.to_raw_private_key()));
    let Some(key) = key.ok().filter(|key| key.check_key().unwrap_or(false)) else {
        return Err(refused("its parts do not belong together: it is damaged or was altered"));
    };
    let bits = key.n().num_bits();
    let jwk = pair.to_jwk_private_key();
    // Other members, such as the key's name elsewhere, are dropped.
    let mut plain = Jwk::new("RSA");
    for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let value = jwk.parameter(name).cloned();
        plain
            .set_parameter(name, value)
            .map_err(|_| refused(format!("its member {name} is malformed")))?;
    }
    if !(2_048..=8_192).contains(&bits) {
        return Err(refused(format!(
            "it has {bits} bits: from 2048 to 8192 are accepted (RFC 7518 §3.3); {MAKE}"
        )));
    }
    if jwk.parameter("e").and_then(Value::as_str) != Some("AQAB") {
        return Err(refused(format!(
            "its public exponent is not 65537, which some verifiers insist on: {MAKE}"
        )));
    }
    let secret = Zeroizing::new(plain.to_string().into_bytes());
    let key = SigningKey::from_secret(&secret)?;
    Ok(NewSigningKey { public: key.public().clone(), secret })
}

/// What a JWK says about its use. A repeated member makes the whole JWK unreadable.
#[derive(Deserialize)]
struct Declared {
    keys: Option<IgnoredAny>,
    kty: Option<String>,
    d: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    alg: Option<Value>,
    r#use: Option<Value>,
    key_ops: Option<Value>,
}

/// Reads a JWK that allows the use of keys here: RFC 7517 §4.2 to §4.4, RFC 8725 §3.1 (one key, one algorithm).
fn read_jwk(text: &[u8]) -> Result<RsaKeyPair, ImportError> {
    let Ok(declared) = serde_json::from_slice::<Declared>(text) else {
        return Err(refused(
            "it begins like a JWK, but is not JSON, or says a member twice or in another type: it \
                    is damaged",
        ));
    };
    if declared.keys.is_some() {
        return Err(refused(
            "it is a JWK Set: `jq '.keys[0]' FILE > key.jwk` takes the first key out of it",
        ));
    }
    declared.check()?;
    let malformed =
        |_| refused("it is not a private RSA key: its members are missing or malformed");
    RsaKeyPair::from_jwk(&Jwk::from_bytes(text).map_err(malformed)?).map_err(malformed)
}

impl Declared {
    fn check(&self) -> Result<(), ImportError> {
        let is_for_signatures = |operations: &Value| {
            let operations = operations.as_array().map(Vec::as_slice).unwrap_or_default();
            operations.iter().any(|operation| operation == "sign")
                && operations.iter().all(|operation| operation == "sign" || operation == "verify")
        };
        let problem = match self.kty.as_deref() {
            Some("RSA") if self.d.is_none() => return Err(refused(ONLY_PUBLIC)),
            Some("RSA") if self.oth.is_some() => {
                "it has more than two primes, which few programs support"
            }
            Some("RSA") if self.alg.as_ref().is_some_and(|alg| alg != "RS256") => {
                "its alg says that it is for another algorithm than RS256"
            }
            Some("RSA") if self.r#use.as_ref().is_some_and(|r#use| r#use != "sig") => {
                "its use says that it is not for signatures (sig)"
            }
            Some("RSA") if self.key_ops.as_ref().is_some_and(|ops| !is_for_signatures(ops)) => {
                "its key_ops are not sign, or sign and verify"
            }
            Some("RSA") => return Ok(()),
            Some("oct") => "it is a symmetric key, and RS256 takes an RSA key",
            Some("EC" | "OKP") => "it is a key on a curve, and RS256 takes an RSA key",
            Some(_) => "its kty is not RSA",
            None => return Err(refused("it is JSON, but not a JWK, which has a kty")),
        };
        Err(refused(format!("{problem}: {MAKE}")))
    }
}

/// Reads the only private key among the blocks of a text.
fn read_pem(text: &str) -> Result<RsaKeyPair, ImportError> {
    let blocks: Vec<Block<'_>> = blocks(text)?;
    let private: Vec<&Block<'_>> =
        blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).collect();
    let block = match private[..] {
        [] => return Err(refused(ONLY_PUBLIC)),
        [block] => block,
        _ => {
            return Err(refused(format!(
                "it has {} private keys, and it is unclear which one is meant: leave one in the file",
                private.len()
            )));
        }
    };
    if block.label == "ENCRYPTED PRIVATE KEY"
        || block.text.contains("ENCRYPTED\n")
        || block.text.contains("ENCRYPTED\r")
    {
        return Err(refused(
            "it is encrypted with a password: `openssl pkey -in FILE -out key.pem` writes it without",
        ));
    }
    match block.label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
        "OPENSSH PRIVATE KEY" => {
            return Err(refused(
                "it is in the form of OpenSSH: `cp FILE key.pem && ssh-keygen -q -p -N '' -m PEM -f \
                        key.pem` writes it as PEM, if it is an RSA key",
            ));
        }
        "EC PRIVATE KEY" => {
            return Err(refused(format!(
                "it is a key on a curve, and RS256 takes an RSA key: {MAKE}"
            )));
        }
        _ => return Err(refused(format!("it is not an RSA key, which RS256 needs: {MAKE}"))),
    }
    let Ok(key) = PKey::private_key_from_pem(block.text.as_bytes()) else {
        return Err(refused("it is not a private RSA key: its PEM is damaged or was cut off"));
    };
    describe_kind(key.id()).map_or(Ok(()), |sentence| Err(refused(sentence)))?;
    RsaKeyPair::from_pem(block.text).map_err(|_| refused("it is not a private RSA key"))
}

/// Why a private key of this kind is refused; `None` if it is accepted.
fn describe_kind(kind: Id) -> Option<String> {
    let name = match kind {
        Id::RSA => return None,
        Id::RSA_PSS => "is an RSA key for PSS alone, and RS256 is not PSS",
        Id::EC | Id::ED25519 | Id::ED448 | Id::X25519 | Id::X448 => {
            "is a key on a curve, and RS256 takes an RSA key"
        }
        _ => "is not an RSA key, which RS256 needs",
    };
    Some(format!("it {name}: {MAKE}"))
}

/// A block of PEM (RFC 7468 §2), from its first line to its last.
struct Block<'a> {
    label: &'a str,
    text: &'a str,
}

/// The PEM blocks of a text. Text between them is ignored (RFC 7468 §2).
fn blocks(text: &str) -> Result<Vec<Block<'_>>, ImportError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let block = rest.get(begin..).unwrap_or_default();
        let label = block.strip_prefix("-----BEGIN ").and_then(|text| text.split_once("-----"));
        let label = label.map(|(label, _)| label).unwrap_or_default();
        let last = format!("-----END {label}-----");
        let Some(end) = block.find(&last) else {
            return Err(refused(
                "it is not a private RSA key: its PEM has a beginning without an end, so it is \
                        damaged or was cut off",
            ));
        };
        let (text, after) = block.split_at(end + last.len());
        blocks.push(Block { label, text });
        rest = after;
    }
    Ok(blocks)
}

/// Says what a text without PEM is.
fn describe_text(text: &str) -> String {
    let compact = text.split_whitespace().collect::<String>();
    let is_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet);
    if text.starts_with("ssh-") || text.starts_with("---- BEGIN SSH2 PUBLIC") {
        ONLY_PUBLIC.to_owned()
    } else if text.starts_with("PuTTY-User-Key-File") {
        "it is in the form of PuTTY: have PuTTYgen export it as a key of OpenSSH".to_owned()
    } else if text.starts_with("<RSAKeyValue") {
        "it is in the XML of .NET: have .NET write it with ExportPkcs8PrivateKeyPem".to_owned()
    } else if text.starts_with("eyJ") && text.bytes().filter(|octet| *octet == b'.').count() == 4 {
        "it is encrypted as a JWE: decrypt it with the program that made it, and import the JWK"
            .to_owned()
    } else if text.starts_with('[') {
        "it is a JSON list: take one private key out of it, as with `jq '.[0]' FILE > key.jwk`"
            .to_owned()
    } else if compact.starts_with("MI") && compact.bytes().all(is_base64) {
        "it is base64 without the first and last line of PEM: `base64 -d FILE | openssl pkey -inform DER \
         -out key.pem` writes it as PEM"
            .to_owned()
    } else {
        "it is not a private RSA key: it must be PEM (PKCS #1 or PKCS #8, not encrypted) or a JWK"
            .to_owned()
    }
}

/// Says what octets are that are not text.
fn describe_octets(octets: &[u8]) -> String {
    if octets.starts_with(b"\xff\xfe") || octets.starts_with(b"\xfe\xff") {
        return "it is a text in UTF-16: `iconv -f UTF-16 -t UTF-8 FILE > key.pem` writes it in UTF-8".to_owned();
    }
    if octets.starts_with(b"\xfe\xed\xfe\xed") {
        return "it is a keystore of Java: `keytool -importkeystore -srckeystore FILE -destkeystore key.p12 \
                -deststoretype PKCS12` writes it as PKCS #12, of which `openssl pkcs12` makes PEM"
            .to_owned();
    }
    if let Ok(key) = PKey::private_key_from_der(octets) {
        return describe_kind(key.id()).unwrap_or_else(|| {
            "it is DER: `openssl pkey -inform DER -in FILE -out key.pem` writes it as PEM"
                .to_owned()
        });
    }
    if Pkcs12::from_der(octets).is_ok() {
        return "it is PKCS #12: `openssl pkcs12 -in FILE -nocerts -nodes -out key.pem` writes its key as PEM"
            .to_owned();
    }
    if PKey::public_key_from_der(octets).is_ok() || X509::from_der(octets).is_ok() {
        return ONLY_PUBLIC.to_owned();
    }
    if octets.starts_with(b"\x30") {
        return "it is DER, and perhaps encrypted: `openssl pkey -inform DER -in FILE -out key.pem` writes it \
                as PEM"
            .to_owned();
    }
    "it is not a private RSA key: it must be PEM (PKCS #1 or PKCS #8, not encrypted) or a JWK"
        .to_owned()
}
