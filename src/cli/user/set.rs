//! `jeton user set`: what a user may have.

use super::{Failure, Named, end_dead_sessions, find, is_barred, join, role, say, unknown};
use crate::cli::{open_existing_store, output};
use crate::config::switch;
use jeton_oauth::{Scope, Timestamp};
use jeton_store::users::{ChangeUser, User};

/// What `jeton user set` takes. What is left out stays as it is.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Set {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    decisions: Decisions,
}

/// What is decided about a user.
#[derive(clap::Args, Debug, Default, PartialEq)]
struct Decisions {
    /// The roles from now on; repeatable, --role= for none
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Vec<String>>,
    /// The most the user may have from now on; repeatable
    #[arg(long, value_name = "SCOPE", conflicts_with = "any_scope")]
    scope: Option<Vec<Scope>>,
    /// No limit beside the client's from now on
    #[arg(long)]
    any_scope: bool,
    /// Whether the user must use a second factor; from when on that is so, all sessions that none has opened have ended
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    mfa_required: Option<bool>,
}

impl Decisions {
    fn apply(&self, user: &mut User, now: Timestamp) {
        if let Some(roles) = &self.role {
            user.roles = roles.iter().filter(|role| !role.is_empty()).cloned().collect();
        }
        if let Some(scope) = &self.scope {
            user.scope = Some(join(scope));
        }
        if self.any_scope {
            user.scope = None;
        }
        if let Some(required) = self.mfa_required {
            user.mfa_required_at = required.then_some(user.mfa_required_at.unwrap_or(now));
        }
    }
}

pub(super) async fn run(options: Set, now: Timestamp) -> Result<(), Failure> {
    let Set { named, decisions } = options;
    if decisions == Decisions::default() {
        return Err(Failure::usage(
            "say what to change, as --role editor: `jeton user set --help` lists it all, `jeton user show` shows how the \
             user is",
        ));
    }
    let store = open_existing_store(&named.common.database).await?;
    let user = find(&store, &named.name).await?;
    if decisions.mfa_required.is_some() && is_barred(&user) {
        end_dead_sessions(&store, &user).await?;
    }
    let change = move |user: &mut User| decisions.apply(user, now);
    let changed = store.perform(ChangeUser { username: named.name.clone(), change }).await?;
    let (before, after) = changed.ok_or_else(|| unknown(&named.name))?;
    if before.mfa_required_at.is_none() && after.mfa_required_at.is_some() {
        end_dead_sessions(&store, &after).await?;
    }
    say(true, &named, &output::changes(&differing(&before, &after)))
}

/// What differs.
fn differing(before: &User, after: &User) -> Vec<&'static str> {
    let mut names = Vec::new();
    if before.roles != after.roles {
        names.push("roles");
    }
    if before.scope != after.scope {
        names.push("scope");
    }
    match (before.mfa_required_at, after.mfa_required_at) {
        (None, Some(_)) => {
            names.push("a second factor is required, and sessions without one have ended");
        }
        (Some(_), None) => names.push("no second factor is required"),
        _ => {}
    }
    names
}
