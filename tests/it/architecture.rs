//! The shape of the sources, as far as the compiler does not hold it: which part may use which stands in the
//! manifests of the parts.

use std::path::{Path, PathBuf};

/// The parts, and the other parts that each may use: the same as in `ARCHITECTURE.md`.
const PARTS: [(&str, &[&str]); 8] = [
    ("src/oauth", &[]),
    ("src/runtime", &["oauth"]),
    ("src/crypto/scrypt", &[]),
    ("src/crypto", &["oauth", "runtime", "scrypt"]),
    ("src/store", &["oauth", "runtime"]),
    ("src/service", &["crypto", "oauth", "runtime", "store"]),
    ("src/http", &["crypto", "oauth", "runtime", "service", "store"]),
    ("src/doctor", &["crypto", "oauth", "runtime"]),
];

/// What pure code does not say, though the standard library has it.
const IMPURE: [&str; 6] =
    ["std::env", "std::fs", "std::io", "std::process", "std::thread", "std::time"];

/// Words that begin a statement; in the sources they would be SQL outside `sql/`.
const SQL: [&str; 8] = [
    "SELECT ",
    "INSERT INTO",
    "UPDATE ",
    "DELETE FROM",
    "CREATE TABLE",
    "CREATE INDEX",
    "ALTER TABLE",
    "DROP TABLE",
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 10] =
    ["util", "utils", "helper", "helpers", "common", "misc", "shared", "stuff", "tools", "general"];

/// The most lines of code in a file, without comments and tests.
const LENGTH_MAX: usize = 400;

/// A line of a file, without its comment.
struct Line<'a> {
    number: usize,
    code: &'a str,
    in_tests: bool,
}

/// A file's lines of code. Tests stand at the end of a file, after `#[cfg(test)]` and `mod`.
fn lines_of_code(text: &str) -> Vec<Line<'_>> {
    let mut in_tests = false;
    let lines: Vec<&str> = text.lines().collect();
    let mut all = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        in_tests |= line.trim() == "#[cfg(test)]" && next.starts_with("mod ");
        // A URL in a string has no blank after its slashes.
        let code = line.split_once("// ").map_or(*line, |(code, _)| code);
        if !code.trim().is_empty() && !code.trim_start().starts_with("//") {
            all.push(Line { number: index + 1, code, in_tests });
        }
    }
    all
}

/// What is wrong with a file of `src/`: one sentence a line.
fn offences(path: &str, text: &str) -> Vec<String> {
    let lines = lines_of_code(text);
    let mut all = Vec::new();
    let mut report = |line: &Line, what: &str| {
        all.push(format!("{path}:{}: {what}: {}", line.number, line.code.trim()));
    };
    for line in &lines {
        for name in IMPURE.iter().filter(|_| path.starts_with("src/oauth/")) {
            if line.code.contains(name) {
                report(line, &format!("{name} in pure code"));
            }
        }
        if SQL.iter().any(|word| line.code.contains(word)) {
            report(line, "SQL stands in sql/");
        }
    }
    all.extend(length_offence(path, &lines));
    all
}

fn length_offence(path: &str, lines: &[Line]) -> Option<String> {
    let length = lines.iter().filter(|line| !line.in_tests).count();
    (length > LENGTH_MAX).then(|| format!("{path}: {length} lines of code: split it"))
}

fn name_offence(path: &Path) -> Option<String> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    EMPTY_NAMES.contains(&name).then(|| format!("{}: name it after what is inside", path.display()))
}

/// All files and folders below a folder of the project, by their paths from its top.
fn walk(folder: &str) -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from(folder)];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(top.join(&folder)).expect("a folder of this project") {
            let entry = entry.expect("a readable folder");
            let path = folder.join(entry.file_name());
            if entry.file_type().expect("a type").is_dir() {
                left.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The text of a file of the project.
fn text_of(path: &Path) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .expect("a readable file")
}

/// The Rust files below a folder with their texts.
fn sources(folder: &str) -> Vec<(String, String)> {
    let rust = walk(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| (path.display().to_string(), text_of(&path))).collect()
}

/// The parts that a manifest lets its part use.
fn parts_used(manifest: &str) -> Vec<&str> {
    let used = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let used = used.take_while(|line| !line.starts_with('['));
    used.filter_map(|line| line.strip_prefix("jeton-")?.split_once('.'))
        .map(|(name, _)| name)
        .collect()
}

/// Each part uses the parts that it may, and there is no other. What it cannot use does not compile.
#[test]
fn the_parts_use_the_parts_that_they_may() {
    let is_manifest = |path: &PathBuf| path.file_name().is_some_and(|name| name == "Cargo.toml");
    let manifests: Vec<_> = walk("src").into_iter().filter(is_manifest).collect();
    assert_eq!(manifests.len(), PARTS.len(), "{manifests:?}");
    for (folder, may_use) in PARTS {
        let manifest = text_of(&Path::new(folder).join("Cargo.toml"));
        assert_eq!(parts_used(&manifest), may_use, "{folder}");
    }
    assert_eq!(parts_used("[dependencies]\njeton-a.workspace = true\nb = \"1\"\n\n[lints]"), ["a"]);
}

/// SQL stands in `sql/`, and what is pure stays pure.
#[test]
fn the_sources_keep_their_rules() {
    let sources = sources("src");
    assert!(sources.len() > 40, "the sources were found");
    let all: Vec<String> = sources.iter().flat_map(|(path, text)| offences(path, text)).collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// Files, of tests too, are short enough to read, and their names say what is inside.
#[test]
fn files_are_short_and_well_named() {
    let tests = sources("tests").into_iter();
    let mut all: Vec<String> =
        tests.filter_map(|(path, text)| length_offence(&path, &lines_of_code(&text))).collect();
    for folder in ["src", "tests", "sql"] {
        all.extend(walk(folder).iter().filter_map(|path| name_offence(path)));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// What reads a pipe only as far as it needs ends whoever writes into it, and `pipefail` makes that a failure: of the
/// script, now and then.
#[test]
fn scripts_read_pipes_to_their_end() {
    let files = [".ci", "tests", "packaging", "benches"].iter().flat_map(|folder| walk(folder));
    let scripts = files.filter(|path| path.extension().is_none());
    let mut seen = 0;
    for path in scripts {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if !text.starts_with("#!") || !text.contains("pipefail") {
            continue;
        }
        seen += 1;
        for (at, line) in text.lines().enumerate() {
            for reader in line.split('|').skip(1).map(str::trim) {
                let options = reader.strip_prefix("grep -").and_then(|rest| rest.split(' ').next());
                let leaves =
                    reader.starts_with("head ") || options.is_some_and(|o| o.contains('q'));
                assert!(!leaves, "{}:{}: {line}", path.display(), at + 1);
            }
        }
    }
    assert!(seen > 10, "{seen} scripts");
}

/// The rules above notice what they are there for, and nothing else.
#[test]
fn the_rules_can_fail() {
    for (path, code) in [
        ("src/oauth/scope.rs", "std::fs::read(p);"),
        ("src/oauth/scope.rs", "use std::io::Read;"),
        ("src/store/users.rs", "tx.run(\"SELECT user_id FROM users\");"),
        ("src/store/users.rs", "\"DELETE FROM users\""),
    ] {
        assert_eq!(offences(path, code).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("src/http/route.rs", "use warp::Filter; // SELECT nothing"),
        ("src/oauth/issuer.rs", "use std::net::IpAddr; use super::Scope;"),
        ("src/store/sqlite/file.rs", "use std::fs;"),
        ("src/store/users.rs", "sql::UPDATE_USER; tokio::select! {}"),
    ] {
        assert_eq!(offences(path, code), Vec::<String>::new(), "{path}: {code}");
    }
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}", "    f();\n".repeat(LENGTH_MAX));
    assert!(offences("src/clock.rs", &(tests + "}")).is_empty(), "tests do not count");
    assert_eq!(offences("src/clock.rs", &"f();\n".repeat(LENGTH_MAX + 1)).len(), 1);
    assert!(name_offence(Path::new("src/helpers/mod.rs")).is_none(), "its folder is walked too");
    assert!(name_offence(Path::new("src/helpers")).is_some());
    assert!(name_offence(Path::new("src/http/utils.rs")).is_some());
}
