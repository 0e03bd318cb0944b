//! The real executable: its commands, and `jeton serve` as a process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::Request;
use super::database::{Database, Fixtures, SCRYPT};

/// A command of the real executable, without settings from the environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JETON_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with_input(arguments, "")
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    let mut stdin = child.stdin.take().expect("it was piped");
    // A command that does not read its input may have closed it already.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    child.wait_with_output().expect("the executable ends")
}

/// Runs a command to its end, with these environment variables.
pub(crate) fn run_with_environment(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let variables = variables.iter().copied();
    command(arguments).envs(variables).stdin(Stdio::null()).output().expect("the executable runs")
}

/// Runs `jeton serve`, which must end before it serves: its exit code and standard error.
pub(crate) fn serve_in_vain(arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["serve", "--log-format", "json"];
    for setting in ["--listen", "--management-listen"] {
        if !arguments.contains(&setting) {
            all.extend([setting, "127.0.0.1:0"]);
        }
    }
    all.extend(arguments);
    let mut child = command(&all).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut errors = String::new();
    for line in BufReader::new(child.stderr.take().expect("it was piped")).lines() {
        errors.push_str(&line.expect("UTF-8"));
        errors.push('\n');
        if errors.contains("\"serving\"") {
            child.kill().ok();
            child.wait().ok();
            panic!("it serves, with {arguments:?}");
        }
    }
    (child.wait().expect("a child of ours").code(), errors)
}

/// Runs a command that must succeed, and returns its JSON.
pub(crate) fn run_for_json(arguments: &[&str], input: &str) -> Value {
    let output = run_with_input(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// `jeton serve` as a process; killed when dropped.
pub(crate) struct Executable {
    child: Child,
    pub(crate) public: SocketAddr,
    pub(crate) management: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Reads the log until the process closes it.
    reader: Option<JoinHandle<()>>,
}

impl Executable {
    /// Starts `jeton serve` on free ports and waits until it serves.
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        Self::try_serve(arguments).unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// Starts `jeton serve` on a filled database, under an issuer that does not depend on the port,
    /// with cheap hashes unless told otherwise.
    pub(crate) fn serve_on(database: &Database, fixtures: &Fixtures, further: &[&str]) -> Self {
        let master_key = fixtures.master_key.display().to_string();
        let mut all = vec!["--database", &database.url, "--master-key-file", &master_key];
        all.extend(["--issuer", "http://localhost"]);
        if !further.contains(&"--scrypt") {
            all.extend(["--scrypt", SCRYPT]);
        }
        all.extend(further);
        Self::serve(&all)
    }

    /// Starts `jeton serve`; its log if it ends before it serves.
    pub(crate) fn try_serve(arguments: &[&str]) -> Result<Self, String> {
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let mut all = vec!["serve", "--log-format", "json"];
        for pair in free.chunks(2) {
            if !arguments.contains(&pair[0]) {
                all.extend(pair);
            }
        }
        all.extend(arguments);
        let mut child = command(&all).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let mut early = String::new();
        let addresses = loop {
            let Some(Ok(line)) = lines.next() else {
                child.wait().ok();
                return Err(early);
            };
            early.push_str(&line);
            early.push('\n');
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "serving" {
                let address = |name: &str| entry[name].as_str().and_then(|text| text.parse().ok());
                break (address("public"), address("management"));
            }
        };
        let log = Arc::new(Mutex::new(early));
        let sink = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = sink.lock().expect("no writer panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (Some(public), Some(management)) = addresses else { panic!("no addresses: {log:?}") };
        Ok(Self { child, public, management, log, reader: Some(reader) })
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for the end and returns the exit code; `None` for death by signal.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status.code();
            }
            assert!(Instant::now() < end, "it did not end");
            std::thread::yield_now();
        }
    }

    /// Stops the service, and returns all that it ever logged.
    pub(crate) fn stop_and_read_log(&mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0));
        self.log_to_its_end()
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        Request::new(self.management, "GET", "/metrics").send().await.metric(name)
    }

    /// The most memory that the process ever had, in octets.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux, and a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        number.expect("a number of kB") * 1_024
    }

    /// Everything that was logged; blocks until the process has ended.
    pub(crate) fn log_to_its_end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.log()
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no writer panics").clone()
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
