//! What must hold of Jeton's parsers, whatever they are given: each panics if it does not.
//!
//! libFuzzer runs them for long (`tests/fuzz/README.md`), and every test run for a moment
//! (`tests/it/fuzzing.rs`). Expectations are written a second time here, by hand and from the RFC,
//! so that a parser is not held against itself.

mod access_token;
mod audience;
mod client_credentials;
mod client_file;
mod entries;
mod exports;
mod form;
mod forwarded;
mod ldif;
mod password_hash;
mod refresh_token;
mod scope;
mod sealed_key;
mod user_file;
mod username;

/// Panics if something does not hold of this input.
pub(crate) type Property = fn(&[u8]);

/// The parsers, by the names of the folders of `corpus/`.
pub(crate) const ALL: [(&str, Property); 20] = [
    ("access_token", access_token::check),
    ("aspnet_users", exports::check_aspnet),
    ("audience", audience::check),
    ("auth0_export", exports::check_auth0),
    ("client_credentials", client_credentials::check),
    ("client_file", client_file::check),
    ("django_dump", exports::check_django),
    ("firebase_export", exports::check_firebase),
    ("form", form::check),
    ("forwarded", forwarded::check),
    ("keycloak_realm", exports::check_keycloak),
    ("ldif", ldif::check),
    ("passport_table", exports::check_passport),
    ("password_hash", password_hash::check),
    ("refresh_token", refresh_token::check),
    ("scope", scope::check),
    ("sealed_key", sealed_key::check),
    ("supabase_users", exports::check_supabase),
    ("user_file", user_file::check),
    ("username", username::check),
];

/// The alphabet of base64 (RFC 4648 §4).
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The alphabet of base64url (RFC 4648 §5).
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Decodes base64 without padding, in the one spelling that encoding yields (RFC 4648 §3.5).
fn decode_base64(alphabet: &[u8; 64], text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut octets) = (0_u32, 0_u32, Vec::new());
    for octet in text {
        let digit = alphabet.iter().position(|own| own == octet)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    // A lone digit, or bits that belong to no octet.
    (count < 6 && bits == 0).then_some(octets)
}

/// Encodes base64url without padding, as all that Jeton makes is.
fn encode_base64url(octets: &[u8]) -> String {
    let standard = openssl::base64::encode_block(octets);
    standard.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Decodes a percent-encoded text as RFC 6749 Appendix B has it; `None` for a broken escape or octets
/// that are not UTF-8.
fn decode_form_text(text: &[u8]) -> Option<String> {
    let mut octets = Vec::new();
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        at += 1;
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let digits = text.get(at..at + 2)?;
                at += 2;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(octets).ok()
}

/// Encodes a text for a form, every octet that is no letter or digit.
fn encode_form_text(text: &str) -> String {
    text.bytes()
        .map(|octet| match octet {
            b' ' => "+".to_owned(),
            plain if plain.is_ascii_alphanumeric() => char::from(plain).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Changes a text a little: each three octets of `edits` say where and how. What it yields is often
/// next to what was genuine, which an input on its own never is.
fn edited(text: &str, edits: &[u8]) -> String {
    let mut octets = text.as_bytes().to_vec();
    for edit in edits.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        if octets.is_empty() {
            break;
        }
        let at = at % octets.len();
        match edit[2] {
            0x80..=0x9f => drop(octets.remove(at)),
            0xa0..=0xbf => octets.insert(at, octets[at]),
            0xc0..=0xdf => octets.truncate(at),
            0xe0..=0xff => octets.insert(at, edit[2] & 0x7f),
            ascii => octets[at] = ascii,
        }
    }
    String::from_utf8(octets).expect("ASCII remains ASCII")
}
