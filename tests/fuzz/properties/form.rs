//! The form of a request.

use jeton_oauth::{Parameter, Parameters, Reason};

use super::{decode_form_text, encode_form_text};

const KNOWN: [Parameter; 12] = [
    Parameter::GrantType,
    Parameter::Username,
    Parameter::Password,
    Parameter::Scope,
    Parameter::RefreshToken,
    Parameter::ClientId,
    Parameter::ClientSecret,
    Parameter::ClientAssertion,
    Parameter::ClientAssertionType,
    Parameter::Resource,
    Parameter::Token,
    Parameter::TokenTypeHint,
];

/// A form is refused exactly for the documented reasons, and else says what RFC 6749 Appendix B and
/// `serde_urlencoded` say that it says; written again from what was understood, it says the same.
pub(super) fn check(input: &[u8]) {
    let expected = expect(input);
    let read = Parameters::read(input);
    match (&read, &expected) {
        (Ok(read), Ok(pairs)) => {
            assert_says(read, pairs);
            let again: Vec<String> =
                pairs.iter().map(|(name, value)| written(*name, value)).collect();
            let again = again.join("&");
            assert_says(&Parameters::read(again.as_bytes()).expect("a form"), pairs);
        }
        (Err(read), Err(expected)) => assert_eq!(read, expected),
        _ => panic!("{:?} instead of {expected:?}", read.err()),
    }
}

fn written(name: Parameter, value: &str) -> String {
    format!("{}={}", name.name(), encode_form_text(value))
}

fn assert_says(read: &Parameters, pairs: &[(Parameter, String)]) {
    for parameter in KNOWN.into_iter().filter(|known| *known != Parameter::Resource) {
        let sent =
            pairs.iter().find(|(name, _)| *name == parameter).map(|(_, value)| value.as_str());
        let filled = sent.filter(|value| !value.is_empty());
        assert_eq!(read.find(parameter).map(jeton_oauth::Secret::expose), filled);
        let missing = Reason::MissingParameter(parameter);
        assert_eq!(read.require(parameter).err(), filled.is_none().then_some(missing));
    }
    let resources = pairs.iter().filter(|(name, _)| *name == Parameter::Resource);
    let resources = resources.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    assert!(read.resources().eq(resources));
}

/// The known parameters of a form in their order, or why it is refused.
fn expect(input: &[u8]) -> Result<Vec<(Parameter, String)>, Reason> {
    let segments: Vec<&[u8]> = input.split(|octet| *octet == b'&').collect();
    let mut pairs = Vec::new();
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        let mut halves = segment.splitn(2, |octet| *octet == b'=');
        let mut half = || decode_form_text(halves.next().unwrap_or_default());
        let (name, value) = (half(), half());
        pairs.push(name.zip(value).ok_or(Reason::MalformedForm)?);
    }
    assert_eq!(serde_urlencoded::from_bytes(input), Ok(pairs.clone()));
    if segments.len() > 64 {
        return Err(Reason::TooManyParameters);
    }
    let mut known: Vec<(Parameter, String)> = Vec::new();
    for (name, value) in pairs {
        let Some(name) = KNOWN.into_iter().find(|known| known.name() == name) else { continue };
        if value.len() > name.length_max() {
            return Err(Reason::OverlongParameter(name));
        }
        if value.chars().any(|character| is_foreign(name, character)) {
            return Err(Reason::MalformedParameter(name));
        }
        let sent = || known.iter().filter(|(own, _)| *own == name);
        if name == Parameter::Resource {
            if sent().filter(|(_, value)| !value.is_empty()).count() >= 16 {
                return Err(Reason::TooManyParameters);
            }
        } else if sent().next().is_some() {
            return Err(Reason::RepeatedParameter(name));
        }
        known.push((name, value));
    }
    Ok(known)
}

/// RFC 6749 Appendix A: `UNICODECHARNOCRLF` has TAB and U+0020 onwards, but neither DEL nor the two
/// that are no characters. NUL is allowed in `token` alone.
fn is_foreign(name: Parameter, character: char) -> bool {
    match name {
        Parameter::Username | Parameter::Password => {
            let code = u32::from(character);
            (code < 0x20 && code != 9) || matches!(code, 0x7f | 0xfffe | 0xffff)
        }
        Parameter::Token => false,
        _ => character == '\0',
    }
}
