//! HTTP/2 frame by frame (RFC 9113), so that a test can send what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::{self, Pair};

/// Frame types (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags; the first also means ACK.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a frame that ends a stream or the connection.
    pub(crate) fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        let octets = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(octets.try_into().expect("four octets")))
    }

    /// The status of a response, as the service's compression writes those that tests wait for.
    pub(crate) fn status(&self) -> Option<u16> {
        // A table size update may come first (RFC 7541 §6.3).
        let block = self.payload.as_slice();
        let block = if block.first()? & 0xe0 == 0x20 { &block[1..] } else { block };
        match (self.kind, block) {
            (HEADERS, [0x88, ..]) => Some(200),
            (HEADERS, [0x8c, ..]) => Some(400),
            (HEADERS, [0x8d, ..]) => Some(404),
            // 431, literal (RFC 7541 Appendix B).
            (HEADERS, [0x48, 0x83, 0x69, 0x90, 0xff, ..]) => Some(431),
            _ => None,
        }
    }
}

/// The octets of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    let mut octets = length.to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

/// Fields as literals that are not indexed (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            push_length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).expect("less than 127"));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
}

/// The fields of a GET, with further ones.
pub(crate) fn get<'a>(path: &'a str, further: &[(&'a str, &'a [u8])]) -> Vec<u8> {
    let usual: [(&str, &[u8]); 4] = [
        (":method", b"GET"),
        (":scheme", b"https"),
        (":authority", b"localhost"),
        (":path", path.as_bytes()),
    ];
    block(&[&usual[..], further].concat())
}

/// The fields of a form that is posted.
pub(crate) fn post(path: &str) -> Vec<u8> {
    block(&[
        (":method", b"POST"),
        (":scheme", b"https"),
        (":authority", b"localhost"),
        (":path", path.as_bytes()),
        ("content-type", b"application/x-www-form-urlencoded"),
    ])
}

/// A connection.
pub(crate) struct Http2 {
    pub(crate) reader: Reader,
    pub(crate) writer: WriteHalf<TlsStream<TcpStream>>,
}

/// The half of a connection that is read.
pub(crate) struct Reader(ReadHalf<TlsStream<TcpStream>>);

impl Http2 {
    /// Connects, and sends what a client begins with (RFC 9113 §3.4).
    pub(crate) async fn connect(address: SocketAddr, pair: &Pair) -> Self {
        let stream = TcpStream::connect(address).await.expect("the service listens");
        Self::connect_over(stream, pair).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn connect_over(stream: TcpStream, pair: &Pair) -> Self {
        let (reader, writer) = tokio::io::split(tls::shake_hands(stream, pair, "h2").await);
        let mut connection = Self { reader: Reader(reader), writer };
        let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        octets.extend(frame(SETTINGS, 0, 0, &[]));
        assert!(connection.send(&octets).await);
        connection
    }

    /// Sends octets; whether the other side still takes them.
    pub(crate) async fn send(&mut self, octets: &[u8]) -> bool {
        self.writer.write_all(octets).await.is_ok() && self.writer.flush().await.is_ok()
    }

    /// Opens a stream with these fields and nothing behind them.
    pub(crate) async fn request(&mut self, stream: u32, block: &[u8]) -> bool {
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, block)).await
    }

    /// The first frame that tells how a stream ended or was answered, or that the connection ends.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.reader.next().await?;
            let is_answer = frame.kind == HEADERS || frame.kind == RST_STREAM;
            if frame.kind == GOAWAY || (is_answer && frame.stream == stream) {
                return Some(frame);
            }
        }
    }

    /// Sends octets, however many, and returns all frames that come meanwhile and until the service
    /// has answered the last ping, or closed.
    pub(crate) async fn flood(mut self, octets: Vec<u8>) -> Vec<Frame> {
        const LAST: &[u8] = b"the last";
        let writing = tokio::spawn(async move {
            if self.writer.write_all(&octets).await.is_ok() {
                self.writer.write_all(&frame(PING, 0, 0, LAST)).await.ok();
                self.writer.flush().await.ok();
            }
            self.writer
        });
        let mut frames = Vec::new();
        while let Some(frame) = self.reader.next().await {
            let is_last = frame.kind == PING && frame.payload == LAST;
            frames.push(frame);
            if is_last {
                break;
            }
        }
        writing.abort();
        frames
    }
}

impl Reader {
    /// The next frame, or nothing if the service closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}
