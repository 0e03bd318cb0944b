//! What came of the faults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::fault::Kind;
use crate::keys::KeyWatch;
use crate::load::Load;
use crate::usage::Usage;

/// What came of one fault.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// How long after its beginning another server was promoted.
    pub(crate) promoted: Option<Duration>,
    /// How long after the promotion, or the end of the fault if there was none, the last request was begun that was not
    /// answered rightly.
    pub(crate) right_again: Duration,
    /// How long it took until the next one could happen.
    pub(crate) took: Duration,
    pub(crate) requests: usize,
    pub(crate) come_back: usize,
    pub(crate) no_answer: usize,
    pub(crate) wrong: Vec<String>,
}

/// What came of all of them.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What was wrong, beside and in the answers.
    wrong: Vec<String>,
    /// Histories that were held against the model.
    sessions: usize,
    /// Answers with keys.
    key_answers: u64,
}

impl Report {
    /// Adds a row; what to say of it.
    pub(crate) fn add(&mut self, row: Row) -> String {
        let promoted = row.promoted.map(|after| format!("promoted after {} s, ", seconds(after)));
        let wrong = if row.wrong.is_empty() { "0".to_owned() } else { row.wrong.join("; ") };
        let text = format!(
            "{:3}. {}: {}right again {} s later; {} requests, {} × 503, {} without answer, wrong: {wrong} ({} s)",
            self.rows.len() + 1,
            row.kind,
            promoted.unwrap_or_default(),
            seconds(row.right_again),
            row.requests,
            row.come_back,
            row.no_answer,
            row.took.as_secs(),
        );
        self.wrong.extend(row.wrong.iter().map(|wrong| format!("{}: {wrong}", row.kind)));
        self.rows.push(row);
        text
    }

    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Has each client show that what it knows is still so, and each session that its history fits.
    pub(crate) async fn hold_to_account(&mut self, load: Load, usage: Usage) {
        let ledger = std::sync::Arc::clone(&load.ledger);
        let unanswered = load.finish().await;
        if unanswered > 0 {
            self.wrong.push(format!("{unanswered} clients without an answer in the end"));
        }
        self.wrong.extend(ledger.examples());
        let tally = usage.finish().await;
        self.sessions = tally.sessions;
        self.wrong.extend(tally.violation);
    }

    pub(crate) fn look_at_keys(&mut self, keys: &KeyWatch) {
        let (answers, gaps) = keys.findings();
        self.key_answers = answers;
        self.wrong.extend(gaps);
    }

    /// Keeps what the replicas logged, and looks for what must not be there. Only the checker's client reuses tokens.
    pub(crate) fn look_at_logs(&mut self, logs: &[String], checker: &str) {
        let folder = std::env::var("CLUSTER").expect("tests/cluster/inside sets it");
        let folder = Path::new(&folder).join("log");
        for (index, log) in logs.iter().enumerate() {
            let file = folder.join(format!("jeton{}.log", index + 1));
            std::fs::write(file, log).expect("a file");
        }
        let lines = || logs.iter().flat_map(|log| log.lines());
        let of = |event: &str| format!(r#""event":"{event}""#);
        let client = format!(r#""client_id":"{checker}""#);
        let (reused, lost) = (of("refresh_token_reused"), of("session_caught_up"));
        let reused = lines().filter(|line| line.contains(&reused) && !line.contains(&client));
        self.wrong.extend(reused.map(|line| format!("an honest client is accused: {line}")));
        let lost = lines().filter(|line| line.contains(&lost));
        self.wrong.extend(lost.map(|line| format!("a commit was lost: {line}")));
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

/// The middle and the longest of some times.
fn middle_and_longest(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(longest) = times.last() else { return String::new() };
    format!("{} s, {} s", seconds(times[times.len() / 2]), seconds(*longest))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Kind, Vec<&Row>> = BTreeMap::new();
        for row in &self.rows {
            kinds.entry(row.kind).or_default().push(row);
        }
        writeln!(
            f,
            "\n| fault | times | promoted after | right again after | requests | 503 | no answer | wrong |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for (kind, rows) in kinds {
            let promoted = rows.iter().filter_map(|row| row.promoted).collect();
            let right_again = rows.iter().map(|row| row.right_again).collect();
            let sum = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row)).sum::<usize>();
            writeln!(
                f,
                "| {kind} | {} | {} | {} | {} | {} | {} | {} |",
                rows.len(),
                middle_and_longest(promoted),
                middle_and_longest(right_again),
                sum(|row| row.requests),
                sum(|row| row.come_back),
                sum(|row| row.no_answer),
                sum(|row| row.wrong.len()),
            )?;
        }
        let of_promotions = self.rows.iter().filter(|row| row.promoted.is_some());
        let late = of_promotions.clone().filter(|row| row.right_again > crate::run::RIGHT_AGAIN);
        writeln!(
            f,
            "\n{} faults, {} promotions, {} of them with right answers later than 10 s; {} histories; {} × keys",
            self.rows.len(),
            of_promotions.count(),
            late.count(),
            self.sessions,
            self.key_answers,
        )?;
        for wrong in &self.wrong {
            writeln!(f, "WRONG: {wrong}")?;
        }
        Ok(())
    }
}
