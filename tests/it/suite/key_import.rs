//! `jeton key import`: keys that were made elsewhere.

use std::process::Command;

use josekit::jwk::Jwk;
use josekit::jwk::alg::rsa::RsaKeyPair;
use serde_json::{Value, json};

use super::*;
use crate::harness::Database;
use crate::harness::executable::command;
use crate::harness::keys::{KeySet, key_command, kid_of, verifies};

/// Runs OpenSSL, which must succeed, and returns what it printed.
fn openssl(arguments: &[&str]) -> String {
    let made = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("PEM")
}

/// A new private RSA key as PKCS #8, with further options of `openssl genpkey`.
pub(super) fn new_key(options: &[&str]) -> String {
    openssl(&[&["genpkey", "-quiet", "-algorithm", "RSA"], options].concat())
}

/// The private JWK of a new key, with these members changed.
pub(super) fn new_jwk(changes: &Value) -> String {
    let jwk = Jwk::generate_rsa_key(2_048).expect("OpenSSL makes a key").to_string();
    let mut jwk: Value = serde_json::from_str(&jwk).expect("JSON");
    for (name, value) in changes.as_object().expect("an object") {
        jwk[name] = value.clone();
    }
    jwk.to_string()
}

/// The public half, as the program that made a key knows it.
fn public_half(text: &str) -> Value {
    // What stands before a key in PEM is not read by the library.
    let begin = text.find("-----BEGIN PRIVATE").or(text.find("-----BEGIN RSA")).or(text.find('{'));
    let text = text[begin.expect("a key")..].trim();
    let end = text.find("-----END").and_then(|at| text[at..].find('\n').map(|line| at + line));
    let text = end.map_or(text, |end| &text[..end]);
    let public = if text.starts_with('{') {
        Jwk::from_bytes(text).and_then(|jwk| jwk.to_public_key())
    } else {
        RsaKeyPair::from_pem(text).map(|pair| pair.to_jwk_public_key())
    };
    serde_json::from_str(&public.expect("a private key").to_string()).expect("JSON")
}

/// Imports a key from standard input; the exit code, and all that was said and printed.
pub(super) fn import(database: &Database, master_key: &str, key: &str) -> (Option<i32>, String) {
    let output = key_command(database, master_key, &["import", "-", "--yes"], key);
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    (output.status.code(), text.into_owned())
}

/// A new key with its certificate, as PKCS #12 in a file.
fn new_bag(database: &Database) -> String {
    let (key, certificate, bag) =
        (database.path("own.pem"), database.path("own.crt"), database.path("own.p12"));
    std::fs::write(&key, new_key(&[])).expect("a file");
    openssl(&["req", "-x509", "-subj", "/CN=x", "-key", &key, "-days", "2", "-out", &certificate]);
    let parts = ["-inkey", &key, "-in", &certificate, "-out", &bag];
    openssl(&[&["pkcs12", "-export", "-passout", "pass:x"], &parts[..]].concat());
    bag
}

/// What `openssl pkcs12` writes of it: attributes and a certificate stand around the key.
fn bag_of(database: &Database) -> String {
    let text = openssl(&["pkcs12", "-in", &new_bag(database), "-nodes", "-passin", "pass:x"]);
    assert!(text.contains("Bag Attributes") && text.contains("BEGIN CERTIFICATE"), "{text}");
    text
}

/// The key sets of other programs' private keys, as they make them.
fn keys_of_every_form(folder: &Database) -> Vec<(&'static str, String)> {
    let file = folder.path("key.pem");
    std::fs::write(&file, new_key(&["-pkeyopt", "rsa_keygen_bits:2048"])).expect("a file");
    vec![
        ("PKCS #1", openssl(&["rsa", "-in", &file, "-traditional"])),
        ("PKCS #8", new_key(&["-pkeyopt", "rsa_keygen_bits:3072"])),
        ("JWK", new_jwk(&json!({}))),
        ("JWK with a name", new_jwk(&json!({"kid": "theirs", "alg": "RS256", "use": "sig"}))),
        ("JWK with operations", new_jwk(&json!({"key_ops": ["sign", "verify"]}))),
        ("PEM between blank lines", format!("\n\n{}\n\n", new_key(&[]))),
        ("PEM with a mark", format!("\u{feff}{}", new_key(&[]).replace('\n', "\r\n"))),
        ("of PKCS #12", bag_of(folder)),
    ]
}

/// A key of whatever form, from a file or standard input, is published now under its thumbprint and
/// signs when every verifier can know it; whoever has its public half verifies its tokens.
#[tokio::test]
async fn an_imported_key_is_announced_and_then_signs() {
    let jeton = jeton().await;
    let master_key = jeton.fixtures.master_key.display().to_string();
    for (count, (form, text)) in keys_of_every_form(&jeton.database).iter().enumerate() {
        let cached = KeySet::of(jeton.service.public).await;
        let said = if count % 2 == 0 {
            let file = jeton.database.path("import");
            std::fs::write(&file, text).expect("a file");
            let (said, printed) = jeton.key(&["import", &file, "--yes"]).await;
            said + &printed
        } else {
            let (code, said) = import(&jeton.database, &master_key, text);
            assert_eq!(code, Some(0), "{form}: {said}");
            jeton.key(&["list"]).await;
            said
        };
        let key = jeton.database.keys("signing").await.remove(count + 1);
        for part in [&*key.kid, "21m", "Destroy other copies"] {
            assert!(said.contains(part), "{form}: {part} in {said}");
        }
        assert!(!said.contains("PRIVATE") && !said.contains("\"d\""), "{form}: {said}");
        assert_eq!(key.activates_at - key.created_at, 2 * 600 + 60, "{form}");
        assert!(KeySet::of(jeton.service.public).await.kids().contains(&&*key.kid), "{form}");
        assert!(cached.verifies(&jeton.access_token().await), "{form}: not yet");

        let mut public = public_half(text);
        public["kid"] = json!(key.kid);
        jeton.database.query("UPDATE keys SET activates_at = activates_at - 2000").await;
        jeton.service.reload().await;
        let token = jeton.access_token().await;
        assert_eq!(kid_of(&token), key.kid, "{form}");
        assert!(verifies(&token, &json!({"keys": [public]})), "{form}");
        assert!(jeton.is_active(&token).await, "{form}");
    }
}

/// The first key of an empty database may come from elsewhere: it signs at once, and the service that
/// is then started uses it.
#[tokio::test]
async fn an_imported_first_key_signs_at_once() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.path("keys/master.jwk");
    let (code, said) = import(&database, &master_key, &new_key(&[]));
    assert_eq!(code, Some(0), "{said}");
    let key = database.keys("signing").await.remove(0);
    assert_eq!(key.activates_at, key.created_at);
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    let service = crate::harness::Executable::serve(&arguments);
    assert_eq!(KeySet::of(service.public).await.kids(), [key.kid]);
}

/// RFC 7518 §3.3; RFC 8725 §3.1, §3.5: what is no sound private RSA key of sufficient size, or is meant
/// for something else, is refused with the reason, and nothing changes.
#[tokio::test]
async fn unfit_keys_are_refused() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let good = new_key(&[]);
    let file = database.path("good.pem");
    std::fs::write(&file, &good).expect("a file");
    let not_private = "it is not a private RSA key";
    let cut = "damaged or was cut off";
    let only_public = "it has the public half alone";
    let certificate = ["req", "-x509", "-subj", "/CN=x", "-key", &file, "-days", "2"];
    let ssh_public = format!("ssh-rsa {} x@y", "AAAA".repeat(90));
    let cases = [
        ("nothing", String::new(), not_private),
        ("text", "no key at all".to_owned(), not_private),
        ("public", openssl(&["pkey", "-in", &file, "-pubout"]), only_public),
        ("public PKCS #1", openssl(&["rsa", "-in", &file, "-RSAPublicKey_out"]), only_public),
        ("a certificate", openssl(&certificate), only_public),
        ("a public key of OpenSSH", ssh_public, only_public),
        ("a public JWK", public_half(&good).to_string(), only_public),
        ("cut", good[..good.len() / 2].to_owned(), cut),
        ("damaged", good.replace("MII", "AAA"), cut),
        ("two keys", good.clone() + &good, "it has 2 private keys"),
        ("2047 bits", new_key(&["-pkeyopt", "rsa_keygen_bits:2047"]), "2047 bits"),
        ("RSA-OAEP", new_jwk(&json!({"alg": "RSA-OAEP"})), "another algorithm"),
        ("an alg that is no text", new_jwk(&json!({"alg": ["RS256"]})), "another algorithm"),
        ("a use that is no text", new_jwk(&json!({"use": ["sig"]})), "not for signatures"),
        ("without sign", new_jwk(&json!({"key_ops": ["verify"]})), "key_ops"),
        ("sign and decrypt", new_jwk(&json!({"key_ops": ["sign", "decrypt"]})), "key_ops"),
        ("key_ops of another kind", new_jwk(&json!({"key_ops": "sign"})), "key_ops"),
        ("without d", new_jwk(&json!({"d": null})), only_public),
        ("another p", new_jwk(&json!({"p": "AQAB"})), "do not belong together"),
        ("another dp", new_jwk(&json!({"dp": "AQAB"})), "do not belong together"),
        ("a JWE", "eyJhbGciOiJkaXIifQ..aaaa.bbbb.cccc".to_owned(), "encrypted as a JWE"),
        ("a list", format!("[{}]", new_jwk(&json!({}))), "jq '.[0]'"),
        ("PuTTY", "PuTTY-User-Key-File-3: ssh-rsa\n".to_owned(), "PuTTYgen"),
        (".NET", "<RSAKeyValue><Modulus>".to_owned(), "ExportPkcs8PrivateKeyPem"),
        ("JSON", "{}".to_owned(), "not a JWK"),
        (
            "a use said twice",
            new_jwk(&json!({})).replacen('{', "{\"use\":\"enc\",\"use\":\"sig\",", 1),
            "twice",
        ),
    ];
    let before = database.dump().await;
    for (case, text, says) in cases {
        let (code, said) = import(&database, &master_key, &text);
        assert_eq!(code, Some(1), "{case}: {said}");
        assert!(said.contains(says), "{case}: {says} in {said}");
        assert!(!said.contains("panic") && said.lines().count() == 1, "{case}: {said}");
    }
    let folder = database.folder.display().to_string();
    for path in ["/no/such/file", &folder] {
        let output = key_command(&database, &master_key, &["import", path, "--yes"], "");
        assert_eq!(output.status.code(), Some(1), "{path}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("cannot read {path}")), "{said}");
    }
    // Standard input holds the key, so there is nobody to ask.
    let output = key_command(&database, &master_key, &["import", "-"], &good);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--yes") && said.contains("will be published now"), "{said}");
    assert_eq!(database.dump().await, before);

    assert_eq!(import(&database, &master_key, &good).0, Some(0));
    let after = database.dump().await;
    let (code, said) = import(&database, &master_key, &good);
    assert_eq!(code, Some(4));
    assert!(said.contains("is there already") && said.contains("nothing was changed"), "{said}");
    assert_eq!(database.dump().await, after);
    let none = command(&["key", "import", "--database", &database.url]).output();
    assert_eq!(none.expect("it runs").status.code(), Some(2), "a file must be named");
}
