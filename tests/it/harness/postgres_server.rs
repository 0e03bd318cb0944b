//! A PostgreSQL of a test's own, to be killed.

use std::path::PathBuf;
use std::process::Command;

use super::database::new_folder;
use super::tls::Pair;

/// A PostgreSQL that writes through to the disk; stopped and gone when dropped.
pub(crate) struct PostgresServer {
    pub(crate) folder: PathBuf,
    /// The URL of its first database.
    pub(crate) url: String,
}

impl PostgresServer {
    /// Makes and starts a server.
    pub(crate) fn start() -> Self {
        let mut server = Self { folder: new_folder(), url: String::new() };
        server.url = server.run("start", &["durable"]);
        server
    }

    /// Stops the processes where they are: nothing is closed, and nothing answers.
    pub(crate) fn freeze(&self) {
        self.run("freeze", &[]);
    }

    /// Lets the processes go on after [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self) {
        self.run("thaw", &[]);
    }

    /// Kills every process of the server at once.
    pub(crate) fn kill(&self) {
        self.run("kill", &[]);
    }

    /// Starts the server again after it was killed, under the same URL.
    pub(crate) fn restart(&self) {
        assert_eq!(self.run("start", &[]), self.url);
    }

    /// Has the server speak TLS with this certificate; it is started anew under the same URL.
    pub(crate) fn certify(&self, pair: &Pair) {
        let path = |path: PathBuf| path.display().to_string();
        let url = self.run("certify", &[&path(pair.chain()), &path(pair.key())]);
        assert_eq!(url, self.url);
    }

    fn script(&self, act: &str) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres"));
        command.arg(act).arg(&self.folder);
        command
    }

    /// Has `tests/postgres` do something with the server: what it printed.
    pub(crate) fn run(&self, act: &str, further: &[&str]) -> String {
        let output = self.script(act).args(further).output().expect("a shell runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.script("stop").output().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
