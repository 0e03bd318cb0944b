//! Hashes that other programs store in several fields, written as one text that [`PasswordHash::parse`] reads.
//!
//! Each function returns a text of a known format, or says why there is none. What the hash costs is not judged here:
//! whoever parses the text does that.
//!
//! [`PasswordHash::parse`]: super::PasswordHash::parse

use std::fmt;

use base16ct::mixed;
use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::format;
use super::scheme::Sha;

/// Standard base64, with or without padding.
pub(super) const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the salt of a salted digest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaltPlace {
    /// The digest is of the password and then the salt, as LDAP directories have it. So is one without a salt.
    After,
    /// The digest is of the salt and then the password, as Django's `sha1$` has it.
    Before,
    /// HMAC of the password, keyed with the salt, as Werkzeug's `sha1$` and `sha256$` have it.
    Key,
}

impl SaltPlace {
    pub(super) const ALL: [Self; 3] = [Self::After, Self::Before, Self::Key];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::Before => "before",
            Self::Key => "key",
        }
    }
}

/// A function of the Argon2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argon2Type {
    /// Argon2i
    I,
    /// Argon2id
    Id,
}

/// The cost of Argon2 (RFC 9106 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// The version as RFC 9106 writes it: 0x13, or 0x10 for the first one.
    pub version: u32,
    /// In KiB.
    pub memory: u32,
    /// How many passes there are.
    pub iterations: u32,
    /// How many lanes there are.
    pub parallelism: u32,
}

/// What all hashes of a Firebase project have in common. `firebase auth:export` does not write it: the console shows it
/// under «Password hash parameters».
#[derive(Clone, Copy, Debug)]
pub struct FirebaseProject<'a> {
    /// `base64_signer_key`. It is a secret.
    pub signer_key: &'a str,
    /// `base64_salt_separator`
    pub salt_separator: &'a str,
    /// `rounds`
    pub rounds: u32,
    /// `mem_cost`
    pub mem_cost: u8,
}

/// Why there is no text. The sentence follows «its hash» and repeats nothing of the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartsError {
    /// It is of an algorithm that is not verified here.
    UnknownAlgorithm,
    /// This part is missing or cannot be read.
    Unreadable(&'static str),
    /// Each part can be read, but together they are no hash: a length or a cost is none that the algorithm has.
    Impossible,
}

impl fmt::Display for PartsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAlgorithm => formatter.write_str(
                "is of an algorithm that is not read here: give this user a new password, or let the old service \
                 replace the hash at the next login there",
            ),
            Self::Unreadable(part) => write!(formatter, "has no {part} that can be read"),
            Self::Impossible => formatter.write_str(
                "has a salt, an output or a cost that its algorithm does not have: it is damaged or was cut off",
            ),
        }
    }
}

impl std::error::Error for PartsError {}

/// A digest of the password and a salt, which may be empty. The text is this service's own, because others write two
/// kinds of digests in one way:
/// `$digest$h=sha1,salt=after$c2FsdHNhbHQ$…`, with `h` of sha1, sha256, sha384, sha512 and `salt` of after, before, key,
/// salt and digest in base64 without padding.
///
/// # Errors
/// The digest is not as long as those of the algorithm, or the salt is longer than 64 octets.
pub fn digest(
    hash: Sha,
    place: SaltPlace,
    salt: &[u8],
    digest: &[u8],
) -> Result<String, PartsError> {
    let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
    checked(format!("$digest$h={},salt={}${salt}${digest}", hash.name(), place.name()))
}

/// A digest in the form `sha1$salt$…`, in hexadecimal (also `sha256`, `sha384`, `sha512`), given the place of the salt:
/// [`SaltPlace::Before`] for Django, [`SaltPlace::Key`] for Werkzeug.
///
/// # Errors
/// It is MD5 or in another form, or the errors of [`digest`].
pub fn digest_of_text(place: SaltPlace, text: &str) -> Result<String, PartsError> {
    let [name, salt, output] = format::fields(text).ok_or(PartsError::UnknownAlgorithm)?;
    let hash = Sha::ALL.into_iter().find(|sha| sha.name() == name);
    let output = mixed::decode_vec(output).map_err(|_| PartsError::Unreadable("digest"))?;
    digest(hash.ok_or(PartsError::UnknownAlgorithm)?, place, salt.as_bytes(), &output)
}

/// PBKDF2 (RFC 8018 §5.2) with HMAC, in passlib's form. Only the first block of the output is kept: blocks do not depend
/// on each other, so whoever guesses computes no more than the first, and a login need not either.
///
/// # Errors
/// The output has fewer than 16 octets, the salt has not 4 to 64, there are no iterations, or the hash is SHA-384.
pub fn pbkdf2(
    hash: Sha,
    iterations: u32,
    salt: &[u8],
    output: &[u8],
) -> Result<String, PartsError> {
    let name = match hash {
        Sha::Sha1 => "$pbkdf2$",
        Sha::Sha256 => "$pbkdf2-sha256$",
        Sha::Sha512 => "$pbkdf2-sha512$",
        Sha::Sha384 => return Err(PartsError::UnknownAlgorithm),
    };
    let first = output.get(..hash.length()).unwrap_or(output);
    let [salt, output] =
        [salt, first].map(|octets| STANDARD_NO_PAD.encode(octets).replace('+', "."));
    checked(format!("{name}{iterations}${salt}${output}"))
}

/// scrypt (RFC 7914) with `N` = 2^`ln`. Only the first 32 octets of the output are kept: it ends with PBKDF2, of which the
/// same is true as of [`pbkdf2()`].
///
/// # Errors
/// The output has fewer than 16 octets, the salt has not 4 to 64, or the cost is none that scrypt has.
pub fn scrypt(cost: super::ScryptCost, salt: &[u8], output: &[u8]) -> Result<String, PartsError> {
    let output = output.get(..Sha::Sha256.length()).unwrap_or(output);
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    checked(format!("{}{cost}${salt}${output}", super::PHC))
}

/// Argon2 (RFC 9106).
///
/// # Errors
/// The output has not 16 to 64 octets, the salt has not 8 to 64, or the cost is none that Argon2 has.
pub fn argon2(
    of: Argon2Type,
    cost: Argon2Cost,
    salt: &[u8],
    output: &[u8],
) -> Result<String, PartsError> {
    let name = match of {
        Argon2Type::I => "argon2i",
        Argon2Type::Id => "argon2id",
    };
    let Argon2Cost { version, memory, iterations, parallelism } = cost;
    let (salt, output) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(output));
    checked(format!(
        "${name}$v={version}$m={memory},t={iterations},p={parallelism}${salt}${output}"
    ))
}

/// scrypt of Firebase, given the project's parameters, and salt and hash of a user, each in base64 or base64url. The
/// text is that of Supabase: `$fbscrypt$v=1,n=…,r=…,p=1,ss=…,sk=…$salt$hash`.
///
/// # Errors
/// A part is not base64, or has a length that Firebase's have not.
pub fn firebase(
    project: &FirebaseProject<'_>,
    salt: &str,
    hash: &str,
) -> Result<String, PartsError> {
    let FirebaseProject { signer_key, salt_separator, rounds, mem_cost } = project;
    let standard = |part: &'static str, text: &str| {
        let octets = decode(part, &text.replace('-', "+").replace('_', "/"))?;
        Ok(STANDARD.encode(octets))
    };
    let separator = match standard("salt separator", salt_separator)? {
        nothing if nothing.is_empty() => String::new(),
        some => format!(",ss={some}"),
    };
    let key = standard("signer key", signer_key)?;
    let (salt, hash) = (standard("salt", salt)?, standard("hash", hash)?);
    checked(format!("$fbscrypt$v=1,n={mem_cost},r={rounds},p=1{separator},sk={key}${salt}${hash}"))
}

/// A password credential of Keycloak, given its `credentialData` and `secretData`, which are JSON: PBKDF2 (`pbkdf2`,
/// `pbkdf2-sha256`, `pbkdf2-sha512`) or Argon2 (`argon2`, types i and id).
///
/// # Errors
/// The algorithm is another one, or a part is missing or cannot be read.
pub fn keycloak(credential_data: &str, secret_data: &str) -> Result<String, PartsError> {
    let data: CredentialData = serde_json::from_str(credential_data)
        .map_err(|_| PartsError::Unreadable("credentialData"))?;
    let secret: SecretData =
        serde_json::from_str(secret_data).map_err(|_| PartsError::Unreadable("secretData"))?;
    let salt = decode("salt", &secret.salt)?;
    let output = decode("value", &secret.value)?;
    let with_pbkdf2 = |hash| pbkdf2(hash, data.hash_iterations, &salt, &output);
    match data.algorithm.as_str() {
        "pbkdf2" => with_pbkdf2(Sha::Sha1),
        "pbkdf2-sha256" => with_pbkdf2(Sha::Sha256),
        "pbkdf2-sha512" => with_pbkdf2(Sha::Sha512),
        "argon2" => {
            let (of, cost) = data.argon2()?;
            argon2(of, cost, &salt, &output)
        }
        _ => Err(PartsError::UnknownAlgorithm),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialData {
    algorithm: String,
    hash_iterations: u32,
    #[serde(default)]
    additional_parameters: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct SecretData {
    value: String,
    salt: String,
}

impl CredentialData {
    fn argon2(&self) -> Result<(Argon2Type, Argon2Cost), PartsError> {
        let of = match self.parameter("type")? {
            "id" => Argon2Type::Id,
            "i" => Argon2Type::I,
            _ => return Err(PartsError::UnknownAlgorithm),
        };
        let version = match self.parameter("version")? {
            "1.3" => 0x13,
            "1.0" => 0x10,
            _ => return Err(PartsError::UnknownAlgorithm),
        };
        let number =
            |name| self.parameter(name)?.parse::<u32>().map_err(|_| PartsError::Unreadable(name));
        let (memory, parallelism) = (number("memory")?, number("parallelism")?);
        Ok((of, Argon2Cost { version, memory, iterations: self.hash_iterations, parallelism }))
    }

    /// Keycloak writes each as a list of one text.
    fn parameter(&self, name: &'static str) -> Result<&str, PartsError> {
        let value = self.additional_parameters.as_ref().and_then(|parameters| parameters.get(name));
        let value = match value {
            Some(Value::Array(list)) => list.first(),
            other => other,
        };
        value.and_then(Value::as_str).ok_or(PartsError::Unreadable(name))
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, PartsError> {
    PADDED_OR_NOT.decode(text).map_err(|_| PartsError::Unreadable(part))
}

/// The text, if it is of a format that is read here.
fn checked(text: String) -> Result<String, PartsError> {
    let is_read = format::read(&text).is_some();
    is_read.then_some(text).ok_or(PartsError::Impossible)
}

#[cfg(test)]
mod tests {
    use jeton_oauth::resource_owner::Password;
    use jeton_oauth::{ScryptCost, Secret};
    use sha2::{Digest, Sha256};

    use super::super::{HashingMemory, PasswordHash};
    use super::*;

    const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// Whether this password alone is right.
    fn is_of(text: &str, password: &str) -> bool {
        let mut memory = HashingMemory::reserve(16 << 20).expect("memory");
        let hash = PasswordHash::parse(text, 16 << 20).expect("a hash that is cheap");
        let mut verify = |text: &str| {
            hash.verify(&Password::new(Secret::new(text.to_owned())), &mut memory).is_some()
        };
        verify(password) && !verify("fern lump")
    }

    fn keycloak_of(algorithm: &str, iterations: u32, parameters: &str, value: &str) -> String {
        let data = format!(
            r#"{{"hashIterations":{iterations},"algorithm":"{algorithm}","additionalParameters":{parameters}}}"#
        );
        let salt = STANDARD.encode(SALT);
        let secret =
            format!(r#"{{"value":"{value}","salt":"{salt}","additionalParameters":{{}}}}"#);
        keycloak(&data, &secret).unwrap_or_else(|error| error.to_string())
    }

    /// Made by hashlib and argon2-cffi in the shapes of Keycloak's provider classes.
    #[test]
    fn credentials_of_keycloak_are_verified() {
        for (algorithm, value) in [
            (
                "pbkdf2",
                "+nEebWqHLgwxz8MqOF3sksGLVF53c7e+tEsmLEn26p/F8vlxf9rYFUEpGuGzyJIi/2OYOpdBclaOJa/ZWjVuwg==",
            ),
            (
                "pbkdf2-sha256",
                "ANDf1SRS9sGmQ8SEisQnUNp9iSv5F1em+LPfVeu26Pco8B0giNwcsaY438tYHi6F9fgo/XseF0aVcKYEeHFnLQ==",
            ),
            (
                "pbkdf2-sha512",
                "hyeWCmWWswJEoRxfe7wQgYseWA9PPRQ1dh1jRdQ8l6QyKDlO4IZgTWV41iS2E4vuDvLUKEcyYUHUpCNYh1qTRg==",
            ),
        ] {
            let text = keycloak_of(algorithm, 100, "{}", value);
            assert!(is_of(&text, "fern lamp"), "{algorithm}");
        }
        let value = "9BvQ82jpsdEQ07PjVc8y9twtsE3SOLqHqvmkuxcV/gE=";
        let parameters = |of: &str| {
            format!(
                r#"{{"hashLength":["32"],"memory":["64"],"type":["{of}"],"version":["1.3"],"parallelism":["2"]}}"#
            )
        };
        assert!(is_of(&keycloak_of("argon2", 2, &parameters("id"), value), "fern lamp"));
        for refused in [
            keycloak_of("argon2", 2, &parameters("d"), value),
            keycloak_of("bcrypt", 10, "{}", value),
        ] {
            assert_eq!(refused, PartsError::UnknownAlgorithm.to_string());
        }
        let refused = keycloak_of("argon2", 2, "{}", value);
        assert_eq!(refused, PartsError::Unreadable("type").to_string());
        assert_eq!(keycloak("{}", "{}"), Err(PartsError::Unreadable("credentialData")));
        assert_eq!(keycloak_of("pbkdf2", 0, "{}", value), PartsError::Impossible.to_string());
    }

    /// The example of <https://github.com/firebase/scrypt>, in base64 and base64url.
    #[test]
    fn the_example_of_firebase_is_verified() {
        let project = FirebaseProject {
            signer_key: "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
            salt_separator: "Bw==",
            rounds: 8,
            mem_cost: 14,
        };
        let salt = "42xEC+ixf3L2lw==";
        let hash = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
        let text = firebase(&project, salt, hash).expect("a text");
        assert!(is_of(&text, "user1password"));
        let in_url = |text: &str| text.replace('+', "-").replace('/', "_").replace('=', "");
        assert_eq!(firebase(&project, &in_url(salt), &in_url(hash)), Ok(text));
        assert_eq!(
            firebase(&project, salt, "lSrfV15cpx95/sZS2W9c9A=="),
            Err(PartsError::Impossible)
        );
        assert_eq!(firebase(&project, "*", hash), Err(PartsError::Unreadable("salt")));
    }

    #[test]
    fn a_digest_says_where_its_salt_goes() {
        let (password, salt) = (b"fern lamp", b"salt");
        let of = |octets: &[&[u8]]| Sha256::digest(octets.concat());
        let before = digest(Sha::Sha256, SaltPlace::Before, salt, &of(&[salt, password]));
        let after = digest(Sha::Sha256, SaltPlace::After, salt, &of(&[password, salt]));
        let none = digest(Sha::Sha256, SaltPlace::After, b"", &of(&[password]));
        let key = digest(Sha::Sha256, SaltPlace::Key, salt, &Sha::Sha256.hmac(salt, password));
        for text in [before, after, none, key] {
            assert!(is_of(&text.expect("a text"), "fern lamp"));
        }
        let short = digest(Sha::Sha512, SaltPlace::After, salt, &of(&[password]));
        assert_eq!(short, Err(PartsError::Impossible));
    }

    #[derive(Deserialize)]
    struct Vector {
        place: String,
        password: String,
        hash: String,
    }

    /// Django and Werkzeug wrote digests that look alike. The text that is stored says which it is.
    #[test]
    fn digests_of_django_and_werkzeug_are_verified() {
        let text = include_str!("../../../tests/vectors/password-hash-parts.json");
        let vectors: Vec<Vector> = serde_json::from_str(text).expect("a list of vectors");
        for Vector { place, password, hash } in vectors {
            let is_unsalted = hash.contains("$$");
            for one in SaltPlace::ALL {
                let text = digest_of_text(one, &hash).expect("a text");
                let is_right = is_of(&text, &password);
                let is_its_place = one.name() == place;
                // Without a salt it does not matter whether it comes before or after.
                let is_same = is_unsalted && one != SaltPlace::Key;
                assert_eq!(is_right, is_its_place || is_same, "{hash} {one:?}");
            }
        }
        let md5 = digest_of_text(SaltPlace::Before, "md5$salt$7f232edda72d57e7bbcca1dd3b4927f4");
        assert_eq!(md5, Err(PartsError::UnknownAlgorithm));
    }

    #[test]
    fn what_is_no_hash_has_no_text() {
        let output = [7; 32];
        for (is_possible, text) in [
            (true, pbkdf2(Sha::Sha256, 1000, &SALT, &output)),
            (false, pbkdf2(Sha::Sha256, 1000, &[], &output)),
            (false, pbkdf2(Sha::Sha256, 1000, &SALT, &[])),
            (true, scrypt(ScryptCost::RECOMMENDED, &SALT, &output)),
            (true, scrypt(ScryptCost::RECOMMENDED, &SALT, &[7; 100])),
            (false, scrypt(ScryptCost { ln: 0, r: 8, p: 1 }, &SALT, &output)),
        ] {
            assert_eq!(text.is_ok(), is_possible, "{text:?}");
        }
    }
}
