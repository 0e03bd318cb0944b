//! What becomes of sessions, as the documents say it, in as few words as possible: the model that the
//! service is held against. It knows no tokens, only which session and generation one is of.

/// The client that is public; the other is confidential.
pub(crate) const PUBLIC: usize = 1;
/// A rotated token of the public client is answered again for this long, in seconds; one of the
/// confidential client until its successor is used.
pub(crate) const RETRY_WINDOW: i64 = 120;
/// For so long after the last rotation a token two rotations old is a late tab's.
pub(crate) const LATE_TAB_WINDOW: i64 = 10;
/// An access token lasts this long, if its session does.
pub(crate) const ACCESS_TOKEN_LIFETIME: i64 = 600;
/// A session that is not refreshed for this long ends: so soon after its access tokens that one which
/// a retry gets is cut short.
pub(crate) const IDLE: i64 = ACCESS_TOKEN_LIFETIME + 10;
/// A session ends after this long, refreshed or not.
pub(crate) const LIFETIME: i64 = 1_500;

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client: usize,
    pub(crate) generation: i64,
    pub(crate) auth_time: i64,
    pub(crate) refreshed_at: i64,
    /// Revoked, reused, or ended with its user or password.
    pub(crate) ended: bool,
}

/// A moment at which something ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edge {
    RetryWindow,
    LateTabWindow,
    AccessToken,
    Session,
}

/// A refresh token that was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefreshTokenOf {
    pub(crate) session: usize,
    pub(crate) generation: i64,
}

/// An access token that was issued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessTokenOf {
    pub(crate) session: usize,
    pub(crate) exp: i64,
}

/// What a token request comes to: the tokens, or the error code.
pub(crate) type Outcome = Result<(RefreshTokenOf, AccessTokenOf), &'static str>;

/// All sessions of one user, who is enabled or not.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now: i64,
    pub(crate) enabled: bool,
    pub(crate) sessions: Vec<Session>,
}

impl Session {
    pub(crate) fn ends_at(&self) -> i64 {
        self.auth_time + LIFETIME
    }

    pub(crate) fn expires_at(&self) -> i64 {
        self.ends_at().min(self.refreshed_at + IDLE)
    }

    pub(crate) fn lives_at(&self, now: i64) -> bool {
        !self.ended && now < self.expires_at()
    }
}

impl Model {
    pub(crate) fn new(now: i64) -> Self {
        Self { now, enabled: true, sessions: Vec::new() }
    }

    pub(crate) fn log_in(&mut self, client: usize, password_is_right: bool) -> Outcome {
        if !self.enabled || !password_is_right {
            return Err("invalid_grant");
        }
        let (auth_time, refreshed_at) = (self.now, self.now);
        self.sessions.push(Session {
            client,
            generation: 0,
            auth_time,
            refreshed_at,
            ended: false,
        });
        Ok(self.tokens(self.sessions.len() - 1))
    }

    pub(crate) fn refresh(
        &mut self,
        token: RefreshTokenOf,
        client: usize,
        scope_is_granted: bool,
    ) -> Outcome {
        let now = self.now;
        let session = &mut self.sessions[token.session];
        if session.client != client || !session.lives_at(now) {
            return Err("invalid_grant");
        }
        let behind = session.generation - token.generation;
        let age = now - session.refreshed_at;
        match behind {
            ..=0 => {}
            1 if client != PUBLIC || age < RETRY_WINDOW => {}
            2 if age < LATE_TAB_WINDOW => return Err("invalid_grant"),
            1.. => {
                session.ended = true;
                return Err("invalid_grant");
            }
        }
        if !scope_is_granted {
            return Err("invalid_scope");
        }
        if behind <= 0 {
            session.generation = token.generation + 1;
            session.refreshed_at = session.refreshed_at.max(now);
        }
        Ok(self.tokens(token.session))
    }

    /// The tokens of a session as it stands.
    fn tokens(&self, index: usize) -> (RefreshTokenOf, AccessTokenOf) {
        let session = &self.sessions[index];
        let exp = session.expires_at().min(self.now + ACCESS_TOKEN_LIFETIME);
        let refresh = RefreshTokenOf { session: index, generation: session.generation };
        (refresh, AccessTokenOf { session: index, exp })
    }

    /// Whoever holds a session may end it with any refresh token of it.
    pub(crate) fn revoke_refresh_token(&mut self, token: RefreshTokenOf, client: usize) {
        let session = &mut self.sessions[token.session];
        session.ended |= session.client == client;
    }

    /// An access token ends its session too, while it is valid.
    pub(crate) fn revoke_access_token(&mut self, token: AccessTokenOf, client: usize) {
        let valid = self.access_token_is_active(token);
        let session = &mut self.sessions[token.session];
        session.ended |= session.client == client && valid;
    }

    pub(crate) fn access_token_is_active(&self, token: AccessTokenOf) -> bool {
        self.now < token.exp && self.sessions[token.session].lives_at(self.now)
    }

    /// A token that was rotated away is inactive, though a retry with it would be answered.
    pub(crate) fn refresh_token_is_active(&self, token: RefreshTokenOf, caller: usize) -> bool {
        let session = &self.sessions[token.session];
        session.client == caller
            && session.lives_at(self.now)
            && token.generation >= session.generation
    }

    /// A new password, or a user that is disabled.
    pub(crate) fn end_all(&mut self) {
        self.sessions.iter_mut().for_each(|session| session.ended = true);
    }

    /// The database forgets the last rotation of a session, as a standby does that takes over too
    /// early. Whether there was one that can be forgotten.
    pub(crate) fn forget_rotation(&mut self, index: usize) -> bool {
        let session = &mut self.sessions[index];
        let can = session.lives_at(self.now) && session.generation > 0;
        session.generation -= i64::from(can);
        can
    }

    /// How long it is until something of a session ends.
    pub(crate) fn seconds_to(&self, edge: Edge, index: usize) -> i64 {
        let session = &self.sessions[index];
        let end = match edge {
            Edge::RetryWindow => session.refreshed_at + RETRY_WINDOW,
            Edge::LateTabWindow => session.refreshed_at + LATE_TAB_WINDOW,
            Edge::AccessToken => session.refreshed_at + ACCESS_TOKEN_LIFETIME,
            Edge::Session => session.expires_at(),
        };
        end - self.now
    }

    /// Moves the clock. Not back over the end of a session, whose row may be gone by then.
    pub(crate) fn advance(&mut self, seconds: i64) -> bool {
        let then = self.now + seconds;
        let revived = |session: &Session| session.lives_at(then) && !session.lives_at(self.now);
        let can = !self.sessions.iter().any(revived);
        self.now += if can { seconds } else { 0 };
        can
    }
}
