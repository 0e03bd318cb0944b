//! `jeton check`: shows the settings in force, and checks whether a login would succeed with them. It checks what
//! `/readyz` checks, also beside a running service, and changes nothing.

mod settings;

use std::path::Path;

use clap::ArgMatches;
use rustix::fs::{Access, access};

use super::serve::{Plan, bind, check_default_client, key_store, require_rights};
use super::{Failure, healthcheck, in_database, listing, migrating, output, unknown_variables};
use crate::config::{ByteSize, ServeSettings};
use jeton_crypto::random;
use jeton_crypto::sealing::MasterKeys;
use jeton_runtime::clock::Clock;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::keys::administration::KeyAdministration;
use jeton_service::keys::key_store::KeyStore;
use jeton_service::keys::{Keys, Sealing};
use jeton_store::migration::SchemaStatus;
use jeton_store::{DatabaseLocation, Store, StoreError, migration};

/// Prints findings as they come, and counts the problems.
#[derive(Default)]
struct Findings {
    problems: usize,
}

impl Findings {
    fn good(text: &str) {
        output::line(&format!("ok  {text}"));
    }

    /// Says what could not be checked, and why.
    fn unseen(text: &str) {
        output::line(&format!("--  not looked at: {text}"));
    }

    /// Says what would make the service safer.
    fn advice(text: &str) {
        output::line(&format!("--  advice: {text}"));
    }

    fn warning(text: &str) {
        output::error_line(&format!("warning: {text}"));
    }

    fn problem(&mut self, text: &str) {
        self.problems += 1;
        output::error_line(&format!("problem: {text}"));
    }

    /// Prints the outcome of a check.
    fn take(&mut self, outcome: Result<String, Failure>) {
        match outcome {
            Ok(text) => Self::good(&text),
            Err(problem) => self.problem(&problem.to_string()),
        }
    }
}

pub(super) async fn run(settings: ServeSettings, matches: &ArgMatches) -> Result<(), Failure> {
    let planned = Plan::make(&settings);
    let rows = settings::effective(&settings, planned.as_ref().ok(), matches);
    listing::table(["SETTING", "VALUE", "FROM"], &rows);
    output::line("");

    let mut findings = Findings::default();
    for name in unknown_variables() {
        Findings::warning(&format!("the environment variable {name} is no setting"));
    }
    if let Some(problem) = settings.drain_problem() {
        Findings::warning(&problem);
    }
    if rustix::process::geteuid().is_root() {
        Findings::unseen(
            "what files refuse to others than root: say it as the user of the service",
        );
    }
    match &planned {
        Ok(plan) => look_at_plan(plan),
        Err(problem) => findings.problem(&problem.to_string()),
    }
    let runs = look_at_addresses(&settings, &mut findings).await;
    look_at_database(&settings, planned.as_ref().ok(), &mut findings).await;

    match (findings.problems, runs) {
        (0, false) => output::line("The service can start."),
        (0, true) => output::line("The service can start, once the one that runs is stopped."),
        (1, _) => return Err("mend the problem above".into()),
        (count, _) => return Err(Failure::failed(format!("mend the {count} problems above"))),
    }
    Ok(())
}

fn look_at_plan(plan: &Plan) {
    let limit = plan.memory_limit.as_ref();
    let limit = limit.map(|limit| format!(", of the {limit}")).unwrap_or_default();
    let (hashing, memory) = (&plan.hashing, hashing_memory(plan));
    Findings::good(&format!(
        "hashing: threads {}, hashes at once in each {} ({}), {memory} in all{limit}",
        hashing.threads,
        hashing.lanes(hashing.cost),
        hashing.kernel.name()
    ));
    let (connections, memory) = (plan.connections_max, ByteSize(plan.connections_memory as u64));
    Findings::good(&format!("{connections} connections at once, {memory} at most"));
    if let Some(certificate) = &plan.certificate {
        let validity = certificate.validity();
        Findings::good(&format!(
            "the certificate and its key fit together; it expires at {}",
            validity.not_after
        ));
        if let Some(problem) = validity.problem(Clock::System.now()) {
            Findings::warning(&problem);
        }
    }
    for problem in &plan.exposed {
        Findings::warning(problem);
    }
}

/// Binds both addresses for a moment. Returns whether a service with these settings is running and uses them.
async fn look_at_addresses(settings: &ServeSettings, findings: &mut Findings) -> bool {
    let wanted =
        [(settings.listen, "--listen"), (settings.management_listen, "--management-listen")];
    let taken: Vec<Failure> =
        wanted.into_iter().filter_map(|(address, name)| bind(address, name).err()).collect();
    if taken.is_empty() {
        Findings::good("both addresses are free");
        return false;
    }
    let management = healthcheck::reachable(settings.management_listen);
    // Another program on this address would not answer with such a report.
    let answer = healthcheck::ask(management).await.ok();
    let Some(answer) = answer.filter(|answer| answer.report.starts_with(r#"{"status":"#)) else {
        for problem in taken {
            findings.problem(&problem.to_string());
        }
        return false;
    };
    Findings::unseen(&format!(
        "whether both addresses will be free: a service runs, and answers at {management} \
         (--management-listen)"
    ));
    findings.take(if answer.is_ready {
        Ok("the service that runs is ready".to_owned())
    } else {
        Err(Failure::failed(format!("the service that runs is not ready: {}", answer.report)))
    });
    true
}

/// Checks the database and opens its keys. Creates neither.
async fn look_at_database(settings: &ServeSettings, plan: Option<&Plan>, findings: &mut Findings) {
    let location = &settings.database.database;
    if let DatabaseLocation::Sqlite(path) = location
        && !path.exists()
    {
        let what = format!("the database {location} (--database)");
        findings.take(can_be_made(path, &what));
        look_at_master_key(settings, findings);
        return;
    }
    let opened = match Store::open(location).await {
        Ok(store) => Ok((migration::status(&store).await, store)),
        Err(problem) => Err(problem),
    };
    let (store, status) = match opened {
        Ok((Ok(status), store)) => (store, status),
        Ok((Err(problem), _)) => {
            findings.problem(&in_database(&settings.database, problem).to_string());
            return Findings::unseen("tables, keys and clock, which are in the database");
        }
        Err(problem) => {
            findings.problem(&problem.to_string());
            return Findings::unseen("tables, keys and clock, which are in the database");
        }
    };
    let SchemaStatus { applied, known } = status;
    Findings::good(&format!("the database {location} answers"));
    let rights = require_rights(&store, location, !status.is_up_to_date()).await;
    findings.take(rights.map(|()| "it lets the service do what it must".to_owned()));
    if !status.is_up_to_date() {
        findings.take(look_for_standby(&store, settings).await);
        Findings::good(&format!(
            "its tables are at version {applied} and will be brought to {known} at the start"
        ));
        Findings::unseen("keys, clock and --default-client, because the tables are not up to date");
        return;
    }
    if let Some(newer) = migrating::newer_tables(status) {
        Findings::warning(&newer);
    }
    findings.take(look_at_writes(&store, settings).await);
    findings.take(look_at_clock(&store).await);
    if let Some(plan) = plan {
        findings.take(match check_default_client(&store, plan.default_client.as_ref()).await {
            Ok(()) => Ok("--default-client is there, or none is named".to_owned()),
            Err(problem) => Err(problem),
        });
    }
    let key_store = key_store(store, &settings.keys);
    match Keys::try_open(&key_store, Clock::System.now()).await {
        Ok(0) => look_at_master_key(settings, findings),
        Ok(count) => Findings::good(&format!("{count} keys open with the master key and work")),
        Err(error) => findings.problem(&error.to_string()),
    }
    look_at_sealing(key_store, findings).await;
}

/// Checks that sealed password hashes open, or recommends to seal them.
async fn look_at_sealing(key_store: KeyStore, findings: &mut Findings) {
    let keys = KeyAdministration { key_store, now: Clock::System.now() };
    let sealing = match keys.check_sealing().await {
        Ok(Some(sealing)) => sealing,
        Ok(None) => {
            return Findings::advice(
                "password hashes are not sealed, so whoever steals the database can guess at them; `jeton user seal` \
                 ends that, and docs/sealing.md says what is lost if its keys are",
            );
        }
        Err(error) => return findings.problem(&error.to_string()),
    };
    let Sealing { data_key, recipients, others, other_secrets } = sealing;
    if others > 0 {
        Findings::warning(&format!(
            "{others} password hashes are not sealed under the data key {data_key}: `jeton user seal` goes on"
        ));
    }
    if other_secrets > 0 {
        Findings::warning(&format!(
            "{other_secrets} hashes of client secrets are not sealed under the data key {data_key}: `jeton user seal` goes \
             on"
        ));
    }
    let who = match recipients.as_slice() {
        [] => "no recovery key opens it, so keep copies of the master key".to_owned(),
        names => format!("so does the recovery key {}", names.join(", ")),
    };
    Findings::good(&format!(
        "password hashes are sealed; the master key opens their data key {data_key}, and {who}"
    ));
}

async fn look_at_writes(store: &Store, settings: &ServeSettings) -> Result<String, Failure> {
    let written = store.check_write(random::replica_id()).await;
    let location = &settings.database.database;
    written.map(|()| "it takes writes".to_owned()).map_err(|error| {
        let remedy = match error {
            StoreError::Unavailable(_) => {
                "make room on its disk, end what locks it, or name the server that takes writes"
            }
            _ => "see what the database says",
        };
        Failure::failed(format!("no write to {location} (--database) succeeds: {error}; {remedy}"))
    })
}

/// Checks, for tables that must be migrated first, that the server accepts writes.
async fn look_for_standby(store: &Store, settings: &ServeSettings) -> Result<String, Failure> {
    if !store.is_read_only().await? {
        return Ok("it is no standby".to_owned());
    }
    Err(Failure::failed(format!(
        "the server of {} (--database) that was asked is a standby, or read-only: name the one that takes writes, or \
         all of them",
        settings.database.database
    )))
}

async fn look_at_clock(store: &Store) -> Result<String, Failure> {
    let clock = AgreedClock::open(Clock::System, store.clone()).await?;
    let agrees = clock.now();
    agrees.map(|_| "the clock agrees".to_owned()).map_err(|off| Failure::failed(off.to_string()))
}

/// Checks whether the first keys can be made.
fn look_at_master_key(settings: &ServeSettings, findings: &mut Findings) {
    let files = &settings.keys.master.master_key_file;
    let Some(first) = files.first() else { return };
    findings.take(if first.exists() {
        let read = MasterKeys::load(files, true);
        read.map(|_| "the first keys will be made at the first start".to_owned())
            .map_err(Failure::from)
    } else {
        can_be_made(first, &format!("the master key {} (--master-key-file)", first.display()))
    });
}

/// Checks whether a file can be created in its folder, or in one that would be created for it.
fn can_be_made(path: &Path, what: &str) -> Result<String, Failure> {
    let named =
        |folder: &Path| if folder == Path::new("") { Path::new(".") } else { folder }.to_owned();
    let there = path.ancestors().skip(1).map(named).find(|folder| folder.exists());
    let folder = there.unwrap_or_else(|| Path::new("/").to_owned());
    if folder.is_dir() && access(&folder, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return Ok(format!("{what} will be made at the first start"));
    }
    Err(Failure::failed(format!(
        "cannot make {what}: {} is not a folder that this process can write to; make it writable, \
         or name a file elsewhere",
        folder.display()
    )))
}

fn hashing_memory(plan: &Plan) -> ByteSize {
    ByteSize(plan.hashing.memory_per_thread * plan.hashing.threads as u64)
}
