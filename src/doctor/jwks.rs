//! The key set (RFC 7517): whether a resource server can verify with it, now and after a rotation.

use std::collections::BTreeSet;

use http::header::{ETAG, IF_NONE_MATCH};
use serde_json::Value;

use super::Visit;
use super::answer::{faults_of, unanswered};
use super::client::Answer;
use super::published::{self, read};
use super::report::{Fault, Finding, fault, judge, quote};
use jeton_crypto::signing::VerifyingKey;
use jeton_oauth::metadata::JWKS_PATH;

/// The private members of a key (RFC 7518 §6.3.2, §6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The keys that can verify, with their names.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<(String, VerifyingKey)>);

impl KeySet {
    pub(super) fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.iter().find(|(own, _)| own == kid).map(|(_, key)| key)
    }
}

pub(super) async fn examine(visit: &Visit) -> (Vec<Finding>, KeySet) {
    let path = visit.issuer.endpoint_path(JWKS_PATH);
    let answer = match visit.get(&path).await {
        Ok(answer) => answer,
        Err(error) => {
            let findings = judge("jwks.document", "", vec![unanswered(&error)]);
            return (findings, KeySet::default());
        }
    };
    let (mut findings, keys) = judge_set(&path, &answer);
    let Some(etag) = answer.headers.get(ETAG).filter(|_| answer.status.is_success()) else {
        return (findings, keys);
    };
    let again = visit.get_with(&path, &[(IF_NONE_MATCH, etag.clone())]).await;
    let faults = faults_of(&path, &again, |again| published::not_modified_faults(&path, again));
    findings.extend(judge("jwks.not_modified", "a caller that has it already gets 304", faults));
    (findings, keys)
}

fn judge_set(path: &str, answer: &Answer) -> (Vec<Finding>, KeySet) {
    let document = match read(path, answer) {
        Ok(document) => document,
        Err(fault) => return (judge("jwks.document", "", vec![fault]), KeySet::default()),
    };
    let keys = document.get("keys").and_then(Value::as_array).map(Vec::as_slice);
    let keys = keys.unwrap_or_default();
    let (faults, set) = read_keys(keys);
    let mut findings = [
        judge("jwks.document", &format!("{path} is JSON"), Vec::new()),
        judge("jwks.keys", "RSA keys for RS256 of 2048 bits or more, each with a name", faults),
        published::judge_headers(["jwks.caching", "jwks.cors"], path, answer),
    ]
    .concat();
    if keys.len() > 1 {
        let found = format!("{} keys are published: one signs", keys.len());
        let remedy = "verifiers must choose by kid; the next key is published before it signs, the last \
                      one until its tokens have expired (`jeton key list` tells which is which)";
        findings.push(Finding::note("jwks.rotation", found, remedy));
    }
    (findings, set)
}

/// The keys of a set, and what is wrong with them.
fn read_keys(keys: &[Value]) -> (Vec<Fault>, KeySet) {
    let mut faults = Vec::new();
    let mut set = KeySet::default();
    if keys.is_empty() {
        let remedy = "see that this is the key set of Jeton; `jeton key list` shows its keys";
        faults.push(fault("there is no key in it", remedy));
    }
    let mut names = BTreeSet::new();
    for (index, key) in keys.iter().enumerate() {
        let member = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
        let kid = member("kid");
        let name = if kid.is_empty() {
            format!("key {}", index + 1)
        } else {
            format!("key {}", quote(kid))
        };
        let mut add = |what: String, remedy: &str| faults.push(fault(what, remedy));
        let unchanged = "let the proxy leave the content as it is: Jeton publishes no such key";
        if kid.is_empty() {
            add(format!("{name} has no kid, so verifiers cannot choose it"), unchanged);
        } else if !names.insert(kid) {
            add(format!("{name} is there twice"), unchanged);
        }
        if PRIVATE.iter().any(|private| key.get(private).is_some()) {
            add(
                format!("{name} is published with its private half"),
                "everyone can sign with it: `jeton key rotate --emergency` and `jeton key revoke` it now",
            );
        }
        if member("kty") != "RSA" || member("use") != "sig" || member("alg") != "RS256" {
            add(format!("{name} does not say RSA, sig and RS256"), unchanged);
        }
        match VerifyingKey::from_jwk(key.to_string().as_bytes()) {
            Ok(verifying) => set.0.push((kid.to_owned(), verifying)),
            Err(why) => add(format!("{name} {why}"), unchanged),
        }
    }
    (faults, set)
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;
    use jeton_crypto::signing;

    impl KeySet {
        pub(in super::super) fn of(keys: &[Value]) -> Self {
            read_keys(keys).1
        }
    }

    #[test]
    fn a_second_key_is_worth_a_note() {
        let make = || {
            let made = signing::generate(2_048).expect("a key");
            serde_json::to_value(&made.public).expect("JSON")
        };
        let json = [("content-type", "application/json")];
        let notes = |keys: &[Value]| {
            let content = serde_json::json!({ "keys": keys }).to_string();
            let (findings, _) = judge_set("/jwks", &answer(200, &json, &content));
            findings.iter().filter(|finding| finding.check == "jwks.rotation").count()
        };
        let (one, other) = (make(), make());
        assert_eq!((notes(std::slice::from_ref(&one)), notes(&[one.clone(), other])), (0, 1));
    }

    #[test]
    fn keys_are_read_as_strictly_as_verifiers_do() {
        let made = signing::generate(2_048).expect("a key");
        let good = serde_json::to_value(&made.public).expect("JSON");
        let kid = made.public.kid.as_str();
        let (faults, set) = read_keys(std::slice::from_ref(&good));
        assert!(faults.is_empty() && set.find(kid).is_some() && set.find("x").is_none());
        let with = |name: &str, value: &str| {
            let mut key = good.clone();
            key[name] = value.into();
            key
        };
        let short = "AQ".repeat(64);
        for (keys, says) in [
            (vec![], "no key"),
            (vec![with("kid", "")], "no kid"),
            (vec![good.clone(), good.clone()], "twice"),
            (vec![with("d", "AQAB")], "private half"),
            (vec![with("use", "")], "RS256"),
            (vec![with("n", &short)], "2048 are the least"),
        ] {
            let (faults, _) = read_keys(&keys);
            assert!(faults.iter().any(|(found, _)| found.contains(says)), "{says}: {faults:?}");
            assert!(faults.iter().all(|(found, _)| !found.contains("AQAB")));
        }
    }
}
