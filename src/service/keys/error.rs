//! Why something about keys cannot be done.

use std::error::Error;
use std::sync::Arc;

use jeton_crypto::imported_key::ImportError;
use jeton_crypto::sealing::SealingError;
use jeton_crypto::signing::SigningKeyError;
use jeton_store::StoreError;

/// Something about keys cannot be done: a sentence that says what is wrong and what to do. Nobody decides by what it
/// was, so it is of one kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct KeyError {
    sentence: String,
    /// What it was found by, if that was an error.
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl KeyError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }

    /// This sentence, because of an error.
    pub(super) fn because(sentence: String, source: impl Error + Send + Sync + 'static) -> Self {
        Self { sentence, source: Some(Arc::new(source)) }
    }

    /// The same with more behind it.
    pub(super) fn and(mut self, more: &str) -> Self {
        self.sentence.push_str("; ");
        self.sentence.push_str(more);
        self
    }
}

/// For errors whose text says already what is to be done.
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
