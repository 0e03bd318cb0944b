//! Signatures that only a holder of the service's private key could make, and that are none: what
//! RFC 8017 calls inconsistent. A verifier that parses what it decrypts, instead of comparing it with
//! what it should be, takes some of them, and then others can be made without the key.

use josekit::jwk::alg::rsa::RsaKeyPair;
use openssl::bn::BigNum;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use super::forged_token::{Forge, with};
use super::*;
use crate::harness::forge::encode;
use crate::harness::{Executable, Request};

/// Octets of the modulus of the tests' key.
const LENGTH: usize = 256;
/// The `DigestInfo` of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
const SHA_256: &str = "3031300d060960864801650304020105000420";

/// The octets of a hexadecimal text.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

/// Digests of a text by other functions than the right one.
fn digest(function: openssl::hash::MessageDigest, input: &str) -> Vec<u8> {
    openssl::hash::hash(function, input.as_bytes()).expect("a digest").to_vec()
}

/// `00 01 FF … FF 00` and this, filled up to the length of the modulus.
fn padded(info: &[u8]) -> Vec<u8> {
    let filling = vec![0xff; LENGTH - 3 - info.len()];
    [&[0, 1], &filling[..], &[0], info].concat()
}

/// Encoded messages that are not the one of RFC 8017 §9.2, though each holds the right digest, or a
/// right digest of another kind.
fn inconsistent(input: &str) -> Vec<(&'static str, Vec<u8>)> {
    use openssl::hash::MessageDigest;
    let right = digest(MessageDigest::sha256(), input);
    let info = [hex(SHA_256), right.clone()].concat();
    let good = padded(&info);
    let with_prefix = |prefix: &str| [hex(prefix), right.clone()].concat();
    let replaced = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        message
    };
    let sha_1 = [hex("3021300906052b0e03021a05000414"), digest(MessageDigest::sha1(), input)];
    let sha_384 =
        [hex("3041300d060960864801650304020205000430"), digest(MessageDigest::sha384(), input)];
    let sha_512 =
        [hex("3051300d060960864801650304020305000440"), digest(MessageDigest::sha512(), input)];
    // Bleichenbacher 2006 (CVE-2006-4339): little padding, and anything behind.
    let short = [&[0, 1], &[0xff; 8][..], &[0], &info].concat();
    let garbage = vec![0xa5; LENGTH - short.len()];
    let end_of_padding = LENGTH - info.len() - 1;
    vec![
        ("garbage behind the digest", [short, garbage].concat()),
        ("one octet behind the digest", padded(&[&info[..], &[0]].concat())),
        ("no NULL", padded(&with_prefix("302f300b06096086480165030402010420"))),
        ("a long NULL", padded(&with_prefix("3032300e06096086480165030402010581000420"))),
        ("a value for NULL", padded(&with_prefix("3032300e0609608648016503040201050101042000"))),
        ("long lengths", padded(&with_prefix("308131300d060960864801650304020105000420"))),
        ("indefinite length", padded(&with_prefix("3080300d060960864801650304020105000420"))),
        ("no DigestInfo", padded(&right)),
        ("only an octet string", padded(&with_prefix("0420"))),
        ("SHA-1", padded(&sha_1.concat())),
        ("SHA-384", padded(&sha_384.concat())),
        ("SHA-512", padded(&sha_512.concat())),
        ("the name of SHA-512", padded(&with_prefix("3031300d060960864801650304020305000420"))),
        ("block type 0", replaced(1, 0)),
        ("block type 2", replaced(1, 2)),
        ("a first octet", replaced(0, 1)),
        ("another padding octet", replaced(2, 0xfe)),
        ("a last padding octet", replaced(end_of_padding - 1, 0)),
        ("another separator", replaced(end_of_padding, 0xff)),
        ("no padding", [vec![0; LENGTH - info.len()], info].concat()),
    ]
}

/// RFC 8017 §8.2.2 and §9.2, RFC 8725 §3.3: the signature is compared, not parsed: whatever else is
/// encoded under it, with the service's own key, is no signature; nor is the right one spelled as
/// the next larger number. [J-39] [S-02]
#[tokio::test]
async fn a_signature_is_compared_and_not_parsed() {
    let forge = Forge::new().await;
    let pair = RsaKeyPair::from_jwk(&forge.key.jwk).expect("an RSA key");
    let key = Rsa::private_key_from_der(&pair.to_raw_private_key()).expect("an RSA key");
    let sign = |message: &[u8]| {
        let mut signature = vec![0; LENGTH];
        let length = key.private_encrypt(message, &mut signature, Padding::NONE);
        length.map(|_| signature).ok()
    };
    let (input, _) = forge.token.rsplit_once('.').expect("a signature");
    let right = [hex(SHA_256), digest(openssl::hash::MessageDigest::sha256(), input)].concat();
    let control = sign(&padded(&right)).expect("a message smaller than the modulus");
    assert_eq!(format!("{input}.{}", encode(control)), forge.token, "the construction is right");
    for (name, message) in inconsistent(input) {
        assert_eq!(message.len(), LENGTH, "{name}");
        if let Some(signature) = sign(&message) {
            forge.assert_useless(name, &format!("{input}.{}", encode(signature))).await;
        }
    }
    // The same number modulo n, if it has as many octets: about one of three signatures.
    let mut spelled = 0;
    for number in 0..40 {
        let token = forge.key.sign_claims(&with(&forge.claims, "x", json!(number)));
        let (input, signature) = token.rsplit_once('.').expect("a signature");
        let mut sum = BigNum::new().expect("memory");
        let octets = crate::harness::leaks::decoded(signature);
        let number = BigNum::from_slice(&octets).expect("a number");
        sum.checked_add(&number, key.n()).expect("memory");
        if sum.num_bytes() == 256 {
            spelled += 1;
            assert!(forge.jeton.is_active(&token).await);
            let other = format!("{input}.{}", encode(sum.to_vec()));
            forge.assert_useless("the number and the modulus", &other).await;
        }
    }
    assert!(spelled > 0, "one of 40 fits");
}

/// RFC 7519 §5.2 and §7.2, RFC 8725 §3.11: a token in a token is not opened, and one kind is not
/// taken for the other: an access token refreshes nothing. [J-35] [J-37]
#[tokio::test]
async fn what_is_inside_a_token_is_not_opened() {
    let forge = Forge::new().await;
    for (typ, cty) in [("at+jwt", "JWT"), ("JWT", "JWT"), ("at+jwt", "at+jwt")] {
        let header = json!({"alg": "RS256", "kid": forge.key.kid, "typ": typ, "cty": cty});
        let plain = json!({"alg": "RS256", "kid": forge.key.kid, "typ": typ});
        for header in [header, plain] {
            let nested = forge.key.sign(&header.to_string(), &forge.token);
            forge.assert_useless("nested", &nested).await;
            let quoted = forge.key.sign(&header.to_string(), &json!(forge.token).to_string());
            forge.assert_useless("nested in quotes", &quoted).await;
        }
    }
    let reply = forge.jeton.refresh("web", &forge.token, "").await;
    reply.assert_error(400, "invalid_grant");
    let login = forge.jeton.login_through("web", "").await;
    let refresh = login.refresh_token();
    for text in [format!("{refresh}.{refresh}.{refresh}"), format!("{}.{refresh}.", encode("{}"))] {
        forge.assert_useless("made of a refresh token", &text).await;
    }
    let claims = json!({"iss": forge.claims["iss"], "refresh_token": refresh});
    forge.assert_useless("around a refresh token", &forge.key.sign_claims(&claims)).await;
}

/// Wycheproof (C2SP): broken and sound signatures of other keys are all the same to each endpoint: not
/// ours, and no fault. Which of them are sound is held against the verifier in
/// `src/crypto/signing.rs`. [J-33] [S-02]
#[tokio::test]
async fn no_token_of_another_key_is_of_any_use() {
    let forge = Forge::new().await;
    let master = forge.jeton.fixtures.master_key.display().to_string();
    let settings = ["--database", &forge.jeton.database.url, "--master-key-file", &master];
    let mut process = Executable::serve(&[&settings[..], &["--log", "debug"]].concat());
    let vectors = include_str!("../../vectors/wycheproof-rs256.json");
    let vectors: Vec<Value> = serde_json::from_str(vectors).expect("JSON");
    assert!(vectors.len() > 200);
    for vector in vectors {
        let name = format!("{} {}", vector["tcId"], vector["comment"]);
        let token = vector["jws"].as_str().expect("text");
        let form = format!("token={}", percent_encode(token));
        let request = Request::new(process.public, "POST", "/introspect").form(&form);
        let status = request.basic("rs1", forge.jeton.fixtures.secret("rs1")).send().await.status;
        if token.is_empty() {
            // No token at all is a malformed request (RFC 6749 §3.2).
            assert_eq!(status, 400, "{name}");
            forge.introspect(token).await.assert_error(400, "invalid_request");
        } else {
            assert_eq!(status, 200, "{name}");
            forge.assert_useless(&name, token).await;
        }
    }
    let log = process.stop_and_read_log();
    assert!(!log.contains("\"ERROR\"") && log.matches("introspected").count() > 200, "{log}");
}
