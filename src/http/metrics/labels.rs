//! What is counted by what. No label names a user, an address or a token.

use prometheus_client::encoding::EncodeLabelSet;

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's name.
    pub route: &'static str,
    /// The status of the response.
    pub status: u16,
}

/// What the time is measured by that requests take.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route's name; `none` for paths that there are not.
    pub route: &'static str,
}

/// What a token request is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// The grant, or `none` if it never came to one.
    pub grant: &'static str,
    /// `issued`, `retried` for a refresh token that was answered again, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What a revocation or an introspection is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `revoked` or `nothing`, `active` or `inactive`, or the reason of the refusal.
    pub outcome: &'static str,
}

/// What refresh tokens are counted by that came again after they were exchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReuseLabels {
    /// How many exchanges the token was behind: `1`, `2` or `3_or_more`.
    pub behind: &'static str,
    /// `ended` if its session was, or `withheld`.
    pub verdict: &'static str,
}

/// What genuine tokens of unknown sessions are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EndpointLabels {
    /// `token` or `introspection`.
    pub endpoint: &'static str,
}

/// What requests are counted by whose caller or end user was not named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UnnamedLabels {
    /// `missing` or `unreadable`, of `X-Forwarded-For` from a trusted proxy; or `no_end_user`, of a client
    /// that was registered to name its end users.
    pub why: &'static str,
}
