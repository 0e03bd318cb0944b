//! The second factor of a login: what its code proves. It is judged before the password is, so that nothing takes longer
//! because a password was right.

use crate::Refusal;
use crate::keys::Keys;
use jeton_crypto::one_time_password::prepare_code;
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_oauth::second_factor::{SecondFactors, UsedFactor};
use jeton_oauth::{Reason, Secret, Timestamp, UserId};

/// What the log calls a recovery code.
const RECOVERY_CODE: &str = "recovery_code";

/// A code that is good, unless another login uses it first.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The second factors without what was used.
    pub(super) after: SecondFactors,
    /// For the log: the id of the authenticator, or `recovery_code`.
    pub(super) label: String,
}

/// Judges what was sent as a one-time password of a user. `None` if the user has no second factor; then it says nothing.
///
/// # Errors
/// The reason with which the login is refused if the password is right; [`Refusal::Unavailable`] if the key cannot be
/// opened here.
pub(super) async fn judge(
    keys: &Keys,
    user: &UserId,
    factors: &SecondFactors,
    sent: Option<&Secret>,
    now: Timestamp,
) -> Result<Option<Accepted>, Refusal> {
    if !factors.are_in_use() {
        return Ok(None);
    }
    let Some(sent) = sent else { return Err(Reason::MissingCode.into()) };
    let key = keys.second_factor_key().await?;
    let code = prepare_code(sent);
    let is_number = code.expose().bytes().all(|octet| octet.is_ascii_digit());
    let judged = if is_number {
        one_time_password(&key, user, factors, &code, now)
    } else {
        recovery_code(&key, user, factors, &code, now)
    };
    Ok(Some(judged?))
}

fn one_time_password(
    key: &SecondFactorKey,
    user: &UserId,
    factors: &SecondFactors,
    code: &Secret,
    now: Timestamp,
) -> Result<Accepted, Reason> {
    let mut judged = Err(Reason::WrongCode);
    for own in factors.confirmed() {
        let Some(secret) = key.open(user, &own.id, &own.sealed) else {
            report_unusable(user.clone(), own.id.clone());
            continue;
        };
        let now_step = secret.parameters().step(now);
        match secret.find_step(code.expose(), own.steps(now_step)) {
            None => {}
            Some(step) if own.is_used(step) => judged = judged.or(Err(Reason::UsedCode)),
            Some(step) => {
                let proved = UsedFactor::Authenticator(&own.id, step);
                let after = factors.after(proved, now_step, now);
                judged = judged.or(Ok(Accepted { after, label: own.id.clone() }));
            }
        }
    }
    judged
}

fn recovery_code(
    key: &SecondFactorKey,
    user: &UserId,
    factors: &SecondFactors,
    code: &Secret,
    now: Timestamp,
) -> Result<Accepted, Reason> {
    let digest = key.digest(user, code);
    // The digest is keyed, so how far two of them agree says nothing.
    let own = factors.recovery_codes.iter().find(|own| **own == digest).ok_or(Reason::WrongCode)?;
    let after = factors.after(UsedFactor::RecoveryCode(own), 0, now);
    Ok(Accepted { after, label: RECOVERY_CODE.to_owned() })
}

/// Logs it in a task of its own, so that the answer takes no longer.
fn report_unusable(user_id: UserId, authenticator: String) {
    tokio::spawn(async move {
        tracing::error!(
            %user_id, authenticator,
            "the secret of an authenticator cannot be opened: it was sealed under another key, or altered; remove it \
             with `jeton user otp remove`, and add another"
        );
    });
}
