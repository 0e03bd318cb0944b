//! The error of values that are read from text.

use std::borrow::Cow;

use thiserror::Error;

/// The text is not a value of its type, or values do not fit together. The error is a sentence that says what would be
/// right; the command line prints it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// An error with this sentence.
    #[must_use]
    pub fn new(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self(sentence.into())
    }
}
