//! Why a command failed: the exit code for scripts, a code for programs, and a sentence for a person.
//!
//! [`Kind`] is the one table of all of them; `docs/command-line.md` shows it.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use super::printable::printable_json;
use jeton_crypto::key_lifecycle::RotationTooShort;
use jeton_crypto::password::HashingError;
use jeton_crypto::password_policy::WeakPassword;
use jeton_crypto::sealing::SealingError;
use jeton_crypto::signing::PemError;
use jeton_doctor::CannotBegin;
use jeton_http::tls::TlsError;
use jeton_oauth::Invalid;
use jeton_service::keys::{KeyError, KeyProblem};
use jeton_store::migration::MigrationError;
use jeton_store::{OpenError, StoreError};

/// What a program can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing without a person, who reads the sentence.
    Failed,
    /// Give other arguments.
    Usage,
    /// Name something that is there.
    NotFound,
    /// Choose another name, or look again at what has changed meanwhile.
    Conflict,
    /// Choose what the rules allow, such as a longer password.
    Refused,
    /// Try again later.
    Unavailable,
}

impl Kind {
    /// All kinds, by their exit codes.
    pub const ALL: [Self; 6] = [
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
        Self::Refused,
        Self::Unavailable,
    ];

    /// The exit code, which stays what it is in later versions.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Refused => 5,
            Self::Unavailable => 6,
        }
    }

    /// The `error` that is printed with `--json`, which stays what it is in later versions.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A command that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    sentence: String,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Printed<'a> {
    error: &'static str,
    message: &'a str,
}

impl Failure {
    /// A failure that no other kind describes.
    pub fn failed(sentence: impl Into<String>) -> Self {
        Self::of(Kind::Failed, sentence)
    }

    /// Arguments that make no sense.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::of(Kind::Usage, sentence)
    }

    /// Something that was named is not there.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self::of(Kind::NotFound, sentence)
    }

    /// Something is there already, or has changed meanwhile.
    pub fn conflict(sentence: impl Into<String>) -> Self {
        Self::of(Kind::Conflict, sentence)
    }

    /// A rule forbids it.
    pub fn refused(sentence: impl Into<String>) -> Self {
        Self::of(Kind::Refused, sentence)
    }

    /// It cannot be done now.
    pub fn unavailable(sentence: impl Into<String>) -> Self {
        Self::of(Kind::Unavailable, sentence)
    }

    fn of(kind: Kind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// The same failure in other words, which are made of those that it had.
    #[must_use]
    pub fn reworded(self, reword: impl FnOnce(&str) -> String) -> Self {
        Self { sentence: reword(&self.sentence), kind: self.kind }
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }

    /// What is printed: a sentence, or an object of JSON in one line.
    #[must_use]
    pub fn text(&self, json: bool) -> String {
        if !json {
            return format!("error: {}", self.sentence);
        }
        let printed = Printed { error: self.kind.code(), message: &self.sentence };
        printable_json(&serde_json::to_string(&printed).expect("texts are JSON"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence)
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::failed(sentence)
    }
}

impl From<&str> for Failure {
    fn from(sentence: &str) -> Self {
        Self::failed(sentence)
    }
}

/// Of what kind an error is whose text is a sentence for a person.
trait OfKind: fmt::Display {
    fn kind(&self) -> Kind;
}

impl OfKind for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable(_) | Self::Closed => Kind::Unavailable,
            Self::Conflict(_) | Self::SealingChanged => Kind::Conflict,
            Self::Outdated
            | Self::Corrupt(_)
            | Self::Refused(_)
            | Self::NoTable(_)
            | Self::Forbidden(_) => Kind::Failed,
        }
    }
}

impl OfKind for OpenError {
    fn kind(&self) -> Kind {
        if self.is_unavailable() { Kind::Unavailable } else { Kind::Failed }
    }
}

impl OfKind for MigrationError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) | Self::Interrupted { source: error, .. } => error.kind(),
            Self::Unreadable(_)
            | Self::TooNew { .. }
            | Self::Missing { .. }
            | Self::OtherText { .. } => Kind::Failed,
        }
    }
}

impl OfKind for KeyError {
    fn kind(&self) -> Kind {
        match self.problem() {
            KeyProblem::NotFound => Kind::NotFound,
            KeyProblem::Conflict => Kind::Conflict,
            KeyProblem::Unavailable => Kind::Unavailable,
            KeyProblem::Other => Kind::Failed,
        }
    }
}

/// Declares of which kind all errors of a type are.
macro_rules! kinds {
    ($($error:ty => $kind:ident),+ $(,)?) => {
        $(impl OfKind for $error {
            fn kind(&self) -> Kind {
                Kind::$kind
            }
        })+
    };
}

kinds!(
    CannotBegin => Failed,
    HashingError => Failed,
    Invalid => Usage,
    PemError => Failed,
    RotationTooShort => Usage,
    SealingError => Failed,
    TlsError => Failed,
    WeakPassword => Refused,
);

macro_rules! failures {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(error.kind(), error.to_string())
            }
        })+
    };
}

failures!(
    CannotBegin,
    HashingError,
    Invalid,
    KeyError,
    MigrationError,
    OpenError,
    PemError,
    RotationTooShort,
    SealingError,
    StoreError,
    TlsError,
    WeakPassword,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_failures_apart() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.exit_code()), index + 1);
            let serialized = serde_json::to_value(kind).expect("JSON");
            assert_eq!(serialized, kind.code());
        }
    }

    #[test]
    fn a_failure_is_a_sentence_or_json_in_one_line() {
        let failure = Failure::not_found("there is no \"ghost\"\nhere");
        assert_eq!(failure.text(false), "error: there is no \"ghost\"\nhere");
        let json = failure.text(true);
        assert_eq!(json, r#"{"error":"not_found","message":"there is no \"ghost\"\nhere"}"#);
    }
}
