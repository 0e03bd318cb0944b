//! Sessions under any sequence of acts, held against a model of a few lines.

use std::cell::RefCell;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use super::*;
use crate::harness::chance::seed;
use crate::harness::executable::run_for_json;
use crate::harness::forge::claims;
use crate::harness::session_model::{
    AccessTokenOf, Edge, IDLE, LIFETIME, Model, Outcome, RefreshTokenOf, Session,
};
use crate::harness::{RefreshToken, refresh_form};

/// How many sequences are tried, and how long they may be.
const CASES: u32 = 20;
const LENGTH_MAX: usize = 100;

/// The clients that open sessions. The first may introspect its own refresh tokens, the second is public.
const CLIENTS: [&str; 2] = ["reader", "spa"];

/// A token, named by how many were issued after it: of all, or of those whose session lives.
#[derive(Clone, Copy, Debug)]
struct Pick {
    back: usize,
    of_living: bool,
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    LogIn { client: usize },
    LogInWithOldPassword,
    Refresh { pick: Pick },
    RefreshByOther { pick: Pick },
    RefreshForMore { pick: Pick },
    RefreshForged { pick: Pick, place: usize },
    RevokeRefreshToken { pick: Pick, by_owner: bool },
    RevokeAccessToken { pick: Pick, by_owner: bool },
    IntrospectAccessToken { pick: Pick },
    IntrospectRefreshToken { pick: Pick, caller: usize },
    DisableAndEnable,
    ToggleUser,
    ChangePassword,
    ForgetRotation { pick: Pick },
    Advance { seconds: i64 },
    AdvanceTo { edge: Edge, offset: i64, pick: Pick },
}

fn act() -> impl Strategy<Value = Act> {
    let back = || prop_oneof![6 => Just(0_usize), 3 => Just(1), 2 => 0..30_usize];
    let pick = || {
        let of_living = proptest::bool::weighted(0.8);
        (back(), of_living).prop_map(|(back, of_living)| Pick { back, of_living })
    };
    let by_owner = || proptest::bool::weighted(0.7);
    let seconds = prop_oneof![6 => 1..=20_i64, 3 => 100..=800_i64, 1 => -20..0_i64];
    let edges = [Edge::RetryWindow, Edge::LateTabWindow, Edge::AccessToken, Edge::Session];
    let edge = (proptest::sample::select(edges.to_vec()), -1..=0_i64, pick());
    prop_oneof![
        2 => (0..CLIENTS.len()).prop_map(|client| Act::LogIn { client }),
        1 => Just(Act::LogInWithOldPassword),
        60 => pick().prop_map(|pick| Act::Refresh { pick }),
        3 => pick().prop_map(|pick| Act::RefreshByOther { pick }),
        5 => pick().prop_map(|pick| Act::RefreshForMore { pick }),
        3 => (pick(), 0..88_usize).prop_map(|(pick, place)| Act::RefreshForged { pick, place }),
        2 => (pick(), by_owner())
            .prop_map(|(pick, by_owner)| Act::RevokeRefreshToken { pick, by_owner }),
        2 => (pick(), by_owner())
            .prop_map(|(pick, by_owner)| Act::RevokeAccessToken { pick, by_owner }),
        10 => pick().prop_map(|pick| Act::IntrospectAccessToken { pick }),
        10 => (pick(), 0..2_usize)
            .prop_map(|(pick, caller)| Act::IntrospectRefreshToken { pick, caller }),
        1 => Just(Act::DisableAndEnable),
        1 => Just(Act::ToggleUser),
        1 => Just(Act::ChangePassword),
        5 => pick().prop_map(|pick| Act::ForgetRotation { pick }),
        15 => seconds.prop_map(|seconds| Act::Advance { seconds }),
        20 => edge.prop_map(|(edge, offset, pick)| Act::AdvanceTo { edge, offset, pick }),
    ]
}

/// The service that all sequences are tried on, one after the other, and what must outlast them.
struct World {
    jeton: Jeton,
    secret_of_reader: String,
    /// Alice's present password, and how often it was changed.
    password: String,
    changes: usize,
}

/// One sequence: the model, and the tokens that the service issued for what the model says.
struct Life<'a> {
    world: &'a mut World,
    model: Model,
    sids: Vec<String>,
    refresh_tokens: Vec<(String, RefreshTokenOf)>,
    access_tokens: Vec<(String, AccessTokenOf)>,
}

impl World {
    async fn start() -> Self {
        let [idle, lifetime] = [IDLE, LIFETIME].map(|s| format!("{s}s"));
        let settings = [["--refresh-token-idle", &*idle], ["--session-lifetime", &*lifetime]];
        let jeton = Jeton::start_with(ENGINE, &settings.concat()).await;
        // The time before the service started does not count against a token: let that be long ago.
        jeton.clock.advance(LIFETIME);
        let command = "client add reader --grant password --grant refresh_token --scope read \
                       --scope write --default-scope read --audience https://api1.example \
                       --introspects https://api1.example --json --database";
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push(&jeton.database.url);
        let added = run_for_json(&arguments, "");
        let secret_of_reader = added["client_secret"].as_str().expect("a secret").to_owned();
        Self { jeton, secret_of_reader, password: PASSWORD.to_owned(), changes: 0 }
    }

    async fn post_as(&self, client_id: &str, target: &str, form: &str) -> Reply {
        if client_id == CLIENTS[0] {
            let request = self.jeton.post(target, form).basic(client_id, &self.secret_of_reader);
            return request.send().await;
        }
        self.jeton.post_as(client_id, target, form).send().await
    }

    /// Lives through a sequence, from no sessions on.
    async fn live_through(&mut self, acts: &[Act]) -> Result<(), TestCaseError> {
        for reset in
            ["DELETE FROM sessions", "UPDATE users SET disabled_at = NULL WHERE username = 'alice'"]
        {
            self.jeton.database.query(reset).await;
        }
        let model = Model::new(self.jeton.clock.now().0);
        let (sids, refresh_tokens, access_tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut life = Life { world: self, model, sids, refresh_tokens, access_tokens };
        for act in acts {
            if life.is_over() {
                life.log_in(0, true).await?;
            }
            life.perform(act).await?;
        }
        life.compare_rows().await
    }
}

impl Life<'_> {
    /// Whether nothing lives that could be acted on, and a login would change that.
    fn is_over(&self) -> bool {
        let lives = |session: &Session| session.lives_at(self.model.now);
        self.model.enabled && !self.model.sessions.iter().any(lives)
    }

    /// The token that is meant; of all, if no session lives.
    fn find<T: Clone>(
        &self,
        pick: Pick,
        all: &[(String, T)],
        session: fn(&T) -> usize,
    ) -> (String, T) {
        let lives = |(_, token): &&(String, T)| {
            self.model.sessions[session(token)].lives_at(self.model.now)
        };
        let living: Vec<_> = all.iter().filter(lives).collect();
        let among =
            if pick.of_living && !living.is_empty() { living } else { all.iter().collect() };
        among[among.len() - 1 - pick.back % among.len()].clone()
    }

    fn refresh_token(&self, pick: Pick) -> (String, RefreshTokenOf) {
        self.find(pick, &self.refresh_tokens, |token| token.session)
    }

    fn access_token(&self, pick: Pick) -> (String, AccessTokenOf) {
        self.find(pick, &self.access_tokens, |token| token.session)
    }

    async fn perform(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match *act {
            Act::LogIn { client } => self.log_in(client, true).await,
            Act::LogInWithOldPassword => self.log_in(1, false).await,
            Act::Refresh { pick } => self.refresh(pick, true, true).await,
            Act::RefreshByOther { pick } => self.refresh(pick, false, true).await,
            Act::RefreshForMore { pick } => self.refresh(pick, true, false).await,
            Act::RefreshForged { pick, place } => self.refresh_forged(pick, place).await,
            Act::RevokeRefreshToken { pick, by_owner } => {
                let (text, token) = self.refresh_token(pick);
                let client = self.client(token.session, by_owner);
                self.model.revoke_refresh_token(token, client);
                self.revoke(&text, client).await
            }
            Act::RevokeAccessToken { pick, by_owner } => {
                let (text, token) = self.access_token(pick);
                let client = self.client(token.session, by_owner);
                self.model.revoke_access_token(token, client);
                self.revoke(&text, client).await
            }
            Act::IntrospectAccessToken { pick } => {
                let (text, token) = self.access_token(pick);
                let answer = self.introspect("rs1", &text).await;
                prop_assert_eq!(answer["active"] == true, self.model.access_token_is_active(token));
                Ok(())
            }
            Act::IntrospectRefreshToken { pick, caller } => {
                self.introspect_refresh_token(pick, caller).await
            }
            Act::DisableAndEnable => {
                self.command("user disable alice").await;
                self.command("user enable alice").await;
                self.model.end_all();
                self.model.enabled = true;
                Ok(())
            }
            Act::ToggleUser => {
                self.model.enabled = !self.model.enabled;
                if self.model.enabled {
                    self.command("user enable alice").await;
                } else {
                    self.command("user disable alice").await;
                    self.model.end_all();
                }
                Ok(())
            }
            Act::ChangePassword => self.change_password().await,
            Act::ForgetRotation { pick } => self.forget_rotation(pick).await,
            Act::Advance { seconds } => {
                self.advance(seconds);
                Ok(())
            }
            Act::AdvanceTo { edge, offset, pick } => {
                let (_, token) = self.refresh_token(pick);
                self.advance((self.model.seconds_to(edge, token.session) + offset).max(0));
                Ok(())
            }
        }
    }

    fn advance(&mut self, seconds: i64) {
        if self.model.advance(seconds) {
            self.world.jeton.clock.advance(seconds);
        }
    }

    async fn command(&self, arguments: &str) {
        self.world.jeton.command(arguments).await;
    }

    /// The client of a session, or the other one.
    fn client(&self, session: usize, owner: bool) -> usize {
        let own = self.model.sessions[session].client;
        if owner { own } else { 1 - own }
    }

    async fn log_in(
        &mut self,
        client: usize,
        password_is_right: bool,
    ) -> Result<(), TestCaseError> {
        let old = "the password before this one";
        let password = if password_is_right { &self.world.password } else { old };
        let form = login_form("alice", password);
        let reply = self.world.post_as(CLIENTS[client], "/token", &form).await;
        let outcome = self.model.log_in(client, password_is_right);
        self.compare(&reply, outcome)
    }

    async fn refresh(
        &mut self,
        pick: Pick,
        by_owner: bool,
        scope_is_granted: bool,
    ) -> Result<(), TestCaseError> {
        let (text, token) = self.refresh_token(pick);
        let client = self.client(token.session, by_owner);
        let scope = if scope_is_granted { "" } else { "&scope=read+write" };
        let form = refresh_form(&text) + scope;
        let reply = self.world.post_as(CLIENTS[client], "/token", &form).await;
        let outcome = self.model.refresh(token, client, scope_is_granted);
        self.compare(&reply, outcome)
    }

    /// Changes one character; the model has no act for what must change nothing.
    async fn refresh_forged(&mut self, pick: Pick, place: usize) -> Result<(), TestCaseError> {
        let (mut text, token) = self.refresh_token(pick);
        let other = if &text[place..=place] == "A" { "B" } else { "A" };
        text.replace_range(place..=place, other);
        let client = CLIENTS[self.client(token.session, true)];
        let reply = self.world.post_as(client, "/token", &refresh_form(&text)).await;
        self.compare(&reply, Err("invalid_grant"))
    }

    async fn revoke(&self, token: &str, client: usize) -> Result<(), TestCaseError> {
        let form = format!("token={token}");
        let reply = self.world.post_as(CLIENTS[client], "/revoke", &form).await;
        prop_assert_eq!((reply.status, reply.text()), (200, "{}"));
        Ok(())
    }

    async fn introspect(&self, caller: &str, token: &str) -> serde_json::Value {
        self.world.post_as(caller, "/introspect", &format!("token={token}")).await.json()
    }

    async fn introspect_refresh_token(
        &self,
        pick: Pick,
        caller: usize,
    ) -> Result<(), TestCaseError> {
        let (text, token) = self.refresh_token(pick);
        // A resource server may ask, and owns no session.
        let (name, index) = if caller == 0 { (CLIENTS[0], 0) } else { ("rs1", CLIENTS.len()) };
        let answer = self.introspect(name, &text).await;
        let active = self.model.refresh_token_is_active(token, index);
        prop_assert_eq!(answer["active"] == true, active);
        if active {
            let session = &self.model.sessions[token.session];
            prop_assert_eq!(&answer["exp"], session.expires_at());
            prop_assert_eq!(&answer["auth_time"], session.auth_time);
        } else {
            prop_assert_eq!(answer.to_string(), r#"{"active":false}"#);
        }
        Ok(())
    }

    async fn change_password(&mut self) -> Result<(), TestCaseError> {
        self.world.changes += 1;
        self.world.password = format!("{PASSWORD} {}", self.world.changes);
        let changed = self.world.jeton.try_change_password("alice", &self.world.password).await;
        prop_assert!(changed);
        self.model.end_all();
        Ok(())
    }

    async fn forget_rotation(&mut self, pick: Pick) -> Result<(), TestCaseError> {
        let (_, token) = self.refresh_token(pick);
        if self.model.forget_rotation(token.session) {
            let sid = &self.sids[token.session];
            let sql = format!(
                "UPDATE sessions SET generation = generation - 1 WHERE session_id = '{sid}'"
            );
            self.world.jeton.database.query(&sql).await;
        }
        Ok(())
    }

    /// Holds an answer of the token endpoint against the model's, and keeps its tokens.
    fn compare(&mut self, reply: &Reply, outcome: Outcome) -> Result<(), TestCaseError> {
        let (refresh, access) = match outcome {
            Ok(tokens) => tokens,
            Err(code) => {
                prop_assert_eq!((reply.status, reply.error()), (400, code.to_owned()));
                return Ok(());
            }
        };
        prop_assert_eq!(reply.status, 200, "{}", reply.text());
        let (access_token, refresh_token) = (reply.access_token(), reply.refresh_token());
        let (claims, read) = (claims(&access_token), RefreshToken::of(&refresh_token));
        if refresh.session == self.sids.len() {
            self.sids.push(read.session.clone());
        }
        let sid = &self.sids[refresh.session];
        prop_assert_eq!((&read.session, read.generation), (sid, refresh.generation));
        prop_assert_eq!(&claims["sid"], sid.as_str());
        prop_assert_eq!(&claims["exp"], access.exp);
        prop_assert_eq!(&claims["auth_time"], self.model.sessions[refresh.session].auth_time);
        // Whoever gets to a generation, and however often, gets the same token.
        let same = |(_, token): &&(String, RefreshTokenOf)| *token == refresh;
        if let Some((issued, _)) = self.refresh_tokens.iter().find(same) {
            prop_assert_eq!(issued, &refresh_token);
        }
        self.refresh_tokens.push((refresh_token, refresh));
        self.access_tokens.push((access_token, access));
        Ok(())
    }

    /// Holds the table against the model: what lives is there as it should be, what was ended is
    /// gone, and what expired may be.
    async fn compare_rows(&self) -> Result<(), TestCaseError> {
        let sql = "SELECT session_id, generation, auth_time, refreshed_at, expires_at, ends_at \
                   FROM sessions";
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in self.world.jeton.database.query(sql).await {
            rows.push(row.into_iter().map(Option::unwrap_or_default).collect());
        }
        for (session, sid) in self.model.sessions.iter().zip(&self.sids) {
            let row = rows.iter().position(|row| &row[0] == sid).map(|at| rows.swap_remove(at));
            let (generation, auth_time) = (session.generation, session.auth_time);
            let (refreshed_at, ends_at) = (session.refreshed_at, session.ends_at());
            let numbers = [generation, auth_time, refreshed_at, session.expires_at(), ends_at];
            match row {
                Some(row) => {
                    prop_assert!(!session.ended, "{row:?} was ended");
                    prop_assert_eq!(&row[1..], numbers.map(|number| number.to_string()));
                }
                None => prop_assert!(!session.lives_at(self.model.now), "{session:?} is gone"),
            }
        }
        prop_assert!(rows.is_empty(), "of no login: {rows:?}");
        Ok(())
    }
}

/// RFC 6749 §6, RFC 9700 §4.14.2, RFC 7009: whatever happens in whatever order, the service does what
/// the model does: retries and late reuses, revocations, forged and foreign tokens, failed requests,
/// users and passwords that change, rotations that the database lost, time that passes or steps back.
/// [TR-04] [TR-12] [TR-13] [TR-14] [TR-15] [TR-16] [TR-19] [TR-20] [TR-21] [R-13] [R-14] [R-15]
#[test]
fn sessions_do_what_the_model_does() {
    let runtime = Runtime::new().expect("threads");
    let world = RefCell::new(runtime.block_on(World::start()));
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..Config::default()
    };
    let acts = proptest::collection::vec(act(), 1..=LENGTH_MAX);
    let outcome = TestRunner::new(config)
        .run(&acts, |acts| runtime.block_on(world.borrow_mut().live_through(&acts)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
