//! A PgBouncer in transaction mode that does not track prepared statements.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

use crate::replica::choose_port;

/// Where Debian has it, which is not on the path of every user.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// Killed when dropped.
pub(crate) struct PgBouncer {
    pub(crate) address: SocketAddr,
    process: Child,
}

impl PgBouncer {
    /// Starts one in front of a server, with its files in this folder, and waits until it listens.
    pub(crate) async fn start(server: SocketAddr, folder: &Path) -> Self {
        let address = choose_port();
        let users = folder.join("users.txt");
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("a file");
        let settings = folder.join("pgbouncer.ini");
        // From 1.21 on it would track prepared statements.
        let untracked = if is_at_least(1, 21) { "max_prepared_statements = 0\n" } else { "" };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = 8\n{untracked}",
            server.port(),
            address.port(),
            users.display()
        );
        std::fs::write(&settings, text).expect("a file");
        let is_root = folder.metadata().expect("a folder").uid() == 0;
        // It refuses to run as root. Debian's package makes this user.
        let as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"];
        let by: &[&str] = if is_root { &as_other } else { &[] };
        let all = [by, &[PROGRAM, "-q"]].concat();
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("pgbouncer runs: tests/packages installs it");
        let bouncer = Self { address, process };
        for _ in 0..100 {
            if TcpStream::connect(address).await.is_ok() {
                return bouncer;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("pgbouncer does not start: tests/packages installs it");
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn is_at_least(major: u32, minor: u32) -> bool {
    let output = Command::new(PROGRAM).arg("--version").output();
    let output = output.expect("pgbouncer runs: tests/packages installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}
