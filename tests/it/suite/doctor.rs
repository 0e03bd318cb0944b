//! `jeton doctor` looks at a running service over the network alone.

use std::process::Output;

use serde_json::Value;

use super::*;
use crate::harness::executable::{run_with_environment, run_with_input};
use crate::harness::faulty_proxy::{Fault, FaultyProxy};
use crate::harness::run;
use crate::harness::tls::Pair;

/// The origin that the service lets in.
pub(super) const ORIGIN: &str = "https://app.example";

/// A service behind a proxy that is as good as none, until it is told otherwise.
pub(super) struct Patient {
    pub(super) jeton: Jeton,
    pub(super) proxy: FaultyProxy,
    pub(super) issuer: String,
}

/// What the doctor said.
pub(super) struct Visit {
    pub(super) code: Option<i32>,
    findings: Vec<Value>,
}

impl Visit {
    fn read(output: &Output) -> Self {
        let findings = serde_json::from_slice(&output.stdout);
        let findings = findings.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { code: output.status.code(), findings }
    }

    /// What was found with this outcome: the name of the check, what was seen, and the remedy.
    pub(super) fn with_outcome<'a>(&'a self, outcome: &str) -> Vec<(&'a str, &'a str, &'a str)> {
        let of_outcome = self.findings.iter().filter(|finding| finding["outcome"] == outcome);
        let text = |finding: &'a Value, name: &str| finding[name].as_str().unwrap_or_default();
        of_outcome
            .map(|finding| {
                (text(finding, "check"), text(finding, "found"), text(finding, "remedy"))
            })
            .collect()
    }

    /// Whether a check had this outcome, with this in what was seen or in the remedy.
    pub(super) fn has(&self, outcome: &str, check: &str, says: &str) -> bool {
        let mut all = self.with_outcome(outcome).into_iter();
        all.any(|(own, found, remedy)| {
            own == check && (found.contains(says) || remedy.contains(says))
        })
    }
}

impl Patient {
    pub(super) async fn new(settings: &[&str]) -> Self {
        let proxy = FaultyProxy::start().await;
        let issuer = format!("http://{}", proxy.address);
        let all = [&["--issuer", &issuer, "--cors-origin", ORIGIN], settings].concat();
        let jeton = Jeton::start_with(ENGINE, &all).await;
        proxy.lead_to(jeton.service.public);
        Self { jeton, proxy, issuer }
    }

    /// A file with the secret of a client.
    fn secret_file(&self, client_id: &str) -> String {
        let path = self.jeton.database.path(client_id);
        std::fs::write(&path, self.jeton.fixtures.secret(client_id).to_owned() + "\n")
            .expect("a file");
        path
    }

    /// Has the doctor come as `web`, the user alice, the resource server `rs1` and a page.
    pub(super) async fn see_everything(&self, further: &[&str]) -> Visit {
        let (web, rs1) = (self.secret_file("web"), self.secret_file("rs1"));
        let mut all = vec!["--client", "web", "--client-secret-file", &web, "--user", "alice"];
        all.extend(["--password-stdin", "--scope", "write read", "--origin", ORIGIN]);
        all.extend(["--introspect-client", "rs1", "--introspect-secret-file", &rs1]);
        all.extend(further);
        self.see(&all, PASSWORD).await
    }

    /// Has the doctor come, with this on its standard input. Nothing that it says is secret.
    pub(super) async fn see(&self, arguments: &[&str], input: &str) -> Visit {
        let output = self.print(&[&["--json"], arguments].concat(), input).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let secrets = ["web", "rs1", "post-only"].map(|id| self.jeton.fixtures.secret(id));
        let answers = self.proxy.take_answers();
        let answers = answers.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let members = answers
            .map(|answer| ["access_token", "refresh_token"].map(|name| answer[name].clone()));
        let tokens = members.flatten().filter_map(|token| token.as_str().map(str::to_owned));
        for secret in tokens.chain(secrets.map(str::to_owned)).chain([PASSWORD.to_owned()]) {
            assert!(!printed.contains(&secret), "{secret} in {printed}");
        }
        Visit::read(&output)
    }

    /// Has the doctor come, and returns what it printed.
    async fn print(&self, arguments: &[&str], input: &str) -> Output {
        let all = [&["doctor", &self.issuer], arguments].concat();
        let all: Vec<String> = all.iter().map(|text| (*text).to_owned()).collect();
        let input = input.to_owned();
        let coming = tokio::task::spawn_blocking(move || {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            run_with_input(&all, &input)
        });
        coming.await.expect("no panic")
    }
}

/// Has the doctor go elsewhere.
async fn see_at(url: &str, further: &[&str]) -> Visit {
    let all = [&["doctor", url, "--json"], further].concat();
    let all: Vec<String> = all.iter().map(|text| (*text).to_owned()).collect();
    let coming = tokio::task::spawn_blocking(move || {
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    Visit::read(&coming.await.expect("no panic"))
}

/// A healthy service is well in every respect, and no session is left. The names of the checks are for
/// programs too: they stay.
#[tokio::test]
async fn a_healthy_service_is_well() {
    let patient = Patient::new(&[]).await;
    // The proxy reads what passes, so that tokens can be looked for in what is printed.
    patient.proxy.misbehave(Fault::None);
    let visit = patient.see_everything(&["--wrong-password"]).await;
    assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
    assert_eq!((visit.with_outcome("note"), visit.with_outcome("warning")), (vec![], vec![]));
    let mut checks: Vec<_> = visit.with_outcome("ok").into_iter().map(|(name, ..)| name).collect();
    checks.sort_unstable();
    let expected = "client.authentication clock.date clock.token connection.scheme connection.tcp \
        cors.error cors.preflight introspection.active introspection.get \
        introspection.unknown_token jwks.caching jwks.cors jwks.document jwks.keys \
        jwks.not_modified login.answer login.token login.wrong_password metadata.caching \
        metadata.cors metadata.document metadata.endpoints metadata.grants metadata.issuer \
        metadata.openid_document proxy.authorization proxy.caching proxy.request_id \
        refresh.answer refresh.rotation refresh.token revocation.access_token \
        revocation.answer revocation.get revocation.refresh_token token.get token.json \
        token.malformed token.unknown_client token.unsupported_grant";
    assert_eq!(checks, expected.split_whitespace().collect::<Vec<_>>());
    for finding in &visit.findings {
        let members: Vec<_> = finding.as_object().expect("an object").keys().collect();
        assert_eq!(members, ["check", "outcome", "found", "remedy"]);
    }
    assert!(patient.jeton.sessions().await.is_empty(), "it was logged out");

    let printed = patient.print(&[], "").await;
    let text = String::from_utf8_lossy(&printed.stdout);
    assert_eq!((printed.status.code(), printed.stderr), (Some(0), Vec::new()));
    for part in
        ["ok       metadata.issuer", "note     login.answer", "-> --user NAME", "-> --origin"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// What was left out is a note, which names the option that lets it be looked at.
#[tokio::test]
async fn what_is_left_out_is_said() {
    let patient = Patient::new(&[]).await;
    let visit = patient.see(&[], "").await;
    assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
    for (check, option) in [
        ("client.authentication", "--client "),
        ("login.answer", "--user "),
        ("introspection.unknown_token", "--introspect-client "),
        ("cors.preflight", "--origin "),
    ] {
        assert!(visit.has("note", check, option), "{check}");
    }
    let visit = patient.see_everything(&[]).await;
    assert!(visit.has("note", "login.wrong_password", "--wrong-password"));
    assert_eq!(visit.code, Some(0));
}

/// What stands in the way of a client and its user is told apart, as far as the service tells it.
#[tokio::test]
async fn a_client_that_cannot_log_in_learns_why() {
    let patient = Patient::new(&[]).await;
    let (web, post_only) = (patient.secret_file("web"), patient.secret_file("post-only"));
    let client = |id, file| vec!["--client", id, "--client-secret-file", file];
    let user = |name| vec!["--user", name, "--password-stdin"];
    let (alice, bob) = (user("alice"), user("bob"));
    let scope = vec!["--scope", "write"];
    for (arguments, password, check, says) in [
        (
            [client("web", &post_only), alice.clone()].concat(),
            PASSWORD,
            "client.authentication",
            "secret add web",
        ),
        (
            [vec!["--client", "web"], alice.clone()].concat(),
            PASSWORD,
            "client.authentication",
            "--client-secret-file",
        ),
        (
            client("post-only", &post_only),
            "",
            "client.authentication",
            "--client-authentication post",
        ),
        (vec!["--client", "nothing"], "", "client.authentication", "refused"),
        (
            [client("web", &web), alice.clone()].concat(),
            "another",
            "login.answer",
            "jeton user show alice",
        ),
        ([client("web", &web), bob, scope].concat(), PASSWORD, "login.answer", "--scope"),
        (
            [client("web", &web), alice.clone(), vec!["--resource", "https://x.example"]].concat(),
            PASSWORD,
            "login.answer",
            "--resource",
        ),
    ] {
        let visit = patient.see(&arguments, password).await;
        assert!(visit.has("wrong", check, says), "{says}: {:?}", visit.findings);
        assert_eq!((visit.with_outcome("wrong").len(), visit.code), (1, Some(1)), "{arguments:?}");
    }
    let norefresh = patient.secret_file("norefresh");
    for arguments in [
        [client("post-only", &post_only), vec!["--client-authentication", "post"]].concat(),
        vec!["--client", "spa"],
        client("norefresh", &norefresh),
    ] {
        let visit = patient.see(&[arguments, alice.clone()].concat(), PASSWORD).await;
        assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
        assert!(visit.has("ok", "revocation.answer", "revoked"));
    }
    assert!(patient.jeton.sessions().await.is_empty());
}

/// What was forgotten is named: no request is made to find that out, or it says which option is missing.
#[tokio::test]
async fn what_was_forgotten_is_named() {
    let patient = Patient::new(&[]).await;
    let visit = patient.see(&["--introspect-client", "rs1"], "").await;
    assert!(visit.has("wrong", "introspection.unknown_token", "--introspect-secret-file"));
    let alice = ["--client", "spa", "--user", "alice", "--password-stdin"];
    let empty = patient.print(&alice, "\n").await;
    assert_eq!((empty.status.code(), empty.stdout), (Some(1), Vec::new()));
    assert!(String::from_utf8_lossy(&empty.stderr).contains("the password is empty"));
}

/// A URL that is not that of the service says what may be wrong with it, once.
#[tokio::test]
async fn a_url_that_is_not_the_issuer_is_told_so() {
    let patient = Patient::new(&[]).await;
    let by_name = patient.issuer.replace("127.0.0.1", "localhost");
    let with_path = format!("{}/token", patient.issuer);
    let management = format!("http://{}", patient.jeton.service.management);
    for (url, check, says, wrong) in [
        (by_name, "metadata.issuer", "by another name", 1),
        (with_path, "metadata.document", "see that the URL is the issuer", 3),
        (management, "jwks.document", "see that the URL is the issuer", 3),
    ] {
        let visit = see_at(&url, &[]).await;
        assert!(visit.has("wrong", check, says), "{url}: {:?}", visit.findings);
        assert_eq!((visit.with_outcome("wrong").len(), visit.code), (wrong, Some(1)), "{url}");
    }
}

/// A secret may stand in the environment, and `jeton check` knows the variables.
#[tokio::test]
async fn secrets_come_from_files_or_the_environment() {
    let patient = Patient::new(&[]).await;
    let issuer = patient.issuer.clone();
    let (web, rs1) = (
        patient.jeton.fixtures.secret("web").to_owned(),
        patient.jeton.fixtures.secret("rs1").to_owned(),
    );
    let coming = tokio::task::spawn_blocking(move || {
        let variables =
            [("JETON_DOCTOR_CLIENT_SECRET", &*web), ("JETON_DOCTOR_INTROSPECT_SECRET", &*rs1)];
        let all = ["doctor", &issuer, "--json", "--client", "web", "--introspect-client", "rs1"];
        let checked = run_with_environment(&["check", "--listen", "127.0.0.1:0"], &variables);
        (Visit::read(&run_with_environment(&all, &variables)), checked)
    });
    let (visit, checked) = coming.await.expect("no panic");
    assert!(visit.has("ok", "client.authentication", ""));
    assert!(visit.has("ok", "introspection.unknown_token", ""));
    assert!(!String::from_utf8_lossy(&checked.stderr).contains("JETON_DOCTOR"), "{checked:?}");
    let absent = patient.print(&["--client", "web", "--client-secret-file", "/no/such"], "").await;
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("/no/such"));
}

/// A refusal to retry is no mistake of the service, and is told.
#[tokio::test]
async fn without_a_retry_window_the_exchanged_token_is_refused() {
    let patient = Patient::new(&["--refresh-retry-window", "0s"]).await;
    let visit = patient.see_everything(&[]).await;
    assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
    assert!(visit.has("note", "refresh.rotation", "--refresh-retry-window"));
}

/// Clocks that disagree are noticed by what the tokens say.
#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    let patient = Patient::new(&[]).await;
    // The database server's too, so that the service itself notices nothing.
    patient.jeton.clock.jump_everywhere(7_200);
    let visit = patient.see_everything(&[]).await;
    assert!(visit.has("wrong", "clock.token", "120 min ahead of the clock here"));
    assert_eq!((visit.with_outcome("wrong").len(), visit.code), (1, Some(1)));
}

/// What cannot be a service is a mistake in the usage; what sends passwords in the clear is a finding, and
/// nothing is sent there.
#[tokio::test]
async fn urls_that_protect_nothing_are_not_visited() {
    for arguments in [&["doctor"][..], &["doctor", "ftp://x"], &["doctor", "http://x?y"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for needs in [&["--user", "alice"][..], &["--client-secret-file", "x"], &["--timeout", "0s"]] {
        let all = [&["doctor", "http://localhost"], needs].concat();
        assert_eq!(run(&all).status.code(), Some(2), "{all:?}");
    }
    let visit = see_at("http://auth.example", &["--client", "web"]).await;
    assert_eq!((visit.findings.len(), visit.code), (1, Some(1)));
    assert!(visit.has("wrong", "connection.scheme", "in the clear"));
}

/// What stands between doctor and service is told apart: name, port, silence, protocol.
#[tokio::test]
async fn a_service_that_cannot_be_reached_is_told_by_why() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");
    let patient = Patient::new(&[]).await;
    let in_tls = patient.issuer.replace("http:", "https:");
    for (url, check, says) in [
        ("http://127.0.0.1:1".to_owned(), "connection.tcp", "listens on this port"),
        ("https://no-such-name.invalid".to_owned(), "connection.name", "DNS"),
        (in_tls, "connection.tls", "plain HTTP"),
        (format!("https://{address}"), "connection.tcp", "no answer within 1 s"),
    ] {
        let visit = see_at(&url, &["--timeout", "1s"]).await;
        assert!(visit.has("wrong", check, says), "{url}: {:?}", visit.findings);
        assert_eq!((visit.findings.len(), visit.code), (1, Some(1)), "{url}");
    }
}

/// A certificate must be of an authority that is trusted, and for the name; it is renewed two weeks before
/// it expires.
#[tokio::test]
async fn certificates_are_looked_at() {
    let pair = Pair::new();
    let proxy = FaultyProxy::start().await;
    let port = proxy.address.port();
    let issuer = format!("https://localhost:{port}");
    let mut settings = pair.arguments();
    *settings.last_mut().expect("an issuer") = issuer.clone();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let jeton = Jeton::start_with(ENGINE, &settings).await;
    proxy.lead_to(jeton.service.public);
    let ca = pair.chain().display().to_string();

    let visit = see_at(&issuer, &[]).await;
    assert!(visit.has("wrong", "connection.certificate", "--ca FILE"), "{:?}", visit.findings);
    assert_eq!((visit.findings.len(), visit.code), (1, Some(1)));
    let by_number = format!("https://127.0.0.1:{port}");
    let visit = see_at(&by_number, &["--ca", &ca]).await;
    assert!(visit.has("wrong", "connection.certificate", "that has this name"));

    let in_the_clear = see_at(&issuer.replace("https:", "http:"), &[]).await;
    assert!(in_the_clear.has("wrong", "metadata.document", "the URL begins with https"));

    let visit = see_at(&issuer, &["--ca", &ca]).await;
    assert_eq!((visit.with_outcome("wrong"), visit.code), (Vec::new(), Some(0)));
    assert!(visit.has("ok", "connection.tls", "TLSv1.3"));
    assert!(visit.has("warning", "connection.certificate", "renew it"), "it lasts a day");
}
