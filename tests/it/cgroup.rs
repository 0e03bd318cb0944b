//! A real limit of memory, where the system lets the test set one; the reader itself is tested on recorded
//! trees (`src/cli/memory_limit.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::database::new_folder;

/// A cgroup below or beside the test's own; gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one with this limit; why not, if it cannot.
    fn make(octets: u64) -> Result<Self, String> {
        let read =
            |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let own = read("/proc/self/cgroup")?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let top = Path::new("/sys/fs/cgroup");
        let own = top.join(path.ok_or("no cgroup of version 2")?);
        // A cgroup that has processes hands no controller down, so it is rather one above.
        let hands_memory_down = |folder: &&Path| {
            let controllers = read(&folder.join("cgroup.subtree_control").display().to_string());
            controllers.is_ok_and(|all| all.split_whitespace().any(|one| one == "memory"))
        };
        let mut above = own.ancestors().take_while(|folder| folder.starts_with(top));
        let above = above.find(hands_memory_down).ok_or("no cgroup above hands memory down")?;
        let made = Self(above.join(format!("jeton-test-{}", std::process::id())));
        std::fs::create_dir(&made.0).map_err(|error| error.to_string())?;
        std::fs::write(made.0.join("memory.max"), octets.to_string()).map_err(|e| e.to_string())?;
        Ok(made)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

/// A service in a cgroup plans with the limit of that, and says where it is from.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says why")]
fn the_limit_of_the_own_cgroup_is_in_force() {
    let cgroup = match Cgroup::make(200 << 20) {
        Ok(cgroup) => cgroup,
        Err(reason) => {
            eprintln!("left out, because no cgroup can be made here: {reason}");
            return;
        }
    };
    let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$1\" check --scrypt ln=15,r=8,p=3";
    let folder = new_folder();
    let output = Command::new("sh")
        .args(["-c", script, &cgroup.0.display().to_string(), env!("CARGO_BIN_EXE_jeton")])
        .current_dir(&folder)
        .output()
        .expect("sh runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected = format!("of the 200MiB of {}/memory.max", cgroup.0.display());
    assert!(printed.contains(&expected), "{printed}");
    std::fs::remove_dir_all(&folder).ok();
}
