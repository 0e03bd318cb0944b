//! Accounts that are counted together because they share where they log in from: a client that does not say
//! from where, an address, a network, a site.

use tokio::task::JoinSet;

use super::*;

const TRUSTING: [&str; 2] = ["--trusted-proxy", "127.0.0.0/8"];
const WRONG: &str = "tuesday fern lamb";

/// Tries to log in through a client, from an address that a trusted proxy or the client names.
async fn attempt(jeton: &Jeton, client: &str, from: &str, user: &str, password: &str) -> Reply {
    let request = jeton.post_as(client, "/token", &login_form(user, password));
    request.header("X-Forwarded-For", from).send().await
}

/// Behind a client that does not say from where, names that never logged in through it share 30 failures, and
/// then one attempt every two seconds. No more than that is hashed of 150 invented names. Users who are known
/// there notice nothing; right passwords do not count. [TG-11] [TE-16] [H-30]
#[tokio::test]
async fn strangers_behind_one_web_server_share_thirty_failures() {
    let jeton = jeton().await;
    let at_web = async |user: &str, password: &str| {
        attempt(&jeton, "web", "192.0.2.1", user, password).await
    };
    assert_eq!(at_web("bob", PASSWORD).await.status, 200);
    let hashed = jeton.passwords_verified().await;
    for number in 0..150 {
        let reply = at_web(&format!("invented{number}"), WRONG).await;
        if number < 30 {
            reply.assert_error(400, "invalid_grant");
        } else {
            reply.assert_error(429, "temporarily_unavailable");
            assert_eq!(reply.header("retry-after"), "2", "{number}");
        }
    }
    assert_eq!(jeton.passwords_verified().await, hashed + 30);
    let reply = at_web("alice", PASSWORD).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (429, "2"),
        "a stranger, even if right"
    );
    // Who is known there is told of mistakes as ever.
    for _ in 0..2 {
        assert_eq!(at_web("bob", WRONG).await.status, 400);
        assert_eq!(at_web("bob", PASSWORD).await.status, 200);
    }
    // At other clients nobody is held up.
    assert_eq!(attempt(&jeton, "bff", "192.0.2.2", "alice", PASSWORD).await.status, 200);
    // One attempt every two seconds, right or wrong. A right one does not count, and makes known.
    for user in ["invented200", "invented201"] {
        jeton.clock.advance(2);
        assert_eq!(at_web(user, WRONG).await.status, 400);
        assert_eq!(at_web("alice", PASSWORD).await.status, 429);
    }
    jeton.clock.advance(2);
    assert_eq!(at_web("alice", PASSWORD).await.status, 200);
    let reply = at_web("invented202", WRONG).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
    assert_eq!(at_web("alice", PASSWORD).await.status, 200, "known from now on");
    // A quarter of an hour later one more failure is free.
    jeton.clock.advance(900);
    let statuses = [at_web("invented203", WRONG).await.status, at_web("x", WRONG).await.status];
    assert_eq!(statuses, [400, 429]);
}

/// Right passwords of strangers are never held up as long as fewer than 30 have failed.
#[tokio::test]
async fn right_passwords_of_strangers_count_nothing() {
    let jeton = jeton().await;
    for number in 0..29 {
        let reply = attempt(&jeton, "web", "192.0.2.1", &format!("invented{number}"), WRONG).await;
        reply.assert_error(400, "invalid_grant");
    }
    for user in ["alice", "bob"] {
        assert_eq!(attempt(&jeton, "web", "192.0.2.1", user, PASSWORD).await.status, 200, "{user}");
    }
    assert_eq!(attempt(&jeton, "web", "192.0.2.1", "invented29", WRONG).await.status, 400);
    assert_eq!(attempt(&jeton, "web", "192.0.2.1", "invented30", WRONG).await.status, 429);
}

/// A name that fails again and again through such a client uses up what is free for all, by five.
#[tokio::test]
async fn strangers_are_counted_by_failures_and_not_by_names() {
    let jeton = jeton().await;
    for number in 0..6 {
        for guess in 0..5 {
            let (user, password) = (format!("invented{number}"), format!("{WRONG} {guess}"));
            let reply = attempt(&jeton, "web", "192.0.2.1", &user, &password).await;
            reply.assert_error(400, "invalid_grant");
        }
    }
    assert_eq!(attempt(&jeton, "web", "192.0.2.1", "another", WRONG).await.status, 429);
}

/// Neighbours in one /48 of IPv6 count together too, beside each /64: 60 accounts from six networks, and then
/// one attempt every two seconds. One network by itself holds up no neighbour. [TG-11]
#[tokio::test]
async fn neighbours_in_a_site_count_together() {
    let jeton = Jeton::start_with(ENGINE, &TRUSTING).await;
    let address = |network: u32| format!("[2001:db8:1:{network:x}::7]:443");
    let mut tried = 0;
    for network in 0..6 {
        for number in 0..30 {
            let user = format!("invented{network}-{number}");
            let reply = attempt(&jeton, "spa", &address(network), &user, WRONG).await;
            tried += u32::from(reply.status == 400);
            assert!(reply.status == 400 || reply.header("retry-after") == "2" || network < 2);
        }
        if network == 0 {
            let neighbour = attempt(&jeton, "spa", &address(99), "bob", PASSWORD).await;
            assert_eq!(neighbour.status, 200, "one network holds up no other");
        }
    }
    // The login of bob made up for one that failed.
    assert_eq!((tried, jeton.passwords_verified().await), (61, 62));
    let reply = attempt(&jeton, "spa", &address(98), "alice", PASSWORD).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, "2"));
    let elsewhere = attempt(&jeton, "spa", "2001:db8:2::7", "alice", PASSWORD).await;
    assert_eq!(elsewhere.status, 200, "another site");
    assert_eq!(
        attempt(&jeton, "spa", &address(99), "bob", PASSWORD).await.status,
        200,
        "known there"
    );
    jeton.clock.advance(2);
    assert_eq!(attempt(&jeton, "spa", &address(98), "invented", WRONG).await.status, 400);
    assert_eq!(attempt(&jeton, "spa", &address(97), "alice", PASSWORD).await.status, 429);
}

/// Wrong client secrets are counted by the site: what is right is never refused, so that costs nobody.
#[tokio::test]
async fn wrong_client_secrets_from_a_site_count_together() {
    let jeton = Jeton::start_with(ENGINE, &TRUSTING).await;
    let guess = async |network: u32, secret: &str| {
        let request = jeton.post("/introspect", "token=x").basic("rs1", secret);
        let address = format!("2001:db8:1:{network:x}::7");
        request.header("X-Forwarded-For", &address).send().await.status
    };
    for network in 0..10 {
        assert_eq!(guess(network, "guess").await, 401);
    }
    assert_eq!(guess(10, "guess").await, 429);
    assert_eq!(guess(10, jeton.fixtures.secret("rs1")).await, 200);
}

/// ASVS 15.4.2: a burst does not outrun what is free for an origin: of 150 names that are tried at once 30 are
/// hashed, whether they come from one address or through a client that does not say from where; at two replicas
/// as many at each, once. [TG-11] [TG-13]
#[tokio::test]
async fn a_burst_does_not_outrun_what_is_free_for_an_origin() {
    let jeton = Jeton::start_with(ENGINE, &TRUSTING).await;
    let replica = jeton.replica_with(&TRUSTING).await;
    let of_replica = crate::harness::Request::new(replica.management, "GET", "/metrics");
    let hashed = async || {
        let of_replica = of_replica.send().await.metric("jeton_hashing_verified_total");
        jeton.passwords_verified().await + of_replica
    };
    for (client, replicas, most) in [("spa", 1, 30), ("web", 1, 30), ("other", 2, 60)] {
        let at = |number: usize| [jeton.service.public, replica.public][number % replicas];
        let before = hashed().await;
        let mut attempts = JoinSet::new();
        for number in 0..150 {
            let request =
                jeton.post_as(client, "/token", &login_form(&format!("u{number}"), WRONG));
            let request = request.header("X-Forwarded-For", "192.0.2.1").at(at(number));
            attempts.spawn(async move { request.send().await.status });
        }
        let statuses = attempts.join_all().await;
        let of = |status: u16| statuses.iter().filter(|own| **own == status).count();
        assert!(of(400) + of(429) + of(503) == 150, "{statuses:?}");
        // A failure that cannot be counted in time is answered 503.
        let hashed = hashed().await - before;
        assert!(hashed >= of(400) as u64 && hashed <= most, "{client}: {hashed} {statuses:?}");
    }
    replica.stop().await;
}

/// `jeton client add` says what it means that a client forwards no addresses, and so does `jeton client set`
/// when that begins. Nobody else is told.
#[tokio::test]
async fn a_client_that_forwards_no_addresses_is_told_what_it_means() {
    let database = crate::harness::Database::migrated(ENGINE).await;
    let usual = ["--scope", "read", "--default-scope", "read", "--audience", "https://a.example"];
    let note = |arguments: &[&str]| {
        let output = crate::harness::run(&[arguments, &["--database", &database.url]].concat());
        assert!(output.status.success(), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        errors.contains("one attempt every 2 s") && errors.contains("--forwards-end-user-ip")
    };
    let add =
        |id: &str, further: &[&str]| note(&[&["client", "add", id], further, &usual].concat());
    assert!(add("web", &["--grant", "password"]));
    assert!(!add("spa", &["--grant", "password", "--public"]));
    assert!(!add("bff", &["--grant", "password", "--forwards-end-user-ip"]));
    assert!(!add("refresher", &["--grant", "refresh_token"]));
    assert!(!note(&["client", "set", "web", "--scope", "read"]));
    assert!(note(&["client", "set", "bff", "--forwards-end-user-ip=false"]));
    assert!(!note(&["client", "set", "web", "--forwards-end-user-ip"]));
}
