//! SQLite is a file: who copies it, deletes it, fills its disk, backs it up and puts it back. A server
//! has none of this, so these tests are for one engine.

mod backup;
mod file;
mod leftovers;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::harness::database::{PASSWORD, new_folder};
use crate::harness::forge::claims;
use crate::harness::service::login_form;
use crate::harness::{Database, Executable, Fixtures, Reply, Request};

/// The file of a database.
fn file_of(database: &Database) -> PathBuf {
    PathBuf::from(database.url.strip_prefix("sqlite:").expect("SQLite"))
}

/// The files of a folder that belong to a database.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("UTF-8")).collect();
    names.retain(|name| name.contains(".db"));
    names.sort();
    names
}

/// A database with nothing but this file of another.
fn copy_of(file: &Path) -> Database {
    let folder = new_folder();
    let copy = folder.join("jeton.db");
    std::fs::copy(file, &copy).expect("a copy");
    Database { url: format!("sqlite:{}", copy.display()), folder }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn log_in(service: &Executable, fixtures: &Fixtures) -> Reply {
    let request = Request::new(service.public, "POST", "/token");
    let form = login_form("alice", PASSWORD) + "&scope=read";
    request.form(&form).basic("web", fixtures.secret("web")).send().await
}

/// Logs in until the answer has this status.
async fn log_in_until(status: u16, service: &Executable, fixtures: &Fixtures) -> Reply {
    for _ in 0..600 {
        let reply = log_in(service, fixtures).await;
        if reply.status == status {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no answer {status}: {}", service.log());
}

/// What `/readyz` says when it answers that the service is not ready.
async fn not_ready(service: &Executable) -> String {
    for _ in 0..600 {
        let reply = Request::new(service.management, "GET", "/readyz").send().await;
        if reply.status == 503 {
            return reply.text().to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it is ready: {}", service.log());
}

async fn sessions_of(database: &Database) -> HashSet<String> {
    let rows = database.query("SELECT session_id FROM sessions").await;
    rows.into_iter().map(|mut row| row.remove(0).expect("an id")).collect()
}

/// The id of the session of an answer.
fn session_of(reply: &Reply) -> String {
    let claims = claims(&reply.access_token());
    claims["sid"].as_str().expect("a sid").to_owned()
}

/// Whether nothing that was not finished is left in a folder.
fn is_tidy(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names = entries.map(|entry| entry.expect("an entry").file_name());
    !names.any(|name| name.to_string_lossy().contains("unfinished"))
}
