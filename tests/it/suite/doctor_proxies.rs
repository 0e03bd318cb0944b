//! What `jeton doctor` finds wrong with the proxies that may stand before a service.

use super::doctor::{ORIGIN, Patient};
use crate::harness::faulty_proxy::Fault::{
    self, Add, Forge, Page, Redirect, Remove, Replace, Request, Set,
};

const METADATA: &str = "GET /.well-known/oauth-authorization-server";
const OPENID: &str = "GET /.well-known/openid-configuration";
const JWKS: &str = "GET /.well-known/jwks.json";
const TOKEN: &str = "POST /token";

/// A fault, the check that must find it, and what must be said of it.
type Case = (Fault, &'static str, &'static str);

/// Has the doctor look through each fault, with all that it may need or without anything.
async fn find(cases: &[Case], everything: bool) {
    let patient = Patient::new(&[]).await;
    for (index, (fault, check, says)) in cases.iter().enumerate() {
        patient.proxy.misbehave(*fault);
        let visit = if everything {
            patient.see_everything(&[]).await
        } else {
            patient.see(&["--origin", ORIGIN], "").await
        };
        let wrong = visit.with_outcome("wrong");
        assert!(visit.has("wrong", check, says), "case {index}, {check}, {says}: {wrong:?}");
        assert_eq!(visit.code, Some(1), "case {index}");
        assert!(wrong.iter().all(|(_, _, remedy)| !remedy.is_empty()), "{wrong:?}");
    }
    assert!(patient.jeton.sessions().await.is_empty(), "no session is left");
}

/// A document that is moved, replaced, changed or kept for too long is found, by what is wrong with it.
#[tokio::test]
async fn documents_that_were_changed_on_their_way_are_found() {
    let elsewhere = "https://auth.example/elsewhere?x";
    let moved = "https://auth.example/.well-known/jwks.json";
    let old = "Tue, 14 Nov 2023 22:13:20 GMT";
    let cases: [Case; 17] = [
        (
            Redirect(METADATA, elsewhere),
            "metadata.document",
            "to \"https://auth.example/elsewhere\"",
        ),
        (Redirect(JWKS, moved), "jwks.document", "--issuer"),
        (Replace(METADATA, "http://127", "https://127"), "metadata.issuer", "only the scheme"),
        (Replace(METADATA, "127.0.0.1", "localhost"), "metadata.issuer", "by another name"),
        (Replace("", "/token\"", "/oauth/token\""), "metadata.endpoints", "token_endpoint"),
        (Replace("", "\"password\",", ""), "metadata.grants", "lacks password"),
        (Page(OPENID, "404 Not Found"), "metadata.openid_document", "(\"nginx\") answered"),
        (Remove("", "Cache-Control"), "metadata.caching", "for how long"),
        (Set("", "Cache-Control", "max-age=86400"), "jwks.caching", "a new key would be unknown"),
        (Remove("", "ETag"), "jwks.caching", "no ETag"),
        (Request("If-None-Match"), "jwks.not_modified", "instead of 304"),
        (Remove("", "Access-Control-Allow-Origin"), "metadata.cors", "none instead of *"),
        (Add(JWKS, "Access-Control-Allow-Origin", "*"), "jwks.cors", "\"*, *\""),
        (Set(JWKS, "Content-Type", "text/plain"), "jwks.document", "\"text/plain\""),
        (Replace(JWKS, "\"kid\"", "\"id\""), "jwks.keys", "no kid"),
        (Replace(JWKS, "\"n\":", "\"d\":\"AQAB\",\"n\":"), "jwks.keys", "private half"),
        (Set("", "Date", old), "clock.date", "behind the clock here"),
    ];
    find(&cases, false).await;
}

/// An endpoint whose requests or errors do not pass as they are is found, without any credentials.
#[tokio::test]
async fn endpoints_that_were_put_behind_something_are_found() {
    let cases: [Case; 15] = [
        (Request("Authorization"), "proxy.authorization", "does not arrive"),
        (Page(TOKEN, "502 Bad Gateway"), "token.malformed", "see that Jeton runs"),
        (Page(TOKEN, "401 Unauthorized"), "token.malformed", "no password of its own"),
        (Page("GET /token", "200 OK"), "token.get", "not Jeton"),
        (Remove("GET /revoke", "Allow"), "revocation.get", "instead of 405 with POST"),
        (Redirect("GET /introspect", "/introspect/"), "introspection.get", "as it is"),
        (Set(TOKEN, "Content-Type", "text/plain"), "token.malformed", "sent as \"text/plain\""),
        (Remove("", "WWW-Authenticate"), "token.unknown_client", "how to authenticate"),
        (Set(TOKEN, "Cache-Control", "private"), "proxy.caching", "instead of no-store"),
        (Set("", "X-Request-Id", "7"), "proxy.caching", "two requests got the same answer"),
        (Set(TOKEN, "Age", "3"), "proxy.caching", "out of a cache"),
        (Set(TOKEN, "Content-Encoding", "gzip"), "token.json", "compression"),
        (Request("Origin"), "cors.preflight", "--cors-origin"),
        (Page("OPTIONS /token", "405 Not Allowed"), "cors.preflight", "pass all methods"),
        (Add(TOKEN, "Access-Control-Allow-Origin", "*"), "cors.error", "2 times"),
    ];
    find(&cases, false).await;
}

/// A login whose answers do not come as they were sent is found, and ended all the same.
#[tokio::test]
async fn logins_that_were_interfered_with_are_found() {
    let (inactive, active) = ("{\"active\":false}", "{\"active\":true}");
    let (number, text) = ("\"expires_in\":600", "\"expires_in\":\"600\"");
    let cases: [Case; 9] = [
        (Request("Authorization"), "client.authentication", "until then"),
        (Replace(TOKEN, number, text), "login.answer", "expires_in is no number"),
        (Remove(TOKEN, "Cache-Control"), "login.answer", "instead of no-store"),
        (Replace(JWKS, "\"kid\":\"", "\"kid\":\"x"), "login.token", "does not have"),
        (Forge, "login.token", "is not that of its key"),
        (Replace("POST /introspect", "read", "admin"), "introspection.active", "differ in scope"),
        (Replace("", inactive, active), "introspection.unknown_token", "that there is not"),
        (Replace("", inactive, active), "revocation.access_token", "revoked session"),
        (Remove("POST /revoke", "Content-Type"), "revocation.answer", "200 with JSON"),
    ];
    find(&cases, true).await;
}

/// An answer that cannot be found in the log is a nuisance, and no more.
#[tokio::test]
async fn a_request_id_that_is_lost_is_a_warning() {
    let patient = Patient::new(&[]).await;
    patient.proxy.misbehave(Remove("", "X-Request-Id"));
    let visit = patient.see(&[], "").await;
    assert!(visit.has("warning", "proxy.request_id", "lack X-Request-Id"));
    assert_eq!(visit.code, Some(0));
}

/// As long as neither document can be read, nothing else is asked.
#[tokio::test]
async fn a_proxy_without_a_service_is_told_once() {
    let patient = Patient::new(&[]).await;
    patient.proxy.misbehave(Page("", "503 Service Unavailable"));
    let visit = patient.see_everything(&[]).await;
    assert!(visit.has("wrong", "metadata.document", "that the proxy reaches it"));
    assert!(visit.has("note", "token.get", "mend what is wrong above first"));
    assert_eq!((visit.with_outcome("wrong").len() < 5, visit.code), (true, Some(1)));
    assert!(patient.jeton.sessions().await.is_empty());
}
