//! What each endpoint does, as steps that can be read beside the RFC. Start at [`token`].
//!
//! An endpoint holds only what it needs and knows neither HTTP nor SQL: the manifest has no crate for either.
//! `jeton-http` hands it what was sent and turns its answer, or its [`Refusal`], into a response.

pub mod agreed_clock;
pub mod housekeeping;
pub mod incident;
pub mod introspection;
pub mod keys;
pub mod metadata;
pub mod present_password;
pub mod readiness;
pub mod replicas;
pub mod revocation;
pub mod throttle;
pub mod token;

use incident::Incident;
use jeton_crypto::hashing_pool::NotVerified;
use jeton_oauth::throttle::Counted;
use jeton_oauth::{ClientId, Reason, Seconds, Secret, SecretOctets, SessionId, UserId};
use jeton_runtime::caller::CallerConnection;
use jeton_store::StoreError;
use throttle::origin::Source;

/// A form that was posted, as far as an endpoint may know it.
#[derive(Debug)]
pub struct FormRequest {
    /// The `Authorization` field lines.
    pub authorization: Vec<Secret>,
    /// The content.
    pub content: SecretOctets,
    /// Whether anyone still waits for the answer.
    pub caller: CallerConnection,
    /// Where it came from.
    pub source: Source,
}

/// Why there is no answer. Each variant has one status; see `http/reply.rs`.
#[derive(Debug)]
pub enum Refusal {
    /// The protocol forbids it: an OAuth error.
    Protocol(Reason),
    /// The caller is known and may not do this at all: 403.
    Forbidden(Reason),
    /// Too many failures: 429.
    Throttled {
        /// Of what there were too many.
        counted: Counted,
        /// When to come back.
        retry_after: Seconds,
    },
    /// It cannot be decided now: 503.
    Unavailable {
        /// When to come back.
        retry_after: Seconds,
        /// For the log.
        detail: String,
    },
    /// It should not have happened: 500. The text is for the log.
    Fault(String),
}

impl Refusal {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Protocol(reason) | Self::Forbidden(reason) => reason.label(),
            Self::Throttled { counted, .. } => match counted {
                Counted::Account | Counted::AccountAtOrigin => "throttled_account",
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

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                Self::Unavailable { retry_after: Seconds::new(1), detail: error.to_string() }
            }
            StoreError::Corrupt(_)
            | StoreError::Conflict(_)
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

/// Who took part in a request, noted step by step for the log.
#[derive(Clone, Debug, Default)]
pub struct AuditContext {
    /// The client, once it is known to exist.
    pub client: Option<ClientId>,
    /// The user, once it is known to exist. A name that no user has may be a mistyped password,
    /// so it is never noted.
    pub user: Option<UserId>,
    /// The session, once it is known to be or to have been one.
    pub session: Option<SessionId>,
    /// Sessions that were ended to make room for this one.
    pub ended: Vec<SessionId>,
    /// Something that deserves an event of its own.
    pub incident: Option<Incident>,
    /// The grant, once it is known to be one.
    pub grant: Option<&'static str>,
    /// How long ago the refresh token was exchanged that is answered again.
    pub retried_after: Option<Seconds>,
    /// Whether a client that was registered to name its end users did not name this one.
    pub unnamed_end_user: bool,
    /// Whether a genuine token names a session that has no row, or whose user or client is disabled.
    pub unknown_session: bool,
}
