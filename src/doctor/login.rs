//! A login, as client and resource server see it: tokens, introspection, refresh, and always revocation.

use serde_json::{Map, Value};

use super::access_token::{Expected, contradictions, judge_token};
use super::answer::{error_faults, faults_of, foreign_answer, storing_faults, unanswered};
use super::client::{Answer, RequestError};
use super::introspection::{Said, introspect};
use super::jwks::KeySet;
use super::published::offset_fault;
use super::report::{Fault, Finding, fault, judge};
use super::visit::{Caller, Pair, User, Visit};
use jeton_oauth::metadata::{REVOCATION_PATH, TOKEN_PATH};
use jeton_oauth::{AccessTokenClaims, Secret, Timestamp};

/// A password that nobody has.
const WRONG_PASSWORD: &str = "jeton doctor: a wrong password";

struct Login<'a> {
    visit: &'a Visit,
    caller: &'a Caller,
    introspector: Option<&'a Caller>,
    user: &'a User,
    keys: &'a KeySet,
    path: String,
}

struct Tokens {
    access_token: Secret,
    refresh_token: Option<Secret>,
}

pub(super) async fn examine(
    visit: &Visit,
    caller: Option<&Caller>,
    introspector: Option<&Caller>,
    keys: &KeySet,
) -> Vec<Finding> {
    let left_out = |found: &str, remedy: &str| vec![Finding::note("login.answer", found, remedy)];
    let Some(user) = &visit.user else {
        let remedy = "--user NAME, with --password-stdin where nobody can be asked";
        return left_out("left out: no user is named", remedy);
    };
    let Some(caller) = caller else {
        return left_out(
            "left out: no client can log in",
            "mend what is wrong with the client first",
        );
    };
    let path = visit.issuer.endpoint_path(TOKEN_PATH);
    let login = Login { visit, caller, introspector, user, keys, path };
    let mut findings = login.wrong_password().await;
    let (of_login, tokens, claims) = login.log_in().await;
    findings.extend(of_login);
    let Some(mut tokens) = tokens else { return findings };
    if let Some(claims) = &claims {
        findings.extend(login.introspection(&tokens, claims).await);
    }
    findings.extend(login.refresh(&mut tokens).await);
    findings.extend(login.log_out(&tokens).await);
    findings
}

impl Login<'_> {
    async fn ask(&self, form: &[Pair<'_>]) -> Result<Answer, RequestError> {
        self.visit.post(&self.path, Some(self.caller), form).await
    }

    fn expected(&self, answer: &Answer) -> Expected<'_> {
        Expected {
            issuer: self.visit.issuer.as_str(),
            client_id: &self.caller.id,
            scope: self.visit.scope.as_deref(),
            resource: &self.visit.resource,
            at: answer.at,
        }
    }

    /// The faults of an answer that should be `invalid_grant`.
    fn grant_faults(&self, answer: &Result<Answer, RequestError>) -> Vec<Fault> {
        faults_of(&self.path, answer, |answer| {
            error_faults(&self.path, answer, 400, "invalid_grant")
        })
    }

    async fn password_request(&self, password: &str) -> Result<Answer, RequestError> {
        let mut form = vec![
            ("grant_type", "password"),
            ("username", self.user.name.as_str()),
            ("password", password),
        ];
        form.extend(self.visit.scope.iter().map(|scope| ("scope", scope.as_str())));
        form.extend(self.visit.resource.iter().map(|resource| ("resource", resource.as_str())));
        self.ask(&form).await
    }

    async fn wrong_password(&self) -> Vec<Finding> {
        let check = "login.wrong_password";
        if !self.visit.wrong_password {
            let found = "left out: it would count as a failed login";
            return vec![Finding::note(check, found, "--wrong-password")];
        }
        let faults = self.grant_faults(&self.password_request(WRONG_PASSWORD).await);
        judge(check, "a wrong password is invalid_grant", faults)
    }

    async fn log_in(&self) -> (Vec<Finding>, Option<Tokens>, Option<AccessTokenClaims>) {
        let answer = match self.password_request(self.user.password.expose()).await {
            Ok(answer) => answer,
            Err(error) => {
                return (judge("login.answer", "", vec![unanswered(&error)]), None, None);
            }
        };
        let why = format!(
            "the password may be wrong, the user unknown, disabled, held back after failures or bound to \
             a second factor: `jeton user show {}`, and the reason in the log",
            self.user.name
        );
        if let Some(fault) = refusal(&self.path, &answer, self, &why) {
            return (judge("login.answer", "", vec![fault]), None, None);
        }
        let (mut findings, tokens) =
            read_tokens("login.answer", &self.path, &answer, self.visit.scope.as_deref());
        let Some(tokens) = tokens else { return (findings, None, None) };
        let (of_token, claims) = judge_token(
            "login.token",
            tokens.access_token.expose(),
            self.keys,
            self.expected(&answer),
        );
        findings.extend(of_token);
        findings.extend(
            claims.as_ref().map(|claims| judge_clock(claims.iat, answer.at)).into_iter().flatten(),
        );
        (findings, Some(tokens), claims)
    }

    async fn introspection(&self, tokens: &Tokens, claims: &AccessTokenClaims) -> Vec<Finding> {
        let Some(introspector) = self.introspector else { return Vec::new() };
        let check = "introspection.active";
        let faults = match introspect(self.visit, introspector, &tokens.access_token).await {
            Said::Active(said) => contradictions(claims, &said),
            Said::Inactive => vec![fault(
                format!("{} is told that a fresh token is not active", introspector.id),
                format!(
                    "let it introspect the audience of the token too: \
                     `jeton client set {} --introspects …`, with all of its audiences",
                    introspector.id
                ),
            )],
            Said::Nothing(fault) => vec![fault],
        };
        judge(check, "the token is active, and introspection agrees with it", faults)
    }

    /// Exchanges the refresh token, then presents the old one again.
    async fn refresh(&self, tokens: &mut Tokens) -> Vec<Finding> {
        let Some(old) = tokens.refresh_token.clone() else {
            let found = "left out: the client gets no refresh token";
            let remedy = format!(
                "jeton client set {} --grant password --grant refresh_token",
                self.caller.id
            );
            return vec![Finding::note("refresh.answer", found, remedy)];
        };
        let answer = match self.refresh_request(&old).await {
            Ok(answer) => answer,
            Err(error) => return judge("refresh.answer", "", vec![unanswered(&error)]),
        };
        let why =
            "see that all replicas use one database and one master key, and the reason in the log";
        if let Some(fault) = refusal(&self.path, &answer, self, why) {
            return judge("refresh.answer", "", vec![fault]);
        }
        let (mut findings, renewed) = read_tokens("refresh.answer", &self.path, &answer, None);
        let Some(renewed) = renewed else { return findings };
        let expected = self.expected(&answer);
        let token = renewed.access_token.expose();
        findings.extend(judge_token("refresh.token", token, self.keys, expected).0);
        let Some(new) = renewed.refresh_token.filter(|new| *new != old) else {
            let remedy = "see that no cache answers, and that this is Jeton (RFC 9700 §4.14.2)";
            let fault = fault("a refresh gives no new refresh token", remedy);
            return [findings, judge("refresh.rotation", "", vec![fault])].concat();
        };
        findings.extend(self.judge_retry(&self.refresh_request(&old).await, &new));
        tokens.refresh_token = Some(new);
        findings
    }

    async fn refresh_request(&self, token: &Secret) -> Result<Answer, RequestError> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        self.ask(&form).await
    }

    fn judge_retry(&self, again: &Result<Answer, RequestError>, new: &Secret) -> Vec<Finding> {
        let check = "refresh.rotation";
        if let Ok(answer) = again
            && answer.status.is_success()
        {
            let (_, retried) = read_tokens(check, &self.path, answer, None);
            let is_same = retried.and_then(|tokens| tokens.refresh_token).as_ref() == Some(new);
            let remedy = "see that all replicas use one database and one master key";
            let fault = fault("an exchanged token gets another successor", remedy);
            let faults = if is_same { Vec::new() } else { vec![fault] };
            return judge(check, "the exchanged token gets its one successor again", faults);
        }
        let faults = self.grant_faults(again);
        if faults.is_empty() {
            return vec![Finding::note(
                check,
                "an exchanged token is refused at once, which ended the session",
                "--refresh-retry-window of `jeton serve` lets clients retry after a lost answer",
            )];
        }
        judge(check, "", faults)
    }

    /// Ends the session, and checks that it has ended.
    async fn log_out(&self, tokens: &Tokens) -> Vec<Finding> {
        let path = self.visit.issuer.endpoint_path(REVOCATION_PATH);
        let token = tokens.refresh_token.as_ref().unwrap_or(&tokens.access_token);
        let form = [("token", token.expose())];
        let answer = self.visit.post(&path, Some(self.caller), &form).await;
        let faults = faults_of(&path, &answer, |answer| revocation_faults(&path, answer));
        let revoked = faults.is_empty();
        let mut findings = judge("revocation.answer", "the session was revoked", faults);
        if !revoked {
            let remedy = format!("jeton session revoke --user {}", self.user.name);
            let found = "the session of this visit may still be there";
            findings.push(Finding::warning("revocation.session", found, remedy));
            return findings;
        }
        if let Some(token) = &tokens.refresh_token {
            let faults = self.grant_faults(&self.refresh_request(token).await);
            let good = "the refresh token is refused since";
            findings.extend(judge("revocation.refresh_token", good, faults));
        }
        if let Some(introspector) = self.introspector {
            let said = introspect(self.visit, introspector, &tokens.access_token).await;
            let faults = match said {
                Said::Inactive => Vec::new(),
                Said::Active(_) => vec![fault(
                    "introspection says that a token of a revoked session is active",
                    "see that no cache answers, and that all replicas use one database",
                )],
                Said::Nothing(fault) => vec![fault],
            };
            let good = "introspection says inactive since";
            findings.extend(judge("revocation.access_token", good, faults));
        }
        findings
    }
}

fn judge_clock(iat: Timestamp, at: Timestamp) -> Vec<Finding> {
    let faults = offset_fault("iat", iat, at).into_iter().collect();
    judge("clock.token", "iat agrees with the clock here", faults)
}

/// Why an answer has no tokens; `None` if it has some. `why` is the remedy for an `invalid_grant`.
fn refusal(path: &str, answer: &Answer, login: &Login<'_>, why: &str) -> Option<Fault> {
    if let Some(fault) = foreign_answer(path, answer) {
        return Some(fault);
    }
    if answer.status.as_u16() == 200 {
        return None;
    }
    let (name, id) = (&login.user.name, &login.caller.id);
    let remedy = match answer.error_code().as_deref() {
        Some("invalid_grant") => why.to_owned(),
        Some("invalid_scope") => format!(
            "name scope by --scope that `jeton client show {id}` and `jeton user show {name}` allow"
        ),
        Some("invalid_target") => {
            format!("name audiences by --resource that `jeton client show {id}` has")
        }
        Some("unauthorized_client") => {
            format!("jeton client set {id} --grant password --grant refresh_token")
        }
        _ => "find the request in the log of Jeton, by its X-Request-Id".to_owned(),
    };
    Some(fault(format!("{path} answers {}", answer.summary()), remedy))
}

/// The tokens of a successful answer (RFC 6749 §5.1), and the faults of its form.
fn read_tokens(
    check: &'static str,
    path: &str,
    answer: &Answer,
    scope: Option<&str>,
) -> (Vec<Finding>, Option<Tokens>) {
    let Some(object) = answer.object().filter(|_| answer.media_type() == "application/json") else {
        let found = format!("{path} answers {} that is no JSON object", answer.summary());
        let remedy = "let the proxy leave content and Content-Type as they are";
        return (judge(check, "", vec![fault(found, remedy)]), None);
    };
    let member = |name: &str| object.get(name).and_then(Value::as_str);
    let mut faults = storing_faults(path, answer);
    faults.extend(member_faults(&object, scope));
    let tokens = member("access_token").map(|token| Tokens {
        access_token: Secret::new(token.to_owned()),
        refresh_token: member("refresh_token").map(|token| Secret::new(token.to_owned())),
    });
    (judge(check, "200 with tokens, a number of seconds, and the scope", faults), tokens)
}

fn member_faults(object: &Map<String, Value>, scope: Option<&str>) -> Vec<Fault> {
    let member = |name: &str| object.get(name).and_then(Value::as_str);
    let said =
        member("scope").map(|said| said.split(' ').collect::<std::collections::BTreeSet<_>>());
    let is_asked = scope.is_none_or(|asked| said == Some(asked.split(' ').collect()));
    let is_bearer = |text: &str| text.eq_ignore_ascii_case("bearer");
    let seconds = object.get("expires_in").and_then(Value::as_i64);
    [
        (member("access_token").is_some(), "access_token is no string"),
        (member("token_type").is_some_and(is_bearer), "token_type is not Bearer"),
        (seconds.is_some_and(|seconds| seconds > 0), "expires_in is no number of seconds"),
        (said.is_some() && is_asked, "scope is not what was asked for"),
        (object.get("refresh_token").is_none_or(Value::is_string), "refresh_token is no string"),
    ]
    .into_iter()
    .filter(|(is_good, _)| !is_good)
    .map(|(_, found)| fault(found, "let the proxy leave the content as it is: clients fail on it"))
    .collect()
}

fn revocation_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    if answer.status.as_u16() == 200 && answer.media_type() == "application/json" {
        return Vec::new();
    }
    let found = format!("{path} answers {} instead of 200 with JSON", answer.summary());
    vec![fault(found, "let the proxy pass this path on, and leave Content-Type as it is")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_fail_on_is_named() {
        let good = serde_json::json!({
            "access_token": "a", "token_type": "bearer", "expires_in": 600, "scope": "b a",
        });
        let faults = |name: &str, value: Value| -> Vec<String> {
            let mut object = good.as_object().expect("an object").clone();
            if !name.is_empty() {
                object.insert(name.to_owned(), value);
            }
            let faults = member_faults(&object, Some("a b"));
            faults.into_iter().map(|(found, _)| found).collect()
        };
        assert_eq!(faults("", Value::Null), Vec::<String>::new());
        for (name, value) in [
            ("access_token", Value::Null),
            ("token_type", "mac".into()),
            ("expires_in", "600".into()),
            ("scope", "a".into()),
            ("refresh_token", 1.into()),
        ] {
            let found = faults(name, value);
            assert!(found.len() == 1 && found[0].starts_with(name), "{name}: {found:?}");
        }
    }
}
