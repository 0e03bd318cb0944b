//! Why a request is refused, and what the caller is told.
//!
//! One table gives each [`Reason`] its label, its [`ErrorCode`] and its sentence; `http/reply.rs` maps the code to a
//! status. Where a request is refused, only the reason is chosen.

use std::borrow::Cow;

use super::parameter::Parameter;

/// Declares [`Reason`] from the table below. A row has the reason, its label for logs and metrics, its code, and a
/// sentence if the caller is told more than the code says. In the sentence, `{}` is the name of the parameter.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $(($of:ident))? = $label:literal, $code:ident $(, $sentence:literal)?;)*) => {
        /// Why a request was refused. Logs and metrics show it, the caller does not see it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name $(($of))?,)*
        }

        impl Reason {
            /// A stable word for logs and metrics.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $label,)*
                }
            }

            /// The code that the caller sees.
            #[must_use]
            pub fn code(self) -> ErrorCode {
                match self {
                    $(Self::$name { .. } => ErrorCode::$code,)*
                }
            }

            fn sentence(self) -> Option<&'static str> {
                match self {
                    $($(Self::$name { .. } => Some($sentence),)?)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The content is not `application/x-www-form-urlencoded`.
    UnsupportedMediaType = "unsupported_media_type", InvalidRequest,
        "The content must be sent as application/x-www-form-urlencoded.";
    /// The content is compressed or otherwise encoded.
    EncodedContent = "encoded_content", InvalidRequest,
        "The content must be sent without a Content-Encoding.";
    /// The form has a broken percent escape, or octets that are not UTF-8.
    MalformedForm = "malformed_form", InvalidRequest,
        "The form has a broken percent escape, or octets that are not UTF-8.";
    /// The form has more pairs than any honest request.
    TooManyParameters = "too_many_parameters", InvalidRequest, "The form has too many parameters.";
    /// A required parameter is absent or empty.
    MissingParameter(Parameter) = "missing_parameter", InvalidRequest,
        "The parameter {} is missing or empty.";
    /// A parameter occurs more than once.
    RepeatedParameter(Parameter) = "repeated_parameter", InvalidRequest,
        "The parameter {} occurs more than once.";
    /// A parameter has characters outside its grammar (RFC 6749 Appendix A).
    MalformedParameter(Parameter) = "malformed_parameter", InvalidRequest,
        "The parameter {} has characters that are not allowed.";
    /// A parameter is longer than its documented maximum.
    OverlongParameter(Parameter) = "overlong_parameter", InvalidRequest, "The parameter {} is too long.";
    /// The client used more than one way to authenticate.
    SeveralClientCredentials = "several_client_credentials", InvalidRequest,
        "The client must authenticate in exactly one way.";
    /// The body names another client than the `Authorization` header.
    ContradictoryClientId = "contradictory_client_id", InvalidRequest,
        "The client_id of the form is not the one of the Authorization header.";

    /// No client is named, and there is no default client.
    // The sentence tells the caller nothing new, and this is the commonest first mistake.
    NoClient = "no_client", InvalidClient, "No client was named: send client_id.";
    /// The `Authorization` header is not well-formed Basic.
    MalformedClientCredentials = "malformed_client_credentials", InvalidClient;
    /// A scheme other than Basic, or a client assertion.
    UnsupportedClientAuthentication = "unsupported_client_authentication", InvalidClient;
    /// There is no such client.
    UnknownClient = "unknown_client", InvalidClient;
    /// The secret matches no valid secret of the client.
    WrongClientSecret = "wrong_client_secret", InvalidClient;
    /// The client had too many recent failures, and the secret is none of which the digest is stored.
    ThrottledClient = "throttled_client", InvalidClient;
    /// The client had so many failures in a row that of its hashed secrets none is verified, except at known origins.
    LockedClient = "locked_client", InvalidClient;
    /// The stored hash of the client's secret cannot be used: it is damaged, or costs more than this process may compute.
    UnusableSecretHash = "unusable_secret_hash", InvalidClient;
    /// A confidential client did not present a secret.
    MissingClientSecret = "missing_client_secret", InvalidClient;
    /// A public client presented a secret.
    UnexpectedClientSecret = "unexpected_client_secret", InvalidClient;
    /// The client is registered for another authentication method.
    WrongClientAuthenticationMethod = "wrong_client_authentication_method", InvalidClient;
    /// The client is disabled.
    DisabledClient = "disabled_client", InvalidClient;

    /// There is no such user.
    UnknownUser = "unknown_user", InvalidGrant;
    /// The name begins or ends with a blank, so no user can have it.
    BlankInUsername = "blank_in_username", InvalidGrant;
    /// The password is wrong.
    WrongPassword = "wrong_password", InvalidGrant;
    /// The user is disabled.
    DisabledUser = "disabled_user", InvalidGrant;
    /// User or client asks for a second factor, and the user, or the session, has none.
    SecondFactorRequired = "second_factor_required", InvalidGrant;
    /// The password is right, and no one-time password was sent although the user has an authenticator.
    MissingCode = "missing_code", InvalidGrant;
    /// The same, and the client is registered to be told.
    MfaRequired = "mfa_required", MfaRequired;
    /// The password is right, and the one-time password is wrong.
    WrongCode = "wrong_code", InvalidGrant;
    /// The password is right, and the one-time password is one that was accepted before, or is older.
    UsedCode = "used_code", InvalidGrant;
    /// The password is right, and too many one-time passwords were wrong.
    ThrottledCode = "throttled_code", InvalidGrant;
    /// The password is right, and one that must be changed before it can be used.
    TemporaryPassword = "temporary_password", InvalidGrant;
    /// The account had too many recent failures.
    ThrottledAccount = "throttled_account", InvalidGrant;
    /// The account had so many failures in a row that only known origins are served.
    LockedAccount = "locked_account", InvalidGrant;
    /// The stored hash cannot be used: it is damaged, or costs more than this process may compute.
    UnusablePasswordHash = "unusable_password_hash", InvalidGrant;
    /// User or client changed while the password was verified.
    ChangedMeanwhile = "changed_meanwhile", InvalidGrant;
    /// This service did not make the refresh token.
    ForgedRefreshToken = "forged_refresh_token", InvalidGrant;
    /// The session does not exist: it was ended, its user or client is disabled, or the database lost it.
    UnknownSession = "unknown_session", InvalidGrant;
    /// The session has expired.
    ExpiredSession = "expired_session", InvalidGrant;
    /// The refresh token belongs to another client.
    ForeignRefreshToken = "foreign_refresh_token", InvalidGrant;
    /// The refresh token was exchanged before. The session was ended.
    RefreshTokenReused = "refresh_token_reused", InvalidGrant;
    /// The refresh token was exchanged before. The session goes on, because a delay may explain the reuse.
    ReuseWithheld = "reuse_withheld", InvalidGrant;

    /// The client may not use this grant.
    GrantNotAllowed = "grant_not_allowed", UnauthorizedClient;
    /// The client may not introspect.
    IntrospectionNotAllowed = "introspection_not_allowed", UnauthorizedClient;
    /// This service does not support the grant.
    UnsupportedGrantType = "unsupported_grant_type", UnsupportedGrantType;

    /// The scope is not a list of scope tokens separated by single spaces.
    MalformedScope = "malformed_scope", InvalidScope;
    /// The client may not have all of the scope.
    ScopeNotAllowedForClient = "scope_not_allowed_for_client", InvalidScope;
    /// The user may not have all of the scope.
    ScopeNotAllowedForUser = "scope_not_allowed_for_user", InvalidScope;
    /// Some of the scope needs a second factor, and the user, or the session, has none.
    ScopeNeedsSecondFactor = "scope_needs_second_factor", InvalidScope;
    /// The session was not granted all of the scope.
    ScopeNotGranted = "scope_not_granted", InvalidScope;
    /// No scope was asked for and the client has no default.
    NoDefaultScope = "no_default_scope", InvalidScope;
    /// The scope belongs to different audiences, so a token for it would be ambiguous.
    AmbiguousScope = "ambiguous_scope", InvalidScope;
    /// No scope remains to be granted.
    EmptyScope = "empty_scope", InvalidScope;

    /// A resource is not an absolute URI without fragment.
    MalformedResource = "malformed_resource", InvalidTarget;
    /// A resource is not one of the client's audiences.
    ResourceNotAllowed = "resource_not_allowed", InvalidTarget;
    /// A resource is not one that the session was granted.
    ResourceNotGranted = "resource_not_granted", InvalidTarget;

    /// A browser page of a foreign origin sent the request.
    ForeignOrigin = "foreign_origin", InvalidRequest, "Requests from this origin are not accepted.";
}

/// The error codes of RFC 6749 §5.2 and RFC 8707 §2.
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
    /// This service does not support the grant.
    UnsupportedGrantType,
    /// The scope is malformed, unknown or excessive.
    InvalidScope,
    /// The resource is malformed or unknown (RFC 8707 §2).
    InvalidTarget,
    /// A one-time password is needed: Jeton's own, for clients that are registered to be told.
    MfaRequired,
}

impl Reason {
    /// What the caller is told. Only `invalid_request` and [`Self::NoClient`] say more than the code: they speak of the
    /// request, never of stored data. The text is ASCII without `"` and `\` (RFC 6749 Appendix A.8), and repeats no
    /// input.
    #[must_use]
    pub fn description(self) -> Cow<'static, str> {
        let sentence = self.sentence().unwrap_or_else(|| self.code().description());
        match self {
            Self::MissingParameter(parameter)
            | Self::RepeatedParameter(parameter)
            | Self::MalformedParameter(parameter)
            | Self::OverlongParameter(parameter) => sentence.replace("{}", parameter.name()).into(),
            _ => sentence.into(),
        }
    }
}

impl ErrorCode {
    /// The value of `error` (RFC 6749 §5.2, RFC 8707 §2).
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
            Self::MfaRequired => "mfa_required",
        }
    }

    /// The sentence of the code. So unknown user, wrong password and disabled user cannot differ on the wire.
    fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed.",
            Self::InvalidClient => "Client authentication failed.",
            Self::InvalidGrant => "The credentials are not valid.",
            Self::UnauthorizedClient => "The client is not allowed to do this.",
            Self::UnsupportedGrantType => "This grant type is not supported.",
            Self::InvalidScope => "The scope is malformed, unknown or not allowed.",
            Self::InvalidTarget => "The resource is malformed, unknown or not allowed.",
            Self::MfaRequired => "A one-time password is required: send the same form with otp.",
        }
    }
}
