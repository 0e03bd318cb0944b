//! What is behind a connection: PostgreSQL itself or a pooler, and how transactions are isolated.
//!
//! At the start of a connection, the server tells the number of its process, which requests to cancel must name. A
//! pooler invents such a number, because it may use another process for each transaction. So if the process that runs a
//! statement has the announced number, there is no pooler.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Error};

pub(crate) const FIND_BACKEND: &str = include_str!("../../../sql/postgres/find_backend.sql");
pub(crate) const FIND_ISOLATION: &str = include_str!("../../../sql/postgres/find_isolation.sql");

/// Whether a transaction whose first statement waits for a lock of a table sees what was there before it waited. Where
/// there is no such lock, nothing waits for one.
///
/// # Errors
/// The error of the server.
pub(super) async fn sees_the_past(client: &Client) -> Result<bool, Error> {
    let row = client.query_typed_one(FIND_ISOLATION, &[]).await?;
    let (level, server): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    // CockroachDB has no such lock.
    Ok(level != "read committed" && !server.starts_with("CockroachDB"))
}

/// Whether there is no pooler.
///
/// # Errors
/// The error of the server.
pub(super) async fn is_direct(client: &Client) -> Result<bool, Error> {
    let serving: i32 = client.query_typed_one(FIND_BACKEND, &[]).await?.try_get(0)?;
    Ok(announced_number(client).await == Some(serving))
}

/// The number announced at the start. The driver reveals it only in requests to cancel, so one is written into memory:
/// its length, its code, the number and the secret key, with four octets each.
async fn announced_number(client: &Client) -> Option<i32> {
    let (near, mut far) = duplex(64);
    // The server's answer when it agrees to use TLS, if the URL asks for TLS.
    far.write_all(b"S").await.ok()?;
    client.cancel_token().cancel_query_raw(near, Plain).await.ok()?;
    let mut written = Vec::new();
    far.read_to_end(&mut written).await.ok()?;
    let [.., _, number, _] = written.as_chunks::<4>().0 else { return None };
    Some(i32::from_be_bytes(*number))
}

/// Claims to encrypt but does not: what is written stays in memory.
struct Plain;

struct PlainStream(DuplexStream);

impl TlsConnect<DuplexStream> for Plain {
    type Stream = PlainStream;
    type Error = io::Error;
    type Future = Ready<io::Result<PlainStream>>;

    fn connect(self, stream: DuplexStream) -> Self::Future {
        ready(Ok(PlainStream(stream)))
    }
}

impl TlsStream for PlainStream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PlainStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for PlainStream {
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
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
