//! The steps of a script: its statements, each changed so that it can be repeated and does not hinder others.
//!
//! A script consists of plain statements of a few forms, and never changes after its release. This file says once for
//! all scripts what each form becomes on each engine.

use super::super::sql::Statement;

/// A step: one statement.
pub(super) struct Step {
    /// Its first words, for people.
    pub(super) what: String,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// Changes tables or their columns. SQLite has no IF EXISTS for columns: an error that contains `settled` means
    /// there that the step was done before.
    Definition { statement: Statement, settled: Option<&'static str> },
    /// Builds an index. An unfinished index is dropped first.
    Index { name: String, create: Statement, drop: Statement },
    /// Changes rows, in batches by primary key.
    Rows { next: Statement, change: Statement },
}

/// A statement of a script has no known form.
#[derive(Debug, thiserror::Error)]
#[error("no known form: {0}")]
pub(super) struct UnknownForm(String);

pub(super) fn steps(script: &str) -> Result<Vec<Step>, UnknownForm> {
    let read = |statement: String| Step::read(&statement).ok_or(UnknownForm(statement));
    statements(script).into_iter().map(read).collect()
}

/// The statements of a script, each on one line and without comments.
fn statements(script: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quote = None;
    let mut rest = script.chars().peekable();
    while let Some(character) = rest.next() {
        let Some(current) = all.last_mut() else { break };
        match (quote, character) {
            (Some(open), _) => {
                current.push(character);
                // A doubled quote closes and opens again.
                quote = quote.filter(|_| character != open);
            }
            (None, '-') if rest.peek() == Some(&'-') => {
                rest.by_ref().find(|character| *character == '\n');
                separate(current);
            }
            (None, ';') => all.push(String::new()),
            (None, _) if character.is_whitespace() => separate(current),
            (None, _) => {
                quote = matches!(character, '\'' | '"').then_some(character);
                current.push(character);
            }
        }
    }
    all.retain_mut(|statement| {
        statement.truncate(statement.trim_end().len());
        !statement.is_empty()
    });
    all
}

fn separate(statement: &mut String) {
    if !statement.is_empty() && !statement.ends_with(' ') {
        statement.push(' ');
    }
}

impl Step {
    fn read(statement: &str) -> Option<Self> {
        let words: Vec<&str> = statement.split(' ').collect();
        let kind = match words.as_slice() {
            ["CREATE", "TABLE", name, ..] if *name != "IF" => {
                definition(&words, 2, "IF NOT EXISTS")
            }
            ["CREATE", "INDEX", name, "ON", ..] => index(&words, 2, name),
            ["CREATE", "UNIQUE", "INDEX", name, "ON", ..] => index(&words, 3, name),
            ["DROP", "INDEX" | "TABLE", _] => definition(&words, 2, "IF EXISTS"),
            ["ALTER", "TABLE", _, "ADD", "COLUMN", name, _, ..] if *name != "IF" => {
                column(&words, "IF NOT EXISTS", "duplicate column name")
            }
            ["ALTER", "TABLE", _, "DROP", "COLUMN", _] => {
                column(&words, "IF EXISTS", "no such column")
            }
            ["UPDATE", table, "SET", ..] | ["DELETE", "FROM", table, ..] => rows(statement, table)?,
            _ => return None,
        };
        let what = words.into_iter().take(3).collect::<Vec<_>>().join(" ");
        Some(Self { what, kind })
    }
}

#[cfg(test)]
impl Step {
    /// What PostgreSQL gets for it.
    pub(super) fn sent(self) -> Vec<String> {
        match self.kind {
            Kind::Definition { statement, .. } => vec![statement.postgres],
            Kind::Index { create, drop, .. } => vec![create.postgres, drop.postgres],
            Kind::Rows { next, change } => vec![next.postgres, change.postgres],
        }
    }
}

/// The statement with `added` before the word at `place`.
fn with(words: &[&str], place: usize, added: &str) -> String {
    let (before, after) = words.split_at(place);
    [before, &[added], after].concat().join(" ")
}

fn definition(words: &[&str], place: usize, added: &str) -> Kind {
    Kind::Definition { statement: Statement::new(&with(words, place, added)), settled: None }
}

fn column(words: &[&str], added: &str, settled: &'static str) -> Kind {
    let statement = Statement::of_each(with(words, 5, added), words.join(" "));
    Kind::Definition { statement, settled: Some(settled) }
}

fn index(words: &[&str], place: usize, name: &str) -> Kind {
    let drop = Statement::of_each(
        ["DROP", "INDEX", "CONCURRENTLY", "IF", "EXISTS", name].join(" "),
        ["DROP", "INDEX", "IF", "EXISTS", name].join(" "),
    );
    let create = Statement::of_each(
        with(words, place, "CONCURRENTLY IF NOT EXISTS"),
        with(words, place, "IF NOT EXISTS"),
    );
    Kind::Index { name: name.to_owned(), create, drop }
}

fn rows(statement: &str, table: &str) -> Option<Kind> {
    let key = key_of(table)?;
    let (head, condition) = match statement.split_once(" WHERE ") {
        // It is not worked out which of two belongs to the statement itself.
        Some((_, condition)) if condition.contains(" WHERE ") => return None,
        Some((head, condition)) => (head, format!(" AND ({condition})")),
        None => (statement, String::new()),
    };
    let next = include_str!("../../../sql/templates/next_rows.sql");
    let next = next.replace("{key}", key).replace("{table}", table);
    let change = format!("{head} WHERE {key} > $1 AND {key} <= $2{condition}");
    Some(Kind::Rows { next: Statement::new(&next), change: Statement::new(&change) })
}

/// The primary key of a table, if it is one text column. Rows are changed in its order.
fn key_of(table: &str) -> Option<&'static str> {
    match table {
        "users" => Some("user_id"),
        "clients" => Some("client_id"),
        "sessions" => Some("session_id"),
        "keys" => Some("kid"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_where_its_statements_end() {
        let script = "-- One; two.\nFROM a-- three;\n SET b = 'x;--''y'  ;\n\n\"c;\" ;-- four";
        assert_eq!(statements(script), ["FROM a SET b = 'x;--''y'", "\"c;\""]);
        assert!(statements(" -- nothing;").is_empty());
    }

    /// Joined from words, because statements belong in `sql/`.
    fn texts(words: &[&str]) -> Vec<(String, String)> {
        let step = Step::read(&words.join(" ")).expect("a known form");
        let of = |statement: Statement| (statement.postgres, statement.sqlite);
        match step.kind {
            Kind::Definition { statement, .. } => vec![of(statement)],
            Kind::Index { create, drop, .. } => vec![of(create), of(drop)],
            Kind::Rows { next, change } => vec![of(next), of(change)],
        }
    }

    #[test]
    fn each_form_can_be_run_again() {
        let one = |words: &[&str]| texts(words).remove(0);
        let (postgres, sqlite) = one(&["CREATE", "TABLE", "a", "(b TEXT)"]);
        assert!(postgres.ends_with("TABLE IF NOT EXISTS a (b TEXT)") && postgres == sqlite);
        let (postgres, sqlite) = one(&["ALTER", "TABLE", "a", "ADD", "COLUMN", "b", "TEXT"]);
        assert!(postgres.ends_with("ADD COLUMN IF NOT EXISTS b TEXT"), "{postgres}");
        assert!(sqlite.ends_with("ADD COLUMN b TEXT"), "{sqlite}");
        let (postgres, sqlite) = one(&["ALTER", "TABLE", "a", "DROP", "COLUMN", "b"]);
        assert!(postgres.ends_with("DROP COLUMN IF EXISTS b"), "{postgres}");
        assert!(sqlite.ends_with("DROP COLUMN b"), "{sqlite}");
        let (postgres, sqlite) = one(&["DROP", "INDEX", "a"]);
        assert!(postgres.ends_with("INDEX IF EXISTS a") && postgres == sqlite);
        for unique in [&["CREATE"][..], &["CREATE", "UNIQUE"]] {
            let all = texts(&[unique, &["INDEX", "a", "ON", "b (c)"]].concat());
            let [create, drop] = all.as_slice() else { panic!("{all:?}") };
            assert!(
                create.0.ends_with("INDEX CONCURRENTLY IF NOT EXISTS a ON b (c)"),
                "{create:?}"
            );
            assert!(create.1.ends_with("INDEX IF NOT EXISTS a ON b (c)"), "{create:?}");
            assert!(drop.0.ends_with("INDEX CONCURRENTLY IF EXISTS a"), "{drop:?}");
        }
    }

    #[test]
    fn rows_are_changed_by_the_key_of_their_table() {
        let all = texts(&["UPDATE", "sessions", "SET", "a = b"]);
        assert!(all[1].0.ends_with("SET a = b WHERE session_id > $1 AND session_id <= $2"));
        assert!(all[0].1.contains("session_id > ?1 ORDER BY session_id LIMIT"), "{all:?}");
        let all = texts(&["DELETE", "FROM", "users", "WHERE", "a = 1 OR b = 2"]);
        assert!(all[1].0.ends_with("user_id > $1 AND user_id <= $2 AND (a = 1 OR b = 2)"));
    }

    #[test]
    fn what_has_no_known_form_is_refused() {
        for words in [
            &["INSERT", "INTO", "a", "VALUES (1)"][..],
            &["UPDATE", "unknown", "SET", "a = 1"],
            &["UPDATE", "users", "SET", "a = (b", "WHERE", "c)", "WHERE", "d"],
            &["CREATE", "TABLE", "IF", "NOT", "EXISTS", "a", "(b TEXT)"],
            &["CREATE", "INDEX", "IF", "NOT", "EXISTS", "a", "ON", "b (c)"],
            &["ALTER", "TABLE", "a", "RENAME", "TO", "b"],
            &["BEGIN"],
        ] {
            assert!(Step::read(&words.join(" ")).is_none(), "{words:?}");
        }
    }
}
