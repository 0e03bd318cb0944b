//! `jeton session`: who is logged in where, and ending it.

use clap::{Args, Subcommand};

use super::confirmation::Confirmation;
use super::listing::{self, Column, Width};
use super::{Failure, open_existing_store, open_to_read, output};
use crate::config::{AdministeredDatabase, DatabaseSettings};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, UserId};
use jeton_runtime::clock::Clock;
use jeton_service::housekeeping::{end_all_sessions, end_sessions_of_client, end_sessions_of_user};
use jeton_store::Store;
use jeton_store::sessions::{CountSessions, EndSession, ListSessionsOfUser, ListedSession};
use jeton_store::users::FindUser;

/// The commands of `jeton session`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the sessions of a user
    List {
        /// The user's name
        #[arg(long, value_name = "NAME")]
        user: Username,
        /// Only the sessions through this client
        #[arg(long, value_name = "CLIENT_ID")]
        client: Option<ClientId>,
        #[command(flatten)]
        database: DatabaseSettings,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        width: Width,
    },
    /// End a session, or all sessions of a user, of a client or of everybody: refresh and access tokens are refused
    /// from now on
    Revoke {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        database: AdministeredDatabase,
    },
}

/// What is to be ended.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct Which {
    /// The session's id, as `jeton session list` and the claim `sid` have it
    // One of 64 begins with a hyphen.
    #[arg(value_name = "ID", allow_hyphen_values = true, conflicts_with_all = ["user", "client", "all"])]
    id: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    user: Option<Username>,
    /// All sessions through this client; with --user only those of the user
    #[arg(long, value_name = "CLIENT_ID", conflicts_with = "all")]
    client: Option<ClientId>,
    /// All sessions of everybody
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { user, client, database, json, width } => {
            let store = open_to_read(&database).await?;
            let user_id = find_user(&store, &user).await?;
            let list = ListSessionsOfUser { user_id, client_id: client, now: Clock::System.now() };
            let sessions = store.perform(list).await?;
            print(&sessions, json, width);
        }
        Command::Revoke { which, confirmation, database } => {
            let store = open_existing_store(&database).await?;
            revoke(&store, which, &confirmation).await?;
        }
    }
    Ok(())
}

async fn revoke(store: &Store, which: Which, confirmation: &Confirmation) -> Result<(), Failure> {
    match which {
        Which { id: Some(id), .. } => revoke_one(store, &id).await,
        Which { user: Some(user), client, .. } => {
            let user_id = find_user(store, &user).await?;
            let ended = end_sessions_of_user(store, &user_id, client.as_ref(), 0).await?;
            let ended = output::counted(ended, "session");
            output::line(&format!("Ended {ended} of the user {user}."));
            Ok(())
        }
        Which { client: Some(client), .. } => {
            if store.find_client(client.clone()).await?.is_none() {
                let problem = format!("there is no client {client}: see `jeton client list`");
                return Err(Failure::not_found(problem));
            }
            let whose = format!("of the client {client}");
            revoke_many(store, Some(&client), &whose, confirmation).await
        }
        Which { .. } => revoke_many(store, None, "of everybody", confirmation).await,
    }
}

async fn revoke_one(store: &Store, id: &str) -> Result<(), Failure> {
    // What cannot be an id is the id of no session.
    let ended = match id.parse() {
        Ok(id) => store.perform(EndSession { id, client_id: None }).await?,
        Err(_) => None,
    };
    if ended.is_none() {
        return Err(Failure::not_found(format!(
            "there is no session {id}: it has ended, or `jeton session list` has its id"
        )));
    }
    output::line(&format!("The session {id} was ended."));
    Ok(())
}

/// Ends the sessions of a client, or all, after asking.
async fn revoke_many(
    store: &Store,
    client: Option<&ClientId>,
    whose: &str,
    confirmation: &Confirmation,
) -> Result<(), Failure> {
    let count = store.perform(CountSessions { client_id: client.cloned() }).await?;
    confirmation.ask(&format!(
        "{} {whose} will end, and whoever has one must log in again.",
        output::counted(count.unsigned_abs(), "session")
    ))?;
    let show = |ended| output::progress(&format!("Ended {ended} of {count} sessions"));
    let ended = match client {
        Some(client) => end_sessions_of_client(store, client, show).await,
        None => end_all_sessions(store, show).await,
    };
    output::end_progress();
    let ended = ended.map_err(|error| {
        Failure::from(error).reworded(|text| {
            format!("{text}. What was ended stays ended; to finish, repeat the command")
        })
    })?;
    output::line(&format!("Ended {} {whose}.", output::counted(ended, "session")));
    Ok(())
}

async fn find_user(store: &Store, username: &Username) -> Result<UserId, Failure> {
    let found = store.perform(FindUser { username: username.clone() }).await?;
    let user = found.ok_or_else(|| {
        Failure::not_found(format!("there is no user {username}: see `jeton user list`"))
    })?;
    Ok(user.id)
}

fn print(sessions: &[ListedSession], json: bool, width: Width) {
    if json {
        return output::json(&sessions);
    }
    let columns = [
        Column::whole("SESSION"),
        Column::cut("CLIENT", 8),
        Column::whole("LOGIN"),
        Column::whole("LAST REFRESH"),
        Column::wide("REFRESHES"),
        Column::whole("EXPIRES"),
        Column::wide("SCOPE"),
    ];
    let rows = sessions.iter().map(|session| {
        [
            session.id.to_string(),
            session.client_id.to_string(),
            width.day(session.auth_time),
            width.minute(session.dates.refreshed_at),
            session.generation.to_string(),
            width.day(session.dates.expires_at),
            session.scope.to_string(),
        ]
    });
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
}
