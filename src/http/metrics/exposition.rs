//! The two formats of a page of metrics, and which of them a scraper wants.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of a page of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Format {
    /// The text format of Prometheus, 0.0.4: for whoever does not ask for another.
    Prometheus,
    /// OpenMetrics 1.0.0, which has units beside.
    OpenMetrics,
}

impl Format {
    /// The format that a request prefers (RFC 9110 §12.5.1). One that accepts neither gets the first.
    pub(in super::super) fn preferred(request: &HeaderMap) -> Self {
        let fields: Vec<&str> =
            request.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).collect();
        let quality = |format: Self| {
            let ranges = fields.iter().flat_map(|field| field.split(','));
            let fits = ranges.filter_map(|range| format.fits(range));
            // The most specific range decides, however good it says to be.
            let best = fits.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            best.map_or(0.0, |(_, quality)| quality)
        };
        if quality(Self::OpenMetrics) > quality(Self::Prometheus) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The value of `Content-Type`.
    pub(in super::super) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Type, subtype and version.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Prometheus => ("text", "plain", "0.0.4"),
            Self::OpenMetrics => ("application", "openmetrics-text", "1.0.0"),
        }
    }

    /// How specific a media range is that this format is in, and its quality; `None` if the format is not in it.
    /// A parameter other than version and quality, such as `charset` or `escaping`, does not matter.
    fn fits(self, range: &str) -> Option<(u8, f32)> {
        let (kind, subtype, own_version) = self.parts();
        let mut parts = range.split(';').map(str::trim);
        let (asked_kind, asked_subtype) = parts.next()?.split_once('/')?;
        let mut specific = match (asked_kind, asked_subtype) {
            ("*", "*") => 0,
            (asked, "*") if asked.eq_ignore_ascii_case(kind) => 1,
            (asked, sub)
                if asked.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) =>
            {
                2
            }
            _ => return None,
        };
        let mut quality = 1.0;
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if name.eq_ignore_ascii_case("q") {
                quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
            } else if name.eq_ignore_ascii_case("version") {
                if value != own_version {
                    return None;
                }
                specific = 3;
            }
        }
        Some((specific, quality))
    }

    /// A page in this format, from one of OpenMetrics.
    pub(in super::super) fn page(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => prometheus(&open_metrics),
        }
    }
}

/// A page of OpenMetrics in the format of Prometheus. There a family has the name of its samples, with `_total` or
/// `_info`, an info is a gauge, and nothing tells the unit or the end.
fn prometheus(open_metrics: &str) -> String {
    let mut page = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(family) = line.strip_prefix("# HELP ") {
            help = family;
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap_or((family, "unknown"));
            let help = help.strip_prefix(name).unwrap_or_default();
            let (end, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            writeln!(page, "# HELP {name}{end}{help}\n# TYPE {name}{end} {kind}")
                .expect("a String takes any text");
        } else if !line.starts_with('#') {
            page.push_str(line);
            page.push('\n');
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn preferred(accept: &[&'static str]) -> Format {
        let fields = accept.iter().map(|field| (ACCEPT, HeaderValue::from_static(field)));
        Format::preferred(&fields.collect())
    }

    /// RFC 9110 §12.5.1: the quality of a format is that of the most specific range which it is in.
    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        for open_metrics in [
            // Prometheus 2 and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "application/openmetrics-text",
            "application/openmetrics-text; charset=utf-8; q=0.2, text/plain;q=0.1",
            "Application/OpenMetrics-Text;Q=0.2",
            "*/*, text/plain;q=0.9",
            "*/*, text/*;q=0.9",
            "application/*",
        ] {
            assert_eq!(preferred(&[open_metrics]), Format::OpenMetrics, "{open_metrics}");
        }
        for text in [
            "",
            "*/*",
            "text/plain",
            "text/html, */*;q=0.8",
            "application/json",
            "application/openmetrics-text;version=0.0.1, */*;q=0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.3, text/plain;q=0.7",
            "application/openmetrics-text;q=0.5, text/plain;q=0.5",
            "application/openmetrics-text;q=0, */*;q=0.1",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=high, text/plain;q=0.1",
        ] {
            assert_eq!(preferred(&[text]), Format::Prometheus, "{text}");
        }
        assert_eq!(preferred(&[]), Format::Prometheus);
        assert_eq!(preferred(&["text/plain;q=0.5", "application/*"]), Format::OpenMetrics);
    }

    #[test]
    fn each_family_is_written_in_the_format_of_prometheus() {
        let page = "# HELP a Counted.\n# TYPE a counter\na_total{x=\"y\"} 1\n\
                    # HELP b_seconds A span.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.5\n\
                    # HELP c A build.\n# TYPE c info\nc_info{version=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total Counted.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n\
                        # HELP b_seconds A span.\n# TYPE b_seconds gauge\nb_seconds 2.5\n\
                        # HELP c_info A build.\n# TYPE c_info gauge\nc_info{version=\"1\"} 1\n";
        assert_eq!(Format::Prometheus.page(page.to_owned()), expected);
        assert_eq!(Format::OpenMetrics.page(page.to_owned()), page);
    }
}
