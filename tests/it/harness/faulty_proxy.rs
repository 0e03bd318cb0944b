//! A proxy that passes on what it gets, or does to it what wrongly configured ones do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A request or an answer.
#[derive(Clone)]
struct Message {
    /// Its first line.
    first: String,
    fields: Vec<(String, String)>,
    content: String,
}

/// What a proxy does wrong. Where a text begins a request, as `POST /token`, it is done to the answers of
/// such requests; an empty one begins all.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// Reads along, and changes nothing.
    None,
    /// Takes a field of requests away.
    Request(&'static str),
    /// Adds a field to requests.
    AddToRequest(&'static str, &'static str),
    /// Takes a field away.
    Remove(&'static str, &'static str),
    /// Gives a field another value.
    Set(&'static str, &'static str, &'static str),
    /// Adds one more line of a field.
    Add(&'static str, &'static str, &'static str),
    /// Puts another text in the place of one.
    Replace(&'static str, &'static str, &'static str),
    /// Answers a page of its own with this status.
    Page(&'static str, &'static str),
    /// Leads elsewhere.
    Redirect(&'static str, &'static str),
    /// Changes the octets of signatures.
    Forge,
}

/// A proxy of HTTP/1.1, or of whatever it does not understand while nothing is wrong with it.
pub(crate) struct FaultyProxy {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    fault: Option<Fault>,
    /// All contents that were passed on.
    answers: Vec<String>,
}

impl FaultyProxy {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// Passes on to this service from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.with_state(|state| state.target = Some(target));
    }

    /// Does this wrong from now on.
    pub(crate) fn misbehave(&self, fault: Fault) {
        self.with_state(|state| state.fault = Some(fault));
    }

    /// The contents of answers since the last time.
    pub(crate) fn take_answers(&self) -> Vec<String> {
        self.with_state(|state| std::mem::take(&mut state.answers))
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fault {
    fn change_request(self, request: &mut Message) {
        match self {
            Self::Request(name) => request.remove(name),
            Self::AddToRequest(name, value) => {
                request.fields.push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }

    fn change_answer(self, request: &Message, answer: &mut Message) {
        match self {
            Self::Remove(start, name) if request.begins(start) => answer.remove(name),
            Self::Set(start, name, value) if request.begins(start) => answer.set(name, value),
            Self::Add(start, name, value) if request.begins(start) => {
                answer.fields.push((name.to_owned(), value.to_owned()));
            }
            Self::Replace(start, from, to) if request.begins(start) => {
                answer.content = answer.content.replace(from, to);
            }
            Self::Page(start, status) if request.begins(start) => {
                answer.first = format!("HTTP/1.1 {status}");
                answer.fields = vec![("Server".to_owned(), "nginx".to_owned())];
                answer.set("Content-Type", "text/html");
                answer.content = format!("<html>{status}</html>");
            }
            Self::Redirect(start, target) if request.begins(start) => {
                "HTTP/1.1 301 Moved Permanently".clone_into(&mut answer.first);
                answer.set("Location", target);
            }
            Self::Forge => answer.forge(),
            _ => {}
        }
    }
}

impl Message {
    fn remove(&mut self, name: &str) {
        self.fields.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    fn begins(&self, start: &str) -> bool {
        start.is_empty() || self.first.strip_prefix(start).is_some_and(|rest| rest.starts_with(' '))
    }

    /// Changes the signature of an access token, if there is one, in its first letter.
    fn forge(&mut self) {
        let parts: Vec<&str> = self.content.split('.').collect();
        if let [head, claims, signature] = parts[..]
            && head.starts_with("{\"access_token\"")
        {
            let other = if signature.starts_with('A') { 'B' } else { 'A' };
            self.content = format!("{head}.{claims}.{other}{}", &signature[1..]);
        }
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?;
        let (head, content) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let first = lines.next()?.to_owned();
        let split = |line: &str| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        };
        let fields: Vec<_> = lines.filter_map(split).collect();
        let is_length = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-length");
        let length = fields.iter().find(is_length).map_or(Some(0), |(_, value)| value.parse().ok());
        (content.len() >= length?).then(|| Self { first, fields, content: content.to_owned() })
    }

    fn write(mut self) -> Vec<u8> {
        if !self.content.is_empty() {
            self.set("Content-Length", &self.content.len().to_string());
        }
        let mut lines = vec![self.first];
        lines.extend(self.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        format!("{}\r\n\r\n{}", lines.join("\r\n"), self.content).into_bytes()
    }
}

/// Passes one connection on: a request and its answer, because the client says that it closes then.
async fn pass_on(mut inner: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let (target, fault) = {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.target?, state.fault)
    };
    let mut outer = TcpStream::connect(target).await.ok()?;
    let Some(fault) = fault else {
        copy_bidirectional(&mut inner, &mut outer).await.ok()?;
        return Some(());
    };
    let mut request = receive(&mut inner).await?;
    fault.change_request(&mut request);
    outer.write_all(&request.clone().write()).await.ok()?;
    let mut answer = receive(&mut outer).await?;
    state.lock().unwrap_or_else(PoisonError::into_inner).answers.push(answer.content.clone());
    fault.change_answer(&request, &mut answer);
    inner.write_all(&answer.write()).await.ok()
}

async fn receive(stream: &mut TcpStream) -> Option<Message> {
    let mut octets = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Some(message) = Message::read(&octets) {
            return Some(message);
        }
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => octets.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
    }
}
