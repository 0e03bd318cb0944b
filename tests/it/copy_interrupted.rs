//! `jeton db copy` to PostgreSQL that is ended in the middle, by SIGTERM or `kill -9`. A trigger of the target holds it
//! there, which has no like on SQLite.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls};

use crate::harness::database::{Fixtures, PASSWORD};
use crate::harness::executable::{command, run_for_json, serve_in_vain};
use crate::harness::service::login_form;
use crate::harness::{Database, Engine, Executable, Reply, Request, run};

/// Has the first user that is copied wait for a lock.
const HOLD: &str = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS \
                    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$; \
                    CREATE TRIGGER hold BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION hold()";

/// A copy in the middle.
struct Case {
    source: Database,
    target: Database,
    fixtures: &'static Fixtures,
    /// A replica on the source.
    service: Executable,
    copy: Child,
    /// Holds the lock.
    holder: Client,
}

impl Case {
    async fn begin(engine: Engine) -> Self {
        let (source, fixtures) = Database::filled(engine).await;
        let target = Database::migrated(Engine::Postgres).await;
        let (holder, connection) =
            tokio_postgres::connect(&target.url, NoTls).await.expect("the server of the test run");
        tokio::spawn(connection);
        let hold = format!("{HOLD}; SELECT pg_advisory_lock(1)");
        holder.batch_execute(&hold).await.expect("a script of the test");
        let service = Executable::serve_on(&source, fixtures, &[]);
        let mut copy =
            command(&["db", "copy", "--yes", "--from", &source.url, "--to", &target.url]);
        copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let copy = copy.spawn().expect("it starts");
        let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND \
                     database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting = async {
            while target.query(waits).await.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_mins(1), waiting).await.expect("it copies users");
        Self { source, target, fixtures, service, copy, holder }
    }

    /// Sends a signal, and waits for the end of the copy.
    async fn end_copy(&mut self, signal: &str) -> Output {
        let process = self.copy.id().to_string();
        Command::new("kill").args(["-s", signal, &process]).status().expect("kill runs");
        let nothing = command(&["--version"]).stdout(Stdio::null()).spawn().expect("it starts");
        let copy = std::mem::replace(&mut self.copy, nothing);
        let ending = spawn_blocking(|| copy.wait_with_output().expect("a child of ours"));
        ending.await.expect("no panic")
    }

    async fn log_in(&self) -> Reply {
        let form = format!("{}&client_id=spa", login_form("alice", PASSWORD));
        Request::new(self.service.public, "POST", "/token").form(&form).send().await
    }

    /// No service starts on the target, and it says why.
    fn assert_unusable(&self) {
        assert_eq!(closed(&self.target), "unfinished");
        let master_key = self.fixtures.master_key.display().to_string();
        let arguments = ["--database", &self.target.url, "--master-key-file", &master_key];
        let (code, log) = serve_in_vain(&arguments);
        assert_eq!(code, Some(1));
        assert!(log.contains("is not complete") && log.contains("`jeton db copy` again"), "{log}");
    }

    /// The same command again, which nothing holds up, copies everything: the sessions of both logins.
    async fn assert_repeatable(mut self, sessions: usize) {
        let release = "SELECT pg_advisory_unlock(1); DROP TRIGGER hold ON users";
        self.holder.batch_execute(release).await.expect("a script of the test");
        let copied = ["db", "copy", "--yes", "--from", &self.source.url, "--to", &self.target.url];
        let copied = run(&copied);
        assert!(copied.status.success(), "{}", said(&copied));
        assert_eq!((closed(&self.source).as_str(), closed(&self.target).as_str()), ("moved", ""));
        let rows = self.target.query("SELECT session_id FROM sessions").await;
        assert_eq!(rows.len(), sessions);
        self.copy.wait().expect("a child of ours");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Why a database takes no changes; empty if it does.
fn closed(database: &Database) -> String {
    let status = run_for_json(&["db", "status", "--json", "--database", &database.url], "");
    status["closed"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// A copy that is told to stop says that nothing was copied. The source takes changes again, the target cannot be used.
#[tokio::test]
async fn a_copy_that_is_told_to_stop_gives_the_source_back() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut case = Case::begin(engine).await;
        assert_eq!(case.log_in().await.status, 503);
        let output = case.end_copy("TERM").await;
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        for part in ["nothing was copied", "takes changes as before", "told to stop"] {
            assert!(said(&output).contains(part), "{part} in {}", said(&output));
        }
        assert_eq!(closed(&case.source), "");
        assert_eq!(case.log_in().await.status, 200);
        case.assert_unusable();
        case.assert_repeatable(1).await;
    }
}

/// After `kill -9` the source stays closed, and the target cannot be used. `jeton db reopen` gives the source back, and the
/// same command copies it anew.
#[tokio::test]
async fn a_copy_that_is_killed_leaves_the_source_closed_until_it_is_reopened() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut case = Case::begin(engine).await;
        case.end_copy("KILL").await;
        assert_eq!(closed(&case.source), "copying");
        assert_eq!(case.log_in().await.status, 503);
        case.assert_unusable();
        let reopened = run(&["db", "reopen", "--yes", "--database", &case.source.url]);
        assert!(reopened.status.success(), "{}", said(&reopened));
        assert_eq!(case.log_in().await.status, 200);
        case.assert_repeatable(1).await;
    }
}
