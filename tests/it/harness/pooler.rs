//! PgBouncer before a server, in transaction mode: each transaction may run on another connection to it.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::database::new_folder;

/// A pooler; gone when dropped.
pub(crate) struct Pooler {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Pooler {
    /// Starts a pooler before the server of this URL, with two connections to it for each database.
    pub(crate) fn start(url: &str) -> Self {
        let server = authority(url).parse::<SocketAddr>().expect("an address");
        let folder = new_folder();
        for _ in 0..20 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("an address");
            drop(free);
            let mut child = run(&folder, address, server);
            // It ends if somebody else took the port meanwhile.
            while child.try_wait().expect("a child of ours").is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self { child, folder, address };
                }
            }
        }
        panic!("PgBouncer does not start");
    }

    /// The URL of a database of the server, through the pooler.
    pub(crate) fn before(&self, url: &str) -> String {
        url.replace(authority(url), &self.address.to_string())
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split('@').nth(1).expect("a URL with a user");
    rest.split('/').next().expect("it has a first part")
}

fn run(folder: &Path, address: SocketAddr, server: SocketAddr) -> Child {
    let settings = folder.join("pgbouncer.ini");
    let mut file = std::fs::File::create(&settings).expect("a file");
    write!(
        file,
        "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = {}\n\
         listen_port = {}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = 2\nmax_client_conn = 200\n",
        server.ip(),
        server.port(),
        address.ip(),
        address.port()
    )
    .expect("it can be written");
    let mut command = Command::new("pgbouncer");
    // It refuses to run as root.
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        command.args(["-u", "nobody"]);
    }
    command.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("tests/run installs it")
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
