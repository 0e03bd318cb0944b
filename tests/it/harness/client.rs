//! A client that sends octets, so that it can send what no library would.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    content: Option<Vec<u8>>,
    chunked: bool,
}

/// A response that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), address.to_string())],
            content: None,
            chunked: false,
        }
    }

    /// Adds a header line; it may repeat.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes the header lines of this name away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// The same request to another replica.
    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// HTTP Basic of `user:password`, as it is.
    pub(crate) fn basic(self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", &format!("Basic {encoded}"))
    }

    /// Content as it is.
    pub(crate) fn content(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.content = Some(content.into());
        self
    }

    /// A form, encoded already.
    pub(crate) fn form(self, form: &str) -> Self {
        self.without("Content-Type")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .content(form)
    }

    /// Sends the content in chunks, without saying how long it is.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The octets of the request.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let content = self.content.clone().unwrap_or_default();
        let mut octets;
        if self.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            octets = head.into_bytes();
            for chunk in content.chunks(1_000) {
                octets.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                octets.extend(chunk);
                octets.extend(b"\r\n");
            }
            octets.extend(b"0\r\n\r\n");
        } else {
            if self.content.is_some() {
                head.extend(["Content-Length: ", &content.len().to_string(), "\r\n"]);
            }
            head.push_str("\r\n");
            octets = head.into_bytes();
            octets.extend(content);
        }
        octets
    }

    /// Sends the request on a connection of its own and reads the response.
    pub(crate) async fn send(&self) -> Reply {
        let mut replies = exchange(self.address, &self.octets(), self.method == "HEAD").await;
        assert_eq!(replies.len(), 1, "one request, one response: {replies:?}");
        replies.remove(0)
    }

    /// Sends the request to a service that may be killed at any moment; nothing if it did not answer
    /// to the end.
    pub(crate) async fn try_send(&self) -> Option<Reply> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        exchange_on(stream, &self.octets(), self.method == "HEAD").await.pop()
    }
}

/// Sends octets, and reads every response until the other side closes or has nothing more to say.
/// The last octets sent should make it close, or belong to the only request.
pub(crate) async fn exchange(address: SocketAddr, octets: &[u8], head: bool) -> Vec<Reply> {
    let stream = TcpStream::connect(address).await.expect("the service listens");
    exchange_on(stream, octets, head).await
}

/// Sends octets and reads all that comes back until the service closes.
pub(crate) async fn until_closed(address: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    stream.write_all(octets).await.expect("it reads");
    let mut received = Vec::new();
    // A service that closes before it has read everything may reset the connection.
    stream.read_to_end(&mut received).await.ok();
    String::from_utf8(received).expect("text")
}

async fn exchange_on(mut stream: TcpStream, octets: &[u8], head: bool) -> Vec<Reply> {
    // The service may refuse and close before it has read everything.
    stream.write_all(octets).await.ok();
    let mut received = Vec::new();
    let mut replies = Vec::new();
    let mut buffer = vec![0; 16_384];
    loop {
        while let Some((reply, length)) = parse(&received, head) {
            received.drain(..length);
            replies.push(reply);
        }
        if !replies.is_empty() && received.is_empty() {
            return replies;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return replies,
            Ok(length) => received.extend(&buffer[..length]),
        }
    }
}

/// Takes the first whole response off the octets, with its length; interim ones are skipped.
fn parse(octets: &[u8], head: bool) -> Option<(Reply, usize)> {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&octets[..end]).expect("a head of text");
    let mut lines = text.split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status: u16 = status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    if status == 100 {
        return parse(&octets[end..], head).map(|(reply, length)| (reply, length + end));
    }
    let split =
        |line: &str| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(split).collect();
    let find = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let length = match find("content-length") {
        _ if head || status == 204 || status == 304 => 0,
        Some(length) => length.parse().expect("a number"),
        None => {
            assert_eq!(find("transfer-encoding"), None, "the service knows the length");
            0
        }
    };
    let content = octets.get(end..end + length)?.to_vec();
    Some((Reply { status, headers, content }, end + length))
}

impl Reply {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(own, _)| own == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that occurs at most once; empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} occurs once: {all:?}");
        all.first().copied().unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The content as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.content).expect("UTF-8")
    }

    /// The content as JSON without repeated members.
    pub(crate) fn json(&self) -> Value {
        strict_json(self.text())
    }

    /// The value of a metric on a page of them, with its labels, or of all labels together.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let family = name.split('{').next().unwrap_or(name);
        let family = family.trim_end_matches("_total").trim_end_matches("_count");
        let family = family.trim_end_matches("_bucket");
        let is_there = |name: &str| self.text().contains(&format!("# TYPE {name} "));
        let total = format!("{family}_total");
        assert!(is_there(family) || is_there(&total), "no metric {family}");
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let labelled = rest.starts_with('{').then(|| rest.split_once("} ")).flatten();
            let value = labelled.map(|(_, value)| value).or(rest.strip_prefix(' '));
            value?.parse::<u64>().ok()
        };
        self.text().lines().filter_map(value).sum()
    }

    /// A member of the content that is a string.
    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.text()))
            .to_owned()
    }

    /// Asserts an OAuth error: status, JSON of the right shape, not stored, nothing issued.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.error()), (status, code.to_owned()), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.has("www-authenticate"), status == 401);
        let body = self.json();
        let members: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(members, ["error", "error_description"]);
        let description = body["error_description"].as_str().expect("a string");
        // RFC 6749 Appendix A.8.
        assert!(description.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
    }

    /// The value of `error`.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts a token response, and returns the access token.
    #[track_caller]
    pub(crate) fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.member("access_token")
    }

    /// Asserts a token response, and returns the refresh token.
    #[track_caller]
    pub(crate) fn refresh_token(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.member("refresh_token")
    }

    /// What can be compared of two answers that must look alike: everything but date and request id.
    pub(crate) fn comparable(&self) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| name != "date" && name != "x-request-id");
        (self.status, headers, self.content.clone())
    }
}

/// Parses JSON and panics on members that repeat (RFC 8259 §4).
pub(crate) fn strict_json(text: &str) -> Value {
    use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
    struct Strict(Value);
    impl<'de> Deserialize<'de> for Strict {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Reader;
            impl<'de> Visitor<'de> for Reader {
                type Value = Value;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("JSON")
                }
                fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                    Ok(value.into())
                }
                fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                    Ok(value.into())
                }
                fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                    Ok(value.into())
                }
                fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                    Ok(value.into())
                }
                fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                    Ok(value.into())
                }
                fn visit_unit<E>(self) -> Result<Value, E> {
                    Ok(Value::Null)
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                    let mut all = Vec::new();
                    while let Some(Strict(item)) = items.next_element()? {
                        all.push(item);
                    }
                    Ok(Value::Array(all))
                }
                fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
                    let mut all = serde_json::Map::new();
                    while let Some((name, Strict(value))) =
                        members.next_entry::<String, Strict>()?
                    {
                        assert!(all.insert(name.clone(), value).is_none(), "{name} repeats");
                    }
                    Ok(Value::Object(all))
                }
            }
            deserializer.deserialize_any(Reader).map(Strict)
        }
    }
    serde_json::from_str::<Strict>(text).unwrap_or_else(|error| panic!("{error}: {text}")).0
}

/// Percent-encodes everything but letters and digits.
pub(crate) fn percent_encode(text: &str) -> String {
    let encode = |octet: u8| {
        let plain = octet.is_ascii_alphanumeric();
        if plain { char::from(octet).to_string() } else { format!("%{octet:02X}") }
    };
    text.bytes().map(encode).collect()
}
