//! One run: clients at work, and faults one after the other.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::fault::Fault;
use crate::keys::KeyWatch;
use crate::ledger::Counts;
use crate::load::Load;
use crate::nodes::{address_of, are_whole, primary};
use crate::real::{CLIENT, Replicas, add_client};
use crate::replica::Replica;
use crate::report::{Report, Row};
use crate::template::fill;
use crate::usage::Usage;

/// Names the database, as the replicas find it.
const DATABASE_VARIABLE: &str = "JETON_CLUSTER_DATABASE";
/// How many sessions are used at once by honest holders, and how many by others beside them.
const HONEST: usize = 2;
const CONTESTED: usize = 3;
/// How long Patroni may take to have all servers in their places again.
const WHOLE_MAX: Duration = Duration::from_mins(2);
/// How long all answers must have been right before the next fault.
const QUIET: Duration = Duration::from_secs(3);
/// How many they are at least meanwhile: it may be quiet because all clients wait.
const QUIET_REQUESTS_MIN: usize = 20;
/// How soon after a promotion all answers are to be right, and so many times that fail the run: a machine that is busy
/// with other work is no fault of the service, and the time is reported.
pub(crate) const RIGHT_AGAIN: Duration = Duration::from_secs(10);
const TIMES_MAX: u32 = 5;

/// The replicas, and who watches them.
pub(crate) struct World {
    pub(crate) replicas: Vec<Replica>,
    /// What the history checker's clients know of them.
    pub(crate) direct: Arc<Replicas>,
    pub(crate) keys: KeyWatch,
    pub(crate) etcds: Vec<&'static str>,
}

impl World {
    /// Starts the replicas on the database at this URL.
    async fn open(url: &str, master_key: &str) -> Self {
        let proxy = address_of("haproxy", 0).ip().to_string();
        let mut replicas = Vec::new();
        for index in 1..=3 {
            let node = format!("jeton{index}");
            let management = address_of(&node, 8_081).to_string();
            let further = [
                "--behind-tls-proxy",
                "--trusted-proxy",
                &proxy,
                "--management-listen",
                &management,
                // Clients that abandon sessions must not end those of the others.
                "--sessions-per-user-and-client",
                "10000",
            ];
            let mut replica = Replica::new(url, master_key);
            replica.address = address_of(&node, 8_080);
            replica.arguments.extend(further.map(str::to_owned));
            replica.start_by(["nsenter", &format!("--net=/run/netns/{node}"), "--"]);
            replicas.push(replica);
        }
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
        let url = url.to_owned();
        let secret = spawn_blocking(move || add_client(&url)).await.expect("no panic");
        let names = ["etcd1", "etcd2", "etcd3"];
        let folder = std::env::var("CLUSTER").expect("tests/cluster/inside sets it");
        let is_there = |name: &&str| std::path::Path::new(&folder).join(name).exists();
        let mut world = Self {
            replicas,
            direct: Arc::new(Replicas::new(addresses.clone(), secret)),
            keys: KeyWatch::start(&[]),
            etcds: names.into_iter().filter(is_there).collect(),
        };
        for index in 0..world.replicas.len() {
            world.start(index).await;
        }
        world.keys = KeyWatch::start(&addresses);
        world
    }

    pub(crate) async fn start(&mut self, replica: usize) {
        let started = self.replicas[replica].start().await;
        started.unwrap_or_else(|log| panic!("a replica does not start: {log}"));
    }
}

/// Has these faults happen one after the other; whether nothing was wrong.
pub(crate) async fn run(faults: &[Fault], mut random: StdRng) -> bool {
    let url = std::env::var(DATABASE_VARIABLE).expect("tests/cluster/inside sets it");
    let (fixtures, sessions) = fill(&url).await;
    let fixtures = Box::leak(Box::new(fixtures));
    let mut world = World::open(&url, &fixtures.master_key.display().to_string()).await;
    let load = Load::start(vec![address_of("haproxy", 8_080)], &sessions, fixtures);
    let usage = Usage::start(&world.direct, HONEST, CONTESTED, &mut random);
    let watch = tokio::spawn(Arc::clone(&world.direct).watch_machine());
    assert!(
        load.goes_on(Duration::from_mins(1)).await,
        "a client was not served before the faults"
    );
    let mut report = Report::default();
    for fault in faults {
        let noted = usage.begin(fault.kind.to_string());
        let row = happen(*fault, &mut world, &load).await;
        usage.end(noted);
        println!("{}", report.add(row));
        if usage.is_over() || !report.is_right() {
            break;
        }
    }
    report.hold_to_account(load, usage).await;
    watch.abort();
    report.look_at_keys(&world.keys);
    let mut logs = Vec::new();
    for replica in &mut world.replicas {
        replica.kill().await;
        logs.push(replica.log());
    }
    report.look_at_logs(&logs, CLIENT);
    println!("{report}");
    report.is_right()
}

/// Has one fault happen, and waits until the cluster is whole and all clients are served.
async fn happen(fault: Fault, world: &mut World, load: &Load) -> Row {
    let primary = primary().await.expect("the cluster is whole");
    let (before, began) = (load.ledger.counts(), Instant::now());
    let course = fault.happen(primary, world).await;
    let over = Instant::now();
    let whole = are_whole(WHOLE_MAX).await;
    let right_again = loop {
        sleep(Duration::from_millis(200)).await;
        let (now, late) = (Instant::now(), WHOLE_MAX + RIGHT_AGAIN * TIMES_MAX);
        let (failed, asked) = load.ledger.failed_between(now - QUIET, now);
        let is_quiet = failed == 0 && asked >= QUIET_REQUESTS_MIN && now > over + QUIET;
        if is_quiet || course.possible.elapsed() > late {
            break load.ledger.recovery_since(course.possible);
        }
    };
    let after = load.ledger.counts();
    let mut wrong: Vec<String> = differences(&before, &after);
    if !whole {
        wrong.push("the cluster does not become whole again".to_owned());
    }
    if right_again > RIGHT_AGAIN * TIMES_MAX {
        wrong.push("no right answers".to_owned());
    }
    Row {
        kind: fault.kind,
        promoted: course.promoted.map(|moment| moment - began),
        right_again,
        took: began.elapsed(),
        requests: after.requests - before.requests,
        come_back: after.come_back - before.come_back,
        no_answer: after.no_answer - before.no_answer,
        wrong,
    }
}

/// The answers that were wrong between two counts.
fn differences(before: &Counts, after: &Counts) -> Vec<String> {
    let more = after.wrong.iter().map(|(wrong, count)| {
        (wrong, count - before.wrong.get(wrong).copied().unwrap_or_default())
    });
    more.filter(|(_, more)| *more > 0).map(|(wrong, more)| format!("{more} {wrong}")).collect()
}
