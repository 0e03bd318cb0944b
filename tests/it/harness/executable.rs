//! The real executable: its commands, and `jeton serve` as a process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::audit_events;
use super::client::Request;
use super::database::{Database, Fixtures, SCRYPT};

/// Names another executable to be tested: one with a bug that the tests must see.
pub(crate) const PROGRAM_VARIABLE: &str = "JETON_TEST_PROGRAM";
/// The longest that a start may take.
const START_MAX: Duration = Duration::from_secs(30);

/// A command of the real executable, without settings from the environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    command_by(&[], arguments)
}

/// The same, run by another command.
fn command_by(by: &[&str], arguments: &[&str]) -> Command {
    let other = std::env::var(PROGRAM_VARIABLE).ok();
    let executable = other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_jeton"));
    let program = [by, &[executable]].concat();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]);
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

/// Runs a command to its end without a terminal, wherever the tests were started from.
pub(crate) fn run_without_terminal(arguments: &[&str]) -> Output {
    let mut child = command_by(&["setsid", "--wait"], arguments);
    child.stdin(Stdio::null()).output().expect("setsid runs: it is in util-linux")
}

/// Runs a command to its end on a terminal, at which this is typed: its exit code and all that the terminal shows.
pub(crate) fn run_on_terminal(arguments: &[&str], typed: &str) -> (Option<i32>, String) {
    let quoted = arguments.iter().map(|argument| format!("'{argument}'"));
    let other = std::env::var(PROGRAM_VARIABLE).ok();
    let executable = other.unwrap_or_else(|| env!("CARGO_BIN_EXE_jeton").to_owned());
    let program = std::iter::once(executable).chain(quoted);
    let line = program.collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script runs: it is in bsdutils");
    let mut keyboard = child.stdin.take().expect("it was piped");
    keyboard.write_all(typed.as_bytes()).ok();
    drop(keyboard);
    let output = child.wait_with_output().expect("script ends");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
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

/// The addresses of both listeners, if this line of the log has them, in whichever format.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let entry: Value = serde_json::from_str(line).unwrap_or_default();
    let address = |name: &str| {
        let after = || line.split_once(&format!(" {name}="))?.1.split(' ').next();
        entry[name].as_str().or_else(after)?.parse().ok()
    };
    line.contains("serving").then_some(())?;
    Some((address("public")?, address("management")?))
}

/// Kills a process that does not serve in time, which ends its log; not if it is told before.
fn kill_unless_told(process: u32) -> mpsc::Sender<()> {
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || {
        // The sender is also gone when the process ended by itself.
        if told.recv_timeout(START_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            Command::new("kill").args(["-s", "KILL", &process.to_string()]).status().ok();
        }
    });
    sender
}

/// The lines of a log that nobody reads yet.
pub(crate) type Unread = std::io::Lines<BufReader<ChildStderr>>;

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

    /// Starts `jeton serve` so that it can have only so many files open.
    pub(crate) fn serve_with_files(files: u64, arguments: &[&str]) -> Self {
        let limit = format!("--nofile={files}:{files}");
        let started = Self::try_serve_by(&["prlimit", &limit], arguments);
        started.unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// Starts `jeton serve`; its log if it ends before it serves.
    pub(crate) fn try_serve(arguments: &[&str]) -> Result<Self, String> {
        Self::try_serve_by(&[], arguments)
    }

    /// Starts it by a command that becomes it, such as `env NAME=VALUE`, and reads its log; its log if it does
    /// not serve within half a minute.
    pub(crate) fn try_serve_by(by: &[&str], arguments: &[&str]) -> Result<Self, String> {
        let (mut process, unread) = Self::start_unread(by, arguments)?;
        process.read(unread);
        Ok(process)
    }

    /// Starts `jeton serve` on a filled database, and reads its log only until it serves. What comes then is
    /// in the pipe that is returned.
    pub(crate) fn serve_unread(database: &Database, fixtures: &Fixtures) -> (Self, Unread) {
        let master_key = fixtures.master_key.display().to_string();
        let place = ["--database", &database.url, "--master-key-file", &master_key];
        let all = [&place[..], &["--issuer", "http://localhost", "--scrypt", SCRYPT]].concat();
        Self::start_unread(&[], &all).unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// Reads the log from now on.
    pub(crate) fn read(&mut self, unread: Unread) {
        let sink = Arc::clone(&self.log);
        self.reader = Some(std::thread::spawn(move || {
            for line in unread.map_while(Result::ok) {
                audit_events::check(&line);
                let mut log = sink.lock().expect("no writer panics");
                log.push_str(&line);
                log.push('\n');
            }
        }));
    }

    fn start_unread(by: &[&str], arguments: &[&str]) -> Result<(Self, Unread), String> {
        let free = ["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"];
        let mut all = vec!["serve"];
        for pair in free.chunks(2).chain([&["--log-format", "json"][..]]) {
            if !arguments.contains(&pair[0]) {
                all.extend(pair);
            }
        }
        all.extend(arguments);
        let mut child = command_by(by, &all).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
        let serving = kill_unless_told(child.id());
        let mut early = String::new();
        let addresses = loop {
            let Some(Ok(line)) = lines.next() else {
                child.wait().ok();
                return Err(early);
            };
            audit_events::check(&line);
            early.push_str(&line);
            early.push('\n');
            if let Some(addresses) = addresses(&line) {
                break addresses;
            }
        };
        serving.send(()).ok();
        let log = Arc::new(Mutex::new(early));
        let (public, management) = addresses;
        Ok((Self { child, public, management, log, reader: None }, lines))
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Stops every thread of the process (SIGSTOP) until it is sent `CONT`.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        let runs = |status: &str| !status.contains("State:\tT");
        let any_runs = || {
            let threads = std::fs::read_dir(&threads).expect("Linux, and a process that is there");
            let statuses = threads.flatten().map(|thread| thread.path().join("status"));
            statuses.flat_map(std::fs::read_to_string).any(|status| runs(&status))
        };
        while any_runs() {
            std::thread::yield_now();
        }
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

    /// What the system tells of the process, such as its `cmdline`; nothing if only root may know.
    pub(crate) fn process_file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(format!("/proc/{}/{name}", self.child.id())).ok()
    }

    /// Lifts the limit of the size of a core dump, as an operator may have done.
    pub(crate) fn allow_core_dumps(&self) {
        let id = format!("--pid={}", self.child.id());
        let lifted = Command::new("prlimit").args([&id, "--core=unlimited"]).status();
        assert!(lifted.expect("prlimit runs: it belongs to util-linux").success());
    }

    /// Kills the process with a signal that makes others dump their memory; whether it did.
    pub(crate) fn dumps_core(&mut self) -> bool {
        self.signal("ABRT");
        self.child.wait().expect("a child of ours").core_dumped()
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        Request::new(self.management, "GET", "/metrics").send().await.metric(name)
    }

    /// The most memory that the process ever had, in octets.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that the process has now, in octets.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// How many files the process has open.
    pub(crate) fn open_files(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.expect("Linux, and a process that runs").count()
    }

    /// From now on the process can have only so many files open.
    pub(crate) fn limit_files(&self, files: usize) {
        self.limit(&format!("--nofile={files}:{files}"));
    }

    /// From now on the process has this limit, in the words of `prlimit`.
    pub(crate) fn limit(&self, limit: &str) {
        let id = self.child.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &id, limit]).status();
        assert!(set.expect("prlimit runs: it is in util-linux").success());
    }

    /// A size in the kernel's account of the process, in octets.
    fn status(&self, name: &str) -> u64 {
        let status = self.process_file("status").expect("Linux, and a process that runs");
        let status = String::from_utf8(status).expect("text");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
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
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
        audit_events::assert_documented();
    }
}
