//! Values that must never be seen: passwords, client secrets, tokens.
//!
//! The type only keeps a value out of logs and out of freed memory. How a secret is checked is
//! `crypto`'s business.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A secret text. It is wiped when dropped, and its `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into custody; the same allocation is wiped later.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Shows the text. Every use of this method is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// Octets with secrets among them, shared. The last to hold them wipes them, and `Debug` shows nothing of
/// them.
#[derive(Clone)]
pub struct SecretOctets(Arc<Zeroizing<Vec<u8>>>);

impl SecretOctets {
    /// Takes octets into custody; the same allocation is wiped later.
    #[must_use]
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(octets))
    }

    /// Shows the octets. Every use of this method is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretOctets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let secret = Secret::new("correct horse".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
        let octets = SecretOctets::new(Zeroizing::new(vec![1, 2, 3]));
        assert_eq!(format!("{octets:?} {:?}", Some(octets.clone())), "[redacted] Some([redacted])");
    }
}
