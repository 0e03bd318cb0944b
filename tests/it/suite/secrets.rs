//! Secrets never show: not in the log at its loudest, in answers, in metrics, in what commands print,
//! in the database, or in what the system tells of the process. They are looked for in every
//! spelling that `harness/leaks.rs` knows.

use super::*;
use crate::harness::client::exchange;
use crate::harness::database::SCRYPT;
use crate::harness::leaks::{Secrets, decoded, everything_in};
use crate::harness::{
    Database, Engine, Executable, Fixtures, Request, refresh_form, run_with_input,
};

/// A process at its loudest, the secrets it was told, and the answers it gave.
struct Scene {
    process: Executable,
    database: Database,
    fixtures: &'static Fixtures,
    secrets: Secrets,
    answers: Vec<u8>,
}

impl Scene {
    async fn new(further: &[&str]) -> Self {
        let (mut database, fixtures) = Database::filled(ENGINE).await;
        let mut secrets = Secrets::default();
        if ENGINE == Engine::Postgres {
            let password = percent_encode(&secrets.make("the password of the database"));
            database.url = database.url.replacen('@', &format!(":{password}@"), 1);
        }
        secrets.add("the password", PASSWORD);
        secrets.add("the password of zo\u{e9}", PASSWORD_OF_ZOE);
        for client in ["web", "other", "post-only", "rs1"] {
            secrets.add(&format!("the secret of {client}"), fixtures.secret(client));
        }
        let master = std::fs::read(&fixtures.master_key).expect("the master key");
        let master: serde_json::Value = serde_json::from_slice(&master).expect("JSON");
        secrets.add("the master key", decoded(master["k"].as_str().expect("a key")));
        // What is kept of secrets is nobody's business either.
        for (name, sql) in [
            ("a hash", "SELECT password_hash FROM users"),
            ("a sealed key", "SELECT sealed_key FROM keys"),
        ] {
            for row in database.query(sql).await {
                secrets.add(name, row[0].as_deref().expect("text"));
            }
        }
        let own_url = database.url.clone();
        if ENGINE == Engine::Postgres {
            // The driver writes more about statements that it prepares.
            database.url += "?statements=prepared";
        }
        let process = Executable::serve_on(&database, fixtures, further);
        database.url = own_url;
        Self { process, database, fixtures, secrets, answers: Vec::new() }
    }

    fn post(&self, target: &str) -> Request {
        Request::new(self.process.public, "POST", target)
    }

    fn post_as(&self, client: &str, target: &str, form: &str) -> Request {
        self.post(target).form(form).basic(client, self.fixtures.secret(client))
    }

    /// Sends a request, and keeps the answer for the search unless it is the one that has tokens.
    async fn send(&mut self, request: Request) -> Reply {
        let reply = request.send().await;
        if reply.status != 200 || !reply.text().contains("access_token") {
            self.keep(&reply);
        }
        reply
    }

    fn keep(&mut self, reply: &Reply) {
        self.answers.extend(format!("{:?}\n", reply.headers).into_bytes());
        self.answers.extend(&reply.content);
    }

    /// Logs in, and notes the tokens as secrets.
    async fn log_in(&mut self, request: Request) -> (String, String) {
        let reply = self.send(request).await;
        let (access, refresh) = (reply.access_token(), reply.refresh_token());
        let signature = access.rsplit('.').next().expect("a signature");
        for (name, text) in [("an access token", signature), ("a refresh token", &refresh)] {
            self.secrets.add(name, text);
            self.secrets.add(name, decoded(text));
        }
        (access, refresh)
    }

    /// Stops the process, and asserts that none of the secrets is anywhere.
    async fn assert_silent(mut self, further: &[(&str, Vec<u8>)]) {
        for path in ["/metrics", "/readyz", "/livez"] {
            let reply = Request::new(self.process.management, "GET", path).send().await;
            self.keep(&reply);
        }
        let environment = self.process.process_file("environ").unwrap_or_default();
        // The operator put the address of the database there.
        let url = &self.database.url;
        let arguments = self.process.process_file("cmdline").expect("a process that runs");
        let arguments = String::from_utf8(arguments).expect("text");
        let arguments = arguments.replace(url, "").into_bytes();
        let log = self.process.stop_and_read_log();
        assert!(log.contains("\"stopped\""), "it is the whole log");
        let mut places = vec![
            ("the log", log.into_bytes()),
            ("the answers", self.answers),
            ("the arguments of the process", arguments),
            ("the environment of the process", environment),
        ];
        places.extend(further.iter().cloned());
        self.secrets.assert_absent(&places);
    }
}

/// RFC 6750 §5.3, RFC 9110 §17.9, ASVS 14.2.1, 16.2.5: what is presented rightly is not logged,
/// answered, counted or stored, however loud the log of the service and of all its libraries is.
/// [H-32] [S-03] [S-20]
#[tokio::test]
async fn what_is_presented_rightly_stays_secret() {
    let mut scene = Scene::new(&["--log", "trace"]).await;
    let form = login_form("alice", PASSWORD);
    let (access, refresh) = scene.log_in(scene.post_as("web", "/token", &form)).await;
    let in_form =
        format!("{form}&client_id=post-only&client_secret={}", scene.fixtures.secret("post-only"));
    scene.log_in(scene.post("/token").form(&in_form)).await;
    let zoe = login_form("zo\u{e9}", PASSWORD_OF_ZOE);
    scene.log_in(scene.post_as("web", "/token", &zoe).chunked()).await;
    let (second, next) =
        scene.log_in(scene.post_as("web", "/token", &refresh_form(&refresh))).await;
    for token in [&access, &second, &next, &refresh] {
        for client in ["rs1", "web"] {
            let form = format!("token={token}");
            scene.send(scene.post_as(client, "/introspect", &form)).await;
        }
    }
    // Another client's, and a use too many, which ends the session.
    let (_, last) = scene.log_in(scene.post_as("web", "/token", &refresh_form(&next))).await;
    for (client, token) in [("other", &last), ("web", &refresh), ("web", &last)] {
        let reply = scene.send(scene.post_as(client, "/token", &refresh_form(token))).await;
        assert_eq!(reply.error(), "invalid_grant", "{client}");
        scene.send(scene.post_as(client, "/revoke", &format!("token={token}"))).await;
    }
    // The log is at its loudest.
    while !scene.process.log().contains("introspected") {
        tokio::task::yield_now().await;
    }
    // A command of the operator, by the way.
    let password = scene.secrets.make("a new password");
    let arguments = ["user", "passwd", "alice", "--password-stdin", "--scrypt", SCRYPT];
    let arguments = [&arguments[..], &["--database", &scene.database.url]].concat();
    let output = run_with_input(&arguments, &format!("{password}\n"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = [output.stdout, output.stderr].concat();
    scene.log_in(scene.post_as("web", "/token", &login_form("alice", &password))).await;
    scene.process.signal("HUP");

    let kept = everything_in(&scene.database).await;
    let mut in_database = Secrets::default();
    in_database.add("a token", decoded(&last));
    in_database.add("the new password", &password);
    in_database.add("the password of zo\u{e9}", PASSWORD_OF_ZOE);
    for client in ["web", "other", "post-only", "rs1"] {
        in_database.add("a client's secret", scene.fixtures.secret(client));
    }
    for token in [&refresh, &next, &access, &second] {
        in_database.add("a token", token.rsplit('.').next().expect("a part"));
    }
    in_database.assert_absent(&[("the database", kept)]);
    scene.assert_silent(&[("the command", printed)]).await;
}

impl Scene {
    /// Sends secrets where they do not belong, or beside what makes the request unusable.
    async fn misplace(&mut self) {
        let web = self.fixtures.secret("web");
        let alice = login_form("alice", PASSWORD);
        for (name, form) in [
            ("a password for a name", "grant_type=password&password=x&username="),
            (
                "a password for an impossible name",
                "grant_type=password&password=x&username=%E2%88%9E",
            ),
            ("a wrong password", "grant_type=password&username=alice&password="),
            ("a password of nobody", "grant_type=password&username=nobody&password="),
            (
                "a password with an impossible character",
                "grant_type=password&username=a&password=%0A",
            ),
            ("a password before a broken escape", "username=alice&x=%zz&password="),
            ("a password sent twice", "password=x&grant_type=password&username=alice&password="),
            ("a password as a grant", "username=alice&password=x&grant_type="),
            ("a password as a scope", "grant_type=password&username=alice&password=x&scope="),
            ("a password as a resource", "grant_type=password&username=alice&password=x&resource="),
            ("a password as a client", "grant_type=password&username=alice&password=x&client_id="),
            ("a password under another name", "grant_type=password&username=alice&passwd="),
            ("a made-up refresh token", "grant_type=refresh_token&refresh_token="),
            ("a made-up token", "token="),
            ("a made-up hint", "token=x&token_type_hint="),
            ("a made-up assertion", "client_assertion_type=x&client_assertion="),
            ("a wrong secret", "client_id=web&client_secret="),
        ] {
            let secret = percent_encode(&self.secrets.make(name));
            for target in ["/token", "/introspect", "/revoke"] {
                let form = format!("{form}{secret}");
                self.send(self.post(target).form(&form).basic("web", web)).await;
                self.send(self.post(target).form(&form)).await;
            }
        }
        for name in ["Cookie", "Referer", "X-Forwarded-For", "Origin", "Host", "Content-Type"] {
            let secret = percent_encode(&self.secrets.make(&format!("a secret in {name}")));
            let request = self.post("/token").form(&alice).without(name).header(name, &secret);
            self.send(request.basic("web", web)).await;
        }
        for scheme in ["Basic", "Bearer", "Digest", "basic x"] {
            let secret = percent_encode(&self.secrets.make("a malformed header"));
            let header = format!("{scheme} {secret}");
            self.send(self.post("/token").form(&alice).header("Authorization", &header)).await;
        }
        for client in ["web", "nobody", ""] {
            let secret = self.secrets.make("a wrong client secret");
            self.send(self.post("/token").form(&alice).basic(client, &secret)).await;
            self.send(self.post("/introspect").form("token=x").basic(&secret, client)).await;
        }
    }

    /// Sends secrets in what is no form, no path or no HTTP at all.
    async fn mangle(&mut self) {
        let public = self.process.public;
        for path in ["/token?password=", "/token/", "/", "/introspect?token=", "/revoke?token="] {
            let target = format!("{path}{}", percent_encode(&self.secrets.make("in an address")));
            for method in ["GET", "POST", "OPTIONS", "PUT"] {
                self.send(Request::new(public, method, &target).form("")).await;
            }
        }
        for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x"] {
            let secret = self.secrets.make("in another media type");
            let content = format!("{{\"username\":\"alice\",\"password\":\"{secret}\"}}");
            let request = self.post("/token").header("Content-Type", content_type);
            self.send(request.content(content)).await;
        }
        let secret = percent_encode(&self.secrets.make("in too large a form"));
        let large = format!("password={secret}&x=").repeat(1_000);
        self.send(self.post("/token").form(&large)).await;
        self.send(self.post("/token").form(&large).chunked()).await;
        self.send(self.post("/token").form(&format!("password={}", secret.repeat(40)))).await;
        let secret = percent_encode(&self.secrets.make("in what is no HTTP"));
        let method = secret.replace('%', "");
        self.secrets.add("in a method", &method);
        self.send(Request::new(public, &method, "/token").form("")).await;
        for octets in [
            format!("POST /token?{secret} HTTP/9.9\r\nHost: {public}\r\n\r\n"),
            format!("POST /token HTTP/1.1\r\nHost: {public}\r\n{secret}\r\n\r\n"),
            format!("POST /token HTTP/1.1\r\nHost: {public}\r\nContent-Length: {secret}\r\n\r\n"),
            format!("POST /token HTTP/1.1\r\nTransfer-Encoding: {secret}\r\n\r\n"),
            format!("{secret}\r\n\r\n"),
        ] {
            for reply in exchange(public, octets.as_bytes(), false).await {
                self.keep(&reply);
            }
        }
        // A caller that hangs up before the content is whole.
        let mut cut = self.post("/token").form(&format!("password={secret}&x=")).octets();
        cut.truncate(cut.len() - 2);
        let mut stream = tokio::net::TcpStream::connect(public).await.expect("it listens");
        tokio::io::AsyncWriteExt::write_all(&mut stream, &cut).await.expect("it is taken");
    }
}

/// ASVS 14.2.1, 16.2.5, 16.5.1; RFC 9110 §17.9: a secret in a wrong place, such as a password typed
/// as a name or sent in the address, or in a request that cannot be understood, is repeated nowhere.
/// [H-32] [TE-10]
#[tokio::test]
async fn what_is_presented_wrongly_stays_secret() {
    let mut scene = Scene::new(&["--log", "trace"]).await;
    scene.misplace().await;
    scene.mangle().await;
    scene.assert_silent(&[]).await;
}

/// ASVS 16.2.5, 16.5.1: a row that nobody can read is told of without what stands in it. [TE-13]
#[tokio::test]
async fn what_is_corrupt_stays_secret() {
    let mut scene = Scene::new(&["--log", "trace"]).await;
    for (column, form) in [
        ("users SET password_hash", login_form("alice", PASSWORD)),
        ("users SET roles", login_form("bob", PASSWORD)),
        ("clients SET settings", login_form("zo\u{e9}", PASSWORD_OF_ZOE)),
        ("keys SET sealed_key", login_form("zo\u{e9}", PASSWORD_OF_ZOE)),
    ] {
        let secret = scene.secrets.make(column);
        scene.database.query(&format!("UPDATE {column} = '{secret}'")).await;
        let reply = scene.send(scene.post_as("web", "/token", &form)).await;
        let fails = !column.starts_with("keys");
        assert!(fails || reply.status >= 500, "{column}: {}", reply.text());
        scene.process.signal("HUP");
    }
    scene.assert_silent(&[]).await;
}
