//! The plot: false log-outs above, and below how soon a thief is noticed, each by the window.

use std::fmt::Write as _;

use super::life::HOUR;
use super::{Noticed, Result};

const WIDTH: i64 = 760;
const HEIGHT: i64 = 640;
const LEFT: i64 = 70;
const RIGHT: i64 = 740;

/// The name of a quantile, its line, and where it is found.
type Quantile = (&'static str, &'static str, fn(&Noticed) -> Option<i64>);

/// The area of a plot, from top to bottom, and the value at its top.
#[derive(Clone, Copy)]
struct Area {
    top: i64,
    bottom: i64,
    most: i64,
}

impl Area {
    fn y(self, value: i64) -> i64 {
        self.bottom - value.min(self.most) * (self.bottom - self.top) / self.most
    }
}

/// The middle of one of so many columns.
fn x(index: usize, count: usize) -> i64 {
    LEFT + (RIGHT - LEFT) * (2 * small(index) + 1) / (2 * small(count))
}

fn small(number: usize) -> i64 {
    i64::try_from(number).expect("a small number")
}

fn text(svg: &mut String, (x, y): (i64, i64), anchor: &str, content: &str) {
    writeln!(svg, r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{content}</text>"#)
        .expect("a String takes any text");
}

/// The lines across an area, with what they mean.
fn grid(svg: &mut String, area: Area, marks: &[(i64, String)]) {
    for (value, label) in marks {
        let y = area.y(*value);
        writeln!(svg, r##"<path d="M{LEFT} {y}H{RIGHT}" stroke="#ddd"/>"##)
            .expect("a String takes any text");
        text(svg, (LEFT - 8, y + 4), "end", label);
    }
}

/// A line through values, with a point at each.
fn line(svg: &mut String, area: Area, values: &[i64], colour: &str, dashes: &str) {
    let place = |(index, value): (usize, &i64)| (x(index, values.len()), area.y(*value));
    let points: Vec<(i64, i64)> = values.iter().enumerate().map(place).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let path = path.join(" ");
    writeln!(
        svg,
        r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>"#
    )
    .expect("a String takes any text");
    for (x, y) in points {
        writeln!(svg, r#"<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>"#)
            .expect("a String takes any text");
    }
}

fn legend(svg: &mut String, y: i64, entries: &[(&str, &str, &str)]) {
    for (index, (label, colour, dashes)) in entries.iter().enumerate() {
        let left = LEFT + (small(index) % 3) * 225;
        let y = y + (small(index) / 3) * 18;
        writeln!(
            svg,
            r#"<path d="M{left} {}h24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>"#,
            y - 4
        )
        .expect("a String takes any text");
        text(svg, (left + 30, y), "start", label);
    }
}

/// Draws the results of these windows as an SVG.
pub(super) fn draw(windows: &[&str], results: &[Result]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} \
         {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    );
    let logouts: Vec<i64> = results.iter().map(|result| result.logouts).collect();
    let upper = Area { top: 50, bottom: 230, most: 500 };
    text(&mut svg, (LEFT, 30), "start", "False log-outs per 1,000 user-days");
    let marks = [0, 100, 200, 300, 400, 500].map(|tenths| (tenths, (tenths / 10).to_string()));
    grid(&mut svg, upper, &marks);
    line(&mut svg, upper, &logouts, "#c33", "");

    // Above the hours is a line for what never happens.
    let never = 26 * HOUR;
    let lower = Area { top: 330, bottom: 570, most: never };
    text(
        &mut svg,
        (LEFT, 275),
        "start",
        "Hours from the first use of a stolen token until the session ends",
    );
    let mut marks: Vec<(i64, String)> =
        [0, 4, 8, 12, 16, 20, 24].map(|hours| (hours * HOUR, hours.to_string())).into();
    marks.push((never, "never".to_owned()));
    grid(&mut svg, lower, &marks);
    let thieves = [("once", "#36c"), ("by schedule", "#293"), ("in step", "#a3a")];
    let mut entries = Vec::new();
    let quantiles: [Quantile; 2] =
        [("median", "", |noticed| noticed.median), ("95 %", "6 4", |noticed| noticed.most)];
    for (name, dashes, quantile) in quantiles {
        for (index, (thief, colour)) in thieves.iter().enumerate() {
            let value = |result: &Result| quantile(&result.thieves[index]).unwrap_or(never);
            let values: Vec<i64> = results.iter().map(value).collect();
            line(&mut svg, lower, &values, colour, dashes);
            entries.push((format!("{thief}, {name}"), *colour, dashes));
        }
    }
    let entries: Vec<_> = entries.iter().map(|(label, c, d)| (label.as_str(), *c, *d)).collect();
    legend(&mut svg, 297, &entries);
    for area in [upper, lower] {
        for (index, window) in windows.iter().enumerate() {
            text(&mut svg, (x(index, windows.len()), area.bottom + 20), "middle", window);
        }
    }
    text(
        &mut svg,
        (i64::midpoint(LEFT, RIGHT), HEIGHT - 20),
        "middle",
        "retry window of public clients",
    );
    svg.push_str("</svg>\n");
    svg
}
