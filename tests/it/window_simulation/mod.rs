//! How long a client may ask again with an exchanged refresh token: what each retry window costs honest users,
//! and how soon it notices a thief. `docs/retry-window.md` explains the model and holds the numbers; this
//! writes its tables and its plot:
//!
//! ```sh
//! JETON_UPDATE_DOCS=1 cargo test --test it window_simulation
//! ```

mod life;
mod plot;
mod world;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jeton_oauth::session::LATE_TAB_WINDOW;
use jeton_oauth::{RetryWindow, Seconds};

use life::{HOUR, MINUTE};
use world::{Outcome, Rule, Thief, live, logged_out_by_outages};

const USERS: u64 = 500;
const DAYS: i64 = 20;
/// The windows, and how a table names them.
const WINDOWS: [(&str, RetryWindow); 9] = [
    ("0", RetryWindow::For(Seconds::new(0))),
    ("10 s", RetryWindow::For(Seconds::new(10))),
    ("30 s", RetryWindow::For(Seconds::new(30))),
    ("1 min", RetryWindow::For(Seconds::new(60))),
    ("2 min", RetryWindow::For(Seconds::new(120))),
    ("5 min", RetryWindow::For(Seconds::new(300))),
    ("10 min", RetryWindow::For(Seconds::new(600))),
    ("1 h", RetryWindow::For(Seconds::new(3_600))),
    ("until used", RetryWindow::UntilUsed),
];
const THIEVES: [Thief; 3] = [Thief::Once, Thief::Schedule, Thief::InStep];

/// How soon a thief is noticed, in milliseconds after the first use: the median, and what 95 % do not
/// exceed; absent where the session never ended. And how many of 1,000 are never noticed.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    median: Option<i64>,
    most: Option<i64>,
    unnoticed: usize,
}

/// What a rule comes to.
struct Result {
    /// In tenths, per 1,000 user-days.
    logouts: i64,
    refused_tabs: i64,
    lost_answers: i64,
    thieves: [Noticed; THIEVES.len()],
}

impl Result {
    fn of(rule: Rule, tabs_max: i64) -> Self {
        let live_all = |thief| (0..USERS).map(move |user| live(user, rule, tabs_max, thief, DAYS));
        let honest: Vec<Outcome> = live_all(None).collect();
        let user_days = i64::try_from(USERS).expect("small") * DAYS;
        let rate =
            |count: fn(&Outcome) -> i64| honest.iter().map(count).sum::<i64>() * 10_000 / user_days;
        let noticed = |thief| {
            let mut all: Vec<Option<i64>> =
                live_all(Some(thief)).map(|outcome| outcome.noticed_after).collect();
            // Those who are never noticed come last.
            all.sort_by_key(|after| after.unwrap_or(i64::MAX));
            let share = |percent: usize| all[all.len() * percent / 100];
            let unnoticed = all.iter().filter(|after| after.is_none()).count();
            let unnoticed = unnoticed * 1_000 / all.len();
            Noticed { median: share(50), most: share(95), unnoticed }
        };
        Self {
            logouts: rate(|outcome| outcome.logouts),
            refused_tabs: rate(|outcome| outcome.refused_tabs),
            lost_answers: rate(|outcome| outcome.lost_answers),
            thieves: THIEVES.map(noticed),
        }
    }
}

/// A number of tenths.
fn tenths(number: i64) -> String {
    format!("{}.{}", number / 10, number % 10)
}

/// A span in hours and minutes.
fn span(span: Option<i64>) -> String {
    match span {
        None => "never".to_owned(),
        Some(span) if span < HOUR => format!("{} min", span / MINUTE),
        Some(span) => format!("{} h {:02} min", span / HOUR, span % HOUR / MINUTE),
    }
}

fn table_of_windows(results: &[Result]) -> String {
    let mut table = "| window | false log-outs | thief, once: median | 95 % | never | thief, by schedule: median | 95 % | \
                     thief, in step: median | 95 % |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for ((name, _), result) in WINDOWS.iter().zip(results) {
        let [once, schedule, in_step] = &result.thieves;
        let never = tenths(i64::try_from(once.unnoticed).expect("small"));
        writeln!(
            table,
            "| {name} | {} | {} | {} | {never} % | {} | {} | {} | {} |",
            tenths(result.logouts),
            span(once.median),
            span(once.most),
            span(schedule.median),
            span(schedule.most),
            span(in_step.median),
            span(in_step.most),
        )
        .expect("a String takes any text");
    }
    table
}

fn table_of_tabs() -> String {
    let mut table = "| refused only for | false log-outs | refused tabs | thief, once: median | 95 % | never |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for late_tab in [0, 2, 5, 10, 30, 60].map(Seconds::new) {
        let rule = Rule { window: RetryWindow::OF_PUBLIC_CLIENTS, late_tab };
        let result = Result::of(rule, 4);
        let once = result.thieves[0];
        writeln!(
            table,
            "| {} s | {} | {} | {} | {} | {} % |",
            late_tab.get(),
            tenths(result.logouts),
            tenths(result.refused_tabs),
            span(once.median),
            span(once.most),
            tenths(i64::try_from(once.unnoticed).expect("small")),
        )
        .expect("a String takes any text");
    }
    table
}

fn table_of_outages() -> String {
    let mut table =
        "| window | counting all time | counting time in which the service could answer |\n\
                     |---|---|---|\n"
            .to_owned();
    for (name, window) in WINDOWS {
        let [all, able] = logged_out_by_outages(window);
        writeln!(table, "| {name} | {all} | {able} |").expect("a String takes any text");
    }
    table
}

/// Puts a table between its marks in the document.
fn replace(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).expect("a mark");
    let (_, after) = rest.split_once(&end).expect("a mark");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// The numbers from which the windows are chosen are those that the document shows.
#[test]
fn the_document_of_the_retry_window_shows_what_the_simulation_gives() {
    let rule = |window| Rule { window, late_tab: LATE_TAB_WINDOW };
    let results = WINDOWS.map(|(_, window)| Result::of(rule(window), 1));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let (page, picture) = (folder.join("retry-window.md"), folder.join("retry-window.svg"));
    let shown = fs::read_to_string(&page).expect("the document");
    let mut document = replace(&shown, "windows", &table_of_windows(&results));
    document = replace(&document, "tabs", &table_of_tabs());
    document = replace(&document, "outages", &table_of_outages());
    let lost = tenths(results[4].lost_answers);
    document = replace(&document, "lost", &format!("{lost} answers per 1,000 user-days are lost."));
    let plot = plot::draw(&WINDOWS.map(|(name, _)| name), &results);
    if std::env::var_os("JETON_UPDATE_DOCS").is_some() {
        fs::write(&page, document).expect("the document can be written");
        fs::write(&picture, plot).expect("the plot can be written");
        return;
    }
    let hint = "write them anew: JETON_UPDATE_DOCS=1 cargo test --test it window_simulation";
    assert!(document == shown, "the numbers of {} are not these: {hint}", page.display());
    let drawn = fs::read_to_string(&picture).expect("the plot");
    assert!(drawn == plot, "{} does not show these numbers: {hint}", picture.display());
}
