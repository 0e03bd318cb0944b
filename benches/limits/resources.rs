//! What the service takes: memory, time to its first answer, the size of its program.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::load::Load;
use super::process::Jeton;
use super::{ROUNDS, median};

/// How long after its start the service is called idle.
const SETTLED: Duration = Duration::from_secs(3);
/// How many callers log in, and for how long.
const CALLERS: usize = 200;
const LOGINS: Duration = Duration::from_secs(10);
/// How much more than before counts as the same, in MiB, and how long it is waited for.
const SAME: f64 = 1.0;
const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) async fn resources() {
    let [mut answers, mut ready, mut main_thread] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let again = Jeton::start_sqlite().restart();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        answers.push(milliseconds(again.first_answer));
        ready.push(milliseconds(again.first_ready));
        main_thread.push(milliseconds(again.main_thread));
    }
    println!(
        "start, keys made before: first answer after {:.1} ms, until which the main thread ran {:.1} ms; ready after \
         {:.1} ms (medians of {ROUNDS})",
        median(answers),
        median(main_thread),
        median(ready),
    );
    memory().await;
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_jeton")).map_or(0, |file| file.len());
    println!("size of the release binary: {:.1} MiB", size as f64 / f64::from(1 << 20));
}

/// Before logins, at most while there are some, and how long it takes until that is given back.
async fn memory() {
    let jeton = Jeton::start_sqlite().restart();
    sleep(SETTLED).await;
    let idle = jeton.proportional_mib();
    println!(
        "memory (PSS), idle: {:.1} MiB, of which {:.1} MiB are the program and its libraries",
        idle.iter().sum::<f64>(),
        idle[1]
    );
    let load = Load::new(jeton.public, jeton.login_request(), CALLERS);
    let rate = load.run(LOGINS).await;
    println!(
        "resident memory, most under {CALLERS} clients that log in: {} MiB; hashing was bounded at start \
         to {} MiB ({:.1} logins/s, {} answers 503)",
        jeton.resident_mib("VmHWM"),
        jeton.hashing_memory_mib,
        rate.per_second,
        rate.refused
    );
    let ended = Instant::now();
    let back = timeout(PATIENCE, async {
        while jeton.proportional_mib()[0] > idle[0] + SAME {
            sleep(Duration::from_millis(500)).await;
        }
    });
    let waited = match back.await {
        Ok(()) => format!("after {:.0} s", ended.elapsed().as_secs_f64()),
        Err(_) => format!("not within {} s", PATIENCE.as_secs()),
    };
    let [own, program] = jeton.proportional_mib();
    println!(
        "memory (PSS) without the program as before the logins: {waited}; all then {:.1} MiB",
        own + program
    );
}
