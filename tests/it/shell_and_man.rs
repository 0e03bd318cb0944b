//! What a package brings beside the program: man pages and completions. `cargo test man_pages` leaves the pages in
//! `target/tmp/man`, where `packaging/build` takes them from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::run;

/// A folder below `target/tmp`, made anew.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs a program that `tests/packages` installs.
fn program(name: &str, arguments: &[&str]) -> Output {
    let output = Command::new(name).args(arguments).env("LC_ALL", "C.UTF-8").output();
    output.unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it"))
}

/// Writes the page of a command, and of each below it; the names of their files.
fn write_pages(command: &clap::Command, folder: &Path) -> Vec<String> {
    let version = format!("jeton {}", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command.clone()).source(version).manual("Jeton");
    page.generate_to(folder).expect("a page");
    let mut names = vec![page.get_filename()];
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    names.extend(below.flat_map(|command| write_pages(command, folder)));
    names
}

/// Every command has a man page, and groff has nothing to say against any of them.
#[test]
fn man_pages_have_no_faults() {
    let folder = folder("man");
    // Without it there would be pages of `help` for each command.
    let mut command = jeton::cli::command().disable_help_subcommand(true);
    command.build();
    let names = write_pages(&command, &folder);
    assert!(names.iter().any(|name| name == "jeton-client-secret-add.1"), "{names:?}");
    for name in names {
        let page = folder.join(&name).display().to_string();
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(text.contains(part), "{page}: {part}");
        }
        // As lintian does it.
        let shown = program("man", &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", &page]);
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success() && said.is_empty(), "{page}: {said}");
    }
}

/// The completions of a shell, in a file.
fn completions(shell: &str) -> String {
    let output = run(&["completions", shell]);
    assert!(output.status.success() && output.stderr.is_empty());
    let file = folder(&format!("completions-{shell}")).join("_jeton");
    fs::write(&file, output.stdout).expect("a file");
    file.display().to_string()
}

/// A shell that loads the completions says nothing, and then what it was asked for.
fn answer(shell: &str, arguments: &[&str]) -> String {
    let output = program(shell, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{shell}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// bash loads the completions, and completes commands, options and the values of options.
#[test]
fn bash_completes() {
    let file = completions("bash");
    let complete = |words: &str, at: usize| {
        let script = format!(
            "source {file}; complete -p jeton; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _jeton jeton \"${{COMP_WORDS[{at}]}}\" \"\"; echo \"${{COMPREPLY[@]}}\""
        );
        answer("bash", &["--norc", "-c", &script])
    };
    assert!(complete("jeton us", 1).contains(" -F _jeton "), "it is registered");
    assert!(complete("jeton us", 1).ends_with("user\n"));
    assert!(complete("jeton key in", 2).ends_with("init\n"));
    assert!(complete("jeton serve --master", 2).ends_with("--master-key-file\n"));
    assert!(complete("jeton completions z", 2).ends_with("zsh\n"));
}

/// zsh finds the completions in its path of functions, as packages install them.
#[test]
fn zsh_completes() {
    let file = completions("zsh");
    let folder = Path::new(&file).parent().expect("a folder").display();
    let script = format!(
        "fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; print $_comps[jeton]; \
         autoload +X _jeton; whence -w _jeton"
    );
    assert_eq!(answer("zsh", &["-f", "-c", &script]), "_jeton\n_jeton: function\n");
    answer("zsh", &["-f", "-n", &file]);
}

/// fish loads the completions, and completes commands and options.
#[test]
fn fish_completes() {
    let file = completions("fish");
    let complete = |line: &str| {
        answer("fish", &["--no-config", "-c", &format!("source {file}; complete -C '{line}'")])
    };
    assert!(complete("jeton us").starts_with("user\t"));
    assert!(complete("jeton key in").starts_with("init\t"));
    assert!(complete("jeton serve --master").starts_with("--master-key-file\t"));
}
