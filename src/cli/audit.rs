//! `jeton audit`: what was changed with the command line, and by whom.

use clap::Args;

use super::listing::{self, Column, Width};
use super::{Failure, open_to_read, output};
use crate::config::DatabaseSettings;
use jeton_oauth::resource_owner::Username;
use jeton_oauth::{ClientId, Seconds, Timestamp};
use jeton_runtime::clock::Clock;
use jeton_store::operator_acts::{ListOperatorActs, RecordedAct};
use jeton_store::users::FindUser;

/// How many acts are read at a time.
const PAGE: i64 = 1_000;

/// What `jeton audit` takes.
#[derive(Args, Debug)]
pub(super) struct Options {
    /// Only what was done within this time, such as 7d [default: all that is kept, 400d]
    #[arg(long, value_name = "DURATION")]
    since: Option<Seconds>,
    /// Only what was done to this user
    #[arg(long, value_name = "NAME")]
    user: Option<Username>,
    /// Only what was done to this client
    #[arg(long, value_name = "CLIENT_ID")]
    client: Option<ClientId>,
    #[command(flatten)]
    database: DatabaseSettings,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    width: Width,
}

pub(super) async fn run(options: Options) -> Result<(), Failure> {
    let Options { since, user, client, database, json, width } = options;
    let store = open_to_read(&database).await?;
    let now = Clock::System.now();
    let mut query = ListOperatorActs {
        since: since.map_or(Timestamp(i64::MIN), |span| Timestamp(now.0 - span.get())),
        user_id: match &user {
            Some(username) => {
                let found = store.perform(FindUser { username: username.clone() }).await?;
                found.map(|user| user.id)
            }
            None => None,
        },
        username: user,
        client_id: client,
        after: None,
        limit: PAGE,
    };
    let mut acts: Vec<RecordedAct> = Vec::new();
    loop {
        let page = store.perform(query.clone()).await?;
        let Some(last) = page.last() else { break };
        query.after = Some(last.clone());
        acts.extend(page);
    }
    print(&acts, json, width);
    Ok(())
}

fn print(acts: &[RecordedAct], json: bool, width: Width) {
    if json {
        return output::json(&acts);
    }
    let rows = acts.iter().map(|act| [width.minute(act.at), who(act), act.act.clone(), what(act)]);
    let columns = [
        Column::whole("WHEN"),
        Column::cut("WHO", 12),
        Column::whole("ACT"),
        Column::cut("WHAT", 12),
    ];
    listing::print(columns, &rows.collect::<Vec<_>>(), width);
}

/// Who did it. What `--as` said is told as what it is.
fn who(act: &RecordedAct) -> String {
    let RecordedAct { system_user, host, .. } = act;
    let login = act.login_user.as_ref().map(|login| format!("{login} as ")).unwrap_or_default();
    let claim = act.claimed_name.as_ref().map(|name| format!(" (says: {name})"));
    format!("{login}{system_user}@{host}{}", claim.unwrap_or_default())
}

/// To whom or what, how many, and what was changed.
fn what(act: &RecordedAct) -> String {
    let user = act.username.clone().or_else(|| act.sub.as_ref().map(ToString::to_string));
    let client = act.client_id.as_ref().map(|client| format!("client {client}"));
    let parts = [
        user.map(|user| format!("user {user}")),
        client,
        act.object.clone(),
        (act.affected != 1).then(|| act.affected.to_string()),
        (!act.changed.is_empty()).then(|| act.changed.join(", ")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}
