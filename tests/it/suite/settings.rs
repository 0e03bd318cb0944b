//! Settings: what holds for all of them.

use super::*;
use crate::harness::Database;
use crate::harness::executable::run_with_environment;

/// The value that `jeton check` shows for a setting, with these variables.
fn shown(setting: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run_with_environment(&[&["check"], arguments].concat(), variables);
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().find(|line| line.starts_with(&format!("{setting} ")));
    let errors = String::from_utf8_lossy(&output.stderr);
    line.unwrap_or_else(|| panic!("{setting} is shown: {printed}{errors}")).to_owned()
}

/// A value with white space around it names another file or host than was meant: it is refused with the name
/// of the setting, by every command, and no database is made.
#[tokio::test]
async fn white_space_around_a_value_is_refused() {
    let database = Database::empty(ENGINE).await;
    let master_key = database.path("master.jwk");
    let right = ("JETON_DATABASE", database.url.as_str());
    let with_line_end = format!("{}\n", database.url);
    let wrong = ("JETON_DATABASE", with_line_end.as_str());
    let two_files = format!("{master_key}, {master_key}");
    for (arguments, variables, setting) in [
        (&["serve"][..], &[wrong][..], "--database"),
        (&["check"], &[wrong], "--database"),
        (&["user", "list"], &[wrong], "--database"),
        (&["db", "migrate", "--database", &with_line_end], &[], "--database"),
        (&["serve"], &[right, ("JETON_MASTER_KEY_FILE", &two_files)], "--master-key-file"),
        (&["serve", "--tls-key=k", "--tls-certificate", "\tc"], &[right], "--tls-certificate"),
    ] {
        let output = run_with_environment(arguments, variables);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        let sentence = format!("the value of {setting} begins or ends with white space");
        assert!(errors.contains(&sentence), "{arguments:?}: {errors}");
    }
    assert_eq!(std::fs::read_dir(&database.folder).expect("a folder").count(), 0, "no file made");
}

/// An empty variable counts as not set.
#[tokio::test]
async fn an_empty_variable_is_not_set() {
    for (setting, variable, value) in [
        ("--issuer", "JETON_ISSUER", "http://localhost:8080"),
        ("--access-token-lifetime", "JETON_ACCESS_TOKEN_LIFETIME", "10m"),
        ("--database", "JETON_DATABASE", "sqlite:jeton.db"),
        ("--cors-origin", "JETON_CORS_ORIGIN", "(none)"),
        ("--behind-tls-proxy", "JETON_BEHIND_TLS_PROXY", "false"),
    ] {
        let line = shown(setting, &[], &[(variable, "")]);
        assert!(line.contains(value) && line.ends_with("default"), "{line}");
    }
}

/// A switch is on or off by the same words wherever there is one.
#[tokio::test]
async fn a_switch_is_on_or_off_by_the_same_words() {
    let database = Database::migrated(ENGINE).await;
    let place = [("JETON_DATABASE", database.url.as_str())];
    let succeeds = |arguments: &[&str]| run_with_environment(arguments, &place).status.success();
    let audience = ["--grant", "password", "--scope", "read", "--audience", "https://api.example"];
    assert!(succeeds(&[&["client", "add", "web"], &audience[..]].concat()));
    for (on, off) in [("1", "0"), ("true", "false"), ("YES", "No"), ("on", "OFF")] {
        for (word, is_on) in [(on, "true"), (off, "false")] {
            let line = shown("--behind-tls-proxy", &[], &[("JETON_BEHIND_TLS_PROXY", word)]);
            assert!(line.contains(word) && line.ends_with("environment"), "{line}");
            let switch = format!("--audience-array={word}");
            assert!(succeeds(&["client", "set", "web", &switch]), "{switch}");
            let shown = run_with_environment(&["client", "show", "web", "--json"], &place);
            let shown = String::from_utf8_lossy(&shown.stdout).replace(' ', "");
            assert!(shown.contains(&format!("\"audience_array\":{is_on}")), "{word}: {shown}");
        }
    }
    for wrong in ["2", "si", "enabled"] {
        assert!(!succeeds(&["client", "set", "web", &format!("--audience-array={wrong}")]));
        let output = run_with_environment(&["check"], &[("JETON_BEHIND_TLS_PROXY", wrong)]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("--behind-tls-proxy") && errors.contains("true, yes"), "{errors}");
    }
}

/// `jeton check` shows what nobody set as it will be in force, and where the limit of memory is from.
#[tokio::test]
async fn derived_values_are_shown() {
    let free = ["--management-listen", "127.0.0.1:0"];
    let shown = |setting: &str| shown(setting, &free, &[]);
    assert!(shown("--issuer").contains("http://localhost:8080 "), "{}", shown("--issuer"));
    assert!(shown("--log-format").contains("json "));
    for setting in ["--hash-threads", "--hash-memory"] {
        let line = shown(setting);
        assert!(line.contains(|char: char| char.is_ascii_digit()), "{line}");
    }
    let database = Database::empty(ENGINE).await;
    let place = [("JETON_DATABASE", database.url.as_str())];
    let output = run_with_environment(&[&["check"], &free[..]].concat(), &place);
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().find(|line| line.starts_with("ok  hashing"));
    assert!(line.is_some_and(|line| line.contains("MiB of /")), "{printed}");
}
