//! Sealed keys.

use std::sync::LazyLock;

use jeton_crypto::random;
use jeton_crypto::sealing::{KeyPurpose, MasterKeys, sealed_under};
use jeton_oauth::KeyId;
use openssl::symm::{Cipher, encrypt_aead};
use serde_json::{Map, Value};

use super::{URL_SAFE, decode_base64, edited, encode_base64url};

const SECRET: &[u8] = b"a key that was sealed";

/// A master key that is made anew at each start, and what it sealed.
struct Vault {
    keys: MasterKeys,
    octets: Vec<u8>,
    sealed: String,
}

static VAULT: LazyLock<Vault> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("jeton-fuzzing-{}.jwk", random::request_id()));
    let keys = MasterKeys::load(std::slice::from_ref(&file), false).expect("a new master key");
    let jwk: Value =
        serde_json::from_slice(&std::fs::read(&file).expect("its file")).expect("JSON");
    std::fs::remove_file(file).expect("the file that was made");
    let octets = jwk["k"].as_str().and_then(|k| decode_base64(URL_SAFE, k.as_bytes()));
    let sealed = keys.seal(KeyPurpose::Refresh, &key_id(), SECRET);
    Vault { keys, octets: octets.expect("the octets of the key"), sealed }
});

fn key_id() -> KeyId {
    "k".parse().expect("an id")
}

/// The first octet of the input says what the rest is: `e` changes of a sealed key, `h` a protected
/// header under which something is really sealed, `s` a secret to be sealed. In a header and in the text
/// of anything else, `$M` is the name of the master key.
pub(super) fn check(input: &[u8]) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).replace("$M", VAULT.keys.first());
    match input.split_first() {
        Some((b'e', edits)) => check_edited(edits),
        Some((b'h', header)) => check_header(&text(header)),
        Some((b's', secret)) => check_secret(secret),
        _ => check_text(&text(input)),
    }
}

fn opens(sealed: &str) -> Option<Vec<u8>> {
    let opened = VAULT.keys.open(KeyPurpose::Refresh, &key_id(), sealed);
    opened.ok().map(|secret| secret.to_vec())
}

/// Of all texts next to a sealed key, it alone opens (RFC 7516 §5.2).
fn check_edited(edits: &[u8]) {
    let sealed = edited(&VAULT.sealed, edits);
    let expected = (sealed == VAULT.sealed).then(|| SECRET.to_vec());
    assert_eq!(opens(&sealed), expected, "{sealed}");
}

/// What was sealed opens, as what it was sealed for and as nothing else.
fn check_secret(secret: &[u8]) {
    let sealed = VAULT.keys.seal(KeyPurpose::Refresh, &key_id(), secret);
    assert_eq!(opens(&sealed).as_deref(), Some(secret));
    assert_eq!(sealed_under(&sealed).as_deref(), Some(VAULT.keys.first()));
    assert!(VAULT.keys.open(KeyPurpose::Signing, &key_id(), &sealed).is_err());
    let other: KeyId = "K".parse().expect("an id");
    assert!(VAULT.keys.open(KeyPurpose::Refresh, &other, &sealed).is_err());
}

/// Nobody who lacks the master key makes something that opens.
fn check_text(text: &str) {
    assert_eq!(opens(text), None);
    for part in [
        text.to_owned(),
        format!("{}.{text}", header_of_genuine()),
        format!("{text}.AAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        assert_eq!(opens(&part), None);
    }
}

fn header_of_genuine() -> &'static str {
    VAULT.sealed.split('.').next().unwrap_or_default()
}

/// What the master key sealed under another header opens only if the header says what it must.
fn check_header(header: &str) {
    let encoded = encode_base64url(header.as_bytes());
    let (nonce, mut tag) = ([7; 12], [0; 16]);
    let cipher = Cipher::aes_256_gcm();
    let sealed =
        encrypt_aead(cipher, &VAULT.octets, Some(&nonce), encoded.as_bytes(), SECRET, &mut tag);
    let sealed = encode_base64url(&sealed.expect("AES-GCM does not fail"));
    let sealed =
        format!("{encoded}..{}.{sealed}.{}", encode_base64url(&nonce), encode_base64url(&tag));
    let Some(opened) = opens(&sealed) else { return };
    assert_eq!(opened, SECRET);
    let header: Map<String, Value> = serde_json::from_str(header).expect("a JSON object");
    for (name, value) in [
        ("alg", "dir"),
        ("enc", "A256GCM"),
        ("kid", VAULT.keys.first()),
        ("purpose", "refresh"),
        ("sealed_kid", "k"),
    ] {
        assert_eq!(header.get(name).and_then(Value::as_str), Some(value), "{name}");
    }
}
