//! Names hashes that cannot be verified here, as far as their texts tell, and says what to do instead.

use super::{format, rewriting};

/// Why a hash of another program is not read.
#[derive(Clone, Copy)]
enum Why {
    /// It is MD5, DES or of their kind: whoever has a copy finds almost every password, at once.
    Broken,
    /// It is no hash.
    Plain,
    /// No function here computes it.
    NotRead,
    /// Two programs write different functions in this form.
    Ambiguous,
    /// A part of it is kept elsewhere.
    Incomplete,
    /// It is of a format that is read, but damaged.
    Damaged,
    /// It is of another Jeton.
    Sealed,
}

/// What can be done with users whose hashes are not taken.
const WAY_OUT: &str = "give this user a new password, let the old service replace the hash at a login there, or leave \
                       the user out (--skip-bad)";

impl Why {
    /// What follows the name of the hash.
    fn sentence(self) -> String {
        match self {
            Self::Broken => {
                format!(", which is broken: whoever has a copy soon has the password; {WAY_OUT}")
            }
            Self::Plain => {
                ", which is no hash: anyone who saw this file knows the password; give this user a new one, or leave \
                 the user out (--skip-bad)"
                    .to_owned()
            }
            Self::NotRead => format!(", which is not read here; {WAY_OUT}"),
            Self::Ambiguous => {
                format!(
                    ", and its text does not say which: `jeton import` with the kind of your service knows; or {WAY_OUT}"
                )
            }
            Self::Incomplete => {
                ", of which other parts stand elsewhere: `jeton import` with the kind of your service reads them \
                 together"
                    .to_owned()
            }
            Self::Damaged => format!(", but is damaged or was cut off: export it again, or {WAY_OUT}"),
            Self::Sealed => String::new(),
        }
    }
}

/// The beginnings of hashes that other programs store. The first that fits counts.
const BEGINNINGS: [(&str, &str, Why); 45] = [
    (
        "$sealed$",
        "a hash that Jeton sealed (`jeton user export` there, with the master key, opens it)",
        Why::Sealed,
    ),
    ("$1$", "md5crypt", Why::Broken),
    ("$apr1$", "Apache's md5crypt", Why::Broken),
    ("$7$", "scrypt of crypt(3)", Why::NotRead),
    ("$y$", "yescrypt", Why::NotRead),
    ("$gy$", "gost-yescrypt", Why::NotRead),
    ("$sha1$", "sha1crypt", Why::NotRead),
    ("$md5", "Sun's MD5", Why::Broken),
    ("$3$", "the NT hash of crypt(3)", Why::Broken),
    ("$2x$", "bcrypt of a faulty library", Why::NotRead),
    ("$2$", "bcrypt of the first version", Why::NotRead),
    ("$argon2d$", "Argon2d", Why::NotRead),
    ("$p5k2$", "PBKDF2-SHA-1 of PyPI's pbkdf2", Why::NotRead),
    ("$scram$", "SCRAM of passlib", Why::NotRead),
    ("$A$", "MySQL's caching_sha2_password", Why::NotRead),
    ("$wp$", "WordPress' hash of 2025, with another function than bcrypt", Why::NotRead),
    ("U$", "Drupal 7's SHA-512 of an MD5", Why::NotRead),
    ("grub.pbkdf2.", "PBKDF2 of GRUB", Why::NotRead),
    ("pbkdf2_sha512$", "PBKDF2-SHA-512 of Django's form", Why::NotRead),
    ("pbkdf2:md5:", "PBKDF2-MD5 of Werkzeug", Why::Broken),
    ("pbkdf2-", "PBKDF2 of Keycloak", Why::Incomplete),
    ("unsalted_md5$", "MD5 of Django", Why::Broken),
    ("unsalted_sha1$", "SHA-1 of Django", Why::NotRead),
    ("md5$", "MD5 of Django or Werkzeug", Why::Broken),
    ("sha1$", "SHA-1 of Django or HMAC-SHA-1 of Werkzeug", Why::Ambiguous),
    ("sha256$", "HMAC-SHA-256 of Werkzeug or a salted SHA-256", Why::Ambiguous),
    ("sha512$", "HMAC-SHA-512 of Werkzeug or a salted SHA-512", Why::Ambiguous),
    ("crypt$", "crypt(3) of Django", Why::Broken),
    ("plain$", "plain text of Werkzeug", Why::Plain),
    ("{SMD5}", "salted MD5 of an LDAP directory", Why::Broken),
    ("{MD5}", "MD5 of an LDAP directory or Spring", Why::Broken),
    ("{MD4}", "MD4 of Spring", Why::Broken),
    ("{sha256}", "SHA-256 of Spring", Why::NotRead),
    ("{pbkdf2", "PBKDF2 of Spring", Why::NotRead),
    ("{scrypt", "scrypt of Spring", Why::NotRead),
    ("{FSHP", "FSHP", Why::NotRead),
    ("{noop}", "plain text of Spring", Why::Plain),
    ("{CLEARTEXT}", "plain text of an LDAP directory", Why::Plain),
    ("{PLAIN}", "plain text of Dovecot", Why::Plain),
    ("{SASL}", "a password that another server verifies", Why::NotRead),
    ("SCRAM-SHA-256$", "SCRAM of PostgreSQL's own roles", Why::NotRead),
    ("AQAAAA", "PBKDF2 of ASP.NET Identity, version 3", Why::Damaged),
    ("0x", "a number in hexadecimal, as SQL Server writes binary values", Why::NotRead),
    ("\\x", "octets in hexadecimal, as PostgreSQL writes bytea", Why::NotRead),
    ("$NT$", "the NT hash of FreeRADIUS and others", Why::Broken),
];

/// The lengths of digests in hexadecimal.
const DIGESTS: [(usize, &str, Why); 6] = [
    (32, "MD5 or NTLM in hexadecimal", Why::Broken),
    (40, "SHA-1 in hexadecimal", Why::NotRead),
    (56, "SHA-224 in hexadecimal", Why::NotRead),
    (64, "SHA-256 in hexadecimal", Why::NotRead),
    (96, "SHA-384 in hexadecimal", Why::NotRead),
    (128, "SHA-512 in hexadecimal", Why::NotRead),
];

/// Says what an unknown hash is, why it is not taken and what to do. The result follows «its hash» in a sentence, and
/// contains nothing of the text.
#[must_use]
pub fn describe(text: &str) -> String {
    // {CRYPT} stands before hashes of all kinds.
    let named = rewriting::without_name_of_crypt(text);
    if named.starts_with(['!', '*']) && !is_of_mysql(named) {
        return "says that no password is right, as Django and /etc/shadow do for locked accounts: \
                leave the user out"
            .to_owned();
    }
    if let Some((name, why)) = name(named) {
        return format!("looks like {name}{}", why.sentence());
    }
    if let Some(beginning) = format::beginning(named).or_else(|| rewriting::beginning(text)) {
        let length = text.chars().count();
        return format!(
            "begins with {beginning} and goes on as none does: it is damaged or was cut off, perhaps \
             by a column that holds {length} characters"
        );
    }
    format!(
        "is in no format known here, or is a password in plain text, which is no hash; {WAY_OUT}"
    )
}

/// What the text is, and why it is not read.
fn name(text: &str) -> Option<(&'static str, Why)> {
    let begins = |(beginning, ..): &&(&str, &str, Why)| text.starts_with(beginning);
    if let Some((_, name, why)) = BEGINNINGS.iter().find(begins) {
        return Some((name, *why));
    }
    if is_of_mysql(text) {
        return Some(("SHA-1 of MySQL's own users", Why::NotRead));
    }
    let is_hexadecimal =
        |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    if text.strip_prefix("md5").is_some_and(|rest| rest.len() == 32 && is_hexadecimal(rest)) {
        return Some(("MD5 of PostgreSQL's own roles", Why::Broken));
    }
    if is_hexadecimal(text) {
        let digest = DIGESTS.iter().find(|(length, ..)| *length == text.len());
        return digest.map(|(_, name, why)| (*name, *why));
    }
    if let Some((first, second)) = text.split_once(':') {
        let name = match (first.len(), second.len()) {
            _ if !is_hexadecimal(first) => None,
            (32, 128) if is_hexadecimal(second) => {
                Some(("scrypt of a program in JavaScript", Why::NotRead))
            }
            (32, 1..) => Some(("a salted digest of MD5's length", Why::Broken)),
            (40 | 64 | 128, 1..) => Some(("a salted digest", Why::Ambiguous)),
            _ => None,
        };
        return name;
    }
    if text.starts_with('{') && text.contains("\"salt\"") {
        return Some(("the secretData of Keycloak", Why::Incomplete));
    }
    let is_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"+/-_=".contains(&octet);
    match text.len() {
        68 if text.starts_with('A') && text.bytes().all(is_base64) => {
            Some(("PBKDF2 of ASP.NET Identity, version 2", Why::Damaged))
        }
        86..=88 if text.bytes().all(is_base64) => Some((
            "64 octets in base64, as scrypt of Firebase or PBKDF2 of Keycloak has them",
            Why::Incomplete,
        )),
        13 if is_of_des(text) => Some(("DES of crypt(3)", Why::Broken)),
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
    let named = format::beginning(text).or_else(|| rewriting::beginning(text));
    text.starts_with('$') || named.is_some() || name(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_refused_has_a_reason_and_a_way_out() {
        for (text, says) in [
            ("$1$salt$Zqx7Zqx7Zqx7Zqx7Zqx7", "looks like md5crypt, which is broken"),
            ("{CRYPT}$1$salt$Zqx7Zqx7", "looks like md5crypt, which is broken"),
            ("{MD5}Zqx7Zqx7Zqx7Zqx7Zqx7Zg==", "which is broken"),
            ("{noop}Zqx7", "which is no hash"),
            ("Zqx7 password", "a password in plain text, which is no hash"),
            ("sha1$Zqx7$Zqx7", "its text does not say which: `jeton import` with the kind"),
            ("$y$j9T$Zqx7", "looks like yescrypt, which is not read here"),
            ("AQAAAAEAAZqx7", "is damaged or was cut off"),
            ("{SSHA}Zqx7Zqx7Zqx7Zqx7Zqx7Zqx7", "begins with {SSHA} and goes on as none does"),
            ("{CRYPT}$6$salt$Zqx7", "begins with $6$ and goes on as none does"),
            ("{CRYPT}!", "says that no password is right"),
        ] {
            let sentence = describe(text);
            assert!(sentence.contains(says), "{text}: {sentence}");
            assert!(!sentence.contains("Zqx7"), "{text}: {sentence}");
            let has_way_out = ["--skip-bad", "cut off", "leave the user out", "jeton import"]
                .iter()
                .any(|way| sentence.contains(way));
            assert!(has_way_out, "{text}: {sentence}");
        }
    }
}
