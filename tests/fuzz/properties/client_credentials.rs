//! Who claims to be calling.

use jeton_oauth::client::ClientAuthenticationMethod as Method;
use jeton_oauth::client_credentials::ClientCredentials;
use jeton_oauth::{Parameter, Parameters, Reason, Secret};

use super::{STANDARD, decode_base64, decode_form_text, encode_form_text};

/// A client identifier, a secret, and where they stood.
type Claim = (Option<String>, Option<(String, Method)>);

/// The last line of the input is the form, those before it are `Authorization` field lines; one that
/// begins with `=` is credentials, to be encoded. What is read is what RFC 6749 §2.3 and RFC 7617 §2
/// say, and what was read is read again from either spelling of Basic that clients use.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines: Vec<String> = text.split('\n').take(4).map(line).collect();
    let Some(form) = lines.pop() else { return };
    let Ok(form) = Parameters::read(form.as_bytes()) else { return };
    let read = ClientCredentials::read(&secrets(&lines), &form).map(|read| claim(&read));
    assert_eq!(read, expect(&lines, &form));

    if let Ok((Some(id), Some((secret, Method::ClientSecretBasic)))) = &read {
        let encoded = format!("{}:{}", encode_form_text(id), encode_form_text(secret));
        assert_eq!(read_alone(&format!("={encoded}")), read);
        let is_plain = |text: &str| {
            text.bytes().all(|octet| matches!(octet, b' '..=b'~') && !b"+%".contains(&octet))
        };
        if is_plain(id) && is_plain(secret) && !id.contains(':') {
            assert_eq!(read_alone(&format!("={id}:{secret}")), read);
        }
    }
}

fn line(text: &str) -> String {
    text.strip_prefix('=').map_or_else(
        || text.to_owned(),
        |credentials| format!("Basic {}", openssl::base64::encode_block(credentials.as_bytes())),
    )
}

fn secrets(lines: &[String]) -> Vec<Secret> {
    lines.iter().map(|line| Secret::new(line.clone())).collect()
}

fn read_alone(field: &str) -> Result<Claim, Reason> {
    ClientCredentials::read(&secrets(&[line(field)]), &Parameters::default())
        .map(|read| claim(&read))
}

fn claim(read: &ClientCredentials) -> Claim {
    let text = |secret: &Secret| secret.expose().to_owned();
    match read {
        ClientCredentials::Nobody => (None, None),
        ClientCredentials::Identified { client_id } => (Some(text(client_id)), None),
        ClientCredentials::Authenticating { client_id, client_secret, method } => {
            (Some(text(client_id)), Some((text(client_secret), *method)))
        }
    }
}

fn expect(fields: &[String], form: &Parameters) -> Result<Claim, Reason> {
    let found = |parameter| form.find(parameter).map(|value| value.expose().to_owned());
    let (id, secret) = (found(Parameter::ClientId), found(Parameter::ClientSecret));
    let asserts = found(Parameter::ClientAssertion).or(found(Parameter::ClientAssertionType));
    if fields.len() > 1 {
        return Err(Reason::SeveralClientCredentials);
    }
    let header = fields.first().map_or(Ok((None, None)), |field| expect_basic(field))?;
    let named = header.0.is_some();
    let mechanisms = [named, secret.is_some(), asserts.is_some()];
    match mechanisms.iter().filter(|used| **used).count() {
        0 => Ok((id, None)),
        1 if asserts.is_some() => Err(Reason::UnsupportedClientAuthentication),
        1 if named && id.is_some() && id != header.0 => Err(Reason::ContradictoryClientId),
        1 if named => Ok(header),
        1 if id.is_none() => Err(Reason::MissingParameter(Parameter::ClientId)),
        1 => Ok((id, secret.map(|secret| (secret, Method::ClientSecretPost)))),
        _ => Err(Reason::SeveralClientCredentials),
    }
}

fn expect_basic(field: &str) -> Result<Claim, Reason> {
    let field = field.trim();
    let (scheme, encoded) = field.split_at(field.find(' ').unwrap_or(field.len()));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Reason::UnsupportedClientAuthentication);
    }
    expect_credentials(encoded.trim_matches(' ')).ok_or(Reason::MalformedClientCredentials)
}

fn expect_credentials(encoded: &str) -> Option<Claim> {
    let digits = encoded.trim_end_matches('=');
    // RFC 7617 §2 has the padding of RFC 4648 §4.
    if !encoded.len().is_multiple_of(4) || encoded.len() - digits.len() > 2 {
        return None;
    }
    let octets = decode_base64(STANDARD, digits.as_bytes())?;
    if octets.iter().any(|octet| *octet < b' ' || *octet == 0x7f) {
        return None;
    }
    let colon = octets.iter().position(|octet| *octet == b':')?;
    let id = decode_form_text(&octets[..colon])?;
    let secret = decode_form_text(&octets[colon + 1..])?;
    match (id.is_empty(), secret.is_empty()) {
        (true, true) => Some((None, None)),
        (true, false) => None,
        (false, true) => Some((Some(id), None)),
        (false, false) => Some((Some(id), Some((secret, Method::ClientSecretBasic)))),
    }
}
