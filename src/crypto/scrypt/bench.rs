//! How many hashes each kernel makes a second of one processor's time, by how many it computes at once, beside
//! the crate `scrypt`. `cargo bench -p jeton-scrypt` takes some minutes and a GiB or two.
//!
//! Each figure is the best of several rounds, and in each round everything has a turn. Time is that for which
//! the thread ran, so other programs disturb it only by what they do to caches and memory.

use std::time::Duration;

use jeton_scrypt::{Cost, Input, Kernel, Memory};

const COST: Cost = Cost { ln: 17, r: 8, p: 1 };
const LANES: [usize; 5] = [1, 2, 4, 8, 16];

fn main() {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let shapes: Vec<(Kernel, usize)> = Kernel::all_here()
        .flat_map(|kernel| LANES.map(|lanes| (kernel, lanes)))
        .filter(|(kernel, lanes)| *lanes <= kernel.lanes())
        .collect();
    let lanes_max = shapes.iter().map(|(_, lanes)| *lanes).max().expect("a kernel");

    let mut crate_scrypt = Duration::MAX;
    let mut best = vec![Duration::MAX; shapes.len()];
    for _ in 0..rounds {
        let parameters = scrypt::Params::new(COST.ln, COST.r, COST.p).expect("valid parameters");
        crate_scrypt = crate_scrypt.min(time(|| {
            for _ in 0..1 {
                scrypt::scrypt(b"password", b"salt", &parameters, &mut [0; 32])
                    .expect("a valid length");
            }
        }));
        for ((kernel, lanes), best) in shapes.iter().zip(&mut best) {
            let memory = Memory::reserve_for(*kernel, COST.memory() * lanes_max as u64);
            let mut memory = memory.expect("the memory of some hashes");
            // The system gives memory when it is first written to.
            memory.lend(lanes * COST.memory() as usize / 1_024);
            let inputs = vec![Input { password: b"password", salt: b"salt" }; *lanes];
            *best = (*best).min(time(|| {
                for _ in 0..1 {
                    memory.scrypt_many(COST, &inputs, &mut vec![[0; 32]; *lanes]);
                }
            }));
        }
    }

    println!("{COST:?}; crate scrypt: {:.2} hashes/s", 1.0 / crate_scrypt.as_secs_f64());
    println!("kernel    at once  seconds  hashes/s  ÷ crate scrypt");
    for ((kernel, lanes), time) in shapes.iter().zip(best) {
        let rate = *lanes as f64 / time.as_secs_f64();
        let ratio = rate * crate_scrypt.as_secs_f64();
        println!(
            "{:9} {lanes:>7}  {:>7.3}  {rate:>8.2}  {ratio:>6.2}",
            kernel.name(),
            time.as_secs_f64()
        );
    }
}

/// How long this thread runs while it does that.
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
