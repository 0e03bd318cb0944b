//! The documents say what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jeton::cli::failure::Kind;
use jeton_store::operator_acts::Deed;

use crate::harness::run;

fn read(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The flags in a text, such as `--listen`.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '-');
    words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_owned).collect()
}

/// The table of settings names every setting of `serve`, with its default, and no other.
#[test]
fn the_table_of_settings_is_that_of_serve() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).expect("text");
    let settings = help.lines().map(str::trim_start).filter(|line| line.starts_with("--"));
    let of_serve: BTreeSet<String> = settings.flat_map(flags).collect();
    let page = read("docs/settings.md");
    let rows = page.lines().filter(|line| line.starts_with("| `--"));
    let first_cells = rows.clone().filter_map(|row| row.split('|').nth(1));
    let of_table: BTreeSet<String> = first_cells.flat_map(flags).collect();
    assert_eq!(of_table, of_serve);

    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (flag, default) = (cells[1].trim_matches('`'), cells[2].trim_matches('`'));
        let described = help.split(&format!("{flag} ")).nth(1);
        let described = described.and_then(|text| text.split("\n\n").next()).unwrap_or_default();
        if described.contains("[default: ") && !default.contains(' ') {
            assert!(described.contains(&format!("[default: {default}]")), "{flag}: {described}");
        }
    }
}

/// `docs/command-line.md` lists every kind of failure with its exit code, and no other.
#[test]
fn the_table_of_exit_codes_is_that_of_the_program() {
    let page = read("docs/command-line.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let code: u8 = cells.get(1)?.parse().ok()?;
        Some((code, cells.get(2)?.trim_matches('`')))
    });
    let kinds = Kind::ALL.iter().map(|kind| (kind.exit_code(), kind.code()));
    let known: Vec<_> = std::iter::once((0, "")).chain(kinds).collect();
    assert_eq!(rows.collect::<Vec<_>>(), known);
}

/// `docs/command-line.md` lists every act that is recorded, and no other.
#[test]
fn the_acts_of_operators_are_listed() {
    let page = read("docs/command-line.md");
    let (_, table) = page.split_once("| act | done by |").expect("the table of acts");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let known: BTreeSet<&str> = Deed::ALL.iter().map(|deed| deed.as_str()).collect();
    assert_eq!(listed, known);
}

/// The documents.
const DOCUMENTS: [&str; 38] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/asvs.md",
    "docs/audit.md",
    "docs/backup.md",
    "docs/cluster.md",
    "docs/command-line.md",
    "docs/decisions.md",
    "docs/doctor.md",
    "docs/glossary.md",
    "docs/interoperability.md",
    "docs/keys.md",
    "docs/metrics.md",
    "docs/moving-from-fastapi.md",
    "docs/operating.md",
    "docs/passwords.md",
    "docs/performance.md",
    "docs/protocol.md",
    "docs/proxies.md",
    "docs/reliability.md",
    "docs/restore.md",
    "docs/retry-window.md",
    "docs/runbooks.md",
    "docs/second-factor.md",
    "docs/security.md",
    "docs/settings.md",
    "docs/sign-up.md",
    "docs/verify-java.md",
    "docs/verify-libraries.md",
    "docs/verify-others.md",
    "docs/verify-servers.md",
    "docs/verify.md",
    "examples/fastapi/README.md",
    "keys/README.md",
    "packaging/kubernetes/README.md",
];

/// Those that name tests, files and rows as evidence.
const WITH_EVIDENCE: [&str; 5] = [
    "SECURITY.md",
    "docs/asvs.md",
    "docs/glossary.md",
    "docs/interoperability.md",
    "docs/security.md",
];

/// The states of a requirement of ASVS, in the order of the table that counts them.
const STATES: [&str; 5] = ["met", "deployment", "n/a", "exception", "open"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a link to a heading says after its `#`.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Every file that a document points to is there, and so is the heading in it.
#[test]
fn every_link_leads_to_a_file() {
    for name in DOCUMENTS {
        let folder = root().join(name).parent().expect("a folder").to_owned();
        for link in read(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() { root().join(name) } else { folder.join(path) };
            assert!(target.exists(), "{name}: {link}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).expect("text");
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_matches(['#', ' '])));
                assert!(anchors.any(|anchor| anchor == heading), "{name}: {link}");
            }
        }
    }
}

/// The sources that may hold tests, by the name of the file without its end.
fn sources() -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the project") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs" || end == "py") {
                let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).expect("a source of the project");
                texts.entry(stem).or_default().push_str(&text);
            }
        }
    }
    texts
}

/// Whether a word is written as rows of the requirement table are: `TG-10`.
fn is_row(word: &str) -> bool {
    word.split_once('-').is_some_and(|(group, number)| {
        (1..=2).contains(&group.len())
            && group.bytes().all(|letter| letter.is_ascii_uppercase())
            && number.len() == 2
            && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// What a document names as evidence is there: each test as `file::test`, each file by its path, each
/// row of the requirement table.
#[test]
fn the_evidence_that_is_named_is_there() {
    let (sources, rows) = (sources(), read("tests/requirements/rows.tsv"));
    let rows: BTreeSet<&str> = rows.lines().filter_map(|line| line.split('\t').next()).collect();
    // A sentence, which has an underscore: no other path in Rust that a document shows.
    let is_test = |name: &str| {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.contains('_') && name.chars().all(is_part)
    };
    for name in WITH_EVIDENCE {
        let text = read(name);
        for code in text.split('`').skip(1).step_by(2) {
            if let Some((file, test)) = code.split_once("::").filter(|(_, test)| is_test(test)) {
                let heads = [format!("fn {test}("), format!("def {test}(")];
                let text = sources.get(file).map_or("", String::as_str);
                assert!(heads.iter().any(|head| text.contains(head)), "{name}: {code}");
            }
            let top = code.split('/').next().filter(|top| *top != code).unwrap_or_default();
            if ["src", "sql", "tests", "docs", "keys", "benches", ".ci", ".cargo"].contains(&top) {
                let path = code.split(' ').next().unwrap_or_default();
                assert!(root().join(path).exists(), "{name}: {code}");
            }
        }
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        for row in words.filter(|word| is_row(word)) {
            assert!(rows.contains(row), "{name}: {row}");
        }
    }
}

/// Each requirement of ASVS has one state and evidence for it, and they are counted rightly.
#[test]
fn the_table_of_asvs_counts_what_it_says() {
    let page = read("docs/asvs.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let is_requirement =
        |line: &&str| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit();
    let mut seen = BTreeSet::new();
    let mut counts = [[0; 4]; STATES.len()];
    for row in page.lines().filter(is_requirement).map(cells) {
        let [id, level, _, state, evidence] = row.as_slice() else { panic!("{row:?}") };
        assert!(seen.insert(id.clone()) && !evidence.is_empty(), "{id}");
        let state =
            STATES.iter().position(|known| known == state).unwrap_or_else(|| panic!("{id}"));
        let level: usize = level.parse().expect("a level");
        counts[state][level - 1] += 1;
        counts[state][3] += 1;
    }
    for (state, counted) in STATES.iter().zip(counts) {
        let summary = page.lines().find(|line| line.starts_with(&format!("| {state} |")));
        let written: Vec<u32> = cells(summary.expect("a summary"))
            .iter()
            .skip(1)
            .flat_map(|cell| cell.parse())
            .collect();
        assert_eq!(written, counted, "{state}");
    }
}

/// `docs/doctor.md` lists every check that `jeton doctor` has a name for, and no other.
#[test]
fn the_checks_of_the_doctor_are_listed() {
    let is_check = |text: &str| {
        let [group, name] = text.split('.').collect::<Vec<_>>()[..] else { return false };
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c == '_' || c.is_ascii_lowercase())
        };
        group.len() > 1 && is_word(group) && is_word(name)
    };
    let between = |text: &str, mark: char| -> BTreeSet<String> {
        let parts = text.split(mark).filter(|part| is_check(part));
        parts.map(str::to_owned).collect()
    };
    let page = read("docs/doctor.md");
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    let folder = fs::read_dir(root().join("src/doctor")).expect("a folder");
    let paths = folder.map(|entry| entry.expect("a file").path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let files = files.map(fs::read_to_string);
    let sources: String = files.map(|text| text.expect("text")).collect();
    let mut named = between(&sources, '"');
    named.remove("a.b");
    assert!(named.len() > 40, "they were found");
    assert_eq!(between(&rows, '`'), named);
}
