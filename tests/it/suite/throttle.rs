//! Guessing at passwords: RFC 6749 §4.3.2, §10.10; NIST SP 800-63B-4 §3.2.2.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tokio::task::JoinSet;

use super::*;

const WRONG: &str = "tuesday fern lamb";

/// A wrong password, another each time: the same one at once again is not counted.
fn another_wrong() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("{WRONG} {}", MADE.fetch_add(1, Ordering::Relaxed))
}

/// The address that alice always logs in from.
const HOME: &str = "198.51.100.1";

/// A service before which a proxy stands that says where each request is from.
async fn jeton_behind_proxy() -> Jeton {
    Jeton::start_with(ENGINE, &["--trusted-proxy", "127.0.0.0/8"]).await
}

/// Tries to log in through a public client from an address.
async fn try_from(jeton: &Jeton, address: &str, user: &str, password: &str) -> Reply {
    let request = jeton.post_as("spa", "/token", &login_form(user, password));
    request.header("X-Forwarded-For", address).send().await
}

/// The n-th of many addresses.
fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0xc612_0000 + number).to_string()
}

/// Makes that many guesses at a user, each from an address of its own, and requires that each is hashed.
async fn guess(jeton: &Jeton, user: &str, count: u32) {
    let before = jeton.passwords_verified().await;
    for number in 0..count {
        let reply = try_from(jeton, &address(number), user, &another_wrong()).await;
        reply.assert_error(400, "invalid_grant");
    }
    assert_eq!(jeton.passwords_verified().await, before + u64::from(count));
}

/// Whether the right password of a user works from an address, and that it is not hashed if not.
async fn gets_in(jeton: &Jeton, address: &str, user: &str) -> bool {
    let before = jeton.passwords_verified().await;
    let reply = try_from(jeton, address, user, PASSWORD).await;
    if reply.status == 200 {
        return true;
    }
    reply.assert_error(400, "invalid_grant");
    assert_eq!(jeton.passwords_verified().await, before, "a refused attempt costs no hash");
    false
}

/// How a user is throttled, as `jeton user show` tells it.
async fn shown(jeton: &Jeton, user: &str) -> Value {
    let master = jeton.fixtures.master_key.display().to_string();
    let all = ["user", "show", user, "--json", "--master-key-file", &master];
    let text = jeton.run(&all, "").await;
    serde_json::from_str::<Value>(&text).expect("JSON")["throttle"].clone()
}

/// RFC 6749 §4.3.2, §10.10: after five failures, wherever they come from, an account waits: a second, and
/// twice as long after each further failure, up to a quarter of an hour. [TG-10] [W-36]
#[tokio::test]
async fn who_guesses_waits_twice_as_long_each_time() {
    let jeton = jeton_behind_proxy().await;
    guess(&jeton, "alice", 5).await;
    // The second 512: meanwhile one failure was forgotten.
    let waits = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 900, 900];
    for (number, wait) in waits.into_iter().enumerate() {
        assert!(!gets_in(&jeton, HOME, "alice").await, "failure {number}");
        jeton.clock.advance(wait - 1);
        assert!(!gets_in(&jeton, HOME, "alice").await, "failure {number}, a second too early");
        jeton.clock.advance(1);
        // One guess, and the next wait begins.
        guess(&jeton, "alice", 1).await;
    }
    // Each of them is remembered for a month.
    let forgotten_early = "SELECT COUNT(*) FROM login_throttle \
                           WHERE account IS NULL AND failures > 5 \
                           AND deletable_at < failed_at + 30 * 86400";
    assert_eq!(jeton.database.query(forgotten_early).await, [[Some("0".to_owned())]]);
    assert!(!gets_in(&jeton, HOME, "alice").await);
    // Another account is another matter.
    assert!(gets_in(&jeton, HOME, "bob").await);
    // RFC 6819 §5.1.4.2.3: whatever was tried, the owner waits a quarter of an hour at most. [S-17]
    jeton.clock.advance(900);
    assert!(gets_in(&jeton, HOME, "alice").await);
    // For the others nothing is different.
    assert!(!gets_in(&jeton, &address(9), "alice").await);
}

/// NIST SP 800-63B-4 §3.2.2: after 100 failures in a row nobody gets in any more from where the account
/// has never logged in, until the password is changed. [TG-10] [W-35]
#[tokio::test]
async fn a_hundred_failures_lock_an_account_until_the_password_is_changed() {
    let jeton = jeton_behind_proxy().await;
    assert!(gets_in(&jeton, HOME, "alice").await);
    guess(&jeton, "alice", 1).await;
    let since = "UPDATE users SET password_changed_at = password_changed_at - 172800";
    jeton.database.query(since).await;
    // As if 98 others had followed, of which all are forgotten but not forgiven.
    let past = "UPDATE login_throttle SET failures = 99, failed_at = failed_at - 86400, \
                forgotten_at = forgotten_at - 86400 WHERE account IS NULL AND failures = 1";
    jeton.database.query(past).await;
    guess(&jeton, "alice", 1).await;
    assert_eq!(shown(&jeton, "alice").await["locked"], true);
    for days in [0, 1, 28] {
        jeton.clock.advance(days * 86_400);
        assert!(!gets_in(&jeton, &address(1), "alice").await, "{days}");
        assert!(gets_in(&jeton, HOME, "alice").await, "{days}");
    }
    let earlier = "UPDATE login_throttle SET failed_at = failed_at - 86400 WHERE failures > 0";
    jeton.database.query(earlier).await;
    assert!(jeton.try_change_password("alice", PASSWORD).await);
    assert!(gets_in(&jeton, &address(1), "alice").await);
    assert_eq!(shown(&jeton, "alice").await["failures"], 0);
}

/// NIST SP 800-63B-4 §3.2.2: the owner gets in from where the account has logged in before, however it
/// is attacked from elsewhere; guesses made there count there. [S-17]
#[tokio::test]
async fn an_attack_from_elsewhere_does_not_lock_the_owner_out() {
    let jeton = jeton_behind_proxy().await;
    assert!(gets_in(&jeton, HOME, "alice").await);
    guess(&jeton, "alice", 5).await;
    assert!(!gets_in(&jeton, &address(9), "alice").await);
    for _ in 0..2 {
        // Four mistakes and the right one, again and again.
        for _ in 0..4 {
            let reply = try_from(&jeton, HOME, "alice", &another_wrong()).await;
            reply.assert_error(400, "invalid_grant");
        }
        assert!(gets_in(&jeton, HOME, "alice").await);
    }
    // That the owner got in is nothing to the others.
    assert!(!gets_in(&jeton, &address(9), "alice").await);
    for _ in 0..5 {
        let reply = try_from(&jeton, HOME, "alice", &another_wrong()).await;
        reply.assert_error(400, "invalid_grant");
    }
    assert!(!gets_in(&jeton, HOME, "alice").await);
    // A place that nobody logged in from for 90 days is forgotten.
    jeton.clock.advance(90 * 86_400);
    guess(&jeton, "alice", 5).await;
    assert!(!gets_in(&jeton, HOME, "alice").await);
}

/// RFC 6749 §4.3.2, ASVS 6.3.1: one password tried with many names from one place is noticed there: 30
/// names are free, then there is a wait that is said. A place that names log in from is another. [TG-11]
/// [TE-16] [H-30]
#[tokio::test]
async fn a_spray_is_stopped_where_it_comes_from() {
    let jeton = jeton_behind_proxy().await;
    assert!(gets_in(&jeton, HOME, "bob").await);
    // The same name again and again is no spray.
    for _ in 0..3 {
        try_from(&jeton, HOME, "nobody", WRONG).await.assert_error(400, "invalid_grant");
    }
    for number in 0..29 {
        let reply = try_from(&jeton, HOME, &format!("user{number}"), WRONG).await;
        reply.assert_error(400, "invalid_grant");
    }
    let before = jeton.passwords_verified().await;
    for (user, password) in [("user30", WRONG), ("alice", PASSWORD), ("nobody", WRONG)] {
        let reply = try_from(&jeton, HOME, user, password).await;
        reply.assert_error(429, "temporarily_unavailable");
        assert_eq!(reply.header("retry-after"), "1", "{user}");
    }
    assert_eq!(jeton.passwords_verified().await, before);
    assert!(gets_in(&jeton, HOME, "bob").await, "who logged in from there before");
    assert!(gets_in(&jeton, &address(1), "alice").await, "from elsewhere");
    jeton.clock.advance(1);
    try_from(&jeton, HOME, "user31", WRONG).await.assert_error(400, "invalid_grant");
    let reply = try_from(&jeton, HOME, "user32", WRONG).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
}

/// ASVS 6.3.8: while an account waits, the right password and a wrong one are answered the same, and as
/// an account that there is not; the same number of failures is free for both.
/// [TG-12] [TE-17] [TE-16] [S-15]
#[tokio::test]
async fn a_throttled_account_tells_nothing() {
    let jeton = jeton_behind_proxy().await;
    let wrong = try_from(&jeton, HOME, "bob", WRONG).await.comparable();
    for user in ["alice", "disabled", "mfa", "nobody", "n\u{f6}body", "\u{221e}", "a b"] {
        guess(&jeton, user, 5).await;
        let before = jeton.passwords_verified().await;
        for password in [PASSWORD, WRONG, "x"] {
            let reply = try_from(&jeton, HOME, user, password).await;
            assert_eq!(reply.comparable(), wrong, "{user} {password}");
        }
        assert_eq!(jeton.passwords_verified().await, before, "{user}");
    }
    // Names that are mapped to one are one: RFC 8265 §3.3.
    let reply = try_from(&jeton, HOME, "ALICE", PASSWORD).await;
    reply.assert_error(400, "invalid_grant");
}

/// ASVS 15.4.2: of 60 guesses at the same time, over two replicas, no more are hashed than each replica
/// may; then the account waits. [TG-13]
#[tokio::test]
async fn guesses_at_the_same_time_do_not_outrun_the_counter() {
    let jeton = jeton_behind_proxy().await;
    let replica = jeton.replica_with(&["--trusted-proxy", "127.0.0.0/8"]).await;
    let mut guesses = JoinSet::new();
    for number in 0..60 {
        let request = jeton.post_as("spa", "/token", &login_form("alice", WRONG));
        let request = request.header("X-Forwarded-For", &address(number));
        let at = [jeton.service.public, replica.public][number as usize % 2];
        guesses.spawn(async move { request.at(at).send().await });
    }
    while let Some(reply) = guesses.join_next().await {
        reply.expect("an answer").assert_error(400, "invalid_grant");
    }
    let metrics = crate::harness::Request::new(replica.management, "GET", "/metrics").send().await;
    let of_replica = metrics.metric("jeton_hashing_verified_total");
    let hashed = [jeton.passwords_verified().await, of_replica];
    assert!(hashed.iter().sum::<u64>() >= 5, "{hashed:?}");
    assert!(hashed.iter().all(|count| *count <= 5), "{hashed:?}");
    assert!(!gets_in(&jeton, HOME, "alice").await);
    // When a wait is over only one of many is let through.
    jeton.clock.advance(900);
    let before = jeton.passwords_verified().await;
    let mut guesses = JoinSet::new();
    for number in 0..20 {
        let request = jeton.post_as("spa", "/token", &login_form("alice", WRONG));
        let request = request.header("X-Forwarded-For", &address(number));
        guesses.spawn(async move { request.send().await });
    }
    while let Some(reply) = guesses.join_next().await {
        reply.expect("an answer").assert_error(400, "invalid_grant");
    }
    assert_eq!(jeton.passwords_verified().await, before + 1);
}

/// Logins with the right password do not hold each other up, however many are made at once.
#[tokio::test]
async fn right_passwords_at_the_same_time_all_get_in() {
    let jeton = jeton().await;
    let mut logins = JoinSet::new();
    for _ in 0..24 {
        let request = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
        logins.spawn(async move { request.send().await });
    }
    while let Some(reply) = logins.join_next().await {
        reply.expect("an answer").access_token();
    }
}

/// NIST SP 800-63B-4 §3.2.2: failures are counted in the database, so that those at three replicas, and
/// before and after a restart, add up. [S-16]
#[tokio::test]
async fn failures_of_all_replicas_and_before_a_restart_add_up() {
    let jeton = jeton_behind_proxy().await;
    let trusting = ["--trusted-proxy", "127.0.0.0/8"];
    let replicas = [jeton.replica_with(&trusting).await, jeton.replica_with(&trusting).await];
    let form = || login_form("alice", &another_wrong());
    for at in [jeton.service.public, replicas[0].public, replicas[1].public, replicas[1].public] {
        let request = jeton.post_as("web", "/token", &form()).at(at);
        request.send().await.assert_error(400, "invalid_grant");
    }
    for replica in replicas {
        replica.stop().await;
    }
    let restarted = jeton.replica_with(&trusting).await;
    let last = jeton.post_as("web", "/token", &form()).at(restarted.public).send().await;
    last.assert_error(400, "invalid_grant");
    let right = jeton.post_as("web", "/token", &login_form("alice", PASSWORD));
    right.at(restarted.public).send().await.assert_error(400, "invalid_grant");
    assert!(!gets_in(&jeton, HOME, "alice").await);
    restarted.stop().await;
}

/// NIST SP 800-63B-4 §3.2.2: a login forgives the mistakes before it. [TG-26] [W-37]
#[tokio::test]
async fn a_login_forgives_the_mistakes_before_it() {
    let jeton = jeton().await;
    for _ in 0..4 {
        for _ in 0..4 {
            let reply = jeton.token(&login_form("alice", &another_wrong())).await;
            reply.assert_error(400, "invalid_grant");
        }
        jeton.token(&login_form("alice", PASSWORD)).await.access_token();
    }
}

/// Design §6: the address of a confidential client is that of one web server with all its users behind
/// it, and says nothing; the one that it forwards does, if it was registered to. [H-06]
#[tokio::test]
async fn users_behind_one_web_server_do_not_hold_each_other_up() {
    let jeton = jeton().await;
    let from = async |client: &str, end_user: &str, user: &str, password: &str| {
        let request = jeton.post_as(client, "/token", &login_form(user, password));
        request.header("X-Forwarded-For", end_user).send().await.status
    };
    assert_eq!(from("web", HOME, "bob", PASSWORD).await, 200);
    for number in 0..30 {
        assert_eq!(from("web", &address(number), &format!("user{number}"), WRONG).await, 400);
    }
    // `web` is one origin, whatever it says of its users: bob has logged in there before.
    assert_eq!(from("web", HOME, "alice", PASSWORD).await, 429);
    assert_eq!(from("web", HOME, "bob", PASSWORD).await, 200);
    jeton.forget_failures().await;
    // `bff` has as many as it has users.
    for number in 0..30 {
        assert_eq!(from("bff", HOME, &format!("user{number}"), WRONG).await, 400);
    }
    assert_eq!(from("bff", HOME, "alice", PASSWORD).await, 429);
    assert_eq!(from("bff", "198.51.100.2", "alice", PASSWORD).await, 200);
    // A public client is not believed: all these are one address.
    for number in 0..30 {
        assert_eq!(from("spa", &address(number), &format!("user{number}"), WRONG).await, 400);
    }
    assert_eq!(from("spa", HOME, "zoe", WRONG).await, 429);
}

/// A network of IPv6 is one place: whoever has one has 2^64 addresses. [TG-11]
#[tokio::test]
async fn an_ipv6_network_is_one_place() {
    let jeton = jeton_behind_proxy().await;
    for number in 0..30 {
        let address = format!("2001:db8:0:1::{number:x}");
        let reply = try_from(&jeton, &address, &format!("user{number}"), WRONG).await;
        reply.assert_error(400, "invalid_grant");
    }
    assert_eq!(try_from(&jeton, "2001:db8:0:1:ffff::", "bob", PASSWORD).await.status, 429);
    assert_eq!(try_from(&jeton, "2001:db8:0:2::", "bob", PASSWORD).await.status, 200);
}

/// An attempt that was not made, because the hashing queue was too long, is no failure.
#[tokio::test]
async fn an_attempt_that_was_not_made_does_not_count() {
    let slow = ["--hash-threads", "1", "--hash-memory", "32MiB", "--login-deadline", "1s"];
    let jeton = Jeton::start_with(ENGINE, &slow).await;
    guess(&jeton, "alice", 5).await;
    jeton.clock.advance(1);
    let mut crowd = JoinSet::new();
    for number in 0..60 {
        let form = login_form(&format!("user{number}"), WRONG);
        let request = jeton.post_as("spa", "/token", &form);
        crowd.spawn(async move { request.send().await });
    }
    // Until one of the crowd was turned away the queue is not full.
    let mut turned_away = false;
    while let Some(reply) = crowd.join_next().await {
        if reply.expect("an answer").status == 503 {
            turned_away = true;
            break;
        }
    }
    assert!(turned_away);
    let mut refused = 0;
    loop {
        let reply = jeton.token(&login_form("alice", PASSWORD)).await;
        match reply.status {
            503 => refused += 1,
            status => {
                assert_eq!(status, 200, "after {refused} refusals: {}", reply.text());
                break;
            }
        }
    }
}

/// The operator sees what holds an account back, and ends it; the origins that it knows stay known.
#[tokio::test]
async fn the_operator_sees_and_ends_what_holds_an_account_back() {
    let jeton = jeton_behind_proxy().await;
    let master = jeton.fixtures.master_key.display().to_string();
    let unlock = ["user", "unlock", "alice", "--master-key-file", &master];
    assert_eq!(shown(&jeton, "alice").await["failures"], 0);
    assert!(jeton.run(&unlock, "").await.contains("nothing was changed"));
    assert!(gets_in(&jeton, HOME, "alice").await);
    jeton.database.query("UPDATE login_throttle SET failures = 0").await;
    guess(&jeton, "alice", 5).await;
    // The command line has a clock of its own.
    let long = "UPDATE login_throttle SET failed_at = failed_at + 3600, \
                forgotten_at = forgotten_at + 3600 WHERE failures > 0";
    jeton.database.query(long).await;
    let throttle = shown(&jeton, "alice").await;
    assert_eq!(throttle["failures"], 5);
    assert!(throttle["waits_until"].is_i64(), "{throttle}");
    assert_eq!((&throttle["locked"], &throttle["known_origins"]), (&false.into(), &1.into()));
    let show = ["user", "show", "alice", "--master-key-file", &master];
    let text = jeton.run(&show, "").await;
    assert!(text.contains("5 failed logins in a row"), "{text}");
    assert!(text.contains("from new origins: they wait until"), "{text}");
    assert!(!gets_in(&jeton, &address(9), "alice").await);
    assert!(jeton.run(&unlock, "").await.contains("The user alice was unlocked."));
    assert!(gets_in(&jeton, &address(9), "alice").await);
    let throttle = shown(&jeton, "alice").await;
    assert_eq!((&throttle["failures"], &throttle["known_origins"]), (&0.into(), &2.into()));
    // Without the master key the rest is still shown.
    let other = jeton.database.path("other.jwk");
    let text = jeton.run(&["user", "show", "alice", "--master-key-file", &other], "").await;
    assert!(text.contains("alice") && !text.contains("failed logins"), "{text}");
    let all = ["user", "show", "alice", "--json", "--master-key-file", &other];
    let shown: Value = serde_json::from_str(&jeton.run(&all, "").await).expect("JSON");
    assert_eq!((&shown["username"], &shown["throttle"]), (&"alice".into(), &Value::Null));
}
