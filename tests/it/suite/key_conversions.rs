//! `jeton key import` names what it does not take, with the command that makes of it what it takes. Each command is
//! run here as it is printed.

use std::process::Command;

use serde_json::json;

use super::key_import::{import, new_jwk, new_key};
use super::*;
use crate::harness::Database;
use crate::harness::keys::key_command;

/// What is added to a command where its program would ask for a password at a terminal.
const PASSWORD_OF_FILE: &str = " -passin pass:x";

/// A key that is not taken: what it is, how FILE is made of the private key in PLAIN, what is said of it, and what is
/// added to the command that is named.
const MADE_BY_PROGRAMS: [(&str, &str, &str, &str); 16] = [
    (
        "encrypted",
        "openssl pkey -in PLAIN -aes256 -passout pass:x -out FILE",
        "encrypted with",
        PASSWORD_OF_FILE,
    ),
    (
        "encrypted PKCS #1",
        "openssl rsa -traditional -in PLAIN -aes256 -passout pass:x -out FILE",
        "encrypted with",
        PASSWORD_OF_FILE,
    ),
    ("OpenSSH", "ssh-keygen -q -t rsa -b 2048 -N '' -f FILE", "in the form of OpenSSH", ""),
    ("DER", "openssl pkey -in PLAIN -outform DER -out FILE", "it is DER", ""),
    ("DER, PKCS #1", "openssl rsa -traditional -in PLAIN -outform DER -out FILE", "it is DER", ""),
    (
        "DER, encrypted",
        "openssl pkcs8 -topk8 -in PLAIN -outform DER -passout pass:x -out FILE",
        "perhaps encrypted",
        PASSWORD_OF_FILE,
    ),
    (
        "PKCS #12",
        "openssl req -x509 -subj /CN=x -key PLAIN -days 2 -out FILE.crt && openssl pkcs12 -export -inkey PLAIN \
         -in FILE.crt -passout pass:x -out FILE",
        "it is PKCS #12",
        PASSWORD_OF_FILE,
    ),
    (
        "base64",
        "openssl pkey -in PLAIN -outform DER | base64 > FILE",
        "without the first and last",
        "",
    ),
    ("UTF-16", "iconv -t UTF-16 PLAIN > FILE", "UTF-16", ""),
    (
        "EC",
        "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE",
        "on a curve",
        "",
    ),
    (
        "EC of its own form",
        "openssl ecparam -name prime256v1 -genkey -noout -out FILE",
        "on a curve",
        "",
    ),
    ("Ed25519", "openssl genpkey -quiet -algorithm ED25519 -out FILE", "on a curve", ""),
    (
        "EC, DER",
        "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out FILE",
        "on a curve",
        "",
    ),
    ("PSS", "openssl genpkey -quiet -algorithm RSA-PSS -out FILE", "for PSS alone", ""),
    ("1024 bits", "openssl genrsa -out FILE 1024", "1024 bits", ""),
    ("e = 3", "openssl genrsa -3 -out FILE 2048", "65537", ""),
];

/// Runs a command line in a folder.
#[track_caller]
fn shell(folder: &str, command: &str) {
    let ran = Command::new("sh").args(["-c", command]).current_dir(folder).output();
    let ran = ran.expect("a shell runs");
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Gives FILE to the import, which must refuse it, runs the command that it names, and returns what that made.
#[track_caller]
fn converted(database: &Database, master_key: &str, case: &str, says: &str, added: &str) -> String {
    let file = database.path("FILE");
    let output = key_command(database, master_key, &["import", &file, "--yes"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{case}: {said}");
    assert!(said.contains(says) && said.lines().count() == 1, "{case}: {says} in {said}");
    let named = said.split('`').nth(1).unwrap_or_else(|| panic!("{case}: a command in {said}"));
    let folder = database.path("made");
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir(&folder).expect("a folder");
    shell(&folder, &format!("{}{added}", named.replace("FILE", &file)));
    let made = std::fs::read_dir(&folder).expect("a folder").next().expect("a file");
    std::fs::read_to_string(made.expect("its entry").path()).expect("PEM or JSON")
}

/// RFC 7518 §3.3, RFC 8725 §3.1: what is encrypted, in another form, of another kind or for another use is refused,
/// nothing changes, and what the named command makes is taken.
#[tokio::test]
async fn the_command_that_is_named_makes_a_key_that_is_taken() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let (file, plain) = (database.path("FILE"), database.path("PLAIN"));
    let folder = database.folder.display().to_string();
    let before = database.dump().await;
    let mut made = Vec::new();
    for (case, command, says, added) in MADE_BY_PROGRAMS {
        std::fs::write(&plain, new_key(&[])).expect("a file");
        std::fs::remove_file(&file).ok();
        shell(&folder, command);
        made.push((case, converted(&database, &master_key, case, says, added)));
    }
    for (case, text, says) in [
        ("a JWK Set", format!("{{\"keys\":[{}]}}", new_jwk(&json!({}))), "it is a JWK Set"),
        ("use: enc", new_jwk(&json!({"use": "enc"})), "not for signatures"),
        ("alg: RS512", new_jwk(&json!({"alg": "RS512"})), "another algorithm"),
        ("a symmetric JWK", json!({"kty": "oct", "k": "AAAA"}).to_string(), "symmetric"),
    ] {
        std::fs::write(&file, text).expect("a file");
        made.push((case, converted(&database, &master_key, case, says, "")));
    }
    assert_eq!(database.dump().await, before);
    for (case, key) in made {
        let (code, said) = import(&database, &master_key, &key);
        assert_eq!(code, Some(0), "{case}: {said}");
    }
}
