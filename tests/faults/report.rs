//! What came of a fault, as a row of a table.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ledger::Counts;

/// Marks in the document, between which the table stands.
const MARKS: (&str, &str) = ("<!-- faults -->\n", "<!-- end of faults -->\n");

/// What came of one fault.
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// What was wrong beside the answers.
    pub(crate) wrong: Vec<String>,
    /// How long after the fault the last request was begun that was not answered rightly.
    pub(crate) recovery: Duration,
    pub(crate) target: Duration,
    /// The most connections that were counted on PostgreSQL.
    pub(crate) connections: Option<usize>,
    /// What some of the wrong answers said.
    pub(crate) examples: Vec<String>,
    /// What each replica logged.
    pub(crate) logs: Vec<String>,
}

impl Outcome {
    /// Whether nothing happened that must not.
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty() && self.counts.wrong.is_empty()
    }

    fn wrong(&self) -> String {
        let answers = self.counts.wrong.iter().map(|(wrong, count)| format!("{count} {wrong}"));
        let all: Vec<String> = answers.chain(self.wrong.iter().cloned()).collect();
        if all.is_empty() { "0".to_owned() } else { format!("**{}**", all.join("; ")) }
    }

    /// Where the logs are, once they were written.
    pub(crate) fn keep_logs(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults").join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (index, log) in self.logs.iter().enumerate() {
            std::fs::write(folder.join(format!("replica-{index}.log")), log).expect("a file");
        }
        folder
    }
}

/// The head of the table.
pub(crate) const HEAD: &str = "\
| fault | on | requests | 503 | no answer | wrong | recovery | connections |
|---|---|---|---|---|---|---|---|
";

/// A row of the table.
pub(crate) fn row(what: &str, on: &str, outcome: &Result<Outcome, String>) -> String {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(reason) => return format!("| {what} | {on} | | | | **{reason}** | | |\n"),
    };
    let Counts { requests, come_back, no_answer, .. } = outcome.counts;
    let (recovery, target) = (outcome.recovery.as_secs_f64(), outcome.target.as_secs());
    let connections = outcome.connections.map(|most| most.to_string()).unwrap_or_default();
    format!(
        "| {what} | {on} | {requests} | {come_back} | {no_answer} | {} | {recovery:.1} s of {target} | {connections} |\n",
        outcome.wrong()
    )
}

/// Puts the table into the document.
pub(crate) fn update_document(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = page.split_once(MARKS.0).expect("the first mark");
    let (_, after) = rest.split_once(MARKS.1).expect("the last mark");
    let page = format!("{before}{}\n{table}\n{}{after}", MARKS.0, MARKS.1);
    std::fs::write(path, page).expect("a document that can be written");
}
