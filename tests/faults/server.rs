//! What is done to a PostgreSQL server beside killing it.

use crate::harness::database::new_folder;
use crate::harness::postgres_server::PostgresServer;

impl PostgresServer {
    /// Makes and starts a server with the data of another one that was stopped.
    pub(crate) fn copy_of(stopped: &Self) -> Self {
        let mut server = Self { folder: new_folder(), url: String::new() };
        server.run("copy", &[&stopped.folder.display().to_string()]);
        server.url = server.run("start", &[]);
        server
    }

    /// Makes and starts a standby of this server.
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self { folder: new_folder(), url: String::new() };
        standby.url = standby.run("standby", &[&self.url]);
        standby
    }

    /// Makes a primary of this standby.
    pub(crate) fn promote(&self) {
        self.run("promote", &[]);
    }

    /// Ends the server, and keeps its data.
    pub(crate) fn stop(&self) {
        self.run("stop", &[]);
    }

    /// `HOST:PORT` of its URL.
    pub(crate) fn address(&self) -> &str {
        let address = self.url.split('@').nth(1).and_then(|rest| rest.split('/').next());
        address.expect("an address in the URL")
    }
}
