//! The resource that a token is for (RFC 8707).

use super::*;
use crate::harness::forge::claims;

const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// The parameters that ask for these resources.
fn resources(all: &[&str]) -> String {
    let parameter = |resource: &&str| format!("&resource={}", percent_encode(resource));
    all.iter().map(parameter).collect::<Vec<_>>().concat()
}

/// RFC 8707 §2, §2.2: what is no absolute URI, or has a fragment, or is none of the client's
/// audiences to the letter, is `invalid_target`, whatever stands beside it. [TX-01] [TX-02]
#[tokio::test]
async fn only_the_clients_own_audiences_can_be_asked_for() {
    let jeton = jeton().await;
    let malformed = ["foo", "/api", "//api1.example", "https:", "https://a/#x", "https://a/#", " "];
    let foreign =
        ["https://evil.example/", "https://api1.example/", "HTTPS://api1.example", "urn:x"];
    for resource in malformed.into_iter().chain(foreign) {
        for all in [vec![resource], vec![API1, resource], vec![resource, API1]] {
            let reply = jeton.login_through("web", &resources(&all)).await;
            assert_eq!(reply.error(), "invalid_target", "{all:?}");
            reply.assert_error(400, "invalid_target");
        }
    }
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0);
}

/// RFC 8707 §2, RFC 9068 §3: the named resource is the audience, in the token and at
/// introspection, and no other resource server sees the token as good. [TX-03]
#[tokio::test]
async fn a_token_is_for_the_resource_that_was_named() {
    let jeton = jeton().await;
    for (further, audience, reader, stranger) in [
        (resources(&[API1]), API1, "rs1", "rs2"),
        (resources(&[API2]), API2, "rs2", "rs1"),
        (resources(&[API2, API2]), API2, "rs2", "rs1"),
        // An empty value is as good as none, and then the first audience is the default one.
        ("&resource=".to_owned(), API1, "rs1", "rs2"),
        (String::new(), API1, "rs1", "rs2"),
    ] {
        let token = jeton.login_through("web", &further).await.access_token();
        assert_eq!(claims(&token)["aud"], audience, "{further}");
        assert_eq!(jeton.introspect_as(reader, &token).await["aud"], audience, "{further}");
        let foreign = jeton.introspect_as(stranger, &token).await;
        assert_eq!(foreign, serde_json::json!({"active": false}), "{further}");
    }
}

/// RFC 8707 §2: several resources make one token for all of them. [TX-04]
#[tokio::test]
async fn several_resources_share_a_token() {
    let jeton = jeton().await;
    let token = jeton.login_through("web", &resources(&[API2, API1])).await.access_token();
    let audience = serde_json::json!([API2, API1]);
    assert_eq!(claims(&token)["aud"], audience);
    for reader in ["rs1", "rs2"] {
        let answer = jeton.introspect_as(reader, &token).await;
        assert_eq!(answer["active"], true, "{reader}");
        assert_eq!(answer["aud"], audience, "{reader}");
    }
}

/// RFC 8707 §2.2, RFC 9068 §2.2.3: scope that means nothing at the named resource is left out, and
/// the response says so; if that leaves nothing, there is no token. [TX-06] [TS-08]
#[tokio::test]
async fn scope_is_cut_to_what_the_resource_can_use() {
    let jeton = jeton().await;
    for (all, granted) in [
        (vec![API1], "read api1.read"),
        (vec![API2], "read api2.read"),
        // Every token of the scope must mean something at each audience of the token.
        (vec![API1, API2], "read"),
    ] {
        let further = "&scope=read+api1.read+api2.read".to_owned() + &resources(&all);
        let reply = jeton.login_through("bound", &further).await;
        assert_eq!(claims(&reply.access_token())["scope"], granted, "{all:?}");
        assert_eq!(reply.member("scope"), granted, "{all:?}");
    }
    let further = "&scope=api1.read".to_owned() + &resources(&[API2]);
    jeton.login_through("bound", &further).await.assert_error(400, "invalid_scope");
}
