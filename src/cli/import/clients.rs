//! Clients of a source: looked at, kept until all was looked at, and stored in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::Failure;
use super::entry::{FoundClient, FoundSecret, Place, SecretForm};
use super::record::{Kind, Problem};
use crate::cli::client_file::checked_hash;
use jeton_crypto::digest::SecretDigest;
use jeton_oauth::client::Audience;
use jeton_oauth::{Client, ClientId, ClientSettings, Invalid, Scope, Timestamp};
use jeton_service::stored_hashes::StoredHashes;
use jeton_store::Store;
use jeton_store::client_import::{self, ImportedClient, ImportedSecret, LookAtNewClients};
use jeton_store::clients::NewClient;
use jeton_store::import::Staging;

/// Of how many characters a secret is that nobody guesses, as random ones go.
const LENGTH_MIN: usize = 22;

/// Clients that were found, by their ids.
#[derive(Debug, Default)]
pub(super) struct Clients {
    found: BTreeMap<ClientId, Found>,
    /// How many are in the database already, and stay as they are there.
    known: u64,
    /// New ones with a readable secret that can be guessed from its digest.
    guessable: BTreeSet<ClientId>,
}

#[derive(Debug)]
struct Found {
    place: Place,
    client: ImportedClient,
    line: Map<String, Value>,
}

/// A client that is not taken.
#[derive(Debug)]
pub(super) struct NotTaken {
    pub(super) place: Place,
    pub(super) problem: Problem,
    /// What is written of it to the file of `--skip-bad`.
    pub(super) line: Map<String, Value>,
}

impl Clients {
    /// Takes a client, whose secrets may take `memory_max` octets to compute if they are hashes.
    ///
    /// # Errors
    /// It cannot be taken.
    pub(super) fn take(
        &mut self,
        found: FoundClient,
        memory_max: u64,
    ) -> Result<(), Box<NotTaken>> {
        let (place, line) = (found.place.clone(), as_line(&found));
        let is_guessable = found.secrets.iter().any(|secret| match &secret.form {
            SecretForm::Readable(secret) => secret.expose().len() < LENGTH_MIN,
            SecretForm::Hashed(_) | SecretForm::Digest(_) => false,
        });
        let client = match read_client(found, memory_max) {
            Ok(client) => client,
            Err(problem) => return Err(Box::new(NotTaken { place, problem, line })),
        };
        let id = client.client.id.clone();
        if let Some(first) = self.found.get(&id) {
            let problem =
                Problem::new(Kind::Duplicate, format!("its client_id is that of {}", first.place));
            return Err(Box::new(NotTaken { place, problem, line }));
        }
        if is_guessable {
            self.guessable.insert(id.clone());
        }
        self.found.insert(id, Found { place, client, line });
        Ok(())
    }

    /// Holds the clients against those of the database, and against all users: keeps those that are new, and returns
    /// those that could pass for a user (RFC 9068 §5).
    ///
    /// # Errors
    /// The database or the staging cannot be read.
    pub(super) async fn judge(
        &mut self,
        store: Option<&Store>,
        staging: &Staging,
    ) -> Result<Vec<NotTaken>, Failure> {
        let ids: Vec<ClientId> = self.found.keys().cloned().collect();
        let outcomes = match store {
            Some(store) => store.perform(LookAtNewClients { ids: ids.clone() }).await?,
            None => vec![NewClient::Added; ids.len()],
        };
        let mut refused = Vec::new();
        for (id, outcome) in ids.iter().zip(outcomes) {
            let user = match outcome {
                NewClient::IsUser => Some("a user who is there already".to_owned()),
                NewClient::Added | NewClient::Taken => staging.place_of_sub(id.as_str())?,
            };
            if user.is_none() && outcome == NewClient::Added {
                continue;
            }
            let Some(found) = self.found.remove(id) else { continue };
            match user {
                None => self.known += 1,
                Some(user) => refused.push(found.refused(&format!(
                    "its client_id is the sub of {user}, and the client could pass for the user (RFC 9068 §5): give it \
                     another name in [clients] of a mapping"
                ))),
            }
        }
        Ok(refused)
    }

    /// What to do about new clients whose secret can be guessed, if there are any.
    pub(super) fn advice(&self) -> Option<String> {
        let names = self.guessable.iter().filter(|id| self.found.contains_key(*id));
        let names: Vec<&str> = names.map(ClientId::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "Secrets of fewer than {LENGTH_MIN} characters can be guessed from a copy of the database: {}. \
                 `jeton client secret add` makes a better one",
                names.join(", ")
            )
        })
    }

    /// Whether none was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many are new, and how many are there already.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.found.len() as u64, self.known)
    }

    /// Stores the new ones, all or none.
    ///
    /// # Errors
    /// The database did not do it, or a user has got the name of one of them as `sub` meanwhile.
    pub(super) async fn store(
        self,
        hashes: &mut StoredHashes,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let clients: Vec<ImportedClient> =
            self.found.into_values().map(|found| found.client).collect();
        if clients.is_empty() {
            return Ok(());
        }
        let outcomes = hashes.import_clients(&clients, now).await?;
        if outcomes.contains(&NewClient::IsUser) {
            return Err(Failure::conflict(
                "a user was added meanwhile whose sub is the name of a client, so nothing was imported: look again",
            ));
        }
        Ok(())
    }
}

impl Found {
    fn refused(self, sentence: &str) -> NotTaken {
        NotTaken {
            place: self.place,
            problem: Problem::new(Kind::Conflict, sentence),
            line: self.line,
        }
    }
}

/// Makes a client of what was found.
fn read_client(found: FoundClient, memory_max: u64) -> Result<ImportedClient, Problem> {
    let malformed = |sentence: String| Problem::new(Kind::Malformed, sentence);
    let unmapped = |sentence: &str| Err(Problem::new(Kind::Unmapped, sentence));
    let FoundClient { id, settings, scope, default_scope, audiences, secrets, disabled, .. } =
        found;
    let id = id.parse::<ClientId>().map_err(|error| {
        let sentence = format!("{error}: give it another name in [clients] of a mapping");
        Problem::new(Kind::Unmapped, sentence)
    })?;
    let audiences: Result<Vec<Audience>, Invalid> =
        audiences.into_iter().map(Audience::try_from).collect();
    let settings = ClientSettings {
        scope: read_scope(&scope)?,
        default_scope: read_scope(&default_scope)?,
        audiences: audiences.map_err(|error| malformed(error.to_string()))?,
        ..settings.map_err(malformed)?
    };
    if !settings.grants.is_empty() && settings.audiences.is_empty() {
        return unmapped(
            "nothing says for which resource servers its tokens are (RFC 9068 §3): name them in `audiences` of a \
             mapping",
        );
    }
    if !settings.grants.is_empty() && settings.scope.is_empty() {
        return unmapped(
            "nothing says what it may ask for (RFC 6749 §3.3): name that as `scope` of a mapping",
        );
    }
    settings.check().map_err(|error| malformed(error.to_string()))?;
    if !settings.public && secrets.is_empty() {
        return Err(malformed(
            "it is confidential and has no secret, so it could do nothing here: export it with its secret, or leave it \
             out in [clients] of a mapping"
                .to_owned(),
        ));
    }
    let secrets = secrets.into_iter().map(|secret| read_secret(secret, memory_max));
    Ok(ImportedClient {
        client: Client { id, settings },
        secrets: secrets.collect::<Result<_, _>>()?,
        disabled,
    })
}

fn read_scope(tokens: &[String]) -> Result<Scope, Problem> {
    if tokens.is_empty() {
        return Ok(Scope::default());
    }
    Scope::try_from(tokens.join(" ")).map_err(|error| {
        let sentence = format!("{error}: give it another name in [client_scopes] of a mapping");
        Problem::new(Kind::Unmapped, sentence)
    })
}

fn read_secret(found: FoundSecret, memory_max: u64) -> Result<ImportedSecret, Problem> {
    let FoundSecret { form, created_at, expires_at } = found;
    let stored_as = match form {
        SecretForm::Readable(secret) => {
            client_import::SecretForm::Digest(*SecretDigest::of(&secret).as_bytes())
        }
        SecretForm::Digest(digest) => client_import::SecretForm::Digest(digest),
        SecretForm::Hashed(text) => {
            let checked = checked_hash(text.expose(), memory_max);
            let problem =
                |sentence| Problem::new(Kind::UnknownHash, format!("its secret {sentence}"));
            client_import::SecretForm::Hash(checked.map_err(problem)?)
        }
    };
    Ok(ImportedSecret { stored_as, created_at, expires_at })
}

/// A client as `jeton client export` writes it. A readable secret is there as its digest.
fn as_line(found: &FoundClient) -> Map<String, Value> {
    let settings =
        found.settings.as_ref().ok().and_then(|settings| serde_json::to_value(settings).ok());
    let mut line = match settings {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let digest = |digest: &[u8]| json!({ "sha256": URL_SAFE_NO_PAD.encode(digest) });
    let secrets = found.secrets.iter().map(|secret| match &secret.form {
        SecretForm::Readable(secret) => digest(SecretDigest::of(secret).as_bytes()),
        SecretForm::Digest(octets) => digest(octets),
        SecretForm::Hashed(text) => json!({ "hash": text.expose() }),
    });
    line.insert("secrets".to_owned(), secrets.collect());
    line.insert("client_id".to_owned(), found.id.as_str().into());
    line.insert("scope".to_owned(), found.scope.join(" ").into());
    line.insert("default_scope".to_owned(), found.default_scope.join(" ").into());
    line.insert("audiences".to_owned(), json!(found.audiences));
    line.insert("disabled".to_owned(), found.disabled.into());
    line
}
