//! The endpoints as a client without tokens sees them: errors are as in RFC 6749 §5.2, credentials arrive, no caching.

use std::collections::HashSet;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};

use super::answer::{
    error_faults, faults_of, foreign_answer, get_faults, storing_faults, unanswered,
};
use super::client::{Answer, RequestError};
use super::report::{Fault, Finding, fault, judge};
use super::visit::{Caller, Visit, basic, request};
use jeton_oauth::client::ClientAuthenticationMethod::{ClientSecretBasic, ClientSecretPost};
use jeton_oauth::metadata::{INTROSPECTION_PATH, REVOCATION_PATH, TOKEN_PATH};

/// Identifiers that no client has.
const NOBODY: &str = "jeton-doctor-nobody";
const NOBODY_ELSE: &str = "jeton-doctor-nobody-else";
/// In this field the service says that it does not know the address of a caller: see `http/forwarded.rs`.
const UNTOLD_FIELD: &str = "x-jeton-forwarded";

/// The findings, and the client if it can authenticate.
pub(super) struct ClientChecks {
    pub(super) findings: Vec<Finding>,
    pub(super) caller: Option<Caller>,
}

pub(super) async fn examine(visit: &Visit) -> ClientChecks {
    let mut findings = Vec::new();
    let mut common = CommonChecks::default();
    for (check, path) in [
        ("token.get", TOKEN_PATH),
        ("revocation.get", REVOCATION_PATH),
        ("introspection.get", INTROSPECTION_PATH),
    ] {
        let path = visit.issuer.endpoint_path(path);
        let answer = common.note(&path, visit.get(&path).await);
        let faults = faults_of(&path, &answer, |answer| get_faults(&path, answer));
        findings.extend(judge(check, &format!("{path} takes POST, and says so"), faults));
    }
    let path = visit.issuer.endpoint_path(TOKEN_PATH);

    let json = HeaderValue::from_static("application/json");
    let as_json = request(Method::POST, &path, &[(CONTENT_TYPE, json)], "{}".to_owned());
    let answer = common.note(&path, visit.client.send(as_json).await);
    findings.extend(judge("token.json", "JSON instead of a form is a 4xx", {
        faults_of(&path, &answer, |answer| json_faults(&path, answer))
    }));

    let twice = [("grant_type", "password"), ("grant_type", "password")];
    let answer = common.note(&path, visit.post(&path, None, &twice).await);
    findings.extend(judge("token.malformed", "a repeated parameter is invalid_request", {
        faults_of(&path, &answer, |answer| error_faults(&path, answer, 400, "invalid_request"))
    }));

    if answer.is_err() || answer.is_ok_and(|answer| foreign_answer(&path, &answer).is_some()) {
        let remedy = "mend token.malformed first: no form comes back from Jeton";
        findings.push(Finding::note(
            "token.unknown_client",
            "left out, and all other checks of the client",
            remedy,
        ));
        findings.extend(common.findings());
        return ClientChecks { findings, caller: None };
    }

    let nobody = [("grant_type", "password"), ("client_id", NOBODY)];
    let answer = common.note(&path, visit.post(&path, None, &nobody).await);
    findings.extend(judge("token.unknown_client", "an unknown client is invalid_client", {
        faults_of(&path, &answer, |answer| error_faults(&path, answer, 401, "invalid_client"))
    }));

    // The service notices contradictory identifiers before it looks either up. So this shows whether the header
    // arrives, and no failure is counted.
    let contradiction = [(AUTHORIZATION, basic(NOBODY_ELSE, ""))];
    let answer = common.note(&path, visit.post_with(&path, None, &nobody, &contradiction).await);
    let authorization = faults_of(&path, &answer, |answer| authorization_faults(&path, answer));
    let arrives = authorization.is_empty();
    findings.extend(judge("proxy.authorization", "Authorization arrives", authorization));

    let (of_client, caller) = authenticate(visit, &path, arrives, &mut common).await;
    findings.extend(of_client);
    findings.extend(common.findings());
    ClientChecks { findings, caller }
}

fn json_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    if answer.status.is_client_error() {
        return Vec::new();
    }
    let found = format!("{path} answers {} to JSON, which is no form", answer.summary());
    vec![fault(found, "let the proxy pass content on to Jeton as it is")]
}

fn authorization_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    if answer.error_code().as_deref() == Some("invalid_client") {
        return vec![fault(
            "Authorization does not arrive: somebody before Jeton takes it away",
            "let the proxy pass Authorization on, and ask for no password of its own",
        )];
    }
    error_faults(path, answer, 400, "invalid_request")
}

/// Authenticates the client without a login. If that fails, it also tries the secret in the body.
async fn authenticate(
    visit: &Visit,
    path: &str,
    authorization_arrives: bool,
    common: &mut CommonChecks,
) -> (Vec<Finding>, Option<Caller>) {
    let Some(caller) = &visit.caller else {
        let remedy = "--client ID, with --client-secret-file FILE if it has a secret";
        let left_out =
            Finding::note("client.authentication", "left out: no client is named", remedy);
        return (vec![left_out], None);
    };
    let form = [("grant_type", "password")];
    let answer = match common.note(path, visit.post(path, Some(caller), &form).await) {
        Ok(answer) => answer,
        Err(error) => {
            return (judge("client.authentication", "", vec![unanswered(&error)]), None);
        }
    };
    let (faults, caller) = match answer.error_code().as_deref() {
        Some("invalid_client") => {
            let other = Caller { method: ClientSecretPost, ..caller.clone() };
            let tries_other = caller.secret.is_some() && caller.method == ClientSecretBasic;
            let succeeds = tries_other
                && visit.post(path, Some(&other), &form).await.is_ok_and(|answer| {
                    answer.error_code().is_some_and(|code| code != "invalid_client")
                });
            let fault = refused(caller, succeeds, authorization_arrives);
            (vec![fault], succeeds.then_some(other))
        }
        Some("unauthorized_client") => {
            let found = format!("the client {} may not use the password grant", caller.id);
            let remedy =
                format!("jeton client set {} --grant password --grant refresh_token", caller.id);
            (vec![fault(found, remedy)], None)
        }
        _ => {
            let faults = error_faults(path, &answer, 400, "invalid_request");
            let caller = faults.is_empty().then(|| caller.clone());
            (faults, caller)
        }
    };
    let good = "the client authenticates; its request without a user name is invalid_request";
    let mut findings = judge("client.authentication", good, faults);
    if let Some(caller) = &caller {
        findings.extend(unsupported_grant(visit, path, caller, common).await);
    }
    (findings, caller)
}

/// The fault of a client that is not accepted.
fn refused(caller: &Caller, succeeds_in_body: bool, authorization_arrives: bool) -> Fault {
    let id = &caller.id;
    if succeeds_in_body && authorization_arrives {
        return fault(
            format!("the secret of {id} is accepted in the body, and not in Authorization"),
            format!(
                "the client is registered for client_secret_post: let it authenticate so \
                 (--client-authentication post), or let `jeton client set {id}` change it"
            ),
        );
    }
    if succeeds_in_body {
        return fault(
            format!(
                "the secret of {id} is accepted in the body: its Authorization does not arrive"
            ),
            "let the proxy pass Authorization on; until then send the secret in the body",
        );
    }
    let remedy = if caller.secret.is_some() {
        format!(
            "see `jeton client show {id}`: it may be unknown, disabled or public, its secret expired or \
             another (`jeton client secret add {id}` makes one)"
        )
    } else {
        format!(
            "see `jeton client show {id}`: it may be unknown or disabled; if it has a secret, name it by \
             --client-secret-file"
        )
    };
    fault(format!("the client {id} is refused, and the answer does not say why"), remedy)
}

async fn unsupported_grant(
    visit: &Visit,
    path: &str,
    caller: &Caller,
    common: &mut CommonChecks,
) -> Vec<Finding> {
    let form = [("grant_type", "urn:example:jeton-doctor")];
    let answer = common.note(path, visit.post(path, Some(caller), &form).await);
    let good = "an unknown grant is unsupported_grant_type";
    judge("token.unsupported_grant", good, {
        faults_of(path, &answer, |answer| error_faults(path, answer, 400, "unsupported_grant_type"))
    })
}

/// What all answers of the token endpoint must have in common.
#[derive(Default)]
struct CommonChecks {
    storing: Vec<Fault>,
    /// The request ids. Jeton gives each only once.
    request_ids: HashSet<HeaderValue>,
    anonymous: bool,
    repeated: bool,
    /// The last value of [`UNTOLD_FIELD`].
    untold: Option<String>,
}

impl CommonChecks {
    /// Looks at an answer, and returns it.
    fn note(
        &mut self,
        path: &str,
        answer: Result<Answer, RequestError>,
    ) -> Result<Answer, RequestError> {
        if let Ok(answer) = &answer
            && foreign_answer(path, answer).is_none()
        {
            if self.storing.is_empty() {
                self.storing = storing_faults(path, answer);
            }
            if let Some(untold) = answer.headers.get(UNTOLD_FIELD) {
                self.untold = Some(untold.to_str().unwrap_or_default().to_owned());
            }
            match answer.headers.get("x-request-id") {
                Some(id) => self.repeated |= !self.request_ids.insert(id.clone()),
                None => self.anonymous = true,
            }
        }
        answer
    }

    fn findings(mut self) -> Vec<Finding> {
        if self.request_ids.is_empty() && !self.anonymous {
            return Vec::new();
        }
        if self.repeated {
            let remedy =
                "switch caching off in the proxy for this service: tokens would go to others";
            let found = "two requests got the same answer, with one X-Request-Id: out of a cache";
            self.storing.push(fault(found, remedy));
        }
        let mut findings = judge("proxy.caching", "nobody keeps answers", self.storing);
        findings.extend(self.untold.as_deref().map(address_finding));
        findings.push(if self.anonymous {
            Finding::warning(
                "proxy.request_id",
                "answers lack X-Request-Id",
                "let the proxy leave it in answers: it finds the request in the log of Jeton",
            )
        } else {
            Finding::ok("proxy.request_id", "answers have the X-Request-Id of the log")
        });
        findings
    }
}

/// The finding for what the service says about the caller's address. It says something only if something is wrong.
fn address_finding(untold: &str) -> Finding {
    let (found, remedy) = match untold {
        "missing" => (
            "the proxy before Jeton names no caller: all of them count as one address",
            "let the proxy send X-Forwarded-For that ends with the address it sees; if this visit came past \
             the proxy, visit through it, or name fewer addresses by --trusted-proxy",
        ),
        "unreadable" => (
            "the proxy before Jeton names callers in a way that is not understood: all of them count as one \
             address",
            "let the proxy end X-Forwarded-For with the address it sees, as 203.0.113.7 or [2001:db8::1]:443",
        ),
        _ => (
            "a proxy before Jeton sends X-Forwarded-For and is not trusted: all its callers count as one \
             address",
            "name the address that the proxy connects from by --trusted-proxy",
        ),
    };
    Finding::wrong("proxy.client_address", found, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::super::report::Outcome;
    use super::*;
    use jeton_oauth::Secret;

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn a_header_that_does_not_arrive_is_noticed() {
        let says = |status, code: &str| {
            let answer = answer(status, &[JSON], &format!("{{\"error\":\"{code}\"}}"));
            authorization_faults("/token", &answer).pop().map(|(found, _)| found)
        };
        assert_eq!(says(400, "invalid_request"), None);
        assert!(says(401, "invalid_client").expect("a fault").contains("takes it away"));
        assert!(says(400, "invalid_grant").expect("a fault").contains("instead of 400"));
    }

    #[test]
    fn each_refusal_of_a_client_has_its_own_remedy() {
        let secret = Some(Secret::new("s".to_owned()));
        let caller = Caller { id: "web".to_owned(), secret, method: ClientSecretBasic };
        let public = Caller { secret: None, ..caller.clone() };
        for (caller, succeeds, arrives, says) in [
            (&caller, true, true, "client_secret_post"),
            (&caller, true, false, "pass Authorization on"),
            (&caller, false, true, "secret add web"),
            (&public, false, true, "--client-secret-file"),
        ] {
            let (_, remedy) = refused(caller, succeeds, arrives);
            assert!(remedy.contains(says), "{remedy}");
        }
    }

    #[test]
    fn cached_answers_are_noticed_by_their_request_ids() {
        let outcomes = |ids: &[&'static str]| -> Vec<Outcome> {
            let mut common = CommonChecks::default();
            for id in ids {
                let name = ("x-request-id", *id);
                let fields: &[_] = &[JSON, ("cache-control", "no-store"), name];
                let fields = if id.is_empty() { &fields[..2] } else { fields };
                common.note("/token", Ok(answer(400, fields, "{}"))).ok();
            }
            common.findings().into_iter().map(|finding| finding.outcome).collect()
        };
        assert_eq!(outcomes(&["a", "b"]), [Outcome::Ok, Outcome::Ok]);
        assert_eq!(outcomes(&["a", "b", "a"]), [Outcome::Wrong, Outcome::Ok]);
        assert_eq!(outcomes(&["a", ""]), [Outcome::Ok, Outcome::Warning]);
        assert_eq!(outcomes(&[]), []);
    }

    #[test]
    fn json_is_no_form() {
        assert!(json_faults("/token", &answer(400, &[JSON], "{}")).is_empty());
        assert_eq!(json_faults("/token", &answer(200, &[JSON], "{}")).len(), 1);
        assert_eq!(json_faults("/token", &answer(500, &[JSON], "{}")).len(), 1);
    }
}
