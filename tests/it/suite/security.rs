//! What no endpoint does, whatever is sent: no statement of a caller's, no connection of a caller's
//! choice, no path beside the documented ones, no token out of a fault.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::forged_token::Forge;
use super::*;
use crate::harness::forge::claims;
use crate::harness::{Database, Engine, Executable, Request, run, run_with_input};

/// ASVS 11.7.2, 13.3.1: what is in memory does not get into a core dump, whatever limit the process was
/// started under. [S-25]
#[tokio::test]
async fn a_crash_writes_no_memory() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    // Another process under the same limit, which shows whether this machine writes dumps at all.
    let control = Command::new("sh")
        .args(["-c", "ulimit -c unlimited && kill -ABRT $$"])
        .current_dir(&database.folder)
        .stderr(Stdio::null())
        .status();
    let writes_dumps =
        std::os::unix::process::ExitStatusExt::core_dumped(&control.expect("sh runs"));
    let mut process = Executable::serve_on(&database, fixtures, &[]);
    if writes_dumps {
        process.allow_core_dumps();
    }
    assert!(!process.dumps_core());
}
