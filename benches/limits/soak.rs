//! Good and hostile load for a long time, to see that nothing grows: memory, descriptors, rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::load::{self, Caller};
use super::process::{Engine, Jeton};
use super::rows::{self, Sessions};

/// How many honest users there are, and how many names are guessed at.
const USERS: usize = 40;
const NAMES: usize = 2_000;
/// How many callers of each kind there are.
const EACH: usize = 3;
/// How many connections stay open and say nothing.
const IDLE: usize = 300;
/// How often what the service takes is looked at.
const SAMPLES: u32 = 30;

/// What was asked, and what came of it.
#[derive(Default)]
struct Counts {
    /// Requests of honest callers that were served, and those that were not.
    served: AtomicU64,
    turned_away: AtomicU64,
    /// Requests and connections of the others.
    hostile: AtomicU64,
}

/// What the service takes at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    memory_mib: u64,
    files: usize,
    sessions: i64,
    counters: i64,
}

/// Lets both kinds of callers at the service for so long, and prints what it takes.
pub(crate) async fn soak(engine: Engine, time: Duration) {
    let Some(jeton) = Jeton::start_on(engine).await else { return };
    rows::add(&jeton.database, USERS, Sessions::Live, 0).await;
    let (jeton, counts) = (Arc::new(jeton), Arc::new(Counts::default()));
    let mut callers = JoinSet::new();
    for number in 0..EACH {
        callers.spawn(honest(Arc::clone(&jeton), Arc::clone(&counts), number));
        callers.spawn(guesser(Arc::clone(&jeton), Arc::clone(&counts)));
        callers.spawn(forger(Arc::clone(&jeton), Arc::clone(&counts)));
        callers.spawn(vandal(Arc::clone(&jeton), Arc::clone(&counts)));
    }
    for _ in 0..IDLE {
        callers.spawn(idler(Arc::clone(&jeton), Arc::clone(&counts)));
    }
    println!("soak on {engine}: {} s", time.as_secs());
    println!("  minute   memory MiB   descriptors   sessions   counters   served   hostile");
    let started = Instant::now();
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        tokio::time::sleep_until(started + time * number / SAMPLES).await;
        let sample = Sample {
            memory_mib: jeton.resident_mib("VmRSS"),
            files: jeton.open_files(),
            sessions: jeton.count("sessions").await,
            counters: jeton.count("login_throttle").await,
        };
        samples.push(sample);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        println!(
            "  {:6.1} {:12} {:13} {:10} {:10} {:8} {:9}",
            started.elapsed().as_secs_f64() / 60.0,
            sample.memory_mib,
            sample.files,
            sample.sessions,
            sample.counters,
            count(&counts.served),
            count(&counts.hostile)
        );
    }
    callers.shutdown().await;
    let turned_away = counts.turned_away.load(Ordering::Relaxed);
    println!("  honest requests turned away: {turned_away}");
    let (before, after) = samples.split_at(samples.len() / 2);
    let most = |samples: &[Sample], of: fn(&Sample) -> i64| samples.iter().map(of).max();
    for (name, of) in [
        ("memory", (|sample| sample.memory_mib.cast_signed()) as fn(&Sample) -> i64),
        ("descriptors", |sample| sample.files.cast_signed() as i64),
        ("sessions", |sample| sample.sessions),
        ("counters", |sample| sample.counters),
    ] {
        println!(
            "  most {name}, first and second half: {:?} {:?}",
            most(before, of),
            most(after, of)
        );
    }
}

/// Logs in, refreshes and introspects, and logs out every other time.
async fn honest(jeton: Arc<Jeton>, counts: Arc<Counts>, number: usize) {
    let count = |status: Option<u16>| {
        let of = if status == Some(200) { &counts.served } else { &counts.turned_away };
        of.fetch_add(1, Ordering::Relaxed);
        status == Some(200)
    };
    for round in 0_usize.. {
        let user = rows::username((number + round * EACH) % USERS);
        let mut caller = Caller::connect(jeton.public).await;
        if !count(caller.ask(&jeton.login_request_of(&user)).await) {
            sleep(Duration::from_secs(1)).await;
            continue;
        }
        for _ in 0..20 {
            let tokens: serde_json::Value =
                serde_json::from_slice(&caller.content).unwrap_or_default();
            let token = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
            count(caller.ask(&jeton.introspection_request(&token("access_token"))).await);
            if !count(caller.ask(&jeton.refresh_request(&token("refresh_token"))).await) {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let tokens: serde_json::Value = serde_json::from_slice(&caller.content).unwrap_or_default();
        if round % 2 == 0
            && let Some(token) = tokens["refresh_token"].as_str()
        {
            count(caller.ask(&jeton.revocation_request(token)).await);
        }
    }
}

/// Guesses at passwords, sometimes without waiting for the answer.
async fn guesser(jeton: Arc<Jeton>, counts: Arc<Counts>) {
    loop {
        let name = format!("name{}", rand::random_range(0..NAMES));
        let request = jeton.guess_request(&name);
        if rand::random_range(0..4) == 0 {
            if let Ok(mut stream) = TcpStream::connect(jeton.public).await {
                stream.write_all(&request).await.ok();
            }
        } else {
            Caller::connect(jeton.public).await.ask(&request).await;
        }
        counts.hostile.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Presents tokens and client secrets that nobody made.
async fn forger(jeton: Arc<Jeton>, counts: Arc<Counts>) {
    let mut caller = Caller::connect(jeton.public).await;
    loop {
        let noise = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let token = format!("eyJhbGciOiJSUzI1NiJ9.{noise}.{noise}");
        let wrong = ("web", noise.as_str());
        let requests = [
            jeton.introspection_request(&token),
            jeton.refresh_request(&noise),
            jeton.revocation_request(&token),
            load::post(jeton.public, "/introspect", wrong, "token=x"),
        ];
        for request in requests {
            if caller.ask(&request).await.is_none() {
                caller = Caller::connect(jeton.public).await;
            }
            counts.hostile.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends what is no request, too long, or cut off.
async fn vandal(jeton: Arc<Jeton>, counts: Arc<Counts>) {
    loop {
        let long = "a=".to_owned() + &"b".repeat(20_000);
        let head =
            format!("POST /token HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(30_000));
        let pieces: [Vec<u8>; 6] = [
            load::post(jeton.public, "/token", ("web", "x"), &long),
            head.into_bytes(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            load::post(jeton.public, "/token", ("web", "x"), "%zz=%00&%").split_off(30),
        ];
        for piece in pieces {
            let Ok(mut stream) = TcpStream::connect(jeton.public).await else { continue };
            stream.write_all(&piece).await.ok();
            let mut answer = [0; 512];
            let reading = tokio::io::AsyncReadExt::read(&mut stream, &mut answer);
            timeout(Duration::from_millis(200), reading).await.ok();
            counts.hostile.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Opens a connection, says little or nothing, and waits to be cut off.
async fn idler(jeton: Arc<Jeton>, counts: Arc<Counts>) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(jeton.public).await {
            if rand::random() {
                stream.write_all(b"POST /token HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.ok();
            }
            let mut answer = [0; 512];
            let cut_off = tokio::io::AsyncReadExt::read(&mut stream, &mut answer);
            timeout(Duration::from_mins(1), cut_off).await.ok();
            counts.hostile.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(rand::random_range(0..1_000))).await;
    }
}
