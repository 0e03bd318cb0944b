//! Scope and resources when a token is refreshed (RFC 6749 §6, RFC 8707 §2.2).

use serde_json::{Value, json};

use super::*;
use crate::harness::forge::claims;

const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// A client that follows one session.
struct Follower<'a> {
    jeton: &'a Jeton,
    client_id: &'static str,
    token: String,
}

impl<'a> Follower<'a> {
    /// Logs alice in.
    async fn login(jeton: &'a Jeton, client_id: &'static str, further: &str) -> Self {
        let token = jeton.login_through(client_id, further).await.refresh_token();
        Self { jeton, client_id, token }
    }

    /// Refreshes, and asserts that response, token and introspection say this scope and audience.
    async fn gets(&mut self, further: &str, scope: &str, audience: Value) {
        let reply = self.jeton.refresh(self.client_id, &self.token, further).await;
        let access_token = reply.access_token();
        let claims = claims(&access_token);
        assert_eq!(reply.member("scope"), scope, "{further}");
        assert_eq!((&claims["scope"], &claims["aud"]), (&json!(scope), &audience), "{further}");
        let reader = if audience == json!(API2) { "rs2" } else { "rs1" };
        let seen = self.jeton.introspect_as(reader, &access_token).await;
        assert_eq!((&seen["scope"], &seen["aud"]), (&json!(scope), &audience), "{further}");
        self.token = reply.refresh_token();
    }

    /// Refreshes in vain, which changes nothing.
    async fn is_refused(&self, further: &str, code: &str) {
        let before = self.jeton.sessions().await;
        let reply = self.jeton.refresh(self.client_id, &self.token, further).await;
        assert_eq!(reply.error(), code, "{further}: {}", reply.text());
        reply.assert_error(400, code);
        assert_eq!(self.jeton.sessions().await, before, "{further}");
    }
}

/// The parameters that ask for these resources.
fn resources(all: &[&str]) -> String {
    let parameter = |resource: &&str| format!("&resource={}", percent_encode(resource));
    all.iter().map(parameter).collect::<Vec<_>>().concat()
}

/// RFC 6749 §6: the scope may be narrowed at a refresh and never widened beyond what the login was
/// granted, whatever the client is registered for; the spelling is as strict as at the login.
/// [TR-08]
#[tokio::test]
async fn scope_can_be_narrowed_and_not_widened() {
    let jeton = jeton().await;
    let mut client = Follower::login(&jeton, "web", "&scope=read+write").await;
    client.gets("&scope=read", "read", json!(API1)).await;
    client.gets("&scope=write", "write", json!(API1)).await;
    client.gets("&scope=write+read+write", "write read", json!(API1)).await;
    for wider in ["admin", "read+admin", "read+write+admin", "nosuch", "read+nosuch", "READ"] {
        client.is_refused(&format!("&scope={wider}"), "invalid_scope").await;
    }
    for malformed in ["+read", "read+", "read++write", "%22", "read%09write", "%C3%A9"] {
        client.is_refused(&format!("&scope={malformed}"), "invalid_scope").await;
    }
    client.gets("", "read write", json!(API1)).await;

    // The default scope of a login is what was granted, no more.
    let mut client = Follower::login(&jeton, "web", "").await;
    client.is_refused("&scope=write", "invalid_scope").await;
    client.is_refused("&scope=read+write", "invalid_scope").await;
    client.gets("&scope=read", "read", json!(API1)).await;
}

/// RFC 6749 §6: an omitted or empty scope means all that was granted, also after a refresh that asked
/// for less: the refresh token keeps the scope of the login. [TR-09] [TR-10]
#[tokio::test]
async fn a_narrowed_refresh_narrows_no_other() {
    let jeton = jeton().await;
    let mut client = Follower::login(&jeton, "spa", "&scope=read+write").await;
    client.gets("&scope=read", "read", json!(API1)).await;
    client.gets("", "read write", json!(API1)).await;
    client.gets("&scope=read", "read", json!(API1)).await;
    client.gets("&scope=write", "write", json!(API1)).await;
    client.gets("&scope=", "read write", json!(API1)).await;
}

/// RFC 6749 §3.3, ASVS 8.3.2: what the user or the client may have no longer is not in the next
/// token, asked for or not, and the response says so; nothing left is an error that uses nothing up;
/// and what is given back is there again. [TR-22]
#[tokio::test]
async fn rights_that_were_withdrawn_disappear() {
    let jeton = jeton().await;
    let mut client = Follower::login(&jeton, "web", "&scope=read+write+admin").await;
    client.gets("", "read write admin", json!(API1)).await;
    for (withdraw, left, give_back) in [
        ("user set alice --scope read", "read", "user set alice --any-scope"),
        (
            "client set web --scope read --scope admin --default-scope read",
            "read admin",
            "client set web --scope read --scope write --scope admin --default-scope read",
        ),
        (
            "user set alice --scope admin --scope write --scope more",
            "write admin",
            "user set alice --any-scope",
        ),
    ] {
        jeton.command(withdraw).await;
        client.gets("", left, json!(API1)).await;
        client.gets("&scope=read+write+admin", left, json!(API1)).await;
        client.is_refused("&scope=more", "invalid_scope").await;
        jeton.command(give_back).await;
        client.gets("", "read write admin", json!(API1)).await;
    }
    jeton.command("user set alice --scope write").await;
    client.is_refused("&scope=read", "invalid_scope").await;
    client.is_refused("&scope=read+admin", "invalid_scope").await;
    jeton.command("user set alice --scope other").await;
    client.is_refused("", "invalid_scope").await;
    jeton.command("user set alice --any-scope").await;
    client.gets("&scope=read", "read", json!(API1)).await;
}

/// RFC 8707 §2.2: a resource server that the client may have tokens for no longer is not in the next
/// token; nothing left is an error that uses nothing up; and what is given back is there again.
#[tokio::test]
async fn a_resource_that_was_withdrawn_disappears() {
    let jeton = jeton().await;
    let mut client = Follower::login(&jeton, "web", &resources(&[API1, API2])).await;
    jeton.command(&format!("client set web --audience {API1}")).await;
    client.gets("", "read", json!(API1)).await;
    client.gets(&resources(&[API1]), "read", json!(API1)).await;
    client.is_refused(&resources(&[API2]), "invalid_target").await;
    jeton.command("client set web --audience https://api3.example").await;
    client.is_refused("", "invalid_target").await;
    client.is_refused(&resources(&["https://api3.example"]), "invalid_target").await;
    jeton.command(&format!("client set web --audience {API1} --audience {API2}")).await;
    client.gets("", "read", json!([API1, API2])).await;
}

/// RFC 8707 §2.2, RFC 9700 §4.14.2: a refresh token stays bound to the resources of its login, even
/// where the client may have others. [TR-28]
#[tokio::test]
async fn a_resource_outside_the_grant_is_refused() {
    let jeton = jeton().await;
    for (granted, others) in [(API1, API2), (API2, API1)] {
        let mut client = Follower::login(&jeton, "web", &resources(&[granted])).await;
        for wrong in [
            vec![others],
            vec![granted, others],
            vec!["https://evil.example/"],
            vec!["foo"],
            vec!["https://api1.example/"],
            vec!["https://api1.example#x"],
            vec!["HTTPS://api1.example"],
        ] {
            client.is_refused(&resources(&wrong), "invalid_target").await;
        }
        client.gets(&resources(&[granted]), "read", json!(granted)).await;
        client.gets("", "read", json!(granted)).await;
    }
    // Without a resource the login was for the client's first audience.
    let client = Follower::login(&jeton, "web", "").await;
    client.is_refused(&resources(&[API2]), "invalid_target").await;
}

/// RFC 8707 §2.2: a login for several resources can be refreshed for any of them in turn, and keeps
/// them all. [TX-05]
#[tokio::test]
async fn a_refresh_can_be_for_one_resource_of_several() {
    let jeton = jeton().await;
    let mut client = Follower::login(&jeton, "web", &resources(&[API1, API2])).await;
    client.gets(&resources(&[API1]), "read", json!(API1)).await;
    client.gets(&resources(&[API2]), "read", json!(API2)).await;
    client.gets("", "read", json!([API1, API2])).await;
    client.gets(&resources(&[API2, API2]), "read", json!(API2)).await;
    client.gets("&resource=", "read", json!([API1, API2])).await;
    let both = json!([API2, API1]);
    client.gets(&resources(&[API2, API1]), "read", both).await;
}

/// RFC 8707 §2.2, RFC 9068 §2.2.3: scope that is bound to a resource is kept by the session, and is
/// in the tokens for that resource and in no others. [TX-05] [TX-06]
#[tokio::test]
async fn scope_follows_the_resource() {
    let jeton = jeton().await;
    jeton.command("client set bound --grant password --grant refresh_token").await;
    let further = "&scope=read+api1.read+api2.read".to_owned() + &resources(&[API1, API2]);
    let login = jeton.login_through("bound", &further).await;
    assert_eq!(login.member("scope"), "read");
    let token = login.refresh_token();
    let mut client = Follower { jeton: &jeton, client_id: "bound", token };
    client.gets(&resources(&[API1]), "read api1.read", json!(API1)).await;
    client.gets(&resources(&[API2]), "read api2.read", json!(API2)).await;
    client.gets("", "read", json!([API1, API2])).await;
    let further = "&scope=api2.read".to_owned() + &resources(&[API2]);
    client.gets(&further, "api2.read", json!(API2)).await;
    let further = "&scope=api2.read+read".to_owned() + &resources(&[API1]);
    client.gets(&further, "read", json!(API1)).await;
    let further = "&scope=api2.read".to_owned() + &resources(&[API1]);
    client.is_refused(&further, "invalid_scope").await;
    client.gets(&resources(&[API1]), "read api1.read", json!(API1)).await;

    // A login for one resource has only what means something there.
    let further = "&scope=read+api1.read+api2.read".to_owned() + &resources(&[API1]);
    let client = Follower::login(&jeton, "bound", &further).await;
    client.is_refused(&resources(&[API2]), "invalid_target").await;
}
