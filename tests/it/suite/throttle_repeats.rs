//! The same wrong password at once again, as client libraries send it, and what a watcher sees of an account.

use super::*;

const TRUSTING: [&str; 2] = ["--trusted-proxy", "127.0.0.0/8"];
/// Where the one is from who tries.
const HERE: &str = "198.51.100.1";

async fn jeton_behind_proxy() -> Jeton {
    Jeton::start_with(ENGINE, &TRUSTING).await
}

async fn try_from(jeton: &Jeton, address: &str, user: &str, password: &str) -> Reply {
    let request = jeton.post_as("spa", "/token", &login_form(user, password));
    request.header("X-Forwarded-For", address).send().await
}

/// How many failures of alice from unknown origins are in a row.
async fn failures(jeton: &Jeton) -> i64 {
    let master = jeton.fixtures.master_key.display().to_string();
    let all = ["user", "show", "alice", "--json", "--master-key-file", &master];
    let shown: serde_json::Value = serde_json::from_str(&jeton.run(&all, "").await).expect("JSON");
    shown["throttle"]["failures"].as_i64().expect("a number")
}

/// Go's `x/oauth2` sends each login with the secret in `Authorization`, and if that fails once more with the
/// secret in the form: a typo fails twice. After three typos the right password works. [TG-26] [W-37]
#[tokio::test]
async fn three_typos_with_a_library_that_tries_twice_are_three() {
    let jeton = jeton().await;
    let secret = jeton.fixtures.secret("web");
    let as_go = async |password: &str| {
        let form = login_form("alice", password);
        let first = jeton.post("/token", &form).basic("web", secret).send().await;
        if first.status == 200 {
            return first;
        }
        first.assert_error(400, "invalid_grant");
        let form = format!("{form}&client_id=web&client_secret={secret}");
        jeton.post("/token", &form).send().await
    };
    for typo in ["pasword", "passwrod", "Password "] {
        as_go(typo).await.assert_error(400, "invalid_grant");
    }
    assert_eq!(failures(&jeton).await, 3);
    as_go(PASSWORD).await.access_token();
}

/// One repeat within ten seconds is free, after the same work and with the same answer; the third counts.
#[tokio::test]
async fn the_third_time_the_same_wrong_password_counts() {
    let jeton = jeton_behind_proxy().await;
    let mut hashed = jeton.passwords_verified().await;
    let mut first = None;
    for (number, counted) in [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)] {
        let reply = try_from(&jeton, HERE, "alice", "typo").await;
        reply.assert_error(400, "invalid_grant");
        assert_eq!(first.get_or_insert_with(|| reply.comparable()), &reply.comparable());
        assert_eq!(failures(&jeton).await, counted, "{number}");
        hashed += 1;
        assert_eq!(jeton.passwords_verified().await, hashed, "{number}");
    }
}

/// Nothing else is free: another password, another origin, another client, another account, later, after a
/// login, or on another replica, which does not know of the first.
#[tokio::test]
async fn nothing_but_an_immediate_repeat_is_free() {
    let jeton = jeton_behind_proxy().await;
    let replica = jeton.replica_with(&TRUSTING).await;
    let mut counted = 0;
    let mut fail = async |reply: Reply, what: &str| {
        reply.assert_error(400, "invalid_grant");
        counted += 1;
        assert_eq!(failures(&jeton).await, counted, "{what}");
        if counted == 4 {
            jeton.forget_failures().await;
            counted = 0;
        }
    };
    fail(try_from(&jeton, HERE, "alice", "a").await, "the first").await;
    fail(try_from(&jeton, HERE, "alice", "b").await, "another password").await;
    fail(try_from(&jeton, HERE, "alice", "a").await, "one that was not the last").await;
    fail(try_from(&jeton, "198.51.100.2", "alice", "a").await, "another origin").await;
    let through_bff = jeton.post_as("bff", "/token", &login_form("alice", "a"));
    let through_bff = through_bff.header("X-Forwarded-For", HERE).send().await;
    fail(through_bff, "another client").await;
    fail(try_from(&jeton, HERE, "alice", "c").await, "the first again").await;
    jeton.clock.advance(10);
    fail(try_from(&jeton, HERE, "alice", "c").await, "ten seconds later").await;
    let elsewhere = jeton.post_as("spa", "/token", &login_form("alice", "c"));
    let elsewhere = elsewhere.header("X-Forwarded-For", HERE).at(replica.public).send().await;
    fail(elsewhere, "another replica").await;
    try_from(&jeton, HERE, "bob", "c").await.assert_error(400, "invalid_grant");
    let of_bob = "SELECT COUNT(*) FROM login_throttle WHERE account IS NOT NULL AND failures = 1";
    assert_eq!(jeton.database.query(of_bob).await, [[Some("1".to_owned())]]);
    replica.stop().await;
}

/// A password that was wrong a moment ago and was set since is right.
#[tokio::test]
async fn a_repeat_is_forgotten_when_the_password_changes() {
    const NEW: &str = "forty clouds over the harbour";
    let jeton = jeton_behind_proxy().await;
    let since = "UPDATE users SET password_changed_at = password_changed_at - 172800";
    jeton.database.query(since).await;
    try_from(&jeton, HERE, "alice", NEW).await.assert_error(400, "invalid_grant");
    assert!(jeton.try_change_password("alice", NEW).await);
    assert_eq!(try_from(&jeton, HERE, "alice", NEW).await.status, 200);
}

/// A repeat is no way to guess more: of five passwords and a repeat of each five are counted, and then the
/// account waits.
#[tokio::test]
async fn repeats_give_no_further_guess() {
    let jeton = jeton_behind_proxy().await;
    for guess in ["a", "b", "c", "d", "e"] {
        for _ in 0..2 {
            try_from(&jeton, HERE, "alice", guess).await.assert_error(400, "invalid_grant");
        }
    }
    let hashed = jeton.passwords_verified().await;
    assert_eq!(hashed, 9, "the fifth failure began the wait, so its repeat was not tried");
    try_from(&jeton, HERE, "alice", PASSWORD).await.assert_error(400, "invalid_grant");
    assert_eq!(jeton.passwords_verified().await, hashed);
}

/// Who watches a name does not see its owner log in from a new place: the guesses after that are held back as
/// they were before, and cost no hash. [TG-26] [S-15]
#[tokio::test]
async fn a_watcher_does_not_see_the_owner_log_in_from_a_new_place() {
    let jeton = jeton_behind_proxy().await;
    let guess = async |number: u32| {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number).to_string();
        let before = jeton.passwords_verified().await;
        let reply = try_from(&jeton, &address, "alice", &format!("guess {number}")).await;
        reply.assert_error(400, "invalid_grant");
        jeton.passwords_verified().await - before
    };
    for number in 0..5 {
        assert_eq!(guess(number).await, 1);
    }
    jeton.clock.advance(1);
    // The owner takes the one attempt that the wait allows.
    assert_eq!(try_from(&jeton, HERE, "alice", PASSWORD).await.status, 200);
    assert_eq!(guess(5).await, 0, "the login looks like any attempt");
    jeton.clock.advance(2);
    assert_eq!((guess(6).await, guess(7).await), (1, 0), "the wait was that of one more failure");
    assert_eq!(try_from(&jeton, HERE, "alice", PASSWORD).await.status, 200, "known from now on");
    assert_eq!(failures(&jeton).await, 1, "those before the login are in a row with none");
    // Nor while failures are free: the login changes nothing.
    jeton.forget_failures().await;
    for number in 10..13 {
        assert_eq!(guess(number).await, 1);
    }
    assert_eq!(try_from(&jeton, "198.51.100.9", "alice", PASSWORD).await.status, 200);
    assert_eq!((guess(13).await, guess(14).await, guess(15).await), (1, 1, 0));
}
