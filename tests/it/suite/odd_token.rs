//! Tokens that are spelled as no issuer spells them: what two parsers could read in two ways, and
//! what could break one.

use josekit::jwe::{self, Dir, JweHeader, RSA_OAEP_256};
use serde_json::{Value, json};

use super::forged_token::{Forge, with};
use super::*;
use crate::harness::forge::encode;
use crate::harness::{Executable, Request};

/// The text of an object in which one more member stands first.
fn with_first(object: &Value, member: &str) -> String {
    object.to_string().replacen('{', &format!("{{{member},"), 1)
}

/// RFC 7515 §4 and §4.1.11, RFC 7519 §4: a header or claims set that says something twice, or asks
/// for an extension, is refused though the signature over it is good. [J-35]
#[tokio::test]
async fn what_is_said_twice_or_asks_for_an_extension_is_refused() {
    let forge = Forge::new().await;
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    for member in [
        r#""alg":"RS256""#,
        r#""alg":"none""#,
        r#""typ":"at+jwt""#,
        r#""kid":"x""#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["x"],"x":1"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""cty":"JWT""#,
        r#""x":1"#,
    ] {
        let token = forge.key.sign(&with_first(&forge.header, member), &claims);
        forge.assert_useless(member, &token).await;
    }
    for name in forge.claims.as_object().expect("an object").keys() {
        for value in [forge.claims[name].clone(), json!("x")] {
            let member = format!("{}:{value}", json!(name));
            let token = forge.key.sign(&header, &with_first(&forge.claims, &member));
            forge.assert_useless(&member, &token).await;
            // Last: the one that many parsers keep.
            let last = format!("{},{member}}}", &claims[..claims.len() - 1]);
            forge.assert_useless(&member, &forge.key.sign(&header, &last)).await;
        }
    }
    let escaped = r#""\u0065xp":9999999999"#;
    let token = forge.key.sign(&header, &with_first(&forge.claims, escaped));
    forge.assert_useless("an escaped name is the same name", &token).await;
}

/// RFC 7515 §2, §3.1 and §7.1, RFC 7519 §7.2: the compact form and only that: no white space, no
/// padding, no further part, no JSON form, no encryption. [I-36] [J-35]
#[tokio::test]
async fn no_form_but_the_compact_one_is_read() {
    let forge = Forge::new().await;
    let token = forge.token.as_str();
    let parts: Vec<&str> = token.split('.').collect();
    let [protected, payload, signature] = parts[..] else { panic!("three parts: {token}") };
    let flattened = json!({"payload": payload, "protected": protected, "signature": signature});
    let general = json!({
        "payload": payload, "signatures": [{"protected": protected, "signature": signature}]
    });
    for (name, odd) in [
        ("a blank before", format!(" {token}")),
        ("a blank after", format!("{token} ")),
        ("a tab", format!("\t{token}")),
        ("a new line after", format!("{token}\n")),
        ("a carriage return after", format!("{token}\r\n")),
        ("a blank within", format!("{protected}. {payload}.{signature}")),
        ("a folded line", format!("{protected}.\n{payload}.\n{signature}")),
        ("a non-breaking blank", format!("{token}\u{a0}")),
        ("a byte order mark", format!("\u{feff}{token}")),
        ("padding after", format!("{token}==")),
        ("padding of the header", format!("{protected}=.{payload}.{signature}")),
        ("padding of the claims", format!("{protected}.{payload}==.{signature}")),
        ("a fourth part", format!("{token}.{signature}")),
        ("an empty fourth part", format!("{token}.")),
        ("an empty first part", format!(".{token}")),
        ("five parts", format!("{token}.{payload}.{signature}")),
        ("a scheme", format!("Bearer {token}")),
        ("quotes", format!("\"{token}\"")),
        ("twice", format!("{token},{token}")),
        ("percent-encoded twice", percent_encode(token)),
        ("flattened JSON", flattened.to_string()),
        ("general JSON", general.to_string()),
        ("signed JSON", forge.key.sign(&forge.header.to_string(), &flattened.to_string())),
    ] {
        forge.assert_useless(name, &odd).await;
    }
    // The alphabet of base64 (RFC 4648 §4), under a signature over just these octets.
    let claims = with(&forge.claims, "x", json!("\u{3fb}\u{3ff}?~?~?~>>>???"));
    let url = encode(claims.to_string());
    assert!(
        url.contains(['-', '_']) && forge.jeton.is_active(&forge.key.sign_claims(&claims)).await
    );
    let plain = format!("{protected}.{}", url.replace('-', "+").replace('_', "/"));
    forge.assert_useless("the other alphabet", &forge.key.sign_input(&plain)).await;

    let mut header = JweHeader::new();
    header.set_token_type("at+jwt");
    header.set_content_type("JWT");
    header.set_content_encryption("A256GCM");
    let encrypter = RSA_OAEP_256.encrypter_from_jwk(&forge.public()).expect("an RSA key");
    let jwe_token = jwe::serialize_compact(token.as_bytes(), &header, &encrypter);
    forge.assert_useless("encrypted to our key", &jwe_token.expect("a JWE")).await;
    let encrypter = Dir.encrypter_from_bytes([7; 32]).expect("256 bits");
    let jwe_token = jwe::serialize_compact(token.as_bytes(), &header, &encrypter);
    forge.assert_useless("encrypted directly", &jwe_token.expect("a JWE")).await;
}

/// The same octets in base64url whose unused last bits are not zero; `None` if all bits are used.
fn other_spelling(part: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = part.chars().next_back()?;
    let index = ALPHABET.find(last)?;
    (!part.len().is_multiple_of(4))
        .then(|| format!("{}{}", &part[..part.len() - 1], &ALPHABET[index + 1..=index + 1]))
}

/// RFC 4648 §3.5, RFC 7515 §2: a token has one spelling, so that what was ended by its text cannot
/// come back under another. [J-36]
#[tokio::test]
async fn a_token_has_one_spelling() {
    let forge = Forge::new().await;
    let (input, signature) = forge.token.rsplit_once('.').expect("a signature");
    let respelled = format!("{input}.{}", other_spelling(signature).expect("256 octets"));
    forge.assert_inactive("the signature", &respelled).await;

    // Blanks in the JSON shift the length until the last character has unused bits.
    let (mut header, mut claims) = (forge.header.to_string(), forge.claims.to_string());
    for text in [&mut header, &mut claims] {
        if text.len().is_multiple_of(3) {
            text.push(' ');
        }
    }
    assert!(forge.jeton.is_active(&forge.key.sign(&header, &claims)).await, "blanks in JSON");
    let (header, claims) = (encode(header), encode(claims));
    let respell = |part: &str| other_spelling(part).expect("unused bits");
    for (name, input) in [
        ("the header", format!("{}.{claims}", respell(&header))),
        ("the claims", format!("{header}.{}", respell(&claims))),
    ] {
        forge.assert_inactive(name, &forge.key.sign_input(&input)).await;
    }

    forge.jeton.command("user disable alice").await;
    for token in [&forge.token, &respelled] {
        forge.assert_inactive("after the end", token).await;
    }
}

/// RFC 8725 §3.3, RFC 8017 §8.2.2: the signature has the length of the key, and is all of it.
/// [J-39]
#[tokio::test]
async fn a_signature_that_is_not_whole_is_refused() {
    use base64::Engine as _;
    let forge = Forge::new().await;
    let (input, signature) = forge.token.rsplit_once('.').expect("a signature");
    let good = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature);
    let good = good.expect("base64url");
    assert_eq!(good.len(), 256);
    let one = |length: usize| [vec![0; length - 1], vec![1]].concat();
    for (name, signature) in [
        ("empty", vec![]),
        ("without its last octet", good[..255].to_vec()),
        ("without its first octet", good[1..].to_vec()),
        ("half", good[..128].to_vec()),
        ("one octet more", [&good[..], &[0]].concat()),
        ("one octet before", [&[0], &good[..]].concat()),
        ("twice", [&good[..], &good[..]].concat()),
        ("backwards", good.iter().rev().copied().collect()),
        ("zero", vec![0; 256]),
        ("one", one(256)),
        ("larger than the modulus", vec![0xff; 256]),
    ] {
        forge.assert_useless(name, &format!("{input}.{}", encode(signature))).await;
    }
}

/// RFC 7519 §2 and §4.1: claims of absurd size or type, under a good signature, are refused and
/// break nothing. [J-40]
#[tokio::test]
async fn odd_claims_do_not_break_the_verifier() {
    let forge = Forge::new().await;
    let header = forge.header.to_string();
    for value in [
        "1e400",
        "-1e400",
        "-1",
        "-0",
        "\"1\"",
        "\"9999999999\"",
        "null",
        "true",
        "[]",
        "{}",
        "1.5",
        "1e3",
        "9999999999.5",
        "99999999999999999999",
        "-9223372036854775809",
        "NaN",
        "Infinity",
        "0x7fffffff",
        "",
    ] {
        for name in ["exp", "iat", "auth_time"] {
            // -1 is a time, if long ago; only an end in the past matters.
            if name != "exp" && matches!(value, "-1" | "-0") {
                continue;
            }
            let claims = forge.claims.to_string();
            let own = format!("\"{name}\":{}", forge.claims[name]);
            assert!(claims.contains(&own), "{claims}");
            let claims = claims.replace(&own, &format!("\"{name}\":{value}"));
            let token = forge.key.sign(&header, &claims);
            forge.assert_useless(&format!("{name} {value}"), &token).await;
        }
    }
    // What is not known is skipped, however deep; what is known must not be deep.
    let deep = format!("{}{}", "[".repeat(1_500), "]".repeat(1_500));
    let skipped = with_first(&forge.claims, &format!("\"x\":{deep}"));
    assert!(forge.jeton.is_active(&forge.key.sign(&header, &skipped)).await);
    for member in [format!("\"roles\":{deep}"), "\"x\":[".to_owned(), "\"x\":{\"y\"".to_owned()] {
        let token = forge.key.sign(&header, &with_first(&forge.claims, &member));
        forge.assert_useless(&member, &token).await;
    }
    let claims = forge.claims.to_string();
    for (name, octets) in [
        ("nothing", vec![]),
        ("an array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("text", b"\"exp\"".to_vec()),
        ("not UTF-8", [b"{\"x\":\"\xff\",", &claims.as_bytes()[1..]].concat()),
        ("a byte order mark", [b"\xef\xbb\xbf", claims.as_bytes()].concat()),
        ("two objects", [claims.as_bytes(), claims.as_bytes()].concat()),
        ("a NUL", [claims.as_bytes(), b"\0"].concat()),
        ("UTF-16", claims.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ] {
        let token = forge.key.sign_input(&format!("{}.{}", encode(&header), encode(octets)));
        forge.assert_useless(name, &token).await;
    }
    // The greatest number is a number; it cannot outlive the session.
    let endless = forge.key.sign_claims(&with(&forge.claims, "exp", json!(i64::MAX)));
    assert!(forge.jeton.is_active(&endless).await);
    forge.jeton.clock.advance(30 * 86_400);
    forge.assert_inactive("endless", &endless).await;
}

/// RFC 6749 §10.14, RFC 8725 §3.4: no text, however odd or long, is an error of the service or of
/// the caller, who passes on what strangers send (RFC 7662 §2.2). [I-36]
#[tokio::test]
async fn no_text_breaks_introspection() {
    let forge = Forge::new().await;
    let parts: Vec<&str> = forge.token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    for odd in [
        ".",
        "..",
        "...",
        "....",
        "a",
        "a.b.c",
        "%",
        "{}",
        "null",
        "{\"alg\":\"none\"}",
        "é.ü.ß",
        "\u{1f511}.\u{1f511}.\u{1f511}",
        "\u{202e}.\u{7f}.\u{1}",
        "' OR '1'='1",
        "e30.e30.",
        "e30.e30.e30",
        "eyJhbGciOiJSUzI1NiJ9..",
        &format!("..{signature}"),
        &format!(".{claims}.{signature}"),
        &format!("{header}..{signature}"),
        &format!("{header}.{claims}."),
        &"A".repeat(8_192),
        &".".repeat(4_096),
        &encode("[".repeat(6_000)),
        &format!("{}.e30.AA", encode("[".repeat(4_000))),
        &format!("{}.{claims}.{signature}", encode("{\"kid\":\"x\",\"typ\":\"at+jwt\"}")),
    ] {
        forge.assert_useless("odd", odd).await;
    }
    for odd in [
        "a\0b",
        &"A".repeat(8_193),
        // As long as it can be beside `token=`.
        &"A".repeat(16_384 - "token=".len()),
        &forge.under(&forge.header_with("kid", json!("x".repeat(10_000)))),
    ] {
        forge.assert_inactive("odd", odd).await;
    }
    forge.introspect(&"A".repeat(1 << 20)).await.assert_error(413, "invalid_request");
    let request = forge.jeton.post_as("rs1", "/introspect", "");
    let not_text = request.content(b"token=\xff\xfe".as_slice()).send().await;
    not_text.assert_error(400, "invalid_request");
    assert!(forge.jeton.is_active(&forge.token).await);
}

/// RFC 8725 §3.10: a `kid` is a name to look up and nothing else: no statement, no path, no line
/// of the log. [J-38]
#[tokio::test]
async fn a_kid_is_a_name_and_nothing_else() {
    let forge = Forge::new().await;
    let master = forge.jeton.fixtures.master_key.display().to_string();
    let settings = ["--database", &forge.jeton.database.url, "--master-key-file", &master];
    let issuer = ["--issuer", forge.jeton.service.issuer.as_str(), "--log", "trace"];
    let mut process = Executable::serve(&[settings.as_slice(), &issuer].concat());
    for kid in [
        "' OR 1=1",
        "'; DROP TABLE keys; --",
        "../x",
        "/dev/null",
        "../../../../proc/self/environ",
        "http://127.0.0.1/INJECTED",
        "x\n{\"level\":\"ERROR\",\"message\":\"INJECTED\"}",
        "\u{1b}[31mINJECTED\0",
        "",
        &"INJECTED".repeat(640),
    ] {
        let token = forge.under(&forge.header_with("kid", json!(kid)));
        forge.assert_useless(kid, &token).await;
        let request = Request::new(process.public, "POST", "/introspect");
        let request = request.form(&format!("token={token}"));
        let reply = request.basic("rs1", forge.jeton.fixtures.secret("rs1")).send().await;
        assert_eq!((reply.status, reply.json()), (200, json!({"active": false})), "{kid}");
    }
    assert!(forge.jeton.is_active(&forge.token).await);

    process.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || {
        assert_eq!(process.wait(), Some(0));
        process.log_to_its_end()
    });
    let log = ended.await.expect("it ends");
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(!log.contains("INJECTED") && !log.contains("DROP TABLE"), "{log}");
}
