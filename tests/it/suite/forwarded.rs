//! Proxies that say for whom they call, in all the ways they do, or do not say it. RFC 9700 §4.13; RFC 7239
//! §5.2, §6 for what else stands in the place of an address.

use super::*;
use crate::harness::faulty_proxy::Fault;
use crate::harness::{Executable, Request};

const WRONG: &str = "tuesday fern lamb";
const TRUSTING: [&str; 2] = ["--trusted-proxy", "127.0.0.0/8"];

/// Tries to log in through a public client, with these lines of the field.
async fn try_with(jeton: &Jeton, lines: &[&str], user: &str, password: &str) -> Reply {
    let request = jeton.post_as("spa", "/token", &login_form(user, password));
    let request =
        lines.iter().fold(request, |request, line| request.header("X-Forwarded-For", line));
    request.send().await
}

/// How a proxy spells one caller at the n-th of its ports or addresses, and another caller.
type Spell = fn(u32) -> (String, &'static str);

async fn unnamed(jeton: &Jeton, why: &str) -> u64 {
    jeton.metric(&format!("jeton_unnamed_callers_total{{why=\"{why}\"}}")).await
}

/// Whoever is named with a port, in brackets or in quotes is told from others, and is the same person with
/// another port: 30 failing names hold up nobody but the one who failed. [H-06] [TG-11]
#[tokio::test]
async fn callers_are_told_apart_however_a_proxy_spells_them() {
    let jeton = Jeton::start_with(ENGINE, &TRUSTING).await;
    let spellings: [Spell; 5] = [
        |port| (format!("203.0.113.7:{}", 50_000 + port), "203.0.113.8:50000"),
        |port| (format!("[2001:db8:1::1]:{}", 50_000 + port), "[2001:db8:2::1]:50000"),
        |port| (format!("\"[2001:db8:3::{port:x}]\""), "\"[2001:db8:4::1]\""),
        |port| (format!("::ffff:203.0.113.9:{}", 50_000 + port), "::ffff:203.0.113.10"),
        |port| (format!("fe80:0:0:1::{port:x}%eth0"), "fe80:0:0:2::1%eth0"),
    ];
    for (kind, spell) in spellings.into_iter().enumerate() {
        for number in 0..30 {
            let (caller, _) = spell(number);
            let user = format!("user{kind}-{number}");
            let reply = try_with(&jeton, &["192.0.2.1", &caller], &user, WRONG).await;
            reply.assert_error(400, "invalid_grant");
        }
        let (caller, other) = spell(31);
        let reply = try_with(&jeton, &[&caller], "bob", PASSWORD).await;
        reply.assert_error(429, "temporarily_unavailable");
        assert_eq!(try_with(&jeton, &[other], "bob", PASSWORD).await.status, 200, "{other}");
    }
    for why in ["missing", "unreadable", "no_end_user"] {
        assert_eq!(unnamed(&jeton, why).await, 0, "{why}");
    }
}

/// What a caller writes before the proxy does makes nothing of what the proxy writes unreadable, or the
/// caller would choose to be counted as the proxy.
#[tokio::test]
async fn a_caller_cannot_hide_behind_octets_that_are_no_text() {
    let jeton = Jeton::start_with(ENGINE, &TRUSTING).await;
    for line in ["\u{fc}, 203.0.113.7", "\", 203.0.113.7", "[, 203.0.113.7", "unknown, 203.0.113.7"]
    {
        let reply = try_with(&jeton, &[line], "alice", WRONG).await;
        reply.assert_error(400, "invalid_grant");
        assert!(!reply.has("x-jeton-forwarded"), "{line}");
    }
    assert_eq!(unnamed(&jeton, "unreadable").await, 0);
}

/// A trusted proxy that names nobody, or somebody that is no address, is counted with each form, warned of
/// once, and not believed any further. Who asks for a document is not counted.
#[tokio::test]
async fn a_proxy_that_names_no_caller_is_counted_and_warned_of_once() {
    let (database, fixtures) = crate::harness::Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &TRUSTING);
    let ask = |method: &str, target: &str| Request::new(service.public, method, target);
    let login = ask("POST", "/token").form(&(login_form("alice", WRONG) + "&client_id=spa"));
    for _ in 0..2 {
        let reply = login.send().await;
        assert_eq!((reply.status, reply.header("x-jeton-forwarded")), (400, "missing"));
    }
    let unreadable = ["unknown", "_hidden", "203.0.113.9, unknown", "203.0.113.9, ", "unix:"];
    for line in unreadable {
        let reply = login.clone().header("X-Forwarded-For", line).send().await;
        assert_eq!(
            (reply.status, reply.header("x-jeton-forwarded")),
            (400, "unreadable"),
            "{line}"
        );
    }
    let forwarded = login.clone().header("Forwarded", "for=203.0.113.9").send().await;
    assert_eq!(forwarded.header("x-jeton-forwarded"), "missing", "Forwarded is not read");
    for target in ["/.well-known/jwks.json", "/nothing", "/token"] {
        assert!(!ask("GET", target).send().await.has("x-jeton-forwarded"), "{target}");
    }
    for (why, count) in [("missing", 3), ("unreadable", 5), ("no_end_user", 0)] {
        let name = format!("jeton_unnamed_callers_total{{why=\"{why}\"}}");
        assert_eq!(service.metric(&name).await, count, "{why}");
    }
    let log = service.stop_and_read_log();
    for part in ["sends no X-Forwarded-For", "ends with no address"] {
        let warnings = log.lines().filter(|line| line.contains(part));
        assert_eq!(warnings.count(), 1, "{part}: {log}");
    }
}

/// A client that was registered to name its end users and does not is counted, and warned of once. What it
/// names is understood in all spellings.
#[tokio::test]
async fn a_client_that_does_not_name_its_end_users_is_counted_and_warned_of_once() {
    let (database, fixtures) = crate::harness::Database::filled(ENGINE).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let login = |client: &str| {
        let request = Request::new(service.public, "POST", "/token");
        request.form(&login_form("alice", PASSWORD)).basic(client, fixtures.secret(client))
    };
    for _ in 0..2 {
        assert_eq!(login("bff").send().await.status, 200);
    }
    assert_eq!(login("bff").header("X-Forwarded-For", "unknown").send().await.status, 200);
    for end_user in ["203.0.113.7:51234", "203.0.113.9, [2001:db8::1]:443"] {
        assert_eq!(login("bff").header("X-Forwarded-For", end_user).send().await.status, 200);
    }
    assert_eq!(login("web").send().await.status, 200);
    let name = "jeton_unnamed_callers_total{why=\"no_end_user\"}";
    assert_eq!(service.metric(name).await, 3);
    let log = service.stop_and_read_log();
    let warnings =
        log.lines().filter(|line| line.contains("does not, so all of them count as one origin"));
    assert_eq!(warnings.count(), 1, "{log}");
}

/// `jeton doctor` sees what the proxy before the service does wrong, and says how to mend it.
#[tokio::test]
async fn the_doctor_sees_a_proxy_that_names_no_caller() {
    const FIELD: &str = "X-Forwarded-For";
    for (settings, fault, says) in [
        (&TRUSTING[..], Fault::None, "names no caller"),
        (&TRUSTING, Fault::AddToRequest(FIELD, "unknown"), "is not understood"),
        (&[], Fault::AddToRequest(FIELD, "203.0.113.7"), "by --trusted-proxy"),
    ] {
        let patient = doctor::Patient::new(settings).await;
        patient.proxy.misbehave(fault);
        let visit = patient.see(&[], "").await;
        assert!(visit.has("wrong", "proxy.client_address", says), "{says}");
        assert_eq!((visit.with_outcome("wrong").len(), visit.code), (1, Some(1)), "{says}");
    }
    let patient = doctor::Patient::new(&TRUSTING).await;
    patient.proxy.misbehave(Fault::AddToRequest(FIELD, "203.0.113.7:51234"));
    let visit = patient.see(&[], "").await;
    assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
}
