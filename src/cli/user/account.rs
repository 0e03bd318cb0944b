//! What is decided about an account that is there, and the sessions that end with it.

use super::{Failure, unknown};
use jeton_oauth::{Secret, Timestamp};
use jeton_service::housekeeping::{end_sessions_of_user, end_sessions_without_factor};
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::Store;
use jeton_store::users::{ChangePassword, SetUserDisabled, User};

/// How many sessions may end in one transaction, which others wait for.
pub(super) const SESSIONS_AT_ONCE: i64 = 500;

/// Disables a user and ends all sessions, or enables the user; whether that changed anything.
pub(super) async fn set_user_disabled(
    store: &Store,
    user: &User,
    disabled: bool,
    now: Timestamp,
) -> Result<bool, Failure> {
    if is_barred(user) {
        end_dead_sessions(store, user).await?;
    }
    let set = SetUserDisabled { username: user.username.clone(), disabled, now };
    let changed = store.perform(set).await?.ok_or_else(|| unknown(&user.username))?;
    if changed && disabled {
        let disabled = User { disabled_at: Some(now), ..user.clone() };
        end_dead_sessions(store, &disabled).await?;
    }
    Ok(changed)
}

/// Ends all sessions of a user and sets another password; `false` if the user is gone.
pub(super) async fn set_user_password(
    store: &Store,
    hashes: &mut StoredHashes,
    user: &User,
    hash: &Secret,
    now: Timestamp,
) -> Result<bool, Failure> {
    // The sessions that are left end in the transaction that sets the password.
    let ended = end_sessions_of_user(store, &user.id, None, SESSIONS_AT_ONCE).await;
    ended.map_err(|error| {
        Failure::from(error).reworded(|text| format!("{text}. The password was not changed"))
    })?;
    let change = |password_hash| ChangePassword {
        username: user.username.clone(),
        password_hash,
        verified_hash: None,
        temporary: false,
        now,
    };
    Ok(hashes.store(&user.id, hash, change).await?)
}

/// Whether sessions of a user may be dead, whatever their dates say. Should the end of them have been interrupted,
/// what is left is ended before the user is barred no more.
pub(super) fn is_barred(user: &User) -> bool {
    user.disabled_at.is_some() || user.mfa_required_at.is_some()
}

/// Ends the sessions of a user who is barred, so that they stay dead whatever is decided later: of one who must use a
/// second factor those that none has opened, else all.
pub(super) async fn end_dead_sessions(store: &Store, user: &User) -> Result<(), Failure> {
    let ended = if user.mfa_required_at.is_some() && user.disabled_at.is_none() {
        end_sessions_without_factor(store, &user.id).await
    } else {
        end_sessions_of_user(store, &user.id, None, 0).await
    };
    ended.map(drop).map_err(|error| {
        Failure::from(error).reworded(|text| {
            format!(
                "{text}. The user {} cannot log in and has no session that can be used; to finish, repeat the \
                 command",
                user.username
            )
        })
    })
}
