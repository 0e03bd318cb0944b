//! The faults.

mod clocks;
mod database;
mod keys;
mod moving;
mod network;
mod service;

use std::pin::Pin;

use crate::report::Outcome;
use crate::stage::{POSTGRES, SQLITE, Setting, THREE_REPLICAS};

/// When a fault is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// On every change.
    Short,
    /// By `tests/long`.
    Long,
}

/// A fault, and how it happens.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) on: Setting,
    /// What happens, as the table has it.
    pub(crate) what: &'static str,
    pub(crate) run: fn(Setting) -> Run,
}

/// A fault that happens.
pub(crate) type Run = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A row of the list: name, part, setting, what happens, and the function.
macro_rules! fault {
    ($part:ident, $on:expr, $module:ident::$name:ident, $what:expr) => {
        Fault {
            name: stringify!($name),
            part: Part::$part,
            on: $on,
            what: $what,
            run: |on| Box::pin($module::$name(on)),
        }
    };
}

/// All of them; the longest of a part come first, so that they do not run alone at the end.
pub(crate) const FAULTS: &[Fault] = &[
    fault!(
        Long,
        SQLITE,
        service::killed_five_times,
        "`kill -9`, started again after 35 s, 5 times"
    ),
    fault!(
        Long,
        POSTGRES,
        service::lost_answer_3min,
        "answers to refreshes of confidential clients are lost, and tried again after 3 min"
    ),
    fault!(
        Long,
        SQLITE,
        service::lost_answer_3min,
        "answers to refreshes of confidential clients are lost, and tried again after 3 min"
    ),
    fault!(
        Short,
        THREE_REPLICAS,
        service::replica_stopped,
        "one replica SIGSTOPped for 60 s, then woken"
    ),
    fault!(
        Short,
        POSTGRES,
        network::requests_held,
        "the network holds requests to one replica for 60 s and delivers them when their callers have gone"
    ),
    fault!(
        Short,
        POSTGRES,
        network::database_unreachable,
        "the network to the database holds everything for 60 s, then delivers it"
    ),
    fault!(
        Short,
        POSTGRES,
        database::lock_sessions,
        "`LOCK TABLE sessions IN SHARE MODE` for 45 s"
    ),
    fault!(
        Short,
        POSTGRES,
        database::sync_standby_frozen,
        "the one synchronous standby frozen for 45 s"
    ),
    fault!(
        Short,
        POSTGRES,
        database::database_frozen,
        "all processes of PostgreSQL SIGSTOPped for 45 s"
    ),
    fault!(
        Short,
        POSTGRES,
        database::row_locked,
        "one user's row locked for 45 s by a forgotten transaction; that user logs in again and again"
    ),
    fault!(
        Short,
        POSTGRES,
        clocks::clocks_apart,
        "the clock of one replica is 50 s ahead for 45 s"
    ),
    fault!(
        Short,
        POSTGRES,
        database::database_killed,
        "all processes of PostgreSQL killed, started again after 35 s"
    ),
    fault!(Short, SQLITE, database::lock_sessions, "another process holds the write lock for 45 s"),
    fault!(Short, SQLITE, service::killed_once, "`kill -9`, started again after 35 s"),
    fault!(Short, SQLITE, service::replica_stopped, "the service SIGSTOPped for 60 s, then woken"),
    fault!(
        Short,
        POSTGRES,
        service::lost_answer_35s,
        "answers to refreshes are lost, and tried again after 35 s"
    ),
    fault!(
        Short,
        SQLITE,
        service::lost_answer_35s,
        "answers to refreshes are lost, and tried again after 35 s"
    ),
    fault!(
        Short,
        POSTGRES,
        database::first_host_dead,
        "the first host of a two-host URL is switched off: it answers no SYN"
    ),
    fault!(
        Short,
        POSTGRES,
        database::demoted_primary,
        "the primary becomes read-only, its connections live on, and its standby is promoted"
    ),
    fault!(
        Short,
        POSTGRES,
        database::pgbouncer_prepared,
        "`statements=prepared` behind a PgBouncer that does not track them"
    ),
    fault!(
        Short,
        POSTGRES,
        clocks::clock_40_days_ahead,
        "one more replica, whose clock is 40 days ahead, for 15 s"
    ),
    fault!(
        Short,
        SQLITE,
        clocks::clock_40_days_ahead,
        "started with a clock 40 days ahead, for 20 s, without callers"
    ),
    fault!(Short, SQLITE, clocks::clock_back, "started with a clock 40 days behind, for 20 s"),
    fault!(Short, SQLITE, service::disk_full, "no file can grow for 20 s"),
    fault!(Short, SQLITE, moving::moved_and_moved_back, "`jeton db copy` to PostgreSQL, and back"),
    fault!(Short, POSTGRES, moving::moved_and_moved_back, "`jeton db copy` to SQLite, and back"),
    fault!(
        Short,
        POSTGRES,
        keys::wrong_master_key,
        "`jeton key rotate` and `jeton serve` under a wrong master key; then a key is revoked under the right one"
    ),
    fault!(
        Short,
        SQLITE,
        keys::wrong_master_key,
        "`jeton key rotate` and `jeton serve` under a wrong master key; then a key is revoked under the right one"
    ),
];
