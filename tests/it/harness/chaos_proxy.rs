//! Outages of the database.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::database::Database;

/// An outage that can begin and end: on PostgreSQL the network is cut, on SQLite another process
/// holds the write lock, so that logins fail and reads go on.
pub(crate) enum Outage {
    Cut(watch::Sender<bool>),
    Locked { path: String, holder: Option<rusqlite::Connection> },
}

impl Outage {
    /// Prepares an outage of a database: the URL to reach it by, and how to cut it off.
    pub(crate) async fn before(database: &Database) -> (String, Self) {
        if let Some(path) = database.url.strip_prefix("sqlite:") {
            return (database.url.clone(), Self::Locked { path: path.to_owned(), holder: None });
        }
        let rest = database.url.split('@').nth(1).expect("a URL with a user");
        let target = rest.split('/').next().and_then(|text| text.parse::<SocketAddr>().ok());
        let target = target.expect("an address");
        let (address, switch) = start_proxy(target).await;
        (database.url.replace(&target.to_string(), &address.to_string()), Self::Cut(switch))
    }

    pub(crate) fn begin(&mut self) {
        match self {
            Self::Cut(switch) => {
                switch.send_replace(true);
            }
            Self::Locked { path, holder } => {
                let connection = rusqlite::Connection::open(path).expect("the file of the test");
                connection.busy_timeout(std::time::Duration::from_secs(5)).expect("a setting");
                connection.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
                *holder = Some(connection);
            }
        }
    }

    pub(crate) fn end(&mut self) {
        match self {
            Self::Cut(switch) => {
                switch.send_replace(false);
            }
            Self::Locked { holder, .. } => *holder = None,
        }
    }
}

/// Forwards connections until the switch is on: then it cuts them and takes no others.
async fn start_proxy(target: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (switch, cut) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let mut cut = cut.clone();
            tokio::spawn(async move {
                if *cut.borrow() {
                    return;
                }
                let Ok(mut outer) = TcpStream::connect(target).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut inner, &mut outer) => {}
                    _ = cut.wait_for(|cut| *cut) => {}
                }
            });
        }
    });
    (address, switch)
}
