//! An access token as a resource server sees it that knows only the issuer (RFC 9068 §4).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::jwks::KeySet;
use super::report::{Fault, Finding, fault, judge, quote};
use jeton_oauth::access_token::UnverifiedToken;
use jeton_oauth::{AccessTokenClaims, Scope, Timestamp};

/// Claims that introspection must return with the same values (RFC 7662 §2.2).
const SHARED: [&str; 8] = ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope"];

#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// `None` if none was requested.
    pub(super) scope: Option<&'a str>,
    pub(super) resource: &'a [String],
    /// When the answer arrived, by the local clock.
    pub(super) at: Timestamp,
}

/// Verifies a token and says what is wrong with it.
pub(super) fn judge_token(
    check: &'static str,
    token: &str,
    keys: &KeySet,
    expected: Expected<'_>,
) -> (Vec<Finding>, Option<AccessTokenClaims>) {
    match verify(token, keys) {
        Ok(claims) => {
            let good = "a JWT that the key set verifies; iss, aud, client_id, scope, exp are right";
            (judge(check, good, claims_faults(&claims, expected)), Some(claims))
        }
        Err(fault) => (judge(check, "", vec![fault]), None),
    }
}

fn verify(token: &str, keys: &KeySet) -> Result<AccessTokenClaims, Fault> {
    let unverified = UnverifiedToken::read(token).ok_or_else(|| {
        fault(
            "the access token is no JWT with RS256, a kid, and the type at+jwt (RFC 9068 §2.1) or JWT",
            "see that this is Jeton, and that nobody changed the answer on its way",
        )
    })?;
    let kid = unverified.key.as_str();
    let key = keys.find(kid).ok_or_else(|| {
        fault(
            format!("the access token names the key {}, which the key set does not have", quote(kid)),
            "see that the key set does not come out of a cache, and that all replicas use one database",
        )
    })?;
    if !key.verify(unverified.signing_input, &unverified.signature) {
        return Err(fault(
            format!("the signature of the access token is not that of its key {}", quote(kid)),
            "see that nobody changed token or key set on their way",
        ));
    }
    unverified.claims().ok_or_else(|| {
        let remedy = "see that this jeton is of the version that serves";
        fault("the access token lacks claims of RFC 9068, or has them in another form", remedy)
    })
}

fn claims_faults(claims: &AccessTokenClaims, expected: Expected<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if claims.iss != expected.issuer {
        faults.push(fault(
            format!(
                "iss is {}, so verifiers that expect the URL refuse the token",
                quote(&claims.iss)
            ),
            "see metadata.issuer; if that is ok, give all replicas the same --issuer",
        ));
    }
    let audiences: BTreeSet<&str> =
        claims.aud.audiences().iter().map(jeton_oauth::client::Audience::as_str).collect();
    let wanted: BTreeSet<&str> = expected.resource.iter().map(String::as_str).collect();
    if !wanted.is_empty() && audiences != wanted {
        faults.push(fault(
            format!("aud is {audiences:?}, not what --resource asked for"),
            "see that the proxy passes all parameters on, repeated ones too",
        ));
    }
    if claims.client_id.as_str() != expected.client_id {
        faults.push(fault(
            format!("client_id is {}", quote(claims.client_id.as_str())),
            "see that the proxy puts no credentials of its own in place of the client's",
        ));
    }
    if expected.scope.is_some_and(|scope| !is_scope(scope, &claims.scope)) {
        faults.push(fault(
            format!("scope is {}, not what --scope asked for", quote(&claims.scope.to_string())),
            "see that the proxy passes all parameters on",
        ));
    }
    if claims.exp <= expected.at {
        faults.push(fault(
            format!("the access token expired at {}, before it came", claims.exp),
            "set both clocks by NTP",
        ));
    }
    faults
}

fn is_scope(text: &str, scope: &Scope) -> bool {
    text.split(' ').collect::<BTreeSet<_>>() == scope.tokens().collect()
}

/// How introspection and token differ.
pub(super) fn contradictions(claims: &AccessTokenClaims, said: &Map<String, Value>) -> Vec<Fault> {
    let claims = serde_json::to_value(claims).expect("claims are JSON");
    let differs = |name: &&str| claims.get(*name) != said.get(*name);
    let names: Vec<_> = SHARED.into_iter().filter(differs).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![fault(
        format!("introspection and token differ in {}", names.join(", ")),
        "see that both come from one service, and that nobody changed the answer on its way",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_crypto::signing::{self, SigningKey};
    use jeton_oauth::access_token::{attach_signature, encode_header, signing_input};

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn claims() -> AccessTokenClaims {
        serde_json::from_value(serde_json::json!({
            "iss": "https://h", "sub": "u", "aud": "https://api", "client_id": "web",
            "iat": NOW.0, "exp": NOW.0 + 600, "jti": "j", "auth_time": NOW.0,
            "scope": "read write", "sid": "s",
        }))
        .expect("claims")
    }

    fn sign(key: &SigningKey, claims: &AccessTokenClaims) -> String {
        let input = signing_input(&encode_header(&key.public().kid, claims.typ), claims);
        let signature = key.sign(input.as_bytes()).expect("a signature");
        attach_signature(input, &signature)
    }

    #[test]
    fn a_token_is_verified_as_a_resource_server_does() {
        let make = || {
            let made = signing::generate(2_048).expect("a key");
            SigningKey::from_secret(&made.secret).expect("a key")
        };
        let (key, other) = (make(), make());
        let keys = KeySet::of(&[serde_json::to_value(key.public()).expect("JSON")]);
        let resource = ["https://api".to_owned()];
        let scope = Some("write read");
        let expected =
            Expected { issuer: "https://h", client_id: "web", scope, resource: &resource, at: NOW };
        let wrong = |token: &str, expected: Expected<'_>| -> Vec<String> {
            let (findings, _) = judge_token("login.token", token, &keys, expected);
            let wrong = findings.into_iter().filter(Finding::is_wrong);
            wrong.map(|finding| finding.found).collect()
        };
        let good = sign(&key, &claims());
        assert_eq!(wrong(&good, expected), Vec::<String>::new());
        let (_, read) = judge_token("login.token", &good, &keys, expected);
        assert_eq!(read, Some(claims()));
        let forged = sign(&key, &AccessTokenClaims { iss: "x".to_owned(), ..claims() });
        let (head, _) = good.rsplit_once('.').expect("parts");
        let (_, signature) = forged.rsplit_once('.').expect("parts");
        let late = Timestamp(NOW.0 + 600);
        for (token, expected, says) in [
            ("x.y.z", expected, "no JWT"),
            (&sign(&other, &claims()), expected, "does not have"),
            (&format!("{head}.{signature}"), expected, "signature"),
            (&good, Expected { issuer: "https://h/", ..expected }, "iss is"),
            (&good, Expected { client_id: "spa", ..expected }, "client_id is"),
            (&good, Expected { scope: Some("read"), ..expected }, "scope is"),
            (&good, Expected { resource: &["https://x".to_owned()], ..expected }, "aud is"),
            (&good, Expected { at: late, ..expected }, "expired"),
        ] {
            let wrong = wrong(token, expected);
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{says}: {wrong:?}");
        }
    }

    #[test]
    fn introspection_says_what_the_token_says() {
        let Ok(Value::Object(mut said)) = serde_json::to_value(claims()) else { panic!("claims") };
        assert!(contradictions(&claims(), &said).is_empty());
        said.insert("scope".to_owned(), "read".into());
        said.remove("jti");
        let (found, _) = contradictions(&claims(), &said).pop().expect("a fault");
        assert!(found.ends_with("differ in jti, scope"), "{found}");
    }
}
