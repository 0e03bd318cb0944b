//! The log: an event for each act that matters to security, and no line that a caller wrote.

use std::fmt::Write as _;

use serde_json::Value;

use super::*;
use crate::harness::client::exchange;
use crate::harness::{Database, Executable, Request, refresh_form, run};

/// The events under `jeton::audit`, in their order.
fn events(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["target"] == "jeton::audit").collect()
}

/// What an act should have left in the log.
struct Expected {
    reply: Reply,
    event: &'static str,
    reason: &'static str,
    /// Who took part: client, user, and whether a session did.
    client: &'static str,
    user: &'static str,
    session: bool,
}

impl Expected {
    fn assert_logged(&self, events: &[Value], subs: impl Fn(&str) -> String) {
        let id = self.reply.header("x-request-id");
        let own = events.iter().filter(|event| event["request_id"] == id);
        let found: Vec<_> = own.filter(|event| event["event"] == self.event).collect();
        let [event] = found.as_slice() else {
            panic!("one {} {}: {events:#?}", self.event, self.reason)
        };
        let sub = if self.user.is_empty() { String::new() } else { subs(self.user) };
        // A reuse is told of beside the refusal, in words.
        let reason = event["reason"].as_str().unwrap_or_default();
        assert_eq!(reason, self.reason, "{event}");
        assert_eq!((&event["client_id"], &event["user_id"]), (&self.client.into(), &sub.into()));
        assert_eq!(event["session_id"] != "", self.session, "{event}");
        assert_eq!(event["source"], "127.0.0.1");
        // RFC 3339, in UTC.
        assert!(event["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
    }
}

/// ASVS 16.2.1, 16.2.5, 16.3.1 to 16.3.3: each login, issue, refresh, reuse, revocation and denial,
/// and each change of keys, leaves one event with the time in UTC, its name, the exact reason, the
/// client, the user, the session and the source. [S-20]
#[tokio::test]
async fn each_act_leaves_its_event() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let window = ["--refresh-retry-window", "0s"];
    let mut process = Executable::serve_on(&database, fixtures, &window);
    let send = async |client: &str, path: &str, form: &str| {
        let request = Request::new(process.public, "POST", path).form(form);
        request.basic(client, fixtures.secret(client)).send().await
    };
    let mut acts = Vec::new();
    let mut expect = |reply: &Reply, event, reason, client, user, session| {
        acts.push(Expected { reply: reply.clone(), event, reason, client, user, session });
    };
    let alice = login_form("alice", PASSWORD);
    let login = send("web", "/token", &alice).await;
    expect(&login, "token_issued", "issued", "web", "alice", true);
    let wrong = send("web", "/token", &login_form("alice", "wrong")).await;
    expect(&wrong, "token_refused", "wrong_password", "web", "alice", false);
    let nobody = send("web", "/token", &login_form("nobody", PASSWORD)).await;
    expect(&nobody, "token_refused", "unknown_user", "web", "", false);
    let disabled = send("web", "/token", &login_form("disabled", PASSWORD)).await;
    expect(&disabled, "token_refused", "disabled_user", "web", "disabled", false);
    let scope = send("web", "/token", &format!("{alice}&scope=nosuch")).await;
    expect(&scope, "token_refused", "scope_not_allowed_for_client", "web", "", false);
    let stranger = Request::new(process.public, "POST", "/token").form(&alice);
    let stranger = stranger.basic("web", "wrong").send().await;
    expect(&stranger, "token_refused", "wrong_client_secret", "web", "", false);

    let old = login.refresh_token();
    let refreshed = send("web", "/token", &refresh_form(&old)).await;
    expect(&refreshed, "token_issued", "issued", "web", "alice", true);
    let forged = send("web", "/token", &refresh_form("forged")).await;
    expect(&forged, "token_refused", "forged_refresh_token", "web", "", false);
    // A machine so busy that the process stood still would have the verdict withheld.
    let ended = r#"jeton_refresh_tokens_reused_total{behind="1",verdict="ended"}"#;
    let reused = loop {
        let reused = send("web", "/token", &refresh_form(&old)).await;
        if process.metric(ended).await == 1 {
            break reused;
        }
    };
    expect(&reused, "refresh_token_reused", "", "web", "alice", true);
    expect(&reused, "token_refused", "refresh_token_reused", "web", "alice", true);
    let ended = send("web", "/token", &refresh_form(&refreshed.refresh_token())).await;
    expect(&ended, "token_refused", "unknown_session", "web", "", true);

    let second = send("web", "/token", &alice).await.refresh_token();
    let revoked = send("web", "/revoke", &format!("token={second}")).await;
    expect(&revoked, "token_revoked", "revoked", "web", "alice", true);
    let again = send("web", "/revoke", "token=forged").await;
    expect(&again, "nothing_revoked", "nothing", "web", "", false);
    let denied = send("nothing", "/introspect", &format!("token={second}")).await;
    expect(&denied, "introspection_refused", "introspection_not_allowed", "nothing", "", false);

    // What is refused before its content is looked at.
    let page = Request::new(process.public, "POST", "/token").form(&alice);
    let page = page.header("Origin", "https://evil.example").send().await;
    expect(&page, "request_refused", "foreign_origin", "", "", false);
    let long = send("web", "/token", &format!("{alice}&a={}", "a".repeat(20_000))).await;
    expect(&long, "request_refused", "content_too_large", "", "", false);

    let master = fixtures.master_key.display().to_string();
    let place = ["--database", &database.url, "--master-key-file", &master];
    let rotated = run(&[&["key", "rotate", "--emergency", "--yes"], &place[..]].concat());
    assert!(rotated.status.success());
    process.signal("HUP");
    while !process.log().contains("signing_key_changed") {
        tokio::task::yield_now().await;
    }
    let events = events(&process.stop_and_read_log());
    for act in acts {
        act.assert_logged(&events, |user| fixtures.sub(user).to_owned());
    }
}

/// W3C Trace Context §3.2: the trace and the caller's span are fields of a request's events, whatever came of it. A value
/// that is not valid is ignored, and changes no answer.
#[tokio::test]
async fn a_trace_that_a_caller_names_is_in_the_events_of_its_request() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let mut process = Executable::serve_on(&database, fixtures, &[]);
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let valid = format!("00-{trace}-{span}-01");
    let form = login_form("alice", PASSWORD);
    let login = Request::new(process.public, "POST", "/token").form(&form);
    let login = login.basic("web", fixtures.secret("web"));
    let refused = Request::new(process.public, "POST", "/token").form(&form);
    let refused = refused.header("Origin", "https://evil.example");
    let mut traced = Vec::new();
    for (request, status) in [(&login, 200), (&refused, 403)] {
        let reply = request.clone().header("traceparent", &valid).send().await;
        assert_eq!(reply.status, status);
        traced.push(reply.header("x-request-id").to_owned());
    }
    let capital = valid.to_uppercase();
    let zeros = format!("00-{}-{span}-01", "0".repeat(32));
    let extended = format!("{valid}-FORGED");
    for value in [&capital, &zeros, &extended, "", "00-FORGED", "\u{e9}"] {
        let reply = login.clone().header("traceparent", value).send().await;
        assert_eq!(reply.status, 200, "{value:?}");
    }
    let twice = login.clone().header("traceparent", &valid).header("traceparent", &valid);
    assert_eq!(twice.send().await.status, 200);

    let log = process.stop_and_read_log();
    assert!(!log.contains("FORGED"), "{log}");
    for event in events(&log).iter().filter(|event| event["request_id"].is_string()) {
        let is_traced = traced.iter().any(|id| event["request_id"] == **id);
        let expected =
            if is_traced { [trace.into(), span.into()] } else { [Value::Null, Value::Null] };
        assert_eq!(
            [&event["trace_id"], &event["parent_id"]],
            [&expected[0], &expected[1]],
            "{event}"
        );
    }
}

/// A line that a caller would like the log to have, in ways to make one.
const FORGED: [&str; 9] = [
    "a\r\n2026-01-01T00:00:00Z  INFO jeton::audit: FORGED",
    "a\n{\"level\":\"ERROR\",\"target\":\"jeton::audit\",\"event\":\"FORGED\"}",
    "a\",\"event\":\"FORGED",
    "a\u{2028}FORGED",
    "a\u{85}FORGED",
    "\u{1b}[2K\u{1b}[1AFORGED",
    "\u{9b}2KFORGED",
    "\u{8}\u{8}\u{8}FORGED",
    "a\0FORGED",
];

/// Sends what could forge lines wherever a caller can write.
async fn try_to_forge(process: &Executable, fixtures: &crate::harness::Fixtures) {
    let secret = fixtures.secret("web");
    for line in FORGED {
        let escaped = percent_encode(line);
        for name in ["grant_type", "username", "scope", "client_id", "token", "token_type_hint"] {
            for path in ["/token", "/introspect", "/revoke"] {
                let form = format!("password=x&{name}={escaped}");
                let request = Request::new(process.public, "POST", path).form(&form);
                request.clone().basic("web", secret).send().await;
                request.basic(line, line).send().await;
            }
        }
        let form = format!("grant_type=password&password=x&username={escaped}");
        let request = Request::new(process.public, "POST", "/token").form(&form);
        request.basic("web", secret).send().await;
        let target = format!("/{escaped}?{escaped}");
        Request::new(process.public, "GET", &target).send().await;
        let in_header: String = line.chars().filter(|char| !char.is_control()).collect();
        let form = refresh_form(&in_header);
        for name in ["X-Forwarded-For", "User-Agent", "Referer", "Origin", "X-Request-Id", "Host"] {
            let request = Request::new(process.public, "POST", "/token").form(&form).without(name);
            let request = request.basic("web", secret);
            for value in [&in_header, &format!("{in_header}, 198.51.100.7"), &escaped] {
                request.clone().header(name, value).send().await;
            }
            // As it is: a header cannot hold it, so this is another header, or no request.
            let mut head = format!("POST /token HTTP/1.1\r\nHost: {}\r\n", process.public);
            write!(head, "{name}: {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .expect("a String takes any text");
            exchange(process.public, head.as_bytes(), false).await;
        }
    }
}

/// ASVS 16.4.1: what callers send makes no line of the log and ends none, in either format: every line
/// is one that the service wrote. [S-21]
#[tokio::test]
async fn no_caller_writes_lines_of_the_log() {
    for format in ["json", "text"] {
        let (database, fixtures) = Database::filled(ENGINE).await;
        let further = ["--log-format", format, "--log", "debug"];
        let further = [&further[..], &["--trusted-proxy", "127.0.0.0/8"]].concat();
        let mut process = Executable::serve_on(&database, fixtures, &further);
        try_to_forge(&process, fixtures).await;
        let log = process.stop_and_read_log();
        assert!(log.lines().count() > 100 && !log.contains("FORGED"), "{format}: {log}");
        for line in log.lines() {
            let timestamp = match format {
                "json" => serde_json::from_str::<Value>(line).expect("JSON")["timestamp"].take(),
                _ => line.split(' ').next().expect("a word").into(),
            };
            let timestamp = timestamp.as_str().unwrap_or_default();
            assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "{format}: {line:?}");
            assert!(!line.contains(|char: char| char.is_control()), "{format}: {line:?}");
        }
    }
}
