//! Throughput and waits against the number of callers, for each path on both engines, as a table and as plots.
//!
//! It takes ten minutes and writes files, so it is measured only where it is named: to `target/limits`, or to
//! `docs/performance` with `JETON_UPDATE_DOCS`. `JETON_BENCH_TURN=0.1` makes each turn a tenth as long.

use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::load::{self, Caller};
use super::plots::{Curve, Plot};
use super::process::{Engine, Jeton};
use super::sessions::WithSessions;
use super::{FEW, bare, median, rows};

/// How many callers there are at once.
const CALLERS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// How often all of them are measured.
const ROUNDS: usize = 3;
/// How long a caller that got 503 stays away: as long as the answer says.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Login,
    Refresh,
    Introspection,
    Jwks,
}

impl Asked {
    const ALL: [Self; 4] = [Self::Login, Self::Refresh, Self::Introspection, Self::Jwks];

    /// Its name in the files, the name that its plot gives it, and its limit.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Login => ["login", "Logins", "crate scrypt on all cores"],
            Self::Refresh => ["refresh", "Refreshes", "raw RSA signatures on all cores"],
            Self::Introspection => ["introspection", "Introspections", "a bare warp handler"],
            Self::Jwks => ["jwks", "JWKS", "a bare warp handler"],
        }
    }

    /// How long it is asked before it counts, and how long it counts. The queue of the hashes takes a moment
    /// to fill, and few of them are computed in a second.
    fn times(self) -> [Duration; 2] {
        let set = std::env::var("JETON_BENCH_TURN").ok();
        let turn: f64 = set.map_or(1.0, |text| text.parse().expect("JETON_BENCH_TURN is a number"));
        let seconds = if self == Self::Login { [1.0, 4.0] } else { [0.3, 1.0] };
        seconds.map(|seconds| Duration::from_secs_f64(seconds * turn))
    }
}

/// What callers do.
enum Act {
    /// Each sends one of its own requests by chance, or any if there are fewer than callers.
    Send(SocketAddr, Vec<Vec<u8>>),
    /// Each refreshes one of its own sessions by chance.
    Refresh(Arc<WithSessions>),
}

/// One path on one engine, or its limit: a point for each number of callers.
struct Series {
    asked: Asked,
    of: String,
    points: Vec<Point>,
}

/// What one number of callers came to.
#[derive(Clone, Default)]
struct Point {
    /// Answers with 200 per second, in each round.
    rates: Vec<f64>,
    /// What those who were served waited, in milliseconds, in all rounds.
    waits: Vec<f64>,
    /// Answers with 503, in all rounds.
    refused: usize,
}

/// Measures all paths on both engines and the limits beside them, and writes what came of it.
pub(crate) async fn callers() {
    let mut all = limits().await;
    for engine in [Engine::Sqlite, Engine::Postgres("unnamed")] {
        let Some(own) = WithSessions::start(engine, FEW).await else { continue };
        for asked in Asked::ALL {
            let act = act(asked, &own).await;
            let points = measure(act, asked.times()).await;
            println!("measured: {} on {}", asked.names()[1], engine.name());
            all.push(Series { asked, of: engine.name().to_owned(), points });
        }
    }
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("a folder");
    let table = table(&all);
    print!("{table}");
    std::fs::write(folder.join("callers.csv"), table).expect("a file");
    for asked in Asked::ALL {
        let file = folder.join(format!("{}.svg", asked.names()[0]));
        std::fs::write(file, plot(asked, &all).draw()).expect("a file");
    }
    println!("written to {}", folder.display());
}

/// Where the files go.
fn folder() -> PathBuf {
    let docs = std::env::var_os("JETON_UPDATE_DOCS").is_some();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(if docs { "docs/performance" } else { "target/limits" })
}

/// What the machine can do at all.
async fn limits() -> Vec<Series> {
    let jeton = Jeton::start_sqlite();
    let request = load::get(jeton.public, "/.well-known/jwks.json");
    let content = load::fetch(jeton.public, &request).await;
    drop(jeton);
    let bare = bare::serve(content, bare::json()).await;
    let act = Act::Send(bare.address, vec![load::get(bare.address, "/.well-known/jwks.json")]);
    let handler = measure(act, Asked::Jwks.times()).await;
    let time = Duration::from_secs(4);
    let [hashes, signatures] =
        [bare::hashes_per_second(time).await, bare::signatures_per_second(time).await];
    // These have no callers: as many threads as cores compute all the time.
    let flat = |rate| vec![Point { rates: vec![rate], ..Point::default() }; CALLERS.len()];
    [flat(hashes), flat(signatures), handler.clone(), handler]
        .into_iter()
        .zip(Asked::ALL)
        .map(|(points, asked)| Series { asked, of: asked.names()[2].to_owned(), points })
        .collect()
}

async fn act(asked: Asked, own: &Arc<WithSessions>) -> Act {
    let jeton = &own.jeton;
    let requests = match asked {
        Asked::Login => (0..FEW).map(|n| jeton.login_request_of(&rows::username(n))).collect(),
        Asked::Refresh => return Act::Refresh(Arc::clone(own)),
        Asked::Introspection => {
            let tokens = own.access_tokens(FEW).await;
            tokens.iter().map(|token| jeton.introspection_request(token)).collect()
        }
        Asked::Jwks => vec![load::get(jeton.public, "/.well-known/jwks.json")],
    };
    Act::Send(jeton.public, requests)
}

/// Lets each number of callers act, in rounds.
async fn measure(act: Act, [before, time]: [Duration; 2]) -> Vec<Point> {
    let act = Arc::new(act);
    let mut points = vec![Point::default(); CALLERS.len()];
    for _ in 0..ROUNDS {
        for (point, callers) in points.iter_mut().zip(CALLERS) {
            let begin = Instant::now() + before;
            let mut running = JoinSet::new();
            for first in 0..callers {
                running.spawn(Arc::clone(&act).call(first, callers, begin..begin + time));
            }
            let mut served = 0;
            while let Some(ended) = running.join_next().await {
                let (waits, refused) = ended.expect("a caller");
                served += waits.len();
                point.waits.extend(waits);
                point.refused += refused;
            }
            point.rates.push(served as f64 / time.as_secs_f64());
        }
    }
    points
}

impl Act {
    /// Acts as one of so many callers until the time is over, and counts the answers that come within it: the
    /// waits of those with 200, in milliseconds, and how many there were with 503.
    async fn call(
        self: Arc<Self>,
        first: usize,
        callers: usize,
        counts: Range<Instant>,
    ) -> (Vec<f64>, usize) {
        let mut caller = Caller::connect(self.address()).await;
        let (mut waits, mut refused) = (Vec::new(), 0);
        loop {
            let asked = Instant::now();
            if asked >= counts.end {
                return (waits, refused);
            }
            let asking = self.once(&mut caller, first, callers);
            let served = match *self {
                // A refresh that nobody waits for would use up a token and leave none.
                Self::Refresh(_) => asking.await,
                Self::Send(..) => match timeout_at(counts.end, asking).await {
                    Ok(served) => served,
                    Err(_) => return (waits, refused),
                },
            };
            let answered = Instant::now();
            match (counts.contains(&answered), served) {
                (true, true) => waits.push((answered - asked).as_secs_f64() * 1e3),
                (true, false) => refused += 1,
                (false, _) => {}
            }
            if !served {
                sleep_until(counts.end.min(answered + RETRY_AFTER)).await;
            }
        }
    }

    /// Whether the answer is 200. If it is neither that nor 503, the benchmark ends.
    async fn once(&self, caller: &mut Caller, first: usize, callers: usize) -> bool {
        let own = |of: usize| (first + callers * rand::random_range(0..(of / callers).max(1))) % of;
        match self {
            Self::Refresh(with) => with.refresh(caller, own(with.sessions)).await.is_some(),
            Self::Send(_, requests) => match caller.ask(&requests[own(requests.len())]).await {
                Some(200) => true,
                Some(503) => false,
                other => panic!("{other:?}: {}", String::from_utf8_lossy(&caller.content)),
            },
        }
    }

    fn address(&self) -> SocketAddr {
        match self {
            Self::Send(address, _) => *address,
            Self::Refresh(with) => with.jeton.public,
        }
    }
}

impl Point {
    fn least(&self) -> f64 {
        self.rates.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// What this share of those who were served did not wait longer than, if anybody was.
    fn wait(&self, share: f64) -> Option<f64> {
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.checked_sub(1)?).copied()
    }
}

/// All that was measured, as CSV.
fn table(all: &[Series]) -> String {
    let mut text =
        "path,of,callers,per_second,per_second_least,per_second_most,p50_ms,p99_ms,refused\n"
            .to_owned();
    let ms = |wait: Option<f64>| wait.map(|wait| format!("{wait:.3}")).unwrap_or_default();
    for Series { asked, of, points } in all {
        for (point, callers) in points.iter().zip(CALLERS) {
            let [path, ..] = asked.names();
            let rates = [median(point.rates.clone()), point.least(), point.most()];
            let rates = rates.map(|rate| format!("{rate:.1}")).join(",");
            let waits = [0.5, 0.99].map(|share| ms(point.wait(share))).join(",");
            writeln!(text, "{path},{of},{callers},{rates},{waits},{}", point.refused).ok();
        }
    }
    text
}

/// What was measured of one path.
fn plot(asked: Asked, all: &[Series]) -> Plot {
    let [_, title, limit] = asked.names();
    let curves = all.iter().filter(|series| series.asked == asked).map(|series| Curve {
        name: series.of.clone(),
        is_limit: series.of == limit,
        rates: series
            .points
            .iter()
            .map(|p| [median(p.rates.clone()), p.least(), p.most()])
            .collect(),
        waits: [0.5, 0.99].map(|share| series.points.iter().map(|p| p.wait(share)).collect()),
    });
    Plot { title: title.to_owned(), callers: CALLERS.to_vec(), curves: curves.collect() }
}
