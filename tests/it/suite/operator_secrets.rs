//! Secrets of operators never show either: what they mistype, and the keys of the listener. They are
//! looked for in every spelling that `harness/leaks.rs` knows.

use std::process::{Command, Output};

use super::*;
use crate::harness::executable::{run_with_environment, serve_in_vain};
use crate::harness::leaks::Secrets;
use crate::harness::{Database, Executable, refresh_form, run, run_with_input};

/// All that a command said and printed.
fn printed(output: Output) -> Vec<u8> {
    [output.stdout, output.stderr].concat()
}

/// ASVS 13.3.1, 16.5.1: the URL of a database has a password. Whatever is wrong with the URL, and
/// wherever it is set, the password is not shown. [H-32]
#[tokio::test]
async fn the_password_of_the_database_is_not_shown() {
    let mut secrets = Secrets::default();
    let mut places = Vec::new();
    for (before, after) in [
        ("postgres://user:", "@127.0.0.1:1/name"),
        ("postgres://user:", "@127.0.0.1:port/name"),
        ("postgres://user:", "@127.0.0.1"),
        ("postgres://user:", "@no.host.of.that.name.invalid/name"),
        ("postgres://user:", "?@127.0.0.1:1/name"),
        ("postgres://user:p?", "@127.0.0.1:1/name"),
        ("postgres://user:", "#@127.0.0.1:1/name"),
        ("postgres://user:p@", "@127.0.0.1:1/name"),
        ("postgres://user:", "@127.0.0.1:1/name?nonsense=1"),
        ("postgres://user:", "@127.0.0.1:1/name?sslmode=always"),
        ("postgres://127.0.0.1:1/name?user=user&password=", ""),
        ("postgres://127.0.0.1:1/name?user=user&password=p@", ""),
        ("mysql://user:", "@127.0.0.1:1/name"),
        ("Postgres://user:", "@127.0.0.1:1/name"),
        ("host=127.0.0.1 port=1 user=user password=", ""),
        ("postgres://user:", "/name"),
        ("postgres://user:", ""),
        ("postgres://user:p?", ""),
        ("postgres://user:p#", "@127.0.0.1:1/name"),
        ("postgres://127.0.0.1:1/name?user=user&password=p&", "=1"),
        ("postgres://127.0.0.1:1/name?user=user&password=p&", ""),
        ("postgresql+asyncpg://user:", "@127.0.0.1:1/name"),
        ("postgres//user:", "@127.0.0.1:1/name"),
    ] {
        let password = format!("Zqx{:016x}", rand::random::<u64>());
        secrets.add(&format!("the password in {before}…{after}"), &password);
        let url = format!("{before}{password}{after}");
        for arguments in [&["user", "list"][..], &["check"], &["db", "status"]] {
            let output = run(&[arguments, &["--database", &url]].concat());
            assert_ne!(output.status.code(), Some(0), "{url}");
            places.push(("a command", printed(output)));
            let set = [("JETON_DATABASE", url.as_str())];
            places.push(("a command", printed(run_with_environment(arguments, &set))));
            let help = [arguments, &["--help"]].concat();
            places.push(("the help", printed(run_with_environment(&help, &set))));
        }
        let (code, log) = serve_in_vain(&["--database", &url, "--log", "trace"]);
        assert_ne!(code, Some(0), "{log}");
        places.push(("the log", log.into_bytes()));
    }
    secrets.assert_absent(&places);
}

/// ASVS 13.3.1, 16.5.1: a password that is refused, and a key that cannot be read, are not repeated.
/// [H-32]
#[tokio::test]
async fn what_a_command_refuses_is_not_repeated() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master = fixtures.master_key.display().to_string();
    let mut secrets = Secrets::default();
    let mut places = Vec::new();
    let mut refuse = |arguments: &[&str], input: &str| {
        let settings = ["--database", &database.url];
        let output = run_with_input(&[arguments, &settings].concat(), input);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        places.push(("a command", printed(output)));
    };
    for password in ["Zqx-short-one!", "Zqx with\ta tabulator", "alicealicealicealice"] {
        if !password.starts_with("alice") {
            secrets.add("a password", password);
        }
        for act in ["add", "passwd"] {
            refuse(&["user", act, "alice", "--password-stdin"], &format!("{password}\n"));
        }
    }
    let overlong = "Zqx tulip harbour ".repeat(100);
    secrets.add("an overlong password", &overlong[..36]);
    refuse(&["user", "passwd", "alice", "--password-stdin"], &overlong);
    for option in ["--password", "--passwd", "--secret", "--client-secret"] {
        let secret = secrets.make("a password in an argument");
        for act in [["user", "add", "carol"], ["user", "passwd", "alice"], ["client", "add", "c"]] {
            refuse(&[&act[..], &[option, &secret]].concat(), "");
            refuse(&[&act[..], &[&format!("{option}={secret}")]].concat(), "");
        }
    }
    // Keys: one of another kind, and good ones cut short.
    let key = openssl::rsa::Rsa::generate(2_048).expect("a key");
    let pem = key.private_key_to_pem().expect("PEM");
    let pem = String::from_utf8(pem).expect("text");
    secrets.add("a private key", key.d().to_vec());
    secrets.add("a line of a key", pem.lines().nth(9).expect("a line"));
    let jwk = format!("{{\"kty\":\"RSA\",\"d\":\"{}", encoded(&key.d().to_vec()));
    for text in [&pem[..pem.len() / 2], &jwk, &format!("{jwk}\"}}")] {
        refuse(&["key", "import", "-", "--yes", "--master-key-file", &master], text);
    }
    let octets = b"Zqx: 32 octets of a master key!!".to_vec();
    secrets.add("a master key", &octets);
    for text in [
        format!("{{\"kty\":\"oct\",\"kid\":\"x\",\"k\":\"{}\"}}", encoded(&octets)),
        format!("{{\"kty\":\"oct\",\"kid\":\"x\",\"k\":[\"{}\"]}}", encoded(&octets)),
        format!("{{\"kty\":\"oct\",\"kid\":\"x\",\"{}\":1,\"k\":\"\"", encoded(&octets)),
        encoded(&octets),
    ] {
        let file = database.path("other.jwk");
        std::fs::write(&file, text).expect("a file");
        use_only(&file);
        refuse(&["key", "rotate", "--yes", "--master-key-file", &file], "");
        refuse(&["check", "--master-key-file", &file], "");
        // The same file in the place of the key of the listener.
        refuse(&["check", "--tls-certificate", &file, "--tls-key", &file], "");
    }
    secrets.assert_absent(&places);
}

/// ASVS 16.5.1: a file of users has hashes and passwords in it, in any place if columns are mixed up or the header is
/// missing. What is said of it names places. [H-32]
#[tokio::test]
async fn nothing_of_a_file_of_users_is_repeated() {
    let (database, _) = Database::filled(ENGINE).await;
    let mut secrets = Secrets::default();
    let mut places = Vec::new();
    let good = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
    let columns = ["username", "password_hash", "sub", "scope", "role", "disabled", "mfa_required"];
    let usual = ["anna", good, "", "read", "admin", "false", "0"];
    let mut make = |beginning: &str| {
        let secret = format!("{beginning}Zqx{:016x}", rand::random::<u64>());
        secrets.add("a secret of the file", &secret);
        secret
    };
    let mut files: Vec<String> = Vec::new();
    for beginning in ["", "$2b$10$", "{noop}"] {
        // Without a header, as the only line and as the first; as a name of a column.
        let (first, second) = (make(beginning), make(beginning));
        files.push(format!("anna,{first}\n"));
        files.push(format!("{first},anna\nbert,{second}\n"));
        files.push(format!("username,{first},{first}\nanna,{good},x\n"));
        files.push(format!("anna:{first}\nbert:{second}\n"));
        files.push(format!("{first}\n{second}"));
        // In each place of a line, alone and twice, and in a line that is too long.
        for at in 0..columns.len() {
            let secret = make(beginning);
            let line = |value: &str| {
                let mut cells = usual.map(str::to_owned);
                value.clone_into(&mut cells[at]);
                cells.map(|cell| format!("\"{cell}\"")).join(",")
            };
            let odd = line(&format!("{secret} \u{1}"));
            let header = columns.join(",");
            files.push(format!("{header}\n{}\n{}\n{odd}\n", line(&secret), line(&secret)));
            files.push(format!("{header}\n{},{secret}\n", line("x")));
            let value = |value: &str| {
                let mut object = serde_json::Map::new();
                for (name, own) in columns.iter().zip(usual) {
                    object.insert((*name).to_owned(), own.into());
                }
                object[columns[at]] = value.into();
                serde_json::Value::Object(object)
            };
            let (one, list) =
                (value(&secret), serde_json::json!([value(&secret), value(&secret), secret]));
            files.push(format!(
                "{one}\n{one}\n\"{secret}\"\n[\"{secret}\"]\n{{\"{secret}\":1,\"{secret}\":2}}\n"
            ));
            files.push(format!("{{}}\n{{\"username\": {secret}}}\n{{\"{secret}\"\n{secret}\n"));
            files.push(list.to_string());
            files.push(serde_json::to_string_pretty(&list).expect("JSON"));
            files.push(list.to_string().replace(']', &format!("] {secret}")));
        }
    }
    let url = &database.url;
    for file in &files {
        for options in [&["--dry-run"][..], &["--dry-run", "--json", "--column", "sub=id"]] {
            let arguments = [&["user", "import", "-", "--database", url], options].concat();
            places.push(("an import", printed(run_with_input(&arguments, file))));
        }
    }
    secrets.assert_absent(&places);
}

/// ASVS 13.3.1: a key in the place of the name of its file, a value of the environment that cannot be taken and
/// a word too many are not repeated. [H-32]
#[tokio::test]
async fn settings_that_cannot_be_taken_are_not_repeated() {
    let database = Database::empty(ENGINE).await;
    let mut secrets = Secrets::default();
    let mut places = Vec::new();
    let key = openssl::rsa::Rsa::generate(2_048).expect("a key").private_key_to_pem().expect("PEM");
    let pem = String::from_utf8(key).expect("text");
    secrets.add("a line of a key", pem.lines().nth(9).expect("a line"));
    let octets = encoded(b"Zqx: 32 octets of a master key!!");
    secrets.add("a master key", &octets);
    let jwk = format!("{{\"kty\":\"oct\",\"k\":\"{octets}\"}}");
    for name in ["MASTER_KEY_FILE", "TLS_KEY"] {
        for value in [pem.trim(), &jwk, &octets] {
            let variable = format!("JETON_{name}");
            let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
            let tls = ("JETON_TLS_CERTIFICATE", "/no/such/file");
            let set = [(variable.as_str(), value), tls];
            let set = if name == "TLS_KEY" { &set[..] } else { &set[..1] };
            let output = run_with_environment(&["check"], set);
            assert_ne!(output.status.code(), Some(0));
            places.push(("a command", printed(output)));
            let certificate = ["--tls-certificate", "/no/such/file"];
            let further = if name == "TLS_KEY" { &certificate[..] } else { &[] };
            places.push(("a command", printed(run(&[&["check", &flag, value], further].concat()))));
        }
    }
    for name in ["ISSUER", "LISTEN", "SCRYPT", "CORS_ORIGIN", "TRUSTED_PROXY", "LOG", "HASH_MEMORY"]
    {
        let secret = format!("https://user:{:016x}@host/*", rand::random::<u64>());
        secrets.add(name, &secret[13..29]);
        let variable = format!("JETON_{name}");
        let set = [(variable.as_str(), secret.as_str())];
        let output = run_with_environment(&["serve", "--database", &database.url], &set);
        assert_ne!(output.status.code(), Some(0), "{name}");
        places.push(("a command", printed(output)));
    }
    for arguments in [&["doctor"][..], &["serve", "--cors-origin"], &["check", "--issuer"]] {
        let secret = format!("http://user:Zqx{:016x}@127.0.0.1:1/*", rand::random::<u64>());
        secrets.add("a password in a URL", &secret[12..31]);
        // `jeton check` shows its settings on standard output.
        places.push(("a command", run(&[arguments, &[&secret]].concat()).stderr));
    }
    for arguments in
        [&["user", "add", "anna"][..], &["user", "passwd", "anna"], &["client", "add", "c"]]
    {
        let secret = secrets.make("a word too many");
        places.push(("a command", printed(run(&[arguments, &[&secret]].concat()))));
    }
    secrets.assert_absent(&places);
}

fn encoded(octets: &[u8]) -> String {
    crate::harness::forge::encode(octets)
}

/// Lets nobody but the owner read a file.
fn use_only(file: &str) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(file, mode).expect("a file of ours");
}

/// RFC 6749 §10.3, RFC 9110 §17.9: TLS and HTTP/2 at their loudest log neither the key of the
/// listener nor what is sent over it, in headers or content. [H-32] [S-03]
#[tokio::test]
async fn http2_and_tls_stay_silent_at_their_loudest() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let (certificate, key) = (database.path("chain.pem"), database.path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"])
        .args(["-days", "2", "-keyout", &key, "-out", &certificate])
        .output()
        .expect("openssl runs");
    assert!(made.status.success());
    let tls = ["--tls-certificate", &certificate, "--tls-key", &key];
    let further = [&tls[..], &["--log", "trace,h2=trace,rustls=trace"]].concat();
    let mut process = Executable::serve_on(&database, fixtures, &further);
    let port = process.public.port();
    let curl = |further: &[&str], path: &str| {
        let url = format!("https://localhost:{port}{path}");
        let output = Command::new("curl")
            .args(["-s", "-k", "-4", "--noproxy", "*", "--http2", "-w", "\n%{http_version}", &url])
            .args(further)
            .output()
            .expect("curl runs: tests/run installs it");
        let text = String::from_utf8(output.stdout).expect("text");
        let (content, version) = text.rsplit_once('\n').expect("a last line");
        assert_eq!(version, "2", "{content}");
        // A head that is too large has an answer without content.
        serde_json::from_str::<serde_json::Value>(content).unwrap_or_default()
    };
    let mut secrets = Secrets::default();
    secrets.add("the password", PASSWORD);
    secrets.add("the client's secret", fixtures.secret("web"));
    let pem = std::fs::read_to_string(&key).expect("the key");
    secrets.add("a line of the key", pem.lines().nth(9).expect("a line"));
    let web = format!("web:{}", fixtures.secret("web"));
    let login = curl(&["-u", &web, "-d", &login_form("alice", PASSWORD)], "/token");
    let refresh = login["refresh_token"].as_str().expect("a token");
    let next = curl(&["-u", &web, "-d", &refresh_form(refresh)], "/token");
    for tokens in [&login, &next] {
        for member in ["access_token", "refresh_token"] {
            let token = tokens[member].as_str().expect("a token");
            secrets.add(member, token.rsplit('.').next().expect("a part"));
            curl(&["-u", &web, "-d", &format!("token={token}")], "/introspect");
        }
    }
    for header in ["Cookie: ", "X-Long: ", "Authorization: Bearer "] {
        let secret = percent_encode(&secrets.make("a secret in a header"));
        curl(&["-H", &format!("{header}{secret}"), "-d", ""], "/token");
        curl(&["-H", &format!("{header}{}", secret.repeat(600)), "-d", ""], "/nothing");
        curl(&["-d", ""], &format!("/token?password={secret}"));
    }
    let log = process.stop_and_read_log();
    assert!(log.contains("\"h2::") && log.contains("\"rustls::"), "they are loud");
    secrets.assert_absent(&[("the log", log.into_bytes())]);
}
