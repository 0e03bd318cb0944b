//! What happens to the cluster.

use std::fmt;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::time::{Instant, sleep};

use crate::nodes::{SERVERS, order, promotion};
use crate::run::World;

/// The longest that Patroni may take to promote another server.
const PROMOTION_MAX: Duration = Duration::from_mins(1);
/// How long a former primary stays away after another one was promoted.
const BOTH: Duration = Duration::from_secs(3);
/// How long etcd has no quorum: longer than a primary may go on without it by itself.
const NO_QUORUM: Duration = Duration::from_secs(30);
/// How long a replica is away.
const AWAY: Duration = Duration::from_secs(12);
/// How long a disk is full at most.
const FULL: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    PrimaryKilled,
    PrimaryOff,
    PrimaryPaused,
    PrimaryCutOff,
    PrimaryFull,
    Switchover,
    EtcdLost,
    BouncerRestarted,
    HaproxyReloaded,
    ReplicaKilled,
    ReplicaPaused,
    ReplicaCut,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::PrimaryKilled,
        Self::PrimaryOff,
        Self::PrimaryPaused,
        Self::PrimaryCutOff,
        Self::PrimaryFull,
        Self::Switchover,
        Self::EtcdLost,
        Self::BouncerRestarted,
        Self::HaproxyReloaded,
        Self::ReplicaKilled,
        Self::ReplicaPaused,
        Self::ReplicaCut,
    ];

    /// Its name for the command line, and what happens.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::PrimaryKilled => ("primary-killed", "primary and its Patroni: `kill -9`"),
            Self::PrimaryOff => ("primary-off", "primary switched off: no RST, no FIN"),
            Self::PrimaryPaused => ("primary-paused", "primary and its Patroni paused, then woken"),
            Self::PrimaryCutOff => (
                "primary-cut-off",
                "primary, HAProxy, PgBouncer and Jeton cut off from etcd and the standbys",
            ),
            Self::PrimaryFull => ("primary-full", "disk of the primary full"),
            Self::Switchover => ("switchover", "planned switchover"),
            Self::EtcdLost => ("etcd-lost", "etcd without quorum for 30 s"),
            Self::BouncerRestarted => ("bouncer-restarted", "PgBouncer killed and started"),
            Self::HaproxyReloaded => ("haproxy-reloaded", "HAProxy reloaded"),
            Self::ReplicaKilled => ("replica-killed", "a replica: `kill -9`, started after 12 s"),
            Self::ReplicaPaused => ("replica-paused", "a replica paused for 12 s"),
            Self::ReplicaCut => ("replica-cut", "a replica cut from the database only, for 12 s"),
        }
    }

    /// The one with this name.
    pub(crate) fn of(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|kind| kind.texts().0 == name);
        let names = || Self::ALL.map(|kind| kind.texts().0).join(", ");
        found.unwrap_or_else(|| panic!("no fault is called {name}; there are {}", names()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().1)
    }
}

/// One that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Which replica it happens to, if it happens to one.
    pub(crate) replica: usize,
}

/// When a fault did what.
pub(crate) struct Course {
    /// When another server was promoted.
    pub(crate) promoted: Option<Instant>,
    /// From when on right answers were possible.
    pub(crate) possible: Instant,
}

impl Fault {
    pub(crate) fn of(kind: Kind, random: &mut StdRng) -> Self {
        Self { kind, replica: random.random_range(0..3) }
    }

    /// So many in a random order, in which each kind is about as frequent as the others.
    pub(crate) fn draw(count: usize, random: &mut StdRng) -> Vec<Self> {
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().cycle().take(count).collect();
        kinds.shuffle(random);
        kinds.into_iter().map(|kind| Self::of(kind, random)).collect()
    }

    /// Has it happen, until it is over.
    pub(crate) async fn happen(self, primary: &'static str, world: &mut World) -> Course {
        let promoted = match self.kind {
            Kind::PrimaryKilled => {
                order(&format!("kill {primary}")).await;
                let promoted = promotion(primary, PROMOTION_MAX).await;
                order(&format!("start {primary}")).await;
                promoted
            }
            Kind::PrimaryOff => {
                order(&format!("unplug {primary}")).await;
                order(&format!("kill {primary}")).await;
                let promoted = promotion(primary, PROMOTION_MAX).await;
                order(&format!("plug {primary}")).await;
                order(&format!("start {primary}")).await;
                promoted
            }
            Kind::PrimaryPaused => {
                order(&format!("pause {primary}")).await;
                let promoted = promotion(primary, PROMOTION_MAX).await;
                sleep(BOTH).await;
                order(&format!("resume {primary}")).await;
                promoted
            }
            Kind::PrimaryCutOff => {
                let standbys = SERVERS.into_iter().filter(|server| *server != primary);
                let others: Vec<&str> = standbys.chain(world.etcds.iter().copied()).collect();
                order(&format!("apart {}", others.join(" "))).await;
                let promoted = promotion(primary, PROMOTION_MAX).await;
                sleep(BOTH).await;
                order(&format!("together {}", others.join(" "))).await;
                // Nobody could reach the new primary before.
                return Course { promoted, possible: Instant::now() };
            }
            Kind::PrimaryFull => {
                order(&format!("fill {primary}")).await;
                let promoted = promotion(primary, FULL).await;
                order(&format!("free {primary}")).await;
                promoted
            }
            Kind::Switchover => {
                let words = format!("switchover {primary}");
                tokio::join!(order(&words), promotion(primary, PROMOTION_MAX)).1
            }
            Kind::EtcdLost
            | Kind::BouncerRestarted
            | Kind::HaproxyReloaded
            | Kind::ReplicaKilled
            | Kind::ReplicaPaused
            | Kind::ReplicaCut => {
                self.happen_beside(world).await;
                None
            }
        };
        Course { promoted, possible: promoted.unwrap_or_else(Instant::now) }
    }

    /// Has one happen that leaves the primary alone.
    async fn happen_beside(self, world: &mut World) {
        let replica = format!("jeton{}", self.replica + 1);
        match self.kind {
            Kind::EtcdLost => {
                // Of three, two.
                let lost = &world.etcds[world.etcds.len() / 2..];
                for etcd in lost {
                    order(&format!("kill {etcd}")).await;
                }
                sleep(NO_QUORUM).await;
                for etcd in lost {
                    order(&format!("start {etcd}")).await;
                }
            }
            Kind::BouncerRestarted => {
                order("kill bouncer").await;
                order("start bouncer").await;
            }
            Kind::HaproxyReloaded => order("reload haproxy").await,
            Kind::ReplicaKilled => {
                world.keys.is_away(self.replica, true);
                world.replicas[self.replica].kill().await;
                sleep(AWAY).await;
                world.start(self.replica).await;
                world.keys.is_away(self.replica, false);
            }
            Kind::ReplicaPaused => {
                world.keys.is_away(self.replica, true);
                world.direct.begin_standstill(self.replica);
                world.replicas[self.replica].signal("STOP");
                sleep(AWAY).await;
                world.replicas[self.replica].signal("CONT");
                world.direct.end_standstill(self.replica);
                world.keys.is_away(self.replica, false);
            }
            Kind::ReplicaCut => {
                order(&format!("deaf {replica} bouncer")).await;
                sleep(AWAY).await;
                order(&format!("hear {replica} bouncer")).await;
            }
            _ => unreachable!("the others are about the primary"),
        }
    }
}
