//! Hashes under a wrapper of scrypt, before they are stored.

use std::time::{Duration, Instant};

use super::{Failure, output};
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::{HashingMemory, NewHash, PasswordHash, make_together};
use jeton_oauth::Secret;
use jeton_service::stored_hashes::StagedHashes;
use jeton_store::import::{StagedUser, Staging};

/// How many staged users are read at once.
const PAGE: i64 = 1_000;

/// Wraps hashes on all threads, each in memory of its own.
pub(super) struct Wrapping {
    limits: HashingLimits,
    memories: Vec<HashingMemory>,
    at_once: usize,
}

impl Wrapping {
    /// Reserves the memory.
    ///
    /// # Errors
    /// The system does not have it.
    pub(super) fn new(limits: HashingLimits) -> Result<Self, Failure> {
        let HashingLimits { threads, cost, kernel, memory_per_thread, .. } = limits;
        let at_once = threads * limits.lanes(cost);
        let reserve = |_| HashingMemory::reserve_for(kernel, memory_per_thread);
        let mut memories = (0..threads).map(reserve).collect::<Result<Vec<_>, _>>()?;
        for memory in &mut memories {
            memory.test()?;
        }
        Ok(Self { limits, memories, at_once })
    }

    /// Says what it costs to wrap so many hashes on this machine, and how to do without.
    pub(super) fn say_cost(&mut self, count: u64, asked_for: bool) {
        let lasts = self.time_of_a_round()
            * u32::try_from(count.div_ceil(self.at_once as u64)).unwrap_or(u32::MAX);
        let otherwise = if asked_for {
            ""
        } else {
            ". They are fast to guess; --keep-fast stores them as they are, and once `jeton user seal` has sealed all \
             hashes none needs that"
        };
        output::error_line(&format!(
            "Wrapping {} in scrypt, {} at once, takes about {}{otherwise}",
            if count == 1 { "1 hash".to_owned() } else { format!("{count} hashes") },
            self.at_once,
            in_words(lasts),
        ));
    }

    /// How long the threads take for as many hashes as they compute at once.
    fn time_of_a_round(&mut self) -> Duration {
        let lanes = self.limits.lanes(self.limits.cost);
        let blank = Secret::new(String::new());
        let hashes: Vec<NewHash> = (0..lanes).map(|_| NewHash::of(&blank)).collect();
        let (hashes, cost, started) = (&hashes, self.limits.cost, Instant::now());
        std::thread::scope(|scope| {
            for memory in &mut self.memories {
                scope.spawn(move || std::hint::black_box(make_together(hashes, cost, memory)));
            }
        });
        started.elapsed()
    }

    /// Wraps the hashes of staged users that are wanted wrapped, of whom there are `count`. If a thread fails nothing
    /// may be stored.
    ///
    /// # Errors
    /// Not every hash could be wrapped.
    pub(super) fn wrap(
        &mut self,
        staging: &Staging,
        hashes: &StagedHashes,
        count: u64,
        is_wanted: impl Fn(&PasswordHash) -> bool + Sync,
    ) -> Result<(), Failure> {
        let (mut wrapped, mut after) = (0, 0);
        loop {
            let page = staging.page(after, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            // Few enough at a time that progress is seen.
            for users in page.chunks(self.at_once * 4) {
                for (number, hash) in self.wrap_some(users, hashes, &is_wanted) {
                    staging.replace_hash(number, &hash)?;
                    wrapped += 1;
                }
                output::progress_bar("Wrapping", wrapped, count);
            }
        }
        output::end_progress();
        if wrapped < count {
            return Err("not every hash could be wrapped, so nothing was imported: choose a lower --scrypt, or \
                        import with --keep-fast and without --wrap"
                .into());
        }
        Ok(())
    }

    /// Wraps the hashes of some users, which it returns by their numbers.
    fn wrap_some(
        &mut self,
        users: &[(i64, StagedUser)],
        hashes: &StagedHashes,
        is_wanted: &(impl Fn(&PasswordHash) -> bool + Sync),
    ) -> Vec<(i64, Secret)> {
        let share = users.len().div_ceil(self.memories.len()).max(1);
        let cost = self.limits.cost;
        std::thread::scope(|scope| {
            let threads: Vec<_> = users
                .chunks(share)
                .zip(&mut self.memories)
                .map(|(users, memory)| {
                    scope.spawn(move || {
                        let wanted = users.iter().filter_map(|staged| {
                            let text = hashes.open(&staged.1);
                            let hash = PasswordHash::parse(text.expose(), u64::MAX).ok()?;
                            let wrapper = is_wanted(&hash).then(|| hash.wrapped(cost))??;
                            Some((staged, wrapper))
                        });
                        let (staged, wrappers): (Vec<_>, Vec<_>) = wanted.unzip();
                        let made = make_together(&wrappers, cost, memory);
                        let seal = |((number, user), hash): (&(i64, StagedUser), String)| {
                            (*number, hashes.seal(&user.id, &Secret::new(hash)))
                        };
                        staged.into_iter().zip(made).map(seal).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }
}

/// A span as a person says it.
fn in_words(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => output::counted(seconds.max(1), "second"),
        seconds @ 120..7_200 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3_600),
    }
}
