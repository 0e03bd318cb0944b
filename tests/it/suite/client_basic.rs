//! HTTP Basic as clients use it (RFC 6749 §2.3.1, RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::client_authentication::{assert_refused, login_and, login_with};
use super::*;
use crate::harness::forge::claims;

/// A secret that no client is ever given: spelled raw and form-encoded it is not the same, nor is
/// its base64 in the two alphabets.
const ODD_SECRET: &str = "p+/:=% ~~~???";

/// Makes [`ODD_SECRET`] the secret of `web`, past the command line.
async fn give_odd_secret(jeton: &Jeton) {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(ODD_SECRET);
    let digest = digest.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat();
    let literal = if jeton.database.url.starts_with("sqlite:") {
        format!("x'{digest}'")
    } else {
        format!("'\\x{digest}'::bytea")
    };
    let set = format!("UPDATE client_secrets SET secret_digest = {literal}");
    jeton.database.query(&format!("{set} WHERE client_id = 'web'")).await;
}

/// Percent-encodes every octet, those too that need it not.
fn spell_out(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02x}")).collect::<Vec<_>>().concat()
}

/// Basic is base64 of an id and a secret that were form-encoded each, with a colon between. What
/// secrets are made of is its own form-encoding, so a client that does not encode says the same.
/// The scheme's case and the blanks around are not data. RFC 6749 §2.3.1, RFC 7617 §2, RFC 9110
/// §5.5, §11.1, §11.4. [TC-01] [TC-06] [TC-07]
#[tokio::test]
async fn basic_is_understood_in_every_spelling() {
    let jeton = jeton().await;
    let secret = jeton.fixtures.secret("web");
    let raw = STANDARD.encode(format!("web:{secret}"));
    let spelled_out = STANDARD.encode(format!("{}:{}", spell_out("web"), spell_out(secret)));
    for field in [
        format!("Basic {raw}"),
        format!("Basic {spelled_out}"),
        format!("bAsIc {raw}"),
        format!("basic   {raw}"),
        format!("  BASIC {raw} \t "),
    ] {
        let reply = login_with(&jeton, &field).send().await;
        assert_eq!(reply.status, 200, "{field:?}: {}", reply.text());
        assert_eq!(claims(&reply.access_token())["client_id"], "web", "{field:?}");
    }
    for id in ["web", "other", "rs1"] {
        let secret = jeton.fixtures.secret(id);
        let alphabet = |octet: u8| octet.is_ascii_alphanumeric() || b"_-".contains(&octet);
        assert!(!secret.is_empty() && secret.bytes().all(alphabet), "{id}");
    }
}

/// First base64, then the split at the first colon, then the decoding of both halves. A client id
/// is made of `[A-Za-z0-9._-]` only, so it is an ordinary id that is spelled out in escapes, and
/// the secret that has the blank, the plus, the percent sign and the colon. RFC 6749 §2.3.1,
/// RFC 7617 §2. [TC-02] [TC-03] [TC-04]
#[tokio::test]
async fn both_halves_of_basic_are_form_decoded_after_the_split() {
    let jeton = jeton().await;
    give_odd_secret(&jeton).await;
    for (case, user_pass, status) in [
        ("encoded", "web:p%2B%2F%3A%3D%25+%7E%7E%7E%3F%3F%3F", 200),
        ("id encoded too", "%77%65b:p%2b%2f%3a%3d%25%20~~~???", 200),
        ("colon, slash and equals sign as they are", "web:p%2B/:=%25+~~~???", 200),
        ("plus as it is", "web:p+/:=%25+~~~???", 401),
        ("encoded twice", "web:p%252B%252F%253A%253D%2525%2B~~~???", 401),
        ("percent sign as it is", "web:p%2B/:=% ~~~???", 401),
        ("cut at the second colon", "web:p%2B/", 401),
        ("escaped colon only", "web%3Ap%2B/:=%25+~~~???", 401),
    ] {
        let field = format!("Basic {}", STANDARD.encode(user_pass));
        let reply = login_with(&jeton, &field).send().await;
        assert_eq!(reply.status, status, "{case}: {}", reply.text());
        if status == 401 {
            assert_refused(case, &reply, 401, "invalid_client");
        }
    }
}

/// A field that is not well-formed Basic of a client is a failed authentication, answered with the
/// one challenge that works, and nothing of the grant is looked at. RFC 6749 §5.2, RFC 7617 §2,
/// RFC 4648 §3.3, RFC 9110 §15.5.2. [TC-05] [TC-08] [TC-09] [TC-10] [TC-21] [TC-22]
#[tokio::test]
async fn anything_but_good_basic_is_a_failed_authentication() {
    let jeton = jeton().await;
    give_odd_secret(&jeton).await;
    let encoded = "web:p%2B%2F%3A%3D%25+%7E~~???";
    let good = STANDARD.encode(encoded);
    let (first, second) = good.split_at(8);
    let url_safe = URL_SAFE.encode(encoded);
    assert!(url_safe != good && good.ends_with('='));
    login_with(&jeton, &format!("Basic {good}")).send().await.access_token();

    let mut fields: Vec<String> = [
        "Basic !!!",
        "Basic",
        "Basic ",
        "Basic a",
        "Basic =",
        "Basic Og==",
        "Bearer x",
        "Digest username=\"web\", realm=\"jeton\"",
        "Negotiate x",
        "x",
        "",
    ]
    .map(str::to_owned)
    .into();
    fields.push(format!("Basic {url_safe}"));
    fields.push(format!("Basic {first} {second}"));
    fields.push(format!("Basic {first}\t{second}"));
    fields.push(format!("Basic\t{good}"));
    fields.push(format!("Basic {}", good.trim_end_matches('=')));
    fields.push(format!("Basic {good}="));
    fields.push(format!("Basic {good}, Basic {good}"));
    fields.push(format!("Basic{good}"));
    fields.push(format!("Bearer {good}"));
    fields.push(good);
    for user_pass in [
        b"web".as_slice(),
        b"web:wrong",
        b"web:%zz",
        b"web:%4",
        b"web:%FF",
        b"web:\xff",
        b"%FF:x",
        b"%zz:x",
        b":",
        b":x",
        b"we\nb:secret",
        b"web:se\0cret",
        b"web:secret\x7f",
        b"web:%00",
        b"web%00:x",
        "zo\u{eb}:x".as_bytes(),
    ] {
        fields.push(format!("Basic {}", STANDARD.encode(user_pass)));
    }
    for field in fields {
        let reply = login_with(&jeton, &field).send().await;
        assert_refused(&field, &reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic "), "{field}");
    }
    assert_eq!(jeton.passwords_verified().await, 1);
}

/// The challenge names the scheme, one realm and the one charset that the scheme knows. RFC 7617
/// §2, §2.1, RFC 9110 §11.5. [TC-24]
#[tokio::test]
async fn the_challenge_has_one_realm_and_perhaps_a_charset() {
    let jeton = jeton().await;
    for reply in [
        login_with(&jeton, "Basic !!!").send().await,
        login_and(&jeton, "").send().await,
        jeton.post("/introspect", "token=x").send().await,
    ] {
        let challenge = reply.header("www-authenticate").to_owned();
        let parameters = challenge.strip_prefix("Basic ").expect("the scheme");
        let mut names = Vec::new();
        for parameter in parameters.split(", ") {
            let (name, value) = parameter.split_once('=').expect("name=value");
            let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let value = value.expect("a quoted string");
            assert!(!value.is_empty() && !value.contains(['"', '\\']), "{challenge}");
            assert!(name != "charset" || value == "UTF-8", "{challenge}");
            names.push(name);
        }
        assert_eq!(names, ["realm", "charset"]);
    }
}
