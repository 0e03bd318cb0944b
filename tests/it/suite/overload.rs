//! More logins than the machine can hash.

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::harness::{Database, Executable, Request};

/// More than the connections of the test and the rest of the service take, in octets.
const REST: u64 = 16 << 20;

/// One thread, and memory for one hash of `ln=17,r=8,p=1` at once.
const ONE_AT_ONCE: [&str; 4] = ["--hash-threads", "1", "--hash-memory", "128MiB"];
/// Each caller may say from where it calls.
const BEHIND_PROXY: [&str; 2] = ["--trusted-proxy", "127.0.0.0/8"];

/// OWASP Password Storage, ASVS 15.2.2: under more logins than can be served, each is either served
/// within the deadline or told when to come back; hashing takes no more memory than was said at the
/// start, and what needs no hash goes on. [TG-24] [W-09]
#[tokio::test]
async fn overload_is_shed() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limits = ["--login-deadline", "1s", "--scrypt", "ln=17,r=8,p=1"];
    let limits = [&ONE_AT_ONCE[..], &limits, &BEHIND_PROXY].concat();
    let service = Executable::serve_on(&database, fixtures, &limits);
    let bound = announced_memory(&service);
    let idle = service.peak_memory();
    let web = |target: &str, form: &str| {
        let request = Request::new(service.public, "POST", target).form(form);
        request.basic("web", fixtures.secret("web"))
    };
    let first = web("/token", &login_form("alice", PASSWORD)).send().await;
    // Her hash has the dear cost now. With no other user left, a name that nobody has costs as much.
    database.query("DELETE FROM users WHERE username <> 'alice'").await;
    let mut refresh_token = first.refresh_token();
    let token = format!("token={}", percent_encode(&first.access_token()));
    let introspection = Request::new(service.public, "POST", "/introspect").form(&token);
    let introspection = introspection.basic("rs1", fixtures.secret("rs1"));

    let mut logins = JoinSet::new();
    // An account may have few attempts under way, so each is for a name of its own, from an address of its own.
    for number in 0..60 {
        let login = Request::new(service.public, "POST", "/token");
        let form = login_form(&format!("invented{number}"), PASSWORD) + "&client_id=spa";
        let login = login.form(&form).header("X-Forwarded-For", &format!("203.0.113.{number}"));
        logins.spawn(async move { login.send().await });
    }
    let (mut served, mut shed) = (1, 0);
    while let Some(reply) = logins.join_next().await {
        let reply = reply.expect("no login panics");
        if reply.status == 400 {
            served += 1;
            reply.assert_error(400, "invalid_grant");
        } else {
            shed += 1;
            assert_shed(&reply);
        }
        let keys = Request::new(service.public, "GET", "/.well-known/jwks.json").send().await;
        assert_eq!(keys.status, 200);
        let refresh = format!("grant_type=refresh_token&refresh_token={refresh_token}");
        refresh_token = web("/token", &refresh).send().await.refresh_token();
        assert_eq!(introspection.send().await.json()["active"], true);
    }
    assert!(served > 1 && shed > 0, "{served} served, {shed} shed");
    let in_time = r#"jeton_hashing_wait_seconds_bucket{le="1.0"}"#;
    for (name, expected) in [
        ("jeton_hashing_verified_total", served),
        ("jeton_hashing_wait_seconds_count", served),
        (in_time, served),
        ("jeton_hashing_refused_total", shed),
        ("jeton_hashing_abandoned_total", 0),
        ("jeton_hashing_queue_depth", 0),
    ] {
        assert_eq!(service.metric(name).await, expected, "{name}");
    }
    // alice's stored hash is of another cost than the service's, so both were computed.
    let grown = service.peak_memory() - idle;
    assert!(grown <= bound + REST, "{grown} of {bound} and {REST}");
}

/// RFC 9110 §15.6.4: who cannot be served in time hears it at once, not after those who came before.
/// [TG-24]
#[tokio::test]
async fn a_login_that_would_wait_too_long_is_refused_while_the_first_is_still_hashed() {
    // One hash is taken to be longer than the deadline.
    let arguments = ["--scrypt", "ln=17,r=8,p=5", "--login-deadline", "1s"];
    let arguments = [&ONE_AT_ONCE[..], &arguments].concat();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    without_users(&jeton).await;
    let login = jeton.post("/token", &(login_form("nobody", PASSWORD) + "&client_id=spa"));
    let mut replies = JoinSet::new();
    for _ in 0..20 {
        let login = login.clone();
        replies.spawn(async move { login.send().await });
    }
    for _ in 1..20 {
        let reply = replies.join_next().await.expect("another reply");
        assert_shed(&reply.expect("no login panics"));
    }
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0);
    assert_eq!(jeton.metric("jeton_hashing_refused_total").await, 19);
    let last = replies.join_next().await.expect("the first login");
    last.expect("no login panics").assert_error(400, "invalid_grant");
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 1);
}

/// ASVS 15.2.2: clients take turns. While one is flooded from many addresses, a login through another waits for
/// one hash of the flood beside the one that is being computed; one from an origin that the account knows goes
/// before all strangers of the flooded client too. [TG-24]
#[tokio::test]
async fn a_flood_through_one_client_takes_no_turn_of_another() {
    const HOME: &str = "198.51.100.1";
    // The memory is for one hash at once of those that the users have.
    let arguments = ["--hash-threads", "1", "--hash-memory", "32MiB", "--login-deadline", "1m"];
    let arguments = [&arguments[..], &BEHIND_PROXY].concat();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    let from = |client: &str, address: &str, user: &str| {
        let request = jeton.post_as(client, "/token", &login_form(user, PASSWORD));
        request.header("X-Forwarded-For", address)
    };
    // Known there from now on.
    assert_eq!(from("spa", HOME, "alice").send().await.status, 200);
    let mut flood = JoinSet::new();
    for number in 0..20 {
        let address = format!("203.0.113.{number}");
        let request = from("spa", &address, &format!("invented{number}"));
        flood.spawn(async move { request.send().await });
    }
    let waiting = "jeton_hashing_queue_depth";
    while jeton.metric(waiting).await < 15 {
        tokio::task::yield_now().await;
    }
    for (client, user) in [("other", "bob"), ("spa", "alice")] {
        let before = jeton.passwords_verified().await;
        assert_eq!(from(client, HOME, user).send().await.status, 200, "{client}");
        let between = jeton.passwords_verified().await - before;
        assert!(between <= 4, "{client}: {between} hashes");
    }
    assert!(jeton.metric(waiting).await > 5, "the flood waits on");
    flood.abort_all();
}

/// OWASP Password Storage (denial of service): a login whose client hung up while it waited is
/// dropped before it costs a hash. [TG-24]
#[tokio::test]
async fn a_login_whose_client_hung_up_costs_no_hash() {
    // So dear that the first is still being hashed when the last has left.
    let arguments = [&ONE_AT_ONCE[..], &["--scrypt", "ln=17,r=8,p=2"]].concat();
    let jeton = Jeton::start_with(ENGINE, &arguments).await;
    without_users(&jeton).await;
    let form = login_form("nobody", PASSWORD) + "&client_id=spa";
    let login = jeton.post("/token", &form);
    let mut busy = JoinSet::new();
    for _ in 0..2 {
        let login = login.clone();
        busy.spawn(async move { login.send().await });
    }
    // One is being hashed and one waits.
    wait_for_queue(&jeton, 1).await;
    let mut leaver = TcpStream::connect(jeton.service.public).await.expect("the service listens");
    leaver.write_all(&login.octets()).await.expect("the service reads");
    wait_for_queue(&jeton, 2).await;
    drop(leaver);
    for reply in busy.join_all().await {
        reply.assert_error(400, "invalid_grant");
    }
    // The next in the queue, so that the one that left has had its turn.
    login.send().await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.metric("jeton_hashing_abandoned_total").await, 1);
    assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 3);
}

/// Passwords of several callers are hashed at once, in the memory that was said at the start. Each gets its own
/// answer: also who is right among those who are wrong. [TG-24]
#[tokio::test]
async fn logins_that_wait_are_hashed_at_once() {
    const CALLERS: u64 = 16;
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limits = ["--hash-threads", "1", "--hash-memory", "512MiB", "--scrypt", "ln=17,r=8,p=1"];
    let limits = [&limits[..], &["--login-deadline", "1m"], &BEHIND_PROXY].concat();
    let service = Executable::serve_on(&database, fixtures, &limits);
    let bound = announced_memory(&service);
    assert_eq!(bound, 512 << 20);
    let idle = service.peak_memory();
    let mut logins = JoinSet::new();
    for number in 0..CALLERS {
        let (name, password) = match number {
            7 => ("alice".to_owned(), PASSWORD),
            _ => (format!("invented{number}"), PASSWORD),
        };
        let login = Request::new(service.public, "POST", "/token");
        let login = login.form(&(login_form(&name, password) + "&client_id=spa"));
        let login = login.header("X-Forwarded-For", &format!("203.0.113.{number}"));
        logins.spawn(async move { (name, login.send().await) });
    }
    for (name, reply) in logins.join_all().await {
        if name == "alice" {
            assert_eq!(reply.status, 200, "{}", reply.text());
        } else {
            reply.assert_error(400, "invalid_grant");
        }
    }
    assert_eq!(service.metric("jeton_hashing_verified_total").await, CALLERS);
    let batches = service.metric("jeton_hashing_batch_size_count").await;
    assert!(batches < CALLERS, "{batches}");
    let grown = service.peak_memory() - idle;
    assert!(grown <= bound + REST, "{grown} of {bound} and {REST}");
}

/// Hashing memory goes back to the system when no login came for a while, and the next login works.
#[tokio::test]
async fn hashing_memory_is_given_back() {
    const HASH: u64 = 128 << 20;
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limits =
        ["--scrypt", "ln=17,r=8,p=1", "--login-deadline", "1m", "--hash-memory-idle", "1s"];
    let limits = [&ONE_AT_ONCE[..], &limits].concat();
    let service = Executable::serve_on(&database, fixtures, &limits);
    let before = service.memory();
    let login = Request::new(service.public, "POST", "/token");
    let login = login.form(&login_form("alice", PASSWORD)).basic("web", fixtures.secret("web"));
    for _ in 0..2 {
        assert_eq!(login.send().await.status, 200);
        // The rest of the process may have given some of its own back meanwhile.
        assert!(service.peak_memory() >= before + HASH / 2, "the hash took its memory");
        while service.memory() > before + REST {
            tokio::task::yield_now().await;
        }
    }
}

/// Deletes all users, so that a name that nobody has costs a new hash, and not that of a user.
async fn without_users(jeton: &Jeton) {
    jeton.database.query("DELETE FROM users").await;
}

/// Waits until so many logins wait for a hashing thread.
async fn wait_for_queue(jeton: &Jeton, length: u64) {
    while jeton.metric("jeton_hashing_queue_depth").await < length {
        assert_eq!(jeton.metric("jeton_hashing_verified_total").await, 0, "the first is done");
    }
}

/// Asserts the answer to a login for which there is no time, and that it says when to come back.
#[track_caller]
fn assert_shed(reply: &Reply) {
    reply.assert_error(503, "temporarily_unavailable");
    let seconds: u32 = reply.header("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

/// What hashing may take at most, in octets, as the service said when it started.
fn announced_memory(service: &Executable) -> u64 {
    let log = service.log();
    let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mebibytes = entries.find_map(|entry| entry["hashing_memory_mib"].as_u64());
    mebibytes.expect("it is said") << 20
}
