//! User names and passwords.

use jeton_oauth::Secret;
use jeton_oauth::resource_owner::{USERNAME_LENGTH_MAX, Username, prepare_password};

/// The form in which a name is stored is the form of itself, else a user could be stored whom no login
/// finds (RFC 8264 §7), and so are the forms of its other spellings. The same of passwords.
pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(name) = Username::parse(text) {
        let stored = name.as_str();
        assert!((1..=USERNAME_LENGTH_MAX).contains(&stored.len()));
        assert!(!stored.contains(|c: char| c.is_whitespace() || c.is_control()));
        assert!(!stored.contains(|c: char| c.is_ascii_uppercase()));
        assert_eq!(Username::parse(stored).as_ref(), Some(&name), "{stored:?}");
        // A context rule can refuse upper case: U+00B7 stands between two small letters only.
        let upper = Username::parse(&stored.to_ascii_uppercase());
        assert!(upper.is_none_or(|upper| upper == name), "{stored:?}");
        assert_eq!(stored.parse().as_ref(), Ok(&name));
    }
    let prepare = |text: &str| prepare_password(&Secret::new(text.to_owned()));
    if let Some(prepared) = prepare(text) {
        assert!(!prepared.expose().is_empty());
        assert!(!prepared.expose().contains(char::is_control));
        assert!(prepare(prepared.expose()).as_ref() == Some(&prepared), "{text:?}");
        if text.is_ascii() {
            assert_eq!(prepared.expose(), text, "ASCII is not mapped");
        }
    }
}
