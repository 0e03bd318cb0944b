//! The metadata (RFC 8414): whether it exists, names this issuer, and has the right endpoints.

use serde_json::{Map, Value};

use super::Visit;
use super::answer::unanswered;
use super::client::Answer;
use super::published::{self, read};
use super::report::{Fault, Finding, fault, judge, quote};
use jeton_oauth::Issuer;
use jeton_oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, REVOCATION_PATH, TOKEN_PATH};

/// The members with URLs, and the path of each.
const ADDRESSES: [(&str, &str); 4] = [
    ("token_endpoint", TOKEN_PATH),
    ("jwks_uri", JWKS_PATH),
    ("introspection_endpoint", INTROSPECTION_PATH),
    ("revocation_endpoint", REVOCATION_PATH),
];

/// Checks the document at both of its addresses.
pub(super) async fn examine(visit: &Visit) -> Vec<Finding> {
    let path = visit.issuer.well_known_path("oauth-authorization-server");
    let answer = match visit.get(&path).await {
        Ok(answer) => answer,
        Err(error) => return judge("metadata.document", "", vec![unanswered(&error)]),
    };
    let mut findings = judge_document(&visit.issuer, &path, &answer);
    findings.extend(judge("clock.date", "Date agrees with the clock here", {
        published::clock_faults(&answer)
    }));
    let other_path = visit.issuer.well_known_path("openid-configuration");
    let faults = match visit.get(&other_path).await {
        Ok(other) => other_faults(&other_path, &other, &answer),
        Err(error) => vec![unanswered(&error)],
    };
    let good = format!("{other_path} has the same document");
    findings.extend(judge("metadata.openid_document", &good, faults));
    findings
}

fn judge_document(issuer: &Issuer, path: &str, answer: &Answer) -> Vec<Finding> {
    let document = match read(path, answer) {
        Ok(document) => document,
        Err(fault) => return judge("metadata.document", "", vec![fault]),
    };
    let said = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    let issuer_faults = issuer_fault(issuer.as_str(), said).into_iter().collect();
    let said_faults = said.parse().map(|said| endpoint_faults(&said, &document));
    // Another issuer is one fault. Each endpoint below that issuer is not a further one.
    let endpoint_faults = match said_faults {
        Ok(faults) if faults.is_empty() => faults,
        _ => endpoint_faults(issuer, &document),
    };
    [
        judge("metadata.document", &format!("{path} is JSON"), Vec::new()),
        judge("metadata.issuer", "it names this issuer, to the letter", issuer_faults),
        judge("metadata.endpoints", "the endpoints are below the issuer", endpoint_faults),
        judge_grants(&document),
        published::judge_headers(["metadata.caching", "metadata.cors"], path, answer),
    ]
    .concat()
}

/// The fault of an issuer that is not the URL (RFC 8414 §3.3), with the likely mistake.
fn issuer_fault(url: &str, said: &str) -> Option<Fault> {
    if url == said {
        return None;
    }
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (said_scheme, said_rest) = said.split_once("://").unwrap_or_default();
    let host = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
    let remedy = if url.trim_end_matches('/') == said.trim_end_matches('/') {
        "only the slash at the end differs, but verifiers compare letter by letter: give both the same \
         text, in `jeton serve --issuer` and in every client and resource server"
            .to_owned()
    } else if url.eq_ignore_ascii_case(said) {
        "only capital letters differ, but verifiers compare letter by letter: use the URL that it says"
            .to_owned()
    } else if scheme != said_scheme && rest == said_rest {
        format!(
            "only the scheme differs: start `jeton serve --issuer {url}`; behind a proxy that speaks \
             TLS it must be told, because it believes no header about it"
        )
    } else if host(rest) != host(said_rest) {
        format!(
            "callers reach it by another name than it knows: start `jeton serve --issuer {url}`, or use \
             the name that it says"
        )
    } else {
        format!("start `jeton serve --issuer {url}`, or use the URL that it says everywhere")
    };
    Some(fault(format!("it says that the issuer is {}, not {}", quote(said), quote(url)), remedy))
}

/// The faults of the URLs in the document.
fn endpoint_faults(issuer: &Issuer, document: &Map<String, Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (member, path) in ADDRESSES {
        let wanted = issuer.endpoint(path);
        let said = document.get(member).and_then(Value::as_str).unwrap_or_default();
        if said != wanted {
            faults.push(fault(
                format!("{member} is {} instead of {}", quote(said), quote(&wanted)),
                format!(
                    "start `jeton serve --issuer {issuer}`, and let the proxy leave the content as it \
                     is: clients go where the document leads"
                ),
            ));
        }
    }
    faults
}

fn judge_grants(document: &Map<String, Value>) -> Vec<Finding> {
    let grants = document.get("grant_types_supported").and_then(Value::as_array);
    let has = |name: &str| grants.is_some_and(|grants| grants.iter().any(|grant| grant == name));
    let faults = if has("password") && has("refresh_token") {
        Vec::new()
    } else {
        vec![fault(
            "grant_types_supported lacks password or refresh_token",
            "see that this is Jeton, and that nobody changed the document on its way",
        )]
    };
    judge("metadata.grants", "the grants password and refresh_token", faults)
}

/// The faults of the document at its second address.
fn other_faults(path: &str, other: &Answer, first: &Answer) -> Vec<Fault> {
    match read(path, other) {
        Err(fault) => vec![fault],
        Ok(document) if first.object().is_some_and(|first| first != document) => vec![fault(
            format!("{path} is another document"),
            "let the proxy pass both names on to Jeton: many verifiers know only this one",
        )],
        Ok(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mistakes_with_the_issuer_are_named() {
        for (url, said, says) in [
            ("https://h", "https://h/", "slash"),
            ("https://h/", "https://h", "slash"),
            ("HTTPS://H/t", "https://h/t", "capital letters"),
            ("https://h/t", "http://h/t", "scheme"),
            ("https://h", "http://localhost:8080", "another name"),
            ("https://h:444", "https://h", "another name"),
            ("https://h/t", "https://h", "the URL that it says"),
            ("https://h", "", "another name"),
        ] {
            let (_, remedy) = issuer_fault(url, said).expect("a fault");
            assert!(remedy.contains(says), "{url} {said}: {remedy}");
        }
        assert!(issuer_fault("https://h", "https://h").is_none());
    }

    #[test]
    fn the_document_leads_to_endpoints_below_the_issuer() {
        let issuer: Issuer = "https://h/t".parse().expect("an issuer");
        let scope = jeton_oauth::Scope::default();
        let metadata = jeton_oauth::metadata::Metadata::new(&issuer, &scope);
        let Ok(Value::Object(mut document)) = serde_json::to_value(metadata) else {
            panic!("an object");
        };
        assert!(endpoint_faults(&issuer, &document).is_empty());
        assert!(judge_grants(&document).iter().all(|finding| !finding.is_wrong()));
        document.insert("token_endpoint".to_owned(), "http://h/t/token".into());
        document.remove("jwks_uri");
        assert_eq!(endpoint_faults(&issuer, &document).len(), 2);
    }
}
