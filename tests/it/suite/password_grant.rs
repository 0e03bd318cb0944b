//! The password grant (RFC 6749 §4.3).

use super::*;
use crate::harness::forge::claims;
use crate::harness::{Database, Executable, Request};

/// RFC 6749 §4.3.2: the right password of a user gives a token. [TG-01]
#[tokio::test]
async fn a_right_password_gives_a_token() {
    let jeton = jeton().await;
    let reply = jeton.token(&login_form("alice", PASSWORD)).await;
    assert_eq!(claims(&reply.access_token())["sub"], jeton.fixtures.sub("alice"));
}

/// RFC 6749 §4.3.2, §5.2: user name and password must both be there, and an empty one is not.
/// [TG-02] [TG-03]
#[tokio::test]
async fn user_name_and_password_are_required() {
    let jeton = jeton().await;
    let password = percent_encode(PASSWORD);
    for form in [
        format!("password={password}"),
        format!("username=&password={password}"),
        format!("Username=alice&password={password}"),
        "username=alice".to_owned(),
        "username=alice&password=".to_owned(),
        format!("username=alice&Password={password}"),
        String::new(),
    ] {
        let reply = jeton.token(&format!("grant_type=password&{form}")).await;
        assert_eq!(reply.error(), "invalid_request", "{form}");
        reply.assert_error(400, "invalid_request");
    }
}

/// RFC 6749 §5.2: wrong credentials are `invalid_grant` with 400 and without a challenge.
/// [TG-04] [TE-04] [TE-20]
#[tokio::test]
async fn a_wrong_password_is_an_invalid_grant() {
    let jeton = jeton().await;
    jeton.token(&login_form("alice", "tuesday fern lamb")).await.assert_error(400, "invalid_grant");
}

/// RFC 6749 §10.10, ASVS 6.3.8: whatever is wrong with name, password or account, the answer is the
/// same to the octet and costs one hash; nor does a scope that only some users may have tell them
/// apart. A second factor cannot be skipped with the password alone.
/// [TG-05] [TG-07] [TG-21] [W-34]
#[tokio::test]
async fn nothing_tells_what_is_wrong_with_an_account() {
    let jeton = jeton().await;
    let wrong = "tuesday fern lamb";
    let expected = jeton.token(&login_form("alice", wrong)).await;
    expected.assert_error(400, "invalid_grant");
    let cases = [
        ("nobody", PASSWORD, ""),
        ("nobody", wrong, ""),
        ("disabled", PASSWORD, ""),
        ("disabled", wrong, ""),
        ("mfa", PASSWORD, ""),
        ("mfa", wrong, ""),
        // Names and passwords that nobody can have (RFC 8265).
        ("\u{221e}", PASSWORD, ""),
        ("a b", PASSWORD, ""),
        ("alice ", PASSWORD, ""),
        ("\u{3000}alice", PASSWORD, ""),
        ("\t", PASSWORD, ""),
        ("alice", "tuesday\tfern lamp", ""),
        ("alice", "tuesday\u{200b} fern lamp", ""),
        // bob may not have `write`.
        ("bob", wrong, "&scope=write"),
        ("nobody", wrong, "&scope=write"),
        ("disabled", PASSWORD, "&scope=write"),
    ];
    for (number, (user, password, further)) in (2..).zip(cases) {
        let reply = jeton.token(&(login_form(user, password) + further)).await;
        assert_eq!(reply.comparable(), expected.comparable(), "{user:?} {password:?} {further}");
        assert_eq!(jeton.metric("jeton_hashing_verified_total").await, number, "{user:?}");
    }
}

/// README.md, «Guessing»: a blank before or behind a user name is a mistake that keyboards make, so it is counted apart;
/// it is held up like a name that nobody has, at a counter of its own, and never makes the name itself wait.
#[tokio::test]
async fn a_blank_around_a_name_is_counted_apart_and_like_any_name_that_nobody_has() {
    let jeton = jeton().await;
    let seen = |outcome: &str| {
        format!("jeton_token_requests_total{{grant=\"password\",outcome=\"{outcome}\"}}")
    };
    for typed in ["alice ", "alice\u{a0}", " bob"] {
        jeton.token(&login_form(typed, PASSWORD)).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(jeton.metric(&seen("blank_in_username")).await, 3);
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 3);
    for _ in 0..12 {
        let form = login_form("alice ", "tuesday fern lamb") + "&client_id=spa";
        jeton.post("/token", &form).send().await.assert_error(400, "invalid_grant");
    }
    assert!(jeton.metric(&seen("throttled_account")).await > 0);
    let right = jeton.post("/token", &(login_form("alice", PASSWORD) + "&client_id=spa"));
    right.send().await.access_token();
}

/// RFC 6749 §4.3.2: a confidential client must authenticate, and credentials that are sent are
/// checked even where none are needed; the right password of a user makes up for nothing. [TG-08]
#[tokio::test]
async fn the_client_is_authenticated_first() {
    let jeton = jeton().await;
    let form = login_form("alice", PASSWORD);
    for request in [
        jeton.post("/token", &form),
        jeton.post("/token", &form).basic("web", "wrong"),
        jeton.post("/token", &form).basic("spa", "anything"),
        jeton.post("/token", &(form.clone() + "&client_id=web")),
        jeton.post("/token", &(form.clone() + "&client_id=web&client_secret=wrong")),
        jeton.post("/token", &(form.clone() + "&client_id=spa&client_secret=anything")),
    ] {
        request.send().await.assert_error(401, "invalid_client");
    }
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0);
    let public = form.clone() + "&client_id=spa";
    assert!(!jeton.post("/token", &public).send().await.access_token().is_empty());
    assert!(!jeton.token(&form).await.access_token().is_empty());
}

/// RFC 6749 §5.2, RFC 9700 §2.4: the grant is off until it is switched on for the client; a client
/// without it cannot be used to try passwords, right or wrong. [TG-09] [TG-20] [S-04]
#[tokio::test]
async fn a_client_without_the_grant_tries_no_passwords() {
    let jeton = jeton().await;
    for client in ["nopw", "nothing", "rs1"] {
        let right = jeton.login_through(client, "").await;
        right.assert_error(400, "unauthorized_client");
        let form = login_form("alice", "tuesday fern lamb");
        let wrong = jeton.post_as(client, "/token", &form).send().await;
        assert_eq!(wrong.comparable(), right.comparable(), "{client}");
    }
    // Nothing was verified, so there was nothing that could fail and be counted.
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0);
}

/// RFC 6749 §3.2: parameters of other grants mean nothing here. [TG-28]
#[tokio::test]
async fn parameters_of_other_grants_are_ignored() {
    let jeton = jeton().await;
    let plain = jeton.login_through("web", "").await;
    let token = plain.access_token();
    for further in [
        format!("&refresh_token={token}"),
        "&refresh_token=nonsense".to_owned(),
        "&code=nonsense&redirect_uri=https%3A%2F%2Fevil.example&code_verifier=x".to_owned(),
        format!("&token={token}&token_type_hint=access_token&state=x&nonce=x"),
    ] {
        let reply = jeton.login_through("web", &further).await;
        let (mut own, mut other) = (claims(&reply.access_token()), claims(&token));
        for unique in ["jti", "sid"] {
            assert_ne!(own[unique].take(), other[unique].take(), "{further}");
        }
        assert_eq!(own, other, "{further}");
        let (mut own, mut other) = (reply.json(), plain.json());
        for unique in ["access_token", "refresh_token"] {
            assert_ne!(own[unique].take(), other[unique].take(), "{further}");
        }
        assert_eq!(own, other, "{further}");
        assert!(!reply.has("location"), "{further}");
    }
    assert!(jeton.is_active(&token).await);
}

/// RFC 9700 §4.14.2: a new password ends what the old one began. Refresh tokens are in
/// `session_ends.rs`.
#[tokio::test]
async fn another_password_ends_the_sessions_of_the_user() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let bystander = jeton.token(&login_form("bob", PASSWORD)).await.access_token();
    assert!(jeton.is_active(&token).await);
    let new = "winter moth kettle";
    assert!(jeton.try_change_password("alice", new).await);
    assert!(!jeton.is_active(&token).await);
    assert!(jeton.is_active(&bystander).await);
    jeton.login_through("web", "").await.assert_error(400, "invalid_grant");
    let token = jeton.token(&login_form("alice", new)).await.access_token();
    assert!(jeton.is_active(&token).await);
}

/// RFC 6749 §10.8, ASVS 16.2.5: passwords, client secrets and tokens are in no log even at its most
/// talkative, in no metric and in no answer but their own; not even how long a password was.
/// [TG-22]
#[tokio::test]
async fn no_password_is_logged() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &["--log", "trace"]);
    let marker = "zqxmarker".repeat(113);
    let post = |form: String| Request::new(service.public, "POST", "/token").form(&form);
    let public = "&client_id=spa";
    let mut replies = Vec::new();
    for request in [
        post(login_form("alice", &marker) + public),
        post(login_form("nobody", &marker) + public),
        // Someone typed the password into the wrong field.
        post(login_form(&marker, PASSWORD) + public),
        post(login_form("alice", &format!("\n{marker}")) + public),
        post(login_form("alice", &marker) + public + "&scope=nosuch"),
        post(login_form("alice", &marker) + public + "&password=x"),
        post(format!("grant_type={marker}&password={marker}{public}")),
        post(login_form("alice", PASSWORD) + &format!("&client_id=web&client_secret={marker}")),
        post(login_form("alice", PASSWORD)).basic("web", &marker),
        post(String::new()).header("Authorization", &format!("Bearer {marker}")),
    ] {
        let reply = request.send().await;
        assert!((400..500).contains(&reply.status), "{}", reply.text());
        replies.push(reply);
    }
    let right = post(login_form("alice", PASSWORD)).basic("web", fixtures.secret("web"));
    let token = right.send().await.access_token();
    let introspection = Request::new(service.public, "POST", "/introspect")
        .basic("rs1", fixtures.secret("rs1"))
        .form(&format!("token={token}"));
    replies.push(introspection.send().await);
    replies.push(Request::new(service.management, "GET", "/metrics").send().await);
    let seen: Vec<_> = replies.iter().map(|reply| format!("{reply:?}{}", reply.text())).collect();
    let seen = seen.concat();
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    let log = service.log_to_its_end();
    for talk in ["\"level\":\"DEBUG\"", "wrong_password", "wrong_client_secret", "introspected"] {
        assert!(log.contains(talk), "{talk} in {log}");
    }

    let lowered = (log.clone() + &seen).to_lowercase();
    for secret in ["zqxmarker", PASSWORD, &percent_encode(PASSWORD), &PASSWORD.replace(' ', "+")] {
        assert!(!lowered.contains(&secret.to_lowercase()), "{secret}");
    }
    let stored = database.query("SELECT password_hash FROM users WHERE username = 'alice'").await;
    let stored = stored[0][0].clone().expect("a hash");
    for secret in [token.as_str(), fixtures.secret("web"), fixtures.secret("rs1"), &stored] {
        assert!(!(log.clone() + &seen).contains(secret), "{secret}");
    }
    // Words only: longer numbers, such as parts of a second, may hold the length by chance.
    let mut words = log.split(|c: char| !c.is_ascii_alphanumeric());
    assert!(words.all(|word| word != marker.len().to_string()), "the length of the password");
}
