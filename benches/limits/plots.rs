//! Plots of throughput and waits against callers, as SVG that is readable on light and on dark pages.

use std::fmt::Write;

/// One path: what it serves on the left, what its callers wait on the right.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The numbers of callers that were measured, from 1 on.
    pub(crate) callers: Vec<usize>,
    pub(crate) curves: Vec<Curve>,
}

/// What was measured of one engine, or of the limit.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// The limit has no waits that are worth a look.
    pub(crate) is_limit: bool,
    /// Per second for each number of callers: the median of the rounds, the least and the greatest.
    pub(crate) rates: Vec<[f64; 3]>,
    /// p50 and p99 for each number of callers, in milliseconds.
    pub(crate) waits: [Vec<Option<f64>>; 2],
}

/// The colours, of the page first. A picture follows the reader's system and a page may not, so it brings its
/// own ground.
const STYLE: &str = "\
text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.ground{fill:#fff}.grid{stroke:#d1d9e0}\
.line{fill:none;stroke-width:2}.range{stroke-width:1.5}.dashed{stroke-dasharray:6 4}\
.a{stroke:#0969da}.b{stroke:#bc4c00}.limit{stroke:#818b98;stroke-dasharray:2 4}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.ground{fill:#0d1117}.grid{stroke:#3d444d}\
.a{stroke:#4493f8}.b{stroke:#f0883e}.limit{stroke:#9198a1}}";

/// The size of the picture, and where its two fields are, in pixels.
const SIZE: [f64; 2] = [860.0, 360.0];
const WIDTH: f64 = 345.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 280.0;
const LEFT: [f64; 2] = [70.0, 495.0];

/// From a value to a place.
struct Axis {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    /// The places of `from` and `to`.
    places: [f64; 2],
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_logarithmic { value.ln() } else { value };
        let share = (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from));
        self.places[0] + share * (self.places[1] - self.places[0])
    }

    /// From 0 to a round number above all values, with the values at which it has lines.
    fn linear(most: f64) -> (Self, Vec<f64>) {
        let magnitude = 10_f64.powf(most.log10().floor());
        let steps = [0.2, 0.5, 1.0, 2.0].map(|step| step * magnitude);
        let step = steps.into_iter().find(|step| most / step <= 6.0).unwrap_or(magnitude);
        let lines = (most / step).ceil();
        let axis =
            Self { from: 0.0, to: lines * step, is_logarithmic: false, places: [BOTTOM, TOP] };
        (axis, (0..=lines as u32).map(|line| f64::from(line) * step).collect())
    }

    /// From one power of ten to another around all values, with a line at each.
    fn logarithmic(least: f64, most: f64) -> (Self, Vec<f64>) {
        let from = least.log10().floor() as i32;
        let to = (most.log10().ceil() as i32).max(from + 1);
        let lines: Vec<f64> = (from..=to).map(|power| 10_f64.powi(power)).collect();
        let axis = Self {
            from: lines[0],
            to: lines[lines.len() - 1],
            is_logarithmic: true,
            places: [BOTTOM, TOP],
        };
        (axis, lines)
    }
}

impl Plot {
    /// The picture.
    pub(crate) fn draw(&self) -> String {
        let [width, height] = SIZE;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n",
            self.title
        );
        self.rates(&mut svg);
        self.waits(&mut svg);
        self.legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn rates(&self, svg: &mut String) {
        let [left, _] = LEFT;
        let most = self.curves.iter().flat_map(|curve| &curve.rates).map(|rates| rates[2]);
        let (y, lines) = Axis::linear(most.fold(f64::MIN_POSITIVE, f64::max));
        self.field(svg, left, &format!("{} per second", self.title), &y, &lines);
        for (curve, class) in self.with_classes() {
            let points = self.places(left).zip(&curve.rates);
            line(svg, class, points.map(|(x, [median, ..])| (x, y.place(*median))));
            for (x, [_, least, most]) in self.places(left).zip(&curve.rates) {
                let (least, most) = (y.place(*least), y.place(*most));
                writeln!(svg, "<path class=\"range {class}\" d=\"M{x:.1} {least:.1}V{most:.1}\"/>")
                    .ok();
            }
        }
    }

    fn waits(&self, svg: &mut String) {
        let [_, left] = LEFT;
        let measured = || self.with_classes().filter(|(curve, _)| !curve.is_limit);
        let all = measured().flat_map(|(curve, _)| curve.waits.iter().flatten().flatten().copied());
        let around = |range: Option<(f64, f64)>, wait: f64| {
            let (least, most) = range.unwrap_or((wait, wait));
            Some((least.min(wait), most.max(wait)))
        };
        let (least, most) = all.fold(None, around).unwrap_or((1.0, 1.0));
        let (y, lines) = Axis::logarithmic(least, most);
        self.field(svg, left, "Wait of those served, in ms: p50, p99 dashed", &y, &lines);
        for (curve, class) in measured() {
            for (waits, dashes) in curve.waits.iter().zip(["", " dashed"]) {
                let points = self.places(left).zip(waits);
                let points = points.filter_map(|(x, wait)| Some((x, y.place((*wait)?))));
                line(svg, &format!("{class}{dashes}"), points);
            }
        }
    }

    /// Where the numbers of callers are in one field.
    fn places(&self, left: f64) -> impl Iterator<Item = f64> {
        let most = self.callers.iter().copied().max().unwrap_or(2) as f64;
        let x = Axis { from: 1.0, to: most, is_logarithmic: true, places: [left, left + WIDTH] };
        self.callers.iter().map(move |callers| x.place(*callers as f64))
    }

    /// The title, the lines and the numbers of one field.
    fn field(&self, svg: &mut String, left: f64, title: &str, y: &Axis, lines: &[f64]) {
        let text = |x: f64, y: f64, anchor: &str, text: &str| {
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
        };
        let (right, above) = (left + WIDTH, TOP - 20.0);
        writeln!(svg, "<text class=\"title\" x=\"{left}\" y=\"{above}\">{title}</text>").ok();
        for value in lines {
            let place = y.place(*value);
            writeln!(svg, "<path class=\"grid\" d=\"M{left} {place:.1}H{right}\"/>").ok();
            svg.push_str(&text(left - 8.0, place + 4.0, "end", &grouped(*value)));
        }
        for (x, callers) in self.places(left).zip(&self.callers) {
            svg.push_str(&text(x, BOTTOM + 20.0, "middle", &callers.to_string()));
        }
        svg.push_str(&text(left + WIDTH / 2.0, BOTTOM + 40.0, "middle", "callers at once"));
    }

    fn legend(&self, svg: &mut String) {
        let y = SIZE[1] - 14.0;
        let mut x = LEFT[0];
        for (curve, class) in self.with_classes() {
            let (end, text, middle) = (x + 30.0, x + 38.0, y - 4.0);
            writeln!(svg, "<path class=\"line {class}\" d=\"M{x} {middle}H{end}\"/>").ok();
            writeln!(svg, "<text x=\"{text}\" y=\"{y}\">{}</text>", curve.name).ok();
            x = text + 7.5 * curve.name.len() as f64 + 24.0;
        }
    }

    /// Each curve with the class of its colour.
    fn with_classes(&self) -> impl Iterator<Item = (&Curve, &'static str)> {
        let mut colours = ["a", "b"].into_iter().cycle();
        self.curves.iter().map(move |curve| {
            let class = if curve.is_limit { "limit" } else { colours.next().unwrap_or_default() };
            (curve, class)
        })
    }
}

fn line(svg: &mut String, class: &str, points: impl Iterator<Item = (f64, f64)>) {
    let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(svg, "<polyline class=\"line {class}\" points=\"{}\"/>", points.join(" ")).ok();
}

/// A number with a comma between thousands.
fn grouped(value: f64) -> String {
    if value < 1_000.0 {
        // What is not a sum of powers of two is printed as it is meant.
        return ((value * 1e6).round() / 1e6).to_string();
    }
    let thousands = (value / 1_000.0).trunc();
    format!("{thousands},{:03}", value - thousands * 1_000.0)
}
