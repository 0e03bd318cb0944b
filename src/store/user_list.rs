//! Lists of users.

use super::users::User;
use super::value::Value;
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::Timestamp;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::username_pattern::UsernamePattern;

/// Which users are listed: those of whom all of this holds.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only those who are disabled.
    pub disabled: bool,
    /// Only those who may have this role: the roles of a user tell whether it is so.
    pub role: Option<String>,
    /// Only those who were added or imported by then, and have neither logged in nor refreshed a session since. Of sessions that
    /// have ended only the login counts.
    pub inactive_since: Option<Timestamp>,
    /// Only those with such a name.
    pub name: Option<UsernamePattern>,
}

impl UserFilter {
    /// The pattern of `LIKE` for names.
    fn name_like(&self) -> Value {
        let parts = |name: &UsernamePattern| {
            let parts = name.parts().iter().map(|part| literally(part));
            parts.collect::<Vec<_>>().join("%")
        };
        Value::Text(self.name.as_ref().map_or_else(|| "%".to_owned(), parts))
    }

    /// The pattern of `LIKE` for the JSON of roles.
    fn roles_like(&self) -> Value {
        let within = |role: &String| {
            let json = serde_json::to_string(role).expect("strings are JSON");
            format!("%{}%", literally(&json))
        };
        Value::Text(self.role.as_ref().map_or_else(|| "%".to_owned(), within))
    }
}

/// What finds a text literally in a pattern of `LIKE … ESCAPE '\'`.
fn literally(text: &str) -> String {
    ['\\', '%', '_']
        .iter()
        .fold(text.to_owned(), |text, sign| text.replace(*sign, &format!("\\{sign}")))
}

/// Lists users by name, after a name and at most so many.
#[derive(Debug)]
pub struct ListUsers {
    /// Which users.
    pub filter: UserFilter,
    /// The name after which the page begins; `None` for the first page.
    pub after: Option<Username>,
    /// The most users of one page.
    pub limit: i64,
}

impl UseCase for ListUsers {
    type Outcome = Vec<User>;
    const ACCESS: Access = Access::Read;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<User>, StoreError> {
        let after = self.after.as_ref().map_or("", Username::as_str);
        let values = [
            after.into(),
            self.limit.into(),
            self.filter.name_like(),
            self.filter.roles_like(),
            i64::from(self.filter.disabled).into(),
            self.filter.inactive_since.into(),
        ];
        let rows = tx.query(&sql::LIST_USERS, &values).await?;
        rows.iter().map(User::read).collect()
    }
}
