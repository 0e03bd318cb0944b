//! `jeton user import`: users who come with the hashes that they have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::columns::{Column, Columns};
use super::lines::{Record, Records};
use super::otp_sealer::Sealer;
use super::record::{Kind, Problem, ReadUser, read_user};
use super::skipped::Skipped;
use super::wrap::wrap_weak;
use super::{Common, Failure, open_store, open_store_if_made, output};
use crate::cli::{listing, machine};
use crate::config::{HashingSettings, MasterKeySettings};
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::PasswordHash;
use jeton_oauth::{Seconds, Timestamp};
use jeton_service::housekeeping::store_users;
use jeton_service::stored_hashes::{StagedHashes, StoredHashes};
use jeton_store::Store;
use jeton_store::import::{FindKnown, Known, StagedUser, Staging, Taken};

/// How many lines are looked at together.
const LINES: usize = 512;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(200);

/// What `jeton user import` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// CSV with a header, JSON Lines, a JSON list, or what Django's dumpdata writes; - for standard input
    file: PathBuf,
    /// Look at everything and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out lines that cannot be taken, and write them to this new file
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    skip_bad: Option<PathBuf>,
    /// Wrap hashes that take less than 16 MiB to compute in scrypt, so that none of them is stored as
    /// it is. Takes as long as a login each
    #[arg(long)]
    wrap: bool,
    /// A column that is not called as `jeton user export` calls it: `username=email`, or
    /// `disabled=!is_active` for one that says the opposite; repeatable
    #[arg(long, value_name = "NAME=COLUMN")]
    column: Vec<Column>,
    #[command(flatten)]
    hashing: HashingSettings,
    #[command(flatten)]
    master: MasterKeySettings,
    #[command(flatten)]
    common: Common,
}

/// What came of an import.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    lines: u64,
    /// Users by the format and cost of their hashes.
    formats: BTreeMap<String, u64>,
    /// New users.
    added: u64,
    /// Users who were there, had not logged in and came with another hash.
    updated: u64,
    /// Users who were there already, as the file has them or changed since.
    unchanged: u64,
    /// Hashes that were wrapped.
    wrapped: u64,
    /// Whether all hashes are sealed under a data key (`jeton user seal`).
    sealed: bool,
    /// Authenticators of new users.
    authenticators: u64,
    problems: Vec<BadLine>,
    #[serde(skip)]
    kinds: BTreeMap<Kind, u64>,
}

/// A line that cannot be taken.
#[derive(Debug, Serialize)]
struct BadLine {
    #[serde(rename = "line")]
    number: u64,
    kind: Kind,
    problem: String,
}

/// An import under way.
struct Importing<'a> {
    options: &'a Import,
    columns: Columns,
    limits: HashingLimits,
    /// Nothing if there is no database yet, and none is to be made.
    store: Option<Store>,
    /// How the hashes are stored; nothing where there is no database.
    hashes: Option<StoredHashes>,
    staging: Staging,
    staged_hashes: StagedHashes,
    skipped: Option<Skipped>,
    report: Report,
    weak: u64,
    sealer: Sealer<'a>,
}

pub(super) async fn run(options: Import, now: Timestamp) -> Result<(), Failure> {
    // The deadline of a login is no matter here.
    let limits = machine::hashing_limits(&options.hashing, Seconds::new(1), Seconds::new(1))?;
    let (file, size) = open(&options.file)?;
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    let named = |problem| format!("{}: {problem}", options.file.display());
    let mut records = Records::new(counted).map_err(named)?;
    let columns = Columns::new(&options.column)?;
    if let Some(header) = records.header() {
        let is_other = |problem| records.otherwise().map_or(problem, str::to_owned);
        columns.check(header).map_err(is_other).map_err(named)?;
        let unused: Vec<&str> = columns.unused(header).collect();
        if !unused.is_empty() {
            output::error_line(&format!("Columns that are not used: {}", unused.join(", ")));
        }
    }
    let skipped = options.skip_bad.as_deref();
    let skipped = skipped.map(|path| Skipped::create(path, records.header())).transpose()?;
    let store = importing_store(&options).await?;
    let masters = &options.master.master_key_file;
    let hashes = StoredHashes::read_to_write(store.as_ref(), masters).await?;
    let sealed = hashes.as_ref().is_some_and(StoredHashes::are_sealed);
    let mut importing = Importing {
        store,
        hashes,
        staged_hashes: StagedHashes::default(),
        options: &options,
        columns,
        limits,
        staging: Staging::new()?,
        skipped,
        report: Report { dry_run: options.dry_run, sealed, ..Report::default() },
        weak: 0,
        sealer: Sealer { files: &options.master.master_key_file, key: None, now },
    };
    let mut shown_at = Instant::now();
    loop {
        let lines: Vec<Record> =
            records.by_ref().take(LINES).collect::<Result<_, _>>().map_err(named)?;
        if lines.is_empty() {
            break;
        }
        importing.look_at(lines).await?;
        if let Some(size) = size.filter(|_| shown_at.elapsed() > PROGRESS) {
            output::progress_bar("Reading", read.load(Ordering::Relaxed), size);
            shown_at = Instant::now();
        }
    }
    if size.is_some() {
        output::progress_bar("Reading", 1, 1);
        output::end_progress();
    }
    if let Some(remark) = records.remark() {
        output::error_line(&remark);
    }
    importing.finish(now).await
}

/// The database to import to. A dry run makes none.
async fn importing_store(options: &Import) -> Result<Option<Store>, Failure> {
    let database = &options.common.database;
    if options.dry_run {
        return open_store_if_made(&database.settings).await;
    }
    open_store(database).await.map(Some)
}

/// Opens the file, and says how large it is if that is known.
fn open(path: &std::path::Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)
        .map_err(|error| format!("cannot open {} to read users: {error}", path.display()))?;
    let size = file.metadata().ok().filter(std::fs::Metadata::is_file);
    Ok((Box::new(file), size.map(|data| data.len())))
}

/// A file, and how much of it was read.
struct Counted {
    file: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// What is to be done about a user of the file.
enum Decision {
    Add,
    Update,
    Leave,
}

impl Importing<'_> {
    /// Stages what can be taken of these lines.
    async fn look_at(&mut self, lines: Vec<Record>) -> Result<(), Failure> {
        self.report.lines += lines.len() as u64;
        let memory_max = self.limits.memory_per_thread;
        let read = lines.iter().map(|record| read_user(record, &self.columns, memory_max));
        let read: Vec<_> = read.collect();
        let users = || read.iter().flatten().map(|read| &read.user);
        let known = match &self.store {
            None => Known::default(),
            Some(store) => {
                let names = users().map(|user| user.username.as_str().to_owned()).collect();
                let own = users().filter(|user| user.has_own_id);
                let ids = own.map(|user| user.id.clone()).collect();
                store.perform(FindKnown { names, ids }).await?
            }
        };
        for (record, user) in lines.iter().zip(read) {
            let problem = match user {
                Ok(read) => self.stage(read, &known).await?,
                Err(problem) => Some(problem),
            };
            if let Some(problem) = problem {
                self.leave_out(record, problem)?;
            }
        }
        Ok(())
    }

    /// Stages a user, or says why not.
    async fn stage(&mut self, read: ReadUser, known: &Known) -> Result<Option<Problem>, Failure> {
        let ReadUser { mut user, hash, authenticators } = read;
        let decision = match self.decide(&user, &hash, known) {
            Ok(decision) => decision,
            Err(problem) => return Ok(Some(problem)),
        };
        if matches!(decision, Decision::Add) && !authenticators.is_empty() {
            self.report.authenticators += authenticators.len() as u64;
            // A dry run seals nothing, since nothing is to be made.
            if let Some(store) = self.store.as_ref().filter(|_| !self.options.dry_run) {
                user.second_factors = self.sealer.seal(store, &user.id, &authenticators).await?;
            }
        }
        let wanted = !matches!(decision, Decision::Leave);
        user.password_hash = self.staged_hashes.seal(&user.id, &user.password_hash);
        if let Some(taken) = self.staging.add(&user, wanted)? {
            let (what, line) = match taken {
                Taken::Name(line) => ("user name", line),
                Taken::Sub(line) => ("sub", line),
            };
            let sentence = format!("its {what} is that of line {line}");
            return Ok(Some(Problem::new(Kind::Duplicate, sentence)));
        }
        let report = &mut self.report;
        *report.formats.entry(hash.to_string()).or_default() += 1;
        *match decision {
            Decision::Add => &mut report.added,
            Decision::Update => &mut report.updated,
            Decision::Leave => &mut report.unchanged,
        } += 1;
        self.weak += u64::from(wanted && hash.is_weak());
        Ok(None)
    }

    /// Holds a user of the file against those of the database.
    fn decide(
        &self,
        user: &StagedUser,
        hash: &PasswordHash,
        known: &Known,
    ) -> Result<Decision, Problem> {
        let name = &user.username;
        let conflict = |sentence: String| Err(Problem::new(Kind::Conflict, sentence));
        if known.clients.iter().any(|client| client == user.id.as_str()) {
            let sentence = "its sub is the name of a client, which could pass for the user (RFC 9068 §5): \
                            give the user another sub, or delete that client and add it under another name";
            return conflict(sentence.to_owned());
        }
        let others = known.users.iter();
        if let Some(other) =
            others.clone().find(|known| known.id == user.id && known.username != *name)
        {
            return conflict(format!("its sub is that of the user {}", other.username));
        }
        let Some(same) = others.clone().find(|known| known.username == *name) else {
            return Ok(Decision::Add);
        };
        if user.has_own_id && same.id != user.id {
            return conflict("there is a user of its name already, with another sub".to_owned());
        }
        let is_untouched =
            same.last_login_at.is_none() && same.password_changed_at == same.created_at;
        let stored = self.hashes.as_ref().and_then(|hashes| hashes.hash_of(same).ok());
        let stored = stored.and_then(|text| PasswordHash::parse(text.expose(), u64::MAX).ok());
        let is_to_change = stored.is_some_and(|stored| {
            let is_to_be_wrapped = self.options.wrap && stored.is_weak();
            let is_same = stored.is_made_of(hash);
            // A hash that was made here is that of a password that was set here.
            !stored.is_own() && (!is_same || is_to_be_wrapped)
        });
        Ok(if is_untouched && is_to_change { Decision::Update } else { Decision::Leave })
    }

    fn leave_out(&mut self, record: &Record, problem: Problem) -> Result<(), Failure> {
        let Problem { kind, mut sentence } = problem;
        *self.report.kinds.entry(kind).or_default() += 1;
        if let Some(skipped) = &mut self.skipped
            && !skipped.write(record, &sentence)?
        {
            sentence += "; it is not written to the file of --skip-bad, because programs that divide lines at \
                         semicolons or bars would find a formula in it: mend it where it stands";
        }
        if self.options.common.json {
            self.report.problems.push(BadLine { number: record.line, kind, problem: sentence });
        } else {
            output::error_line(&format!("line {}: {sentence}", record.line));
        }
        Ok(())
    }

    /// Stores what was staged, if it may be.
    async fn finish(mut self, now: Timestamp) -> Result<(), Failure> {
        if let Some(skipped) = self.skipped.take() {
            skipped.finish()?;
        }
        let bad: u64 = self.report.kinds.values().sum();
        let refused = bad > 0 && self.options.skip_bad.is_none();
        if let Some(store) = self.store.take().filter(|_| !refused && !self.options.dry_run) {
            if self.options.wrap {
                self.report.wrapped =
                    wrap_weak(&self.staging, &self.staged_hashes, self.limits, self.weak)?;
            }
            self.store_all(&store, now).await?;
        } else if self.options.wrap {
            self.report.wrapped = self.weak;
        }
        let bad_lines = if bad == 1 { "1 line".to_owned() } else { format!("{bad} lines") };
        self.report.print(self.options.common.json, refused && !self.options.dry_run);
        if !refused {
            return Ok(());
        }
        Err(Failure::failed(if self.options.dry_run {
            format!("{bad_lines} cannot be taken: mend them, or import with --skip-bad FILE")
        } else {
            format!(
                "{bad_lines} cannot be taken, so nothing was imported: mend them, or leave them out \
                 with --skip-bad FILE"
            )
        }))
    }

    /// Stores what is wanted, in slices.
    async fn store_all(&self, store: &Store, now: Timestamp) -> Result<(), Failure> {
        if self.report.updated > 0 {
            // Before it, because it may be interrupted.
            store.ask_for_rewrite().await?;
        }
        let wanted = self.report.added + self.report.updated;
        let (mut stored, mut shown_at) = (0, Instant::now());
        let show = |count| {
            stored = count;
            if shown_at.elapsed() > PROGRESS {
                output::progress_bar("Storing", stored, wanted);
                shown_at = Instant::now();
            }
        };
        let Some(hashes) = &self.hashes else { return Ok(()) };
        let done = store_users(store, &self.staging, &self.staged_hashes, hashes, now, show).await;
        if done.is_ok() {
            output::progress_bar("Storing", 1, 1);
        }
        output::end_progress();
        let other_file = match &self.options.skip_bad {
            Some(_) => ", with another file for --skip-bad,",
            None => "",
        };
        done.map(drop).map_err(|error| {
            Failure::from(error).reworded(|text| {
                format!(
                    "{text}. {stored} of {wanted} users were stored before that, and stay: the same command \
                     again{other_file} stores the others"
                )
            })
        })
    }
}

impl Report {
    fn print(&self, json: bool, refused: bool) {
        if json {
            return output::json(self);
        }
        let rows = self.formats.iter().map(|(format, users)| [format.clone(), users.to_string()]);
        listing::table(["FORMAT", "USERS"], &rows.collect::<Vec<_>>());
        output::line("");
        if !self.kinds.is_empty() {
            let rows = self.kinds.iter().map(|(kind, lines)| [kind.to_string(), lines.to_string()]);
            listing::table(["PROBLEM", "LINES"], &rows.collect::<Vec<_>>());
            output::line("");
        }
        if refused {
            return;
        }
        let Self { lines, added, updated, unchanged, wrapped, sealed, .. } = self;
        let would = if self.dry_run { "would be " } else { "" };
        output::line(&format!(
            "Of {lines} lines: {added} {would}added, {updated} {would}given another hash, \
             {unchanged} were there already; hashes {would}wrapped: {wrapped}.{}{}",
            if *sealed { " All hashes are sealed here, weak ones among them." } else { "" },
            if self.dry_run { " Nothing was stored: this was a dry run." } else { "" },
        ));
    }
}
