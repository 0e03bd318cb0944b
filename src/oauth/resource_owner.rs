//! User names and passwords in the form in which they are stored and compared (RFC 8265).

use std::fmt;
use std::sync::OnceLock;

use precis_profiles::precis_core::profile::{PrecisFastInvocation, stabilize};
use precis_profiles::{OpaqueString, UsernameCaseMapped};
use serde::Serialize;

use crate::{Invalid, Secret};

/// Longest user name, in octets of UTF-8 after mapping.
pub const USERNAME_LENGTH_MAX: usize = 256;

/// Longest user name before mapping, in octets. Width, case and NFC shorten a name at most by the factor 3.5 (a
/// full-width U with two marks), so a longer name is too long after mapping, too.
const PRESENTED_LENGTH_MAX: usize = 4 * USERNAME_LENGTH_MAX;
/// The most characters with a contextual rule (RFC 5892 appendix A) in a user name; each has at least two octets. The
/// profile reads the whole name for each of them, so without this limit its cost would be quadratic.
const CONTEXTUAL_MAX: usize = USERNAME_LENGTH_MAX / 2;

/// A user name in the `UsernameCaseMapped` form (RFC 8265 §3.3): width-mapped, lower case, NFC, without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Username(String);

impl Username {
    /// Maps a presented name; `None` if no user can have it. That includes a name whose mapped form would be mapped
    /// again (RFC 8264 §7), because a stored name must find its user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Of printable ASCII, only the case is mapped. The profile would take microseconds for that, and each request
        // that reads a session reads a name.
        let is_plain = text.bytes().all(|octet| octet.is_ascii_graphic());
        if is_plain && (1..=USERNAME_LENGTH_MAX).contains(&text.len()) {
            return Some(Self(text.to_ascii_lowercase()));
        }
        let contextual = text.chars().filter(|character| has_contextual_rule(*character)).count();
        if text.len() > PRESENTED_LENGTH_MAX || contextual > CONTEXTUAL_MAX {
            return None;
        }
        let mapped = stabilize(text, |text| UsernameCaseMapped::enforce(text)).ok()?;
        (mapped.len() <= USERNAME_LENGTH_MAX).then(|| Self(mapped.into_owned()))
    }

    /// The mapped form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a typed user name begins or ends with a blank; phones add one after a completed word. No user name has a
/// blank (RFC 8265 §3.1), and Jeton removes none, because that would be another mapping.
#[must_use]
pub fn has_outer_blank(typed: &str) -> bool {
    typed.starts_with(char::is_whitespace) || typed.ends_with(char::is_whitespace)
}

/// Whether a character, as it is or after width mapping, is allowed only in some contexts.
fn has_contextual_rule(character: char) -> bool {
    matches!(character,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}'
        | '\u{200c}' | '\u{200d}' | '\u{30fb}' | '\u{ff65}')
}

impl fmt::Display for Username {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Accepts only a name that is mapped already, as stored names are.
impl TryFrom<String> for Username {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let mapped = Self::parse(&text).filter(|name| name.0 == text);
        mapped.ok_or(Invalid::new("it is no user name in its mapped form (RFC 8265 §3.3)"))
    }
}

impl std::str::FromStr for Username {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text).ok_or_else(|| {
            Invalid::new(format!(
                "cannot be a user name: it may have letters, digits and marks of any \
                 script and printable ASCII, no blanks or control characters, at most \
                 {USERNAME_LENGTH_MAX} octets (RFC 8265 §3.3)"
            ))
        })
    }
}

/// A presented password.
#[derive(Clone, Debug)]
pub struct Password {
    /// As it was sent.
    pub presented: Secret,
    /// Computed when it is first needed, which is on a hashing thread: it takes time.
    prepared: OnceLock<Option<Secret>>,
}

impl Password {
    /// A password as it was sent.
    #[must_use]
    pub fn new(presented: Secret) -> Self {
        Self { presented, prepared: OnceLock::new() }
    }

    /// A secret that has one form only: exactly as it was sent.
    #[must_use]
    pub fn exact(presented: Secret) -> Self {
        let prepared = OnceLock::from(Some(presented.clone()));
        Self { presented, prepared }
    }

    /// The form in which this service hashes passwords; `None` if it could not be set as a password here.
    #[must_use]
    pub fn prepared(&self) -> Option<&Secret> {
        self.prepared.get_or_init(|| prepare_password(&self.presented)).as_ref()
    }

    /// The prepared form, if it differs from the presented one.
    #[must_use]
    pub fn other_form(&self) -> Option<&Secret> {
        self.prepared().filter(|prepared| **prepared != self.presented)
    }
}

/// Prepares a password: the `OpaqueString` form (RFC 8265 §4.2) is NFC with every other space turned into U+0020;
/// nothing is trimmed, cut or case-mapped. `None` if it is empty, has control characters, ignorable or unassigned code
/// points, or if its form would change again (RFC 8264 §7): a keyboard that normalises could not repeat it.
#[must_use]
pub fn prepare_password(password: &Secret) -> Option<Secret> {
    let enforce = |password: &Secret| {
        let mapped = OpaqueString::enforce(password.expose()).ok()?;
        Some(Secret::new(mapped.into_owned()))
    };
    let mapped = enforce(password)?;
    (enforce(&mapped)? == mapped).then_some(mapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8265 §3.1, §3.3: width, case, NFC, allowed characters; no blanks, and not empty. [W-30] [W-32] [W-33]
    #[test]
    fn names_are_mapped_to_one_form() {
        for (presented, mapped) in [
            ("alice", "alice"),
            ("ALICE", "alice"),
            ("\u{ff21}lice", "alice"),
            ("e\u{301}ve", "\u{e9}ve"),
            ("juliet@example.com", "juliet@example.com"),
        ] {
            assert_eq!(Username::parse(presented).map(|name| name.0), Some(mapped.to_owned()));
        }
        for refused in
            ["", " ", "a b", "henry\u{2163}", "\u{221e}", "a\u{200b}b", "a\tb", "\u{13a4}"]
        {
            assert_eq!(Username::parse(refused), None, "{refused:?}");
        }
    }

    /// The shortcut for ASCII yields what the profile yields.
    #[test]
    fn ascii_is_mapped_as_the_profile_maps_it() {
        let all = || (0..128_u8).map(char::from);
        for text in all().flat_map(|a| all().map(move |b| format!("{a}{b}"))) {
            for text in [&text[..1], &text] {
                let mapped = UsernameCaseMapped::enforce(text).ok();
                let name = Username::parse(text);
                assert_eq!(name.as_ref().map(Username::as_str), mapped.as_deref(), "{text:?}");
            }
        }
        assert_eq!(Username::parse(&"a".repeat(USERNAME_LENGTH_MAX + 1)), None);
    }

    #[test]
    fn a_stored_name_is_taken_in_its_mapped_form_only() {
        for stored in ["alice", "juliet@example.com", "\u{e9}ve"] {
            assert_eq!(
                Username::try_from(stored.to_owned()).map(|name| name.0),
                Ok(stored.to_owned())
            );
        }
        for other in ["", "Alice", "e\u{301}ve", "a b", "\u{ff21}lice"] {
            assert!(Username::try_from(other.to_owned()).is_err(), "{other:?}");
        }
    }

    /// A name with white space of Unicode is refused, wherever that stands. Characters that are invisible but no white
    /// space are not reported as blanks. [W-32]
    #[test]
    fn blanks_around_a_name_are_seen() {
        for blank in ('\0'..=char::MAX).filter(|character| character.is_whitespace()) {
            for name in [format!("alice{blank}"), format!("{blank}alice"), format!("al{blank}ice")]
            {
                assert_eq!(Username::parse(&name), None, "{name:?}");
                assert_eq!(has_outer_blank(&name), name.trim() != name, "{name:?}");
            }
        }
        for other in ["", "alice", "alice\u{200b}", "\u{feff}alice"] {
            assert!(!has_outer_blank(other), "{other:?}");
        }
    }

    /// A name whose mapping would take quadratic time is refused before. No name that a user can have is.
    #[test]
    fn the_cost_of_a_name_is_bounded_before_it_is_mapped() {
        // Ten million characters: in quadratic time they would take days.
        for dear in ["\u{30fb}", "\u{ff65}", "\u{660}", "\u{200d}", "a", "a\u{301}"] {
            assert_eq!(Username::parse(&format!("\u{304b}{}", dear.repeat(10_000_000))), None);
        }
        for (presented, count, mapped) in [
            // These shrink most: from seven octets to two, and from three to one.
            ("\u{ff35}\u{308}\u{304}", 128, "\u{1d6}"),
            ("\u{ff2b}", 256, "k"),
            // These have the most contextual rules.
            ("\u{627}\u{660}", 64, "\u{627}\u{660}"),
            ("\u{30ab}\u{ff65}", 42, "\u{30ab}\u{30fb}"),
        ] {
            let name = Username::parse(&presented.repeat(count));
            assert_eq!(name.map(|name| name.0), Some(mapped.repeat(count)), "{presented:?}");
            assert_eq!(Username::parse(&presented.repeat(count + 1 + count / 80)), None);
        }
    }

    /// RFC 8265 §4.1, §4.2: NFC, other spaces become U+0020, no other mapping, both directions of writing. Empty
    /// passwords and those with control or invisible characters are refused. [W-26] [W-27]
    #[test]
    fn passwords_are_normalised_and_nothing_more() {
        let prepared = |text: &str| {
            prepare_password(&Secret::new(text.to_owned())).map(|secret| secret.expose().to_owned())
        };
        for (presented, mapped) in [
            ("e\u{301}", "\u{e9}"),
            (" a  b ", " a  b "),
            ("a\u{a0}\u{3000}b", "a  b"),
            ("Secret", "Secret"),
            ("\u{fb01}\u{ff21}", "\u{fb01}\u{ff21}"),
            ("\u{5e9}\u{5dc}\u{5d5}\u{5dd}", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}"),
        ] {
            assert_eq!(prepared(presented), Some(mapped.to_owned()));
        }
        for refused in ["", "a\tb", "a\u{200b}b", "a\u{387}b"] {
            assert_eq!(prepared(refused), None, "{refused:?}");
        }
    }
}
