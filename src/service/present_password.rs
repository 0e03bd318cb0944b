//! Whether a user knows the present password, for a command that sets another one.

use crate::Refusal;
use crate::throttle::origin::Origin;
use crate::throttle::{Account, AccountOf, Throttle};
use crate::token::password::may_use_password;
use jeton_crypto::password::{self, PasswordHash};
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{Reason, Secret};
use jeton_runtime::caller::Waiting;
use jeton_store::users::User;

/// Verifies the present password of a user with this hash, who may have to change it. Failures count as those of a login do.
///
/// # Errors
/// [`Refusal`], for the reasons for which a login is refused, but for a password that is temporary.
pub async fn verify(
    throttle: &Throttle,
    origin: Origin<'_>,
    user: &User,
    password_hash: &Secret,
    password: Secret,
) -> Result<(), Refusal> {
    let account =
        Account { of: AccountOf::User(&user.id), password_changed_at: user.failures_since() };
    // Whoever runs the command waits for it.
    let waiting = Waiting::default();
    let attempt = throttle.admit(origin, account, &waiting.caller()).await?;
    let attempt = attempt.count_in_advance().await?;
    let hash = PasswordHash::parse(password_hash.expose(), u64::MAX)
        .map_err(|_| Reason::UnusablePasswordHash)?;
    let verify = move || password::verify(&hash, &Password::new(password));
    let verified = tokio::task::spawn_blocking(verify).await;
    let verified = verified.map_err(|error| Refusal::Fault(error.to_string()))?;
    if !verified.map_err(|error| Refusal::Fault(error.to_string()))? {
        return Err(Reason::WrongPassword.into());
    }
    may_use_password(user)?;
    attempt.succeeded().await
}
