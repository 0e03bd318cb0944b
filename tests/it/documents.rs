//! The documents say what the program does.

use std::collections::BTreeSet;
use std::fs;

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

/// The README's table of settings names every setting of `serve`, with its default, and no other.
#[test]
fn the_table_of_settings_is_that_of_serve() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).expect("text");
    let settings = help.lines().map(str::trim_start).filter(|line| line.starts_with("--"));
    let of_serve: BTreeSet<String> = settings.flat_map(flags).collect();
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `--"));
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

/// Every file that a document points to is there.
#[test]
fn every_link_leads_to_a_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        for link in read(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                assert!(root.join(path).exists(), "{name}: {path}");
            }
        }
    }
}
