//! Weak hashes under a wrapper of scrypt, before they are stored.

use std::time::Instant;

use super::{Failure, output};
use jeton_crypto::hashing_pool::HashingLimits;
use jeton_crypto::password::{HashingMemory, PasswordHash, make_together};
use jeton_oauth::Secret;
use jeton_service::stored_hashes::StagedHashes;
use jeton_store::import::{StagedUser, Staging};

/// How many staged users are read at once.
const PAGE: i64 = 1_000;

/// Wraps the hashes of staged users that are weak, so many, on all threads; returns how many that were. If
/// a thread fails nothing may be stored.
pub(super) fn wrap_weak(
    staging: &Staging,
    hashes: &StagedHashes,
    limits: HashingLimits,
    weak: u64,
) -> Result<u64, Failure> {
    let HashingLimits { threads, cost, kernel, memory_per_thread, .. } = limits;
    let at_once = threads * limits.lanes(cost);
    let mut wrapped = 0;
    let reserve = |_| HashingMemory::reserve_for(kernel, memory_per_thread);
    let mut memories = (0..threads).map(reserve).collect::<Result<Vec<_>, _>>()?;
    for memory in &mut memories {
        memory.test()?;
    }
    output::error_line(&format!("Wrapping {weak} hashes, {at_once} at once"));
    let started = Instant::now();
    let mut after = 0;
    loop {
        let page = staging.page(after, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        // Few enough at a time that progress is seen.
        for users in page.chunks(at_once * 4) {
            for (number, hash) in wrap(users, hashes, &limits, &mut memories) {
                staging.replace_hash(number, &hash)?;
                wrapped += 1;
            }
            let (done, all) = (wrapped.max(1), weak);
            let left = started.elapsed().as_secs() * all.saturating_sub(done) / done;
            let what = format!("Wrapping, {} min left", left.div_ceil(60));
            output::progress_bar(&what, done, all);
        }
    }
    output::end_progress();
    if wrapped < weak {
        return Err(
            "not every hash could be wrapped, so nothing was imported: choose a lower --scrypt, \
                    or import without --wrap"
                .into(),
        );
    }
    Ok(wrapped)
}

/// Wraps the weak hashes of some users, each thread in memory of its own.
fn wrap(
    users: &[(i64, StagedUser)],
    hashes: &StagedHashes,
    limits: &HashingLimits,
    memories: &mut [HashingMemory],
) -> Vec<(i64, Secret)> {
    let share = users.len().div_ceil(memories.len()).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = users
            .chunks(share)
            .zip(memories)
            .map(|(users, memory)| {
                scope.spawn(move || {
                    let weak = users.iter().filter_map(|staged| {
                        let text = hashes.open(&staged.1);
                        let hash = PasswordHash::parse(text.expose(), u64::MAX).ok()?;
                        let wrapper = hash.is_weak().then(|| hash.wrapped(limits.cost))??;
                        Some((staged, wrapper))
                    });
                    let (staged, wrappers): (Vec<_>, Vec<_>) = weak.unzip();
                    let made = make_together(&wrappers, limits.cost, memory);
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
