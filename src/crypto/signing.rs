//! RS256 (RFC 7518 §3.3): making, storing and using one RSA key.
//!
//! Signer and verifier are built once for each key, because that takes as long as several signatures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::JoseError;
use josekit::jwk::Jwk;
use josekit::jws::alg::rsassa::{RsassaJwsSigner, RsassaJwsVerifier};
use josekit::jws::{JwsSigner, JwsVerifier, RS256};
use openssl::bn::BigNum;
use openssl::rsa::Rsa;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use zeroize::Zeroizing;

use super::digest;
use jeton_oauth::client::AccessTokenType;
use jeton_oauth::{KeyId, access_token};

/// Why a signing key cannot be made or used. The text contains nothing of the key.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    /// OpenSSL cannot make one.
    #[error("cannot make a signing key: {0}")]
    NotMade(#[source] JoseError),
    /// It is something else.
    #[error("it is not an RSA private key")]
    NotRsa,
    /// It does not verify its own signature: the processor or the key is broken.
    #[error("it does not verify its own signature")]
    SelfTest,
    /// OpenSSL ran out of memory.
    #[error("cannot sign: {0}")]
    NotSigned(#[source] JoseError),
}

/// A public key cannot be written as PEM, because its members are damaged.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct PemError(Box<dyn std::error::Error + Send + Sync>);

/// Why a published key cannot be used, as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VerifyingKeyError {
    /// It is not a public RSA key for RS256.
    #[error("is no public RSA key for RS256")]
    NotRs256,
    /// It has only this many bits.
    #[error("has {0} bits: 2048 are the least (RFC 7518 §3.3)")]
    TooShort(i32),
}

/// The public half of a signing key, as it is published: exactly these members (RFC 7517 §4, RFC 7518 §6.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicJwk {
    kty: String,
    r#use: String,
    alg: String,
    /// The RFC 7638 thumbprint of the key.
    pub kid: KeyId,
    n: String,
    e: String,
}

/// An RSA key that signs and verifies.
#[derive(Debug)]
pub struct SigningKey {
    public: PublicJwk,
    headers: Headers,
    signer: RsassaJwsSigner,
    verifier: RsassaJwsVerifier,
}

/// The encoded headers of the key's tokens, one for each type.
#[derive(Debug)]
struct Headers {
    access_token: String,
    jwt: String,
}

impl Headers {
    fn of(key: &KeyId) -> Self {
        let [access_token, jwt] = [AccessTokenType::AccessToken, AccessTokenType::Jwt]
            .map(|typ| access_token::encode_header(key, typ));
        Self { access_token, jwt }
    }
}

/// A new key, with the secret that is to be sealed.
#[derive(Debug)]
pub struct NewSigningKey {
    /// Its public half.
    pub public: PublicJwk,
    /// Its private half as a JWK.
    pub secret: Zeroizing<Vec<u8>>,
}

/// Makes a key of 2048, 3072 or 4096 bits with exponent 65537. It can take seconds: never on the async runtime.
///
/// # Errors
/// OpenSSL cannot make the key.
pub fn generate(bits: u32) -> Result<NewSigningKey, SigningKeyError> {
    let jwk = Jwk::generate_rsa_key(bits).map_err(SigningKeyError::NotMade)?;
    let secret = Zeroizing::new(jwk.to_string().into_bytes());
    let key = SigningKey::from_secret(&secret)?;
    Ok(NewSigningKey { public: key.public, secret })
}

impl PublicJwk {
    /// Whether its name is its thumbprint (RFC 7638). If not, it is not the key of that name.
    #[must_use]
    pub fn is_named_by_its_thumbprint(&self) -> bool {
        self.kid == thumbprint(&self.n, &self.e)
    }

    /// The key as PEM (`SubjectPublicKeyInfo`), for programs that read no JWK.
    ///
    /// # Errors
    /// OpenSSL refuses the key.
    pub fn to_pem(&self) -> Result<String, PemError> {
        self.write_pem().map_err(PemError)
    }

    fn write_pem(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let [n, e] = [URL_SAFE_NO_PAD.decode(&self.n)?, URL_SAFE_NO_PAD.decode(&self.e)?];
        let key = Rsa::from_public_components(BigNum::from_slice(&n)?, BigNum::from_slice(&e)?)?;
        Ok(String::from_utf8(key.public_key_to_pem()?)?)
    }
}

impl SigningKey {
    /// Builds a key from its private JWK, and tests it by signing and verifying once.
    ///
    /// # Errors
    /// [`SigningKeyError`] says what is wrong with the key, and contains nothing of it.
    pub fn from_secret(secret: &[u8]) -> Result<Self, SigningKeyError> {
        // The message of josekit may repeat a part of the key.
        let unusable = |_| SigningKeyError::NotRsa;
        let jwk = Jwk::from_bytes(secret).map_err(unusable)?;
        let public = PublicJwk::of(&jwk).ok_or(SigningKeyError::NotRsa)?;
        let key = Self {
            headers: Headers::of(&public.kid),
            public,
            signer: RS256.signer_from_jwk(&jwk).map_err(unusable)?,
            verifier: RS256.verifier_from_jwk(&jwk).map_err(unusable)?,
        };
        let probe = b"jeton self-test";
        if !key.verify(probe, &key.sign(probe)?) {
            return Err(SigningKeyError::SelfTest);
        }
        Ok(key)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// The encoded JOSE header of this key's tokens of this type.
    #[must_use]
    pub fn header(&self, typ: AccessTokenType) -> &str {
        match typ {
            AccessTokenType::AccessToken => &self.headers.access_token,
            AccessTokenType::Jwt => &self.headers.jwt,
        }
    }

    /// Signs a message.
    ///
    /// # Errors
    /// OpenSSL ran out of memory.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        self.signer.sign(message).map_err(SigningKeyError::NotSigned)
    }

    /// Whether this key made the signature over the message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.verifier, message, signature)
    }
}

/// A published key, which only verifies.
#[derive(Debug)]
pub struct VerifyingKey(RsassaJwsVerifier);

impl VerifyingKey {
    /// Reads a public JWK, which must be an RSA key for RS256 of at least 2048 bits.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, VerifyingKeyError> {
        let unusable = VerifyingKeyError::NotRs256;
        let jwk = Jwk::from_bytes(jwk).map_err(|_| unusable)?;
        let modulus = jwk.parameter("n").and_then(Value::as_str).ok_or(unusable)?;
        let modulus = URL_SAFE_NO_PAD.decode(modulus).map_err(|_| unusable)?;
        let bits = BigNum::from_slice(&modulus).map_err(|_| unusable)?.num_bits();
        if bits < 2_048 {
            return Err(VerifyingKeyError::TooShort(bits));
        }
        Ok(Self(RS256.verifier_from_jwk(&jwk).map_err(|_| unusable)?))
    }

    /// Whether this key made the signature over the message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.0, message, signature)
    }
}

fn verifies(verifier: &RsassaJwsVerifier, message: &[u8], signature: &[u8]) -> bool {
    verifier.verify(message, signature).is_ok()
}

impl PublicJwk {
    /// The public half of a private JWK, named by its thumbprint.
    fn of(jwk: &Jwk) -> Option<Self> {
        let member = |name: &str| jwk.parameter(name).and_then(Value::as_str).map(str::to_owned);
        let (n, e) = (member("n")?, member("e")?);
        (jwk.key_type() == "RSA").then(|| Self::new(n, e))
    }

    fn new(n: String, e: String) -> Self {
        Self {
            kty: "RSA".to_owned(),
            r#use: "sig".to_owned(),
            alg: "RS256".to_owned(),
            kid: thumbprint(&n, &e),
            n,
            e,
        }
    }
}

/// The SHA-256 thumbprint of an RSA key (RFC 7638 §3): the required members in lexical order.
fn thumbprint(n: &str, e: &str) -> KeyId {
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    KeyId::from_octets(&digest::sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1. [K-09]
    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        let n = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1",
            "L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4",
            "QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO",
            "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF",
            "Cur-kEgU8awapJzKnqDKgw"
        );
        assert_eq!(thumbprint(n, "AQAB").as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_new_key_can_be_kept_and_built_again() {
        let new = generate(2_048).expect("OpenSSL to make a key");
        let key = SigningKey::from_secret(&new.secret).expect("the key that was made");
        assert_eq!(*key.public(), new.public);
        assert_eq!(new.public.kid, thumbprint(&new.public.n, &new.public.e));
        let signature = key.sign(b"message").expect("memory");
        assert!(key.verify(b"message", &signature) && !key.verify(b"massage", &signature));
        assert!(!key.verify(b"message", &signature[1..]) && !key.verify(b"message", b""));
        let published = serde_json::to_vec(key.public()).expect("JSON");
        let published = VerifyingKey::from_jwk(&published).expect("a public key");
        assert!(published.verify(b"message", &signature));
        assert!(!published.verify(b"massage", &signature));
        // [K-04] [K-05] The shortest spelling of the modulus, and the usual exponent.
        let n = URL_SAFE_NO_PAD.decode(&key.public.n).expect("base64url without padding");
        assert!(n.len() == 256 && n[0] != 0 && key.public.e == "AQAB");
    }

    /// Wycheproof (C2SP): [`SigningKey::verify`] tells sound signatures and keys from broken ones. The tests over
    /// sockets show what else a token must be. [J-39] [S-02]
    #[test]
    fn the_vectors_of_wycheproof_are_judged_rightly() {
        let vectors = include_str!("../../tests/vectors/wycheproof-rs256.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("JSON");
        let is_sound = |vector: &Value| -> Option<bool> {
            let (input, signature) = vector["jws"].as_str()?.rsplit_once('.')?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            let jwk = Jwk::from_bytes(vector["jwk"].to_string()).ok()?;
            let verifier = RS256.verifier_from_jwk(&jwk).ok()?;
            Some(verifies(&verifier, input.as_bytes(), &signature))
        };
        for vector in &vectors {
            let is_valid = vector["result"] == "valid";
            assert_eq!(is_sound(vector).unwrap_or(false), is_valid, "{vector}");
        }
        let valid = vectors.iter().filter(|vector| vector["result"] == "valid").count();
        assert_eq!((vectors.len(), valid), (235, 8));
    }
}
