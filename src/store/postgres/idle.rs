//! Closes connections that nobody needs, so that a quiet replica has few.

use std::time::Duration;

use deadpool::managed::Pool;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::session::Manager;

/// For how long a connection may be unused. The one that was used last is used first, so after a burst the others reach
/// this however many requests come one after the other.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks after a pool as long as it is in use.
pub(super) fn close_idle(pool: &Pool<Manager>) {
    let pool = pool.weak();
    let looking = async move {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(pool) = pool.upgrade() else { break };
            pool.retain(|_, metrics| metrics.last_used() < IDLE_MAX);
        }
    };
    Handle::current().spawn(looking);
}
