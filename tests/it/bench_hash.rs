//! `jeton bench hash`: what this machine hashes a second.

use serde_json::Value;

use crate::harness::run;

const LIMIT: u64 = 128 << 20;
/// Little memory, few seconds, and a cost of which several hashes fit into the memory.
const ARGUMENTS: [&str; 10] = [
    "bench",
    "hash",
    "--scrypt",
    "ln=15,r=8,p=3",
    "--hash-threads",
    "1",
    "--hash-memory",
    "128MiB",
    "--seconds",
    "1",
];

#[test]
fn each_number_of_hashes_that_fits_the_memory_is_measured() {
    let output = run(&[&ARGUMENTS[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let measured = report["measured"].as_array().expect("a list");
    assert!(!measured.is_empty());
    for (exponent, row) in measured.iter().enumerate() {
        assert_eq!((&row["threads"], &row["hashes_at_once"]), (&1.into(), &(1 << exponent).into()));
        assert!(row["memory"].as_u64().is_some_and(|memory| memory <= LIMIT), "{row}");
        assert!(row["hashes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
    }
    for row in report["other_costs"].as_array().expect("a list") {
        assert!(row["memory"].as_u64().is_some_and(|memory| memory <= LIMIT), "{row}");
        // The command may measure what the service may not use.
        assert_eq!(row["is_allowed"], row["scrypt"] != "ln=14,r=8,p=5");
    }
    assert_eq!(report["in_force"]["hash_memory"], LIMIT);
    assert!(report["advice"]["hash_memory"].as_u64().is_some_and(|memory| memory <= LIMIT));
}

#[test]
fn the_report_fits_a_terminal() {
    let output = run(&ARGUMENTS);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.lines().all(|line| line.chars().count() < 80), "{printed}");
    for part in
        ["LOGINS/S", "1 x 1  #", "ln=16,r=8,p=2", "Advice:   --hash-threads 1 --hash-memory"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let output = run(&["bench", "hash", "--seconds", "0"]);
    assert_eq!(output.status.code(), Some(2));
}
