//! What is checked in every answer: who gave it, and whether it arrived as Jeton sent it.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, LOCATION, SERVER,
    WWW_AUTHENTICATE,
};
use serde_json::{Map, Value};

use super::client::{Answer, RequestError};
use super::report::{Fault, fault, quote};

impl Answer {
    /// The lines of a field, joined; empty if there are none.
    pub(super) fn field(&self, name: &HeaderName) -> String {
        let lines = self.headers.get_all(name).iter();
        let lines: Vec<_> =
            lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
        lines.join(", ")
    }

    /// The media type without its parameters.
    pub(super) fn media_type(&self) -> String {
        let field = self.field(&CONTENT_TYPE);
        field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The content, if it is a JSON object.
    pub(super) fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(self.content.expose()).ok()
    }

    /// The error code of an OAuth error (RFC 6749 §5.2), if it is one.
    pub(super) fn error_code(&self) -> Option<String> {
        Some(self.object()?.get("error")?.as_str()?.to_owned())
    }

    /// `max-age` of `Cache-Control`, in seconds.
    pub(super) fn max_age(&self) -> Option<i64> {
        let field = self.field(&CACHE_CONTROL).to_ascii_lowercase();
        field.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())
    }

    /// The status, with the error code or else the media type.
    pub(super) fn summary(&self) -> String {
        match self.error_code() {
            Some(code) => format!("{} {}", self.status.as_u16(), quote(&code)),
            None => format!("{} {}", self.status.as_u16(), self.media_type()).trim_end().to_owned(),
        }
    }
}

/// What is wrong with an answer: it is missing, Jeton did not give it, or what `judge` finds.
pub(super) fn faults_of(
    path: &str,
    answer: &Result<Answer, RequestError>,
    judge: impl FnOnce(&Answer) -> Vec<Fault>,
) -> Vec<Fault> {
    match answer {
        Err(error) => vec![unanswered(error)],
        Ok(answer) => {
            foreign_answer(path, answer).map_or_else(|| judge(answer), |fault| vec![fault])
        }
    }
}

/// The fault of a missing answer.
pub(super) fn unanswered(error: &RequestError) -> Fault {
    let remedy = match error {
        RequestError::Timeout(_) => {
            "look at the log of the service and of the proxy; --timeout waits longer"
        }
        RequestError::Protocol(_) => {
            "see what listens there, and whether it speaks TLS: then the URL begins with https"
        }
        _ => "it answered before: see whether the service or the proxy limits connections",
    };
    fault(error.to_string(), remedy)
}

/// The fault of an answer that somebody else gave, or changed on its way.
pub(super) fn foreign_answer(path: &str, answer: &Answer) -> Option<Fault> {
    let status = answer.status.as_u16();
    if answer.status.is_redirection() && status != 304 {
        return Some(redirected(path, answer));
    }
    if answer.headers.contains_key(CONTENT_ENCODING) {
        let encoding = quote(&answer.field(&CONTENT_ENCODING));
        return Some(fault(
            format!("{path} answers in the encoding {encoding}, which was not asked for"),
            "switch compression off in the proxy for this service",
        ));
    }
    let is_ours = answer.media_type().ends_with("json") || answer.error_code().is_some();
    if (!is_ours && status >= 400) || answer.media_type() == "text/html" {
        let server = answer.field(&SERVER);
        let server = if server.is_empty() { "without a name".to_owned() } else { quote(&server) };
        let what = quote(&answer.media_type());
        let remedy = match status {
            502..=504 => "see that Jeton runs and that the proxy reaches it at its address",
            401 => "let the proxy ask for no password of its own at this service",
            403 | 405 => "let the proxy pass all methods and callers on to Jeton",
            413 | 414 | 431 => "let the proxy take heads and contents of 16 KiB",
            _ => {
                "see that the URL is that of Jeton, and that a proxy passes this path on unchanged"
            }
        };
        return Some(fault(
            format!(
                "not Jeton but another server ({server}) answered {path}: {status} with {what}"
            ),
            remedy,
        ));
    }
    unexamined(path, answer)
}

fn redirected(path: &str, answer: &Answer) -> Fault {
    let location = answer.field(&LOCATION);
    let target = location.split(['?', '#']).next().unwrap_or_default();
    let elsewhere = target.split_once("://").map(|(_, rest)| rest);
    let is_same_path =
        elsewhere.is_some_and(|rest| rest.find('/').map(|at| &rest[at..]) == Some(path));
    let remedy = if is_same_path {
        "only scheme or host differ: serve it here too, or give doctor, clients and `jeton serve --issuer` \
         the URL that the redirect leads to"
    } else {
        "let the proxy pass the path on as it is: clients do not follow, or lose their credentials"
    };
    let status = answer.status.as_u16();
    fault(format!("{path} is redirected ({status}) to {}", quote(target)), remedy)
}

/// The fault of an answer that Jeton gave without looking at the request.
fn unexamined(path: &str, answer: &Answer) -> Option<Fault> {
    let remedy = match answer.status.as_u16() {
        404 => "let the proxy pass the path on as it is, with nothing added and nothing taken away",
        429 => "too much has failed from here lately: wait for as long as Retry-After says",
        500..=599 => "ask /readyz of the management listener, and look at the log of Jeton",
        _ => return None,
    };
    Some(fault(format!("{path} answers {}", answer.summary()), remedy))
}

/// What is wrong with an answer that should be this error (RFC 6749 §5.2).
pub(super) fn error_faults(path: &str, answer: &Answer, status: u16, code: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    if answer.status.as_u16() != status || answer.error_code().as_deref() != Some(code) {
        let wanted = format!("{status} {code:?} (RFC 6749 §5.2)");
        faults.push(fault(
            format!("{path} answers {} instead of {wanted}", answer.summary()),
            "let the proxy leave status and content of errors as they are",
        ));
    } else if answer.media_type() != "application/json" {
        faults.push(fault(
            format!("the error of {path} is sent as {}", quote(&answer.media_type())),
            "let the proxy leave Content-Type as it is: clients insist on application/json",
        ));
    }
    if answer.status.as_u16() == 401 && !answer.headers.contains_key(WWW_AUTHENTICATE) {
        faults.push(fault(
            format!("the 401 of {path} does not say how to authenticate"),
            "let the proxy leave WWW-Authenticate in answers (RFC 9110 §15.5.2)",
        ));
    }
    faults
}

/// What is wrong with an answer to GET from an endpoint that takes POST.
pub(super) fn get_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    let allow = answer.field(&ALLOW);
    if answer.status.as_u16() != 405 || !allow.split(',').any(|method| method.trim() == "POST") {
        return vec![fault(
            format!(
                "GET {path} is answered {} with Allow {}, instead of 405 with POST",
                answer.summary(),
                quote(&allow)
            ),
            "let the proxy pass GET on to Jeton, and leave Allow in answers",
        )];
    }
    Vec::new()
}

/// The faults of an answer that may contain tokens, if caches may keep it.
pub(super) fn storing_faults(path: &str, answer: &Answer) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !answer.field(&CACHE_CONTROL).to_ascii_lowercase().contains("no-store") {
        let seen = quote(&answer.field(&CACHE_CONTROL));
        faults.push(fault(
            format!("an answer of {path} has Cache-Control {seen} instead of no-store"),
            "let the proxy leave Cache-Control as it is (RFC 6749 §5.1)",
        ));
    }
    if answer.headers.contains_key(http::header::AGE) {
        faults.push(fault(
            format!("an answer of {path} comes out of a cache: it has an Age"),
            "switch caching off in the proxy for this service: tokens would go to others",
        ));
    }
    faults
}

#[cfg(test)]
pub(super) mod tests {
    use http::{HeaderValue, StatusCode};
    use zeroize::Zeroizing;

    use super::*;
    use jeton_oauth::{SecretOctets, Timestamp};

    pub(in super::super) fn answer(
        status: u16,
        fields: &[(&'static str, &'static str)],
        content: &str,
    ) -> Answer {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: fields.iter().map(field).collect(),
            content: SecretOctets::new(Zeroizing::new(content.as_bytes().to_vec())),
            at: Timestamp(1_700_000_000),
        }
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn an_answer_shows_who_gave_it() {
        let html = [("content-type", "text/html; charset=utf-8"), ("server", "nginx")];
        for (answer, says, remedy) in [
            (answer(502, &html, "<html>"), "not Jeton", "that the proxy reaches it"),
            (answer(200, &html, "<html>"), "not Jeton", "this path"),
            (answer(404, &[], ""), "not Jeton", "this path"),
            (answer(301, &[("location", "/token/?x")], ""), "to \"/token/\"", "as it is"),
            (answer(302, &[("location", "https://h/token")], ""), "(302)", "--issuer"),
            (answer(404, &[JSON], "{}"), "answers 404", "nothing taken away"),
            (answer(429, &[JSON], "{}"), "429", "Retry-After"),
            (answer(503, &[JSON], "{\"error\":\"x\"}"), "503 \"x\"", "/readyz"),
            (answer(200, &[JSON, ("content-encoding", "gzip")], ""), "\"gzip\"", "compression"),
        ] {
            let (found, advice) = foreign_answer("/token", &answer).expect("a fault");
            assert!(found.contains(says) && advice.contains(remedy), "{found} -> {advice}");
        }
        assert!(foreign_answer("/token", &answer(400, &[JSON], "{}")).is_none());
        assert!(foreign_answer("/jwks", &answer(304, &[], "")).is_none());
    }

    #[test]
    fn errors_have_the_form_of_the_rfc() {
        let error = "{\"error\":\"invalid_client\"}";
        let good = [JSON, ("www-authenticate", "Basic")];
        let count = |answer: &Answer| error_faults("/token", answer, 401, "invalid_client").len();
        assert_eq!(count(&answer(401, &good, error)), 0);
        assert_eq!(count(&answer(401, &[JSON], error)), 1);
        assert_eq!(count(&answer(400, &good, error)), 1);
        assert_eq!(count(&answer(401, &good, "{}")), 1);
        let typed = [("content-type", "application/problem+json"), ("www-authenticate", "Basic")];
        assert_eq!(count(&answer(401, &typed, error)), 1);
    }

    #[test]
    fn answers_with_tokens_are_not_kept() {
        let count = |fields: &[_]| storing_faults("/token", &answer(200, fields, "")).len();
        assert_eq!(count(&[("cache-control", "no-store")]), 0);
        assert_eq!(count(&[("cache-control", "max-age=60")]), 1);
        assert_eq!(count(&[("cache-control", "no-store"), ("age", "0")]), 1);
    }
}
