use std::error::Error;
use std::sync::Arc;

use jeton_crypto::imported_key::ImportError;
use jeton_crypto::sealing::SealingError;
use jeton_crypto::signing::SigningKeyError;
use jeton_store::StoreError;

/// The kind of an error, by which a program can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyProblem {
    /// Name a key that is there.
    NotFound,
    /// Look again: something is so already, or has changed meanwhile.
    Conflict,
    /// Try again later: the database does not answer.
    Unavailable,
    /// Nothing without a person.
    Other,
}

/// Something about keys cannot be done: a sentence that says what is wrong and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct KeyError {
    problem: KeyProblem,
    sentence: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl KeyError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { problem: KeyProblem::Other, sentence: sentence.into(), source: None }
    }

    pub(super) fn not_found(sentence: impl Into<String>) -> Self {
        Self { problem: KeyProblem::NotFound, ..Self::new(sentence) }
    }

    pub(crate) fn conflict(sentence: impl Into<String>) -> Self {
        Self { problem: KeyProblem::Conflict, ..Self::new(sentence) }
    }

    /// A sentence that explains an error.
    pub(super) fn because(sentence: String, source: impl Error + Send + Sync + 'static) -> Self {
        Self { problem: KeyProblem::Other, sentence, source: Some(Arc::new(source)) }
    }

    /// What can be done about it.
    #[must_use]
    pub fn problem(&self) -> KeyProblem {
        self.problem
    }

    /// Appends a clause.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.sentence.push_str("; ");
        self.sentence.push_str(more);
        self
    }
}

/// For errors whose text already says what to do.
macro_rules! causes {
    ($($error:ty),+) => {
        $(impl From<$error> for KeyError {
            fn from(error: $error) -> Self {
                Self::because(error.to_string(), error)
            }
        })+
    };
}

causes!(ImportError, SealingError, SigningKeyError);

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        let problem = match error {
            StoreError::Unavailable(_) | StoreError::Closed => KeyProblem::Unavailable,
            StoreError::Conflict(_) | StoreError::SealingChanged => KeyProblem::Conflict,
            StoreError::Outdated
            | StoreError::Corrupt(_)
            | StoreError::Refused(_)
            | StoreError::NoTable(_)
            | StoreError::Forbidden(_) => KeyProblem::Other,
        };
        Self { problem, ..Self::because(error.to_string(), error) }
    }
}
