//! Tokens taken apart, and tokens signed with the service's own key: what a thief of both database
//! and master key could make, and the only way to show which claims are checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe;
use josekit::jwk::Jwk;
use josekit::jws::{JwsSigner, RS256};
use serde_json::{Value, json};

use super::Jeton;
use super::client::strict_json;

/// The header and the claims of a token, strictly parsed.
pub(crate) fn decode(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "a JWS in compact form: {token}");
    let part = |index: usize| {
        let octets = URL_SAFE_NO_PAD.decode(parts[index]).expect("base64url without padding");
        strict_json(std::str::from_utf8(&octets).expect("UTF-8"))
    };
    (part(0), part(1))
}

/// The claims of a token.
pub(crate) fn claims(token: &str) -> Value {
    decode(token).1
}

/// The parts of a token as octets, to be put together in other ways.
pub(crate) fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// The private signing key of a service, opened with its master key.
pub(crate) struct ServiceKey {
    pub(crate) kid: String,
    pub(crate) jwk: Jwk,
}

impl ServiceKey {
    pub(crate) async fn of(jeton: &Jeton) -> Self {
        let rows = "SELECT kid, sealed_key FROM keys WHERE purpose = 'signing'";
        let rows = jeton.database.query(rows).await;
        let (kid, sealed) = (rows[0][0].clone(), rows[0][1].clone());
        let master = std::fs::read(&jeton.fixtures.master_key).expect("the master key");
        let master: Value = serde_json::from_slice(&master).expect("JSON");
        let k = URL_SAFE_NO_PAD.decode(master["k"].as_str().expect("a key")).expect("base64url");
        let decrypter = jwe::Dir.decrypter_from_bytes(k).expect("256 bits");
        let sealed = sealed.expect("a sealed key");
        let (secret, _) = jwe::deserialize_compact(&sealed, &decrypter).expect("the master key");
        Self { kid: kid.expect("a kid"), jwk: Jwk::from_bytes(secret).expect("a JWK") }
    }

    /// The header of the service's own tokens.
    pub(crate) fn header(&self) -> Value {
        json!({"alg": "RS256", "kid": self.kid, "typ": "at+jwt"})
    }

    /// Signs any header and claims, given as text.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_input(&format!("{}.{}", encode(header), encode(claims)))
    }

    /// Signs any text, and appends the signature as the last part.
    pub(crate) fn sign_input(&self, input: &str) -> String {
        let signer = RS256.signer_from_jwk(&self.jwk).expect("a private key");
        let signature = signer.sign(input.as_bytes()).expect("a signature");
        format!("{input}.{}", encode(signature))
    }

    /// Signs claims under the usual header.
    pub(crate) fn sign_claims(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}
