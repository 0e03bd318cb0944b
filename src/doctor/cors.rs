//! Whether a page of another origin can log in (the CORS protocol of the Fetch standard).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderValue, Method};

use super::answer::faults_of;
use super::client::Answer;
use super::report::{Fault, Finding, fault, judge, quote};
use super::visit::{Visit, request};
use jeton_oauth::metadata::TOKEN_PATH;

/// The header fields that Swagger UI asks to send.
const FIELDS: &str = "authorization,x-requested-with";

/// Sends requests as a page would.
pub(super) async fn examine(visit: &Visit) -> Vec<Finding> {
    let Some(origin) = &visit.origin else {
        let remedy = "--origin https://app.example.com";
        return vec![Finding::note("cors.preflight", "left out: no origin is named", remedy)];
    };
    let path = visit.issuer.endpoint_path(TOKEN_PATH);
    let page = [(ORIGIN, origin.clone())];
    let asks = [
        (ORIGIN, origin.clone()),
        (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST")),
        (ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(FIELDS)),
    ];
    let preflight = request(Method::OPTIONS, &path, &asks, String::new());
    let answer = visit.client.send(preflight).await;
    let faults = faults_of(&path, &answer, |answer| preflight_faults(&path, origin, answer));
    let good = "a page may send Authorization and X-Requested-With";
    let mut findings = judge("cors.preflight", good, faults);
    // A repeated parameter is an error, whoever sends it.
    let twice = [("grant_type", "password"), ("grant_type", "password")];
    let answer = visit.post_with(&path, None, &twice, &page).await;
    let faults = faults_of(&path, &answer, |answer| {
        origin_fault(&path, origin, answer).into_iter().collect()
    });
    findings.extend(judge("cors.error", "a page may read errors", faults));
    findings
}

fn preflight_faults(path: &str, origin: &HeaderValue, answer: &Answer) -> Vec<Fault> {
    if !answer.status.is_success() {
        let found = format!("the preflight of {path} is answered {}", answer.summary());
        return vec![fault(found, "let the proxy pass OPTIONS on to Jeton")];
    }
    if let Some(fault) = origin_fault(path, origin, answer) {
        return vec![fault];
    }
    let allowed = answer.field(&ACCESS_CONTROL_ALLOW_HEADERS).to_ascii_lowercase();
    let has = |name: &str| allowed.split(',').any(|own| own.trim() == name);
    let lacking: Vec<_> = FIELDS.split(',').filter(|name| !has(name)).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    vec![fault(
        format!("the preflight of {path} does not allow {}", lacking.join(" and ")),
        "let the proxy leave CORS to Jeton: * does not stand for Authorization, and Swagger UI sends \
         X-Requested-With",
    )]
}

/// The fault of an answer that the page may not read.
fn origin_fault(path: &str, origin: &HeaderValue, answer: &Answer) -> Option<Fault> {
    let lines: Vec<_> = answer.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
    let shown = quote(&String::from_utf8_lossy(origin.as_bytes()));
    match lines.as_slice() {
        [only] if *only == origin => None,
        [] => Some(fault(
            format!("a page of {shown} may not read the answers of {path}"),
            format!(
                "start `jeton serve --cors-origin {}`, and let the proxy leave \
                 Access-Control-Allow-Origin in answers, those of errors too",
                String::from_utf8_lossy(origin.as_bytes())
            ),
        )),
        [other] => Some(fault(
            format!(
                "{path} allows the origin {} instead of {shown}",
                quote(&String::from_utf8_lossy(other.as_bytes()))
            ),
            "let the proxy leave CORS to Jeton, which answers each origin by its name",
        )),
        _ => Some(fault(
            format!(
                "{path} has Access-Control-Allow-Origin {} times: browsers refuse",
                lines.len()
            ),
            "let the proxy add none of its own: Jeton does",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    #[test]
    fn browsers_refuse_what_is_not_exactly_theirs() {
        let origin = HeaderValue::from_static("https://app");
        let all = ("access-control-allow-headers", "Authorization, X-Requested-With");
        let own = ("access-control-allow-origin", "https://app");
        let fault = |status, fields: &[_]| {
            preflight_faults("/token", &origin, &answer(status, fields, "")).pop()
        };
        assert_eq!(fault(204, &[own, all]), None);
        for (status, fields, says) in [
            (204, vec![all], "may not read"),
            (204, vec![all, ("access-control-allow-origin", "*")], "instead of"),
            (204, vec![own, ("access-control-allow-headers", "*")], "authorization and x-"),
            (405, vec![own, all, ("content-type", "application/json")], "405"),
        ] {
            let (found, _) = fault(status, &fields).expect("a fault");
            assert!(found.contains(says), "{found}");
        }
        let mut twice = answer(204, &[own, all], "");
        twice.headers.append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let (found, _) = preflight_faults("/token", &origin, &twice).pop().expect("a fault");
        assert!(found.contains("2 times"), "{found}");
    }
}
