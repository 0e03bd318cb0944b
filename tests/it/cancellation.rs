//! Statements that nobody waits for any more are cancelled, in a way that poolers bear.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::harness::database::PASSWORD;
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Jeton};

/// What the first message of a connection asks for.
const ASKS_FOR_TLS: i32 = 80_877_103;
const CANCELS: i32 = 80_877_102;
/// For how long the pooler has no connection to the server.
const BUSY: Duration = Duration::from_millis(300);

/// PgBouncer hands a request to cancel on when it has a connection to the server. Up to version 1.18 it exits if whoever
/// asked has gone by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cancels_a_statement_stays_until_the_server_has_dealt_with_it() {
    let (database, fixtures) = Database::filled(Engine::Postgres).await;
    let (url, mut requests) = busy_pooler_before(&database.url).await;
    let (admin, connection) =
        tokio_postgres::connect(&database.url, NoTls).await.expect("the server");
    tokio::spawn(connection);
    let jeton = Jeton::start_at(&url, database, fixtures).await;
    admin.batch_execute("BEGIN; LOCK TABLE users").await.expect("a lock");

    let login = jeton
        .post("/token", &login_form("alice", PASSWORD))
        .basic("web", jeton.fixtures.secret("web"));
    login.send().await.assert_error(503, "temporarily_unavailable");

    let stayed = timeout(Duration::from_secs(30), requests.recv()).await.expect("it is cancelled");
    assert_eq!(stayed, Some(true));
    admin.batch_execute("ROLLBACK").await.expect("the end of the lock");
    login.send().await.access_token();
}

/// The URL of a database through a proxy that is slow to hand requests to cancel on. For each of them the receiver gets
/// whether whoever sent it was still there then.
async fn busy_pooler_before(url: &str) -> (String, UnboundedReceiver<bool>) {
    let rest = url.split('@').nth(1).expect("a URL with a user");
    let server = rest.split('/').next().expect("it has a first part");
    let target: SocketAddr = server.parse().expect("an address");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, target, sender.clone()));
        }
    });
    (url.replace(server, &address.to_string()), receiver)
}

async fn pass_on(
    mut client: TcpStream,
    target: SocketAddr,
    stayed: UnboundedSender<bool>,
) -> std::io::Result<()> {
    loop {
        let length = client.read_i32().await?;
        let mut body = vec![0; usize::try_from(length).expect("a length") - 4];
        client.read_exact(&mut body).await?;
        let code = body.first_chunk().map(|octets| i32::from_be_bytes(*octets));
        if code == Some(ASKS_FOR_TLS) {
            client.write_all(b"N").await?;
            continue;
        }
        if code == Some(CANCELS) {
            // Nothing arrives, not even the end.
            stayed.send(timeout(BUSY, client.read_u8()).await.is_err()).ok();
        }
        let mut server = TcpStream::connect(target).await?;
        server.write_all(&[&length.to_be_bytes(), &*body].concat()).await?;
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
}
