//! Hashes that came to Auth0 from elsewhere (`custom_password_hash`), as texts that Jeton reads.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use jeton_crypto::password::Sha;
use jeton_crypto::password::of_parts::{self, PartsError, SaltPlace};
use jeton_oauth::ScryptCost;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Of PBKDF2, where the hash does not say it.
const ITERATIONS: u32 = 100_000;

/// `custom_password_hash`, as <https://auth0.com/docs> describes it for bulk imports.
#[derive(Deserialize)]
struct Custom {
    algorithm: String,
    hash: Hash,
    salt: Option<Salt>,
    password: Option<Password>,
    cost: Option<u32>,
    #[serde(rename = "blockSize")]
    block_size: Option<u32>,
    parallelization: Option<u32>,
}

#[derive(Deserialize)]
struct Hash {
    value: String,
    encoding: Option<String>,
    digest: Option<String>,
    key: Option<Encoded>,
}

#[derive(Deserialize)]
struct Salt {
    #[serde(flatten)]
    text: Encoded,
    position: Option<String>,
}

#[derive(Deserialize)]
struct Encoded {
    value: String,
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct Password {
    encoding: Option<String>,
}

/// The text of a hash, or why there is none, in words that follow «its hash».
pub(super) fn text(custom: serde_json::Value) -> Result<String, String> {
    // serde_json repeats what it does not take.
    let custom: Custom = serde_json::from_value(custom)
        .map_err(|_| "is no custom_password_hash with an algorithm and a hash".to_owned())?;
    let encoding = custom.password.as_ref().and_then(|password| password.encoding.as_deref());
    if !matches!(encoding, None | Some("utf8" | "ascii")) {
        return Err(
            "is of a password in another encoding than UTF-8: this user needs a new password"
                .to_owned(),
        );
    }
    custom.text().map_err(|error| error.to_string())
}

impl Custom {
    fn text(self) -> Result<String, PartsError> {
        match self.algorithm.as_str() {
            // They say themselves what they are.
            "argon2" | "bcrypt" | "ldap" => Ok(self.hash.value),
            "pbkdf2" => pbkdf2(&self.hash.value),
            "scrypt" => self.scrypt(),
            "hmac" => self.hmac(),
            name => {
                let sha = sha(name)?;
                let (salt, place) = match &self.salt {
                    None => (Vec::new(), SaltPlace::After),
                    Some(salt) => (salt.text.octets("salt", "utf8")?, salt.place()?),
                };
                of_parts::digest(sha, place, &salt, &self.hash.octets()?)
            }
        }
    }

    fn scrypt(&self) -> Result<String, PartsError> {
        let cost = self.cost.unwrap_or(16_384);
        if !cost.is_power_of_two() {
            return Err(PartsError::Unreadable("cost"));
        }
        let cost = ScryptCost {
            ln: u8::try_from(cost.trailing_zeros()).map_err(|_| PartsError::Impossible)?,
            r: self.block_size.unwrap_or(8),
            p: self.parallelization.unwrap_or(1),
        };
        let salt = self.salt.as_ref().ok_or(PartsError::Unreadable("salt"))?;
        of_parts::scrypt(cost, &salt.text.octets("salt", "utf8")?, &self.hash.octets()?)
    }

    fn hmac(&self) -> Result<String, PartsError> {
        let sha = sha(self.hash.digest.as_deref().unwrap_or_default())?;
        let key = self.hash.key.as_ref().ok_or(PartsError::Unreadable("key"))?;
        of_parts::digest(sha, SaltPlace::Key, &key.octets("key", "utf8")?, &self.hash.octets()?)
    }
}

impl Hash {
    fn octets(&self) -> Result<Vec<u8>, PartsError> {
        decode("value", &self.value, self.encoding.as_deref().unwrap_or("hex"))
    }
}

impl Encoded {
    fn octets(&self, part: &'static str, usual: &str) -> Result<Vec<u8>, PartsError> {
        decode(part, &self.value, self.encoding.as_deref().unwrap_or(usual))
    }
}

impl Salt {
    fn place(&self) -> Result<SaltPlace, PartsError> {
        match self.position.as_deref() {
            None | Some("prefix") => Ok(SaltPlace::Before),
            Some("suffix") => Ok(SaltPlace::After),
            Some(_) => Err(PartsError::Unreadable("position of the salt")),
        }
    }
}

fn sha(name: &str) -> Result<Sha, PartsError> {
    match name {
        "sha1" => Ok(Sha::Sha1),
        "sha256" => Ok(Sha::Sha256),
        "sha384" => Ok(Sha::Sha384),
        "sha512" => Ok(Sha::Sha512),
        _ => Err(PartsError::UnknownAlgorithm),
    }
}

fn decode(part: &'static str, text: &str, encoding: &str) -> Result<Vec<u8>, PartsError> {
    let unreadable = || PartsError::Unreadable(part);
    match encoding {
        "base64" => BASE64.decode(text).map_err(|_| unreadable()),
        "hex" => base16ct::mixed::decode_vec(text).map_err(|_| unreadable()),
        "utf8" | "ascii" => Ok(text.as_bytes().to_vec()),
        _ => Err(unreadable()),
    }
}

/// `$pbkdf2-sha512$i=100000,l=64$salt$hash`, in base64 without padding.
fn pbkdf2(text: &str) -> Result<String, PartsError> {
    let parts: Vec<&str> = text.split('$').collect();
    let ["", name, parameters, salt, output] = parts[..] else {
        return Err(PartsError::Unreadable("value"));
    };
    let sha = sha(name.strip_prefix("pbkdf2-").unwrap_or_default())?;
    let mut iterations = ITERATIONS;
    for parameter in parameters.split(',') {
        match parameter.split_once('=') {
            Some(("i", number)) => {
                iterations =
                    number.parse().map_err(|_| PartsError::Unreadable("number of iterations"))?;
            }
            // The length is that of the output.
            Some(("l", _)) => {}
            _ => return Err(PartsError::Unreadable("parameters")),
        }
    }
    of_parts::pbkdf2(
        sha,
        iterations,
        &decode("salt", salt, "base64")?,
        &decode("value", output, "base64")?,
    )
}
