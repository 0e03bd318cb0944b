//! Tokens that were not issued as they are presented: forged, altered, spelled otherwise. Most are
//! signed with the service's own key, so that nothing but the check under test can refuse them.

use std::net::Ipv4Addr;

use josekit::jwk::alg::rsa::RsaKeyPair;
use josekit::jwk::{Jwk, KeyPair};
use josekit::jws::{HS256, JwsSigner, PS256, RS256, RS512};
use serde_json::{Value, json};

use super::*;
use crate::harness::forge::{ServiceKey, decode, encode};

const INACTIVE: &str = r#"{"active":false}"#;
const API1: &str = "https://api1.example";

/// A service, its key, and a good token taken apart.
pub(super) struct Forge {
    pub(super) jeton: Jeton,
    pub(super) key: ServiceKey,
    pub(super) token: String,
    pub(super) header: Value,
    pub(super) claims: Value,
}

impl Forge {
    pub(super) async fn new() -> Self {
        // Each revocation is made to come from elsewhere, so that none is one of too many.
        let jeton = Jeton::start_with(ENGINE, &["--trusted-proxy", "127.0.0.0/8"]).await;
        let key = ServiceKey::of(&jeton).await;
        let token = jeton.access_token().await;
        let (header, claims) = decode(&token);
        let forge = Self { jeton, key, token, header, claims };
        // The key is the right one: else every forgery would be refused for that alone.
        let same = forge.key.sign(&forge.header.to_string(), &forge.claims.to_string());
        assert!(forge.jeton.is_active(&same).await);
        forge
    }

    pub(super) async fn introspect(&self, token: &str) -> Reply {
        let form = format!("token={}", percent_encode(token));
        self.jeton.post_as("rs1", "/introspect", &form).send().await
    }

    pub(super) async fn assert_inactive(&self, name: &str, token: &str) {
        let reply = self.introspect(token).await;
        assert_eq!((reply.status, reply.text()), (200, INACTIVE), "{name}: {token}");
    }

    /// Asserts that a token can be used nowhere: introspection knows nothing of it, it is no refresh
    /// token, and its revocation by the client that it names changes nothing.
    pub(super) async fn assert_useless(&self, name: &str, token: &str) {
        self.assert_inactive(name, token).await;
        let reply = self.jeton.refresh("web", token, "").await;
        assert_eq!((reply.status, reply.error()), (400, "invalid_grant".to_owned()), "{name}");
        let address = Ipv4Addr::from_bits(0x0a00_0000 | rand::random::<u32>() >> 8);
        let revoking = self.jeton.revoking("web", token);
        let reply = revoking.header("X-Forwarded-For", &address.to_string()).send().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"), "{name}: {token}");
        assert!(self.jeton.is_active(&self.token).await, "{name} ended the session: {token}");
    }

    /// The good claims under this header, with the good key.
    pub(super) fn under(&self, header: &Value) -> String {
        self.key.sign(&header.to_string(), &self.claims.to_string())
    }

    /// The good header with one member changed.
    pub(super) fn header_with(&self, name: &str, value: Value) -> Value {
        with(&self.header, name, value)
    }

    /// The public half of the key.
    pub(super) fn public(&self) -> Jwk {
        self.key.jwk.to_public_key().expect("an RSA key")
    }
}

/// An object with one member put in its place.
pub(super) fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().expect("an object").insert(name.to_owned(), value);
    object
}

/// An object without one member.
fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().expect("an object").remove(name);
    object
}

/// A token signed with another signer.
fn signed_by(signer: &dyn JwsSigner, header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = signer.sign(input.as_bytes()).expect("a signature");
    format!("{input}.{}", encode(signature))
}

/// RFC 8725 §2.1 and §3.1, RFC 7515 §4.1.1: the algorithm is RS256 in exactly this spelling; what a
/// token says of itself chooses no other, at any endpoint. [I-19] [J-33]
#[tokio::test]
async fn no_algorithm_but_rs256_is_believed() {
    let forge = Forge::new().await;
    for alg in ["none", "None", "nOnE", "", "HS256", "rs256", "Rs256", "RS256 ", "RS512", "PS256"] {
        let header = forge.header_with("alg", json!(alg));
        forge.assert_useless(alg, &forge.under(&header)).await;
        let input = format!("{}.{}", encode(header.to_string()), encode(forge.claims.to_string()));
        forge.assert_useless(alg, &format!("{input}.")).await;
        forge.assert_useless(alg, &input).await;
    }
    for alg in [Value::Null, json!(256), json!(["RS256"]), json!({"RS256": true})] {
        let header = forge.header_with("alg", alg.clone());
        forge.assert_useless(&alg.to_string(), &forge.under(&header)).await;
    }
    forge.assert_useless("no alg", &forge.under(&without(&forge.header, "alg"))).await;

    // Our own key with another algorithm, said or not.
    let longer_digest = RS512.signer_from_jwk(&forge.key.jwk).expect("a private key");
    let probabilistic = PS256.signer_from_jwk(&forge.key.jwk).expect("a private key");
    let others: [(&str, &dyn JwsSigner); 2] =
        [("RS512", &longer_digest), ("PS256", &probabilistic)];
    for (name, signer) in others {
        for alg in [name, "RS256"] {
            let header = forge.header_with("alg", json!(alg));
            forge.assert_useless(name, &signed_by(signer, &header, &forge.claims)).await;
        }
    }

    // The public key as the secret of a MAC (RFC 8725 §2.1).
    let pair = RsaKeyPair::from_jwk(&forge.key.jwk).expect("an RSA key");
    let jwks = forge.jeton.request("GET", "/.well-known/jwks.json").send().await;
    for (name, secret) in [
        ("PEM", pair.to_pem_public_key()),
        ("traditional PEM", pair.to_traditional_pem_public_key()),
        ("DER", pair.to_der_public_key()),
        ("JWK", forge.public().to_string().into_bytes()),
        ("published JWK", jwks.json()["keys"][0].to_string().into_bytes()),
        ("JWKS", jwks.content.clone()),
    ] {
        let signer = HS256.signer_from_bytes(&secret).expect("a secret");
        for alg in ["HS256", "RS256"] {
            let header = forge.header_with("alg", json!(alg));
            forge.assert_useless(name, &signed_by(&signer, &header, &forge.claims)).await;
        }
    }
}

/// RFC 8725 §3.10, RFC 7515 §4.1.2 to §4.1.6: keys come from the service's own set. One that the
/// token brings or points to is no key, and a header that tries is refused even under a good
/// signature. [J-33]
#[tokio::test]
async fn a_key_that_the_token_brings_is_not_used() {
    let forge = Forge::new().await;
    let mut foreign = Jwk::generate_rsa_key(2_048).expect("a key");
    let signer = RS256.signer_from_jwk(&foreign).expect("a private key");
    foreign.set_key_id("foreign");
    let public: Value =
        foreign.to_public_key().expect("an RSA key").to_string().parse().expect("JSON");
    let ours: Value = forge.public().to_string().parse().expect("JSON");
    let url = format!("http://{}/.well-known/jwks.json", forge.jeton.service.public);
    for kid in [forge.key.kid.as_str(), "foreign", ""] {
        let named = forge.header_with("kid", json!(kid));
        forge.assert_useless("foreign", &signed_by(&signer, &named, &forge.claims)).await;
        for (name, value) in [
            ("jwk", &public),
            ("jwk", &ours),
            ("jku", &json!(url)),
            ("x5u", &json!(url)),
            ("x5c", &json!(["MIIB"])),
            ("x5t", &json!("AA")),
            ("x5t#S256", &json!("AA")),
        ] {
            let header = with(&named, name, value.clone());
            forge.assert_useless(name, &signed_by(&signer, &header, &forge.claims)).await;
            forge.assert_useless(name, &forge.under(&header)).await;
        }
    }
    for header in [without(&forge.header, "kid"), forge.header_with("kid", json!(1))] {
        forge.assert_useless("no usable kid", &forge.under(&header)).await;
    }
}

/// RFC 7515 §5.2, RFC 7519 §7.2: a change of any character, in whichever part, is noticed. [I-19]
#[tokio::test]
async fn a_changed_character_is_noticed_wherever_it_is() {
    let forge = Forge::new().await;
    for index in (0..forge.token.len()).step_by(5) {
        let mut altered = forge.token.clone().into_bytes();
        altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        forge.assert_useless(&format!("character {index}"), &altered).await;
    }
    let (_, signature) = forge.token.rsplit_once('.').expect("a signature");
    let header = forge.token.split('.').next().expect("a header");
    let more = with(&forge.claims, "scope", json!("read write admin"));
    let more = format!("{header}.{}.{signature}", encode(more.to_string()));
    forge.assert_useless("more scope under the old signature", &more).await;
}

/// RFC 9068 §4, RFC 8725 §3.9 and §3.11: a good signature is not enough: type, issuer, audience and
/// time must be right, and no claim be absent. [J-34]
#[tokio::test]
async fn claims_are_checked_under_a_good_signature() {
    let forge = Forge::new().await;
    let (now, issuer) = (forge.jeton.clock.now().0, forge.claims["iss"].as_str().expect("text"));
    let long = forge.header_with("typ", json!("application/at+jwt"));
    assert!(forge.jeton.is_active(&forge.under(&long)).await, "the long form of the type");
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!(format!("{issuer}/"))),
        ("iss", json!(issuer.to_uppercase())),
        ("iss", json!([issuer])),
        ("iss", json!("")),
        ("aud", json!("https://api2.example")),
        ("aud", json!(["https://api2.example", "https://api3.example"])),
        ("aud", json!(format!("{API1}/"))),
        ("aud", json!("HTTPS://api1.example")),
        ("aud", json!("web")),
        ("aud", json!([])),
        ("aud", json!([[API1]])),
        ("aud", json!({"a": API1})),
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!(0)),
        ("sid", json!("nobody")),
        ("sid", forge.claims["jti"].clone()),
        ("sid", json!("' OR '1'='1")),
    ] {
        let claims = with(&forge.claims, name, value);
        forge.assert_inactive(name, &forge.key.sign_claims(&claims)).await;
    }
    // Tokens of earlier versions have no `amr`.
    let names = forge.claims.as_object().expect("an object").keys();
    for name in names.filter(|name| *name != "amr") {
        let claims = without(&forge.claims, name);
        forge.assert_inactive(&format!("no {name}"), &forge.key.sign_claims(&claims)).await;
    }
    // The token's own end counts, though the session lives on.
    let short = forge.key.sign_claims(&with(&forge.claims, "exp", json!(now + 300)));
    forge.jeton.clock.advance(299);
    assert!(forge.jeton.is_active(&short).await);
    forge.jeton.clock.advance(1);
    forge.assert_inactive("at exp", &short).await;
    assert!(forge.jeton.is_active(&forge.token).await);
}

/// RFC 8725 §3.11 and §3.12, RFC 9068 §2.1: a JWT of another kind is no access token, though this
/// issuer signed it, and an access token is nothing else: no client assertion, no caller's proof.
/// [J-34] [J-37]
#[tokio::test]
async fn one_kind_of_jwt_does_not_pass_as_another() {
    let forge = Forge::new().await;
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("token-introspection+jwt"),
        json!("application/token-introspection+jwt"),
        json!("logout+jwt"),
        json!("dpop+jwt"),
        json!("at+JWT"),
        json!("at+jwt "),
        json!(""),
        json!(["at+jwt"]),
        Value::Null,
    ] {
        let header = forge.header_with("typ", typ.clone());
        forge.assert_useless(&typ.to_string(), &forge.under(&header)).await;
    }
    forge.assert_useless("no typ", &forge.under(&without(&forge.header, "typ"))).await;

    let assertion = format!(
        "{}&client_assertion_type={}&client_assertion={}",
        login_form("alice", PASSWORD),
        percent_encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        forge.token
    );
    forge.jeton.post("/token", &assertion).send().await.assert_error(401, "invalid_client");
    let bearer = forge.jeton.post("/introspect", &format!("token={}", forge.token));
    let bearer = bearer.header("Authorization", &format!("Bearer {}", forge.token));
    bearer.send().await.assert_error(401, "invalid_client");
}
