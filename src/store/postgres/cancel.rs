//! Requests to cancel a statement.
//!
//! Such a request has a connection of its own, which the server closes when it has dealt with it. The driver closes it
//! as soon as the request is written. A pooler may still have to wait for a connection to the server then, and PgBouncer
//! up to 1.18 exits if whoever asked has gone meanwhile (pgbouncer/pgbouncer#801).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::CancelToken;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;

use super::hosts::{Hosts, Target};
use super::session::Session;

/// Asks the server to cancel what a session is running, and waits until the server has dealt with that. If the request
/// cannot be sent, nothing is cancelled. Whether anything was, only the answer to the statement tells.
///
/// It takes as long as the server takes, so the caller limits the time. The session must not be used for further
/// statements, because a request that arrives late would hit one of them.
pub(super) async fn cancel(session: &Session, hosts: &Hosts) {
    request(&session.client.cancel_token(), &session.target, hosts).await.ok();
}

async fn request(token: &CancelToken, target: &Target, hosts: &Hosts) -> io::Result<()> {
    let port = target.port();
    match (target.host(), target.address()) {
        (Some(Host::Unix(folder)), _) => {
            let socket = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?;
            send(token, socket, "", hosts).await
        }
        (Some(Host::Tcp(name)), Some(address)) => {
            send(token, TcpStream::connect((address, port)).await?, name, hosts).await
        }
        (Some(Host::Tcp(name)), None) => {
            send(token, TcpStream::connect((name.as_str(), port)).await?, name, hosts).await
        }
        (None, Some(address)) => {
            send(token, TcpStream::connect((address, port)).await?, "", hosts).await
        }
        (None, None) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn send<S>(token: &CancelToken, stream: S, name: &str, hosts: &Hosts) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug + 'static,
{
    let mut tls = hosts.tls.clone();
    let tls = MakeTlsConnect::<Patient<S>>::make_tls_connect(&mut tls, name);
    let sent = token.cancel_query_raw(Patient(stream), tls.map_err(io::Error::other)?).await;
    sent.map_err(io::Error::other)
}

/// A connection that this side closes after the other one.
#[derive(Debug)]
struct Patient<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut octets = [0; 64];
            let mut unread = ReadBuf::new(&mut octets);
            ready!(Pin::new(&mut self.0).poll_read(context, &mut unread))?;
            if unread.filled().is_empty() {
                return Pin::new(&mut self.0).poll_shutdown(context);
            }
        }
    }
}
