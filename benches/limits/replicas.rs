//! Two replicas against one, each on a core of its own, on one PostgreSQL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::load::{self, Load, Rate};
use super::process::{Engine, Jeton};
use super::sessions::WithSessions;
use super::{FEW, ROUNDS, Rounds, TURN, WARM_UP};

/// How many callers each replica has on the paths that do not hash.
const CALLERS: usize = 32;
/// How long logins are measured: few are hashed in a second.
const LOGINS: Duration = Duration::from_secs(8);

/// Measures each path at one replica, and at both at once with as many callers each.
pub(crate) async fn replicas() {
    let Some(own) = WithSessions::start(Engine::Postgres("unnamed"), FEW).await else { return };
    let pair = [own.jeton.replica(Some(0)), own.jeton.replica(Some(1))];
    logins(&own.jeton, &pair).await;
    let addresses = pair.each_ref().map(|replica| replica.public);
    refreshes(&own, addresses).await;
    let tokens = own.access_tokens(FEW).await;
    let introspections = addresses.map(|address| own.introspections_at(address, &tokens, CALLERS));
    compare("introspections", introspections).await;
    let jwks = |address| Load::new(address, load::get(address, "/.well-known/jwks.json"), CALLERS);
    compare("JWKS", addresses.map(jwks)).await;
}

async fn compare(name: &str, loads: [Load; 2]) {
    let [first, second] = &loads;
    first.run(WARM_UP).await;
    second.run(WARM_UP).await;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let one = first.run(TURN).await;
        let (left, right) = tokio::join!(first.run(TURN), second.run(TURN));
        rounds.push(&both(left, right), one.per_second);
    }
    print(rounds, name);
}

/// Each caller logs in to an account of its own.
async fn logins(jeton: &Jeton, pair: &[Jeton; 2]) {
    let callers = 2 * pair[0].logins_at_once();
    let mut requests = jeton.import_users(2 * callers);
    let second = Load::of_each(pair[1].public, requests.split_off(callers));
    let first = Load::of_each(pair[0].public, requests);
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let one = first.run_settled(WARM_UP, LOGINS).await;
        let (left, right) =
            tokio::join!(first.run_settled(WARM_UP, LOGINS), second.run_settled(WARM_UP, LOGINS));
        rounds.push(&both(left, right), one.per_second);
    }
    print(rounds, "logins");
}

async fn refreshes(own: &Arc<WithSessions>, addresses: [SocketAddr; 2]) {
    own.refreshes_at(&addresses, 2 * CALLERS, FEW, WARM_UP).await;
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        let one = own.refreshes_at(&addresses[..1], CALLERS, FEW, TURN).await;
        let two = own.refreshes_at(&addresses, 2 * CALLERS, FEW, TURN).await;
        rounds.push(&two, one.per_second);
    }
    print(rounds, "refreshes");
}

fn both(left: Rate, right: Rate) -> Rate {
    Rate {
        per_second: left.per_second + right.per_second,
        served: left.served + right.served,
        refused: left.refused + right.refused,
    }
}

fn print(rounds: Rounds, name: &str) {
    rounds.print(&format!("{name} at two replicas / at one"), "requests/s", "requests/s");
}
