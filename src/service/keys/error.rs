use std::error::Error;
use std::sync::Arc;

use jeton_crypto::imported_key::ImportError;
use jeton_crypto::sealing::SealingError;
use jeton_crypto::signing::SigningKeyError;
use jeton_store::StoreError;

/// A sentence that says what about keys is wrong and what to do. No code decides by its cause, so there is one kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct KeyError {
    sentence: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl KeyError {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }

    /// A sentence that explains an error.
    pub(super) fn because(sentence: String, source: impl Error + Send + Sync + 'static) -> Self {
        Self { sentence, source: Some(Arc::new(source)) }
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

causes!(ImportError, SealingError, SigningKeyError, StoreError);
