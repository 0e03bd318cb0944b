//! `jeton user show`: all that is stored of a user.

use clap::Args;
use serde::Serialize;

use super::list::{lacks_second_factor, scope, state};
use super::{Common, Failure, describe, open_existing_store, stats};
use crate::cli::{listing, output};
use crate::config::MasterKeySettings;
use jeton_crypto::data_key::is_sealed;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{Timestamp, UserId};
use jeton_service::stored_hashes::StoredHashes;
use jeton_service::throttle::administration::{self, AccountThrottle};
use jeton_store::Store;
use jeton_store::users::{FindUser, FindUserById, User};

/// What `jeton user show` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Show {
    /// The user's name, or the `sub` that tokens and the log have
    // One of 64 begins with a hyphen.
    #[arg(value_name = "NAME|SUB", allow_hyphen_values = true)]
    user: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    master: MasterKeySettings,
}

/// A user with what failed logins do to the account.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    user: User,
    /// The function and the cost of the password's hash.
    password_format: String,
    /// Whether the hash is sealed under a data key.
    password_sealed: bool,
    /// Nothing where it cannot be told without the master key.
    throttle: Option<AccountThrottle>,
}

pub(super) async fn run(options: Show, now: Timestamp) -> Result<(), Failure> {
    let store = open_existing_store(&options.common.database).await?;
    let user = find(&store, &options.user).await?;
    let files = &options.master.master_key_file;
    let throttle = administration::look(&store, files, &user, now).await;
    if let Err(problem) = &throttle {
        // What there is to see without the master key is worth seeing.
        output::error_line(&format!("Failed logins cannot be shown: {problem}"));
    }
    let hashes = StoredHashes::read(&store, files).await?;
    let password_format = stats::format_of(&user, &hashes);
    let password_sealed = is_sealed(user.password_hash.expose());
    let shown = Shown { user, password_format, password_sealed, throttle: throttle.ok() };
    if options.common.json {
        output::json(&shown);
    } else {
        print(&shown);
    }
    Ok(())
}

/// Finds a user by name, else by `sub`.
async fn find(store: &Store, text: &str) -> Result<User, Failure> {
    let named = match Username::parse(text) {
        Some(username) => store.perform(FindUser { username }).await?,
        None => None,
    };
    let known = match text.parse::<UserId>() {
        Ok(id) => store.perform(FindUserById { id }).await?,
        Err(_) => None,
    };
    if let (Some(named), Some(known)) = (&named, &known)
        && named.id != known.id
    {
        let note = format!("Note: {text} is also the sub of the user {}.", known.username);
        output::error_line(&note);
    }
    named.or(known).ok_or_else(|| {
        Failure::not_found(format!("there is no user {text}: see `jeton user list`"))
    })
}

fn print(Shown { user, password_format, password_sealed, throttle }: &Shown) {
    let sealed = if *password_sealed { ", sealed" } else { "" };
    let since = |at: Option<Timestamp>| at.map(|at| format!(" since {at}")).unwrap_or_default();
    let lacks_factor = user.mfa_required_at.filter(|_| lacks_second_factor(user));
    let barred = user.disabled_at.or(lacks_factor).or(user.password_temporary_at);
    let mut entries = vec![
        ("Name", user.username.to_string()),
        ("Sub", user.id.to_string()),
        ("State", state(user) + &since(barred)),
        ("Roles", user.roles.join(" ")),
        ("Scope", scope(user)),
        ("Password", format!("{password_format}{sealed}, set {}", user.password_changed_at)),
        ("Second factor", second_factor(user)),
        ("Added", user.created_at.to_string()),
        ("Last login", user.last_login_at.map_or("never".to_owned(), |at| at.to_string())),
    ];
    if let Some(at) = user.imported_at {
        entries.push(("Imported", at.to_string()));
    }
    if let Some(throttle) = throttle {
        entries.push(("Failed logins", describe(throttle)));
    }
    listing::details(&entries);
}

fn second_factor(user: &User) -> String {
    let factors = user.second_factors.get();
    let required = if user.mfa_required_at.is_some() { "required" } else { "not required" };
    let names: Vec<&str> = factors.confirmed().map(|own| own.name.as_str()).collect();
    if names.is_empty() {
        return format!("none; {required}");
    }
    let left = factors.recovery_codes.len();
    format!("{}; recovery codes left: {left}; {required}", names.join(", "))
}
