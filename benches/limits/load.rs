//! Many callers on connections that stay open, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// Requests, and how many callers make one or another of them.
pub(crate) struct Load {
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    callers: usize,
    /// Whether each caller has a request of its own.
    own: bool,
}

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// Answers with 200, per second.
    pub(crate) per_second: f64,
    /// Answers with 200.
    pub(crate) served: usize,
    /// Answers with 503.
    pub(crate) refused: usize,
}

/// The octets of a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// The octets of a form that is posted with Basic credentials.
pub(crate) fn post(address: SocketAddr, path: &str, client: (&str, &str), form: &str) -> Vec<u8> {
    use base64::Engine;
    let credentials =
        base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", client.0, client.1));
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// The content of the answer to one request.
pub(crate) async fn fetch(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    fetch_whole(address, request).await.1
}

/// The same, with its head as far as the service itself sets it.
pub(crate) async fn fetch_whole(address: SocketAddr, request: &[u8]) -> (HeaderMap, Vec<u8>) {
    let mut caller = Caller::connect(address).await;
    let status = caller.ask(request).await.expect("an answer");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&caller.content));
    let head = String::from_utf8_lossy(&caller.received).into_owned();
    let fields = head.split("\r\n").skip(1).take_while(|line| !line.is_empty());
    let fields = fields.filter_map(|line| line.split_once(": "));
    // hyper sets these.
    let fields = fields.filter(|(name, _)| !["content-length", "date"].contains(name));
    let read = |(name, value): (&str, &str)| {
        let name = HeaderName::try_from(name).expect("the name of a field");
        (name, HeaderValue::try_from(value).expect("the value of a field"))
    };
    (fields.map(read).collect(), caller.content)
}

impl Load {
    pub(crate) fn new(address: SocketAddr, request: Vec<u8>, callers: usize) -> Self {
        Self::of_any(address, vec![request], callers)
    }

    /// Each time another of these requests, by chance.
    pub(crate) fn of_any(address: SocketAddr, requests: Vec<Vec<u8>>, callers: usize) -> Self {
        Self { address, requests: Arc::new(requests), callers, own: false }
    }

    /// A caller for each of these requests.
    pub(crate) fn of_each(address: SocketAddr, requests: Vec<Vec<u8>>) -> Self {
        let callers = requests.len();
        Self { address, requests: Arc::new(requests), callers, own: true }
    }

    /// Makes the load for so long. A caller that is refused comes back when it was told to.
    pub(crate) async fn run(&self, time: Duration) -> Rate {
        self.run_settled(Duration::ZERO, time).await
    }

    /// Makes the load for so long after it has settled, and counts what is answered then.
    pub(crate) async fn run_settled(&self, settling: Duration, time: Duration) -> Rate {
        let counted_from = Instant::now() + settling;
        let end = counted_from + time;
        let callers: Vec<_> = (0..self.callers)
            .map(|number| {
                let (address, requests) = (self.address, Arc::clone(&self.requests));
                let own = self.own.then_some(number);
                tokio::spawn(async move {
                    let mut caller = Caller::connect(address).await;
                    let (mut served, mut refused) = (0_usize, 0_usize);
                    let any = || rand::random_range(0..requests.len());
                    let next = || &requests[own.unwrap_or_else(any)];
                    while let Ok(Some(status)) = timeout_at(end, caller.ask(next())).await {
                        let counts = usize::from(Instant::now() >= counted_from);
                        match status {
                            200 => served += counts,
                            503 => {
                                refused += counts;
                                sleep(Duration::from_secs(1).min(end - Instant::now())).await;
                            }
                            other => {
                                panic!("{other}: {}", String::from_utf8_lossy(&caller.content))
                            }
                        }
                    }
                    (served, refused)
                })
            })
            .collect();
        let (mut served, mut refused) = (0, 0);
        for caller in callers {
            let (own_served, own_refused) = caller.await.expect("a caller");
            served += own_served;
            refused += own_refused;
        }
        Rate { per_second: served as f64 / counted_from.elapsed().as_secs_f64(), served, refused }
    }
}

/// One connection.
pub(crate) struct Caller {
    stream: TcpStream,
    received: Vec<u8>,
    /// The content of the last answer.
    pub(crate) content: Vec<u8>,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the service listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, received: Vec::with_capacity(4_096), content: Vec::new() }
    }

    /// Sends a request and reads the answer; its status, or nothing if the connection ended.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Option<u16> {
        self.stream.write_all(request).await.ok()?;
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
            let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let (head, content) = self.received.split_at(end + 4);
            let head = std::str::from_utf8(head).ok()?;
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
            if content.len() >= length?.parse().ok()? {
                self.content = content.to_vec();
                return head.split(' ').nth(1)?.parse().ok();
            }
        }
    }
}
