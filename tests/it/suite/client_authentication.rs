//! Client authentication at the endpoints that take a client's credentials (RFC 6749 §2.3). Who
//! a client is and how its secrets come and go is in `client_registration`, Basic itself in
//! `client_basic`.

use super::*;
use crate::harness::Request;
use crate::harness::forge::claims;

/// Alice's login with this field.
pub(super) fn login_with(jeton: &Jeton, authorization: &str) -> Request {
    let form = login_form("alice", PASSWORD);
    jeton.post("/token", &form).header("Authorization", authorization)
}

/// Alice's login without a field, with further parameters.
pub(super) fn login_and(jeton: &Jeton, further: &str) -> Request {
    jeton.post("/token", &format!("{}{further}", login_form("alice", PASSWORD)))
}

#[track_caller]
pub(super) fn assert_refused(case: &str, reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.error()), (status, code.to_owned()), "{case}");
    reply.assert_error(status, code);
}

/// A client proves who it is in one way only. Two ways, or two names, make the request malformed,
/// and what is in the form is no second chance for a wrong header. RFC 6749 §2.3, §3.2.1, RFC 9110
/// §5.3. [TC-12] [TC-13] [TC-14] [TC-15]
#[tokio::test]
async fn a_client_authenticates_in_exactly_one_way() {
    let jeton = jeton().await;
    let (web, other) = (jeton.fixtures.secret("web"), jeton.fixtures.secret("other"));
    let post = format!("&client_id=web&client_secret={web}");
    let by = |further: &str, secret: &str| login_and(&jeton, further).basic("web", secret);
    for (case, request) in [
        ("secret in both places", by(&format!("&client_secret={web}"), web)),
        ("id and secret in both places", by(&post, web)),
        ("wrong header, right form", by(&post, "wrong")),
        ("right header, wrong form", by("&client_id=web&client_secret=wrong", web)),
        ("two field lines", by("", web).basic("web", web)),
        ("two field lines, one empty", by("", web).header("Authorization", "")),
        ("two clients' field lines", by("", web).basic("other", other)),
        ("another id in the form", by("&client_id=other", web)),
        ("another id's case in the form", by("&client_id=WEB", web)),
        ("a public id in the form", by("&client_id=spa", web)),
    ] {
        let reply = request.send().await;
        assert_refused(case, &reply, 400, "invalid_request");
    }
    for (case, field) in [("broken", "Basic !!!"), ("another scheme", "Bearer x")] {
        let reply = login_and(&jeton, &post).header("Authorization", field).send().await;
        assert_refused(case, &reply, 401, "invalid_client");
    }
    // The id in both places is no contradiction, but does not make a wrong secret right either.
    let reply = by("&client_id=web", "wrong").send().await;
    assert_refused("wrong secret, id in the form", &reply, 401, "invalid_client");
    assert_eq!(jeton.passwords_verified().await, 0);
    let reply = by("&client_id=web", web).send().await;
    assert_eq!(claims(&reply.access_token())["client_id"], "web");
}

/// Assertions are not supported, and one that is sent is not passed over. RFC 9700 §2.5, RFC 7521
/// §4.2. [TC-34]
#[tokio::test]
async fn a_client_assertion_is_never_ignored() {
    let jeton = jeton().await;
    let (web, id) = (jeton.fixtures.secret("web"), "&client_id=web");
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for assertion in [
        format!("&client_assertion_type={kind}&client_assertion=a.b.c"),
        "&client_assertion=a.b.c".to_owned(),
        format!("&client_assertion_type={kind}"),
    ] {
        let beside = login_and(&jeton, &assertion).basic("web", web).send().await;
        assert_refused(&assertion, &beside, 400, "invalid_request");
        let post = format!("{assertion}{id}&client_secret={web}");
        let beside = login_and(&jeton, &post).send().await;
        assert_refused(&post, &beside, 400, "invalid_request");
        for further in ["", id, "&client_id=spa"] {
            let alone = login_and(&jeton, &format!("{assertion}{further}")).send().await;
            assert_refused(&assertion, &alone, 401, "invalid_client");
        }
    }
    assert_eq!(jeton.passwords_verified().await, 0);
}

/// Id and secret may stand in the form, and the metadata say so; a wrong one is answered like a
/// wrong header. RFC 6749 §2.3.1, RFC 8414 §2. [TC-11] [TC-23]
#[tokio::test]
async fn credentials_in_the_form_work_as_advertised() {
    let jeton = jeton().await;
    let metadata = jeton.request("GET", "/.well-known/oauth-authorization-server").send().await;
    let methods = &metadata.json()["token_endpoint_auth_methods_supported"];
    let methods = methods.as_array().expect("an array");
    assert!(methods.contains(&"client_secret_post".into()));
    let secret = jeton.fixtures.secret("web");
    let right = format!("&client_id=web&client_secret={secret}");
    login_and(&jeton, &right).send().await.access_token();
    for wrong in [
        "&client_id=web&client_secret=wrong".to_owned(),
        format!("&client_id=other&client_secret={secret}"),
    ] {
        let reply = login_and(&jeton, &wrong).send().await;
        assert_refused(&wrong, &reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="));
    }
    let nameless = login_and(&jeton, &format!("&client_secret={secret}")).send().await;
    assert_refused("no id", &nameless, 400, "invalid_request");
}

/// A name is no proof: a client that has a secret must show it, whatever the grant and the
/// endpoint. Names are compared letter by letter. RFC 6749 §1.9, §2.2, §3.2.1.
/// [TC-16] [TC-17] [TC-35]
#[tokio::test]
async fn a_confidential_client_must_authenticate() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let password = login_form("alice", PASSWORD);
    let refresh = "grant_type=refresh_token&refresh_token=x".to_owned();
    let introspection = format!("token={token}");
    for (target, form, id) in [
        ("/token", &password, "web"),
        ("/token", &refresh, "web"),
        ("/introspect", &introspection, "rs1"),
        ("/revoke", &introspection, "web"),
        // A public client cannot authenticate, so it cannot introspect.
        ("/introspect", &introspection, "spa"),
    ] {
        for request in [
            jeton.post(target, &format!("{form}&client_id={id}")),
            jeton.post(target, form).basic(id, ""),
            jeton.post(target, form),
        ] {
            let reply = request.send().await;
            assert_refused(&format!("{target} {form} {id}"), &reply, 401, "invalid_client");
        }
    }
    jeton.forget_failures().await;
    for id in ["WEB", "Web", "web ", " web", "w%65b", "web.", "\u{ff57}eb"] {
        let (encoded, secret) = (percent_encode(id), jeton.fixtures.secret("web"));
        let in_form = format!("&client_id={encoded}&client_secret={secret}");
        for request in [
            login_and(&jeton, "").basic(&encoded, secret),
            login_and(&jeton, &in_form),
            login_and(&jeton, &format!("&client_id={}", encoded.replace("web", "spa"))),
        ] {
            assert_refused(id, &request.send().await, 401, "invalid_client");
        }
        jeton.forget_failures().await;
    }
    let reply = login_and(&jeton, "&client_id=SPA").send().await;
    assert_refused("SPA", &reply, 401, "invalid_client");
    assert_eq!(jeton.passwords_verified().await, 1);
}

/// A public client just says its name, in the form or in Basic with an empty password, but
/// a secret that it cannot have is a wrong one. RFC 6749 §2.3.1, §4.3.2. [TC-18] [TC-37]
#[tokio::test]
async fn a_public_client_is_identified_and_its_credentials_are_checked() {
    let jeton = jeton().await;
    for request in [
        login_and(&jeton, "&client_id=spa"),
        login_with(&jeton, "Basic c3BhOg=="),
        login_and(&jeton, "&client_id=spa").basic("spa", ""),
    ] {
        assert_eq!(claims(&request.send().await.access_token())["client_id"], "spa");
    }
    let web = jeton.fixtures.secret("web");
    for (case, request) in [
        ("in the form", login_and(&jeton, "&client_id=spa&client_secret=junk")),
        ("in Basic", login_and(&jeton, "").basic("spa", "junk")),
        ("another client's", login_and(&jeton, "").basic("spa", web)),
    ] {
        assert_refused(case, &request.send().await, 401, "invalid_client");
    }
    assert_eq!(jeton.passwords_verified().await, 3);
}

/// Who names no client is nobody, and refused; an empty Basic names none either. Where a default
/// client is configured both are that client (RFC 6749 §4.3.2), and only they. RFC 6749 §5.2.
/// [TC-19]
#[tokio::test]
async fn a_request_that_names_no_client_is_refused_or_the_default_clients() {
    let strict = jeton().await;
    for request in [login_and(&strict, ""), login_with(&strict, "Basic Og==")] {
        let reply = request.send().await;
        reply.assert_error(401, "invalid_client");
        assert_eq!(reply.member("error_description"), "No client was named: send client_id.");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="));
    }
    let wrong = login_and(&strict, "").basic("web", "wrong").send().await;
    assert_eq!(wrong.member("error_description"), "Client authentication failed.");
    assert_eq!(strict.passwords_verified().await, 0);

    let lenient = Jeton::start_with(ENGINE, &["--default-client", "spa"]).await;
    for request in [login_and(&lenient, ""), login_with(&lenient, "Basic Og==")] {
        assert_eq!(claims(&request.send().await.access_token())["client_id"], "spa");
    }
    for request in [
        login_and(&lenient, "").basic("", "junk"),
        login_and(&lenient, "").basic("unknown", ""),
        login_and(&lenient, "&client_id=web"),
        login_with(&lenient, "Basic !!!"),
        login_with(&lenient, "Bearer x"),
        // The default is for the grant: introspection is for those who prove who they are.
        lenient.post("/introspect", "token=x"),
        lenient.post("/introspect", "token=x").header("Authorization", "Basic Og=="),
    ] {
        let case = format!("{request:?}");
        assert_refused(&case, &request.send().await, 401, "invalid_client");
    }
}

/// From the answer nobody learns which clients there are, nor how much of a secret was right: not
/// a byte differs. (That no time differs is for a benchmark, and for the constant-time comparison
/// of digests in `crypto/digest.rs`.) RFC 6749 §10.10.
#[tokio::test]
async fn all_failed_authentications_look_the_same() {
    let jeton = jeton().await;
    jeton.command("client disable other").await;
    let (web, other) = (jeton.fixtures.secret("web"), jeton.fixtures.secret("other"));
    let expected = login_and(&jeton, "").basic("unknown", "x").send().await;
    expected.assert_error(401, "invalid_client");
    let last = if web.ends_with('A') { "B" } else { "A" };
    for (id, secret) in [
        ("unknown", web.to_owned()),
        ("not an id", "x".to_owned()),
        ("web", "x".to_owned()),
        ("web", web[..1].to_owned()),
        ("web", web[..42].to_owned()),
        ("web", format!("{}{last}", &web[..42])),
        ("web", format!("{web}x")),
        ("web", other.to_owned()),
        ("web", String::new()),
        ("spa", "x".to_owned()),
        ("other", other.to_owned()),
        ("basic-only", "x".to_owned()),
    ] {
        let case = format!("{id} {secret}");
        let in_basic = login_and(&jeton, "").basic(id, &secret).send().await;
        assert_eq!(in_basic.comparable(), expected.comparable(), "{case}");
        let id = percent_encode(id);
        let in_form = login_and(&jeton, &format!("&client_id={id}&client_secret={secret}"));
        assert_eq!(in_form.send().await.comparable(), expected.comparable(), "{case}");
        jeton.forget_failures().await;
    }
    assert_eq!(jeton.passwords_verified().await, 0);
    login_and(&jeton, "").basic("web", web).send().await.access_token();
}

/// The client comes first: whoever is none learns nothing of users, and tries no password. RFC
/// 6749 §4.3.2, §10.10. [TC-32]
#[tokio::test]
async fn the_client_is_authenticated_before_anything_else() {
    let jeton = jeton().await;
    let mut replies = Vec::new();
    for form in [
        login_form("alice", PASSWORD),
        login_form("alice", "tuesday fern lamb"),
        login_form("nobody", PASSWORD),
        login_form("disabled", PASSWORD),
        login_form("alice", PASSWORD) + "&scope=%22",
        login_form("alice", PASSWORD) + "&resource=nowhere",
        "grant_type=password".to_owned(),
        "grant_type=refresh_token&refresh_token=x".to_owned(),
        "grant_type=unknown".to_owned(),
        String::new(),
    ] {
        replies.push((jeton.post("/token", &form).basic("web", "wrong").send().await, form));
    }
    for (reply, form) in &replies {
        assert_refused(form, reply, 401, "invalid_client");
        assert_eq!(reply.comparable(), replies[0].0.comparable(), "{form}");
    }
    assert_eq!(jeton.passwords_verified().await, 0);
}

/// A client that was registered for one place of its credentials is refused at the other. RFC
/// 7591 §2. [TC-33]
#[tokio::test]
async fn a_client_can_be_limited_to_one_method() {
    let jeton = jeton().await;
    for (id, basic, post) in [("basic-only", 200, 401), ("post-only", 401, 200), ("web", 200, 200)]
    {
        let secret = jeton.fixtures.secret(id);
        let in_form = login_and(&jeton, &format!("&client_id={id}&client_secret={secret}"));
        for (request, status) in [(login_and(&jeton, "").basic(id, secret), basic), (in_form, post)]
        {
            let reply = request.send().await;
            assert_eq!(reply.status, status, "{id}: {}", reply.text());
            if status == 401 {
                reply.assert_error(401, "invalid_client");
            }
        }
    }
}
