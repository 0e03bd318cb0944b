//! The rules for a new password (NIST SP 800-63B-4 §3.1.1.2): it must be long enough, and not one that everyone tries
//! first. They are checked when a password is set, never at login.

use thiserror::Error;
use zxcvbn::matching::patterns::MatchPattern;

use jeton_oauth::Secret;

/// The minimum length of a password that is the only factor, in code points.
pub const LENGTH_MIN: usize = 15;
/// The minimum length in code points if the operator allows short passwords.
pub const SHORT_LENGTH_MIN: usize = 8;
/// The maximum length, in octets of UTF-8.
const OCTETS_MAX: usize = 1_024;

/// Why a new password is refused, and what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WeakPassword {
    /// It has fewer characters than this.
    #[error(
        "the password is too short: use at least {0} characters, for example a few words that belong \
         together for nobody but you"
    )]
    TooShort(usize),
    /// It is too long.
    #[error("the password is longer than {OCTETS_MAX} octets")]
    TooLong,
    /// It consists of names that are easy to guess.
    #[error(
        "the password is made of the user's or the service's name: use one that others would not try \
         first"
    )]
    Name,
    /// It is in a dictionary, or as simple as an entry of one.
    #[error("the password is on the list of those that are tried first: use another one")]
    Listed,
}

/// Checks a new password of this user. It must be normalised already.
///
/// # Errors
/// [`WeakPassword`], a sentence that says what is wrong and what would be right.
pub fn check(password: &Secret, username: &str, allow_short: bool) -> Result<(), WeakPassword> {
    let text = password.expose();
    let least = if allow_short { SHORT_LENGTH_MIN } else { LENGTH_MIN };
    if text.chars().count() < least {
        return Err(WeakPassword::TooShort(least));
    }
    if text.len() > OCTETS_MAX {
        return Err(WeakPassword::TooLong);
    }
    let lower = text.to_lowercase();
    if lower == username.to_lowercase() || is_repetition(&lower, &[username, "jeton"]) {
        return Err(WeakPassword::Name);
    }
    if is_listed(text) {
        return Err(WeakPassword::Listed);
    }
    Ok(())
}

/// Whether the text only repeats one of these words.
fn is_repetition(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| !word.is_empty() && text.replace(&word.to_lowercase(), "").is_empty())
}

/// Whether the password is one entry of a dictionary of zxcvbn, a repeated entry or ASCII character, or one run along
/// the keyboard or the alphabet.
fn is_listed(password: &str) -> bool {
    let estimate = zxcvbn::zxcvbn(password, &[]);
    match estimate.sequence() {
        [whole] => match &whole.pattern {
            MatchPattern::Dictionary(entry) => !entry.reversed && !entry.l33t,
            MatchPattern::Repeat(of) => of.base_token.len() == 1 || is_listed(&of.base_token),
            MatchPattern::Sequence(_) => true,
            MatchPattern::Spatial(run) => run.turns <= 1,
            MatchPattern::Regex(_) | MatchPattern::Date(_) | MatchPattern::BruteForce => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(password: &str) -> bool {
        check(&Secret::new(password.to_owned()), "johndoe", false).is_ok()
    }

    #[test]
    fn long_and_unlisted_passwords_are_accepted() {
        // [W-15] [W-16] [W-17] [W-18]
        for good in [
            "tuesdayfernlamp",
            "correct horse battery",
            "the password is not this",
            &"\u{1f511}".repeat(15),
            &"quill lamp tern 5 ".repeat(7),
        ] {
            assert!(outcome(good), "{good}");
        }
    }

    #[test]
    fn short_and_listed_passwords_are_refused() {
        for bad in [
            "tuesdayfernlam",
            &"\u{1f511}".repeat(14),
            "aaaaaaaaaaaaaaaa",
            "passwordpassword",
            "abcdefghijklmnop",
            "johndoejohndoejohndoe",
            "jetonjetonjeton",
            "1qaz2wsx3edc4rfv",
            "",
        ] {
            assert!(!outcome(bad), "{bad}");
        }
        let short = Secret::new("password1".to_owned());
        assert!(check(&short, "johndoe", true).is_err());
        assert!(check(&Secret::new("ferny lamp".to_owned()), "johndoe", true).is_ok());
    }
}
