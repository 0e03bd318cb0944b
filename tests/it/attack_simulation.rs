//! What attackers achieve against the throttle, in simulated hours: the rules of `service/throttle/` on
//! a real database, with passwords compared instead of hashed and a clock that the test moves.
//!
//! `docs/security.md` quotes the numbers; they follow from the rules, so they are asserted exactly.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jeton_crypto::key_lifecycle::Schedule;
use jeton_oauth::{Client, ClientId, ClientSettings, Reason, Seconds, Secret, Timestamp};
use jeton_runtime::caller::Waiting;
use jeton_runtime::clock::Clock;
use jeton_service::AuditContext;
use jeton_service::agreed_clock::AgreedClock;
use jeton_service::keys::Keys;
use jeton_service::keys::key_store::KeyStore;
use jeton_service::throttle::origin::{Origin, Source};
use jeton_service::throttle::{Account, AccountOf, SentCode, Throttle};
use jeton_store::migration::{self, Run};
use jeton_store::{DatabaseLocation, Store};

use crate::harness::database::new_folder;

const HOUR: i64 = 3_600;

/// The client that a login comes through.
#[derive(Clone, Copy, Debug)]
enum Through {
    /// One that anyone can be.
    Public,
    /// A web back end that says for whom it calls.
    Forwarding,
    /// One that does not.
    Shared,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The password was looked at: right or wrong.
    Tried,
    /// It was not.
    Refused,
}

/// How often something was tried, and how often it got as far as the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tries {
    made: u32,
    tried: u32,
}

impl Tries {
    fn count(&mut self, outcome: Outcome) {
        self.made += 1;
        self.tried += u32::from(outcome == Outcome::Tried);
    }
}

/// A service as far as the throttle needs one.
struct World {
    throttle: Throttle,
    clock: Clock,
    waiting: Waiting,
    guesses: AtomicU64,
}

impl World {
    async fn new() -> Self {
        let folder = new_folder();
        let clock = Clock::settable(Timestamp(1_800_000_000));
        let place = DatabaseLocation::Sqlite(folder.join("jeton.db"));
        let store = Store::open(&place).await.expect("it opens");
        let run = Run::new("simulation".to_owned(), &clock);
        migration::migrate(&store, &run).await.expect("tables");
        let key_store = KeyStore {
            store: store.clone(),
            master_key_files: vec![folder.join("master.jwk")],
            bits: 2_048,
            schedule: Schedule::new(Seconds::new(30 * 86_400), Seconds::new(600)),
        };
        let agreed = AgreedClock::open(clock.clone(), store.clone()).await.expect("a clock");
        let keys = Arc::new(Keys::load(key_store, Arc::new(agreed)).await.expect("keys"));
        let throttle = Throttle::new(store, keys, clock.clone(), Duration::from_secs(3));
        Self { throttle, clock, waiting: Waiting::default(), guesses: AtomicU64::new(0) }
    }

    /// One attempt of someone at an address to log in to an account through a client.
    async fn attempt(&self, through: Through, from: Ipv4Addr, name: &str, right: bool) -> Outcome {
        self.attempt_from(through, IpAddr::V4(from), name, right).await
    }

    /// One attempt of someone who knows the password to log in with a code. Refused if the code was not judged.
    async fn try_code(&self, through: Through, from: Ipv4Addr, right: bool) -> Outcome {
        let (client, source) = client_at(through, IpAddr::V4(from));
        let account =
            Account { of: AccountOf::Name("alice"), password_changed_at: Timestamp::default() };
        let origin = Origin::new(&client, source);
        let Ok(attempt) = self.throttle.admit(origin, account, &self.waiting.caller()).await else {
            return Outcome::Refused;
        };
        let judged = attempt.allows_codes();
        if judged && right {
            attempt.succeeded(true).await.expect("it is stored");
        } else {
            let code = Secret::new(self.guesses.fetch_add(1, Ordering::Relaxed).to_string());
            let guess = self.throttle.guess(None, &Secret::default(), Some(&code));
            let (reason, sent) = if judged {
                (Reason::WrongCode, SentCode::Wrong)
            } else {
                (Reason::ThrottledCode, SentCode::Unjudged)
            };
            attempt.failed(reason.into(), guess, sent, &mut AuditContext::default()).await;
        }
        if judged { Outcome::Tried } else { Outcome::Refused }
    }

    /// The same, from an address of either kind.
    async fn attempt_from(
        &self,
        through: Through,
        from: IpAddr,
        name: &str,
        right: bool,
    ) -> Outcome {
        let (client, source) = client_at(through, from);
        let account =
            Account { of: AccountOf::Name(name), password_changed_at: Timestamp::default() };
        let origin = Origin::new(&client, source);
        let Ok(attempt) = self.throttle.admit(origin, account, &self.waiting.caller()).await else {
            return Outcome::Refused;
        };
        if right {
            attempt.succeeded(false).await.expect("it is stored");
        } else {
            // Each guess is another.
            let made = self.guesses.fetch_add(1, Ordering::Relaxed).to_string();
            let guess = self.throttle.guess(None, &Secret::new(made), None);
            let refusal = Reason::WrongPassword.into();
            attempt.failed(refusal, guess, SentCode::None, &mut AuditContext::default()).await;
        }
        Outcome::Tried
    }
}

/// A client, and where one of its users is.
fn client_at(through: Through, from: IpAddr) -> (Client, Source) {
    let id = ClientId::parse("client").expect("a name");
    let settings = ClientSettings {
        public: matches!(through, Through::Public),
        forwards_end_user_ip: matches!(through, Through::Forwarding),
        ..ClientSettings::default()
    };
    let from = Some(from);
    (Client { id, settings }, Source { address: from, end_user: from, untold: None })
}

/// The n-th address of a botnet.
fn bot(number: i64) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + u32::try_from(number).expect("small"))
}

/// The address of the n-th honest user.
fn home(number: i64) -> Ipv4Addr {
    Ipv4Addr::from(0xcb00_0000 + u32::try_from(number).expect("small"))
}

/// 10,000 addresses guess at one account, one guess a second, for two days, while its owner logs in from
/// home every ten minutes and from somewhere new every hour.
#[tokio::test]
async fn a_botnet_that_guesses_at_one_account() {
    let world = World::new().await;
    let alice = async |from, right| world.attempt(Through::Public, from, "alice", right).await;
    alice(home(1), true).await;
    let (mut at_home, mut elsewhere) = (Tries::default(), Tries::default());
    let mut guesses = Vec::new();
    for hour in 0..48 {
        let mut of_hour = Tries::default();
        for second in 0..HOUR {
            of_hour.count(alice(bot((hour * HOUR + second) % 10_000), false).await);
            if second % 600 == 300 {
                // One in three begins with a mistake.
                if second % 1_800 == 300 {
                    alice(home(1), false).await;
                }
                at_home.count(alice(home(1), true).await);
            }
            if second == 1_805 {
                elsewhere.count(alice(home(2 + hour), true).await);
            }
            world.clock.advance(1);
        }
        guesses.push(of_hour.tried);
    }
    let total: u32 = guesses.iter().sum();
    assert_eq!(at_home, Tries { made: 288, tried: 288 }, "the owner at home");
    assert_eq!(elsewhere.tried, 0, "the owner elsewhere");
    assert_eq!((guesses[0], guesses[1], guesses[12]), (18, 4, 4), "guesses an hour: {guesses:?}");
    assert_eq!(total, 100, "of 172,800: {guesses:?}");
    // The guesses end, but the account stays locked for other places until the operator ends that.
    world.clock.advance(30 * 86_400);
    assert_eq!(alice(home(1), true).await, Outcome::Tried);
    assert_eq!(alice(bot(1), false).await, Outcome::Refused);
}

/// Somebody who knows alice's password tries codes, one each ten seconds for two days, from one address or from 1,000,
/// while she logs in with a code from home each hour. docs/second-factor.md has the numbers.
#[tokio::test]
async fn an_attacker_who_knows_the_password_tries_codes() {
    let mut achieved = Vec::new();
    for (through, addresses) in
        [(Through::Public, 1), (Through::Public, 1_000), (Through::Shared, 1)]
    {
        let world = World::new().await;
        world.try_code(through, home(1), true).await;
        let (mut codes, mut owner) = (Tries::default(), Tries::default());
        let mut of_days = Vec::new();
        for tick in 0..48 * HOUR / 10 {
            codes.count(world.try_code(through, bot(tick % addresses), false).await);
            if tick % 360 == 180 {
                owner.count(world.try_code(through, home(1), true).await);
            }
            if tick % 8_640 == 8_639 {
                of_days.push(codes.tried);
            }
            world.clock.advance(10);
        }
        achieved.push((of_days, owner.tried));
    }
    let expected = [(vec![90, 90], 48), (vec![100, 100], 48), (vec![100, 100], 0)];
    assert_eq!(achieved, expected, "codes judged after each day, and the owner's logins of 48");
}

/// The same for one hour only: afterwards the owner gets in from anywhere within a quarter of an hour.
#[tokio::test]
async fn after_an_hour_of_guessing_the_owner_waits_a_quarter() {
    let world = World::new().await;
    for second in 0..HOUR {
        world.attempt(Through::Public, bot(second), "alice", false).await;
        world.clock.advance(1);
    }
    let mut waited = 0;
    while world.attempt(Through::Public, home(1), "alice", true).await == Outcome::Refused {
        world.clock.advance(1);
        waited += 1;
    }
    assert!(waited <= 900, "{waited}");
}

/// What an attacker among the users of one web back end does to the others.
struct AmongUsers {
    guesses: u32,
    victim: Tries,
    known: Tries,
    new: Tries,
}

/// One attacker among 200 users of a back end: guesses at one of them, and at invented names by turns, so many
/// times a second for an hour. 100 users have logged in there before and do so again, one in ten with a
/// mistake first; 100 are new.
async fn among_users(through: Through, rate: i64) -> AmongUsers {
    let world = World::new().await;
    let name = |number: i64| format!("user{number}");
    for number in 0..100 {
        world.attempt(through, home(number), &name(number), true).await;
    }
    let (mut guesses, mut victim) = (Tries::default(), Tries::default());
    let (mut known, mut new) = (Tries::default(), Tries::default());
    for second in 0..HOUR {
        for guess in second * rate..(second + 1) * rate {
            let target = if guess % 2 == 0 { name(0) } else { name(1_000 + guess) };
            guesses.count(world.attempt(through, bot(1), &target, false).await);
        }
        let user = second / 18;
        if second % 18 == 9 && user == 0 {
            victim.count(world.attempt(through, home(0), &name(0), true).await);
        } else if second % 18 == 9 {
            if user % 10 == 5 {
                world.attempt(through, home(user), &name(user), false).await;
            }
            let tries = if user < 100 { &mut known } else { &mut new };
            tries.count(world.attempt(through, home(user), &name(user), true).await);
        }
        world.clock.advance(1);
    }
    for _ in 0..12 {
        victim.count(world.attempt(through, home(0), &name(0), true).await);
        world.clock.advance(300);
    }
    AmongUsers { guesses: guesses.tried, victim, known, new }
}

/// Behind a back end that forwards its users' addresses the attacker is alone; behind one that does not,
/// users that have logged in there before do not notice, but for the one that is guessed at.
#[tokio::test]
async fn an_attacker_among_the_users_of_a_web_back_end() {
    let told = among_users(Through::Forwarding, 1).await;
    assert_eq!(told.victim.tried, told.victim.made, "the victim, forwarded");
    assert_eq!(told.known, Tries { made: 99, tried: 99 }, "known users, forwarded");
    assert_eq!(told.new, Tries { made: 100, tried: 100 }, "new users, forwarded");
    assert_eq!(told.guesses, 52);
    let mut achieved = Vec::new();
    for rate in [1, 50] {
        let shared = among_users(Through::Shared, rate).await;
        assert_eq!(shared.known, Tries { made: 99, tried: 99 }, "known users, shared");
        assert_eq!((shared.victim.made, shared.new.made), (13, 100));
        achieved.push((shared.guesses, shared.victim.tried, shared.new.tried));
    }
    assert_eq!(achieved, [(1_823, 10, 0), (1_847, 9, 0)], "shared");
}

/// Users log in for the first time through a back end that does not say from where, spread over an hour, one
/// in twenty with a mistake first, and nobody attacks: as few as 1,000, and 50 times as many. Whoever is
/// refused does not come back.
#[tokio::test]
async fn the_day_of_a_migration() {
    let mut at_first_try = Vec::new();
    for of_hour in [1_000, 50_000] {
        let world = World::new().await;
        let mut users = Tries::default();
        for user in 0..of_hour {
            let name = format!("user{user}");
            if user % 20 == 10 {
                world.attempt(Through::Shared, home(1), &name, false).await;
            }
            users.count(world.attempt(Through::Shared, home(1), &name, true).await);
            let next = (user + 1) * HOUR / of_hour - user * HOUR / of_hour;
            world.clock.advance(next);
        }
        at_first_try.push(users.tried);
        // Who is known by now is never held up.
        assert_eq!(world.attempt(Through::Shared, home(1), "user0", true).await, Outcome::Tried);
    }
    assert_eq!(at_first_try, [981, 2_269], "of 1,000 and of 50,000");
}

/// One password tried with names all of which are at other networks of one site, once a second and 50 times a
/// second, for an hour.
#[tokio::test]
async fn a_spray_from_the_networks_of_one_site() {
    let mut guesses = Vec::new();
    for rate in [1, 50] {
        let world = World::new().await;
        let neighbour = |network: i64| {
            let network = u16::try_from(network).expect("small");
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, 7))
        };
        world.attempt_from(Through::Public, neighbour(60_000), "alice", true).await;
        let mut tried = Tries::default();
        for second in 0..HOUR {
            for guess in second * rate..(second + 1) * rate {
                let (from, name) = (neighbour(guess % 50_000), format!("invented{guess}"));
                tried.count(world.attempt_from(Through::Public, from, &name, false).await);
            }
            world.clock.advance(1);
        }
        guesses.push(tried.tried);
        let at_home = world.attempt_from(Through::Public, neighbour(60_000), "alice", true).await;
        assert_eq!(at_home, Outcome::Tried, "known there");
        let elsewhere = world.attempt(Through::Public, home(1), "bob", true).await;
        assert_eq!(elsewhere, Outcome::Tried, "at another site");
    }
    assert_eq!(guesses, [1_830, 1_859], "once and 50 times a second");
}

/// One password tried with 100,000 names, from one address and from 100.
#[tokio::test]
async fn a_spray_over_many_names() {
    for (addresses, of_first_hour, of_third_hour) in [(1, 43, 4), (100, 4_300, 400)] {
        let world = World::new().await;
        for number in 0..100 {
            world.attempt(Through::Public, home(number), &format!("user{number}"), true).await;
        }
        let mut tried = [0; 3];
        let mut users = Tries::default();
        let mut name = 0_i64;
        for second in 0..3 * HOUR {
            for _ in 0..10 {
                let target = format!("user{}", name % 100_000);
                let outcome =
                    world.attempt(Through::Public, bot(name % addresses), &target, false).await;
                tried[usize::try_from(second / HOUR).expect("small")] +=
                    u32::from(outcome == Outcome::Tried);
                name += 1;
            }
            if second % 108 == 50 {
                let user = second / 108;
                users.count(
                    world.attempt(Through::Public, home(user), &format!("user{user}"), true).await,
                );
            }
            world.clock.advance(1);
        }
        assert_eq!(users, Tries { made: 100, tried: 100 }, "users at home");
        assert_eq!((tried[0], tried[2]), (of_first_hour, of_third_hour), "{addresses}: {tried:?}");
    }
}
