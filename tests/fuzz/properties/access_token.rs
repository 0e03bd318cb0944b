//! Access tokens.

use std::sync::{Arc, LazyLock};

use jeton_crypto::key_lifecycle::{KeyDates, Schedule};
use jeton_crypto::key_set::{DatedKey, HeldKey, KeySet, Verified};
use jeton_crypto::signing::{self, SigningKey};
use jeton_oauth::access_token::{AccessTokenClaims, UnverifiedToken, attach_signature};
use jeton_oauth::{Issuer, Seconds, Timestamp, access_token};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{URL_SAFE, decode_base64, edited, encode_base64url};

const NOW: Timestamp = Timestamp(1_000_000);

/// A service of one key that is made anew at each start.
struct Service {
    key: Arc<SigningKey>,
    ring: KeySet,
    issuer: Issuer,
    genuine: String,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let new = signing::generate(2_048).expect("OpenSSL to make a key");
    let key = Arc::new(SigningKey::from_secret(&new.secret).expect("the key that was made"));
    let dates = KeyDates { created_at: NOW, activates_at: NOW, revoked_at: None };
    let keys = [DatedKey { key: HeldKey::Whole(Arc::clone(&key)), dates }];
    let schedule = Schedule::new(Seconds::new(86_400), Seconds::new(600));
    let ring = KeySet::new(&keys, NOW, &schedule, None);
    let claims = r#"{"iss":"https://i","sub":"s","aud":"a","client_id":"c","iat":1000000,
        "exp":1000300,"jti":"j","auth_time":1000000,"scope":"read","sid":"d"}"#;
    let claims: AccessTokenClaims = serde_json::from_str(claims).expect("claims");
    let genuine = ring.signing().expect("a key").sign(&claims).expect("a key that signs");
    Service { key, ring, issuer: "https://i".parse().expect("an issuer"), genuine }
});

/// The first octet of the input says what the rest is: `e` changes of a genuine token, `c` a header
/// and, on the next line, claims, which are encoded and signed; in a header, `$K` is the key's name.
/// Anything else is a token as it is.
pub(super) fn check(input: &[u8]) {
    match input.split_first() {
        Some((b'e', edits)) => check_edited(edits),
        Some((b'c', parts)) => check_parts(&String::from_utf8_lossy(parts)),
        _ => check_text(&String::from_utf8_lossy(input)),
    }
}

fn verify(token: &str) -> Verified<AccessTokenClaims> {
    SERVICE.ring.verify(token, &SERVICE.issuer, NOW)
}

/// Of all texts next to a genuine token, it alone is genuine (RFC 7515 §5.2).
fn check_edited(edits: &[u8]) {
    let token = edited(&SERVICE.genuine, edits);
    let is_genuine = matches!(verify(&token), Verified::Genuine(_));
    assert_eq!(is_genuine, token == SERVICE.genuine, "{token}");
}

/// Nobody finds a signature, and what is taken apart has one spelling.
fn check_text(token: &str) {
    assert!(!matches!(verify(token), Verified::Genuine(_)));
    let Some(read) = UnverifiedToken::read(token) else {
        assert_eq!(verify(token), Verified::Forged);
        return;
    };
    let input = std::str::from_utf8(read.signing_input).expect("a part of a text").to_owned();
    assert_eq!(attach_signature(input, &read.signature), token);
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let header = decode_base64(URL_SAFE, parts[0].as_bytes()).expect("canonical base64url");
    assert!(is_header_of(&String::from_utf8(header).expect("UTF-8"), read.key.as_str()));
    if let Some(claims) = read.claims() {
        let text = decode_base64(URL_SAFE, parts[1].as_bytes()).expect("canonical base64url");
        check_claims(&claims, &String::from_utf8(text).expect("UTF-8"));
    }
}

/// A signed token is genuine exactly if header and claims are those of an access token of this issuer
/// that has not expired (RFC 9068 §4).
fn check_parts(parts: &str) {
    let (header, claims) = parts.split_once('\n').unwrap_or((parts, ""));
    let kid = SERVICE.key.public().kid.as_str();
    let header = header.replace("$K", kid);
    let input =
        format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(claims.as_bytes()));
    let unsigned = format!("{input}.AAAA");
    check_text(&unsigned);
    let read = UnverifiedToken::read(&unsigned);
    // A signature takes longer than all the rest, so what is refused without is signed at times only.
    let said = read.as_ref().and_then(UnverifiedToken::claims);
    if said.is_none() && !parts.len().is_multiple_of(16) {
        return;
    }
    let signature = SERVICE.key.sign(input.as_bytes()).expect("a key that signs");
    let expected = match (read, said) {
        (None, _) => Verified::Forged,
        (Some(read), _) if read.key.as_str() != kid => Verified::OfUnknownKey,
        (_, Some(said)) if said.iss == "https://i" && said.exp > NOW => Verified::Genuine(said),
        _ => Verified::Forged,
    };
    assert_eq!(verify(&attach_signature(input, &signature)), expected);
}

/// A header has three members and nothing else (RFC 9068 §2.1, RFC 8725 §3.10).
fn is_header_of(text: &str, kid: &str) -> bool {
    let header: Map<String, Value> = serde_json::from_str(text).expect("a JSON object");
    let says = |name: &str, values: &[&str]| {
        let value = header.get(name).and_then(Value::as_str);
        value.is_some_and(|value| values.contains(&value))
    };
    members(text).len() == 3
        && says("alg", &["RS256"])
        && says("typ", &["at+jwt", "application/at+jwt", "JWT"])
        && says("kid", &[kid])
}

/// The names of the members of an object, as often as they stand there.
fn members(text: &str) -> Vec<String> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some((name, IgnoredAny)) = object.next_entry()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Names).expect("a JSON object")
}

/// What was read stands in the text, in its type, and is read again from what it is written as.
fn check_claims(claims: &AccessTokenClaims, text: &str) {
    let said: Map<String, Value> = serde_json::from_str(text).expect("a JSON object");
    let written = serde_json::to_value(claims).expect("JSON");
    for (name, value) in written.as_object().expect("an object") {
        assert_eq!(members(text).iter().filter(|own| *own == name).count(), 1, "{name} of {text}");
        let said = said.get(name).unwrap_or_else(|| panic!("{name} is not in {text}"));
        // A scope that names a token twice is written with it once.
        assert!(said == value || name == "scope", "{name} of {text}");
    }
    let (audiences, numbers) = (claims.aud.audiences(), [claims.iat, claims.exp, claims.auth_time]);
    assert!(
        said["aud"].is_string()
            || said["aud"].as_array().is_some_and(|all| all.len() == audiences.len())
    );
    for (name, number) in ["iat", "exp", "auth_time"].iter().zip(numbers) {
        assert_eq!(said[*name].as_i64(), Some(number.0));
    }
    let input = access_token::signing_input(SERVICE.key.header(claims.typ), claims);
    let token = attach_signature(input, b"x");
    let read = UnverifiedToken::read(&token).expect("the form that is made here");
    assert_eq!(read.claims().as_ref(), Some(claims));
}
