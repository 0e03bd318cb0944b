//! Texts that other programs store in a form of their own, rewritten as texts of a format that is stored here. A name in
//! braces is read in capitals and in small letters, as LDAP directories do.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::format::{self, fields, number};
use super::of_parts::{self, PADDED_OR_NOT, SaltPlace};
use super::scheme::Sha;

/// Rewrites what follows the braces.
type Rewrite = fn(&str) -> Option<String>;

/// The names in braces, and what follows each.
const SCHEMES: [(&str, Rewrite); 22] = [
    // slapd and 389 Directory Server
    (CRYPT, text_of_library),
    ("{BCRYPT}", text_of_library),
    ("{ARGON2}", text_of_library),
    ("{SHA}", |rest| digest(Sha::Sha1, rest, false)),
    ("{SSHA}", |rest| digest(Sha::Sha1, rest, true)),
    ("{SHA256}", |rest| digest(Sha::Sha256, rest, false)),
    ("{SSHA256}", |rest| digest(Sha::Sha256, rest, true)),
    ("{SHA384}", |rest| digest(Sha::Sha384, rest, false)),
    ("{SSHA384}", |rest| digest(Sha::Sha384, rest, true)),
    ("{SHA512}", |rest| digest(Sha::Sha512, rest, false)),
    ("{SSHA512}", |rest| digest(Sha::Sha512, rest, true)),
    ("{PBKDF2}", |rest| pbkdf2(Sha::Sha1, rest)),
    ("{PBKDF2-SHA1}", |rest| pbkdf2(Sha::Sha1, rest)),
    ("{PBKDF2-SHA256}", |rest| pbkdf2(Sha::Sha256, rest)),
    ("{PBKDF2-SHA512}", |rest| pbkdf2(Sha::Sha512, rest)),
    ("{PBKDF2_SHA256}", pbkdf2_of_389),
    // Atlassian
    ("{PKCS5S2}", pbkdf2_of_atlassian),
    // Dovecot
    ("{BLF-CRYPT}", text_of_library),
    ("{SHA256-CRYPT}", text_of_library),
    ("{SHA512-CRYPT}", text_of_library),
    ("{ARGON2I}", text_of_library),
    ("{ARGON2ID}", text_of_library),
];

/// What LDAP directories write before a hash of crypt(3).
const CRYPT: &str = "{CRYPT}";
/// How often Atlassian's PBKDF2 iterates.
const ATLASSIAN_ITERATIONS: u32 = 10_000;
/// How often PBKDF2 of ASP.NET Identity, version 2, iterates.
const ASPNET_2_ITERATIONS: u32 = 1_000;
/// The octets of a salt of Atlassian, and of ASP.NET Identity, version 2.
const SHORT_SALT: usize = 16;
/// The octets of a salt of 389 Directory Server.
const SALT_OF_389: usize = 64;

/// The text as it is stored: rewritten if it is in a form that another program alone uses, else as it is. What is
/// rewritten can be parsed, apart from its cost.
pub(super) fn adopt(text: &str) -> Cow<'_, str> {
    if format::read(text).is_some() {
        return Cow::Borrowed(text);
    }
    let rewritten = match scheme(text) {
        Some((name, rewrite)) => text.get(name.len()..).and_then(rewrite),
        None => pbkdf2_of_aspnet(text),
    };
    let rewritten = rewritten.filter(|rewritten| format::read(rewritten).is_some());
    rewritten.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The name in braces that is before the text.
pub(super) fn beginning(text: &str) -> Option<&'static str> {
    scheme(text).map(|(name, _)| name)
}

/// The text without `{CRYPT}`, behind which anything of crypt(3) may stand.
pub(super) fn without_name_of_crypt(text: &str) -> &str {
    let rest =
        scheme(text).filter(|(name, _)| *name == CRYPT).and_then(|_| text.get(CRYPT.len()..));
    rest.unwrap_or(text)
}

fn scheme(text: &str) -> Option<(&'static str, Rewrite)> {
    let begins = |name: &str| {
        text.get(..name.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(name))
    };
    SCHEMES.into_iter().find(|(name, _)| begins(name))
}

/// `$…`, as crypt(3) or a library writes it.
fn text_of_library(rest: &str) -> Option<String> {
    rest.starts_with('$').then(|| rest.to_owned())
}

/// Base64 of the digest and then, if there is one, the salt.
fn digest(hash: Sha, rest: &str, is_salted: bool) -> Option<String> {
    let octets = STANDARD.decode(rest).ok()?;
    let (digest, salt) = octets.split_at_checked(hash.length())?;
    let text = of_parts::digest(hash, SaltPlace::After, salt, digest).ok();
    text.filter(|_| salt.is_empty() != is_salted)
}

/// `iterations$salt$output` in base64, which slapd writes with a full stop for the plus sign and without padding.
fn pbkdf2(hash: Sha, rest: &str) -> Option<String> {
    let [iterations, salt, output] = fields(rest)?;
    let [salt, output] =
        [salt, output].map(|text| PADDED_OR_NOT.decode(text.replace('.', "+")).ok());
    of_parts::pbkdf2(hash, number(iterations)?, &salt?, &output?).ok()
}

/// Base64 of the iterations in four octets, the salt, and 256 octets of output.
fn pbkdf2_of_389(rest: &str) -> Option<String> {
    let octets = STANDARD.decode(rest).ok()?;
    let (iterations, rest) = octets.split_first_chunk()?;
    let (salt, output) = rest.split_at_checked(SALT_OF_389)?;
    of_parts::pbkdf2(Sha::Sha256, u32::from_be_bytes(*iterations), salt, output).ok()
}

/// Base64 of the salt and 32 octets of output.
fn pbkdf2_of_atlassian(rest: &str) -> Option<String> {
    let octets = STANDARD.decode(rest).ok().filter(|octets| octets.len() == SHORT_SALT + 32)?;
    let (salt, output) = octets.split_at_checked(SHORT_SALT)?;
    of_parts::pbkdf2(Sha::Sha1, ATLASSIAN_ITERATIONS, salt, output).ok()
}

/// Base64 without a name before it (`PasswordHasher` of ASP.NET Identity). The first octet is the version. Version 2 is 0,
/// 16 octets of salt and 32 of output. Version 3 is 1, then the hash function, the iterations and the length of the salt
/// in four octets each, the salt, and the output.
fn pbkdf2_of_aspnet(text: &str) -> Option<String> {
    let octets = STANDARD.decode(text).ok()?;
    let (version, rest) = octets.split_first()?;
    match version {
        0 if rest.len() == SHORT_SALT + 32 => {
            let (salt, output) = rest.split_at_checked(SHORT_SALT)?;
            of_parts::pbkdf2(Sha::Sha1, ASPNET_2_ITERATIONS, salt, output).ok()
        }
        1 => {
            let (function, rest) = rest.split_first_chunk()?;
            let (iterations, rest) = rest.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let hash = match u32::from_be_bytes(*function) {
                0 => Sha::Sha1,
                1 => Sha::Sha256,
                2 => Sha::Sha512,
                _ => return None,
            };
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (salt, output) = rest.split_at_checked(length)?;
            of_parts::pbkdf2(hash, u32::from_be_bytes(*iterations), salt, output).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::PasswordHash;
    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        hash: String,
    }

    /// Hashes of other programs are stored as they are, or in a form that says the same: once rewritten, they stay.
    #[test]
    fn a_text_is_rewritten_once_and_means_something_then() {
        let text = include_str!("../../../tests/vectors/password-hashes.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).expect("a list of vectors");
        let mut rewritten = 0;
        for Vector { hash } in &vectors {
            let adopted = adopt(hash);
            assert!(PasswordHash::parse(&adopted, u64::MAX).is_ok(), "{hash}");
            assert_eq!(adopt(&adopted), adopted);
            let is_read = PasswordHash::parse(hash, u64::MAX).is_ok();
            assert_eq!(adopted == *hash, is_read, "{hash}");
            rewritten += usize::from(!is_read);
        }
        assert!(rewritten > 100, "{rewritten}");
    }

    #[test]
    fn each_form_has_one_text() {
        let long = format!("{{PBKDF2_SHA256}}{}", STANDARD.encode([[0, 0, 8, 0]; 81].concat()));
        for (text, adopted) in [
            ("{crypt}$5$salt$", "{crypt}$5$salt$"),
            ("{CRYPT}$1$salt$", "{CRYPT}$1$salt$"),
            ("{SSHA}", "{SSHA}"),
            (
                "{sha}AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "$digest$h=sha1,salt=after$$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            (
                "{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAABzYWx0",
                "$digest$h=sha1,salt=after$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            // Without a salt it is not salted, and with one it is not unsalted.
            ("{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAABzYWx0", "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAABzYWx0"),
            // slapd's base64 and the usual one
            (
                "{PBKDF2}10000$.AAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "$pbkdf2$10000$.AAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            (
                "{PBKDF2-SHA1}10000$+AAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                "$pbkdf2$10000$.AAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            // Spring's
            (
                "{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6",
                "{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6",
            ),
            ("{bcrypt}x", "{bcrypt}x"),
            ("fern lamp", "fern lamp"),
            ("AQAAAAEAAAPoAAAA", "AQAAAAEAAAPoAAAA"),
            ("{\u{e9}\u{e9}\u{e9}", "{\u{e9}\u{e9}\u{e9}"),
        ] {
            assert_eq!(adopt(text), adopted);
        }
        assert!(adopt(&long).starts_with("$pbkdf2-sha256$2048$AAAIAAAACAAAAAgA"), "{long}");
    }
}
