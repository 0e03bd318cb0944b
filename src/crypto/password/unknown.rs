//! Names hashes that cannot be verified here, as far as their texts tell.

use super::format;

/// The beginnings of hashes that other programs store. The first that fits counts.
const BEGINNINGS: [(&str, &str); 53] = [
    (
        "$sealed$",
        "a hash that Jeton sealed (`jeton user export` there, with the master key, opens it)",
    ),
    ("$P$", "phpass (WordPress, phpBB)"),
    ("$H$", "phpass (phpBB)"),
    ("$wp$", "WordPress' bcrypt of HMAC-SHA-384"),
    ("$S$", "Drupal 7's SHA-512"),
    ("$1$", "md5crypt"),
    ("$apr1$", "Apache's md5crypt"),
    ("$5$", "sha256crypt"),
    ("$6$", "sha512crypt"),
    ("$7$", "scrypt of crypt(3)"),
    ("$y$", "yescrypt"),
    ("$gy$", "gost-yescrypt"),
    ("$sha1$", "sha1crypt"),
    ("$md5", "Sun's MD5"),
    ("$3$", "the NT hash of crypt(3)"),
    ("$2x$", "bcrypt of a faulty library"),
    ("$2$", "bcrypt of the first version"),
    ("$argon2d$", "Argon2d"),
    ("$pbkdf2$", "PBKDF2-SHA-1 of passlib"),
    ("$p5k2$", "PBKDF2-SHA-1 of PyPI's pbkdf2"),
    ("$scram$", "SCRAM of passlib"),
    ("$A$", "MySQL's caching_sha2_password"),
    ("grub.pbkdf2.", "PBKDF2 of GRUB"),
    ("pbkdf2_sha1$", "PBKDF2-SHA-1 of Django"),
    ("pbkdf2_sha512$", "PBKDF2-SHA-512 of Django's form"),
    ("pbkdf2:sha1:", "PBKDF2-SHA-1 of Werkzeug"),
    ("pbkdf2:md5:", "PBKDF2-MD5 of Werkzeug"),
    ("pbkdf2-", "PBKDF2 of Keycloak"),
    ("unsalted_md5$", "MD5 of Django"),
    ("unsalted_sha1$", "SHA-1 of Django"),
    ("md5$", "MD5 of Django or Werkzeug"),
    ("sha1$", "SHA-1 of Django or Werkzeug"),
    ("sha256$", "SHA-256 of Werkzeug"),
    ("crypt$", "crypt(3) of Django"),
    ("plain$", "plain text of Werkzeug"),
    ("{SSHA", "salted SHA of an LDAP directory"),
    ("{SHA", "SHA of an LDAP directory"),
    ("{SMD5}", "salted MD5 of an LDAP directory"),
    ("{MD5}", "MD5 of an LDAP directory or Spring"),
    ("{MD4}", "MD4 of Spring"),
    ("{sha256}", "SHA-256 of Spring"),
    ("{pbkdf2", "PBKDF2 of Spring"),
    ("{PBKDF2", "PBKDF2 of an LDAP directory"),
    ("{PKCS5S2}", "PBKDF2 of Atlassian"),
    ("{scrypt", "scrypt of Spring"),
    ("{FSHP", "FSHP"),
    ("{noop}", "plain text of Spring"),
    ("{CLEARTEXT}", "plain text of an LDAP directory"),
    ("{PLAIN}", "plain text of Dovecot"),
    ("SCRAM-SHA-256$", "SCRAM of PostgreSQL's own roles"),
    ("AQAAAA", "PBKDF2 of ASP.NET Identity, version 3"),
    ("0x", "a number in hexadecimal, as SQL Server writes binary values"),
    ("\\x", "octets in hexadecimal, as PostgreSQL writes bytea"),
];

/// What LDAP directories write before a library's text.
const REMOVABLE: [&str; 3] = ["{CRYPT}", "{crypt}", "{ARGON2}"];

/// The lengths of digests in hexadecimal.
const DIGESTS: [(usize, &str); 6] = [
    (32, "MD5 or NTLM in hexadecimal"),
    (40, "SHA-1 in hexadecimal"),
    (56, "SHA-224 in hexadecimal"),
    (64, "SHA-256 in hexadecimal"),
    (96, "SHA-384 in hexadecimal"),
    (128, "SHA-512 in hexadecimal"),
];

/// Says what an unknown hash is. The result follows «its hash» in a sentence, and contains nothing of the text.
#[must_use]
pub fn describe(text: &str) -> String {
    if text.starts_with(['!', '*']) && !is_of_mysql(text) {
        return "says that no password is right, as Django and /etc/shadow do for locked accounts: \
                leave the user out"
            .to_owned();
    }
    if let Some(prefix) = REMOVABLE.iter().find(|prefix| text.starts_with(**prefix)) {
        let rest = text.get(prefix.len()..).unwrap_or_default();
        if format::read(rest).is_some() {
            return format!("has {prefix} before it: take that away");
        }
    }
    if let Some(name) = name(text) {
        return format!("looks like {name}, which is not read here");
    }
    if let Some(beginning) = format::beginning(text) {
        let length = text.chars().count();
        return format!(
            "begins with {beginning} and goes on as none does: it is damaged or was cut off, perhaps \
             by a column that holds {length} characters"
        );
    }
    "is in no format known here, or is a password in plain text".to_owned()
}

fn name(text: &str) -> Option<&'static str> {
    let begins = |(beginning, _): &&(&str, &str)| text.starts_with(beginning);
    if let Some((_, name)) = BEGINNINGS.iter().find(begins) {
        return Some(name);
    }
    if is_of_mysql(text) {
        return Some("SHA-1 of MySQL's own users");
    }
    let is_hexadecimal =
        |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    if text.strip_prefix("md5").is_some_and(|rest| rest.len() == 32 && is_hexadecimal(rest)) {
        return Some("MD5 of PostgreSQL's own roles");
    }
    if is_hexadecimal(text) {
        let digest = DIGESTS.iter().find(|(length, _)| *length == text.len());
        return digest.map(|(_, name)| *name);
    }
    if let Some((first, second)) = text.split_once(':') {
        let name = match (first.len(), second.len()) {
            _ if !is_hexadecimal(first) => None,
            (32, 128) if is_hexadecimal(second) => Some("scrypt of a program in JavaScript"),
            (32 | 40 | 64 | 128, 1..) => Some("a salted digest"),
            _ => None,
        };
        return name;
    }
    if text.starts_with('{') && text.contains("\"salt\"") {
        return Some("the secretData of Keycloak");
    }
    let is_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/-_=".contains(&octet);
    match text.len() {
        68 if text.starts_with('A') && text.bytes().all(is_base64) => {
            Some("PBKDF2 of ASP.NET Identity, version 2")
        }
        86..=88 if text.bytes().all(is_base64) => {
            Some("64 octets in base64, as scrypt of Firebase or PBKDF2 of Keycloak has them")
        }
        13 if is_of_des(text) => Some("DES of crypt(3)"),
        _ => None,
    }
}

/// Whether 13 characters are as crypt(3) draws them, and not a word.
fn is_of_des(text: &str) -> bool {
    let all = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"./".contains(&octet));
    all && text.contains(|c: char| !c.is_ascii_alphabetic()) && text.contains(char::is_uppercase)
}

fn is_of_mysql(text: &str) -> bool {
    text.strip_prefix('*')
        .is_some_and(|rest| rest.len() == 40 && rest.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

/// Whether a text is a hash of a kind that has a name, known here or not.
#[must_use]
pub fn looks_like_hash(text: &str) -> bool {
    text.starts_with('$') || format::beginning(text).is_some() || name(text).is_some()
}
