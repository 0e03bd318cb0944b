//! `jeton user`: who can log in.

mod account;
mod apply;
mod export;
mod import;
mod list;
mod otp;
mod passwd;
mod rename;
mod seal;
mod set;
mod show;
mod stats;

use std::ops::ControlFlow;

use account::{
    SESSIONS_AT_ONCE, end_dead_sessions, is_barred, set_user_disabled, set_user_password,
};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::confirmation::Confirmation;
use super::printable::is_printable;
use super::{Failure, open_existing_store, open_store, output, prompt};
use crate::config::{AdministeredDatabase, MasterKeySettings};
use jeton_crypto::{password, password_policy, random};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{Invalid, Scope, ScryptCost, Secret, Timestamp, UserId};
use jeton_runtime::clock::Clock;
use jeton_service::stored_hashes::StoredHashes;
use jeton_service::throttle::administration::{self, AccountThrottle};
use jeton_store::Store;
use jeton_store::users::{
    AddUser, DeleteUser, FindUser, ListUsers, SetUserDisabled, User, UserFilter,
};

/// How many users are read at a time.
const PAGE: i64 = 1_000;

/// What all commands about users take.
#[derive(Args, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    database: AdministeredDatabase,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A command about one user.
#[derive(Args, Debug)]
pub(super) struct Named {
    /// The user's name
    name: Username,
    #[command(flatten)]
    common: Common,
}

/// How a new password comes in.
#[derive(Args, Debug)]
pub(super) struct NewPassword {
    /// Read the password from the first line of standard input instead of a prompt
    #[arg(long)]
    password_stdin: bool,
    /// Accept 8 characters instead of 15 (NIST SP 800-63B-4 asks for 15 where the password is the
    /// only factor)
    #[arg(long)]
    allow_short_passwords: bool,
    /// The cost of the hash
    #[arg(long, env = "JETON_SCRYPT", default_value = "ln=17,r=8,p=1", value_name = "COST")]
    scrypt: ScryptCost,
}

/// The commands of `jeton user`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        password: NewPassword,
        /// A role, for clients that get the claim; repeatable
        #[arg(long, value_name = "ROLE", value_parser = role)]
        role: Vec<String>,
        /// The most the user may have, whatever the client asks for; repeatable. Without it there
        /// is no limit beside the client's
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
        /// The user must use a second factor: no login without a one-time password
        #[arg(long)]
        mfa_required: bool,
        #[command(flatten)]
        master: MasterKeySettings,
    },
    /// List users, or count them by the formats of their password hashes
    List(Box<list::List>),
    /// Add users from a file with the password hashes that they have: of bcrypt, passlib, Django,
    /// Werkzeug, Argon2, scrypt and others
    Import(Box<import::Import>),
    /// Add and change users as the lines of a file say that they should be, and answer each line
    Apply(Box<apply::Apply>),
    /// Print all users, as import takes them
    Export(export::Export),
    /// Show one user, and how failed logins hold the account back
    Show(show::Show),
    /// Forget a user's failed logins, so that the account is not held back any more
    Unlock {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        master: MasterKeySettings,
    },
    /// Add, confirm, list and remove authenticators, which show one-time passwords
    #[command(subcommand)]
    Otp(otp::Command),
    /// Change what a user may have
    Set(set::Set),
    /// Give a user another name; sessions and `sub` stay
    Rename(rename::Rename),
    /// Seal all stored password hashes, so that a stolen database alone is worthless
    Seal(seal::Seal),
    /// Store all password hashes as they are again
    Unseal(seal::Unseal),
    /// Set another password, which ends all sessions of the user
    Passwd(Box<passwd::Passwd>),
    /// Refuse a user from now on, and end all sessions
    Disable(Named),
    /// Accept a disabled user again
    Enable(Named),
    /// Delete a user and all sessions
    Delete {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Reads a role, which is shown where users are listed.
fn role(text: &str) -> Result<String, Invalid> {
    if text.chars().all(is_printable) {
        return Ok(text.to_owned());
    }
    Err(Invalid::new("a role has no control or invisible characters"))
}

#[derive(Serialize)]
struct Added<'a> {
    username: &'a str,
    sub: &'a str,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let now = Clock::System.now();
    match command {
        Command::Add { named, password, role, scope, mfa_required, master } => {
            password.require_source()?;
            let store = open_store(&named.common.database).await?;
            let mut hashes = StoredHashes::read(&store, &master.master_key_file).await?;
            hashes.check()?;
            // Before the password is asked for. Whoever adds the name meanwhile is found when it is stored.
            if store.perform(FindUser { username: named.name.clone() }).await?.is_some() {
                return Err(taken(&named.name));
            }
            let hash = password.read(&named.name)?;
            let (id, username) = (random::user_id(), &named.name);
            let user = |password_hash| AddUser {
                id: id.clone(),
                username: username.clone(),
                password_hash,
                scope: (!scope.is_empty()).then(|| join(&scope)),
                roles: role.clone(),
                now,
                disabled_at: None,
                mfa_required_at: mfa_required.then_some(now),
                decoy_number: random::decoy_number(),
            };
            if !hashes.store(&id, &hash, user).await? {
                return Err(taken(username));
            }
            say_added(username, &id, named.common.json);
            Ok(())
        }
        Command::List(options) => list::run(*options, now).await,
        Command::Import(options) => import::run(*options, now).await,
        Command::Apply(options) => apply::run(*options).await,
        Command::Export(options) => export::run(options).await,
        Command::Show(options) => show::run(options, now).await,
        Command::Unlock { named, master } => {
            let store = open_existing_store(&named.common.database).await?;
            let user = find(&store, &named.name).await?;
            let unlocked = administration::unlock(&store, &master.master_key_file, &user).await?;
            let done = if unlocked { "unlocked" } else { "not held back: nothing was changed" };
            say(true, &named, done)
        }
        Command::Otp(command) => otp::run(command, now).await,
        Command::Set(options) => set::run(options, now).await,
        Command::Rename(options) => rename::run(options).await,
        Command::Seal(options) => seal::seal(options).await,
        Command::Unseal(options) => seal::unseal(options).await,
        Command::Passwd(options) => passwd::run(*options, now).await,
        Command::Disable(named) => set_disabled(named, true, now).await,
        Command::Enable(named) => set_disabled(named, false, now).await,
        Command::Delete { named, confirmation } => {
            let store = open_existing_store(&named.common.database).await?;
            let user = find(&store, &named.name).await?;
            confirmation.ask(&format!(
                "The user {} will be deleted, and all sessions will end. Whoever gets the name later is another user, \
                 with another sub; to keep a user out for a while, there is `jeton user disable`.",
                named.name
            ))?;
            // First no new session, then none at all, then no user.
            let username = named.name.clone();
            store.perform(SetUserDisabled { username, disabled: true, now }).await?;
            end_dead_sessions(&store, &User { disabled_at: Some(now), ..user }).await?;
            let deleted = store.perform(DeleteUser { username: named.name.clone() }).await?;
            say(deleted, &named, "deleted")
        }
    }
}

impl NewPassword {
    /// Requires that there is somebody to ask, or that the password comes from standard input.
    fn require_source(&self) -> Result<(), Failure> {
        if self.password_stdin { Ok(()) } else { prompt::require_terminal() }
    }

    /// Reads, checks and hashes a password.
    fn read(&self, username: &Username) -> Result<Secret, Failure> {
        let password = prompt::new_password(self.password_stdin)?;
        password_policy::check(&password, username.as_str(), self.allow_short_passwords)?;
        Ok(Secret::new(password::hash(&password, self.scrypt)?))
    }
}

fn describe(throttle: &AccountThrottle) -> String {
    let failures = match throttle.failures {
        0 => "No failed logins".to_owned(),
        1 => "1 failed login".to_owned(),
        failures => format!("{failures} failed logins in a row"),
    };
    let new_origins = match throttle.waits_until {
        _ if throttle.locked => {
            "they are refused until the password is changed, or `jeton user unlock`".to_owned()
        }
        Some(until) => format!("they wait until {until}"),
        None => "none waits".to_owned(),
    };
    let known = match (throttle.known_origins, throttle.known_origins_that_wait) {
        (0, _) => "No origin has logged in within the last 90 days.".to_owned(),
        (known, wait) => format!(
            "Origins that have logged in within the last 90 days: {known}; of these wait for failed logins of their \
             own: {wait}."
        ),
    };
    let codes = match (throttle.codes_locked, throttle.wrong_codes) {
        (true, _) => {
            " Wrong one-time passwords: too many in a row; only known origins with an address are served until the \
             password is changed, or `jeton user unlock`."
                .to_owned()
        }
        (false, 0) => String::new(),
        (false, wrong) => format!(" Wrong one-time passwords in a row: {wrong}."),
    };
    format!("{failures} from new origins: {new_origins}. {known}{codes}")
}

fn join(scopes: &[Scope]) -> Scope {
    scopes.iter().fold(Scope::default(), Scope::union)
}

fn say_added(username: &Username, id: &UserId, json: bool) {
    if json {
        output::json(&Added { username: username.as_str(), sub: id.as_str() });
    } else {
        output::line(&format!("The user {username} was added, with the sub {id}."));
    }
}

/// Looks at users by name, after a name, a page at a time, until it has seen enough.
async fn for_each(
    store: &Store,
    filter: UserFilter,
    mut after: Option<Username>,
    mut look: impl FnMut(User) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    loop {
        let page = store.perform(ListUsers { filter: filter.clone(), after, limit: PAGE }).await?;
        let Some(last) = page.last().map(|user| user.username.clone()) else { return Ok(()) };
        after = Some(last);
        for user in page {
            if look(user)?.is_break() {
                return Ok(());
            }
        }
    }
}

async fn find(store: &Store, name: &Username) -> Result<User, Failure> {
    let found = store.perform(FindUser { username: name.clone() }).await?;
    found.ok_or_else(|| unknown(name))
}

async fn set_disabled(named: Named, disabled: bool, now: Timestamp) -> Result<(), Failure> {
    let store = open_existing_store(&named.common.database).await?;
    let user = find(&store, &named.name).await?;
    let changed = set_user_disabled(&store, &user, disabled, now).await?;
    say(true, &named, output::disabled(changed, disabled))
}

/// Says what was done to a user, if there is one of that name.
fn say(changed: bool, named: &Named, done: &str) -> Result<(), Failure> {
    let Named { name, common } = named;
    if !changed {
        return Err(unknown(name));
    }
    output::outcome(common.json, ("user", "username"), name.as_str(), done);
    Ok(())
}

fn taken(name: &Username) -> Failure {
    Failure::conflict(format!("there is a user {name} already: nothing was changed"))
}

fn unknown(name: &Username) -> Failure {
    Failure::not_found(format!("there is no user {name}: see `jeton user list`"))
}
