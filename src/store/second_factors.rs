//! The second factors of users: one column, which is compared and set.

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use super::operator_acts::{Act, Deed};
use super::users::{User, find_row};
use super::value::{Row, Value, keep_unknown};
use super::{Access, StoreError, Tx, UseCase, sql};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::second_factor::{Authenticator, SecondFactors};

/// The migration from which on a program knows second factors. One of before lets in with the password alone.
pub const KNOWN_SINCE: i64 = 10;

/// The second factors of a user, with the text that they were read from. Serialised, they are what the command line
/// prints: no sealed secret, and of recovery codes only how many are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSecondFactors {
    /// As read, since a later version may have written members that this one does not know. `None` if there are none.
    text: Option<String>,
    factors: SecondFactors,
}

impl StoredSecondFactors {
    /// Those of a user who is not stored yet.
    #[must_use]
    pub fn new(factors: SecondFactors) -> Self {
        let text = serde_json::to_string(&factors).expect("texts and numbers are JSON");
        Self { text: Some(text), factors }
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let text: Option<String> = row.get("second_factors")?;
        let factors =
            if text.is_some() { row.json("second_factors")? } else { SecondFactors::default() };
        Ok(Self { text, factors })
    }

    /// What is stored in place of them; `None` if nothing is left. Members that this version does not know are kept:
    /// those of an authenticator with the authenticator.
    pub(super) fn replaced_by(
        &self,
        factors: &SecondFactors,
    ) -> Result<Option<String>, StoreError> {
        let parse = |text: &str| -> Result<Json, StoreError> {
            serde_json::from_str(text)
                .map_err(|error| StoreError::Corrupt(format!("second_factors: {error}")))
        };
        let before = self.text.as_deref().map_or(Ok(Json::Null), parse)?;
        let mut after = json!(factors);
        keep_unknown(&before, &mut after);
        let owned = before.get("authenticators").and_then(Json::as_array);
        let owned = owned.into_iter().flatten();
        for own in
            after.get_mut("authenticators").and_then(Json::as_array_mut).into_iter().flatten()
        {
            if let Some(before) = owned.clone().find(|before| before.get("id") == own.get("id")) {
                keep_unknown(before, own);
            }
        }
        let is_empty = after == json!(SecondFactors::default());
        Ok((!is_empty).then(|| after.to_string()))
    }

    /// What the column holds.
    pub(super) fn value(&self) -> Value {
        self.text.as_ref().into()
    }

    /// The second factors.
    #[must_use]
    pub fn get(&self) -> &SecondFactors {
        &self.factors
    }
}

impl Serialize for StoredSecondFactors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = |own: &Authenticator| {
            json!({
                "id": own.id,
                "name": own.name,
                "added_at": own.added_at,
                "confirmed_at": own.confirmed_at,
                "last_used_at": own.last_used_at,
            })
        };
        let authenticators: Vec<_> = self.factors.authenticators.iter().map(shown).collect();
        let left = self.factors.recovery_codes.len();
        json!({ "authenticators": authenticators, "recovery_codes_left": left })
            .serialize(serializer)
    }
}

/// Changes the second factors of a user by compare and set, and starts again if another change came first. Returns what
/// the change returns; `None` if there is no such user.
pub struct ChangeSecondFactors<F> {
    /// The prepared name.
    pub username: Username,
    /// What is done.
    pub deed: Deed,
    /// Changes them; may be called several times. Nothing is stored if it fails.
    pub change: F,
}

impl<F, T, E> UseCase for ChangeSecondFactors<F>
where
    F: Fn(&User, &mut SecondFactors) -> Result<T, E> + Send + Sync + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    type Outcome = Option<Result<T, E>>;
    const ACCESS: Access = Access::Transaction;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Outcome, StoreError> {
        // Each repetition means that another change has succeeded. The caller's time limit ends it.
        loop {
            let Some(row) = find_row(tx, &self.username).await? else { return Ok(None) };
            let user = User::read(&row)?;
            let mut factors = user.second_factors.get().clone();
            let outcome = match (self.change)(&user, &mut factors) {
                Ok(outcome) => outcome,
                Err(problem) => return Ok(Some(Err(problem))),
            };
            let stored = user.second_factors.replaced_by(&factors)?;
            let values = [(&user.id).into(), stored.as_ref().into(), user.second_factors.value()];
            if tx.execute(&sql::UPDATE_SECOND_FACTORS, &values).await? == 1 {
                tx.record(Act::new(self.deed).on_user(&user.username, &user.id)).await?;
                return Ok(Some(Ok(outcome)));
            }
        }
    }
}
