//! The shape of the sources, kept true: which folder may know what (see `src/lib.rs`).

use std::path::{Path, PathBuf};

/// The modules of the crate and the floors they stand on.
const FLOORS: [(&str, u8); 12] = [
    ("availability", 0),
    ("clock", 0),
    ("config", 0),
    ("presence", 0),
    ("secret", 0),
    ("supervision", 0),
    ("oauth", 1),
    ("crypto", 2),
    ("store", 2),
    ("endpoint", 3),
    ("cli", 4),
    ("http", 4),
];

/// The one folder that puts the parts together, and so knows the other folder of its floor.
const COMPOSITION: (&str, &str) = ("src/cli/serve/", "http");

/// The one file that is a client of HTTP.
const CLIENT: &str = "src/cli/doctor/client.rs";

/// Foreign crates, and the places that may know them.
const CONFINED: [(&str, &[&str]); 19] = [
    ("warp", &["src/http/"]),
    ("hyper", &["src/http/", CLIENT]),
    ("hyper_util", &["src/http/", CLIENT]),
    ("tokio_rustls", &["src/http/"]),
    ("tokio_openssl", &[CLIENT]),
    ("tokio_postgres", &["src/store/"]),
    ("deadpool", &["src/store/"]),
    ("deadpool_postgres", &["src/store/"]),
    ("postgres_openssl", &["src/store/"]),
    ("rusqlite", &["src/store/"]),
    ("josekit", &["src/crypto/"]),
    ("jeton_scrypt", &["src/crypto/"]),
    ("scrypt", &["src/crypto/"]),
    ("argon2", &["src/crypto/"]),
    ("bcrypt", &["src/crypto/"]),
    ("pbkdf2", &["src/crypto/"]),
    ("csv", &["src/cli/user/"]),
    ("rand", &["src/crypto/random.rs"]),
    ("rustix", &["src/cli/", "src/clock.rs"]),
];

/// What pure code does not say.
const IMPURE: [&str; 13] = [
    "async",
    "await",
    "tokio",
    "tracing",
    "futures",
    "fs",
    "io",
    "env",
    "process",
    "thread",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
];

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

fn is_word_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What follows a whole word, wherever it stands in the code.
fn after_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let rest = &code[at + word.len()..];
        let whole = !code[..at].ends_with(is_word_part) && !rest.starts_with(is_word_part);
        whole.then_some(rest)
    })
}

/// Whether the code names a foreign crate: as the start of a path, or in a `use`.
fn names_crate(code: &str, name: &str) -> bool {
    let in_use = code.trim_start().starts_with("use ");
    after_word(code, name)
        .any(|rest| rest.starts_with("::") || (in_use && rest.starts_with([';', ' ', ','])))
}

/// The module of the crate's top level that a file belongs to.
fn module(path: &str) -> &str {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// How many modules a file is below the crate's root.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').count()
}

/// The modules of the top level that a line of code names.
fn modules_named<'a>(path: &str, line: &Line<'a>) -> Vec<&'a str> {
    let first_word = |rest: &'a str| rest.split(|c| !is_word_part(c)).next().unwrap_or_default();
    let roots = after_word(line.code, "crate").filter_map(|rest| rest.strip_prefix("::"));
    let mut named: Vec<&str> = roots.map(first_word).collect();
    // As many times `super` as the file is deep leads to the root as well.
    let climb = "super::".repeat(depth(path) + usize::from(line.in_tests));
    for (at, _) in line.code.match_indices(&climb) {
        if !line.code[..at].ends_with("::") {
            named.push(first_word(&line.code[at + climb.len()..]));
        }
    }
    named
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Whether a file may use a module of the crate.
fn may_use(path: &str, used: &str) -> bool {
    let own = module(path);
    let (Some(own_floor), Some(used_floor)) = (floor(own), floor(used)) else {
        // `main` and `lib` stand above everything. Below them every module has a floor, and a list
        // in braces would hide modules from this test.
        return matches!(own, "main" | "lib");
    };
    match (own, used) {
        _ if own == used => true,
        _ if path.starts_with(COMPOSITION.0) && used == COMPOSITION.1 => true,
        ("config", "clock" | "secret") | ("availability", "clock") => true,
        _ => used_floor < own_floor,
    }
}

/// What is wrong with a file of `src/`: one sentence a line.
fn offences(path: &str, text: &str) -> Vec<String> {
    let lines = lines_of_code(text);
    let mut all = Vec::new();
    let mut report = |line: &Line, what: &str| {
        all.push(format!("{path}:{}: {what}: {}", line.number, line.code.trim()));
    };
    for line in &lines {
        for (name, places) in CONFINED {
            let is_at_home = places.iter().any(|place| path.starts_with(place));
            if !is_at_home && names_crate(line.code, name) {
                report(line, &format!("{name} belongs in {}", places.join(" or ")));
            }
        }
        for used in modules_named(path, line) {
            if !may_use(path, used) {
                report(line, &format!("`{used}` is not on a floor below"));
            }
        }
        if module(path) == "oauth" {
            for word in IMPURE {
                if after_word(line.code, word).next().is_some() {
                    report(line, &format!("`{word}` in pure code"));
                }
            }
        }
        if path != "src/clock.rs" && line.code.contains("SystemTime::now") {
            report(line, "the wall clock is read in clock.rs only");
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

/// The Rust files below a folder with their texts.
fn sources(folder: &str) -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rust = walk(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(top.join(&path)).expect("a readable file");
        (path.display().to_string(), text)
    })
    .collect()
}

/// Each folder knows only floors below its own, and foreign crates stay where they belong.
#[test]
fn the_sources_keep_to_their_floors() {
    let sources = sources("src");
    assert!(sources.len() > 40, "the sources were found");
    let all: Vec<String> = sources.iter().flat_map(|(path, text)| offences(path, text)).collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
    for (module, _) in FLOORS {
        assert!(sources.iter().any(|(path, _)| self::module(path) == module), "{module} is gone");
    }
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

/// The rules above notice what they are there for, and nothing else.
#[test]
fn the_rules_of_the_floors_can_fail() {
    for (path, code) in [
        ("src/endpoint/token.rs", "use warp::Filter;"),
        ("src/cli/serve/mod.rs", "let x = hyper::body::Bytes::new();"),
        ("src/cli/doctor/login.rs", "use hyper::client::conn::http1;"),
        ("src/cli/doctor/mod.rs", "use tokio_openssl::SslStream;"),
        ("src/endpoint/token.rs", "use rusqlite;"),
        ("src/crypto/sealing.rs", "fn f(c: tokio_postgres::Client) {}"),
        ("src/endpoint/token.rs", "josekit::jws::RS256;"),
        ("src/cli/user.rs", "scrypt::scrypt(a, b);"),
        ("src/crypto/signing.rs", "rand::rng();"),
        ("src/oauth/scope.rs", "async fn f() {}"),
        ("src/oauth/scope.rs", "use tokio::sync::watch;"),
        ("src/oauth/scope.rs", "tracing::info!(\"x\");"),
        ("src/oauth/scope.rs", "std::fs::read(p);"),
        ("src/oauth/scope.rs", "use std::net::TcpStream;"),
        ("src/store/users.rs", "SystemTime::now();"),
        ("src/store/users.rs", "use crate::crypto::random;"),
        ("src/crypto/random.rs", "use crate::store::Store;"),
        ("src/crypto/mod.rs", "use super::store::Store;"),
        ("src/crypto/random.rs", "use super::super::store::Store;"),
        ("src/crypto/random.rs", "#[cfg(test)]\nmod tests {\n    use super::super::super::store;"),
        ("src/http/route.rs", "use crate::cli::Failure;"),
        ("src/cli/user.rs", "use crate::http::server::Server;"),
        ("src/oauth/scope.rs", "use crate::endpoint::token;"),
        ("src/oauth/scope.rs", "use crate::{clock, endpoint};"),
        ("src/clock.rs", "use crate::secret::Secret;"),
        ("src/config.rs", "use crate::oauth::Issuer;"),
        ("src/config.rs", "use crate::presence::Presence;"),
        ("src/endpoint/token.rs", "use crate::novelty::Thing;"),
        ("src/store/users.rs", "tx.run(\"SELECT user_id FROM users\");"),
        ("src/store/users.rs", "\"DELETE FROM users\""),
    ] {
        assert_eq!(offences(path, code).len(), 1, "{path}: {code}");
    }
    for (path, code) in [
        ("src/http/route.rs", "use warp::Filter; // SELECT nothing"),
        ("src/endpoint/token.rs", "// use warp::Filter;"),
        ("src/endpoint/token.rs", "/// As `crate::http::server` does."),
        ("src/cli/user.rs", "scrypt: ScryptCost, let a = options.scrypt;"),
        ("src/cli/serve/mod.rs", "use crate::http::server::Server;"),
        (CLIENT, "use hyper::body::Incoming; use hyper_util::rt::TokioIo;"),
        ("src/config.rs", "use crate::clock::Seconds; use crate::secret::Secret;"),
        ("src/clock.rs", "SystemTime::now();"),
        ("src/crypto/random.rs", "use super::super::oauth::UserId; rand::rng();"),
        ("src/crypto/random.rs", "#[cfg(test)]\nmod tests {\n    use super::super::digest;"),
        ("src/oauth/issuer.rs", "use std::net::IpAddr; use super::Scope;"),
        ("src/store/users.rs", "sql::UPDATE_USER; tokio::select! {}"),
        ("src/main.rs", "jeton::cli::main()"),
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
