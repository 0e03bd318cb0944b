//! Prints how many hashes each kernel makes per second of processor time, by the number at once, beside the crate
//! `scrypt`. `cargo bench -p jeton-scrypt` takes 2 GiB and a minute or more; `-- 10` after that measures ten rounds.
//!
//! Each figure is the best of some rounds, and each round measures everything once. Only the time for which the thread
//! ran counts, so other programs disturb it only through caches and memory.

#![expect(clippy::print_stdout, reason = "a table is what it is for")]

use std::time::Duration;

use jeton_scrypt::{Cost, Input, Kernel, Memory};

const COST: Cost = Cost { ln: 17, r: 8, p: 1 };
const LANES: [u8; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let shapes: Vec<(Kernel, u8)> = Kernel::all_here()
        .flat_map(|kernel| LANES.map(|lanes| (kernel, lanes)))
        .filter(|(kernel, lanes)| usize::from(*lanes) <= kernel.lanes())
        .collect();
    let parameters = scrypt::Params::new(COST.ln, COST.r, COST.p).expect("valid parameters");
    let mut of_the_crate = Duration::MAX;
    let mut times = vec![Duration::MAX; shapes.len()];
    for _ in 0..rounds {
        of_the_crate = of_the_crate.min(time(|| {
            scrypt::scrypt(b"password", b"salt", &parameters, &mut [0; 32])
                .expect("a valid length");
        }));
        for ((kernel, lanes), best) in shapes.iter().zip(&mut times) {
            *best = (*best).min(time_together(*kernel, *lanes));
        }
    }

    let of_the_crate = of_the_crate.as_secs_f64();
    println!("{COST:?}; crate scrypt: {of_the_crate:.3} s, {:.2} hashes/s", 1.0 / of_the_crate);
    println!("kernel   at once  seconds  hashes/s  ÷ crate scrypt");
    for ((kernel, lanes), time) in shapes.iter().zip(times) {
        let (name, time) = (kernel.name(), time.as_secs_f64());
        let rate = f64::from(*lanes) / time;
        println!("{name:8} {lanes:>7} {time:>8.3} {rate:>9.2} {:>15.2}", rate * of_the_crate);
    }
}

/// How long this many hashes at once take.
fn time_together(kernel: Kernel, lanes: u8) -> Duration {
    let memory = Memory::reserve_for(kernel, COST.memory() * u64::from(lanes));
    let mut memory = memory.expect("the memory of some hashes");
    let mut hash = || {
        let inputs = vec![Input { password: b"password", salt: b"salt" }; lanes.into()];
        memory.scrypt_many(COST, &inputs, &mut vec![[0; 32]; lanes.into()]);
    };
    // The system provides memory when it is first written to, which takes time.
    hash();
    time(hash)
}

/// For how long this thread runs during the work.
fn time(work: impl FnOnce()) -> Duration {
    let so_far = || {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
        let nanoseconds = times.split(' ').next().and_then(|text| text.parse().ok());
        Duration::from_nanos(nanoseconds.expect("a number"))
    };
    let before = so_far();
    work();
    so_far().saturating_sub(before)
}
