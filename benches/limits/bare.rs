//! The limits: what the machine does when nothing else is asked of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use josekit::jws::{JwsSigner, JwsVerifier, RS256};
use scrypt::Params;
use warp::Filter;

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Calls of a function per second, on all cores at once.
async fn per_second<W: FnMut()>(
    time: Duration,
    make: impl Fn() -> W + Send + Sync + 'static,
) -> f64 {
    let measured = tokio::task::spawn_blocking(move || {
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..cores() {
                scope.spawn(|| {
                    let mut work = make();
                    while !stop.load(Ordering::Relaxed) {
                        work();
                        done.fetch_add(1, Ordering::Relaxed);
                        if started.elapsed() >= time {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
    });
    measured.await.expect("the work does not panic")
}

/// scrypt with the parameters of the service's default.
pub(crate) async fn hashes_per_second(time: Duration) -> f64 {
    per_second(time, || {
        let parameters = Params::new(17, 8, 1).expect("valid parameters");
        move || {
            let mut output = [0; 32];
            scrypt::scrypt(b"tuesday fern lamp", &[1; 16], &parameters, &mut output)
                .expect("a valid length");
            std::hint::black_box(output);
        }
    })
    .await
}

/// RS256 verifications of a text as long as a token, with a key of 2048 bits.
pub(crate) async fn verifications_per_second(time: Duration) -> f64 {
    let key = RS256.generate_key_pair(2_048).expect("a key");
    let message = [b'x'; 500];
    let signer = RS256.signer_from_jwk(&key.to_jwk_private_key()).expect("a private key");
    let signature = signer.sign(&message).expect("a signature");
    let public = key.to_jwk_public_key();
    per_second(time, move || {
        let verifier = RS256.verifier_from_jwk(&public).expect("a public key");
        let signature = signature.clone();
        move || verifier.verify(&message, &signature).expect("a good signature")
    })
    .await
}

/// A server that runs as long as this is held.
pub(crate) struct Bare {
    pub(crate) address: SocketAddr,
    /// It has threads of its own, as the service has.
    _runtime: Runtime,
}

struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves these octets with a warp filter on hyper, without limits, headers or counters.
pub(crate) async fn serve(content: Vec<u8>) -> Bare {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let content = bytes::Bytes::from(content);
    let filter = warp::path!(".well-known" / "jwks.json").map(move || {
        let mut response = warp::reply::Response::new(content.clone().into());
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    });
    let listening = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let service = TowerToHyperService::new(warp::service(filter.clone()));
                let io = TokioIo::new(stream);
                tokio::spawn(http1::Builder::new().serve_connection(io, service));
            }
        });
        address
    });
    let address = listening.await.expect("it listens");
    Bare { address, _runtime: Runtime(Some(runtime)) }
}
