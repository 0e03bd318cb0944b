//! `jeton user seal` and `jeton user unseal`: stored password hashes under a data key, or as they are.

use clap::Args;

use super::{Failure, output};
use crate::cli::confirmation::Confirmation;
use crate::cli::{open_existing_store, replicas, serve};
use crate::config::{AdministeredDatabase, KeySettings};
use jeton_crypto::recovery::Recipient;
use jeton_runtime::clock::Clock;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::hash_sealing::Converted;
use jeton_service::keys::administration::KeyAdministration;
use jeton_store::data_keys::KNOWN_SINCE;

/// What `jeton user seal` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Seal {
    /// A recovery key that opens the hashes if the master key is lost: the line age1… that age-keygen prints;
    /// repeatable. Keep its secret half off this machine
    // Read below: what is said of a wrong value here repeats it, and it may be the secret half.
    #[arg(long, value_name = "AGE1", conflicts_with = "no_recovery")]
    recovery_recipient: Vec<String>,
    /// No recovery key: if the master key is lost, so is every password
    #[arg(long)]
    no_recovery: bool,
    /// Make another data key, and seal all hashes under it
    #[arg(long)]
    new_key: bool,
    #[command(flatten)]
    common: Common,
}

/// What `jeton user unseal` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Unseal {
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    database: AdministeredDatabase,
    #[command(flatten)]
    keys: KeySettings,
}

async fn administration(common: &Common) -> Result<KeyAdministration, Failure> {
    let store = open_existing_store(&common.database).await?;
    let clock = AgreedClock::open(Clock::System, store.clone()).await?;
    let now = clock.now().map_err(|off| format!("{off}; nothing was changed"))?;
    Ok(KeyAdministration { key_store: serve::key_store(store, &common.keys), now })
}

pub(super) async fn seal(options: Seal) -> Result<(), Failure> {
    let Seal { recovery_recipient, no_recovery, new_key, common } = options;
    let read = |text: &String| text.parse::<Recipient>();
    let recipients = recovery_recipient.iter().map(read).collect::<Result<Vec<_>, _>>();
    let recipients =
        recipients.map_err(|error| Failure::usage(format!("--recovery-recipient: {error}")))?;
    let keys = administration(&common).await?;
    let known = keys.data_keys().await?;
    let says_who_recovers = no_recovery || !recipients.is_empty();
    let who = match recipients[..] {
        [] => "No recovery key opens them: if every copy of the master key is lost, so is every password.".to_owned(),
        _ => "The recovery key opens them if every copy of the master key is lost; if both are lost, so is every \
              password."
            .to_owned(),
    };
    match known.sealing()? {
        Some(key) if !new_key => {
            let wanted: Vec<String> = recipients.iter().map(ToString::to_string).collect();
            if says_who_recovers && keys.recipients(key.id()).await? != wanted {
                common.confirmation.ask(&format!(
                    "Password hashes are sealed already. What opened their data key for recovery is replaced. {who}"
                ))?;
                keys.set_recipients(key, &recipients).await?;
                output::line(&format!("The recovery of the data key {} was changed.", key.id()));
            }
        }
        _ if !says_who_recovers => {
            return Err(Failure::usage(
                "say who can open the hashes if the master key is lost: --recovery-recipient age1…, which `age-keygen` \
                 makes, or --no-recovery",
            ));
        }
        _ => {
            common.confirmation.ask(&format!(
                "All password hashes will be sealed under a data key, which the master key opens. Every replica must run \
                 this version, and needs the master key. {who}"
            ))?;
            let otherwise = "would refuse right passwords once their hashes are sealed";
            let store = &keys.key_store.store;
            replicas::require_known(store, KNOWN_SINCE, otherwise, keys.now).await?;
            let key = keys.add_data_key(&recipients).await?;
            output::line(&format!("New hashes are sealed under the data key {}.", key.id()));
        }
    }
    let show = |count| output::progress(&format!("Sealed {count} hashes"));
    let sealed = keys.seal_hashes(show).await;
    output::end_progress();
    finish(&sealed?, "sealed")
}

pub(super) async fn unseal(options: Unseal) -> Result<(), Failure> {
    let Unseal { common } = options;
    let keys = administration(&common).await?;
    common.confirmation.ask(
        "All password hashes will be stored as they are. Whoever gets at the database can then guess at the passwords.",
    )?;
    let show = |count| output::progress(&format!("Opened {count} hashes"));
    let opened = keys.unseal_hashes(show).await;
    output::end_progress();
    finish(&opened?, "stored as they are")
}

fn finish(done: &Converted, what: &str) -> Result<(), Failure> {
    output::line(&format!("{} hashes were {what}.", done.hashes));
    for kid in &done.deleted {
        output::line(&format!("The data key {kid} seals nothing any more, and was deleted."));
    }
    for (whose, why) in &done.closed {
        output::error_line(&format!("The hash of {whose} stays as it is: {why}"));
    }
    match done.closed_count {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{count} hashes do not open: name the master key that does as a second --master-key-file; if it is lost, set \
             other passwords with `jeton user passwd`, and replace client secrets with `jeton client secret add` and \
             `remove`"
        ))),
    }
}
