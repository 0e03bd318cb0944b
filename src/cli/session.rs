//! `jeton session`: who is logged in where, and ending it.

use clap::{Args, Subcommand};

use super::{Failure, open_existing_store, open_to_read, output};
use crate::config::{AdministeredDatabase, DatabaseSettings};
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, UserId};
use jeton_runtime::clock::Clock;
use jeton_service::housekeeping::end_sessions_of_user;
use jeton_store::Store;
use jeton_store::sessions::{EndSession, ListSessionsOfUser, ListedSession};
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
    },
    /// End a session, or all sessions of a user: refresh and access tokens are refused from now on
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Of the user, only the sessions through this client
        #[arg(long, value_name = "CLIENT_ID", requires = "user")]
        client: Option<ClientId>,
        #[command(flatten)]
        database: AdministeredDatabase,
    },
}

/// What is to be ended.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The session's id, as `jeton session list` and the claim `sid` have it
    // One of 64 begins with a hyphen.
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<Username>,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { user, client, database, json } => {
            let store = open_to_read(&database).await?;
            let user_id = find_user(&store, &user).await?;
            let list = ListSessionsOfUser { user_id, client_id: client, now: Clock::System.now() };
            let sessions = store.perform(list).await?;
            print(&sessions, json);
        }
        Command::Revoke { which: Which { id: Some(id), .. }, database, .. } => {
            let store = open_existing_store(&database).await?;
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
        }
        Command::Revoke { which: Which { user: Some(user), .. }, client, database } => {
            let store = open_existing_store(&database).await?;
            let user_id = find_user(&store, &user).await?;
            let ended = end_sessions_of_user(&store, &user_id, client.as_ref(), 0).await?;
            output::line(&format!("Ended {ended} sessions of the user {user}."));
        }
        Command::Revoke { .. } => return Err(Failure::usage("name a session, or --user NAME")),
    }
    Ok(())
}

async fn find_user(store: &Store, username: &Username) -> Result<UserId, Failure> {
    let found = store.perform(FindUser { username: username.clone() }).await?;
    let user = found.ok_or_else(|| {
        Failure::not_found(format!("there is no user {username}: see `jeton user list`"))
    })?;
    Ok(user.id)
}

fn print(sessions: &[ListedSession], json: bool) {
    if json {
        return output::json(&sessions);
    }
    let rows = sessions.iter().map(|session| {
        [
            session.id.to_string(),
            session.client_id.to_string(),
            session.auth_time.to_string(),
            session.dates.refreshed_at.to_string(),
            session.generation.to_string(),
            session.dates.expires_at.to_string(),
            session.scope.to_string(),
        ]
    });
    let heading = ["SESSION", "CLIENT", "LOGIN", "LAST REFRESH", "REFRESHES", "EXPIRES", "SCOPE"];
    output::table(heading, &rows.collect::<Vec<_>>());
}
