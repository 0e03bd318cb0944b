//! `jeton user list`: which users there are.

use std::ops::ControlFlow;

use clap::Args;
use serde::Serialize;

use super::{Common, Failure, for_each, open_existing_store, stats};
use crate::cli::listing::{self, Column, Width};
use crate::cli::output;
use crate::config::MasterKeySettings;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::username_pattern::UsernamePattern;
use jeton_oauth::{Seconds, Timestamp};
use jeton_service::stored_hashes::StoredHashes;
use jeton_service::throttle::held_back::{HeldBack, Hold, HoldReason};
use jeton_store::users::{User, UserFilter};

/// What `jeton user list` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    /// How many users have hashes of each format and cost, and when one of them last logged in
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    selection: Selection,
    /// Only users whose logins are refused at this moment because of failed ones, with why and until when; needs
    /// the master key
    #[arg(long, conflicts_with = "stats")]
    locked: bool,
    /// List so many users at most
    #[arg(long, value_name = "NUMBER", conflicts_with = "stats",
          value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Begin after this name: the last one of the list before
    #[arg(long, value_name = "NAME", conflicts_with = "stats")]
    after: Option<Username>,
    #[command(flatten)]
    width: Width,
    #[command(flatten)]
    master: MasterKeySettings,
    #[command(flatten)]
    common: Common,
}

/// Which users are wanted: those of whom all of this holds.
#[derive(Args, Debug)]
struct Selection {
    /// Only users who are disabled
    #[arg(long)]
    disabled: bool,
    /// Only users who have this role, spelled exactly so
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only users who have neither logged in nor refreshed a session for so long, as 90d, and were added or imported before
    /// that
    #[arg(long, value_name = "DURATION")]
    inactive_since: Option<Seconds>,
    /// Only users whose password hash is of this format, as --stats names it: 'bcrypt', or 'bcrypt cost 12';
    /// of sealed hashes the master key tells it
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only users whose name is like this: * stands for any characters, as in '*@example.com'
    #[arg(long, value_name = "PATTERN")]
    name: Option<UsernamePattern>,
}

impl Selection {
    /// What the database can find of it.
    fn filter(&self, now: Timestamp) -> UserFilter {
        let before = |span: Seconds| Timestamp(now.0.saturating_sub(span.get()));
        UserFilter {
            disabled: self.disabled,
            role: self.role.clone(),
            inactive_since: self.inactive_since.map(before),
            name: self.name.clone(),
        }
    }

    /// Whether the rest of it holds for a user whom the database has found.
    fn holds(&self, user: &User, hashes: &StoredHashes) -> bool {
        let has_role = |role: &String| user.roles.contains(role);
        let has_format = |format: &String| is_of_format(user, hashes, format);
        self.role.as_ref().is_none_or(has_role) && self.format.as_ref().is_none_or(has_format)
    }
}

/// Whether the hash of a user is of a format: the function, or the function and its cost.
fn is_of_format(user: &User, hashes: &StoredHashes, format: &str) -> bool {
    let own = stats::format_of(user, hashes).to_ascii_lowercase();
    let rest = own.strip_prefix(&format.to_ascii_lowercase());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A user in the list.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    user: User,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_back: Vec<Hold>,
}

pub(super) async fn run(options: List, now: Timestamp) -> Result<(), Failure> {
    let List { selection, common, width, .. } = &options;
    let store = open_existing_store(&common.database).await?;
    let filter = selection.filter(now);
    let hashes = StoredHashes::read(&store, &options.master.master_key_file).await?;
    if options.stats {
        let is_wanted = |user: &User| selection.holds(user, &hashes);
        return stats::run(&store, &hashes, filter, is_wanted, common.json).await;
    }
    let held_back = if options.locked {
        Some(HeldBack::look(&store, &options.master.master_key_file, now).await?)
    } else {
        None
    };
    let limit =
        options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut listed: Vec<Listed> = Vec::new();
    let mut is_cut = false;
    let list = |user: User| {
        let holds = held_back.as_ref().map(|held_back| held_back.of(&user));
        if !selection.holds(&user, &hashes) || holds.as_ref().is_some_and(Vec::is_empty) {
            return Ok(ControlFlow::Continue(()));
        }
        if listed.len() == limit {
            is_cut = true;
            return Ok(ControlFlow::Break(()));
        }
        listed.push(Listed { user, held_back: holds.unwrap_or_default() });
        Ok(ControlFlow::Continue(()))
    };
    for_each(&store, filter, options.after.clone(), list).await?;
    let end = listed.last().map(|end| end.user.username.clone()).filter(|_| is_cut);
    print(listed, options.locked, common.json, *width);
    if let Some(end) = end {
        output::error_line(&format!("There are more: --after {end}"));
    }
    Ok(())
}

fn print(listed: Vec<Listed>, locked: bool, json: bool, width: Width) {
    if json {
        output::json(&listed);
    } else if locked {
        print_held_back(&listed, width);
    } else {
        print_users(listed, width);
    }
}

fn print_users(listed: Vec<Listed>, width: Width) {
    let columns = [
        Column::cut("NAME", 20),
        Column::wide("SUB"),
        Column::whole("STATE"),
        Column::cut("ROLES", 8),
        Column::cut("SCOPE", 8),
        Column::wide("ADDED"),
        Column::whole("LAST LOGIN"),
    ];
    let rows = listed.into_iter().map(|Listed { user, .. }| {
        [
            user.username.to_string(),
            user.id.to_string(),
            state(&user),
            user.roles.join(" "),
            scope(&user),
            width.day(user.created_at),
            user.last_login_at.map_or("never".to_owned(), |at| width.day(at)),
        ]
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
}

/// Whether a user must use a second factor and has none, and so cannot log in.
pub(super) fn lacks_second_factor(user: &User) -> bool {
    user.mfa_required_at.is_some() && !user.second_factors.get().are_in_use()
}

/// What a user can do.
pub(super) fn state(user: &User) -> String {
    if user.disabled_at.is_some() {
        "disabled"
    } else if lacks_second_factor(user) {
        "no second factor"
    } else if user.password_temporary_at.is_some() {
        "temporary password"
    } else {
        "enabled"
    }
    .to_owned()
}

/// The most that a user may have.
pub(super) fn scope(user: &User) -> String {
    user.scope.as_ref().map_or_else(|| "(any)".to_owned(), ToString::to_string)
}

fn print_held_back(listed: &[Listed], width: Width) {
    let columns = [
        Column::cut("NAME", 20),
        Column::wide("SUB"),
        Column::whole("HELD BACK"),
        Column::whole("UNTIL"),
    ];
    let rows = listed.iter().flat_map(|listed| {
        listed.held_back.iter().map(|hold| {
            let until = hold.until.map_or("unlocked".to_owned(), |until| width.minute(until));
            [listed.user.username.to_string(), listed.user.id.to_string(), hold.to_string(), until]
        })
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
    let is_locked =
        |listed: &Listed| listed.held_back.iter().any(|hold| hold.why == HoldReason::Locked);
    if listed.iter().any(is_locked) {
        output::error_line(
            "unlocked: by `jeton user unlock NAME`, or when the password is changed.",
        );
    }
}
