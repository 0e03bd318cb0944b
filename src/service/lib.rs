//! What each endpoint and grant does, in steps that can be read beside the RFC. Start at [`token`].
//!
//! This package must never know HTTP or SQL: its manifest has no crate for either. `jeton-http` hands an endpoint the
//! request and turns its answer, or its [`Refusal`], into a response.

pub mod agreed_clock;
pub mod hash_sealing;
pub mod housekeeping;
pub mod incident;
pub mod introspection;
pub mod keys;
pub mod metadata;
pub mod present_password;
pub mod readiness;
pub mod replicas;
pub mod revocation;
pub mod stored_hashes;
pub mod throttle;
pub mod token;

use incident::Incident;
use jeton_crypto::hashing_pool::NotVerified;
use jeton_oauth::throttle::Counted;
use jeton_oauth::{ClientId, Reason, Seconds, Secret, SecretOctets, SessionId, UserId};
use jeton_runtime::caller::CallerConnection;
use jeton_store::StoreError;
use throttle::origin::Source;

/// A form that was posted, without what only HTTP needs.
#[derive(Debug)]
pub struct FormRequest {
    /// The lines of the header `Authorization`.
    pub authorization: Vec<Secret>,
    /// The content, not yet decoded.
    pub content: SecretOctets,
    /// Tells whether the caller is still connected.
    pub caller: CallerConnection,
    /// The addresses that the request came from.
    pub source: Source,
}

/// Why a request gets no answer. Each variant has one status code; see `http/reply.rs`.
#[derive(Debug)]
pub enum Refusal {
    /// The request breaks a rule of the protocol: an OAuth error (RFC 6749 §5.2).
    Protocol(Reason),
    /// The caller has authenticated and may not use this endpoint: 403.
    Forbidden(Reason),
    /// There were too many failures: 429.
    Throttled {
        /// Which failures were too many.
        counted: Counted,
        /// For `Retry-After`.
        retry_after: Seconds,
    },
    /// The request cannot be decided now: 503.
    Unavailable {
        /// For `Retry-After`.
        retry_after: Seconds,
        /// The cause, for the log.
        detail: String,
    },
    /// A defect, or damaged data: 500. The text is for the log.
    Fault(String),
}

impl Refusal {
    /// The stable word for logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Protocol(reason) | Self::Forbidden(reason) => reason.label(),
            Self::Throttled { counted, .. } => match counted {
                Counted::Account | Counted::AccountAtOrigin => "throttled_account",
                Counted::Codes | Counted::CodesAtOrigin => "throttled_code",
                Counted::Origin => "throttled_origin",
                Counted::Neighbours => "throttled_neighbours",
                Counted::UnknownCallers => "throttled_strangers",
                Counted::ClientSecrets => "throttled_client_secrets",
                Counted::Revocations => "throttled_revocations",
            },
            Self::Unavailable { .. } => "unavailable",
            Self::Fault(_) => "fault",
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Protocol(reason)
    }
}

/// When to ask again while the database takes no changes, because it is copied or was, or because a newer program has
/// changed its tables.
const CLOSED_RETRY_AFTER: Seconds = Seconds::new(10);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                Self::Unavailable { retry_after: Seconds::new(1), detail: error.to_string() }
            }
            StoreError::Closed | StoreError::Outdated => {
                Self::Unavailable { retry_after: CLOSED_RETRY_AFTER, detail: error.to_string() }
            }
            StoreError::Corrupt(_)
            | StoreError::Conflict(_)
            | StoreError::SealingChanged
            | StoreError::Refused(_)
            | StoreError::NoTable(_)
            | StoreError::Forbidden(_) => Self::Fault(error.to_string()),
        }
    }
}

impl From<NotVerified> for Refusal {
    fn from(why: NotVerified) -> Self {
        match why {
            NotVerified::Overloaded { retry_after } => Self::Unavailable {
                retry_after,
                detail: "the hashing queue is longer than --login-deadline".to_owned(),
            },
            NotVerified::CallerGone => Self::Unavailable {
                retry_after: Seconds::new(1),
                detail: "the caller hung up before its password was hashed".to_owned(),
            },
            NotVerified::Failed => Self::Fault("a hashing thread panicked".to_owned()),
        }
    }
}

/// What the steps of a request found out about it, for its audit event.
#[derive(Clone, Debug, Default)]
pub struct AuditContext {
    /// The client, once it is known to exist.
    pub client: Option<ClientId>,
    /// The user, once it is known to exist. An unknown name may be a mistyped password, so it is never recorded.
    pub user: Option<UserId>,
    /// The session, once it is known to exist or to have existed.
    pub session: Option<SessionId>,
    /// Sessions that this login ended because the user had too many.
    pub ended: Vec<SessionId>,
    /// What gets an audit event of its own.
    pub incident: Option<Incident>,
    /// The number of the client secret whose hash this request has replaced by a digest.
    pub replaced_secret: Option<i64>,
    /// The grant, once its type is known.
    pub grant: Option<&'static str>,
    /// The second factor that a login used: the id of the authenticator, or `recovery_code`.
    pub second_factor: Option<String>,
    /// For a retry: how long ago the presented refresh token was exchanged.
    pub retried_after: Option<Seconds>,
    /// Whether the client is registered to send its end users' addresses and did not send one.
    pub unnamed_end_user: bool,
    /// Whether a genuine token names a session that has no row, or whose user or client is disabled.
    pub unknown_session: bool,
}
