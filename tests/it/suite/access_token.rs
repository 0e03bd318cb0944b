//! The access token as it is issued (RFC 9068). What is accepted back is in `forged_token.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::{JwsVerifier, RS256};
use rustls_pki_types::alg_id;
use serde_json::{Value, json};

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::forge::{claims, decode};
use crate::harness::{run, run_with_input};

const API1: &str = "https://api1.example";
const API2: &str = "https://api2.example";

/// The names of an object's members, in alphabetical order.
fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The key of the JWKS that a token names.
async fn published_key(jeton: &Jeton, kid: &Value) -> Value {
    let jwks = jeton.request("GET", "/.well-known/jwks.json").send().await.json();
    let keys = jwks.get("keys").and_then(Value::as_array).expect("an array");
    let mut named = keys.iter().filter(|key| key["kid"] == *kid);
    let key = named.next().expect("the key is published").clone();
    assert_eq!(named.next(), None, "one key has this name");
    key
}

/// RFC 9068 §2.1, RFC 7515 §7.1 and §4.1: three parts of base64url; the header says algorithm, key
/// and type, and nothing that a verifier could be misled by. [J-01] [J-02] [J-04] [J-06] [J-07]
#[tokio::test]
async fn the_header_says_algorithm_key_and_type_and_no_more() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let is_base64url = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        assert!(!part.is_empty() && part.chars().all(is_base64url), "{part}");
    }
    let (header, _) = decode(&token);
    assert_eq!(members(&header), ["alg", "kid", "typ"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("at+jwt")));
    assert_eq!(published_key(&jeton, &header["kid"]).await["alg"], "RS256");
}

/// RFC 9068 §4, RFC 8725 §3.11: tokens are called `JWT` for clients that were registered so, and for no others;
/// such a token is good while its client is.
#[tokio::test]
async fn a_client_can_have_its_tokens_called_jwt() {
    let jeton = jeton().await;
    jeton.command("client set web --access-token-typ JWT").await;
    let login = jeton.login_through("web", "").await;
    let refreshed = jeton.refresh("web", &login.refresh_token(), "").await.access_token();
    for token in [&login.access_token(), &refreshed] {
        let (header, _) = decode(token);
        assert_eq!(members(&header), ["alg", "kid", "typ"]);
        assert_eq!(header["typ"], "JWT");
        assert!(jeton.is_active(token).await);
    }
    let other = jeton.login_through("other", "").await.access_token();
    assert_eq!(decode(&other).0["typ"], "at+jwt");

    jeton.command("client set web --access-token-typ at+jwt").await;
    assert!(!jeton.is_active(&refreshed).await);
    let usual = jeton.access_token().await;
    jeton.command("client set web --access-token-typ JWT").await;
    assert!(jeton.is_active(&usual).await && jeton.is_active(&refreshed).await);
    jeton.post_as("web", "/revoke", &format!("token={refreshed}")).send().await;
    assert!(!jeton.is_active(&refreshed).await, "revocation knows it");
}

/// RFC 9068 §2.1, RFC 7515 §5.2: the signature is RS256 under the published key, to two libraries
/// that share no code: OpenSSL by way of josekit, and AWS-LC. [J-03] [J-05]
#[tokio::test]
async fn the_signature_verifies_in_two_libraries() {
    let jeton = jeton().await;
    let token = jeton.access_token().await;
    let (header, _) = decode(&token);
    let key = published_key(&jeton, &header["kid"]).await;
    let (input, signature) = token.rsplit_once('.').expect("a signature");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");

    let jwk = Jwk::from_bytes(key.to_string()).expect("a JWK");
    let verifier = RS256.verifier_from_jwk(&jwk).expect("a public key");
    assert!(verifier.verify(input.as_bytes(), &signature).is_ok());
    assert!(verifier.verify(&input.as_bytes()[1..], &signature).is_err());

    let number = |name: &str| {
        let octets = URL_SAFE_NO_PAD.decode(key[name].as_str().expect("text")).expect("base64url");
        openssl::bn::BigNum::from_slice(&octets).expect("a number")
    };
    let public = openssl::rsa::Rsa::from_public_components(number("n"), number("e"));
    let public = public.and_then(|rsa| rsa.public_key_to_der_pkcs1()).expect("a public key");
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let algorithm = provider.signature_verification_algorithms.all.iter().find(|algorithm| {
        algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION
            && algorithm.signature_alg_id() == alg_id::RSA_PKCS1_SHA256
    });
    let algorithm = algorithm.expect("RSASSA-PKCS1-v1_5 with SHA-256");
    assert!(algorithm.verify_signature(&public, input.as_bytes(), &signature).is_ok());
    assert!(algorithm.verify_signature(&public, &input.as_bytes()[1..], &signature).is_err());
}

/// RFC 9068 §2.2, RFC 7519 §4: the claims are these, each of its type, each once, true to the
/// response, the metadata and the clock; nothing about the person is among them. [J-08] [J-09]
/// [J-10] [J-20] [J-22] [J-23] [J-27] [J-30] [J-32]
#[tokio::test]
async fn the_claims_agree_with_the_response_the_metadata_and_the_clock() {
    let jeton = jeton().await;
    let metadata = jeton.request("GET", "/.well-known/oauth-authorization-server").send().await;
    let reply = jeton.login_through("web", "&scope=write+read").await;
    let token = reply.access_token();
    // `decode` refuses members that repeat, and octets before the object such as a BOM.
    let (_, claims) = decode(&token);
    let expected =
        ["amr", "aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "scope", "sid", "sub"];
    assert_eq!(members(&claims), expected);
    assert_eq!(claims["iss"], metadata.json()["issuer"]);
    let integer = |name: &str| claims[name].as_i64().expect("an integer");
    assert_eq!(integer("iat"), jeton.clock.now().0);
    assert_eq!(integer("auth_time"), integer("iat"));
    assert_eq!(integer("exp") - integer("iat"), reply.json()["expires_in"].as_i64().expect("one"));
    assert_eq!(claims["client_id"], "web");
    assert_eq!(claims["scope"], "write read");
    assert_eq!(claims["scope"], reply.json()["scope"]);
    for name in ["jti", "sid"] {
        let octets = URL_SAFE_NO_PAD.decode(claims[name].as_str().expect("text"));
        assert_eq!(octets.expect("base64url").len(), 16, "{name} has 128 bits");
    }
    assert_ne!(claims["jti"], claims["sid"]);
    assert!(!claims.to_string().contains("alice"));
}

/// RFC 9068 §3 and §5, RFC 8707 §2, RFC 7519 §4.1.3: the token names the resource servers that it
/// is for: those asked for, or the one the scope belongs to, or the client's default. [J-11] [J-12]
/// [J-13] [J-14] [S-05]
#[tokio::test]
async fn the_audience_is_what_was_asked_for_or_follows_from_the_scope() {
    let jeton = jeton().await;
    let both = format!("&resource={API2}&resource={API1}");
    for (client, further, audience) in [
        ("web", String::new(), json!(API1)),
        ("web", format!("&resource={API1}"), json!(API1)),
        ("web", format!("&resource={API2}"), json!(API2)),
        ("web", both, json!([API2, API1])),
        ("claims", String::new(), json!([API1])),
        ("bound", "&scope=read".to_owned(), json!(API1)),
        ("bound", "&scope=api1.read".to_owned(), json!(API1)),
        ("bound", "&scope=read+api2.read".to_owned(), json!(API2)),
    ] {
        let token = jeton.login_through(client, &further).await.access_token();
        assert_eq!(claims(&token)["aud"], audience, "{client} {further}");
    }
}

/// RFC 9068 §2.2.3, §3 and §5: no scope stands beside an audience that it does not belong to, and
/// what cannot be told apart is not issued. [J-15] [J-16]
#[tokio::test]
async fn a_token_never_mixes_the_scopes_of_two_resource_servers() {
    let jeton = jeton().await;
    for (further, scope) in [
        (format!("&scope=read+api1.read+api2.read&resource={API2}"), "read api2.read"),
        (format!("&scope=read+api1.read&resource={API1}&resource={API2}"), "read"),
    ] {
        let reply = jeton.login_through("bound", &further).await;
        assert_eq!(claims(&reply.access_token())["scope"], scope, "{further}");
        assert_eq!(reply.member("scope"), scope, "{further}");
    }
    for further in [
        "&scope=api1.read+api2.read".to_owned(),
        "&scope=read+api1.read+api2.read".to_owned(),
        format!("&scope=api1.read&resource={API2}"),
        format!("&scope=api1.read+api2.read&resource={API1}&resource={API2}"),
    ] {
        jeton.login_through("bound", &further).await.assert_error(400, "invalid_scope");
    }
}

/// RFC 7519 §4.1.2, RFC 9068 §2.2: the user has one name that no machine confuses with another's:
/// the same at each login and client, another's for nobody, not even for a namesake. [J-17] [J-18]
#[tokio::test]
async fn a_sub_belongs_to_one_user_for_ever() {
    let jeton = jeton().await;
    let sub = |token: String| claims(&token)["sub"].as_str().expect("text").to_owned();
    let first = sub(jeton.access_token().await);
    assert_eq!(first, jeton.fixtures.sub("alice"));
    for client in ["web", "other", "claims"] {
        assert_eq!(sub(jeton.login_through(client, "").await.access_token()), first, "{client}");
    }
    let bob = jeton.token(&login_form("bob", PASSWORD)).await.access_token();
    assert_ne!(sub(bob), first);

    jeton.command("user delete alice --yes").await;
    let url = jeton.database.url.as_str();
    let add = ["user", "add", "alice", "--password-stdin", "--scrypt", SCRYPT, "--database", url];
    let output = run_with_input(&add, &format!("{PASSWORD}\n"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(sub(jeton.access_token().await), first);
}

/// RFC 9068 §5, RFC 9700 §4.15: nobody chooses a `sub`: it is random, no parameter changes it, and
/// no client can have it as its own name. [J-19] [S-11]
#[tokio::test]
async fn a_sub_cannot_be_chosen_and_is_no_client_id() {
    let jeton = jeton().await;
    let token = jeton.login_through("web", "&sub=bob&user_id=bob&claims=%7B%7D").await;
    let sub = claims(&token.access_token())["sub"].as_str().expect("text").to_owned();
    assert_eq!(sub, jeton.fixtures.sub("alice"));
    assert_eq!(URL_SAFE_NO_PAD.decode(&sub).expect("base64url").len(), 16);

    let add = ["client", "add", "--database", &jeton.database.url, "--public", "--", &sub];
    let output = run(&add);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = jeton.database.query("SELECT client_id FROM clients").await;
    assert!(!rows.contains(&vec![Some(sub)]));
}

/// RFC 9068 §2.2.2 and §2.2.3.1: roles and the user's name go by their registered names, and only
/// to clients that were configured to get them. [J-25] [J-26]
#[tokio::test]
async fn roles_and_name_are_there_for_configured_clients_only() {
    let jeton = jeton().await;
    let token = jeton.login_through("claims", "").await.access_token();
    let told = claims(&token);
    assert_eq!(told["roles"], json!(["user", "editor"]));
    assert_eq!(told["preferred_username"], "alice");
    // All are registered with IANA ("JSON Web Token Claims"), `sid` by OpenID Connect.
    let registered = [
        "amr",
        "aud",
        "auth_time",
        "client_id",
        "exp",
        "iat",
        "iss",
        "jti",
        "preferred_username",
        "roles",
        "scope",
        "sid",
        "sub",
    ];
    assert_eq!(members(&told), registered);
    let untold = claims(&jeton.access_token().await);
    assert!(untold.get("roles").is_none() && untold.get("preferred_username").is_none());
}

/// RFC 7519 §2: what has a colon is a URI, in the token and already where it is configured. [J-29]
#[tokio::test]
async fn names_with_a_colon_are_uris() {
    let jeton = jeton().await;
    let claims = claims(&jeton.access_token().await);
    for name in ["iss", "aud"] {
        let uri: http::Uri = claims[name].as_str().expect("text").parse().expect("a URI");
        assert!(uri.scheme().is_some() && uri.authority().is_some(), "{name} is absolute");
    }
    for name in ["sub", "client_id", "sid", "jti"] {
        assert!(!claims[name].as_str().expect("text").contains(':'), "{name} is no URI");
    }
    for (audience, exit_code) in [
        ("1:api", 2),
        (":api", 2),
        ("api one", 2),
        ("https://api1.example/#part", 2),
        ("urn:", 2),
        ("urn:api", 0),
    ] {
        let database = jeton.database.url.as_str();
        let output = run(&["client", "add", "new", "--database", database, "--audience", audience]);
        assert_eq!(output.status.code(), Some(exit_code), "{audience:?}");
    }
}

/// RFC 6750 §5.3: tokens live an hour at most, whoever configures it; ten minutes unless told.
/// [J-31]
#[tokio::test]
async fn no_token_lives_longer_than_an_hour() {
    let jeton = Jeton::start_with(ENGINE, &["--access-token-lifetime", "1h"]).await;
    let lifetime = |token: &str| {
        let claims = claims(token);
        claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat")
    };
    assert_eq!(lifetime(&jeton.access_token().await), 3_600);
    assert_eq!(lifetime(&jeton.login_through("claims", "").await.access_token()), 120);
    let database = jeton.database.url.as_str();
    for command in [["check"].as_slice(), &["client", "set", "web"], &["client", "add", "new"]] {
        for (lifetime, is_refused) in
            [("3601s", true), ("61m", true), ("2h", true), ("1d", true), ("3600s", false)]
        {
            let mut all = command.to_vec();
            all.extend(["--database", database, "--access-token-lifetime", lifetime]);
            // 2 is the exit code of a wrong usage.
            assert_eq!(run(&all).status.code() == Some(2), is_refused, "{command:?} {lifetime}");
        }
    }
    let usual = self::jeton().await.access_token().await;
    assert_eq!(lifetime(&usual), 600);
}
