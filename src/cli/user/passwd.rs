//! `jeton user passwd`: another password for a user.

use std::net::IpAddr;

use clap::Args;

use super::{Failure, Named, NewPassword, SESSIONS_AT_ONCE, find, open_existing_store, say};
use crate::cli::prompt;
use crate::config::MasterKeySettings;
use jeton_crypto::{password, password_policy};
use jeton_oauth::{ClientId, Reason, Secret, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_service::housekeeping::end_sessions_of_user;
use jeton_service::stored_hashes::StoredHashes;
use jeton_service::throttle::Throttle;
use jeton_service::throttle::origin::{Origin, Source};
use jeton_service::{Refusal, present_password};
use jeton_store::Store;
use jeton_store::users::{ChangePassword, User};

/// What `jeton user passwd` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Passwd {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    password: NewPassword,
    /// The user must change the password before the next login, which is refused until then
    #[arg(long)]
    temporary: bool,
    #[command(flatten)]
    present: Present,
    #[command(flatten)]
    master: MasterKeySettings,
}

/// What is asked of a user who changes the password.
#[derive(Args, Debug)]
struct Present {
    /// Read the present password from the first line of standard input, and the new one from the second. Nothing is
    /// changed unless the present one is right. Failures count as those of logins do; needs the master key
    #[arg(long, conflicts_with_all = ["temporary", "password_stdin"])]
    current_stdin: bool,
    /// The client through which the user logs in: failures count where its logins count. Without it all who change
    /// their passwords in this way have one origin
    #[arg(long, value_name = "CLIENT_ID", requires = "current_stdin")]
    client: Option<ClientId>,
    /// The user's address, as that client sees it
    #[arg(long, value_name = "ADDRESS", requires = "client")]
    end_user_ip: Option<IpAddr>,
}

pub(super) async fn run(options: Passwd, now: Timestamp) -> Result<(), Failure> {
    let Passwd { named, password, temporary, present, master } = options;
    let store = open_existing_store(&named.common.database).await?;
    let user = find(&store, &named.name).await?;
    let mut hashes = StoredHashes::read(&store, &master.master_key_file).await?;
    hashes.check()?;
    let hash = if present.current_stdin {
        let current = prompt::password(true)?;
        let new = prompt::new_password(true)?;
        // A new one that is refused says nothing of the present one, and costs no attempt.
        password_policy::check(&new, named.name.as_str(), password.allow_short_passwords)?;
        let stored = hashes.hash_of(&user)?;
        verify(&store, (&user, &stored), current, &present, &master).await?;
        Secret::new(password::hash(&new, password.scrypt)?)
    } else {
        password.read(&named.name)?
    };
    // The sessions that are left end in the transaction that sets the password.
    let ended = end_sessions_of_user(&store, &user.id, None, SESSIONS_AT_ONCE).await;
    ended.map_err(|error| {
        Failure::from(error).reworded(|text| format!("{text}. The password was not changed"))
    })?;
    let verified_hash = present.current_stdin.then(|| user.password_hash.clone());
    let change = |password_hash| ChangePassword {
        username: named.name.clone(),
        password_hash,
        verified_hash: verified_hash.clone(),
        temporary,
        now,
    };
    let changed = hashes.store(&user.id, &hash, change).await?;
    if !changed && present.current_stdin {
        let problem = "the password was changed at the same moment by another: nothing was changed";
        return Err(Failure::conflict(problem));
    }
    let done = if temporary {
        "given a temporary password, to be changed before the next login; all sessions have ended"
    } else {
        "given another password; all sessions have ended"
    };
    say(changed, &named, done)
}

/// Verifies the present password of a user with this hash.
///
/// # Errors
/// It is wrong, or the user may not use it now. One sentence for all reasons for which a login gets the same answer, so
/// that nobody passes on more.
async fn verify(
    store: &Store,
    (user, hash): (&User, &Secret),
    current: Secret,
    present: &Present,
    master: &MasterKeySettings,
) -> Result<(), Failure> {
    let files = &master.master_key_file;
    let throttle = Throttle::of_command(store.clone(), files, Clock::System).await?;
    let client = match &present.client {
        Some(id) => {
            let found = store.find_client(id.clone()).await?;
            Some(found.ok_or_else(|| {
                Failure::not_found(format!("there is no client {id}: see `jeton client list`"))
            })?)
        }
        None => None,
    };
    let address = present.end_user_ip;
    let source = Source { address, end_user: address, untold: None };
    let origin = client
        .as_ref()
        .map_or_else(Origin::of_command, |stored| Origin::new(&stored.client, source));
    let verified = present_password::verify(&throttle, origin, user, hash, current).await;
    verified.map_err(|refusal| match refusal {
        Refusal::Throttled { retry_after, .. } => Failure::unavailable(format!(
            "too many failed from there: nothing was changed, try again in {retry_after}"
        )),
        Refusal::Protocol(Reason::UnusablePasswordHash) => Failure::failed(
            "the stored hash cannot be used: set a password without --current-stdin",
        ),
        Refusal::Protocol(_) | Refusal::Forbidden(_) => Failure::refused(format!(
            "the present password is wrong, or the account is disabled or held back: nothing was changed; see \
             `jeton user show {}`",
            user.username
        )),
        Refusal::Unavailable { detail, .. } => {
            Failure::unavailable(format!("the password cannot be verified now: {detail}"))
        }
        Refusal::Fault(detail) => {
            Failure::failed(format!("the password cannot be verified: {detail}"))
        }
    })
}
