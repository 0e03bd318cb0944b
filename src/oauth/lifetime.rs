//! The upper limits of all lifetimes, wherever they are set.

use crate::Seconds;

/// The longest lifetime of an access token (RFC 6750 §5.3).
pub const ACCESS_TOKEN_LIFETIME_MAX: Seconds = Seconds::new(3_600);

/// The longest lifetime of a session.
pub const SESSION_LIFETIME_MAX: Seconds = Seconds::new(365 * 86_400);
