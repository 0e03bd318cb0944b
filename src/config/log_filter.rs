//! What is logged: the value of `--log`.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use jeton_oauth::Invalid;

/// The target of audit events.
pub const AUDIT_TARGET: &str = "jeton::audit";

/// The crates that log: this program with its parts, and libraries.
const LOGS: [&str; 10] = [
    "jeton",
    "jeton_http",
    "jeton_runtime",
    "jeton_service",
    "jeton_store",
    "deadpool_postgres",
    "h2",
    "rustls",
    "tokio_postgres",
    "warp",
];

/// What is logged, as `LEVEL` and `TARGET=LEVEL`, separated by commas.
///
/// `LEVEL` is off, error, warn, info, debug or trace, in any case. Alone, it applies to all targets that are not named;
/// the default is info. `TARGET` is one of the crates that log, or a module of one. `jeton` means all parts of this
/// program. The longest target that matches decides. Events of [`AUDIT_TARGET`] are logged from info on unless that
/// target itself is named, so that none is lost by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// The level of targets that are not named.
    pub level: LevelFilter,
    /// Targets with a level of their own.
    pub targets: Vec<(String, LevelFilter)>,
}

impl FromStr for LogFilter {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut filter = Self { level: LevelFilter::INFO, targets: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => filter.level = level(part)?,
                Some((target, word)) => filter.targets.push((known(target)?, level(word)?)),
            }
        }
        if !filter.targets.iter().any(|(target, _)| target == AUDIT_TARGET) {
            filter.targets.push((AUDIT_TARGET.to_owned(), LevelFilter::INFO));
        }
        Ok(filter)
    }
}

fn level(word: &str) -> Result<LevelFilter, Invalid> {
    match word.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(Invalid::new(format!(
            "{word:?} is not a level: write off, error, warn, info, debug or trace, and for one target \
             jeton=debug"
        ))),
    }
}

/// Checks that something logs under this target.
fn known(target: &str) -> Result<String, Invalid> {
    let (name, module) = target.split_once("::").unwrap_or((target, "all"));
    let is_path = module.split("::").all(|word| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    if LOGS.contains(&name) && is_path {
        return Ok(target.to_owned());
    }
    Err(Invalid::new(format!(
        "nothing logs under {target:?}: name {} or a module of one",
        LOGS.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LogFilter, Invalid> {
        text.parse()
    }

    #[test]
    fn levels_and_targets_are_read() {
        for (text, level, named) in [
            ("info", LevelFilter::INFO, &[][..]),
            ("OFF", LevelFilter::OFF, &[]),
            ("warn, h2=debug", LevelFilter::WARN, &[("h2", LevelFilter::DEBUG)]),
            ("jeton_http=Trace", LevelFilter::INFO, &[("jeton_http", LevelFilter::TRACE)]),
        ] {
            let filter = parse(text).expect("a filter");
            assert_eq!(filter.level, level, "{text}");
            let audit = (AUDIT_TARGET, LevelFilter::INFO);
            let expected = named.iter().copied().chain([audit]);
            let expected: Vec<_> = expected.map(|(name, level)| (name.to_owned(), level)).collect();
            assert_eq!(filter.targets, expected, "{text}");
        }
        let quiet = parse("info,jeton::audit=off").expect("a filter");
        assert_eq!(quiet.targets, [(AUDIT_TARGET.to_owned(), LevelFilter::OFF)]);
    }

    #[test]
    fn what_would_log_nothing_by_mistake_is_refused() {
        for text in ["", "inof", "info,", "1", "jeton", "jetno=debug", "jeton=", "jeton=loud"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for text in ["=info", "jeton::=info", "jeton::a b=info", "[span]=info", "info;h2=debug"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    /// The list is complete: what logs in a release of a library uses one of two crates.
    #[test]
    fn all_that_logs_can_be_named() {
        // Crates that carry the log, are compiled on other systems only, or without what logs.
        let own = [
            "log",
            "tracing",
            "tracing-log",
            "tracing-subscriber",
            "iana-time-zone",
            "jiff",
            "jiff-core",
        ];
        let packages = include_str!("../../Cargo.lock").split("[[package]]");
        let mut logs: Vec<String> = packages
            .filter(|package| {
                package.contains("\n \"log\",") || package.contains("\n \"tracing\",")
            })
            .filter_map(|package| package.split('"').nth(1))
            .filter(|name| !own.contains(name))
            .map(|name| name.replace('-', "_"))
            .collect();
        logs.sort();
        let mut known = LOGS;
        known.sort_unstable();
        assert_eq!(logs, known);
    }
}
