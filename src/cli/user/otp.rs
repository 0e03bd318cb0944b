//! `jeton user otp`: the authenticators and recovery codes of users.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Named, find, open_existing_store, unknown};
use crate::cli::import::otp_sealer::new_authenticator;
use crate::cli::qr::Qr;
use crate::cli::{listing, output, replicas};
use crate::config::MasterKeySettings;
use jeton_crypto::one_time_password::{self, OtpSecret, prepare_code};
use jeton_crypto::second_factor_key::SecondFactorKey;
use jeton_oauth::otpauth::{OtpAlgorithm, OtpParameters};
use jeton_oauth::second_factor::{
    AUTHENTICATORS_MAX, RECOVERY_CODES, SecondFactors, UsedFactor, check_name,
};
use jeton_oauth::{Invalid, Secret, Timestamp};
use jeton_service::keys::second_factors::second_factor_key;
use jeton_store::Store;
use jeton_store::operator_acts::Deed;
use jeton_store::second_factors::ChangeSecondFactors;
use jeton_store::users::User;

/// The commands of `jeton user otp`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Make a secret for an authenticator app, and show it once, as otpauth URI and QR code. It counts once a code has
    /// proved it: `jeton user otp confirm`
    Add(Box<Add>),
    /// Prove an authenticator with a code that it shows: the user must send one at each login from now on. The first
    /// time, ten recovery codes are made and shown once
    Confirm {
        #[command(flatten)]
        named: Named,
        /// The code that the authenticator shows
        code: String,
        #[command(flatten)]
        master: MasterKeySettings,
    },
    /// List the authenticators of a user
    List(Named),
    /// Take an authenticator away from a user. With the last one the recovery codes go too, and the user logs in with
    /// the password alone, unless a second factor is required
    Remove {
        #[command(flatten)]
        named: Named,
        /// The authenticator, as `jeton user otp list` has it
        id: String,
    },
    /// Make ten new recovery codes, and show them once; those before are good no longer
    RecoveryCodes {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        master: MasterKeySettings,
    },
}

/// What `jeton user otp add` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    named: Named,
    /// What the user calls the authenticator
    #[arg(long = "name", value_name = "AUTHENTICATOR", default_value = "authenticator",
          value_parser = authenticator_name)]
    authenticator: String,
    /// What the authenticator app shows as the service
    #[arg(long, value_name = "NAME", default_value = "Jeton", value_parser = authenticator_name)]
    app: String,
    /// SHA1, SHA256 or SHA512. Many apps compute SHA1 whatever they are told
    #[arg(long, value_name = "ALGORITHM", default_value = "SHA1")]
    algorithm: OtpAlgorithm,
    /// How many digits a code has: 6 or 8
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    digits: u32,
    /// How long a code is shown, in seconds: 30 or 60
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    period: i64,
    /// Write the QR code to this new file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the QR code to this new file, as PNG
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    #[command(flatten)]
    master: MasterKeySettings,
}

fn authenticator_name(text: &str) -> Result<String, Invalid> {
    check_name(text).map(|()| text.to_owned())
}

pub(super) async fn run(command: Command, now: Timestamp) -> Result<(), Failure> {
    match command {
        Command::Add(options) => add(*options, now).await,
        Command::Confirm { named, code, master } => confirm(&named, code, &master, now).await,
        Command::List(named) => {
            let store = open_existing_store(&named.common.database).await?;
            let user = find(&store, &named.name).await?;
            list(&user, named.common.json);
            Ok(())
        }
        Command::Remove { named, id } => remove(&named, id).await,
        Command::RecoveryCodes { named, master } => recovery_codes(&named, &master, now).await,
    }
}

/// What a command needs that makes or proves a second factor: the database, the user, and the key of second factors.
async fn open(
    named: &Named,
    master: &MasterKeySettings,
    now: Timestamp,
) -> Result<(Store, User, SecondFactorKey), Failure> {
    let store = open_existing_store(&named.common.database).await?;
    replicas::require_second_factors(&store, now).await?;
    let user = find(&store, &named.name).await?;
    let key = second_factor_key(store.clone(), &master.master_key_file, now).await?;
    Ok((store, user, key))
}

async fn add(options: Add, now: Timestamp) -> Result<(), Failure> {
    let Add { named, authenticator, app, algorithm, digits, period, svg, png, master } = options;
    let parameters = OtpParameters::new(algorithm, digits, period)?;
    let (store, user, key) = open(&named, &master, now).await?;
    let secret = OtpSecret::random(parameters);
    let mut own = new_authenticator(&authenticator, now);
    own.sealed = key.seal(&user.id, &own.id, &secret);
    let uri = secret.uri(&app, named.name.as_str());
    let qr = Qr::new(uri.expose())?;
    // Before anything is stored.
    if let Some(path) = &svg {
        write(path, "--svg", qr.to_svg().as_bytes())?;
    }
    if let Some(path) = &png {
        write(path, "--png", &qr.to_png())?;
    }
    let (id, id_of_user) = (own.id.clone(), user.id.clone());
    let add = move |user: &User, factors: &mut SecondFactors| {
        if user.id != id_of_user {
            return Err(unknown(&user.username));
        }
        if factors.authenticators.len() >= AUTHENTICATORS_MAX {
            return Err(Failure::refused(format!(
                "the user has {AUTHENTICATORS_MAX} authenticators: remove one first"
            )));
        }
        factors.authenticators.push(own.clone());
        Ok(())
    };
    change(&store, &named, Deed::AuthenticatorAdded, add).await?;
    if named.common.json {
        output::json(&json!({ "id": id, "otpauth": uri.expose() }));
        return Ok(());
    }
    output::line(&format!("The authenticator {id} of the user {} was added.", named.name));
    output::line(&format!("Its secret, shown now and never again: {}", uri.expose()));
    output::picture(&qr.for_terminal());
    output::line(&format!(
        "It counts once it is proved: jeton user otp confirm {} CODE",
        named.name
    ));
    Ok(())
}

/// Writes a new file, which only its owner can read: it shows the secret.
fn write(path: &Path, option: &str, content: &[u8]) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(content)).map_err(|error| {
        Failure::failed(format!("cannot make {} ({option}) as a new file: {error}", path.display()))
    })
}

async fn confirm(
    named: &Named,
    code: String,
    master: &MasterKeySettings,
    now: Timestamp,
) -> Result<(), Failure> {
    let (store, user, key) = open(named, master, now).await?;
    let code = prepare_code(&Secret::new(code));
    let codes = RecoveryCodes::random(&key, &user);
    let digests = codes.digests.clone();
    let confirm = move |user: &User, factors: &mut SecondFactors| {
        let waiting = factors.authenticators.iter().filter(|own| own.confirmed_at.is_none());
        let mut waiting = waiting.peekable();
        if waiting.peek().is_none() {
            return Err(Failure::conflict(format!(
                "no authenticator of the user {} waits for a code: nothing was changed; see `jeton user otp list`",
                user.username
            )));
        }
        let proved = waiting.find_map(|own| {
            let secret = key.open(&user.id, &own.id, &own.sealed)?;
            let now_step = secret.parameters().step(now);
            let step = secret.find_step(code.expose(), own.steps(now_step))?;
            Some((own.id.clone(), step, now_step))
        });
        let (id, step, now_step) = proved.ok_or_else(|| {
            Failure::refused(
                "the code is not one that the authenticator shows now: nothing was changed; look whether its clock is \
                 right",
            )
        })?;
        *factors = factors.after(UsedFactor::Authenticator(&id, step), now_step, now);
        for own in factors.authenticators.iter_mut().filter(|own| own.id == id) {
            (own.confirmed_at, own.last_used_at) = (Some(now), None);
        }
        let is_first = factors.recovery_codes_made_at.is_none();
        if is_first {
            factors.recovery_codes.clone_from(&digests);
            factors.recovery_codes_made_at = Some(now);
        }
        Ok((id, is_first))
    };
    let (id, is_first) = change(&store, named, Deed::AuthenticatorConfirmed, confirm).await?;
    let shown = if is_first { codes.texts() } else { Vec::new() };
    if named.common.json {
        output::json(&json!({
            "username": named.name, "id": id, "outcome": "confirmed", "recovery_codes": shown,
        }));
        return Ok(());
    }
    output::line(&format!(
        "The authenticator {id} is confirmed: the user {} must send a code at each login.",
        named.name
    ));
    if is_first {
        show(&shown);
    }
    Ok(())
}

/// New recovery codes, and the digests by which they are stored.
struct RecoveryCodes {
    codes: Vec<Secret>,
    digests: Vec<String>,
}

impl RecoveryCodes {
    fn random(key: &SecondFactorKey, user: &User) -> Self {
        let codes: Vec<Secret> =
            (0..RECOVERY_CODES).map(|_| one_time_password::recovery_code()).collect();
        let digests = codes.iter().map(|code| key.digest(&user.id, code)).collect();
        Self { codes, digests }
    }

    fn texts(&self) -> Vec<&str> {
        self.codes.iter().map(Secret::expose).collect()
    }
}

fn show(codes: &[&str]) {
    output::line(
        "Recovery codes, shown now and never again; each is good once, where a code is asked for:",
    );
    for code in codes {
        output::line(code);
    }
}

async fn recovery_codes(
    named: &Named,
    master: &MasterKeySettings,
    now: Timestamp,
) -> Result<(), Failure> {
    let (store, user, key) = open(named, master, now).await?;
    let codes = RecoveryCodes::random(&key, &user);
    let digests = codes.digests.clone();
    let make = move |user: &User, factors: &mut SecondFactors| {
        if !factors.are_in_use() {
            return Err(Failure::refused(format!(
                "the user {} has no confirmed authenticator, beside which a recovery code would be good: nothing was \
                 changed",
                user.username
            )));
        }
        factors.recovery_codes.clone_from(&digests);
        factors.recovery_codes_made_at = Some(now);
        Ok(())
    };
    change(&store, named, Deed::RecoveryCodesMade, make).await?;
    if named.common.json {
        output::json(&json!({ "username": named.name, "recovery_codes": codes.texts() }));
    } else {
        show(&codes.texts());
    }
    Ok(())
}

async fn remove(named: &Named, id: String) -> Result<(), Failure> {
    let store = open_existing_store(&named.common.database).await?;
    find(&store, &named.name).await?;
    let removed = id.clone();
    let remove = move |user: &User, factors: &mut SecondFactors| {
        if factors.find(&removed).is_none() {
            return Err(Failure::not_found(format!(
                "the user {} has no authenticator {removed}: see `jeton user otp list`",
                user.username
            )));
        }
        factors.authenticators.retain(|own| own.id != removed);
        let in_use = factors.are_in_use();
        if !in_use {
            factors.recovery_codes.clear();
            factors.recovery_codes_made_at = None;
        }
        Ok(in_use)
    };
    let in_use = change(&store, named, Deed::AuthenticatorRemoved, remove).await?;
    let done = if in_use {
        format!("left without the authenticator {id}")
    } else {
        format!("left without the authenticator {id}, and has no second factor now")
    };
    super::say(true, named, &done)
}

/// Changes the second factors of a user.
async fn change<T: Send + 'static>(
    store: &Store,
    named: &Named,
    deed: Deed,
    change: impl Fn(&User, &mut SecondFactors) -> Result<T, Failure> + Send + Sync + 'static,
) -> Result<T, Failure> {
    let username = named.name.clone();
    let changed = store.perform(ChangeSecondFactors { username, deed, change }).await?;
    changed.ok_or_else(|| unknown(&named.name))?
}

fn list(user: &User, json: bool) {
    if json {
        output::json(&user.second_factors);
        return;
    }
    let moment =
        |at: Option<Timestamp>, none: &str| at.map_or(none.to_owned(), |at| at.to_string());
    let factors = user.second_factors.get();
    let rows = factors.authenticators.iter().map(|own| {
        [
            own.id.clone(),
            own.name.clone(),
            own.added_at.to_string(),
            moment(own.confirmed_at, "no"),
            moment(own.last_used_at, "never"),
        ]
    });
    listing::table(["ID", "NAME", "ADDED", "CONFIRMED", "LAST USED"], &rows.collect::<Vec<_>>());
    output::line("");
    output::line(&format!("Recovery codes left: {}", factors.recovery_codes.len()));
}
