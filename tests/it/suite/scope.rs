//! Scope (RFC 6749 §3.3).

use super::*;
use crate::harness::forge::claims;

/// Every character that a scope token may have (RFC 6749 Appendix A.4).
fn scope_characters() -> String {
    (0x21..=0x7e_u8).filter(|octet| !b"\"\\".contains(octet)).map(char::from).collect()
}

/// Asserts that response, token and introspection name this scope, and nothing else.
async fn assert_granted(jeton: &Jeton, reply: &Reply, granted: &str, case: &str) {
    let token = reply.access_token();
    assert_eq!(reply.member("scope"), granted, "{case}");
    assert_eq!(claims(&token)["scope"], granted, "{case}");
    assert_eq!(jeton.introspect_as("rs1", &token).await["scope"], granted, "{case}");
}

/// RFC 6749 §3.3, Appendix A.4: a scope is tokens of printable ASCII without quote and backslash,
/// a single space between two and none around; nothing is repaired. [TS-01] [TS-02]
#[tokio::test]
async fn the_grammar_is_exact() {
    let jeton = jeton().await;
    let all = scope_characters();
    assert!(jeton.try_add_client("odd", &["--scope", &all]).await);
    let form = login_form("alice", PASSWORD) + "&client_id=odd&scope=" + &percent_encode(&all);
    let reply = jeton.post("/token", &form).send().await;
    assert_granted(&jeton, &reply, &all, "every character that is allowed").await;

    let forbidden = (0x01..=0x7f_u8).map(char::from).filter(|&c| c != ' ' && !all.contains(c));
    let inside = forbidden.map(|character| format!("re{character}ad"));
    let outside = ["\u{e9}", "read\u{a0}write", "read\u{2003}write"].map(str::to_owned);
    let spaces = [" ", "  ", " read", "read ", "read  write", "read write ", "read\twrite"];
    let spaces = spaces.map(str::to_owned);
    for scope in inside.chain(outside).chain(spaces) {
        let further = format!("&scope={}", percent_encode(&scope));
        let reply = jeton.login_through("web", &further).await;
        assert_eq!(reply.error(), "invalid_scope", "{scope:?}");
        reply.assert_error(400, "invalid_scope");
    }
}

/// RFC 6749 §3.3, §5.1: what is asked for is granted whole, in whatever order, each token once, and
/// the response always says it. [TS-04] [TS-05] [TS-10] [TK-06]
#[tokio::test]
async fn what_is_asked_for_is_granted_and_said() {
    let jeton = jeton().await;
    for (asked, granted) in [
        ("read", "read"),
        ("read+write", "read write"),
        ("write+read", "write read"),
        ("read+read", "read"),
        ("write+read+write+read", "write read"),
    ] {
        let reply = jeton.login_through("web", &format!("&scope={asked}")).await;
        assert_granted(&jeton, &reply, granted, asked).await;
    }
}

/// RFC 6749 §3.3: tokens are compared to the letter; one that is unknown, or not registered for the
/// client, is refused and not silently left out, even beside good ones.
/// [TS-03] [TS-06] [TS-07] [TS-13]
#[tokio::test]
async fn a_scope_that_the_client_may_not_have_is_refused() {
    let jeton = jeton().await;
    for (client, scope) in [
        ("web", "READ"),
        ("web", "Read"),
        ("web", "read+nosuch"),
        ("web", "nosuch"),
        ("web", "rea"),
        ("web", "read+read%3Awrite"),
        ("web", "read%2Cwrite"),
        ("bound", "write"),
        ("bound", "admin"),
        ("bound", "read+admin"),
    ] {
        let reply = jeton.login_through(client, &format!("&scope={scope}")).await;
        assert_eq!(reply.error(), "invalid_scope", "{client} {scope}");
        reply.assert_error(400, "invalid_scope");
    }
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0);
}

/// RFC 6749 §3.3, §5.1: who asks for nothing, or for an empty scope, gets the client's default,
/// which is not all that the client may have, and is told so; without a default it is an error.
/// [TG-29] [TS-09] [TS-11] [S-06]
#[tokio::test]
async fn without_a_scope_the_default_applies() {
    let jeton = jeton().await;
    for further in ["", "&scope="] {
        let reply = jeton.login_through("web", further).await;
        assert_granted(&jeton, &reply, "read", &format!("{further:?}")).await;
        jeton.login_through("nodefault", further).await.assert_error(400, "invalid_scope");
    }
}

/// RFC 6749 §3.3, §10.3: no token says more than the user may have. Scope that was named is all or
/// nothing; a default is cut, and the response says to what; nothing left is an error.
/// [TG-17] [TS-13] [S-06]
#[tokio::test]
async fn no_scope_exceeds_the_users_own() {
    let jeton = jeton().await;
    jeton.command("client set web --default-scope write --default-scope read").await;
    assert!(jeton.try_add_user("carol", PASSWORD, &["--scope", "admin"]).await);
    let login =
        async |user: &str, scope: &str| jeton.token(&(login_form(user, PASSWORD) + scope)).await;
    for (user, scope) in [
        ("bob", "&scope=read+admin"),
        ("bob", "&scope=write"),
        ("carol", "&scope=read"),
        ("carol", ""),
    ] {
        let reply = login(user, scope).await;
        assert_eq!(reply.error(), "invalid_scope", "{user} {scope}");
        reply.assert_error(400, "invalid_scope");
    }
    for (user, scope, granted) in [
        ("bob", "", "read"),
        ("bob", "&scope=read", "read"),
        ("carol", "&scope=admin", "admin"),
        ("alice", "", "write read"),
    ] {
        assert_granted(&jeton, &login(user, scope).await, granted, user).await;
    }
}

/// RFC 9068 §3: scope tokens that are bound to different audiences make no common token; those of
/// one audience choose it. [TS-14]
#[tokio::test]
async fn scopes_of_different_audiences_do_not_mix() {
    let jeton = jeton().await;
    for scope in ["api1.read+api2.read", "api2.read+read+api1.read"] {
        let reply = jeton.login_through("bound", &format!("&scope={scope}")).await;
        reply.assert_error(400, "invalid_scope");
    }
    for (scope, audience) in [
        ("api1.read", "https://api1.example"),
        ("api2.read", "https://api2.example"),
        ("read+api2.read", "https://api2.example"),
        ("read", "https://api1.example"),
    ] {
        let token = jeton.login_through("bound", &format!("&scope={scope}")).await.access_token();
        assert_eq!(claims(&token)["aud"], audience, "{scope}");
        assert_eq!(claims(&token)["scope"], scope.replace('+', " "), "{scope}");
    }
}
