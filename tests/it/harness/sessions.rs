//! What is done with refresh tokens.

use super::{Jeton, Reply, Request, percent_encode, refresh_form};

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
