//! Conflicts between transactions, as servers report them that work optimistically: to any statement, and to commits.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::chance::{choices, seed};

/// Has the server itself report a conflict, so that it is in the state in which a conflict leaves it.
const CONFLICT: &str = "DO $$BEGIN RAISE EXCEPTION 'a conflict' USING ERRCODE = '40001'; END$$";
/// How many of ten statements and commits meet one.
const OF_TEN: u32 = 3;
/// What a client asks for in the message without a type with which a connection begins.
const ASKS_FOR_TLS: i32 = 80_877_103;
const CANCELS: i32 = 80_877_102;

/// A proxy before PostgreSQL that puts conflicts in the place of what it passes on.
pub(crate) struct ConflictProxy {
    /// The URL of the database through it.
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    is_on: AtomicBool,
    random: Mutex<StdRng>,
    statements: AtomicUsize,
    commits: AtomicUsize,
}

impl ConflictProxy {
    /// Starts one before the server of this URL. There are no conflicts yet.
    pub(crate) async fn before(url: &str) -> Self {
        let rest = url.split('@').nth(1).expect("a URL with a user");
        let target = rest.split('/').next().and_then(|text| text.parse::<SocketAddr>().ok());
        let target = target.expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            is_on: AtomicBool::new(false),
            random: Mutex::new(choices(seed())),
            statements: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                tokio::spawn(pass_on(inner, target, Arc::clone(&shared)));
            }
        });
        Self { url: url.replace(&target.to_string(), &address.to_string()), state }
    }

    /// Lets conflicts happen from now on, or no longer.
    pub(crate) fn set(&self, is_on: bool) {
        self.state.is_on.store(is_on, Ordering::SeqCst);
    }

    /// How many statements and how many commits met a conflict.
    pub(crate) fn conflicts(&self) -> [usize; 2] {
        [&self.state.statements, &self.state.commits].map(|count| count.load(Ordering::SeqCst))
    }
}

impl State {
    fn chooses_conflict(&self, count: &AtomicUsize) -> bool {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = self.is_on.load(Ordering::SeqCst) && random.random_range(0..10) < OF_TEN;
        count.fetch_add(usize::from(chosen), Ordering::SeqCst);
        chosen
    }

    /// What to send instead of these statements, which were sent without parameters.
    fn instead_of(&self, text: &str) -> Option<String> {
        match text {
            // The first asks whether the connection is alive.
            "" | "ROLLBACK" => None,
            "COMMIT" => {
                self.chooses_conflict(&self.commits).then(|| format!("ROLLBACK; {CONFLICT}"))
            }
            _ => self.chooses_conflict(&self.statements).then(|| {
                let begin = if text.starts_with("BEGIN") { "BEGIN; " } else { "" };
                format!("{begin}{CONFLICT}")
            }),
        }
    }
}

async fn pass_on(inner: TcpStream, target: SocketAddr, state: Arc<State>) {
    let Ok(outer) = TcpStream::connect(target).await else { return };
    let (from_client, mut to_client) = inner.into_split();
    let (mut from_server, to_server) = outer.into_split();
    tokio::select! {
        _ = copy(&mut from_server, &mut to_client) => {}
        _ = pass_requests_on(from_client, to_server, &state) => {}
    }
}

/// Reads what a client sends, message by message. `None` at the end of the connection.
async fn pass_requests_on(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    state: &State,
) -> Option<()> {
    loop {
        let body = read_body(&mut client).await?;
        server.write_all(&with_length(None, &body)).await.ok()?;
        let code = body.first_chunk().map(|octets| i32::from_be_bytes(*octets));
        if code != Some(ASKS_FOR_TLS) && code != Some(CANCELS) {
            break;
        }
    }
    // A statement with parameters takes several messages. They are one until the client waits for an answer.
    let (mut group, mut is_executed) = (Vec::new(), false);
    loop {
        let kind = client.read_u8().await.ok()?;
        let body = read_body(&mut client).await?;
        let message = with_length(Some(kind), &body);
        let sent = match kind {
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => {
                is_executed |= kind == b'E';
                group.extend(message);
                continue;
            }
            b'S' if is_executed && state.chooses_conflict(&state.statements) => query(CONFLICT),
            b'Q' => {
                let text = String::from_utf8_lossy(&body);
                state.instead_of(text.trim_end_matches('\0')).map_or(message, |text| query(&text))
            }
            _ => [std::mem::take(&mut group), message].concat(),
        };
        (group, is_executed) = (Vec::new(), false);
        server.write_all(&sent).await.ok()?;
    }
}

/// The rest of a message after its type: its length, which counts itself, and what follows.
async fn read_body(client: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = client.read_u32().await.ok()?;
    let mut body = vec![0; usize::try_from(length).ok()?.checked_sub(4)?];
    client.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn query(text: &str) -> Vec<u8> {
    with_length(Some(b'Q'), &[text.as_bytes(), b"\0"].concat())
}

fn with_length(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect()
}
