//! `jeton client`: which programs may ask for tokens, or introspect them.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client_decisions::Decisions;
use super::confirmation::Confirmation;
use super::listing::Width;
use super::{Failure, client_file, client_view, open_existing_store, open_store, output, replicas};
use crate::config::{AdministeredDatabase, MasterKeySettings};
use jeton_crypto::digest::SecretDigest;
use jeton_crypto::random;
use jeton_oauth::client::GrantType;
use jeton_oauth::{Client, ClientId, ClientSettings, Seconds, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_service::housekeeping::end_sessions_of_client;
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::clients::{
    AddClient, AddClientSecret, ChangeClient, DeleteClient, ListClients, NewClient,
    RemoveClientSecret, SetClientDisabled, StoredClient,
};
use jeton_store::operator_acts::differing;
use jeton_store::{Store, migration};

/// What all commands about clients take.
#[derive(Args, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    database: AdministeredDatabase,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A command about one client.
#[derive(Args, Debug)]
pub(super) struct Named {
    /// The client's id: 1 to 128 characters of A-Z a-z 0-9 . _ -
    id: ClientId,
    #[command(flatten)]
    common: Common,
}

/// The commands of `jeton client`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a client; a confidential one is given a secret, which is shown once
    Add {
        #[command(flatten)]
        named: Named,
        /// The client is public: an app or page that can keep no secret
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        decisions: Box<Decisions>,
    },
    /// List clients
    List {
        /// Only clients that were added so long ago, as 90d, and of which nothing tells that they were used since: neither
        /// a request, to within an hour, nor a session that is stored
        #[arg(long, value_name = "DURATION")]
        unused_since: Option<Seconds>,
        #[command(flatten)]
        width: Width,
        #[command(flatten)]
        common: Common,
    },
    /// Show one client, with all that it is set to
    Show(Named),
    /// Print all clients with the digests of their secrets, as JSON Lines that `jeton import jsonl` takes
    Export {
        /// Leave out the digests and hashes of secrets. Those of secrets that people chose can be guessed at
        #[arg(long)]
        without_secrets: bool,
        #[command(flatten)]
        master: MasterKeySettings,
        #[command(flatten)]
        common: Common,
    },
    /// Change what was decided about a client
    Set {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        decisions: Box<Decisions>,
    },
    /// Refuse a client from now on, and end its sessions
    Disable(Named),
    /// Accept a disabled client again
    Enable(Named),
    /// Delete a client, its secrets and its sessions
    Delete {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Add and remove secrets
    #[command(subcommand)]
    Secret(SecretCommand),
}

/// The commands of `jeton client secret`.
#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Give a client one more secret, which is shown once; those it has stay good
    Add {
        #[command(flatten)]
        named: Named,
        /// From when on the secret is refused, as 30d
        #[arg(long, value_name = "DURATION")]
        expires: Option<Seconds>,
    },
    /// Take a secret away
    Remove {
        #[command(flatten)]
        named: Named,
        /// The number of the secret, as `jeton client show` has it
        number: i64,
    },
}

/// A client that was just given a secret.
#[derive(Serialize)]
struct Issued<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i64>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add { named, public, decisions } => add(named, public, *decisions).await,
        Command::List { unused_since, width, common } => list(unused_since, width, &common).await,
        Command::Show(named) => {
            let store = open_existing_store(&named.common.database).await?;
            let stored = find(&store, &named.id).await?;
            if named.common.json {
                output::json(&client_view::Shown::new(&stored));
            } else {
                client_view::show(&stored);
            }
            Ok(())
        }
        Command::Export { without_secrets, master, common } => {
            export(!without_secrets, &master, &common).await
        }
        Command::Set { named, decisions } => set(named, decisions).await,
        Command::Disable(named) => set_disabled(named, true).await,
        Command::Enable(named) => set_disabled(named, false).await,
        Command::Delete { named, confirmation } => {
            let store = open_existing_store(&named.common.database).await?;
            find(&store, &named.id).await?;
            confirmation.ask(&format!(
                "The client {} will be deleted, with its settings and secrets. Whoever is logged in through it must \
                 log in through another. It can be added again, with another secret.",
                named.id
            ))?;
            // First no new session, then none at all, then no client.
            let now = Clock::System.now();
            store.perform(SetClientDisabled { id: named.id.clone(), disabled: true, now }).await?;
            end_sessions_of_client(&store, &named.id, |_| {}).await?;
            let deleted = store.perform(DeleteClient { id: named.id.clone() }).await?;
            say(deleted, &named, "deleted")
        }
        Command::Secret(SecretCommand::Add { named, expires }) => add_secret(named, expires).await,
        Command::Secret(SecretCommand::Remove { named, number }) => {
            let store = open_existing_store(&named.common.database).await?;
            let remove = RemoveClientSecret { id: named.id.clone(), number };
            if !store.perform(remove).await? {
                return Err(Failure::not_found(format!(
                    "the client {} has no secret {number}: see `jeton client show {}`",
                    named.id, named.id
                )));
            }
            let done = format!("left without its secret {number}");
            say(true, &named, &done)
        }
    }
}

async fn list(unused_for: Option<Seconds>, width: Width, common: &Common) -> Result<(), Failure> {
    let store = open_existing_store(&common.database).await?;
    let now = Clock::System.now();
    let unused_since = unused_for.map(|span| Timestamp(now.0.saturating_sub(span.get())));
    let clients = store.perform(ListClients { unused_since }).await?;
    if common.json {
        output::json(&clients.iter().map(client_view::Shown::new).collect::<Vec<_>>());
    } else {
        client_view::list(&clients, width);
    }
    let Some(since) = unused_since else { return Ok(()) };
    let recorded = migration::uses_recorded_since(&store).await?;
    if recorded > since && clients.iter().any(|client| client.created_at < recorded) {
        output::error_line(&format!(
            "Note: the use of clients is recorded since {recorded}. Of earlier uses only those of secrets and of \
             sessions that are still stored are known."
        ));
    }
    Ok(())
}

async fn export(
    with_secrets: bool,
    master: &MasterKeySettings,
    common: &Common,
) -> Result<(), Failure> {
    let store = open_existing_store(&common.database).await?;
    let hashes = StoredHashes::read(&store, &master.master_key_file).await?;
    for mut client in store.perform(ListClients::default()).await? {
        for secret in client.secrets.iter_mut().filter(|_| with_secrets) {
            if let Some(hash) = &mut secret.hash {
                *hash = hashes.hash_of_secret(&client.client.id, hash)?;
            }
        }
        output::json_line(&client_file::written(&client, with_secrets));
    }
    Ok(())
}

async fn add(named: Named, public: bool, decisions: Decisions) -> Result<(), Failure> {
    let mut settings = ClientSettings { public, ..ClientSettings::default() };
    decisions.apply(&mut settings)?;
    let store = open_store(&named.common.database).await?;
    let now = Clock::System.now();
    if decisions.require_second_factor() {
        replicas::require_second_factors(&store, now).await?;
    }
    let secret = (!public).then(random::client_secret);
    let hint = !settings.grants.is_empty() && settings.default_scope.is_empty();
    let note = note_of_shared_origin(&named.id, &settings);
    let add = AddClient {
        client: Client { id: named.id.clone(), settings },
        secret: secret.as_ref().map(|secret| SecretDigest::of(secret).as_bytes().to_vec()),
        now,
    };
    match store.perform(add).await? {
        NewClient::Added => {}
        NewClient::Taken => {
            let problem = format!("there is a client {} already: nothing was changed", named.id);
            return Err(Failure::conflict(problem));
        }
        NewClient::IsUser => {
            return Err(Failure::conflict(format!(
                "{} is the sub of a user, and a client of that name could pass for the user: nothing was \
                 changed, choose another name",
                named.id
            )));
        }
    }
    let client_secret = secret.as_ref().map(jeton_oauth::Secret::expose);
    if named.common.json {
        output::json(&Issued { client_id: named.id.as_str(), client_secret, number: None });
    } else {
        output::line(&format!("The client {} was added.", named.id));
        if let Some(secret) = client_secret {
            output::line(&format!("Its secret, shown now and never again: {secret}"));
        }
    }
    if hint {
        output::error_line(
            "Note: without --default-scope, a request that asks for no scope is invalid_scope.",
        );
    }
    if let Some(note) = note {
        output::error_line(&note);
    }
    Ok(())
}

async fn set(named: Named, decisions: Box<Decisions>) -> Result<(), Failure> {
    if *decisions == Decisions::default() {
        return Err(Failure::usage(
            "say what to change, as --scope read: `jeton client set --help` lists it all, `jeton client show` shows how \
             the client is set",
        ));
    }
    let store = open_existing_store(&named.common.database).await?;
    if decisions.require_second_factor() {
        replicas::require_second_factors(&store, Clock::System.now()).await?;
    }
    let change = move |settings: &mut ClientSettings| decisions.apply(settings);
    let changed = store.perform(ChangeClient { id: named.id.clone(), change }).await?;
    let (before, after) = changed.ok_or_else(|| unknown(&named.id))??;
    say(true, &named, &output::changes(&differing(&before, &after)))?;
    let note = |settings| note_of_shared_origin(&named.id, settings);
    if let Some(note) = note(&after).filter(|_| note(&before).is_none()) {
        output::error_line(&note);
    }
    Ok(())
}

/// What it means that a client does not say for whom it calls, if it logs users in and does not.
fn note_of_shared_origin(id: &ClientId, settings: &ClientSettings) -> Option<String> {
    let logs_in = settings.grants.contains(&GrantType::Password);
    (logs_in && !settings.public && !settings.forwards_end_user_ip).then(|| {
        format!(
            "Note: {id} forwards no addresses of its users, so all of them count as one origin: after 30 failed \
             logins, by anyone who reaches its login form, those who have not logged in through it for 90 days \
             get one attempt every 2 s, all together, and 429 otherwise. If {id} ends X-Forwarded-For with the \
             address of the user itself, say so: jeton client set {id} --forwards-end-user-ip"
        )
    })
}

async fn add_secret(named: Named, expires: Option<Seconds>) -> Result<(), Failure> {
    let store = open_existing_store(&named.common.database).await?;
    // RFC 6749 §10.1: what can keep no secret is given none.
    if find(&store, &named.id).await?.client.settings.public {
        return Err(Failure::refused(format!(
            "the client {} is public and can keep no secret: add a confidential client instead",
            named.id
        )));
    }
    let now = Clock::System.now();
    let secret = random::client_secret();
    let add = AddClientSecret {
        id: named.id.clone(),
        digest: SecretDigest::of(&secret).as_bytes().to_vec(),
        now,
        expires_at: expires.map(|span| now.after(span)),
    };
    let number = store.perform(add).await?.ok_or_else(|| unknown(&named.id))?;
    if named.common.json {
        let client_secret = Some(secret.expose());
        let number = Some(number);
        output::json(&Issued { client_id: named.id.as_str(), client_secret, number });
    } else {
        output::line(&format!(
            "Secret {number} of the client {}, shown now and never again: {}",
            named.id,
            secret.expose()
        ));
    }
    Ok(())
}

async fn find(store: &Store, id: &ClientId) -> Result<StoredClient, Failure> {
    store.find_client(id.clone()).await?.ok_or_else(|| unknown(id))
}

async fn set_disabled(named: Named, disabled: bool) -> Result<(), Failure> {
    let store = open_existing_store(&named.common.database).await?;
    let now = Clock::System.now();
    let set = SetClientDisabled { id: named.id.clone(), disabled, now };
    // Disabling takes effect at once, and ends the sessions for good. Should that be interrupted, what
    // is left is ended before the client is enabled.
    let was_disabled = find(&store, &named.id).await?.disabled_at.is_some();
    if was_disabled {
        end_sessions_of_client(&store, &named.id, |_| {}).await?;
    }
    let changed = store.perform(set).await?;
    if disabled && !was_disabled {
        end_sessions_of_client(&store, &named.id, |_| {}).await?;
    }
    let changed = changed.ok_or_else(|| unknown(&named.id))?;
    say(true, &named, output::disabled(changed, disabled))
}

/// Says what was done to a client, if there is one of that name.
fn say(changed: bool, named: &Named, done: &str) -> Result<(), Failure> {
    let Named { id, common } = named;
    if !changed {
        return Err(unknown(id));
    }
    output::outcome(common.json, ("client", "client_id"), id.as_str(), done);
    Ok(())
}

fn unknown(id: &ClientId) -> Failure {
    Failure::not_found(format!("there is no client {id}: see `jeton client list`"))
}
