//! Closes a connection whose caller may still be sending.
//!
//! If a socket is closed while it holds unread octets, or if more arrive afterwards, the kernel sends a reset. A reset
//! takes from the caller the answer that it has not read yet. So the service first closes its own direction, then reads
//! for a moment and discards what comes (RFC 9112 §9.6).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::slots::Slot;

/// How long to read, at most.
const TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait while nothing comes.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How many octets to discard, at most: more than a caller sends before it looks for an answer.
const LENGTH_MAX: usize = 16 << 20;
/// How many octets are read at once.
const PIECE: usize = 8 * 1_024;

/// A TCP connection whose `shutdown` ends when the caller has closed too, or has had enough time to read.
#[derive(Debug)]
pub(super) struct Lingering {
    stream: TcpStream,
    slot: Arc<Slot>,
    /// Set once the own direction was closed.
    end: Option<Box<End>>,
}

/// What is left of the limits.
#[derive(Debug)]
struct End {
    length: usize,
    deadline: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream, slot: Arc<Slot>) -> Self {
        Self { stream, slot, end: None }
    }
}

impl End {
    fn new() -> Self {
        let now = Instant::now();
        let silence = Box::pin(sleep_until(now + SILENCE_MAX));
        Self { length: LENGTH_MAX, deadline: now + TIME_MAX, silence }
    }

    /// Reads until the caller closes or a limit is reached.
    fn poll(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        while let Poll::Ready(read) = {
            let mut buffer = ReadBuf::uninit(&mut piece);
            let polled = Pin::new(&mut *stream).poll_read(context, &mut buffer);
            polled.map(|read| read.map(|()| buffer.filled().len()))
        } {
            let Ok(length @ 1..) = read else { return Poll::Ready(()) };
            let Some(left) = self.length.checked_sub(length) else { return Poll::Ready(()) };
            self.length = left;
            let silence = (Instant::now() + SILENCE_MAX).min(self.deadline);
            self.silence.as_mut().reset(silence);
        }
        self.silence.as_mut().poll(context)
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Closes the own direction and reads. Octets that were not sent yet are still sent.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.slot.evict_first();
        }
        let end = this.end.get_or_insert_with(|| Box::new(End::new()));
        end.poll(&mut this.stream, context).map(Ok)
    }
}
