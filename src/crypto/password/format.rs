//! The texts in which this service and others store hashes. A format is recognised by its beginning and read strictly.

use std::str::FromStr;

use argon2::{Algorithm, Params, Version};
use base16ct::mixed;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};

use super::crypt::{Phpass, ShaCrypt};
use super::firebase::FirebaseScrypt;
use super::of_parts::SaltPlace;
use super::scheme::{Argon2Parameters, Before, Scheme, Sha};
use jeton_oauth::ScryptCost;

/// bcrypt's own base64. The last character has unused bits, which old libraries fill.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);
/// How many characters of a bcrypt hash are its output.
const BCRYPT_OUTPUT_CHARACTERS: usize = 31;

pub(super) struct Parts {
    pub(super) scheme: Scheme,
    pub(super) output: Vec<u8>,
    /// How many characters at the end of the text are the output.
    pub(super) output_characters: usize,
}

/// Reads the rest of a text whose beginning was recognised.
type Read = fn(&str) -> Option<Parts>;

/// The beginning of each format, and the function that reads the rest.
const FORMATS: [(&str, Read); 29] = [
    ("$scrypt$", phc_scrypt),
    ("$2a$", |rest| bcrypt(rest, Before::Nothing)),
    ("$2b$", |rest| bcrypt(rest, Before::Nothing)),
    ("$2y$", |rest| bcrypt(rest, Before::Nothing)),
    ("$argon2id$", |rest| argon2(Algorithm::Argon2id, rest)),
    ("$argon2i$", |rest| argon2(Algorithm::Argon2i, rest)),
    // crypt(3)
    ("$5$", |rest| ShaCrypt::Sha256.read(rest)),
    ("$6$", |rest| ShaCrypt::Sha512.read(rest)),
    // PHP: WordPress before 6.8 and phpBB, WordPress 6.8, Drupal 7
    ("$P$", |rest| Phpass::Md5.read(rest)),
    ("$H$", |rest| Phpass::Md5.read(rest)),
    ("$wp$2y$", |rest| bcrypt(rest, Before::WordPressHmac)),
    ("$S$", |rest| Phpass::Sha512.read(rest)),
    // passlib
    ("$bcrypt-sha256$", passlib_bcrypt),
    ("$pbkdf2$", |rest| passlib_pbkdf2(Sha::Sha1, rest)),
    ("$pbkdf2-sha256$", |rest| passlib_pbkdf2(Sha::Sha256, rest)),
    ("$pbkdf2-sha512$", |rest| passlib_pbkdf2(Sha::Sha512, rest)),
    // Django, which writes a name of its own before a library's text.
    ("bcrypt$$2a$", |rest| bcrypt(rest, Before::Nothing)),
    ("bcrypt$$2b$", |rest| bcrypt(rest, Before::Nothing)),
    ("bcrypt$$2y$", |rest| bcrypt(rest, Before::Nothing)),
    ("bcrypt_sha256$$2a$", |rest| bcrypt(rest, Before::HexDigest)),
    ("bcrypt_sha256$$2b$", |rest| bcrypt(rest, Before::HexDigest)),
    ("bcrypt_sha256$$2y$", |rest| bcrypt(rest, Before::HexDigest)),
    ("pbkdf2_sha1$", |rest| django_pbkdf2(Sha::Sha1, rest)),
    ("pbkdf2_sha256$", |rest| django_pbkdf2(Sha::Sha256, rest)),
    ("scrypt$", django_scrypt),
    // Werkzeug
    ("pbkdf2:", werkzeug_pbkdf2),
    ("scrypt:", werkzeug_scrypt),
    // Supabase, from Firebase
    ("$fbscrypt$", firebase_scrypt),
    // Our own, written by `of_parts` and `rewriting`
    ("$digest$", digest),
];
/// What Django and Spring's `DelegatingPasswordEncoder` write before a library's text.
const WRAPPINGS: [&str; 4] = ["argon2", "{bcrypt}", "{argon2}", "{argon2@SpringSecurity_v5_8}"];

/// Reads a text in any of the formats; `None` if it is in none of them. It computes nothing, so the cost may be absurd.
pub(super) fn read(text: &str) -> Option<Parts> {
    let inner = WRAPPINGS.iter().find_map(|wrapping| text.strip_prefix(wrapping));
    let text = inner.filter(|inner| inner.starts_with('$')).unwrap_or(text);
    let parts = FORMATS
        .iter()
        .find_map(|(beginning, read)| text.strip_prefix(beginning).map(read))
        .flatten()?;
    (16..=64).contains(&parts.output.len()).then_some(parts)
}

/// The beginning of the format that the text seems to be in.
pub(super) fn beginning(text: &str) -> Option<&'static str> {
    let inner = WRAPPINGS.iter().find_map(|wrapping| text.strip_prefix(wrapping)).unwrap_or(text);
    let mut beginnings = FORMATS.iter().map(|(beginning, _)| *beginning);
    beginnings.find(|beginning| inner.starts_with(beginning) || text.starts_with(beginning))
}

/// `ln=…,r=…,p=…$salt$output`, as this service and passlib write it.
fn phc_scrypt(rest: &str) -> Option<Parts> {
    let [cost, salt, output] = fields(rest)?;
    let scheme = Scheme::Scrypt { cost: scrypt_cost(cost)?, salt: salt_of(decode(salt).ok()?)? };
    let octets = decode(output).ok()?;
    Some(Parts { scheme, output: octets, output_characters: output.len() })
}

/// `N:r:p$salt$output`, the salt as text, the output in hexadecimal.
fn werkzeug_scrypt(rest: &str) -> Option<Parts> {
    let [cost, salt, output] = fields(rest)?;
    let mut numbers = cost.split(':').map(number::<u64>);
    let (n, r, p) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let cost = scrypt_cost_of(n, u32::try_from(r).ok()?, u32::try_from(p).ok()?)?;
    let scheme = Scheme::Scrypt { cost, salt: salt_of(salt.into())? };
    let ends = numbers.next().is_none();
    ends.then_some(Parts {
        scheme,
        output: mixed::decode_vec(output).ok()?,
        output_characters: output.len(),
    })
}

/// `N$salt$r$p$output`, the salt as text.
fn django_scrypt(rest: &str) -> Option<Parts> {
    let [n, salt, r, p, output] = fields(rest)?;
    let cost = scrypt_cost_of(number(n)?, number(r)?, number(p)?)?;
    let scheme = Scheme::Scrypt { cost, salt: salt_of(salt.into())? };
    let octets = STANDARD.decode(output).ok()?;
    Some(Parts { scheme, output: octets, output_characters: output.len() })
}

/// `cost$salt-and-output`, which follows `$2b$`.
fn bcrypt(rest: &str, of: Before) -> Option<Parts> {
    let (cost, rest) = rest.split_once('$')?;
    // Two digits. The first may be zero.
    let cost = Some(cost).filter(|cost| cost.len() == 2).map(|cost| cost.trim_start_matches('0'));
    let (salt, output) = rest.split_at_checked(22)?;
    bcrypt_parts(number(cost?)?, salt, output, of)
}

/// `2a,12$salt$output` or `v=2,t=2b,r=12$salt$output`
fn passlib_bcrypt(rest: &str) -> Option<Parts> {
    let [parameters, salt, output] = fields(rest)?;
    let of = match parameters.split(',').collect::<Vec<_>>()[..] {
        ["2a" | "2b" | "2y", cost] => (Before::Base64Digest, cost),
        ["v=2", "t=2b" | "t=2a", cost] => {
            (Before::Base64Hmac { key: salt.to_owned() }, cost.strip_prefix("r=")?)
        }
        _ => return None,
    };
    bcrypt_parts(number(of.1)?, salt, output, of.0)
}

fn bcrypt_parts(cost: u8, salt: &str, output: &str, of: Before) -> Option<Parts> {
    let salt = BCRYPT_BASE64.decode(salt).ok()?.try_into().ok()?;
    let octets = BCRYPT_BASE64.decode(output).ok()?;
    let output_characters = output.len();
    ((4..=31).contains(&cost) && output_characters == BCRYPT_OUTPUT_CHARACTERS).then_some(Parts {
        scheme: Scheme::Bcrypt { cost, salt, of },
        output: octets,
        output_characters,
    })
}

/// `iterations$salt$output`, in passlib's base64, which writes a full stop for the plus sign.
fn passlib_pbkdf2(hash: Sha, rest: &str) -> Option<Parts> {
    let [iterations, salt, output] = fields(rest)?;
    let decode = |text: &str| {
        let adapted = text.replace('.', "+");
        if text.contains('+') { None } else { decode(&adapted).ok() }
    };
    pbkdf2(hash, iterations, decode(salt)?, decode(output)?, output.len())
}

/// `iterations$salt$output`, the salt as text.
fn django_pbkdf2(hash: Sha, rest: &str) -> Option<Parts> {
    let [iterations, salt, output] = fields(rest)?;
    let octets = STANDARD.decode(output).ok()?;
    pbkdf2(hash, iterations, salt.into(), octets, output.len())
}

/// `sha256:iterations$salt$output`, the salt as text, the output in hexadecimal.
fn werkzeug_pbkdf2(rest: &str) -> Option<Parts> {
    let [method, salt, output] = fields(rest)?;
    let (hash, iterations) = match method.split_once(':')? {
        ("sha1", iterations) => (Sha::Sha1, iterations),
        ("sha256", iterations) => (Sha::Sha256, iterations),
        ("sha512", iterations) => (Sha::Sha512, iterations),
        _ => return None,
    };
    pbkdf2(hash, iterations, salt.into(), mixed::decode_vec(output).ok()?, output.len())
}

/// `v=1,n=…,r=…,p=…,ss=…,sk=…$salt$output`, where `N` is 2^`n` and `ss` may be missing.
fn firebase_scrypt(rest: &str) -> Option<Parts> {
    let [parameters, salt, output] = fields(rest)?;
    let parameters: Vec<&str> = parameters.split(',').collect();
    let ([v, n, r, p, sk], separator) = match parameters[..] {
        [v, n, r, p, ss, sk] => ([v, n, r, p, sk], STANDARD.decode(ss.strip_prefix("ss=")?).ok()?),
        [v, n, r, p, sk] => ([v, n, r, p, sk], Vec::new()),
        _ => return None,
    };
    let signer_key = STANDARD.decode(sk.strip_prefix("sk=")?).ok()?;
    let cost = format!("l{n},{r},{p}");
    let octets = STANDARD.decode(output).ok()?;
    let is_possible = v == "v=1" && separator.len() <= 64 && octets.len() == signer_key.len();
    let mut salt = salt_of(STANDARD.decode(salt).ok()?)?;
    salt.extend(separator);
    let scheme = Scheme::Firebase(FirebaseScrypt { cost: scrypt_cost(&cost)?, salt, signer_key });
    let output_characters = output.len();
    is_possible.then_some(Parts { scheme, output: octets, output_characters })
}

/// `h=sha1,salt=after$salt$output`, as `of_parts::digest` writes it.
fn digest(rest: &str) -> Option<Parts> {
    let [parameters, salt, output] = fields(rest)?;
    let (hash, place) = parameters.strip_prefix("h=")?.split_once(",salt=")?;
    let hash = Sha::ALL.into_iter().find(|one| one.name() == hash)?;
    let place = SaltPlace::ALL.into_iter().find(|one| one.name() == place)?;
    let salt = decode(salt).ok().filter(|salt| salt.len() <= 64)?;
    let octets = decode(output).ok().filter(|octets| octets.len() == hash.length())?;
    let scheme = Scheme::Digest { hash, place, salt };
    Some(Parts { scheme, output: octets, output_characters: output.len() })
}

fn pbkdf2(
    hash: Sha,
    iterations: &str,
    salt: Vec<u8>,
    output: Vec<u8>,
    output_characters: usize,
) -> Option<Parts> {
    let iterations = number(iterations).filter(|iterations| *iterations > 0)?;
    let scheme = Scheme::Pbkdf2 { hash, iterations, salt: salt_of(salt)? };
    Some(Parts { scheme, output, output_characters })
}

/// `v=19$m=…,t=…,p=…$salt$output`. Without `v` it is the first version.
fn argon2(algorithm: Algorithm, rest: &str) -> Option<Parts> {
    let (version, rest) = match rest.strip_prefix("v=") {
        Some(rest) => rest.split_once('$')?,
        None => ("16", rest),
    };
    let version = Version::try_from(number::<u32>(version)?).ok()?;
    let [parameters, salt, output] = fields(rest)?;
    let mut parameters = parameters.split(',');
    let mut next = |name: &str| number::<u32>(parameters.next()?.strip_prefix(name)?);
    let (m, t, p) = (next("m=")?, next("t=")?, next("p=")?);
    let octets = decode(output).ok()?;
    let of = Argon2Parameters {
        algorithm,
        version,
        parameters: Params::new(m, t, p, Some(octets.len())).ok()?,
    };
    let salt = decode(salt).ok().filter(|salt| salt.len() >= argon2::MIN_SALT_LEN)?;
    let scheme = Scheme::Argon2 { of, salt: salt_of(salt)? };
    let ends = parameters.next().is_none();
    ends.then_some(Parts { scheme, output: octets, output_characters: output.len() })
}

/// Reads `ln=…,r=…,p=…`. They must be within RFC 7914 §2, and such that they can be computed at all.
pub(super) fn scrypt_cost(text: &str) -> Option<ScryptCost> {
    let mut parts = text.split(',');
    let mut next = |name: &str| number::<u32>(parts.next()?.strip_prefix(name)?);
    let (ln, r, p) = (next("ln=")?, next("r=")?, next("p=")?);
    let ends = parts.next().is_none();
    (ends && ln < 64).then(|| scrypt_cost_of(1 << ln, r, p)).flatten()
}

fn scrypt_cost_of(n: u64, r: u32, p: u32) -> Option<ScryptCost> {
    let ln = u8::try_from(n.checked_ilog2()?).ok()?;
    let sane = (1..=40).contains(&ln) && (1..=1_024).contains(&r) && (1..=1_024).contains(&p);
    (sane && n.is_power_of_two()).then_some(ScryptCost { ln, r, p })
}

/// The fields between dollar signs, if there are exactly `N`.
pub(super) fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split('$').collect::<Vec<_>>().try_into().ok()
}

/// A number without sign or leading zeros.
pub(super) fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    (digits && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

fn salt_of(octets: Vec<u8>) -> Option<Vec<u8>> {
    (4..=64).contains(&octets.len()).then_some(octets)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    STANDARD_NO_PAD.decode(text)
}
