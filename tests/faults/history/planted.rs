//! Bugs that are planted in a copy of the sources: the same run that the service gets through must catch
//! each of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::database::new_folder;
use crate::harness::executable::PROGRAM_VARIABLE;

/// A text of one file, and what stands there instead.
struct Bug {
    name: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
}

/// What could happen to the sources.
const BUGS: [Bug; 4] = [
    Bug {
        name: "a compare-and-set without its comparison",
        file: "sql/refresh_session.sql",
        right: "    AND generation = $2\n",
        wrong: "    AND $2 >= 0\n",
    },
    Bug {
        name: "a retry that ignores revocation: it is answered from what the replica remembers",
        file: "src/service/token/refresh.rs",
        right: "let session = session.ok_or(Reason::UnknownSession)?;",
        wrong: "
            static SEEN: std::sync::Mutex<Vec<jeton_store::sessions::StoredSession>> =
                std::sync::Mutex::new(Vec::new());
            let session = {
                let mut seen = SEEN.lock().expect(\"no request panics\");
                if let Some(session) = session {
                    seen.retain(|other| other.id != session.id);
                    seen.push(session);
                }
                let own = seen.iter().find(|session| session.id == claims.session);
                own.cloned().ok_or(Reason::UnknownSession)?
            };",
    },
    Bug {
        name: "a token that was used before ends nothing",
        file: "src/service/token/refresh.rs",
        right: "if !self.store.perform(end).await? {",
        wrong: "if end.generation < 0 {",
    },
    Bug {
        name: "an exchanged refresh token is said to be active",
        file: "src/service/introspection.rs",
        right: "claims.generation >= session.generation",
        wrong: "claims.generation >= session.generation - 1",
    },
];

/// What a program is built from.
const SOURCES: [&str; 5] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "src", "sql"];

/// The run that must catch a bug.
const RUN: &str = "long_histories_on_postgres_fit_the_model";
/// What it says then.
const CAUGHT: &str = "no order of these operations explains the last answer";

impl Bug {
    /// Builds the program with the bug, and returns where it is.
    fn plant(&self, target: &Path) -> PathBuf {
        let copy = new_folder();
        let sources = SOURCES.map(|source| root().join(source));
        run(Command::new("cp").arg("-r").args(sources).arg(&copy));
        let file = copy.join(self.file);
        let text = std::fs::read_to_string(&file).expect("a file of the sources");
        assert_eq!(text.matches(self.right).count(), 1, "{} does not have it once", self.file);
        std::fs::write(&file, text.replace(self.right, self.wrong)).expect("it can be written");
        run(Command::new(env!("CARGO"))
            .args(["build", "--locked", "--offline", "--bin", "jeton", "--manifest-path"])
            .arg(copy.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", target));
        std::fs::remove_dir_all(&copy).expect("a folder of the test");
        target.join("debug/jeton")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A target folder whose dependencies are those that the tests were built with, so that only the program is
/// built: hard links, which Cargo replaces and does not write through.
fn target() -> PathBuf {
    let tests = std::env::current_exe().expect("the test runs");
    let debug = tests.ancestors().nth(2).expect("target/debug/deps/history-…");
    // On the same file system.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    std::fs::remove_dir_all(&target).ok();
    std::fs::create_dir_all(target.join("debug")).expect("a folder");
    let parts = ["deps", "build", ".fingerprint"].map(|part| debug.join(part));
    run(Command::new("cp").arg("-al").args(parts).arg(target.join("debug")));
    target
}

/// Each bug is caught by the run that the service gets through.
#[test]
#[ignore = "it builds the program for each bug, and runs until it is caught"]
#[expect(clippy::print_stderr, reason = "the report of a run")]
fn planted_bugs_are_caught() {
    let target = target();
    for bug in &BUGS {
        let program = bug.plant(&target);
        let tests = std::env::current_exe().expect("the test runs");
        let mut command = Command::new(tests);
        command.args(["--exact", RUN, "--include-ignored", "--nocapture"]);
        command.env(PROGRAM_VARIABLE, &program).env("RUST_BACKTRACE", "0");
        let output = command.output().expect("the tests run");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains(CAUGHT), "{} got through", bug.name);
        let shown = said.split(CAUGHT).nth(1).and_then(|rest| rest.split("\nnote: ").next());
        eprintln!("{}: caught{}", bug.name, shown.unwrap_or_default());
    }
    std::fs::remove_dir_all(&target).expect("a folder of the test");
}
