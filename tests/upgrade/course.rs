//! A database, replicas of several versions on it, clients at work, and what came of each stage.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::chance::choices;
use crate::harness::database::new_folder;
use crate::harness::{Database, Fixtures};
use crate::ledger::Counts;
use crate::load::Load;
use crate::real::{Replicas, add_client};
use crate::replica::Replica;
use crate::template::fill;
use crate::usage::Usage;

/// How long clients work at each stage, and how long it may then take until all answers are right, logins apart: while
/// many wait for their hash, 503 is right.
const STAGE: Duration = Duration::from_secs(10);
const QUIET_AFTER_MAX: Duration = Duration::from_mins(2);
/// For how long they must have been right, and how many they are at least: it may be quiet because all clients wait.
const QUIET: Duration = Duration::from_secs(3);
const QUIET_REQUESTS_MIN: usize = 20;
/// How many sessions are used at once by honest holders, and how many by others beside them.
const HONEST: usize = 2;
const CONTESTED: usize = 3;

/// A program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program<'a> {
    /// The version before, which the harness runs.
    Before,
    This,
    Later(&'a str),
}

pub(crate) struct Course {
    /// What it runs on, for people.
    engine: &'static str,
    database: Database,
    fixtures: &'static Fixtures,
    pub(crate) replicas: Vec<Replica>,
    load: Load,
    usage: Usage,
    /// What had come of the stages before, and when this one began.
    counted: Counts,
    since: Instant,
    wrong: Vec<String>,
}

impl Course {
    /// Fills a database by the version before and sets clients to work on so many replicas of it. Others may use
    /// sessions of their own through one replica more, which is not started yet.
    pub(crate) async fn begin(engine: &'static str, url: &str, before: usize, seed: u64) -> Self {
        let (fixtures, sessions) = fill(url).await;
        let fixtures: &'static Fixtures = Box::leak(Box::new(fixtures));
        let master_key = fixtures.master_key.display().to_string();
        // One has the machine to itself on SQLite, where versions are not beside each other.
        let count = if before == 1 { 1 } else { before + 1 };
        let mut replicas: Vec<_> = (0..count).map(|_| Replica::new(url, &master_key)).collect();
        for replica in &mut replicas {
            // Clients that abandon sessions must not end those of the others.
            let further = ["--sessions-per-user-and-client", "10000"];
            replica.arguments.extend(further.map(str::to_owned));
        }
        for replica in &mut replicas[..before] {
            start(replica, Program::Before).await;
        }
        let adding = url.to_owned();
        let secret =
            tokio::task::spawn_blocking(move || add_client(&adding)).await.expect("no panic");
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
        let load = Load::start(addresses[..before].to_vec(), &sessions, fixtures);
        let direct = Arc::new(Replicas::new(addresses, secret));
        let usage = Usage::start(&direct, HONEST, CONTESTED, &mut choices(seed));
        tokio::spawn(Arc::clone(&direct).watch_machine());
        let database = Database { url: url.to_owned(), folder: new_folder() };
        let (counted, since, wrong) = (Counts::default(), Instant::now(), Vec::new());
        Self { engine, database, fixtures, replicas, load, usage, counted, since, wrong }
    }

    /// Has callers go to these replicas.
    pub(crate) fn lead_to(&self, replicas: impl IntoIterator<Item = usize>) {
        let addresses = replicas.into_iter().map(|index| self.replicas[index].address);
        self.load.lead_to(addresses.collect());
    }

    /// Has callers go to all replicas.
    pub(crate) fn lead_to_all(&self) {
        self.lead_to(0..self.replicas.len());
    }

    pub(crate) async fn start(&mut self, replica: usize, program: Program<'_>) {
        start(&mut self.replicas[replica], program).await;
    }

    /// Stops a replica in an orderly way, after callers were led away from it if there are others.
    pub(crate) async fn stop(&mut self, replica: usize) {
        let others: Vec<_> = (0..self.replicas.len()).filter(|index| *index != replica).collect();
        if !others.is_empty() {
            self.lead_to(others);
        }
        self.replicas[replica].signal("TERM");
        let is_gone = |replica: &Replica| {
            let words = replica.process().process_file("cmdline");
            words.is_none_or(|words| words.is_empty())
        };
        while !is_gone(&self.replicas[replica]) {
            sleep(Duration::from_millis(50)).await;
        }
        self.replicas[replica].kill().await;
    }

    /// Replaces a replica by one of another program under the same address.
    pub(crate) async fn replace(&mut self, replica: usize, program: Program<'_>) {
        self.stop(replica).await;
        self.start(replica, program).await;
        self.lead_to_all();
    }

    /// Asserts that a program does not start on the tables, and says this.
    pub(crate) async fn refuses(&mut self, program: Program<'_>, says: &str) {
        let master_key = self.fixtures.master_key.display().to_string();
        let mut replica = Replica::new(&self.database.url, &master_key);
        run_by(&mut replica, program);
        match replica.start().await {
            Err(log) if log.contains(says) => {}
            Err(log) => self.wrong.push(format!("{program:?} does not say {says:?}: {log}")),
            Ok(()) => self.wrong.push(format!("{program:?} starts")),
        }
        replica.kill().await;
    }

    pub(crate) async fn query(&self, statement: &str) {
        self.database.query(statement).await;
    }

    /// Runs a command of this program on the database.
    pub(crate) async fn command(&mut self, words: &str) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_jeton"));
        let master_key = self.fixtures.master_key.display().to_string();
        command.args(words.split(' ')).args(["--database", &self.database.url]);
        command.args(["--master-key-file", &master_key]);
        let output = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
        let output = output.await.expect("no panic");
        if !output.status.success() {
            self.wrong.push(format!("{words}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }

    /// Lets the clients work on until all answers are right, and writes down what came of this stage since the last one
    /// ended.
    pub(crate) async fn work(&mut self, stage: &str) {
        sleep(STAGE).await;
        let late = Instant::now() + QUIET_AFTER_MAX;
        while !self.is_quiet() {
            if Instant::now() > late {
                self.wrong.push(format!("{stage}: answers are not right in the end"));
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.note(stage);
    }

    /// The same while some replicas must not write, so that there are always some answers of 503.
    pub(crate) async fn work_closed(&mut self, stage: &str) {
        sleep(STAGE).await;
        self.note(stage);
    }

    fn is_quiet(&self) -> bool {
        let now = Instant::now();
        let (failed, asked) = self.load.ledger.failed_between(now - QUIET, now);
        failed == 0 && asked >= QUIET_REQUESTS_MIN
    }

    fn note(&mut self, stage: &str) {
        let (failed, _) = self.load.ledger.failed_between(self.since, Instant::now());
        let now = self.load.ledger.counts();
        let sum = |counts: &Counts| counts.wrong.values().sum::<usize>();
        let row = format!(
            "| {}: {stage} | {} | {} | {} | {failed} | {} |\n",
            self.engine,
            now.requests - self.counted.requests,
            now.come_back - self.counted.come_back,
            now.no_answer - self.counted.no_answer,
            sum(&now) - sum(&self.counted)
        );
        print!("{row}");
        (self.counted, self.since) = (now, Instant::now());
    }

    /// Has each client show that what it knows is still so, and each session that its history fits. Whether nothing was
    /// wrong.
    pub(crate) async fn end(mut self) -> bool {
        let ledger = Arc::clone(&self.load.ledger);
        let unanswered = self.load.finish().await;
        if unanswered > 0 {
            self.wrong.push(format!("{unanswered} clients without an answer in the end"));
        }
        self.wrong.extend(ledger.examples());
        let tally = self.usage.finish().await;
        self.wrong.extend(tally.violation);
        for replica in &mut self.replicas {
            replica.kill().await;
            let log = replica.log();
            let strange = log.lines().filter(|line| line.contains("panicked"));
            self.wrong.extend(strange.map(str::to_owned));
        }
        let counts = ledger.counts();
        println!(
            "{}: {} requests of {} clients, {} histories, {} wrong",
            self.engine,
            counts.requests,
            crate::template::SESSIONS,
            tally.sessions,
            self.wrong.len()
        );
        self.wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
        self.wrong.is_empty()
    }
}

/// Has a replica run by this program from now on.
fn run_by(replica: &mut Replica, program: Program<'_>) {
    // The harness puts the version before behind it, which is left out.
    let instead =
        |path: &str| ["sh", "-c", "shift; exec \"$0\" \"$@\"", path].map(str::to_owned).to_vec();
    replica.start_by(match program {
        Program::Before => Vec::new(),
        Program::This => instead(env!("CARGO_BIN_EXE_jeton")),
        Program::Later(path) => instead(path),
    });
}

async fn start(replica: &mut Replica, program: Program<'_>) {
    run_by(replica, program);
    let started = replica.start().await;
    started.unwrap_or_else(|log| panic!("{program:?} does not start: {log}"));
}
