//! A piece of network that can stand still, and a host that is switched off.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// How long a connection to a listener of this machine may take before it counts as unanswered.
const UNANSWERED: Duration = Duration::from_millis(300);

/// Passes connections on, or holds all octets back and delivers them later, as a queue in the network
/// does: the end of a connection comes after them.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    holds: watch::Sender<bool>,
    task: AbortHandle,
}

/// A host that answers no SYN: nothing refuses a connection, and nothing takes one.
pub(crate) struct SilentHost {
    /// Its queue is full.
    _listener: TcpListener,
    /// What fills the queue.
    _queued: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (holds, held) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((inner, _)) = listener.accept().await {
                connections.spawn(pass_on(inner, target, held.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, holds, task: task.abort_handle() }
    }

    /// Delivers nothing from now on.
    pub(crate) fn hold(&self) {
        self.holds.send_replace(true);
    }

    /// Delivers everything that was held back.
    pub(crate) fn release(&self) {
        self.holds.send_replace(false);
    }

    /// Closes all connections, and takes the address off the network.
    pub(crate) async fn switch_off(self) -> SilentHost {
        self.task.abort();
        let listener = loop {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("an option");
            match socket.bind(self.address).and_then(|()| socket.listen(1)) {
                Ok(listener) => break listener,
                // The task may not have ended yet.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(UNANSWERED, TcpStream::connect(self.address)).await {
            queued.push(stream);
        }
        SilentHost { _listener: listener, _queued: queued }
    }
}

async fn pass_on(inner: TcpStream, target: SocketAddr, mut held: watch::Receiver<bool>) {
    held.wait_for(|held| !held).await.ok();
    let Ok(outer) = TcpStream::connect(target).await else { return };
    let ((from_inner, to_inner), (from_outer, to_outer)) = (inner.into_split(), outer.into_split());
    tokio::join!(carry(from_inner, to_outer, held.clone()), carry(from_outer, to_inner, held));
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut held: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16_384];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or_default();
        held.wait_for(|held| !held).await.ok();
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            to.shutdown().await.ok();
            return;
        }
    }
}
