//! The error of values that are read from text.

use std::borrow::Cow;

use thiserror::Error;

/// A text is no value of its type, or values do not fit together. It is a sentence that says what would be right, as
/// the command line prints it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// A value that is refused with this sentence.
    #[must_use]
    pub fn new(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self(sentence.into())
    }
}
