//! Listings: rows under a heading, in columns that line up.
//!
//! On a terminal a listing is as wide as the terminal at most: cells that are too long are cut. It goes through
//! `$PAGER` if it is longer than the screen. Elsewhere nothing is cut.

use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthChar;

use super::output;
use super::printable::printable;
use jeton_oauth::Timestamp;

/// What stands between two columns.
const GAP: &str = "  ";
/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 80;
/// What stands where a text was cut.
const CUT: char = '…';

/// A column of a listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    heading: &'static str,
    /// The width to which its cells may be cut; `None` if they may not.
    least: Option<usize>,
    /// Whether it is left out unless all is wanted.
    only_wide: bool,
}

impl Column {
    /// A column whose cells are never cut.
    pub(super) const fn whole(heading: &'static str) -> Self {
        Self { heading, least: None, only_wide: false }
    }

    /// A column whose cells may be cut to this width.
    pub(super) const fn cut(heading: &'static str, least: usize) -> Self {
        Self { heading, least: Some(least), only_wide: false }
    }

    /// A column that only `--wide` shows.
    pub(super) const fn wide(heading: &'static str) -> Self {
        Self { heading, least: None, only_wide: true }
    }
}

/// How much of a listing is wanted.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Width {
    /// Show all columns and cut nothing, however wide the terminal is
    #[arg(long)]
    wide: bool,
}

impl Width {
    /// A moment as it is listed: the day, or all of it.
    pub(super) fn day(self, moment: Timestamp) -> String {
        self.beginning(moment, "YYYY-MM-DD".len(), "")
    }

    /// A moment as it is listed: to the minute, or all of it.
    pub(super) fn minute(self, moment: Timestamp) -> String {
        self.beginning(moment, "YYYY-MM-DDThh:mm".len(), "Z")
    }

    fn beginning(self, moment: Timestamp, length: usize, end: &str) -> String {
        let text = moment.to_string();
        match text.get(..length) {
            Some(beginning) if !self.wide => format!("{beginning}{end}"),
            _ => text,
        }
    }
}

/// The size of a terminal, in cells.
#[derive(Clone, Copy, Debug)]
struct Screen {
    columns: usize,
    rows: usize,
}

impl Screen {
    /// The terminal that standard output is, if it is one.
    fn of_output() -> Option<Self> {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        Some(size.map_or(Self { columns: USUAL_WIDTH, rows: usize::MAX }, |size| Self {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        }))
    }
}

/// Prints a listing.
pub(super) fn print<const N: usize>(columns: [Column; N], rows: &[[String; N]], width: Width) {
    let screen = Screen::of_output();
    let room = screen.map(|screen| screen.columns);
    show(&lay_out(columns, rows, width, room), screen);
}

/// Prints a short table, of which nothing is cut.
pub(super) fn table<const N: usize>(heading: [&'static str; N], rows: &[[String; N]]) {
    let lines = lay_out(heading.map(Column::whole), rows, Width { wide: true }, None);
    print_lines(&lines);
}

/// Prints what is known of one thing: names, and values that continue below themselves where the line ends.
pub(super) fn details(entries: &[(&str, String)]) {
    let screen = Screen::of_output();
    let names = entries.iter().map(|(name, _)| width_of(name)).max().unwrap_or_default();
    let indent = names + GAP.len();
    let mut lines = Vec::new();
    for (name, value) in entries {
        let room = screen.map_or(usize::MAX, |screen| screen.columns.saturating_sub(indent));
        for (number, part) in wrap(&printable(value), room).into_iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            lines.push(format!("{}{part}", padded(name, indent)));
        }
    }
    show(&lines, screen);
}

/// The lines of a listing. With a `room` none is wider, unless all is wanted.
fn lay_out<const N: usize>(
    columns: [Column; N],
    rows: &[[String; N]],
    width: Width,
    room: Option<usize>,
) -> Vec<String> {
    let room = room.filter(|_| !width.wide).unwrap_or(usize::MAX);
    let rows = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell)));
    let heading = columns.map(|column| column.heading.to_owned());
    let lines: Vec<[String; N]> = std::iter::once(heading).chain(rows).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = width_of(cell).max(*width);
        }
    }
    let is_shown = columns.map(|column| width.wide || !column.only_wide);
    for (width, is_shown) in widths.iter_mut().zip(is_shown) {
        *width = if is_shown { *width } else { 0 };
    }
    let gaps = is_shown.iter().filter(|is_shown| **is_shown).count().saturating_sub(1);
    narrow(&mut widths, &columns, room.saturating_sub(gaps * GAP.len()));
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths).zip(is_shown).filter(|(_, is_shown)| *is_shown);
        let cells = cells.map(|((cell, width), _)| padded(&cut(cell, width), width));
        cut(cells.collect::<Vec<_>>().join(GAP).trim_end(), room)
    };
    lines.iter().map(line).collect()
}

/// Makes columns narrower until all of them have room, the widest first, and none beyond what it needs at least.
fn narrow(widths: &mut [usize], columns: &[Column], room: usize) {
    let mut excess = widths.iter().sum::<usize>().saturating_sub(room);
    while excess > 0 {
        let may_shrink = widths.iter_mut().zip(columns).filter_map(|(width, column)| {
            column.least.is_some_and(|least| *width > least).then_some(width)
        });
        let Some(widest) = may_shrink.max() else { return };
        *widest -= 1;
        excess -= 1;
    }
}

/// How many cells of a terminal a text takes. A character takes two where Unicode says that it is wide (UAX #11), and
/// none where it is a mark on the one before.
fn width_of(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or_default()).sum()
}

/// A text that takes this many cells at most: cut, if it is longer.
fn cut(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |character: &char| {
        let left = room.checked_sub(character.width().unwrap_or_default());
        room = left.unwrap_or(room);
        left.is_some()
    };
    let mut shown: String = text.chars().take_while(fits).collect();
    shown.push(CUT);
    shown
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(width_of(text))))
}

/// The lines of a text that is broken at blanks, so that each takes this many cells at most. A longer word has a line
/// of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width_of(line) + 1 + width_of(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Prints lines, through the pager of whoever reads them if there are more than the screen has.
fn show(lines: &[String], screen: Option<Screen>) {
    let pager = std::env::var_os("PAGER").filter(|pager| !pager.is_empty());
    if let (Some(screen), Some(pager)) = (screen, pager)
        // The prompt that follows takes a line.
        && lines.len() >= screen.rows
        && page(lines, &pager).is_ok()
    {
        return;
    }
    print_lines(lines);
}

fn print_lines(lines: &[String]) {
    for line in lines {
        output::line(line);
    }
}

/// Hands lines to a pager, and waits until its reader has seen enough.
fn page(lines: &[String], pager: &std::ffi::OsStr) -> io::Result<()> {
    // To interrupt the pager does not end this process before it.
    let _interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // `less` is to break no line: `--wide` may be wider than the screen.
        command.env("LESS", "S");
    }
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let text = lines.iter().fold(String::new(), |text, line| text + &printable(line) + "\n");
        // A reader that has seen enough is no failure.
        input.write_all(text.as_bytes()).ok();
    }
    match child.wait()?.code() {
        // What the shell says of a command that is not there, or is none.
        Some(126 | 127) => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::cut("NAME", 8), Column::cut("ROLES", 5), Column::whole("LAST LOGIN")];

    fn rows(rows: &[[&str; 3]]) -> Vec<[String; 3]> {
        rows.iter().map(|row| row.map(str::to_owned)).collect()
    }

    #[test]
    fn the_widest_cells_are_cut_first() {
        let rows = rows(&[
            ["alice", "user editor reviewer", "2026-11-27"],
            ["a-name-that-is-rather-long", "user", "never"],
        ]);
        let lines = |room| lay_out(COLUMNS, &rows, Width { wide: false }, room);
        assert_eq!(
            lines(Some(40)),
            [
                "NAME           ROLES          LAST LOGIN",
                "alice          user editor …  2026-11-27",
                "a-name-that-…  user           never",
            ]
        );
        assert!(lines(Some(20)).iter().all(|line| width_of(line) <= 20));
        assert_eq!(lines(None)[2], "a-name-that-is-rather-long  user                  never");
        let wide = lay_out(COLUMNS, &rows, Width { wide: true }, Some(40));
        assert_eq!(wide, lines(None));
    }

    /// UAX #11: an ideograph takes two cells, a mark none.
    #[test]
    fn columns_line_up_in_any_script() {
        let rows = rows(&[["張偉", "x", "1"], ["नि", "x", "2"], ["zoe\u{301}", "x", "3"]]);
        let lines = lay_out(COLUMNS, &rows, Width { wide: false }, Some(80));
        let places: Vec<_> = lines.iter().map(|line| width_of(line)).collect();
        assert_eq!(places[1..], [places[1]; 3], "{lines:#?}");
        assert_eq!(cut("張偉張偉", 6), "張偉…");
        assert_eq!(width_of(&cut("張偉張偉", 5)), 5);
    }

    #[test]
    fn values_continue_below_themselves() {
        assert_eq!(wrap("read write admin", 10), ["read write", "admin"]);
        assert_eq!(wrap("https://api.example read", 10), ["https://api.example", "read"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn moments_are_short_unless_all_is_wanted() {
        let moment = Timestamp(1_700_000_000);
        let [narrow, wide] = [false, true].map(|wide| Width { wide });
        assert_eq!(
            (&*narrow.day(moment), &*wide.day(moment)),
            ("2023-11-14", "2023-11-14T22:13:20Z")
        );
        assert_eq!(narrow.minute(moment), "2023-11-14T22:13Z");
    }
}
