//! `jeton key`: the keys that tokens depend on. Every command that verifiers can notice says so first,
//! and asks.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::confirmation::Confirmation;
use super::listing::{self, Column, Width};
use super::serve::key_store;
use super::{Failure, key_file, key_picture, open_existing_store, output};
use crate::config::{AdministeredDatabase, KeySettings, MasterKeySettings};
use jeton_crypto::sealing::{KeyPurpose, MasterKeys, SealingError};
use jeton_oauth::{KeyId, Seconds, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::keys::administration::{KeyAdministration, ListedKey, Rotation};
use jeton_store::Store;

/// What all commands about keys take. Where no replica runs, the settings must be those of `jeton serve`.
#[derive(Args, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) database: AdministeredDatabase,
    #[command(flatten)]
    keys: KeySettings,
}

/// What commands take that ask before they act.
#[derive(Args, Debug)]
pub(super) struct Asking {
    #[command(flatten)]
    pub(super) confirmation: Confirmation,
    #[command(flatten)]
    pub(super) common: Common,
}

/// The commands of `jeton key`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make the master key before the first start: the first --master-key-file, which must not exist
    Init {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        master: MasterKeySettings,
    },
    /// List the keys, with a picture of their lives
    List {
        /// The keys that refresh tokens are derived with, instead of those that sign
        #[arg(long)]
        refresh: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        width: Width,
        #[command(flatten)]
        common: Common,
    },
    /// Make the next key now; the one before goes on verifying what it made
    Rotate {
        /// The key that refresh tokens are derived with, instead of the one that signs
        #[arg(long, conflicts_with = "emergency")]
        refresh: bool,
        /// Let the next key sign at once, although verifiers may not know it yet
        #[arg(long)]
        emergency: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Withdraw a key at once: what it made is good no longer
    Revoke {
        /// The key, as `jeton key list` has it
        // One of 64 begins with a hyphen.
        #[arg(allow_hyphen_values = true, required_unless_present = "lost")]
        kid: Option<KeyId>,
        /// Instead of one key: every key whose master key is lost, which no --master-key-file opens. All tokens
        /// that they made are refused
        #[arg(long, conflicts_with = "kid")]
        lost: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Add a private RSA key that was made elsewhere, as the next key that signs
    Import {
        /// A file with the key, as PEM (PKCS #1 or PKCS #8, not encrypted; what stands around it is passed over) or
        /// JWK; - for standard input
        file: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
    /// Print the public halves of the keys that sign and verify: a JWK Set, or PEM
    Export {
        /// Private halves are never printed, so this must be said
        #[arg(long, required = true)]
        public: bool,
        /// Print PEM
        #[arg(long)]
        pem: bool,
        /// Only this key, as a JWK or PEM
        #[arg(allow_hyphen_values = true)]
        kid: Option<KeyId>,
        #[command(flatten)]
        common: Common,
    },
    /// Seal the data key, which opens sealed password hashes, under a new master key: with the recovery key, when the
    /// old master key is lost
    Recover {
        /// The file with the secret half of the recovery key, as age-keygen wrote it; - for standard input
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        #[command(flatten)]
        asking: Asking,
    },
    /// Seal all keys in the database under the first --master-key-file, which is made if it does not
    /// exist; the others open them
    Rewrap {
        #[command(flatten)]
        asking: Asking,
    },
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { json, master } => init(&master, json),
        Command::List { refresh, json, width, common } => {
            let keys = administration_by_replicas(&common, Intent::Look).await?;
            let listed = if refresh { keys.list_refresh().await } else { keys.list().await }?;
            if json {
                output::json(&listed);
            } else {
                list(&listed, &keys, refresh, width);
            }
            for problem in keys.replaced_public_halves().await? {
                output::error_line(&format!("warning: {problem}"));
            }
            Ok(())
        }
        Command::Rotate { refresh: true, asking, .. } => rotate_refresh(&asking.common).await,
        Command::Rotate { emergency, asking, .. } => rotate(emergency, &asking).await,
        Command::Revoke { kid: Some(kid), asking, .. } => revoke(kid, &asking).await,
        Command::Revoke { kid: None, asking, .. } => revoke_lost(&asking).await,
        Command::Import { file, asking } => key_file::import(&file, &asking).await,
        Command::Export { pem, kid, common, .. } => {
            export(&administration(&common, Intent::Look).await?, kid, pem).await
        }
        Command::Recover { identity, asking } => key_file::recover(&identity, &asking).await,
        Command::Rewrap { asking } => rewrap(&asking).await,
    }
}

/// Makes the master key, which needs no database.
fn init(settings: &MasterKeySettings, json: bool) -> Result<(), Failure> {
    let file = settings.master_key_file.first().ok_or(SealingError::NoFile)?;
    let kid = MasterKeys::make(file)?;
    let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    if json {
        output::json(&serde_json::json!({ "kid": kid, "file": path }));
        return Ok(());
    }
    output::line(&format!("The master key {kid} was made: {}", path.display()));
    output::line(
        "Back this file up, apart from the database. Nothing else decrypts the keys in the database. Each \
         replica needs a copy before its first start.",
    );
    output::line(
        "Once it is backed up, consider `jeton user seal`: then password hashes are of no use to whoever steals the \
         database. If every copy of this file and of a recovery key is lost then, so is every password.",
    );
    Ok(())
}

/// What a command is about to do with the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Look,
    Change,
}

pub(super) async fn administration(
    common: &Common,
    intent: Intent,
) -> Result<KeyAdministration, Failure> {
    administer(open_existing_store(&common.database).await?, common, intent).await
}

/// Administers keys by a clock that agrees with the database's: what is changed gets a date that stays. Who only
/// looks is told if it does not agree.
pub(super) async fn administer(
    store: Store,
    common: &Common,
    intent: Intent,
) -> Result<KeyAdministration, Failure> {
    let clock = AgreedClock::open(Clock::System, store.clone()).await?;
    let now = match clock.now() {
        Ok(now) => now,
        Err(off) if intent == Intent::Change => {
            return Err(Failure::failed(format!("{off}; nothing was changed")));
        }
        Err(off) => {
            output::error_line(&format!("note: {off}"));
            clock.presumed_now()
        }
    };
    let key_store = key_store(store, &common.keys);
    key_store.schedule.check()?;
    Ok(KeyAdministration { key_store, now })
}

/// Administers keys by the settings that the replicas publish by, and says so if they are not those that
/// this command was given.
async fn administration_by_replicas(
    common: &Common,
    intent: Intent,
) -> Result<KeyAdministration, Failure> {
    by_replicas(administration(common, intent).await?).await
}

pub(super) async fn by_replicas(mut keys: KeyAdministration) -> Result<KeyAdministration, Failure> {
    let own = keys.key_store.schedule;
    let Some(replicas) = keys.go_by_replicas().await? else {
        output::error_line(&format!(
            "note: no replica was seen running lately, so this goes by the settings of this command: \
             --jwks-max-age {}, --key-rotation {}",
            own.jwks_max_age, own.rotation
        ));
        return Ok(keys);
    };
    for (setting, given, used) in [
        ("--jwks-max-age", own.jwks_max_age, replicas.jwks_max_age),
        ("--key-rotation", own.rotation, replicas.key_rotation),
    ] {
        if given != used {
            output::error_line(&format!(
                "note: the running replicas use {setting} {used}; this command was given {given}: \
                 {used} is used"
            ));
        }
    }
    Ok(keys)
}

fn list(listed: &[ListedKey], keys: &KeyAdministration, refresh: bool, width: Width) {
    let columns = [
        Column::cut("KID", 16),
        Column::whole("STATE"),
        Column::wide("CREATED"),
        Column::whole("ACTIVATES"),
        Column::whole("RETIRES"),
        Column::wide("GONE"),
        Column::wide("SEALED UNDER"),
    ];
    let time = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| width.day(at));
    let rows = listed.iter().map(|key| {
        [
            key.kid.to_string(),
            key.state.to_owned(),
            width.day(key.created_at),
            width.day(key.activates_at),
            time(key.retires_at),
            time(key.gone_at),
            key.sealed_under.clone().unwrap_or_default(),
        ]
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
    if !refresh {
        output::line("");
        for line in key_picture::draw(listed, keys.now, keys.key_store.schedule.rotation) {
            output::line(&line);
        }
    }
}

/// Nobody notices it, so nobody is asked.
async fn rotate_refresh(common: &Common) -> Result<(), Failure> {
    let (kid, activates_at) =
        administration(common, Intent::Change).await?.rotate_refresh().await?;
    output::line(&format!(
        "The refresh key {kid} was made. Refresh tokens are derived with it from {activates_at} on; \
         those that clients hold stay good."
    ));
    Ok(())
}

/// What verifiers experience when a key signs that their cached key sets may lack.
fn surprise(unknown_for: Seconds) -> String {
    if unknown_for == Seconds::default() {
        return "Every verifier can know it already: nothing breaks.".to_owned();
    }
    format!(
        "For up to {unknown_for}, verifiers that go by their cached key set and do not fetch it again \
         for an unknown kid will refuse new tokens."
    )
}

/// What a rotation means for those who verify.
fn describe(plan: &Rotation, max_age: Seconds) -> String {
    match plan {
        Rotation::Announced { signs_at } => format!(
            "A new key will be published now and sign from {signs_at} on. Verifiers that honour the \
             Cache-Control of the JWKS, which lets them cache it for up to {max_age}, know it by then: \
             nothing breaks."
        ),
        Rotation::Promoted { kid, unknown_for } => format!(
            "The next key {kid} is published already and will sign now. {}",
            surprise(*unknown_for)
        ),
        Rotation::Sudden { unknown_for } => {
            format!("A new key will be published and sign now. {}", surprise(*unknown_for))
        }
    }
}

async fn rotate(emergency: bool, asking: &Asking) -> Result<(), Failure> {
    let keys = administration_by_replicas(&asking.common, Intent::Change).await?;
    let plan = keys.plan_rotation(emergency, None).await?;
    asking.confirmation.ask(&describe(&plan, keys.key_store.schedule.jwks_max_age))?;
    let kid = keys.rotate(&plan, None).await?;
    output::line(&match plan {
        Rotation::Announced { signs_at } => format!("The key {kid} signs from {signs_at} on."),
        Rotation::Promoted { .. } | Rotation::Sudden { .. } => {
            format!("The key {kid} signs on every replica within seconds.")
        }
    });
    Ok(())
}

async fn revoke(kid: KeyId, asking: &Asking) -> Result<(), Failure> {
    let keys = administration_by_replicas(&asking.common, Intent::Change).await?;
    let max_age = keys.key_store.schedule.jwks_max_age;
    let consequence = match keys.is_in_use(&kid).await? {
        (KeyPurpose::Signing, in_use) => {
            let mut text = format!(
                "The key {kid} leaves the JWKS now. Its tokens are inactive at introspection within \
                 seconds; verifiers go on accepting them until their cached key set expires, up to \
                 {max_age}."
            );
            if in_use {
                text.push(' ');
                text.push_str(&describe(&keys.plan_rotation(true, Some(&kid)).await?, max_age));
            }
            text
        }
        (KeyPurpose::Refresh, _) => format!(
            "Every refresh token that was derived with the key {kid} is refused from now on: whoever \
             holds one must log in again. Access tokens stay good until they expire."
        ),
        (KeyPurpose::SecondFactor, _) => jeton_service::keys::second_factors::REVOKING.into(),
        (KeyPurpose::Throttle | KeyPurpose::Data, _) => {
            "All failures that were counted are forgotten within seconds, \
             and which origins accounts know: guessing is slowed from zero again."
                .to_owned()
        }
    };
    asking.confirmation.ask(&consequence)?;
    keys.revoke(&kid).await?;
    output::line(&format!("The key {kid} was revoked."));
    Ok(())
}

/// Withdraws what was sealed under a master key of which no copy is left, so that the service can start under
/// another one.
async fn revoke_lost(asking: &Asking) -> Result<(), Failure> {
    let keys = administration(&asking.common, Intent::Change).await?;
    let lost = keys.sealed_elsewhere().await?;
    if lost.is_empty() {
        return Err("every key that is not revoked is sealed under a --master-key-file: nothing was changed"
            .into());
    }
    let data_keys: Vec<_> =
        lost.iter().filter(|(_, is_data)| *is_data).map(|(kid, _)| kid).collect();
    if let [kid, ..] = data_keys[..] {
        output::error_line(&format!(
            "Among them is the data key {kid}, which opens sealed password hashes. If a recovery key opens it, run `jeton \
             key recover` first. Otherwise every user whose hash it sealed needs another password."
        ));
    }
    asking.confirmation.ask(
        &format!(
            "{} keys are sealed under a master key that is no --master-key-file. If a copy of it is left, name \
             it as a second one instead. Otherwise these keys are of no use and can be revoked: every access and \
             refresh token that they made is refused then, and everybody logs in again. Stop every replica \
             first. The next start makes new keys.",
            lost.len()
        ),
    )?;
    for (kid, _) in &lost {
        keys.withdraw(kid).await?;
        output::line(&format!("The key {kid} was revoked."));
    }
    Ok(())
}

async fn export(keys: &KeyAdministration, kid: Option<KeyId>, pem: bool) -> Result<(), Failure> {
    let public = keys.public(kid.as_ref()).await?;
    if pem {
        for key in &public {
            output::lines(&key.to_pem()?);
        }
    } else if let (Some(_), [one]) = (&kid, public.as_slice()) {
        output::json(one);
    } else {
        output::json(&serde_json::json!({ "keys": public }));
    }
    Ok(())
}

async fn rewrap(asking: &Asking) -> Result<(), Failure> {
    // It writes no date, so the clock does not matter.
    let keys = administration(&asking.common, Intent::Look).await?;
    asking.confirmation.ask(
        "All keys in the database will be sealed under the first --master-key-file. Replicas that run \
         keep what they have opened; give them the new master key before they next start or make a \
         key. Verifiers notice nothing.",
    )?;
    let (count, master) = keys.rewrap().await?;
    output::line(&format!("{count} keys were sealed anew; all are under the master key {master}."));
    Ok(())
}
