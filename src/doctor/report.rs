//! Findings, and what to do about them.

use serde::Serialize;

/// The longest text of somebody else that is shown, in characters.
const QUOTE_LENGTH_MAX: usize = 100;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it must be.
    Ok,
    /// Worth knowing, such as what was left out.
    Note,
    /// It works, but not for long, or it is a nuisance.
    Warning,
    /// Requests fail because of it, or are not safe.
    Wrong,
}

impl Outcome {
    /// The word that people see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        }
    }
}

/// The result of one check. It never contains a secret or token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable name of the check.
    pub check: &'static str,
    /// The result.
    pub outcome: Outcome,
    /// What was seen.
    pub found: String,
    /// How to mend it, or how to let more be seen.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, found: found.into(), remedy: None }
    }

    pub(super) fn note(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { check, outcome: Outcome::Note, found: found.into(), remedy }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Warning, ..Self::note(check, found, remedy) }
    }

    pub(super) fn wrong(
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Wrong, ..Self::note(check, found, remedy) }
    }

    /// Whether requests fail because of it, or are not safe.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.outcome == Outcome::Wrong
    }
}

/// What is wrong, and its remedy. The check that found it adds its name.
pub(super) type Fault = (String, String);

pub(super) fn fault(found: impl Into<String>, remedy: impl Into<String>) -> Fault {
    (found.into(), remedy.into())
}

/// The findings of a check: its faults, or `good` if there are none.
pub(super) fn judge(check: &'static str, good: &str, faults: Vec<Fault>) -> Vec<Finding> {
    if faults.is_empty() {
        return vec![Finding::ok(check, good)];
    }
    faults.into_iter().map(|(found, remedy)| Finding::wrong(check, found, remedy)).collect()
}

/// Text of somebody else, shortened and with control characters escaped, so that a terminal does not obey it.
pub(super) fn quote(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTE_LENGTH_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_does_not_control_a_terminal() {
        assert_eq!(quote("\u{1b}[2J\"x\""), r#""\u{1b}[2J\"x\"""#);
        assert_eq!(quote(&"é".repeat(101)), format!("\"{}…\"", "é".repeat(100)));
    }
}
