//! `jeton user apply`: users as they should be, a line each, for nightly jobs and configuration management.
//!
//! Lines are applied one after the other, each answered before the next is read. At most one hash is computed at a time,
//! in memory that is reserved once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Common, end_dead_sessions, is_barred, open_store, output, set_user_disabled, set_user_password,
};
use crate::cli::failure::{Failure, Kind as FailureKind};
use crate::cli::import::json::read_object;
use crate::cli::import::record::{Kind, Problem, Wanted};
use crate::cli::machine;
use crate::config::{HashingSettings, MasterKeySettings};
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::{HashingMemory, PasswordHash};
use jeton_crypto::{password_policy, random};
use jeton_oauth::resource_owner::Password;
use jeton_oauth::{Seconds, Secret, Timestamp, UserId};
use jeton_runtime::clock::Clock;
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::Store;
use jeton_store::import::FindKnown;
use jeton_store::operator_acts::differing;
use jeton_store::users::{AddUser, ChangeUser, User};

/// The longest line, in octets.
const LINE_LENGTH_MAX: u64 = 1 << 20;

/// What `jeton user apply` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Apply {
    /// JSON Lines: an object a line with username, and what is decided of password, `password_hash` (for new users),
    /// sub, scope, role, disabled and `mfa_required`; - for standard input
    file: PathBuf,
    /// Only add users; leave those who are there as they are
    #[arg(long)]
    new_only: bool,
    /// Accept passwords of 8 characters instead of 15
    #[arg(long)]
    allow_short_passwords: bool,
    #[command(flatten)]
    hashing: HashingSettings,
    #[command(flatten)]
    master: MasterKeySettings,
    #[command(flatten)]
    common: Common,
}

/// What came of a line. It is printed as a line of JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    Done {
        line: u64,
        username: String,
        sub: UserId,
        outcome: Outcome,
        /// The names of what was changed.
        changed: Vec<String>,
    },
    Failed {
        line: u64,
        /// As for the exit codes.
        error: FailureKind,
        message: String,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Added,
    Changed,
    Unchanged,
    /// The user is there, and was left as it is because of `--new-only`.
    Exists,
}

/// What came of a user: who it is, and what was changed.
type Applied = (UserId, Outcome, Vec<String>);

pub(super) async fn run(options: Apply) -> Result<(), Failure> {
    // The deadline of a login is no matter here.
    let limits = machine::hashing_limits(&options.hashing, Seconds::new(1), Seconds::new(1))?;
    let mut lines = open(&options.file)?;
    let store = open_store(&options.common.database).await?;
    let memory = HashingMemory::reserve_for(limits.kernel, limits.memory_per_thread)?;
    let hashes = StoredHashes::read(&store, &options.master.master_key_file).await?;
    let mut applying = Applying { options: &options, store, hashes, limits, memory };
    let (mut line, mut failed) = (0_u64, 0_u64);
    while let Some(text) = read_line(&mut lines)? {
        line += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let (username, applied) = applying.apply_line(&text).await;
        let problem = applied.as_ref().err().cloned();
        output::json_line(&match applied {
            Ok((sub, outcome, changed)) => Answer::Done { line, username, sub, outcome, changed },
            Err(failure) => {
                failed += 1;
                Answer::Failed { line, error: failure.kind(), message: failure.to_string() }
            }
        });
        if let Some(failure) = problem.filter(|failure| failure.kind() == FailureKind::Unavailable)
        {
            return Err(failure.reworded(|text| {
                format!("{text}. The lines after {line} were not applied: the same command again applies them")
            }));
        }
    }
    match failed {
        0 => Ok(()),
        1 => Err("1 line was not applied: its answer says why".into()),
        _ => Err(format!("{failed} lines were not applied: their answers say why").into()),
    }
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path)
        .map_err(|error| format!("cannot open {} to read users: {error}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

/// The next line, which may have a password in it.
fn read_line(lines: &mut dyn BufRead) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let mut text = Zeroizing::new(Vec::new());
    let read = lines.take(LINE_LENGTH_MAX).read_until(b'\n', &mut text);
    let length = read.map_err(|error| format!("cannot read on: {error}"))?;
    if length as u64 == LINE_LENGTH_MAX && !text.ends_with(b"\n") {
        return Err("a line is longer than 1 MiB: what follows was not applied".into());
    }
    Ok((length > 0).then_some(text))
}

struct Applying<'a> {
    options: &'a Apply,
    store: Store,
    hashes: StoredHashes,
    limits: HashingLimits,
    memory: HashingMemory,
}

impl Applying<'_> {
    /// Applies a line, and says of whom it is.
    async fn apply_line(&mut self, text: &[u8]) -> (String, Result<Applied, Failure>) {
        let read = read_object(text).map_err(|problem| Problem::new(Kind::Malformed, problem));
        match read.and_then(|members| Wanted::read(members, self.limits.memory_per_thread)) {
            Ok(wanted) => {
                let username = wanted.username.to_string();
                (username, self.apply(wanted).await)
            }
            Err(problem) => (String::new(), Err(Failure::usage(problem.sentence))),
        }
    }

    async fn apply(&mut self, wanted: Wanted) -> Result<Applied, Failure> {
        let names = vec![wanted.username.as_str().to_owned()];
        let ids = wanted.sub.iter().cloned().collect();
        let known = self.store.perform(FindKnown { names, ids }).await?;
        let same = known.users.iter().find(|user| user.username == wanted.username);
        if let Some(sub) = &wanted.sub {
            let has_it = |user: &&User| user.id == *sub && user.username != wanted.username;
            if let Some(other) = known.users.iter().find(has_it) {
                return Err(Failure::conflict(format!(
                    "its sub is that of the user {}",
                    other.username
                )));
            }
            if !known.clients.is_empty() {
                return Err(Failure::conflict(
                    "its sub is the name of a client, which could pass for the user (RFC 9068 §5)",
                ));
            }
        }
        match same {
            None => self.add(wanted).await,
            Some(user) if self.options.new_only => {
                Ok((user.id.clone(), Outcome::Exists, Vec::new()))
            }
            Some(user) if wanted.sub.as_ref().is_some_and(|sub| *sub != user.id) => {
                Err(Failure::conflict("there is a user of its name already, with another sub"))
            }
            Some(user) => self.change(user.clone(), wanted).await,
        }
    }

    /// Adds a user, unless one of the name was added meanwhile.
    async fn add(&mut self, wanted: Wanted) -> Result<Applied, Failure> {
        let now = Clock::System.now();
        let hash = match (wanted.password_hash, wanted.password) {
            (Some(hash), _) => hash,
            (None, Some(password)) => self.hash(&password, wanted.username.as_str())?,
            (None, None) => {
                return Err(Failure::usage(
                    "it has neither password nor password_hash, of which a new user needs one",
                ));
            }
        };
        let id = wanted.sub.unwrap_or_else(random::user_id);
        let user = |password_hash| AddUser {
            id: id.clone(),
            username: wanted.username.clone(),
            password_hash,
            scope: wanted.scope.clone().flatten(),
            roles: wanted.roles.clone().unwrap_or_default(),
            now,
            disabled_at: wanted.disabled.unwrap_or_default().then_some(now),
            mfa_required_at: wanted.mfa_required.unwrap_or_default().then_some(now),
            decoy_number: random::decoy_number(),
        };
        if !self.hashes.store(&id, &hash, user).await? {
            return Err(super::taken(&wanted.username));
        }
        Ok((id, Outcome::Added, Vec::new()))
    }

    /// Changes what differs. What a line does not say stays as it is.
    async fn change(&mut self, user: User, wanted: Wanted) -> Result<Applied, Failure> {
        let now = Clock::System.now();
        // Before anything is changed: a password that is refused leaves the user as it was.
        let password = match &wanted.password {
            Some(password) if !self.is_password_of(&user, password)? => {
                Some(self.hash(password, user.username.as_str())?)
            }
            _ => None,
        };
        let mut changed = self.change_rights(&user, &wanted, now).await?;
        if let Some(disabled) = wanted.disabled
            && set_user_disabled(&self.store, &user, disabled, now).await?
        {
            changed.push("disabled".to_owned());
        }
        if let Some(hash) = password
            && set_user_password(&self.store, &mut self.hashes, &user, &hash, now).await?
        {
            changed.push("password".to_owned());
        }
        let outcome = if changed.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
        Ok((user.id, outcome, changed))
    }

    async fn change_rights(
        &self,
        user: &User,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Vec<String>, Failure> {
        if wanted.mfa_required.is_some() && is_barred(user) {
            end_dead_sessions(&self.store, user).await?;
        }
        let (scope, roles) = (wanted.scope.clone(), wanted.roles.clone());
        let mfa_required = wanted.mfa_required;
        let change = move |user: &mut User| {
            user.scope = scope.clone().unwrap_or_else(|| user.scope.take());
            user.roles = roles.clone().unwrap_or_else(|| std::mem::take(&mut user.roles));
            if let Some(required) = mfa_required {
                user.mfa_required_at = required.then_some(user.mfa_required_at.unwrap_or(now));
            }
        };
        let changing = ChangeUser { username: user.username.clone(), change };
        let changed = self.store.perform(changing).await?;
        let (before, after) = changed.ok_or_else(|| super::unknown(&user.username))?;
        if before.mfa_required_at.is_none() && after.mfa_required_at.is_some() {
            end_dead_sessions(&self.store, &after).await?;
        }
        Ok(differing(&before, &after))
    }

    /// Whether a user has this password now. It takes as long as a login.
    fn is_password_of(&mut self, user: &User, password: &Secret) -> Result<bool, Failure> {
        let memory_max = self.limits.memory_per_thread;
        let hash = self.hashes.hash_of(user)?;
        let stored = PasswordHash::parse(hash.expose(), memory_max);
        let stored = stored.map_err(|error| {
            Failure::failed(format!(
                "the stored hash of {} cannot be compared: {error}; `jeton user passwd` sets another password",
                user.username
            ))
        })?;
        let matches = stored.verify(&Password::new(password.clone()), &mut self.memory).is_some();
        self.memory.wipe();
        Ok(matches)
    }

    /// Checks and hashes a new password.
    fn hash(&mut self, password: &Secret, username: &str) -> Result<Secret, Failure> {
        let prepared = super::prompt::prepared(password)?;
        password_policy::check(&prepared, username, self.options.allow_short_passwords)?;
        let hash = Secret::new(self.memory.hash(&prepared, self.limits.cost));
        self.memory.wipe();
        Ok(hash)
    }
}
