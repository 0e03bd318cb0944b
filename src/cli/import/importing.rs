//! An import under way: what a source has is looked at and staged, and stored when all of it was looked at.

use std::path::Path;
use std::time::{Duration, Instant};

use super::clients::{Clients, NotTaken};
use super::columns::Columns;
use super::entry::{Entry, FoundClient, Place, Reader, Record, Source};
use super::mapping::Mapping;
use super::names::Names;
use super::open::Progress;
use super::options::Options;
use super::otp_sealer::Sealer;
use super::record::{Kind, Problem, ReadUser, read_user};
use super::report::{BadEntry, Report};
use super::skipped::Skipped;
use super::wrap::Wrapping;
use super::{Failure, output};
use crate::cli::machine;
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::PasswordHash;
use jeton_oauth::{Seconds, Timestamp};
use jeton_service::housekeeping::store_users;
use jeton_service::stored_hashes::{StagedHashes, StoredHashes};
use jeton_store::Store;
use jeton_store::import::{FindKnown, Known, StagedUser, Staging, Taken};
use jeton_store::users::User;

/// How many entries are looked at together.
const ENTRIES: usize = 512;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(200);

/// What is to be imported, and how its names are understood.
pub(in crate::cli) struct Job<'a> {
    /// The source, as errors name it.
    pub(in crate::cli) source: String,
    pub(in crate::cli) reader: Box<dyn Reader + 'a>,
    pub(in crate::cli) progress: Progress,
    pub(in crate::cli) columns: Columns,
    pub(in crate::cli) mapping: Mapping,
    /// Where a dry run writes a first mapping.
    pub(in crate::cli) first_mapping: Option<&'a Path>,
}

/// An import under way.
struct Importing<'a> {
    options: &'a Options,
    columns: Columns,
    mapping: Mapping,
    limits: HashingLimits,
    /// Nothing if there is no database yet, and none is to be made.
    store: Option<Store>,
    /// How the hashes are stored; nothing where there is no database.
    hashes: Option<StoredHashes>,
    staging: Staging,
    staged_hashes: StagedHashes,
    clients: Clients,
    skipped: Option<Skipped>,
    report: Report,
    names: Names,
    /// How many hashes are to be wrapped.
    to_wrap: u64,
    sealer: Sealer<'a>,
}

/// Imports what a source has, or only looks at it.
pub(in crate::cli) async fn run(
    options: &Options,
    job: Job<'_>,
    now: Timestamp,
) -> Result<(), Failure> {
    let Job { source, mut reader, progress, columns, mapping, first_mapping } = job;
    // The deadline of a login is no matter here.
    let limits = machine::hashing_limits(&options.hashing, Seconds::new(1), Seconds::new(1))?;
    let named = |problem: String| format!("{source}: {problem}");
    if let Some(header) = reader.header() {
        check_header(header, &columns, reader.otherwise()).map_err(named)?;
    }
    let skipped = options.skip_bad.as_deref();
    let skipped = skipped.map(|path| Skipped::create(path, reader.header())).transpose()?;
    let store = options.store().await?;
    let hashes =
        StoredHashes::read_to_write(store.as_ref(), &options.master.master_key_file).await?;
    let sealed = hashes.as_ref().is_some_and(StoredHashes::are_sealed);
    let mut importing = Importing {
        clients: Clients::default(),
        store,
        hashes,
        staged_hashes: StagedHashes::default(),
        options,
        columns,
        mapping,
        limits,
        staging: Staging::new()?,
        skipped,
        report: Report { dry_run: options.dry_run, sealed, ..Report::default() },
        names: Names::default(),
        to_wrap: 0,
        sealer: Sealer { files: &options.master.master_key_file, key: None, now },
    };
    let mut shown_at = Instant::now();
    loop {
        let entries: Vec<Entry> =
            reader.by_ref().take(ENTRIES).collect::<Result<_, _>>().map_err(named)?;
        if entries.is_empty() {
            break;
        }
        importing.look_at(entries).await?;
        if shown_at.elapsed() > PROGRESS {
            progress.show();
            shown_at = Instant::now();
        }
    }
    progress.end();
    if let Some(remark) = reader.remark() {
        output::error_line(&remark);
    }
    if let Some(unmet) = importing.mapping.unmet(&importing.names) {
        output::error_line(&unmet);
    }
    if let Some(path) = first_mapping {
        importing.names.write(path, &importing.mapping.tables)?;
        output::error_line(&format!("A first mapping was written to {}", path.display()));
    }
    let is_empty = importing.report.lines == 0 && importing.clients.is_empty();
    let is_none_taken = is_empty && importing.report.bad() == 0 && !reader.may_be_empty();
    importing.finish(now).await?;
    // Whoever names another source than was meant is not told that all went well.
    if is_none_taken {
        return Err(Failure::failed(format!(
            "{source}: there is neither a user with a password nor a client that could be taken: see whether the source \
             is of this kind, and whole"
        )));
    }
    Ok(())
}

/// Sees that a header has what every user needs.
fn check_header(
    header: &[String],
    columns: &Columns,
    otherwise: Option<&str>,
) -> Result<(), String> {
    columns.check(header).map_err(|problem| otherwise.map_or(problem, str::to_owned))?;
    let unused: Vec<&str> = columns.unused(header).collect();
    if !unused.is_empty() {
        output::error_line(&format!("Columns that are not used: {}", unused.join(", ")));
    }
    Ok(())
}

/// What is to be done about a user of the file.
enum Decision {
    Add,
    Update,
    Leave,
}

impl Importing<'_> {
    /// Stages what can be taken of these entries.
    async fn look_at(&mut self, entries: Vec<Entry>) -> Result<(), Failure> {
        let mut records = Vec::new();
        for entry in entries {
            match entry {
                Entry::User(record) => records.push(record),
                Entry::Client(client) => self.look_at_client(*client)?,
                Entry::LeftOut(name) => self.report.not_taken(name),
            }
        }
        self.report.lines += records.len() as u64;
        let read: Vec<_> = records.iter().map(|record| self.read(record)).collect();
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
        for (record, user) in records.iter().zip(read) {
            let staged = match user {
                Ok(read) => self.take(record, read, &known).await?,
                Err(problem) => Some(problem),
            };
            if let Some(mut problem) = staged {
                let written = self.skip(|skipped| skipped.write(record, &problem.sentence))?;
                problem.sentence += written.unwrap_or_default();
                self.leave_out(&record.place, problem);
            }
        }
        Ok(())
    }

    fn read(&self, record: &Record) -> Result<ReadUser, Problem> {
        read_user(record, &self.columns, self.limits.memory_per_thread)
    }

    /// Gives a user the names of here and stages it, or says why not.
    async fn take(
        &mut self,
        record: &Record,
        mut read: ReadUser,
        known: &Known,
    ) -> Result<Option<Problem>, Failure> {
        self.names.of_user(&read);
        let mut not_taken = Vec::new();
        if let Err(problem) = self.mapping.apply_to_user(&mut read, |name| not_taken.push(name)) {
            return Ok(Some(problem));
        }
        let staged = self.stage(read, known).await?;
        // The columns of a header were named once.
        if let (None, Ok(values), Source::Json(_)) = (&staged, &record.values, &record.source) {
            let unused: Vec<&String> = self.columns.not_taken(values).collect();
            self.names.of_members(unused.iter().copied());
            not_taken.extend(unused.into_iter().cloned());
        }
        for name in not_taken {
            self.report.not_taken(format!("{name} of a user"));
        }
        Ok(staged)
    }

    /// Stages a client that can be taken.
    fn look_at_client(&mut self, mut client: FoundClient) -> Result<(), Failure> {
        self.names.of_client(&client);
        if !self.mapping.apply_to_client(&mut client) {
            self.report.not_taken("client that the mapping leaves out".to_owned());
            return Ok(());
        }
        if let Some(name) = client.unused {
            self.report.not_taken(name.to_owned());
            return Ok(());
        }
        for name in &client.left_out {
            self.report.not_taken(format!("{name} of a client"));
        }
        match self.clients.take(client, self.limits.memory_per_thread) {
            Ok(()) => Ok(()),
            Err(client) => self.leave_out_client(*client),
        }
    }

    fn leave_out_client(&mut self, client: NotTaken) -> Result<(), Failure> {
        let NotTaken { place, problem, line } = client;
        self.skip(|skipped| skipped.write_client(line, &problem.sentence).map(|()| true))?;
        self.leave_out(&place, problem);
        Ok(())
    }

    /// Stages a user, or says why not.
    async fn stage(&mut self, read: ReadUser, known: &Known) -> Result<Option<Problem>, Failure> {
        let ReadUser { mut user, hash, authenticators, .. } = read;
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
        let has_factors = |known: &&User| known.second_factors.get().are_in_use();
        let same = known.users.iter().find(|known| known.username == user.username);
        if !authenticators.is_empty() && same.is_some_and(|same| !has_factors(&same)) {
            self.report.not_taken("authenticator of a user who is there already".to_owned());
        }
        let wanted = !matches!(decision, Decision::Leave);
        user.password_hash = self.staged_hashes.seal(&user.id, &user.password_hash);
        if let Some(taken) = self.staging.add(&user, wanted)? {
            let (what, place) = match taken {
                Taken::Name(place) => ("user name", place),
                Taken::Sub(place) => ("sub", place),
            };
            let sentence = format!("its {what} is that of {place}");
            return Ok(Some(Problem::new(Kind::Duplicate, sentence)));
        }
        let report = &mut self.report;
        *report.formats.entry(hash.to_string()).or_default() += 1;
        *match decision {
            Decision::Add => &mut report.added,
            Decision::Update => &mut report.updated,
            Decision::Leave => &mut report.unchanged,
        } += 1;
        self.to_wrap += u64::from(wanted && self.is_to_be_wrapped(&hash));
        Ok(None)
    }

    /// Whether a hash is stored under a wrapper.
    fn is_to_be_wrapped(&self, hash: &PasswordHash) -> bool {
        let Options { wrap, keep_fast, .. } = self.options;
        *wrap && hash.is_weak() || !keep_fast && !self.report.sealed && hash.is_fast()
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
        let stored = self.hashes.as_ref().and_then(|hashes| hashes.hash_of(same).ok());
        let stored = stored.and_then(|text| PasswordHash::parse(text.expose(), u64::MAX).ok());
        let is_to_change = stored.is_some_and(|stored| {
            let is_to_be_wrapped = self.is_to_be_wrapped(&stored);
            let is_same = stored.is_made_of(hash);
            // A hash that was made here is that of a password that was set here.
            !stored.is_own() && (!is_same || is_to_be_wrapped)
        });
        Ok(if same.is_as_added() && is_to_change { Decision::Update } else { Decision::Leave })
    }

    /// Writes what is left out to the file of `--skip-bad`, if there is one; a sentence if it cannot be there.
    fn skip(
        &mut self,
        write: impl FnOnce(&mut Skipped) -> Result<bool, Failure>,
    ) -> Result<Option<&'static str>, Failure> {
        let written = self.skipped.as_mut().map_or(Ok(true), write)?;
        Ok((!written).then_some(
            "; it is not written to the file of --skip-bad, because programs that divide lines at semicolons or \
             bars would find a formula in it: mend it where it stands",
        ))
    }

    fn leave_out(&mut self, place: &Place, Problem { kind, sentence: problem }: Problem) {
        *self.report.kinds.entry(kind).or_default() += 1;
        if self.options.json {
            self.report.problems.push(BadEntry { place: place.clone(), kind, problem });
        } else {
            output::error_line(&format!("{place}: {problem}"));
        }
    }

    /// Stores what was staged, if it may be.
    async fn finish(mut self, now: Timestamp) -> Result<(), Failure> {
        for client in self.clients.judge(self.store.as_ref(), &self.staging).await? {
            self.leave_out_client(client)?;
        }
        if let Some(skipped) = self.skipped.take() {
            skipped.finish()?;
        }
        let bad = self.report.bad();
        let refused = bad > 0 && self.options.skip_bad.is_none();
        let store = self.store.take().filter(|_| !refused && !self.options.dry_run);
        if self.to_wrap > 0 && !refused {
            let mut wrapping = Wrapping::new(self.limits)?;
            wrapping.say_cost(self.to_wrap, self.options.wrap);
            if store.is_some() {
                let is_wanted = |hash: &PasswordHash| self.is_to_be_wrapped(hash);
                wrapping.wrap(&self.staging, &self.staged_hashes, self.to_wrap, is_wanted)?;
            }
            self.report.wrapped = self.to_wrap;
        }
        (self.report.clients_added, self.report.clients_unchanged) = self.clients.counts();
        if let Some(advice) = self.clients.advice() {
            output::error_line(&advice);
        }
        if let (Some(store), Some(hashes)) = (store, &mut self.hashes) {
            std::mem::take(&mut self.clients).store(hashes, now).await?;
            self.store_all(&store, now).await?;
        }
        self.report.print(self.options.json, refused && !self.options.dry_run);
        if !refused {
            return Ok(());
        }
        Err(self.report.refusal())
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
