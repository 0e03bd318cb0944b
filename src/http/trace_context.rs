//! W3C Trace Context: which trace a request belongs to, for the log. Nothing is sent on, because the service calls
//! nobody but its database.

use http::HeaderMap;

/// What `traceparent` says (W3C Trace Context §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceContext<'a> {
    /// The trace: 32 hexadecimal digits.
    trace_id: &'a str,
    /// The caller's span: 16 hexadecimal digits.
    parent_id: &'a str,
}

/// The length of a value of version 00.
const LENGTH: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();

impl<'a> TraceContext<'a> {
    /// What a request says, if it says it once and in the form of the specification. Anything else is ignored, as §3.2
    /// asks: a caller cannot write anything but hexadecimal digits into the log.
    fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all("traceparent").iter();
        let (Some(only), None) = (lines.next(), lines.next()) else { return None };
        Self::parse(only.to_str().ok()?)
    }

    /// The two identifiers as fields of the log, which are missing if there is nothing to say.
    pub(super) fn ids(headers: &'a HeaderMap) -> (Option<&'a str>, Option<&'a str>) {
        Self::of(headers).map(|trace| (trace.trace_id, trace.parent_id)).unzip()
    }

    fn parse(value: &'a str) -> Option<Self> {
        // §3.2.4: a later version has the same beginning, and goes on with `-` if it is longer. Version ff is none.
        let (value, rest) = value.split_at_checked(LENGTH)?;
        let mut parts = value.split('-');
        let (version, trace_id, parent_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none()
            && is_hexadecimal(version, 2)
            && is_hexadecimal(trace_id, 32)
            && is_hexadecimal(parent_id, 16)
            && is_hexadecimal(flags, 2);
        let ends_well = rest.is_empty() || (version != "00" && rest.starts_with('-'));
        let is_valid = version != "ff" && !is_zero(trace_id) && !is_zero(parent_id);
        (is_whole && ends_well && is_valid).then_some(Self { trace_id, parent_id })
    }
}

/// Whether a text is so many hexadecimal digits; capital letters are none (§3.2.2).
fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An identifier of zeros alone is invalid (§3.2.2.3, §3.2.2.4).
fn is_zero(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_the_specification_allows_is_read() {
        for value in [
            format!("00-{TRACE}-{SPAN}-00"),
            format!("00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-ff"),
            format!("01-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"),
        ] {
            let read = TraceContext::parse(&value);
            assert_eq!(read, Some(TraceContext { trace_id: TRACE, parent_id: SPAN }), "{value}");
        }
    }

    #[test]
    fn anything_else_is_ignored() {
        let zeros = "0".repeat(32);
        for value in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01x"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01-"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}g-{SPAN}-01", &TRACE[1..]),
            format!("00-{SPAN}-{TRACE}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0\u{e9}"),
        ] {
            assert_eq!(TraceContext::parse(&value), None, "{value:?}");
        }
    }

    /// RFC 9110 §5.3: two lines would be one list, which is no value of this field.
    #[test]
    fn a_repeated_field_is_ignored() {
        let mut headers = HeaderMap::new();
        let value = format!("00-{TRACE}-{SPAN}-01");
        headers.append("traceparent", value.parse().expect("a value"));
        assert!(TraceContext::of(&headers).is_some());
        headers.append("traceparent", value.parse().expect("a value"));
        assert_eq!(TraceContext::of(&headers), None);
    }
}
