//! The token request as a message: its method, its media type, its parameters and their bounds
//! (RFC 6749 §3.2). What the octets of a form mean is in `token_form_encoding`.

use super::*;
use crate::harness::forge::claims;

const FORM: &str = "application/x-www-form-urlencoded";

/// Alice's login without its scope, by a client that authenticates in the form.
fn pairs(jeton: &Jeton) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", "password".to_owned()),
        ("username", "alice".to_owned()),
        ("password", percent_encode(PASSWORD)),
        ("client_id", "web".to_owned()),
        ("client_secret", jeton.fixtures.secret("web").to_owned()),
    ]
}

fn join(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A refusal of a form by `web`; the case is what failed.
async fn refused(jeton: &Jeton, form: &str, code: &str) -> Reply {
    let reply = jeton.token(form).await;
    assert_eq!((reply.status, reply.error()), (400, code.to_owned()), "{form}: {}", reply.text());
    reply.assert_error(400, code);
    reply
}

/// POST is the only method that asks for a token. Every other one is told so, and its credentials
/// are not looked at. RFC 6749 §3.2, RFC 9110 §15.5.6. [TP-01] [TP-02]
#[tokio::test]
async fn only_post_asks_for_a_token() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let target = format!("/token?{form}");
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "FOO", "post"] {
        for request in [
            jeton.request(method, &target).basic("web", jeton.fixtures.secret("web")),
            jeton.request(method, "/token").basic("web", jeton.fixtures.secret("web")).form(&form),
        ] {
            let reply = request.send().await;
            assert_eq!(reply.status, 405, "{method}");
            assert_eq!(reply.header("allow"), "POST, OPTIONS", "{method}");
            if method == "HEAD" {
                assert!(reply.content.is_empty());
            } else {
                reply.assert_error(405, "invalid_request");
            }
        }
    }
    assert_eq!(jeton.passwords_verified().await, 0);
    let counted = jeton.database.query("SELECT COUNT(*) FROM login_throttle").await;
    assert_eq!(counted, [[Some("0".to_owned())]]);
    jeton.token(&form).await.access_token();
}

/// The content is a form and says so in one field line of one value; nothing is guessed, chosen
/// or inflated. RFC 6749 §4.3.2, RFC 9110 §8.3, §8.4. [TP-03] [TP-06] [TP-07] [TP-08] [TP-40]
#[tokio::test]
async fn content_that_is_not_one_plain_form_is_refused() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let json = format!(r#"{{"grant_type":"password","username":"alice","password":"{PASSWORD}"}}"#);
    let fields = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    let part = |(name, value): (&str, &str)| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let multipart = fields.map(part).concat() + "--x--\r\n";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("Content-Type", "application/json")], &json),
        (&[("Content-Type", "application/json")], &form),
        (&[], &form),
        (&[("Content-Type", "")], &form),
        (&[("Content-Type", FORM), ("Content-Type", "application/json")], &form),
        (&[("Content-Type", "application/json"), ("Content-Type", FORM)], &form),
        (&[("Content-Type", FORM), ("Content-Type", FORM)], &form),
        (&[("Content-Type", "application/x-www-form-urlencoded, text/plain")], &form),
        (&[("Content-Type", "text/plain, application/x-www-form-urlencoded")], &form),
        (&[("Content-Type", "application/x-www-form-urlencoded-not")], &form),
        (&[("Content-Type", "multipart/form-data; boundary=x")], &multipart),
        (&[("Content-Type", "text/plain")], &form),
        (&[("Content-Type", FORM), ("Content-Encoding", "gzip")], &form),
        (&[("Content-Type", FORM), ("Content-Encoding", "identity, br")], &form),
    ];
    for (headers, content) in cases {
        let mut request = jeton.request("POST", "/token");
        for (name, value) in *headers {
            request = request.header(name, value);
        }
        let secret = jeton.fixtures.secret("web");
        let reply = request.basic("web", secret).content(*content).send().await;
        assert_eq!(reply.status, 400, "{headers:?}");
        reply.assert_error(400, "invalid_request");
        // Posting JSON is the commonest mistake, so the answer names what is right (X-01).
        let description = reply.member("error_description");
        let named = if headers.len() == 2 && headers[1].0 == "Content-Encoding" {
            "Content-Encoding"
        } else {
            FORM
        };
        assert!(description.contains(named), "{headers:?}: {description}");
    }
    assert_eq!(jeton.passwords_verified().await, 0);
}

/// A media type is the same in any case and with any parameter, and what the caller would like to
/// get does not matter: answers are JSON. RFC 9110 §8.3.1, §12.5.1. [TP-04] [TP-41]
#[tokio::test]
async fn case_and_parameters_of_the_media_type_and_accept_do_not_matter() {
    let jeton = jeton().await;
    for (form, status) in [(login_form("alice", PASSWORD), 200), ("x=y".to_owned(), 400)] {
        for (media_type, accept) in [
            ("Application/X-WWW-Form-URLEncoded;charset=UTF-8", "text/html"),
            ("APPLICATION/X-WWW-FORM-URLENCODED ; a=\"b\"", "application/xml;q=1, */*;q=0"),
        ] {
            let request = jeton.post_as("web", "/token", &form).without("Content-Type");
            let request = request.header("Content-Type", media_type).header("Accept", accept);
            let reply = request.send().await;
            assert_eq!(reply.status, status, "{media_type}, {accept}");
            assert_eq!(reply.header("content-type"), "application/json");
            assert!(reply.json().is_object());
        }
    }
}

/// Two readers of a repeated parameter could each pick another value, so it is refused even where
/// both are equal, one is empty (X-02), or one name is written with escapes. RFC 6749 §3.2,
/// Appendix B. [TP-09] [TP-10] [TP-17]
#[tokio::test]
async fn a_parameter_that_repeats_is_refused() {
    let jeton = jeton().await;
    let mut all = pairs(&jeton);
    all.push(("scope", "read".to_owned()));
    let right = join(&all);
    // Here and nowhere in this test is the password looked at.
    jeton.post("/token", &right).send().await.access_token();
    all.push(("refresh_token", "x".to_owned()));
    for name in ["client_assertion", "client_assertion_type", "token", "token_type_hint"] {
        all.push((name, "x".to_owned()));
    }
    for (name, value) in &all {
        let others: Vec<_> = all[..6].iter().filter(|(other, _)| other != name).cloned().collect();
        let others = join(&others);
        let escaped = format!("%{:02x}{}", name.as_bytes()[0], &name[1..]);
        for twice in [
            format!("{name}={value}&{others}&{name}={value}"),
            format!("{name}={value}&{name}={value}&{others}"),
            format!("{name}={value}&{others}&{escaped}={value}"),
            format!("{name}=&{others}&{name}={value}"),
            format!("{name}={value}&{others}&{name}"),
            format!("{name}=&{name}=&{others}"),
        ] {
            let reply = jeton.post("/token", &twice).send().await;
            assert_eq!(reply.status, 400, "{twice}");
            reply.assert_error(400, "invalid_request");
            let description = reply.member("error_description");
            let expected = format!("The parameter {name} occurs more than once.");
            assert_eq!(description, expected, "{twice}");
        }
    }
    let escaped = right.replace("password=t", "pass%77ord=t").replace("scope=", "%73cop%65=");
    assert!(escaped.contains("&pass%77ord="));
    jeton.post("/token", &escaped).send().await.access_token();
    assert_eq!(jeton.passwords_verified().await, 2);
}

/// Of all parameters `resource` alone may repeat. RFC 8707 §2. [TP-11]
#[tokio::test]
async fn a_resource_may_repeat() {
    let jeton = jeton().await;
    let two = "&resource=https%3A%2F%2Fapi1.example&resource=https%3A%2F%2Fapi2.example";
    let reply = jeton.login_through("web", two).await;
    let audience = &claims(&reply.access_token())["aud"];
    assert_eq!(*audience, serde_json::json!(["https://api1.example", "https://api2.example"]));
}

/// What the service does not know, in the form or in the URI, it passes over, repeated or not; so
/// it does with pairs in which there is nothing. RFC 6749 §3.2. [TP-12] [TP-13] [TP-32] [TP-42]
#[tokio::test]
async fn what_is_not_known_is_ignored() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for (target, form) in [
        ("/token", format!("{form}&foo=bar&Scope=admin")),
        ("/token", format!("foo=1&{form}&foo=2&foo=2")),
        ("/token", format!("&{}&&", form.replace('&', "&&"))),
        ("/token", format!("=&{form}&=x&=")),
        ("/token?x=1&x=2", form),
    ] {
        let reply = jeton.post_as("web", target, &form).send().await;
        assert_eq!(reply.status, 200, "{target} {form}: {}", reply.text());
        assert_eq!(reply.member("scope"), "read", "{target} {form}");
    }
}

/// Names and values are taken letter by letter, large and small. RFC 6749 §1.9. [TP-34] [TP-35]
#[tokio::test]
async fn names_and_values_are_case_sensitive() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for (right, wrong, code) in [
        ("grant_type=", "Grant_Type=", "invalid_request"),
        ("username=", "USERNAME=", "invalid_request"),
        ("password=t", "Password=t", "invalid_request"),
        ("=password", "=Password", "unsupported_grant_type"),
        ("=password", "=PASSWORD", "unsupported_grant_type"),
        ("=password", "=password%20", "unsupported_grant_type"),
    ] {
        let changed = form.replacen(right, wrong, 1);
        assert_ne!(changed, form);
        refused(&jeton, &changed, code).await;
    }
    refused(&jeton, &format!("{form}&scope=READ"), "invalid_scope").await;
    assert_eq!(jeton.passwords_verified().await, 0);
}

/// Nothing written behind a name, or no content at all, is as if the name had not been written:
/// harmless for what is optional, a malformed request for what is not. No password is tried.
/// RFC 6749 §3.2, §5.2. [TP-14] [TP-15] [TP-36]
#[tokio::test]
async fn an_empty_value_is_no_value() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let optional = ["", "&scope=", "&scope", "&resource=", "&refresh_token=&client_id=&token="];
    for further in optional {
        let reply = jeton.token(&format!("{form}{further}")).await;
        assert_eq!(reply.status, 200, "{further}: {}", reply.text());
        assert_eq!(reply.member("scope"), "read", "{further}");
        let claims = claims(&reply.access_token());
        assert_eq!(claims["aud"], "https://api1.example", "{further}");
    }
    for name in ["grant_type", "username", "password"] {
        let others: Vec<_> = pairs(&jeton).into_iter().filter(|(own, _)| *own != name).collect();
        let others = join(&others[..2]);
        for form in [format!("{others}&{name}="), format!("{name}&{others}"), others] {
            let reply = refused(&jeton, &form, "invalid_request").await;
            let description = reply.member("error_description");
            let expected = format!("The parameter {name} is missing or empty.");
            assert_eq!(description, expected, "{form}");
        }
    }
    for empty in ["", "&", "="] {
        refused(&jeton, empty, "invalid_request").await;
    }
    assert_eq!(jeton.passwords_verified().await, optional.len() as u64);
}

/// An empty secret proves nothing: a confidential client that sends it has not authenticated, a
/// public one has just said its name. RFC 6749 §2.3.1, §3.2. [TP-16]
#[tokio::test]
async fn an_empty_client_secret_is_no_authentication() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for empty in ["client_secret=", "client_secret"] {
        let of = |id: &str| jeton.post("/token", &format!("{form}&client_id={id}&{empty}"));
        let confidential = of("web").send().await;
        assert_eq!(confidential.status, 401, "{empty}");
        confidential.assert_error(401, "invalid_client");
        let public = of("spa").send().await;
        assert_eq!(claims(&public.access_token())["client_id"], "spa", "{empty}");
    }
    assert_eq!(jeton.passwords_verified().await, 2);
}

/// A URI is written to logs and histories, so nothing of the request is ever read from it: neither
/// the client's secret, nor the grant, nor a value that would override the form's. RFC 6749
/// §2.3.1, §4.3.2. [TP-19] [TP-20]
#[tokio::test]
async fn nothing_is_read_from_the_uri() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let secret = jeton.fixtures.secret("web");

    let target = format!("/token?client_id=web&client_secret={secret}");
    jeton.post(&target, &form).send().await.assert_error(401, "invalid_client");
    jeton.post("/token?client_id=spa", &form).send().await.assert_error(401, "invalid_client");

    for name in ["grant_type", "username", "password"] {
        let all = pairs(&jeton);
        let (moved, kept): (Vec<_>, Vec<_>) = all[..3].iter().cloned().partition(|p| p.0 == name);
        let target = format!("/token?{}", join(&moved));
        let reply = jeton.post_as("web", &target, &join(&kept)).send().await;
        assert_eq!(reply.status, 400, "{name}");
        reply.assert_error(400, "invalid_request");
    }
    assert_eq!(jeton.passwords_verified().await, 0);

    for (further, granted) in [("&scope=read", "read"), ("&scope=write", "write"), ("", "read")] {
        let target = "/token?scope=admin&username=zo%C3%A9&client_id=other";
        let reply = jeton.post_as("web", target, &format!("{form}{further}")).send().await;
        let claims = claims(&reply.access_token());
        assert_eq!(claims["scope"], granted);
        assert_eq!(claims["sub"], jeton.fixtures.sub("alice"));
        assert_eq!(claims["client_id"], "web");
    }
}

/// Content is taken up to a limit that no honest request reaches: announced or not, more is
/// refused, and what is announced is not even waited for. RFC 9110 §15.5.14. [TP-37] [TP-39]
#[tokio::test]
async fn large_content_is_refused() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    let large = format!("{form}&x={}", "x".repeat(1 << 20));
    let pairs: Vec<_> = (0..20_000).map(|number| format!("a{number}=")).collect();
    let many = format!("{form}&{}", pairs.join("&"));
    let request = jeton.post_as("web", "/token", &form);
    for (case, request) in [
        ("1 MiB", request.clone().content(large.clone())),
        ("1 MiB in chunks", request.clone().content(large).chunked()),
        ("20 000 pairs", request.clone().content(many.clone())),
        ("20 000 pairs in chunks", request.clone().content(many).chunked()),
        ("1 MiB announced, nothing sent", {
            let request = jeton.request("POST", "/token").header("Content-Type", FORM);
            request.header("Content-Length", "1048576")
        }),
    ] {
        let reply = request.send().await;
        assert_eq!(reply.status, 413, "{case}");
        reply.assert_error(413, "invalid_request");
        assert_eq!(reply.header("connection"), "close", "{case}");
    }
    // Fewer octets, but still more pairs than any honest request has.
    let with = |count: usize| {
        let pairs: Vec<_> = (3..count).map(|number| format!("a{number}=")).collect();
        format!("{form}&{}", pairs.join("&"))
    };
    refused(&jeton, &with(65), "invalid_request").await;
    refused(&jeton, &with(1_000), "invalid_request").await;
    assert_eq!(jeton.passwords_verified().await, 0);
    jeton.token(&with(64)).await.access_token();
    request.chunked().send().await.access_token();
}

/// Each parameter has a greatest length; beyond it the value is refused, and never cut to fit.
/// NIST SP 800-63B-4 §3.1.1.2. [TP-38]
#[tokio::test]
async fn an_overlong_value_is_refused_and_never_cut() {
    let jeton = jeton().await;
    let refuse = async |further: &str, name: &str| {
        let others: Vec<_> = pairs(&jeton)[..3].iter().filter(|p| p.0 != name).cloned().collect();
        let form = format!("{}&{further}", join(&others));
        let reply = refused(&jeton, &form, "invalid_request").await;
        let expected = format!("The parameter {name} is too long.");
        assert_eq!(reply.member("error_description"), expected);
    };
    for (name, length_max) in [
        ("grant_type", 128),
        ("client_id", 128),
        ("client_secret", 256),
        ("resource", 512),
        ("username", 1_024),
        ("password", 1_024),
        ("scope", 2_048),
        ("refresh_token", 8_192),
    ] {
        refuse(&format!("{name}={}", "x".repeat(length_max + 1)), name).await;
    }
    let padding = "x".repeat(10_000);
    refuse(&format!("password={}{padding}", percent_encode(PASSWORD)), "password").await;
    refuse(&format!("username=alice{padding}"), "username").await;
    assert_eq!(jeton.passwords_verified().await, 0);

    // What fits is taken whole.
    let long = "lamp fern ".repeat(12) + "tuesdays";
    assert_eq!(long.len(), 128);
    jeton.add_user("verbose", &long).await;
    jeton.token(&login_form("verbose", &long)).await.access_token();
    for wrong in [&long[..127], &format!("{long}s"), &format!("{long:x<1024}")] {
        refused(&jeton, &login_form("verbose", wrong), "invalid_grant").await;
    }
}
