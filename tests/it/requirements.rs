//! The requirement table: which test shows which row, generated from the tests themselves.
//!
//! `tests/requirements/rows.tsv` lists the rows with what they demand and their sources, `choices.tsv` what the
//! sources leave open and what Jeton does, and `reasons.tsv` says of some rows why no test shows them. A test claims a row by naming it in brackets in its documentation.
//! `JETON_UPDATE_DOCS=1 cargo test requirement` writes `docs/requirements.md` anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The groups of which every row must be shown or explained.
const COMPLETE: [&str; 18] = [
    "TP", "TC", "TG", "TR", "TS", "TX", "TK", "TE", "K", "I", "R", "M", "J", "H", "C", "S", "W",
    "O",
];

/// The groups in the order of the table.
const GROUPS: [(&str, &str); 20] = [
    ("TP", "Token endpoint: request parsing"),
    ("TC", "Token endpoint: client authentication"),
    ("TG", "Token endpoint: password grant"),
    ("TR", "Token endpoint: refresh grant"),
    ("TS", "Token endpoint: scope"),
    ("TX", "Token endpoint: resource indicators"),
    ("TK", "Token endpoint: success response"),
    ("TE", "Token endpoint: error responses"),
    ("K", "JWKS"),
    ("I", "Introspection"),
    ("IJ", "Introspection: JWT response"),
    ("R", "Revocation"),
    ("M", "Metadata"),
    ("J", "JWT access token"),
    ("H", "TLS and HTTP"),
    ("C", "CORS"),
    ("S", "Security considerations"),
    ("D", "DPoP"),
    ("W", "Passwords and user names"),
    ("O", "One-time passwords"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A table of tab-separated values with so many columns.
fn table<const COLUMNS: usize>(name: &str) -> Vec<[String; COLUMNS]> {
    let path = root().join("tests/requirements").join(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let split = |line: &str| {
        let cells: Vec<_> = line.split('\t').map(str::to_owned).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{name}: not {COLUMNS} columns in {line:?}"))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(split).collect()
}

/// Why no test shows a row, by row.
fn reasons() -> BTreeMap<String, String> {
    table("reasons.tsv").into_iter().map(|[id, reason]| (id, reason)).collect()
}

/// Every source file below a folder that may hold tests.
fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the project") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "py") {
            all.push(path);
        }
    }
}

/// The row identifiers in brackets in a line, such as `[TP-09]`.
fn cited(line: &str) -> Vec<String> {
    let is_row = |text: &str| {
        text.split_once('-').is_some_and(|(group, number)| {
            GROUPS.iter().any(|(known, _)| *known == group)
                && number.len() == 2
                && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    };
    let parts = line.split('[').skip(1).filter_map(|part| part.split(']').next());
    parts.filter(|text| is_row(text)).map(str::to_owned).collect()
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line
        .strip_prefix("fn ")
        .or_else(|| line.strip_prefix("async fn "))
        .or_else(|| line.strip_prefix("def "))?;
    rest.split('(').next()
}

/// Which tests show which row: the path of the file and the name of the test.
fn claims() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("tests"), &mut files);
    let mut claims: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files.iter().filter(|path| !path.ends_with("it/requirements.rs")) {
        let text = fs::read_to_string(path).expect("a source of the project");
        let short = path.strip_prefix(root()).expect("below the root").display().to_string();
        let is_python = path.extension().is_some_and(|end| end == "py");
        let (mut pending, mut current) = (Vec::new(), None);
        for line in text.lines() {
            let trimmed = line.trim_start();
            if trimmed.starts_with("///") {
                pending.extend(cited(line));
            } else if let Some(name) = function(line) {
                current = Some(name.to_owned());
                for id in pending.drain(..) {
                    claims.entry(id).or_default().insert(format!("`{short}` {name}"));
                }
            } else if trimmed.starts_with("//") || is_python {
                for id in cited(line) {
                    let name = current.as_deref().unwrap_or_else(|| panic!("{short}: {line}"));
                    claims.entry(id).or_default().insert(format!("`{short}` {name}"));
                }
            }
        }
    }
    claims
}

fn generate() -> String {
    let rows = table::<3>("rows.tsv");
    let reasons = reasons();
    let claims = claims();
    let mut page = String::from(
        "# Requirements\n\n\
         Generated from the tests by `JETON_UPDATE_DOCS=1 cargo test requirement`; the test run fails \
         when it is out of date. Each row is one rule, in a sentence, of the source named beside it. A \
         number such as X-02 names a choice at the end of the page. A row is shown by the tests named, each of which runs on both engines if it stands in `tests/it/suite`, or has a \
         reason why no test shows it.\n\n\
         | group | rows | shown by a test | reason given | open |\n|---|---|---|---|---|\n",
    );
    let group_of = |id: &str| id.split('-').next().unwrap_or_default().to_owned();
    let in_group = |group: &'static str| rows.iter().filter(move |[id, ..]| group_of(id) == group);
    for (group, title) in GROUPS {
        let shown = in_group(group).filter(|[id, ..]| claims.contains_key(id)).count();
        let unshown = || in_group(group).filter(|[id, ..]| !claims.contains_key(id));
        let explained = unshown().filter(|[id, ..]| reasons.contains_key(id)).count();
        let open = unshown().count() - explained;
        let total = in_group(group).count();
        writeln!(page, "| {group} {title} | {total} | {shown} | {explained} | {open} |").ok();
    }
    for (group, title) in GROUPS {
        write!(
            page,
            "\n## {group}: {title}\n\n| row | demand | source | shown by |\n|---|---|---|---|\n"
        )
        .ok();
        for [id, demand, source] in in_group(group) {
            let tests = claims.get(id).map(|tests| tests.iter().cloned().collect::<Vec<_>>());
            let mut shown = tests.unwrap_or_default().join("<br>");
            if let Some(reason) = reasons.get(id) {
                let gap = if shown.is_empty() { "" } else { "<br>" };
                write!(shown, "{gap}*{reason}*").ok();
            }
            let demand = demand.replace('|', "\\|");
            writeln!(page, "| {id} | {demand} | {source} | {shown} |").ok();
        }
    }
    page.push_str("\n## X: Choices where the sources are silent or disagree\n\n| choice | question | what Jeton does |\n|---|---|---|\n");
    for [id, question, choice] in table::<3>("choices.tsv") {
        writeln!(page, "| {id} | {question} | {choice} |").ok();
    }
    page
}

#[test]
fn every_requirement_of_the_complete_groups_is_shown_or_explained() {
    let reasons = reasons();
    let claims = claims();
    let rows = table::<3>("rows.tsv");
    let known = |id: &String| rows.iter().any(|[row, ..]| row == id);
    let unknown: Vec<_> = claims.keys().chain(reasons.keys()).filter(|id| !known(id)).collect();
    assert!(unknown.is_empty(), "no such rows: {unknown:?}");
    let is_due = |id: &str| COMPLETE.iter().any(|group| id.split('-').next() == Some(group));
    let missing: Vec<_> = rows
        .iter()
        .map(|[id, ..]| id)
        .filter(|id| is_due(id) && !claims.contains_key(*id) && !reasons.contains_key(*id))
        .collect();
    assert!(missing.is_empty(), "neither shown by a test nor explained: {missing:?}");
}

/// A row that names a choice would else lead nowhere.
#[test]
fn every_choice_that_a_requirement_names_is_listed() {
    let choices = table::<3>("choices.tsv");
    let is_listed = |name: &str| choices.iter().any(|[id, ..]| id == name);
    for [id, demand, source] in table::<3>("rows.tsv") {
        for part in format!("{demand} {source}").split("X-").skip(1) {
            let name: String = part.chars().take_while(char::is_ascii_digit).collect();
            let is_choice = !name.is_empty();
            assert!(!is_choice || is_listed(&format!("X-{name}")), "{id} names X-{name}");
        }
    }
}

#[test]
fn the_requirement_table_is_up_to_date() {
    let path = root().join("docs/requirements.md");
    let page = generate();
    if std::env::var_os("JETON_UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("a writable project");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/requirements.md is out of date: run `JETON_UPDATE_DOCS=1 cargo test requirement`"
    );
}
