//! What is done with refresh tokens, and what they are made of.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Jeton, Reply, Request, percent_encode};

/// A refresh token, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefreshTokenParts {
    pub(crate) version: u8,
    pub(crate) key: Vec<u8>,
    /// As in the claim `sid`.
    pub(crate) session: String,
    pub(crate) generation: u64,
    pub(crate) mac: Vec<u8>,
}

impl RefreshTokenParts {
    /// Takes a token apart: 1 octet of version, 9 of key id, 16 of session, 8 of generation, 32 of
    /// authentication code.
    #[track_caller]
    pub(crate) fn of(token: &str) -> Self {
        assert_eq!(token.len(), 88, "{token}");
        let octets = URL_SAFE_NO_PAD.decode(token).expect("base64url without padding");
        Self {
            version: octets[0],
            key: octets[1..10].to_vec(),
            session: URL_SAFE_NO_PAD.encode(&octets[10..26]),
            generation: u64::from_be_bytes(octets[26..34].try_into().expect("8 octets")),
            mac: octets[34..].to_vec(),
        }
    }

    /// Puts a token together again.
    pub(crate) fn join(&self) -> String {
        let session = URL_SAFE_NO_PAD.decode(&self.session).expect("base64url");
        let generation = self.generation.to_be_bytes();
        let parts = [&[self.version][..], &self.key, &session, &generation, &self.mac];
        URL_SAFE_NO_PAD.encode(parts.concat())
    }
}

impl Jeton {
    /// A refresh request of a client, with further parameters such as `&scope=read`.
    pub(crate) fn refreshing(&self, client_id: &str, token: &str, further: &str) -> Request {
        self.post_as(client_id, "/token", &(refresh_form(token) + further))
    }

    /// Refreshes through a client, with further parameters.
    pub(crate) async fn refresh(&self, client_id: &str, token: &str, further: &str) -> Reply {
        self.refreshing(client_id, token, further).send().await
    }

    /// A revocation of a client.
    pub(crate) fn revoking(&self, client_id: &str, token: &str) -> Request {
        self.post_as(client_id, "/revoke", &format!("token={}", percent_encode(token)))
    }

    /// Revokes a token through a client, which must be answered as every revocation.
    pub(crate) async fn revoke(&self, client_id: &str, token: &str) {
        let reply = self.revoking(client_id, token).send().await;
        assert_eq!((reply.status, reply.text()), (200, "{}"), "{client_id} {token}");
    }

    /// The rows of all sessions.
    pub(crate) async fn sessions(&self) -> Vec<Vec<Option<String>>> {
        self.database.query("SELECT * FROM sessions ORDER BY session_id").await
    }

    /// A column of the only session.
    pub(crate) async fn of_session(&self, column: &str) -> i64 {
        let rows = self.database.query(&format!("SELECT {column} FROM sessions")).await;
        let [row] = rows.as_slice() else { panic!("one session: {rows:?}") };
        row[0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
    }
}

/// The form of a refresh request.
pub(crate) fn refresh_form(token: &str) -> String {
    format!("grant_type=refresh_token&refresh_token={}", percent_encode(token))
}
