//! What no endpoint does, whatever is sent: no statement of a caller's, no connection of a caller's
//! choice, no path beside the documented ones, no token out of a fault.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::forged_token::Forge;
use super::*;
use crate::harness::{Database, Executable, Request, run_with_input};

/// ASVS 11.7.2, 13.3.1: what is in memory does not get into a core dump, whatever limit the process was
/// started under. [S-25]
#[tokio::test]
async fn a_crash_writes_no_memory() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    // Another process under the same limit, which shows whether this machine writes dumps at all.
    let control = Command::new("sh")
        .args(["-c", "ulimit -c unlimited && kill -ABRT $$"])
        .current_dir(&database.folder)
        .stderr(Stdio::null())
        .status();
    let writes_dumps =
        std::os::unix::process::ExitStatusExt::core_dumped(&control.expect("sh runs"));
    let mut process = Executable::serve_on(&database, fixtures, &[]);
    if writes_dumps {
        process.allow_core_dumps();
    }
    assert!(!process.dumps_core());
}

/// What would be a statement, a path, a template or a command to a program that is careless with it.
const INJECTIONS: [&str; 14] = [
    "' OR '1'='1",
    "alice'--",
    "\" OR \"\"=\"",
    "'; DROP TABLE users; --",
    "1); DELETE FROM sessions; --",
    "x' UNION SELECT password_hash FROM users --",
    "\\'; SELECT pg_sleep(60); --",
    "$1",
    "?1",
    "%",
    "{{7*7}}${7*7}",
    "../../../../etc/passwd",
    "$(id)`id`",
    "\u{ff07} OR \u{ff07}1\u{ff07}=\u{ff07}1",
];

/// All that no request here may change.
async fn rows(database: &Database) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for sql in [
        "SELECT * FROM users ORDER BY user_id",
        // When a client was last used is noted for the operator.
        "SELECT client_id, settings, created_at, disabled_at FROM clients ORDER BY client_id",
        "SELECT client_id, secret_number, secret_digest FROM client_secrets ORDER BY 1, 2",
        "SELECT * FROM keys ORDER BY kid",
        "SELECT * FROM sessions ORDER BY session_id",
        "SELECT * FROM schema_migrations ORDER BY 1",
    ] {
        rows.extend(database.query(sql).await);
    }
    rows
}

/// RFC 6819 §5.1.4.1.2, ASVS 1.2.4: what stands in a parameter, a credential or a token of any endpoint
/// is a value and never part of a statement: nothing is granted, changed or broken by it. [S-18]
#[tokio::test]
async fn no_request_is_part_of_a_statement() {
    let proxy = ["--trusted-proxy", "127.0.0.0/8"];
    let jeton = Jeton::start_with(ENGINE, &proxy).await;
    let token = jeton.access_token().await;
    let before = rows(&jeton.database).await;
    let web = jeton.fixtures.secret("web");
    let mut sources = 0x0a00_0001..;
    // Each from an address of its own, so that none is one of too many.
    let mut request = |target: &str, form: &str| {
        let source = std::net::Ipv4Addr::from_bits(sources.next().unwrap_or_default());
        jeton.post(target, form).header("X-Forwarded-For", &source.to_string())
    };
    for injection in INJECTIONS {
        let value = percent_encode(injection);
        let login = login_form("alice", PASSWORD);
        let usual = "grant_type=password&client_id=spa";
        let requests = [
            request("/token", &format!("{usual}&password=x&username={value}")),
            request("/token", &format!("{login}&client_id=spa&scope={value}")),
            request("/token", &format!("{login}&client_id=spa&resource={value}")),
            request("/token", &format!("{login}&client_id={value}")),
            request("/token", &format!("{login}&client_id=web&client_secret={value}")),
            request("/token", &login).basic(&value, &value),
            request("/token", &login).basic("web", &value),
            request("/token", &format!("username=alice&password=x&grant_type={value}")),
            request(
                "/token",
                &format!("client_id=spa&{}{value}", "grant_type=refresh_token&refresh_token="),
            ),
            request("/introspect", &format!("token={token}&client_id={value}")),
            request("/introspect", &format!("token={token}")).basic(&value, &value),
            request("/introspect", &format!("token={value}")).basic("web", web),
            request("/revoke", &format!("token={value}&client_id={value}")),
            request("/revoke", &format!("token={value}&token_type_hint={value}")).basic("web", web),
        ];
        for request in requests {
            let reply = request.send().await;
            let is_nothing = [r#"{"active":false}"#, "{}"].contains(&reply.text());
            assert!(reply.status < 500 && (reply.status >= 400 || is_nothing), "{request:?}");
        }
    }
    assert_eq!(rows(&jeton.database).await, before);
    assert!(jeton.is_active(&token).await);
}

/// ASVS 1.2.4: nor is what stands on a command line: it is a name that nobody has, a value that is kept as
/// it is, or wrong usage. [S-18]
#[tokio::test]
async fn no_argument_is_part_of_a_statement() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master = fixtures.master_key.display().to_string();
    let before = rows(&database).await;
    let command = |arguments: &[&str], input: &str| {
        let place = ["--database", &database.url];
        let output = run_with_input(&[arguments, &place].concat(), input);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!errors.contains("panic") && !errors.contains("syntax error"), "{errors}");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    for injection in INJECTIONS {
        for arguments in [
            &["user", "show", injection][..],
            &["user", "disable", injection],
            &["user", "delete", injection],
            &["user", "passwd", injection, "--password-stdin"],
            &["client", "show", injection],
            &["client", "add", injection, "--public"],
            &["client", "disable", injection],
            &["client", "delete", injection],
            &["client", "secret", "remove", injection, "1"],
            &["session", "list", "--user", injection],
            &["session", "revoke", injection],
            &["key", "revoke", injection, "--yes", "--master-key-file", &master],
        ] {
            let (code, _) = command(arguments, "quiet otter harbour\n");
            assert!(matches!(code, Some(1..=3)), "{arguments:?}: {code:?}");
        }
    }
    assert_eq!(rows(&database).await, before);
    for injection in INJECTIONS {
        let (code, _) = command(&["user", "set", "bob", "--role", injection], "");
        assert_eq!(code, Some(0), "{injection}");
        let (_, shown) = command(&["user", "show", "bob", "--json"], "");
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(shown["roles"], json!([injection]), "kept as it is");
    }
    assert_eq!(command(&["user", "set", "bob", "--role="], "").0, Some(0));
    assert_eq!(rows(&database).await, before);
}

/// ASVS 13.4.2, 6.3.2: a new service knows nobody: no user, no client, none that documents or habits
/// name, and what `jeton demo` has is not there. [S-24]
#[tokio::test]
async fn a_new_service_knows_nobody() {
    let database = Database::empty(ENGINE).await;
    let master = database.path("master.jwk");
    let process = Executable::serve(&["--database", &database.url, "--master-key-file", &master]);
    for table in ["users", "clients", "client_secrets", "sessions"] {
        let rows = database.query(&format!("SELECT * FROM {table}")).await;
        assert_eq!(rows.len(), 0, "{table}");
    }
    for client in ["web", "spa", "demo", "swagger-ui", "admin", "api", "rs1", "jeton", "client"] {
        for (user, password) in [("johndoe", "secret"), ("admin", "admin"), ("root", "root")] {
            let form = login_form(user, password);
            let request = |form: &str| Request::new(process.public, "POST", "/token").form(form);
            let form_with = format!("{form}&client_id={client}");
            for request in [request(&form_with), request(&form).basic(client, password)] {
                let reply = request.send().await;
                // Or that there were too many attempts.
                assert!(matches!(reply.status, 401 | 429), "{client}: {}", reply.text());
            }
        }
    }
}

/// Where others have what nobody should find.
const ELSEWHERE: [&str; 42] = [
    "/",
    "/admin",
    "/admin/",
    "/api",
    "/api/users",
    "/users",
    "/user",
    "/clients",
    "/keys",
    "/key",
    "/sessions",
    "/register",
    "/login",
    "/logout",
    "/authorize",
    "/oauth/token",
    "/userinfo",
    "/debug",
    "/debug/pprof/",
    "/debug/vars",
    "/console",
    "/actuator",
    "/actuator/env",
    "/env",
    "/metrics",
    "/livez",
    "/readyz",
    "/health",
    "/status",
    "/docs",
    "/openapi.json",
    "/swagger",
    "/demo",
    "/test",
    "/.env",
    "/.git/config",
    "/config",
    "/backup",
    "/jeton.db",
    "/sql",
    "/keys/master.jwk",
    "/.well-known/security.txt",
];

/// ASVS 8.2.1, 13.4.5, 15.2.3; RFC 9700 §4.11: the public listener has the paths of the protocol and no
/// other, by no method; no credential opens one, nothing sends a caller elsewhere, and each listener is
/// a port of its own. [S-12] [S-24] [S-27]
#[tokio::test]
async fn there_is_nothing_beside_the_protocol() {
    let jeton = jeton().await;
    let web = jeton.fixtures.secret("web");
    let elsewhere = format!("next={}", percent_encode("https://evil.example/"));
    for path in ELSEWHERE {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LINK"]
        {
            let request = jeton.request(method, &format!("{path}?{elsewhere}"));
            let reply = request.basic("web", web).form("").send().await;
            assert_eq!((reply.status, reply.has("location")), (404, false), "{method} {path}");
        }
    }
    for (path, methods) in [
        ("/token", "POST, OPTIONS"),
        ("/introspect", "POST, OPTIONS"),
        ("/revoke", "POST, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
        ("/.well-known/openid-configuration", "GET, HEAD, OPTIONS"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "LINK"] {
            let reply = jeton.request(method, &format!("{path}?{elsewhere}")).send().await;
            assert!(!reply.has("location") && !reply.has("refresh"), "{method} {path}");
            if !methods.contains(method) {
                reply.assert_error(405, "invalid_request");
                assert_eq!(reply.header("allow"), methods, "{path}");
            }
        }
    }
    assert_ne!(jeton.service.public.port(), jeton.service.management.port());
    for path in ELSEWHERE.iter().filter(|path| !["/metrics", "/livez", "/readyz"].contains(path)) {
        assert_eq!(jeton.manage(path).send().await.status, 404, "{path}");
    }
}

/// RFC 8725 §3.10, ASVS 1.3.6: no address that a caller names is ever connected to, wherever it stands.
/// [S-23]
#[tokio::test]
async fn no_address_of_a_caller_is_visited() {
    let visited = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    visited.set_nonblocking(true).expect("a setting");
    let url = format!("http://{}/keys", visited.local_addr().expect("an address"));
    let forge = Forge::new().await;
    for name in ["jku", "x5u", "kid", "jwk", "x5c", "url"] {
        for value in [json!(url), json!([url]), json!({ "jku": url })] {
            forge.assert_useless(name, &forge.under(&forge.header_with(name, value))).await;
        }
    }
    for name in ["iss", "aud", "sid", "client_id", "jti"] {
        let mut claims = forge.claims.clone();
        claims[name] = json!(url);
        forge.introspect(&forge.key.sign_claims(&claims)).await;
    }
    let value = percent_encode(&url);
    for name in ["resource", "client_id", "scope", "redirect_uri", "request_uri", "jwks_uri"] {
        let form = format!("{}&{name}={value}", login_form("alice", PASSWORD));
        for path in ["/token", "/introspect", "/revoke"] {
            forge.jeton.post(path, &form).send().await;
            forge.jeton.post_as("web", path, &format!("{form}&token={value}")).send().await;
        }
    }
    for name in ["Origin", "Referer", "Forwarded", "X-Forwarded-Host", "Link", "X-Forwarded-For"] {
        let form = login_form("alice", PASSWORD);
        forge.jeton.post_as("web", "/token", &form).header(name, &url).send().await;
    }
    let metadata = format!("/.well-known/jwks.json?url={value}");
    forge.jeton.request("GET", &metadata).send().await;
    let accepted = visited.accept().map(|(_, address)| address);
    assert!(accepted.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}
