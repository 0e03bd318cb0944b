//! The longest lives of what is issued, wherever they are set.

use crate::Seconds;

/// The longest life of an access token (RFC 6750 §5.3).
pub const ACCESS_TOKEN_LIFETIME_MAX: Seconds = Seconds::new(3_600);

/// The longest life of a session.
pub const SESSION_LIFETIME_MAX: Seconds = Seconds::new(365 * 86_400);
