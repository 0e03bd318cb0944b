//! The pages on metrics and audit events say what there is.
//!
//! `JETON_UPDATE_DOCS=1 cargo test metrics_page` writes the table of `docs/metrics.md` anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::audit_events::Schema;
use crate::harness::database::PASSWORD;
use crate::harness::service::login_form;
use crate::harness::tls::Pair;
use crate::harness::{Database, Engine, Executable, Request, refresh_form};

const MARKS: [&str; 2] = ["<!-- generated -->\n", "<!-- end -->\n"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What is known of a family.
#[derive(Default)]
struct Family {
    kind: String,
    unit: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families of a page of OpenMetrics.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(value)) => {
                let family = families.entry(name.to_owned()).or_default();
                let place = match what {
                    "HELP" => &mut family.help,
                    "TYPE" => &mut family.kind,
                    "UNIT" => &mut family.unit,
                    _ => panic!("{line}"),
                };
                value.clone_into(place);
            }
            _ if line == "# EOF" => {}
            _ => {
                let (name, labels) = line.split_once('{').unwrap_or((line, ""));
                let name = name.split(' ').next().unwrap_or_default();
                let own = families.iter_mut().rev().find(|(family, _)| {
                    name.strip_prefix(family.as_str()).is_some_and(|end| {
                        ["", "_total", "_info", "_sum", "_count", "_bucket"].contains(&end)
                    })
                });
                let (_, own) = own.unwrap_or_else(|| panic!("a sample of no family: {line}"));
                let labels = labels.split('}').next().unwrap_or_default().split("\",");
                let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                own.labels.extend(names.filter(|label| label != "le"));
            }
        }
    }
    families
}

/// What a service shows that was asked for everything once, and one that has TLS.
async fn shown() -> BTreeMap<String, Family> {
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let process = Executable::serve_on(&database, fixtures, &[]);
    let send = async |client: &str, path: &str, form: &str| {
        let request = Request::new(process.public, "POST", path).form(form);
        request.basic(client, fixtures.secret(client)).send().await
    };
    let login = send("web", "/token", &login_form("alice", PASSWORD)).await;
    let refreshed = send("web", "/token", &refresh_form(&login.refresh_token())).await;
    send("rs1", "/introspect", &format!("token={}", refreshed.access_token())).await;
    send("web", "/revoke", &format!("token={}", refreshed.refresh_token())).await;
    let mut all = families(&page(&process).await);

    let pair = Pair::new();
    let (database, fixtures) = Database::filled(Engine::Sqlite).await;
    let mut arguments = pair.arguments();
    arguments.extend([
        "--database".to_owned(),
        database.url.clone(),
        "--master-key-file".to_owned(),
    ]);
    arguments.push(fixtures.master_key.display().to_string());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let with_tls = Executable::serve(&arguments);
    for (name, family) in families(&page(&with_tls).await) {
        all.entry(name).or_insert(family);
    }
    all
}

/// The metrics in OpenMetrics, once it is known whether the database takes writes: the first who asks has it looked at.
async fn page(process: &Executable) -> String {
    let metrics = Request::new(process.management, "GET", "/metrics");
    let metrics = metrics.header("Accept", "application/openmetrics-text");
    loop {
        let page = metrics.send().await.text().to_owned();
        if page.contains(r#"jeton_ready{need="database"}"#) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The table of the page on metrics.
fn table(families: &BTreeMap<String, Family>) -> String {
    let mut table = "| metric | type | labels | what it is |\n|---|---|---|---|\n".to_owned();
    for (name, family) in families {
        let end = match &*family.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let unit = if family.unit.is_empty() { "" } else { ", in " };
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, help) = (&family.kind, &family.help);
        let (unit_name, labels) = (&family.unit, labels.join(", "));
        writeln!(table, "| `{name}{end}` | {kind}{unit}{unit_name} | {labels} | {help} |").ok();
    }
    table
}

/// The page lists every metric that a service shows, with type, unit, labels and meaning, and no other; and it explains
/// every label.
#[tokio::test]
async fn the_metrics_page_lists_what_a_service_shows() {
    let families = shown().await;
    for (name, family) in &families {
        assert!(family.help.len() > 10, "no help: {name}");
        let ends_with_unit = |unit: &str| name.ends_with(&format!("_{unit}"));
        let unit = ["seconds", "bytes"].into_iter().find(|unit| ends_with_unit(unit));
        assert_eq!(family.unit, unit.unwrap_or_default(), "the unit of {name}");
    }
    let path = root().join("docs/metrics.md");
    let page = fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(MARKS[0]).expect("the first mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("the last mark");
    let [first, last] = MARKS;
    let right = format!("{before}{first}{}{last}{after}", table(&families));
    if std::env::var_os("JETON_UPDATE_DOCS").is_some() {
        fs::write(path, &right).expect("a page that can be written");
    } else {
        let update = "JETON_UPDATE_DOCS=1 cargo test metrics_page";
        assert_eq!(page, right, "docs/metrics.md is out of date: {update}");
    }
    for label in families.values().flat_map(|family| &family.labels) {
        assert!(after.contains(&format!("| `{label}` |")), "docs/metrics.md explains no {label}");
    }
}

/// The texts of all sources of the service.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all += &fs::read_to_string(&path).expect("a source of the project");
        }
    }
    all
}

/// The page on audit events names no event and no reason that the service does not have, and every reason of the table in
/// `src/oauth/error.rs`. That it lacks nothing else is seen whenever a test has a service log something.
#[test]
fn the_audit_page_names_what_there_is() {
    let schema = Schema::of_page();
    let all = sources(&root().join("src"));
    for word in schema.events.keys().chain(&schema.reasons) {
        assert!(all.contains(&format!("\"{word}\"")), "docs/audit.md: there is no {word}");
    }
    let table = fs::read_to_string(root().join("src/oauth/error.rs")).expect("the table");
    let table = table.split_once("reasons! {").and_then(|(_, rest)| rest.split_once("\n}\n"));
    let (table, _) = table.expect("the table of reasons");
    let labels = table.split(" = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let labels: Vec<_> = labels.collect();
    assert!(labels.len() > 40, "{labels:?}");
    for label in labels {
        assert!(schema.reasons.contains(label), "docs/audit.md explains no {label}");
    }
}
