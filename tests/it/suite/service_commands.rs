//! The command line: what helps to run the service.

use super::*;
use crate::harness::executable::run_with_environment;
use crate::harness::{Database, Executable, run};

/// The help documents each setting with the environment variable that stands for it.
#[tokio::test]
async fn every_setting_is_a_flag_and_a_variable_of_one_name() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).expect("UTF-8");
    let (_, options) = help.split_once("Options:").expect("a list of options");
    let mut count = 0;
    for entry in options.split("\n      --").skip(1) {
        let name = entry.split([' ', '\n']).next().expect("a name");
        let variable = format!("[env: JETON_{}", name.to_uppercase().replace('-', "_"));
        let documented = ["=", "]"].iter().any(|end| entry.contains(&format!("{variable}{end}")));
        assert!(documented || name.starts_with("help"), "--{name} documents {variable}");
        count += 1;
    }
    assert!(count >= 18, "{options}");
}

/// `jeton healthcheck` is 0 for a service that is ready, and otherwise 1 with the reason.
#[tokio::test]
async fn healthcheck_asks_a_running_service() {
    use std::io::{Read, Write};
    let (database, fixtures) = Database::filled(ENGINE).await;
    let master_key = fixtures.master_key.display().to_string();
    let arguments = ["--database", &database.url, "--master-key-file", &master_key];
    let mut service = Executable::serve(&arguments);
    let address = service.management.to_string();
    readiness(service.management).await;
    let ask = ["healthcheck", "--management-listen", &address];
    let output = run(&ask);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let everywhere = format!("0.0.0.0:{}", service.management.port());
    let variable = [("JETON_MANAGEMENT_LISTEN", &*everywhere)];
    assert_eq!(run_with_environment(&["healthcheck"], &variable).status.code(), Some(0));
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));

    let output = run(&ask);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    for part in [&*address, "--management-listen", "is the service running?"] {
        assert!(errors.contains(part), "{errors}");
    }

    let unready = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unready.local_addr().expect("an address").to_string();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = unready.accept().expect("a connection");
        let mut head = [0; 4_096];
        let length = stream.read(&mut head).expect("a request");
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno database").ok();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let output = run(&["healthcheck", "--management-listen", &address]);
    assert!(answering.join().expect("no panic").starts_with("GET /readyz HTTP/1.1\r\n"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not ready: no database"));
}
