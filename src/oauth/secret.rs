//! Values that nobody may see: passwords, client secrets, tokens. They stay out of logs and freed memory.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A secret text. It is wiped when it is dropped, and `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text; its allocation is wiped on drop.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. In a review, look at every use of this method.
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

/// Shared octets that contain secrets. The last owner wipes them on drop, and `Debug` does not show them.
#[derive(Clone)]
pub struct SecretOctets(Arc<Zeroizing<Vec<u8>>>);

impl SecretOctets {
    /// Takes the octets; their allocation is wiped on drop.
    #[must_use]
    pub fn new(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(octets))
    }

    /// The octets. In a review, look at every use of this method.
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
