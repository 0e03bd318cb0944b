//! Secrets of one-time passwords as people and programs pass them on: in base32 (RFC 4648 §6), and in an `otpauth` URI,
//! which is what authenticator apps read from a QR code.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Invalid, Secret, Timestamp};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The hash function of the HMAC that makes codes (RFC 6238 §1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtpAlgorithm {
    /// HMAC-SHA-1: what every authenticator app has.
    #[default]
    #[serde(rename = "SHA1")]
    Sha1,
    /// HMAC-SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// HMAC-SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
}

impl OtpAlgorithm {
    /// The spelling in an `otpauth` URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

impl fmt::Display for OtpAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for OtpAlgorithm {
    type Err = Invalid;

    /// Reads the spellings of `otpauth` URIs, of people, and of Keycloak (`HmacSHA1`), in any case.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let word = text.to_ascii_lowercase().replace('-', "");
        match word.strip_prefix("hmac").unwrap_or(&word) {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(Invalid::new("the algorithm is none of SHA1, SHA256, SHA512")),
        }
    }
}

/// What codes of an authenticator are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtpParameters {
    /// The hash function.
    pub algorithm: OtpAlgorithm,
    /// How many digits: 6 or 8.
    pub digits: u32,
    /// How long a code is shown, in seconds: 30 or 60.
    pub period: i64,
}

/// What authenticator apps read whatever the URI says.
impl Default for OtpParameters {
    fn default() -> Self {
        Self { algorithm: OtpAlgorithm::Sha1, digits: 6, period: 30 }
    }
}

impl OtpParameters {
    /// Checks that codes can be made so.
    ///
    /// # Errors
    /// A sentence: other numbers of digits or seconds.
    pub fn new(algorithm: OtpAlgorithm, digits: u32, period: i64) -> Result<Self, Invalid> {
        if !matches!(digits, 6 | 8) {
            return Err(Invalid::new("codes have 6 or 8 digits"));
        }
        if !matches!(period, 30 | 60) {
            return Err(Invalid::new("the period of codes is 30 or 60 seconds"));
        }
        Ok(Self { algorithm, digits, period })
    }

    /// The time step at a moment (RFC 6238 §4.2).
    #[must_use]
    pub fn step(&self, now: Timestamp) -> i64 {
        now.0.div_euclid(self.period)
    }
}

/// Writes octets in base32, without padding.
#[must_use]
pub fn to_base32(octets: &[u8]) -> Secret {
    let mut text = String::with_capacity(octets.len() * 8 / 5 + 1);
    for chunk in octets.chunks(5) {
        let padded = chunk.iter().copied().chain(std::iter::repeat(0)).take(5);
        let bits = padded.fold(0_u64, |bits, octet| bits << 8 | u64::from(octet));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from(bits >> (35 - 5 * place) & 31).unwrap_or_default();
            text.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
        }
    }
    Secret::new(text)
}

/// Reads base32 in any case, with or without padding, blanks and hyphens; `None` for anything else.
#[must_use]
pub fn from_base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len() * 5 / 8));
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes().filter(|octet| !b" -".contains(octet)) {
        let letter = letter.to_ascii_uppercase();
        let value = ALPHABET.iter().position(|own| *own == letter)?;
        bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(octets)
}

/// The `otpauth` URI of a secret in base32, which an authenticator app reads from a QR code.
#[must_use]
pub fn to_uri(issuer: &str, account: &str, secret: &Secret, parameters: OtpParameters) -> Secret {
    let OtpParameters { algorithm, digits, period } = parameters;
    let (issuer, account) = (escape(issuer), escape(account));
    Secret::new(format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm={algorithm}&digits={digits}&period={period}",
        secret.expose()
    ))
}

/// Reads the secret and its parameters from an `otpauth` URI of kind `totp`.
///
/// # Errors
/// A sentence that repeats nothing of the URI.
pub fn from_uri(uri: &str) -> Result<(Zeroizing<Vec<u8>>, OtpParameters), Invalid> {
    let (_, query) = uri
        .strip_prefix("otpauth://totp/")
        .and_then(|rest| rest.split_once('?'))
        .ok_or(Invalid::new("it is no otpauth URI of kind totp"))?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
    };
    let secret = value("secret").and_then(|text| from_base32(&text.replace("%3D", "=")));
    let secret = secret.filter(|secret| !secret.is_empty());
    let secret = secret.ok_or(Invalid::new("its secret is missing, or not base32"))?;
    let number = |name: &str, usual: u32| {
        let read = |text: String| {
            text.parse::<u32>().map_err(|_| Invalid::new(format!("its {name} is no number")))
        };
        value(name).map_or(Ok(usual), read)
    };
    let algorithm = value("algorithm").map_or(Ok(OtpAlgorithm::Sha1), |text| text.parse())?;
    let parameters =
        OtpParameters::new(algorithm, number("digits", 6)?, number("period", 30)?.into())?;
    Ok((secret, parameters))
}

/// Percent-encodes whatever is not unreserved (RFC 3986 §2.3).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            write!(escaped, "%{octet:02X}").ok();
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10, without padding.
    #[test]
    fn base32_is_that_of_the_rfc() {
        for (text, base32) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(to_base32(text.as_bytes()).expose(), base32);
            for spelling in [
                base32.to_owned(),
                base32.to_lowercase(),
                format!("{base32}======"),
                spaced(base32),
            ] {
                let octets = from_base32(&spelling).expect("base32");
                assert_eq!(octets.as_slice(), text.as_bytes(), "{spelling}");
            }
        }
        for other in ["M1", "MY!", "Ä"] {
            assert!(from_base32(other).is_none(), "{other}");
        }
    }

    fn spaced(text: &str) -> String {
        text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_uri_comes_back() {
        let parameters = OtpParameters::new(OtpAlgorithm::Sha512, 8, 60).expect("good ones");
        let uri = to_uri("Acme & Söhne", "a:b@c", &to_base32(b"secret"), parameters);
        assert_eq!(
            uri.expose(),
            "otpauth://totp/Acme%20%26%20S%C3%B6hne:a%3Ab%40c?secret=ONSWG4TFOQ&issuer=Acme%20%26%20S%C3%B6hne\
             &algorithm=SHA512&digits=8&period=60"
        );
        let (secret, read) = from_uri(uri.expose()).expect("its own");
        assert_eq!((secret.as_slice(), read), (&b"secret"[..], parameters));
        let (_, usual) = from_uri("otpauth://totp/x?secret=ONSWG4TFOQ").expect("the usual");
        assert_eq!(usual, OtpParameters::default());
        for bad in [
            "",
            "otpauth://hotp/x?secret=ONSWG4TFOQ&counter=1",
            "otpauth://totp/x?issuer=a",
            "otpauth://totp/x?secret=1",
            "otpauth://totp/x?secret=ONSWG4TFOQ&digits=7",
            "otpauth://totp/x?secret=ONSWG4TFOQ&digits=six",
            "otpauth://totp/x?secret=ONSWG4TFOQ&period=1",
            "otpauth://totp/x?secret=ONSWG4TFOQ&algorithm=MD5",
        ] {
            assert!(from_uri(bad).is_err(), "{bad}");
        }
    }
}
