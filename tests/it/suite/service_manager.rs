//! What the service tells a service manager, by the protocol of `sd_notify(3)`.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;
use crate::harness::{Database, Executable, Fixtures};

/// The longest that a message may be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn listen(database: &Database) -> Self {
        let path = database.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        Self { socket, path }
    }

    fn start(&self, database: &Database, fixtures: &Fixtures) -> Executable {
        let master_key = fixtures.master_key.display().to_string();
        let place = ["--database", &database.url, "--master-key-file", &master_key];
        let told = format!("NOTIFY_SOCKET={}", self.path);
        let all = [&place[..], &["--issuer", "http://localhost"]].concat();
        let started = Executable::try_serve_by(&["env", &told], &all);
        started.unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// The next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4_096];
        let length = self.socket.recv(&mut buffer).expect("it tells");
        String::from_utf8(buffer[..length].to_vec()).expect("UTF-8")
    }
}

/// The monotonic clock, in microseconds.
fn monotonic() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// The service says that it is ready when it answers, that it reloads and when that is done, and that it stops:
/// what systemd asks of `Type=notify` and `Type=notify-reload`.
#[tokio::test]
async fn the_service_manager_is_told() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let manager = Manager::listen(&database);
    let mut service = manager.start(&database, fixtures);
    let starting = manager.next();
    assert!(starting.starts_with("STATUS=Starting") && !starting.contains("READY"), "{starting}");
    assert_eq!(manager.next().trim_end(), "READY=1\nSTATUS=Serves http://localhost");
    readiness(service.management).await;

    for _ in 0..2 {
        let before = monotonic();
        service.signal("HUP");
        let reloading = manager.next();
        let mut lines = reloading.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"));
        let at = lines.next().and_then(|line| line.strip_prefix("MONOTONIC_USEC="));
        let at: i64 = at.expect("when").parse().expect("a number");
        assert!((before..=monotonic()).contains(&at), "{reloading}");
        assert!(manager.next().starts_with("READY=1\n"));
    }

    service.signal("TERM");
    assert!(manager.next().starts_with("STOPPING=1\nSTATUS=Stops"));
    assert_eq!(service.wait(), Some(0));
}

/// A service manager that does not listen any more keeps nobody from serving: it is warned of.
#[tokio::test]
async fn a_service_manager_that_is_gone_is_warned_of() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let manager = Manager::listen(&database);
    std::fs::remove_file(&manager.path).expect("a socket");
    let mut service = manager.start(&database, fixtures);
    readiness(service.management).await;
    let log = service.stop_and_read_log();
    assert!(log.contains("NOTIFY_SOCKET") && log.contains("\"WARN\""), "{log}");
}
