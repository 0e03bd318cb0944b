//! `resource`, and the audiences of clients.

use jeton_oauth::Reason;
use jeton_oauth::client::Audience;

/// What may be asked for is an absolute URI without fragment (RFC 8707 §2), what may be registered is
/// that or a name without a colon (RFC 7519 §2); both stand in `aud` as they were given.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let resource = Audience::from_resource(text);
    let is_uri = is_absolute_uri(text.as_bytes());
    match &resource {
        Ok(resource) => {
            assert!(is_uri, "{text:?} is no absolute URI");
            assert_eq!(resource.as_str(), text);
        }
        Err(reason) => {
            assert!(!is_uri, "{text:?} is an absolute URI");
            assert_eq!(*reason, Reason::MalformedResource);
        }
    }
    let is_name = text.bytes().all(|octet| octet.is_ascii_graphic()) && !text.contains(':');
    let registered = text.parse::<Audience>();
    assert_eq!(registered.is_ok(), (1..=512).contains(&text.len()) && (is_uri || is_name));
    if let Ok(registered) = registered {
        assert_eq!((registered.as_str(), registered.to_string().as_str()), (text, text));
        assert!(resource.is_err() || resource.as_ref() == Ok(&registered));
        let json = serde_json::to_string(&registered).expect("a string");
        assert_eq!(serde_json::from_str::<Audience>(&json).expect("an audience"), registered);
    }
}

/// `scheme ":" hier-part [ "?" query ]` as far as its octets go (RFC 3986 §3): a scheme, then at least
/// one octet, all of them reserved, unreserved or a percent escape, none of them `#`.
fn is_absolute_uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|octet| *octet == b':') else { return false };
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|o| matches!(o, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let is_plain =
        |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(octet);
    let mut at = 0;
    while let Some(octet) = rest.get(at) {
        let escape = rest.get(at + 1..at + 3);
        match octet {
            b'%' if escape.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) => at += 3,
            plain if is_plain(plain) => at += 1,
            _ => return false,
        }
    }
    is_scheme && !rest.is_empty()
}
