//! Why a request is refused, and what the caller may know of it.
//!
//! Three total matches decide every refusal: [`Reason`] → [`ErrorCode`] → status (in
//! `http/reply.rs`), and [`Reason`] → description. Nothing is chosen where the refusal happens.

use std::borrow::Cow;

use super::parameters::Parameter;

/// Why a request was refused: for the log and the metrics, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The content is not `application/x-www-form-urlencoded`.
    UnsupportedMediaType,
    /// The content is compressed or otherwise encoded.
    EncodedContent,
    /// The form has a broken percent escape, or octets that are not UTF-8.
    MalformedForm,
    /// The form has more pairs than any honest request.
    TooManyParameters,
    /// A required parameter is absent or empty.
    MissingParameter(Parameter),
    /// A parameter occurs more than once.
    RepeatedParameter(Parameter),
    /// A parameter has characters outside its grammar (RFC 6749 Appendix A).
    MalformedParameter(Parameter),
    /// A parameter is longer than its documented maximum.
    OverlongParameter(Parameter),
    /// The client used more than one way to authenticate.
    SeveralClientCredentials,
    /// The body names another client than the `Authorization` header.
    ContradictoryClientId,

    /// No client is named, and there is no default client.
    NoClient,
    /// The `Authorization` header is not well-formed Basic.
    MalformedClientCredentials,
    /// A scheme other than Basic, or a client assertion.
    UnsupportedClientAuthentication,
    /// There is no such client.
    UnknownClient,
    /// The secret is none of the client's live ones.
    WrongClientSecret,
    /// A confidential client did not present a secret.
    MissingClientSecret,
    /// A public client presented a secret.
    UnexpectedClientSecret,
    /// The client is registered for another authentication method.
    WrongClientAuthenticationMethod,
    /// The client is disabled.
    DisabledClient,

    /// There is no such user.
    UnknownUser,
    /// There can be no such user: the name begins or ends with a blank.
    BlankInUsername,
    /// The password is wrong.
    WrongPassword,
    /// The user is disabled.
    DisabledUser,
    /// The user must use a second factor, which this grant cannot carry.
    SecondFactorRequired,
    /// The account had too many failures lately.
    ThrottledAccount,
    /// The account had so many failures in a row that only origins which it knows are served.
    LockedAccount,
    /// The stored hash cannot be used: damaged, or dearer than this process may compute.
    UnusablePasswordHash,
    /// User or client changed while the password was being verified.
    ChangedMeanwhile,
    /// The refresh token is none that this service made.
    ForgedRefreshToken,
    /// There is no such session: it was ended, its user or client is disabled, or the database lost it.
    UnknownSession,
    /// The session is there, and its time is over.
    ExpiredSession,
    /// The refresh token belongs to another client.
    ForeignRefreshToken,
    /// The refresh token was exchanged before: its session was ended.
    RefreshTokenReused,
    /// The same, and its session was not ended, because a delay may explain it.
    ReuseWithheld,

    /// The client may not use this grant.
    GrantNotAllowed,
    /// The client may not introspect.
    IntrospectionNotAllowed,
    /// The grant is one that this service does not have.
    UnsupportedGrantType,

    /// The scope is not a list of scope tokens separated by single spaces.
    MalformedScope,
    /// The client may not have all of the scope.
    ScopeNotAllowedForClient,
    /// The user may not have all of the scope.
    ScopeNotAllowedForUser,
    /// The session was not granted all of the scope.
    ScopeNotGranted,
    /// No scope was asked for and the client has no default.
    NoDefaultScope,
    /// The scope belongs to different audiences, so a token for it would be ambiguous.
    AmbiguousScope,
    /// Nothing remains to be granted.
    EmptyScope,

    /// A resource is not an absolute URI without fragment.
    MalformedResource,
    /// A resource is not one of the client's audiences.
    ResourceNotAllowed,
    /// A resource is not one that the session was granted.
    ResourceNotGranted,

    /// A browser page of a foreign origin sent the request.
    ForeignOrigin,
}

/// The error codes of RFC 6749 §5.2, and RFC 8707's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// Client authentication failed.
    InvalidClient,
    /// The resource owner's credentials are not valid.
    InvalidGrant,
    /// The client may not do this.
    UnauthorizedClient,
    /// This service does not have the grant.
    UnsupportedGrantType,
    /// The scope is malformed, unknown or excessive.
    InvalidScope,
    /// The resource is malformed or unknown (RFC 8707 §2).
    InvalidTarget,
}

impl Reason {
    /// The code that the caller sees.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::UnsupportedMediaType
            | Self::EncodedContent
            | Self::MalformedForm
            | Self::TooManyParameters
            | Self::MissingParameter(_)
            | Self::RepeatedParameter(_)
            | Self::MalformedParameter(_)
            | Self::OverlongParameter(_)
            | Self::SeveralClientCredentials
            | Self::ContradictoryClientId
            | Self::ForeignOrigin => ErrorCode::InvalidRequest,
            Self::NoClient
            | Self::MalformedClientCredentials
            | Self::UnsupportedClientAuthentication
            | Self::UnknownClient
            | Self::WrongClientSecret
            | Self::MissingClientSecret
            | Self::UnexpectedClientSecret
            | Self::WrongClientAuthenticationMethod
            | Self::DisabledClient => ErrorCode::InvalidClient,
            Self::UnknownUser
            | Self::BlankInUsername
            | Self::WrongPassword
            | Self::DisabledUser
            | Self::SecondFactorRequired
            | Self::ThrottledAccount
            | Self::LockedAccount
            | Self::UnusablePasswordHash
            | Self::ChangedMeanwhile
            | Self::ForgedRefreshToken
            | Self::UnknownSession
            | Self::ExpiredSession
            | Self::ForeignRefreshToken
            | Self::RefreshTokenReused
            | Self::ReuseWithheld => ErrorCode::InvalidGrant,
            Self::GrantNotAllowed | Self::IntrospectionNotAllowed => ErrorCode::UnauthorizedClient,
            Self::UnsupportedGrantType => ErrorCode::UnsupportedGrantType,
            Self::MalformedScope
            | Self::ScopeNotAllowedForClient
            | Self::ScopeNotAllowedForUser
            | Self::ScopeNotGranted
            | Self::NoDefaultScope
            | Self::AmbiguousScope
            | Self::EmptyScope => ErrorCode::InvalidScope,
            Self::MalformedResource | Self::ResourceNotAllowed | Self::ResourceNotGranted => {
                ErrorCode::InvalidTarget
            }
        }
    }

    /// What the caller is told. Only `invalid_request` says more than its code: it speaks of the
    /// request alone, never of what is stored. The text is ASCII without `"` and `\`
    /// (RFC 6749 Appendix A.8) and repeats no input.
    #[must_use]
    pub fn description(self) -> Cow<'static, str> {
        match self {
            Self::UnsupportedMediaType => {
                "The content must be sent as application/x-www-form-urlencoded.".into()
            }
            Self::EncodedContent => "The content must be sent without a Content-Encoding.".into(),
            Self::MalformedForm => {
                "The form has a broken percent escape, or octets that are not UTF-8.".into()
            }
            Self::TooManyParameters => "The form has too many parameters.".into(),
            Self::MissingParameter(parameter) => {
                format!("The parameter {parameter} is missing or empty.").into()
            }
            Self::RepeatedParameter(parameter) => {
                format!("The parameter {parameter} occurs more than once.").into()
            }
            Self::MalformedParameter(parameter) => {
                format!("The parameter {parameter} has characters that are not allowed.").into()
            }
            Self::OverlongParameter(parameter) => {
                format!("The parameter {parameter} is too long.").into()
            }
            Self::SeveralClientCredentials => {
                "The client must authenticate in exactly one way.".into()
            }
            Self::ContradictoryClientId => {
                "The client_id of the form is not the one of the Authorization header.".into()
            }
            // It says nothing that the caller does not know, and is the commonest first mistake.
            Self::NoClient => "No client was named: send client_id.".into(),
            Self::ForeignOrigin => "Requests from this origin are not accepted.".into(),
            _ => self.code().description().into(),
        }
    }

    /// A stable word for logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::EncodedContent => "encoded_content",
            Self::MalformedForm => "malformed_form",
            Self::TooManyParameters => "too_many_parameters",
            Self::MissingParameter(_) => "missing_parameter",
            Self::RepeatedParameter(_) => "repeated_parameter",
            Self::MalformedParameter(_) => "malformed_parameter",
            Self::OverlongParameter(_) => "overlong_parameter",
            Self::SeveralClientCredentials => "several_client_credentials",
            Self::ContradictoryClientId => "contradictory_client_id",
            Self::NoClient => "no_client",
            Self::MalformedClientCredentials => "malformed_client_credentials",
            Self::UnsupportedClientAuthentication => "unsupported_client_authentication",
            Self::UnknownClient => "unknown_client",
            Self::WrongClientSecret => "wrong_client_secret",
            Self::MissingClientSecret => "missing_client_secret",
            Self::UnexpectedClientSecret => "unexpected_client_secret",
            Self::WrongClientAuthenticationMethod => "wrong_client_authentication_method",
            Self::DisabledClient => "disabled_client",
            Self::UnknownUser => "unknown_user",
            Self::BlankInUsername => "blank_in_username",
            Self::WrongPassword => "wrong_password",
            Self::DisabledUser => "disabled_user",
            Self::SecondFactorRequired => "second_factor_required",
            Self::ThrottledAccount => "throttled_account",
            Self::LockedAccount => "locked_account",
            Self::UnusablePasswordHash => "unusable_password_hash",
            Self::ChangedMeanwhile => "changed_meanwhile",
            Self::ForgedRefreshToken => "forged_refresh_token",
            Self::UnknownSession => "unknown_session",
            Self::ExpiredSession => "expired_session",
            Self::ForeignRefreshToken => "foreign_refresh_token",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::ReuseWithheld => "reuse_withheld",
            Self::GrantNotAllowed => "grant_not_allowed",
            Self::IntrospectionNotAllowed => "introspection_not_allowed",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::MalformedScope => "malformed_scope",
            Self::ScopeNotAllowedForClient => "scope_not_allowed_for_client",
            Self::ScopeNotAllowedForUser => "scope_not_allowed_for_user",
            Self::ScopeNotGranted => "scope_not_granted",
            Self::NoDefaultScope => "no_default_scope",
            Self::AmbiguousScope => "ambiguous_scope",
            Self::EmptyScope => "empty_scope",
            Self::MalformedResource => "malformed_resource",
            Self::ResourceNotAllowed => "resource_not_allowed",
            Self::ResourceNotGranted => "resource_not_granted",
            Self::ForeignOrigin => "foreign_origin",
        }
    }
}

impl ErrorCode {
    /// The value of `error` (RFC 6749 §5.2; RFC 8707 §2).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
        }
    }

    /// The one sentence that goes with the code, whatever the reason behind it: unknown user,
    /// wrong password and disabled user cannot differ on the wire.
    fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed.",
            Self::InvalidClient => "Client authentication failed.",
            Self::InvalidGrant => "The credentials are not valid.",
            Self::UnauthorizedClient => "The client is not allowed to do this.",
            Self::UnsupportedGrantType => "This grant type is not supported.",
            Self::InvalidScope => "The scope is malformed, unknown or not allowed.",
            Self::InvalidTarget => "The resource is malformed, unknown or not allowed.",
        }
    }
}
