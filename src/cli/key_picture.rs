//! The lives of keys as a picture for the terminal: one bar a key, time from left to right.

use jeton_oauth::{Seconds, Timestamp};
use jeton_service::keys::administration::ListedKey;

/// How many columns time has.
const WIDTH: usize = 60;
/// How much of a key's name is shown.
const NAME: usize = 12;

const PUBLISHED: char = '░';
const SIGNING: char = '█';
const VERIFYING: char = '▒';
const GONE: char = ' ';

/// The stretch of time that is shown.
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn column(&self, at: Timestamp) -> usize {
        let length = i128::from((self.to - self.from).max(1));
        let offset = i128::from(at.0.clamp(self.from, self.to) - self.from);
        let column = offset * i128::try_from(WIDTH - 1).unwrap_or(0) / length;
        usize::try_from(column).unwrap_or(0)
    }
}

/// Draws the keys that are not long gone, with now marked. A key without a successor is drawn as
/// signing for one rotation.
pub(super) fn draw(keys: &[ListedKey], now: Timestamp, rotation: Seconds) -> Vec<String> {
    let end = |key: &ListedKey| {
        let planned = key.activates_at.max(now).after(rotation);
        key.gone_at.unwrap_or(planned)
    };
    let recently = Timestamp(now.0.saturating_sub(rotation.get()));
    let shown: Vec<&ListedKey> = keys.iter().filter(|key| end(key) > recently).collect();
    let from = shown.iter().map(|key| key.created_at).min().unwrap_or(now).max(recently).min(now);
    let to = shown.iter().map(|key| end(key)).max().unwrap_or(now).max(now);
    let span = Span { from: from.0, to: to.0 };

    let margin = " ".repeat(NAME + 2);
    let mut lines = vec![
        format!("{margin}{from}{:>width$}", to.to_string(), width = WIDTH - from.to_string().len()),
        format!("{margin}{}▼ now", " ".repeat(span.column(now))),
    ];
    for key in shown {
        let name: String = key.kid.as_str().chars().take(NAME).collect();
        let bar: String = bar(key, &span, end(key)).into_iter().collect();
        lines.push(format!("{name:NAME$}  {}", bar.trim_end()));
    }
    lines.push(format!("{margin}{PUBLISHED} published  {SIGNING} signs  {VERIFYING} verifies"));
    lines
}

/// The phases of one key, one after the other; each that there is gets a column at least, however short
/// it is.
fn bar(key: &ListedKey, span: &Span, end: Timestamp) -> Vec<char> {
    let mut bar = vec![GONE; WIDTH];
    let end = key.revoked_at.unwrap_or(end);
    let activates_at = key.activates_at.min(end);
    let retires_at = key.retires_at.unwrap_or(end).min(end);
    let mut painted = 0;
    for (from, to, phase) in [
        (key.created_at, activates_at, PUBLISHED),
        (activates_at, retires_at, SIGNING),
        (retires_at, end, VERIFYING),
    ] {
        if from >= to || to.0 <= span.from {
            continue;
        }
        let first = span.column(from).max(painted).min(WIDTH - 1);
        painted = span.column(to).max(first + 1);
        for column in bar.iter_mut().take(painted).skip(first) {
            *column = phase;
        }
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_as_published_then_signing_then_verifying() {
        let key = |kid: &str, created: i64, activates: i64, retires: Option<i64>| ListedKey {
            kid: kid.parse().expect("a name"),
            state: "",
            created_at: Timestamp(created),
            activates_at: Timestamp(activates),
            retires_at: retires.map(Timestamp),
            gone_at: retires.map(|at| Timestamp(at + 100)),
            revoked_at: None,
            sealed_under: None,
        };
        let keys = [key("old", 0, 0, Some(1_000)), key("new", 900, 1_000, None)];
        let lines = draw(&keys, Timestamp(950), Seconds::new(1_000));
        assert_eq!(lines.len(), 5);
        let phases = |line: &str| {
            let mut seen: Vec<char> = line.chars().skip(NAME + 2).collect();
            seen.dedup();
            seen.into_iter().collect::<String>()
        };
        assert_eq!(phases(&lines[2]), "█▒");
        assert_eq!(phases(&lines[3]), " ░█");
        let column = |line: &str, phase: char| line.chars().position(|own| own == phase);
        assert_eq!(column(&lines[2], VERIFYING), column(&lines[3], SIGNING));
        assert!(column(&lines[1], '▼') >= column(&lines[3], PUBLISHED));
        assert!(column(&lines[1], '▼') <= column(&lines[3], SIGNING));

        // The first key of a database, just followed by another: its end is too near to be seen.
        let keys = [key("old", 0, 0, Some(10)), key("new", 1, 10, None)];
        let lines = draw(&keys, Timestamp(2), Seconds::new(1_000_000));
        assert_eq!([phases(&lines[2]), phases(&lines[3])], ["█▒", "░█"]);
    }
}
