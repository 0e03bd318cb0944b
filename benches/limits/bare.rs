//! The limits: what the machine does when nothing else is asked of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::HeaderMap;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use josekit::jws::{JwsSigner, JwsVerifier, RS256};
use scrypt::Params;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// What is hashed.
const PASSWORD: &[u8] = b"tuesday fern lamp";
const SALT: [u8; 16] = [1; 16];

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Calls of a function per second, on all cores at once.
async fn per_second<W: FnMut() + Send>(
    time: Duration,
    make: impl Fn() -> W + Send + 'static,
) -> f64 {
    per_second_on(cores(), time, make).await
}

/// Calls of a function per second, on so many threads.
async fn per_second_on<W: FnMut() + Send>(
    threads: usize,
    time: Duration,
    make: impl Fn() -> W + Send + 'static,
) -> f64 {
    let measured = tokio::task::spawn_blocking(move || {
        let works: Vec<W> = (0..threads).map(|_| make()).collect();
        let (done, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
        let started = Instant::now();
        thread::scope(|scope| {
            for mut work in works {
                scope.spawn(move || {
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

/// scrypt of the crate of that name, with the parameters of the service's default.
pub(crate) async fn hashes_per_second(time: Duration) -> f64 {
    per_second(time, || {
        let parameters = Params::new(17, 8, 1).expect("valid parameters");
        move || {
            let mut output = [0; 32];
            scrypt::scrypt(PASSWORD, &SALT, &parameters, &mut output).expect("a valid length");
            std::hint::black_box(output);
        }
    })
    .await
}

/// The service's own scrypt, on so many threads and so many at once in each, and nothing else.
pub(crate) async fn own_hashes_per_second(threads: usize, lanes: usize, time: Duration) -> f64 {
    let batches = per_second_on(threads, time, move || {
        let mut batch = own_batch(lanes);
        // The first hashes are given the pages that later ones find.
        batch();
        batch
    });
    batches.await * lanes as f64
}

/// How long so many hashes take that are computed at once, by the clock.
pub(crate) async fn own_batch_time(lanes: usize) -> Duration {
    const CALLS: u32 = 3;
    let measured = tokio::task::spawn_blocking(move || {
        let mut batch = own_batch(lanes);
        batch();
        let started = Instant::now();
        (0..CALLS).for_each(|_| batch());
        started.elapsed() / CALLS
    });
    measured.await.expect("no panic")
}

/// How long one hash takes in a thread that has rested, in memory that was wiped meanwhile, as those of the service.
pub(crate) async fn own_hash_time_after_rest() -> Duration {
    const REST: Duration = Duration::from_millis(200);
    let measured = tokio::task::spawn_blocking(move || {
        let cost = jeton_scrypt::Cost { ln: 17, r: 8, p: 1 };
        let memory = jeton_scrypt::Memory::reserve(cost.memory());
        let mut memory = memory.expect("the memory of a hash");
        let mut output = [0; 32];
        memory.scrypt(PASSWORD, &SALT, cost, &mut output);
        memory.wipe();
        thread::park_timeout(REST);
        let started = Instant::now();
        memory.scrypt(PASSWORD, &SALT, cost, &mut output);
        started.elapsed()
    });
    measured.await.expect("no panic")
}

/// Computes so many hashes at once.
fn own_batch(lanes: usize) -> impl FnMut() + Send {
    let cost = jeton_scrypt::Cost { ln: 17, r: 8, p: 1 };
    let octets = cost.memory() * lanes as u64;
    let mut memory = jeton_scrypt::Memory::reserve(octets).expect("the memory of the hashes");
    move || {
        let inputs = vec![jeton_scrypt::Input { password: PASSWORD, salt: &SALT }; lanes];
        let mut outputs = vec![[0; 32]; lanes];
        memory.scrypt_many(cost, &inputs, &mut outputs);
        std::hint::black_box(outputs);
    }
}

/// How long one hash runs: of the service's own scrypt in memory that is kept, and of the crate.
pub(crate) fn hash_times() -> [Duration; 2] {
    const CALLS: u32 = 5;
    let cost = jeton_scrypt::Cost { ln: 17, r: 8, p: 1 };
    let mut memory = jeton_scrypt::Memory::reserve(128 << 20).expect("the memory of a hash");
    let mut output = [0; 32];
    let mut own = || memory.scrypt(PASSWORD, &SALT, cost, std::hint::black_box(&mut output));
    // The first hash is given the pages that later ones find.
    own();
    let parameters = Params::new(17, 8, 1).expect("valid parameters");
    let own = processor_time(CALLS, own);
    let theirs = processor_time(CALLS, || {
        let output = std::hint::black_box(&mut output);
        scrypt::scrypt(PASSWORD, &SALT, &parameters, output).expect("a valid length");
    });
    [own, theirs]
}

/// How long one call of a function runs, whatever else the machine does meanwhile.
pub(crate) fn processor_time(calls: u32, mut work: impl FnMut()) -> Duration {
    let so_far = || {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
        let nanoseconds = times.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(nanoseconds.expect("a number"))
    };
    let before = so_far();
    (0..calls).for_each(|_| work());
    so_far().saturating_sub(before) / calls
}

/// Verifies an RS256 signature of a text as long as a token, with a key of 2048 bits.
fn verification() -> impl Fn() -> Box<dyn FnMut() + Send> + Send {
    let key = RS256.generate_key_pair(2_048).expect("a key");
    let message = [b'x'; 500];
    let signer = RS256.signer_from_jwk(&key.to_jwk_private_key()).expect("a private key");
    let signature = signer.sign(&message).expect("a signature");
    let public = key.to_jwk_public_key();
    move || {
        let verifier = RS256.verifier_from_jwk(&public).expect("a public key");
        let signature = signature.clone();
        Box::new(move || verifier.verify(&message, &signature).expect("a good signature"))
    }
}

/// Signs a text as long as a token with RS256 and a key of 2048 bits.
fn signature() -> impl Fn() -> Box<dyn FnMut() + Send> + Send {
    let key = RS256.generate_key_pair(2_048).expect("a key").to_jwk_private_key();
    move || {
        let signer = RS256.signer_from_jwk(&key).expect("a private key");
        Box::new(move || {
            std::hint::black_box(signer.sign(&[b'x'; 500]).expect("a signature"));
        })
    }
}

/// Verifications per second.
pub(crate) async fn verifications_per_second(time: Duration) -> f64 {
    per_second(time, verification()).await
}

/// How long one verification runs.
pub(crate) fn verification_time() -> Duration {
    processor_time(2_000, verification()())
}

/// Signatures per second.
pub(crate) async fn signatures_per_second(time: Duration) -> f64 {
    per_second(time, signature()).await
}

/// How long one signature runs.
pub(crate) fn signature_time() -> Duration {
    processor_time(2_000, signature()())
}

/// Writes of 4 KiB to the end of a file in this folder, each flushed to the disk before the next.
pub(crate) fn flushes_per_second(folder: &Path, time: Duration) -> f64 {
    let path = folder.join(format!("jeton-bench-flush-{}", std::process::id()));
    let mut file = File::create(&path).expect("a file");
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        file.write_all(&[1; 4_096]).expect("space");
        file.sync_data().expect("a disk");
        done += 1;
    }
    std::fs::remove_file(&path).ok();
    f64::from(done) / started.elapsed().as_secs_f64()
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

/// Serves these octets to whoever gets them, with a warp filter on hyper, without limits or counters.
pub(crate) async fn serve(content: Vec<u8>, headers: HeaderMap) -> Bare {
    let answer = answer_with(content, headers);
    serve_on_hyper(warp::path!(".well-known" / "jwks.json").map(answer).boxed()).await
}

/// The same to whoever posts a form, which is parsed and not looked at.
pub(crate) async fn serve_form(content: Vec<u8>) -> Bare {
    let answer = answer_with(content, json());
    let form = warp::body::form::<HashMap<String, String>>();
    let filter = warp::post().and(warp::path!("introspect")).and(form);
    let answer = move |form: HashMap<String, String>| {
        std::hint::black_box(form);
        answer()
    };
    serve_on_hyper(filter.map(answer).boxed()).await
}

/// The head of an answer that says nothing but what its content is.
pub(crate) fn json() -> HeaderMap {
    let json = http::HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(http::header::CONTENT_TYPE, json)])
}

fn answer_with(
    content: Vec<u8>,
    headers: HeaderMap,
) -> impl Fn() -> Response + Clone + Send + Sync + 'static {
    let content = bytes::Bytes::from(content);
    move || {
        let mut response = Response::new(content.clone().into());
        *response.headers_mut() = headers.clone();
        response
    }
}

async fn serve_on_hyper(filter: BoxedFilter<(Response,)>) -> Bare {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
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
