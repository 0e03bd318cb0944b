//! `jeton demo`: what it prints is what a newcomer pastes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::database::new_folder;
use crate::harness::executable::command;

/// A process that is killed when dropped.
struct Demo(std::process::Child);

impl Drop for Demo {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Every curl line that `jeton demo` prints works as it is, in the order in which it is printed; on
/// Ctrl-C the process ends well and leaves nothing behind.
#[test]
fn the_lines_of_the_demo_work_as_pasted() {
    let folder = new_folder();
    let mut demo = Demo(
        command(&["demo", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"])
            .env("TMPDIR", &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let mut output = BufReader::new(demo.0.stdout.take().expect("it was piped")).lines();
    let mut pasted: Vec<String> = Vec::new();
    for line in output.by_ref() {
        let line = line.expect("UTF-8");
        if line.contains("curl ") {
            pasted.push(line.trim().to_owned());
        }
        if line.contains("/introspect") {
            break;
        }
    }
    assert_eq!(pasted.len(), 5, "{pasted:?}");
    let left: Vec<_> = std::fs::read_dir(&folder).expect("its folder").collect();
    assert_eq!(left.len(), 1, "the store is in the temporary folder");

    // One shell, as a newcomer has: a line that sets a variable serves the lines after it.
    let script = pasted.join("\necho; echo @@\n");
    let answers = Command::new("sh")
        .args(["-e", "-c", &script])
        .env("no_proxy", "*")
        .output()
        .expect("a shell runs");
    assert!(answers.status.success(), "{answers:?}");
    let answers = String::from_utf8(answers.stdout).expect("UTF-8");
    let answers: Vec<&str> = answers.split("@@").map(str::trim).collect();
    let json = |index: usize| -> Value {
        serde_json::from_str(answers[index]).unwrap_or_else(|error| panic!("{error}: {answers:?}"))
    };
    assert!(json(0)["access_token"].is_string(), "{answers:?}");
    assert_eq!(answers[1], "", "the token went into the variable");
    assert!(json(2)["keys"][0]["kid"].is_string(), "{answers:?}");
    let issuer = json(3)["issuer"].clone();
    assert!(issuer.as_str().is_some_and(|issuer| issuer.starts_with("http://localhost:")));
    let seen = json(4);
    assert_eq!(seen["active"], true, "{answers:?}");
    assert_eq!(seen["username"], "johndoe");
    assert_eq!(seen["scope"], "read write");
    assert_eq!(seen["iss"], issuer);

    let id = demo.0.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().expect("kill runs").success());
    assert_eq!(output.last().map(|line| line.expect("UTF-8").contains("thrown away")), Some(true));
    assert_eq!(demo.0.wait().expect("a child of ours").code(), Some(0));
    assert_eq!(std::fs::read_dir(&folder).expect("its folder").count(), 0, "nothing is left");
    std::fs::remove_dir(&folder).ok();
}

/// A demonstration that cannot start leaves nothing behind either, and says which address to change.
#[test]
fn a_demo_that_cannot_start_leaves_nothing() {
    let folder = new_folder();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address").to_string();
    let output = command(&["demo", "--listen", &taken, "--management-listen", "127.0.0.1:0"])
        .env("TMPDIR", &folder)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&taken) && errors.contains("--listen"), "{errors}");
    assert_eq!(std::fs::read_dir(&folder).expect("its folder").count(), 0);
    std::fs::remove_dir(&folder).ok();
}
