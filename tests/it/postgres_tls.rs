//! TLS between the service and PostgreSQL.

use crate::harness::postgres_server::PostgresServer;
use crate::harness::tls::Pair;
use crate::harness::{Executable, Request, run};

/// The URL of the server's first database by another name of the host, with options.
fn url(server: &PostgresServer, host: &str, options: &str) -> String {
    server.url.replace("127.0.0.1", host) + "?" + options
}

/// Whether a command connects to a database; its complaint if not.
fn connects(url: &str) -> Result<(), String> {
    let output = run(&["db", "migrate", "--database", url]);
    match output.status.code() {
        Some(0) => Ok(()),
        code => {
            assert_eq!(code, Some(6));
            Err(String::from_utf8(output.stderr).expect("UTF-8"))
        }
    }
}

/// ASVS 5.0 §12.3.1, §12.3.2: a server with another certificate than the one that was named, or one
/// for another host, or none, is refused where the URL asks for the proof; where it asks for
/// encryption alone, there is encryption. [H-35]
#[test]
fn a_server_with_a_wrong_certificate_is_refused() {
    let server = PostgresServer::start();
    let (right, wrong) = (Pair::new(), Pair::new());
    let by = |pair: &Pair| format!("&sslrootcert={}", pair.chain().display());
    for mode in ["require", "verify-ca", "verify-full"] {
        let options = format!("sslmode={mode}{}", by(&right));
        let complaint = connects(&url(&server, "localhost", &options)).expect_err(mode);
        assert!(complaint.contains("TLS"), "{mode}: {complaint}");
    }
    server.certify(&right);
    for (mode, host, pair, works) in [
        ("verify-full", "localhost", Some(&right), true),
        ("verify-full", "localhost", Some(&wrong), false),
        // The system trusts no certificate of ours.
        ("verify-full", "localhost", None, false),
        // The certificate is for localhost.
        ("verify-full", "127.0.0.1", Some(&right), false),
        ("verify-ca", "127.0.0.1", Some(&right), true),
        ("verify-ca", "localhost", Some(&wrong), false),
        ("require", "localhost", Some(&wrong), false),
        ("require", "localhost", None, true),
    ] {
        let options = format!("sslmode={mode}{}", pair.map(by).unwrap_or_default());
        let outcome = connects(&url(&server, host, &options));
        assert_eq!(outcome.is_ok(), works, "{host} {options}: {outcome:?}");
        if let Err(complaint) = outcome {
            assert!(complaint.contains("certificate verify failed"), "{options}: {complaint}");
        }
    }
}

/// ASVS 5.0 §12.3.2: a service that runs does not go on with a server in whose place another one has
/// come; it does when the right one is back. [H-35]
#[tokio::test]
async fn a_service_does_not_follow_to_another_server() {
    let server = PostgresServer::start();
    let (right, wrong) = (Pair::new(), Pair::new());
    server.certify(&right);
    let roots = format!("sslmode=verify-full&sslrootcert={}", right.chain().display());
    let url = url(&server, "localhost", &roots);
    let master_key = right.path("master.jwk").display().to_string();
    let service = Executable::serve(&["--database", &url, "--master-key-file", &master_key]);
    let ready = Request::new(service.management, "GET", "/readyz");
    while ready.send().await.status != 200 {}
    server.certify(&wrong);
    // One write that fails is no fault yet.
    while ready.send().await.status != 503 {}
    for _ in 0..3 {
        assert_eq!(ready.send().await.status, 503);
    }
    server.certify(&right);
    while ready.send().await.status != 200 {}
}
