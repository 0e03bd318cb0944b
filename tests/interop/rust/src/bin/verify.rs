//! verify.rs, run by: cargo run -q --bin verify

use std::io::{self, BufRead};
use std::time::{Duration, Instant};
use std::{env, error::Error};

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

const AGE_MAX: Duration = Duration::from_mins(5);
const AGE_MIN: Duration = Duration::from_secs(30);
const INVALID: &str = "401 Bearer error=\"invalid_token\"";

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    scope: String,
}

struct Verifier {
    jwks_uri: String,
    rules: Validation,
    agent: ureq::Agent,
    keys: Option<(Instant, JwkSet)>,
}

impl Verifier {
    fn new(issuer: &str, audience: &str) -> Self {
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_issuer(&[issuer]);
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        rules.leeway = 30;
        let timeout = Some(Duration::from_secs(5));
        let agent = ureq::Agent::config_builder().timeout_global(timeout).build().into();
        Self { jwks_uri: format!("{issuer}/.well-known/jwks.json"), rules, agent, keys: None }
    }

    /// The key of that name. The set is fetched again when it is old, or when it lacks the key.
    fn key(&mut self, kid: &str) -> Result<Option<DecodingKey>, Box<dyn Error>> {
        let stale = self.keys.as_ref().is_none_or(|(fetched, keys)| {
            let age_max = if keys.find(kid).is_some() { AGE_MAX } else { AGE_MIN };
            fetched.elapsed() > age_max
        });
        if stale {
            let keys = self.agent.get(&self.jwks_uri).call()?.body_mut().read_json()?;
            self.keys = Some((Instant::now(), keys));
        }
        let found = self.keys.as_ref().and_then(|(_, keys)| keys.find(kid));
        Ok(found.map(DecodingKey::from_jwk).transpose()?)
    }

    /// The claims of a request's `Authorization`, or the status and challenge to answer with.
    fn verify(&mut self, authorization: &str, scope: &str) -> Result<Claims, String> {
        let (scheme, token) = authorization.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err("401 Bearer".to_owned());
        }
        let header = decode_header(token).map_err(|_| INVALID)?;
        let kid = header.kid.filter(|_| header.typ.as_deref() == Some("at+jwt")).ok_or(INVALID)?;
        // That the keys cannot be had is not the caller's fault.
        let key = self.key(&kid).map_err(|_| "503")?.ok_or(INVALID)?;
        let claims = decode::<Claims>(token, &key, &self.rules).map_err(|_| INVALID)?.claims;
        if claims.scope.split(' ').any(|granted| granted == scope) {
            return Ok(claims);
        }
        Err(format!("403 Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut verifier = Verifier::new(&env::var("ISSUER")?, &env::var("AUDIENCE")?);
    for authorization in io::stdin().lock().lines() {
        match verifier.verify(&authorization?, "read") {
            Ok(claims) => println!("200 {}", claims.sub),
            Err(answer) => println!("{answer}"),
        }
    }
    Ok(())
}
