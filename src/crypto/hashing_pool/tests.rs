//! Tests of the pool, mostly without threads and one step at a time.

use super::*;
use crate::password;
use jeton_oauth::{ClientId, Secret};
use jeton_runtime::caller::Waiting;

const COST: ScryptCost = ScryptCost { ln: 12, r: 8, p: 1 };

fn limits(deadline: Duration) -> HashingLimits {
    HashingLimits {
        threads: 1,
        kernel: Kernel::best(),
        memory_per_thread: 4 * COST.memory(),
        deadline,
        memory_idle: Duration::ZERO,
        cost: COST,
    }
}

fn pool(deadline: Duration) -> HashingPool {
    HashingPool::start(limits(deadline), &Health::default()).expect("a thread to start")
}

fn verified(pool: &HashingPool) -> u64 {
    pool.metrics().verified.get_or_create(&FunctionLabels { function: "scrypt" }).get()
}

fn requester() -> Requester {
    requester_of("client")
}

fn requester_of(client: &str) -> Requester {
    Requester { client: ClientId::parse(client).expect("a name"), known: false }
}

fn presented(text: &str) -> Password {
    Password::new(Secret::new(text.to_owned()))
}

#[tokio::test]
async fn an_outdated_hash_is_replaced_once_it_matched() {
    let pool = pool(Duration::from_mins(1));
    let old = password::hash(&Secret::new("password".to_owned()), ScryptCost { ln: 4, r: 8, p: 1 })
        .expect("memory");
    let stored = PasswordHash::parse(&old, u64::MAX).expect("our own format");
    let caller = Waiting::default();
    let wrong = presented("Password");
    let verify = |password, replace| {
        pool.verify(password, Some(stored.clone()), replace, requester(), caller.caller())
    };
    let verification = verify(wrong, true).await;
    assert!(verification.is_ok_and(|found| !found.matches && found.replacement.is_none()));
    let verification = verify(presented("password"), false).await;
    assert!(verification.is_ok_and(|found| found.matches && found.replacement.is_none()));
    let verification = verify(presented("password"), true).await;
    let replacement = verification.expect("a free pool").replacement.expect("a new hash");
    assert!(replacement.starts_with("$scrypt$ln=12,r=8,p=1$"), "{replacement}");
}

#[tokio::test]
async fn a_caller_that_has_gone_costs_no_hash() {
    let pool = pool(Duration::from_mins(1));
    let caller = Waiting::default().caller();
    let outcome = pool.verify(presented("password"), None, true, requester(), caller).await;
    assert_eq!(outcome.err(), Some(NotVerified::CallerGone));
    assert_eq!((pool.metrics().abandoned.get(), verified(&pool)), (1, 0));
}

/// A pool without threads. It does something only when a job comes, and in [`Threadless::step`].
struct Threadless {
    shared: Shared,
    memory: HashingMemory,
    waiting: Waiting,
}

type Answer = oneshot::Receiver<Result<Verification, NotVerified>>;

impl Threadless {
    fn new(deadline: Duration) -> Self {
        let limits = limits(deadline);
        let memory = HashingMemory::reserve_for(limits.kernel, limits.memory_per_thread);
        let (mut shared, waiting) = (Shared::new(limits), Waiting::default());
        // So that the speed of the machine does not matter.
        shared.gathering = Duration::MAX;
        Self { shared, memory: memory.expect("memory"), waiting }
    }

    fn admit(
        &self,
        client: &str,
        stored: Option<&PasswordHash>,
        password: &str,
        caller: CallerConnection,
    ) -> Result<Answer, NotVerified> {
        let (reply, answer) = oneshot::channel();
        let (stored, asked_at) = (stored.cloned(), Instant::now());
        let (password, replace, replacement) = (presented(password), true, None);
        let job = Job { password, stored, replace, asked_at, caller, reply, replacement };
        self.shared.admit(requester_of(client), job).map(|()| answer)
    }

    /// As if this many batches were being computed, and each took this many seconds.
    fn set_busy(&self, running: usize, seconds: f64) {
        let mut state = self.shared.lock();
        (state.running, state.mean_seconds, state.full_seconds) = (running, seconds, seconds);
    }

    fn ask(&self, client: &str, stored: Option<&PasswordHash>, password: &str) -> Answer {
        self.admit(client, stored, password, self.waiting.caller()).expect("room")
    }

    /// Does what a thread does once, and returns how many jobs the batch had.
    fn step(&mut self) -> usize {
        let batch = self.shared.next(&mut self.memory).expect("something to do");
        let size = batch.jobs.len();
        self.shared.run(batch, &mut self.memory);
        size
    }
}

fn hashed(password: &str, ln: u8) -> PasswordHash {
    let cost = ScryptCost { ln, r: 8, p: 1 };
    let text = password::hash(&Secret::new(password.to_owned()), cost).expect("memory");
    PasswordHash::parse(&text, u64::MAX).expect("our own format")
}

fn of_bcrypt() -> PasswordHash {
    let hash = format!("$2b$04${}", "A".repeat(53));
    PasswordHash::parse(&hash, u64::MAX).expect("bcrypt")
}

fn is_wrong(answer: &mut Answer) -> bool {
    let found = answer.try_recv().ok().and_then(Result::ok);
    found.is_some_and(|found| !found.matches)
}

/// A caller that hung up makes room for others. Its job is answered and counted as abandoned.
#[test]
fn callers_that_have_gone_make_room_in_a_full_queue() {
    let pool = Threadless::new(Duration::from_secs(3));
    let lanes = pool.shared.limits.lanes(pool.shared.limits.cost);
    pool.set_busy(1, 1.0);
    let gone = || Waiting::default().caller();
    let admit = |caller| pool.admit("client", None, "password", caller);
    let answers: Vec<_> = (0..3 * lanes).map(|_| admit(gone()).expect("room")).collect();
    let _answer = admit(pool.waiting.caller()).expect("the room of those who have gone");
    for mut answer in answers {
        let outcome = answer.try_recv().expect("an answer");
        assert_eq!(outcome.err(), Some(NotVerified::CallerGone));
    }
    assert_eq!(pool.shared.lock().jobs.len(), 1);
    let metrics = &pool.shared.metrics;
    assert_eq!((metrics.abandoned.get(), metrics.refused.get()), (3 * lanes as u64, 0));
}

#[test]
fn waiting_jobs_share_a_batch_and_a_lone_job_does_not_wait() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let (lanes, current) = (pool.shared.limits.lanes(COST), hashed("password", COST.ln));
    assert!(lanes > 1, "every kernel has lanes");
    let mut alone = pool.ask("client", None, "password");
    assert_eq!(pool.step(), 1, "it waits for no company");
    assert!(is_wrong(&mut alone));
    // A known user, an unknown user and a wrong password are computed in the same lanes.
    let mut right = pool.ask("client", Some(&current), "password");
    let others = (1..2 * lanes)
        .map(|number| pool.ask("client", Some(&current).filter(|_| number % 2 == 0), "Password"));
    let mut others: Vec<_> = others.collect();
    assert_eq!((pool.step(), pool.step()), (lanes, lanes));
    let right = right.try_recv().expect("an answer").expect("it was verified");
    assert!(right.matches && right.replacement.is_none());
    assert!(others.iter_mut().all(is_wrong));
    assert!(pool.shared.lock().is_idle());
}

/// A password with two forms takes two lanes.
#[test]
fn both_forms_of_a_password_are_verified_in_lanes() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let lanes = pool.shared.limits.lanes(COST);
    let stored = hashed("fern lamp", COST.ln);
    let mut answers: Vec<_> =
        (0..lanes).map(|_| pool.ask("client", Some(&stored), "fern\u{a0}lamp")).collect();
    assert_eq!((pool.step(), pool.step()), (lanes / 2, lanes / 2));
    for answer in &mut answers {
        let found = answer.try_recv().expect("an answer").expect("it was verified");
        assert!(found.matches && found.replacement.is_none());
    }
}

#[test]
fn other_costs_and_functions_have_their_turns() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let lanes = pool.shared.limits.lanes(COST);
    let (old, bcrypt) = (hashed("password", 4), of_bcrypt());
    for _ in 0..3 * lanes {
        drop(pool.ask("flooded", None, "password"));
    }
    let of_other = [Some(&bcrypt), Some(&old), Some(&bcrypt), None];
    let mut answers = of_other.map(|stored| pool.ask("other", stored, "wrong"));
    // The last one fits into the batch of the flood.
    assert_eq!(pool.step(), lanes);
    assert!(is_wrong(&mut answers[3]));
    for answer in &mut answers[..3] {
        assert_eq!(pool.step(), 1);
        assert!(is_wrong(answer));
        pool.step();
    }
    assert!(pool.shared.lock().is_idle());
}

/// Only a caller whose password is right and whose hash is replaced waits for the replacement.
#[test]
fn others_are_answered_before_a_hash_is_replaced() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let old = hashed("password", 4);
    let mut right = pool.ask("client", Some(&old), "password");
    let mut wrong = pool.ask("client", Some(&old), "Password");
    assert_eq!(pool.step(), 2);
    assert!(is_wrong(&mut wrong) && right.try_recv().is_err());
    assert_eq!(pool.step(), 1, "one that is to be replaced waits for no company");
    let found = right.try_recv().expect("an answer").expect("it was verified");
    let replacement = found.replacement.expect("a new hash");
    assert!(replacement.starts_with("$scrypt$ln=12,r=8,p=1$"), "{replacement}");
}

#[test]
fn hashes_that_replace_others_share_a_batch() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let lanes = pool.shared.limits.lanes(COST);
    // Two costs, so that no batch verifies both.
    let old = [hashed("password", 4), hashed("password", 5)];
    let ask = |stored| pool.ask("client", Some(stored), "password");
    let _answers: Vec<_> = (0..lanes).map(|number| ask(&old[number % 2])).collect();
    let mut last = pool.ask("client", None, "Password");
    assert_eq!((pool.step(), pool.step()), (lanes / 2, lanes / 2));
    assert_eq!(pool.step(), lanes, "all of them are made at once");
    assert_eq!(pool.step(), 1);
    assert!(is_wrong(&mut last));
    // Verifications of the same cost join them in the free lanes.
    let mut right = pool.ask("client", Some(&old[0]), "password");
    assert_eq!(pool.step(), 1);
    let mut unknown = pool.ask("client", None, "password");
    assert_eq!(pool.step(), 2);
    assert!(is_wrong(&mut unknown) && right.try_recv().is_ok());
}

#[test]
fn a_panic_fails_the_jobs_of_its_batch_alone() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    // It needs more memory than there is, which no stored hash may do.
    let dear = PasswordHash::parse(
        &format!("$scrypt$ln=15,r=8,p=1${}${}", "A".repeat(22), "A".repeat(43)),
        u64::MAX,
    );
    let dear = dear.expect("a hash");
    let mut failing = pool.ask("client", Some(&dear), "password");
    let mut other = pool.ask("client", None, "password");
    assert_eq!((pool.step(), pool.step()), (1, 1));
    assert_eq!(failing.try_recv().expect("an answer").err(), Some(NotVerified::Failed));
    assert!(is_wrong(&mut other));
    assert_eq!(pool.shared.lock().running, 0);
}

#[test]
fn jobs_whose_callers_hung_up_take_no_lane() {
    let mut pool = Threadless::new(Duration::from_mins(1));
    let lanes = pool.shared.limits.lanes(COST);
    let mut first = pool.ask("client", None, "password");
    let gone = Waiting::default().caller();
    let mut gone = pool.admit("client", None, "password", gone).expect("room");
    let others: Vec<_> = (1..lanes).map(|_| pool.ask("client", None, "password")).collect();
    assert_eq!(pool.step(), lanes);
    assert_eq!(gone.try_recv().expect("an answer").err(), Some(NotVerified::CallerGone));
    assert!(is_wrong(&mut first) && others.len() + 1 == lanes);
    assert_eq!(pool.shared.metrics.abandoned.get(), 1);
}

/// A full batch takes longer than one job. The predicted wait includes that, however short earlier batches were.
#[test]
fn the_predicted_wait_knows_how_long_a_full_batch_takes() {
    let pool = Threadless::new(Duration::from_mins(1));
    let limits = &pool.shared.limits;
    let predicted = || pool.shared.lock().predicted_wait(&requester(), limits);
    pool.set_busy(0, 1.0);
    assert!(predicted() < 1e-9, "a thread is free");
    for _ in 0..100 {
        pool.shared.lock().learn(0.5, false);
    }
    pool.shared.lock().running = 1;
    assert!((predicted() - 0.5).abs() < 1e-3, "{}", predicted());
    for _ in 0..2 * limits.lanes(COST) {
        drop(pool.ask("client", None, "password"));
    }
    assert!((predicted() - 2.5).abs() < 1e-3, "{}", predicted());
}

/// Of fifty times as many jobs as are computed at once, those are admitted whose turn comes in time.
#[test]
fn admission_counts_batches() {
    for threads in [1, 2, 3] {
        let mut limits = limits(Duration::from_secs(3));
        limits.threads = threads;
        let places = threads * limits.lanes(COST);
        let pool = Threadless { shared: Shared::new(limits), ..Threadless::new(limits.deadline) };
        pool.set_busy(threads, 1.0);
        let admit = || pool.admit("client", None, "password", pool.waiting.caller());
        let admitted = (0..50 * places).map_while(|_| admit().ok()).count();
        // Each thread is computing one batch, and one batch waits for each second of the deadline.
        assert_eq!(admitted, 3 * places, "{threads}");
        let retry_after = Seconds::new(4);
        assert_eq!(admit().err(), Some(NotVerified::Overloaded { retry_after }));
        // Another client waits only for its own turns.
        let waiting = pool.admit("other", None, "password", pool.waiting.caller());
        assert!(waiting.is_ok());
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_refused_at_once() {
    let pool = pool(Duration::ZERO);
    let caller = Waiting::default();
    pool.shared.lock().running = 1;
    let outcome =
        pool.verify(presented("password"), None, true, requester(), caller.caller()).await;
    let retry_after = Seconds::new(1);
    assert_eq!(outcome.err(), Some(NotVerified::Overloaded { retry_after }));
    assert_eq!(verified(&pool), 0);
}
