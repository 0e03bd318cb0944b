//! LDIF (RFC 2849), as far as it lists entries: each with its name and attributes. What they mean is for others.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The most octets of an entry: a photo is smaller.
const ENTRY_LENGTH_MAX: usize = 16 << 20;
/// The longest name of an attribute, with its options.
const NAME_LENGTH_MAX: usize = 255;

/// Some programs leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a file of changes is told.
const CHANGES: &str = "lists changes to entries (changetype), and not entries: export the entries with `slapcat` or \
                       `ldapsearch -LLL`";

/// A file of entries.
pub struct Ldif {
    reader: Box<dyn BufRead>,
    /// The number of the line that was read last.
    line: u64,
    /// The line after it, which was read to see whether it goes on.
    next: Option<Vec<u8>>,
    /// Whether anything was read.
    begun: bool,
    /// Whether it cannot be read on.
    ended: bool,
}

/// What stands between two empty lines.
#[derive(Debug)]
pub struct Found {
    /// The line where it begins.
    pub line: u64,
    /// The entry, or why it cannot be read, in a sentence that repeats no value.
    pub entry: Result<LdifEntry, String>,
    /// Its lines, without their folds.
    pub text: Vec<u8>,
}

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub struct LdifEntry {
    /// Its distinguished name, as it is written.
    pub dn: String,
    /// The attributes in their order: the name with its options, as it is written, and a value.
    pub attributes: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Ldif {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ldif").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Ldif {
    /// Reads a file.
    #[must_use]
    pub fn new(file: impl Read + 'static) -> Self {
        let reader = Box::new(BufReader::with_capacity(1 << 16, file));
        Self { reader, line: 0, next: None, begun: false, ended: false }
    }

    /// The next entry without the attributes that `take` takes, given their names and values: a group may have more members
    /// than fit into memory. What cannot be read on has no next one.
    pub(super) fn next_without(
        &mut self,
        mut take: impl FnMut(&str, &[u8]) -> bool,
    ) -> Option<Result<Found, String>> {
        while !self.ended {
            match self.read(&mut take) {
                // What ldapsearch writes at its end without -LLL.
                Ok(Some(Found { entry: Err(problem), .. })) if problem == TRAILER => {}
                other => {
                    self.ended = other.is_err();
                    return other.transpose();
                }
            }
        }
        None
    }

    /// A line as it stands in the file, without its end.
    fn physical_line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut text = Vec::new();
        let mut limited = (&mut self.reader).take(ENTRY_LENGTH_MAX as u64 + 2);
        let read = limited.read_until(b'\n', &mut text);
        if read.map_err(|error| format!("cannot read on: {error}"))? == 0 {
            return Ok(None);
        }
        if text.last() == Some(&b'\n') {
            text.pop();
            if text.last() == Some(&b'\r') {
                text.pop();
            }
        }
        self.check_length(text.len())?;
        Ok(Some(text))
    }

    fn check_length(&self, length: usize) -> Result<(), String> {
        if length <= ENTRY_LENGTH_MAX {
            return Ok(());
        }
        Err(format!("line {}: the entry that it is in has no end within 16 MiB", self.line + 1))
    }

    /// A line with those that continue it: they begin with a blank (RFC 2849, note 2).
    fn logical_line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let first = match self.next.take() {
            Some(line) => Some(line),
            None => self.physical_line()?,
        };
        let Some(mut text) = first else { return Ok(None) };
        self.line += 1;
        if !self.begun {
            self.begun = true;
            if text.starts_with(b"\xef\xbb\xbf") {
                text.drain(..3);
            }
        }
        // An empty line separates entries, and has nothing to go on with.
        while !text.is_empty() {
            match self.physical_line()? {
                Some(more) if more.first() == Some(&b' ') => {
                    self.line += 1;
                    text.extend_from_slice(more.get(1..).unwrap_or_default());
                    self.check_length(text.len())?;
                }
                other => {
                    self.next = other;
                    break;
                }
            }
        }
        Ok(Some(text))
    }

    fn read(
        &mut self,
        take: &mut impl FnMut(&str, &[u8]) -> bool,
    ) -> Result<Option<Found>, String> {
        let mut found: Option<Found> = None;
        let mut length = 0;
        loop {
            let line = self.line + 1;
            let Some(text) = self.logical_line()? else { return Ok(found) };
            if text.is_empty() {
                match found {
                    None => continue,
                    some => return Ok(some),
                }
            }
            if text.first() == Some(&b'#') {
                continue;
            }
            let read = attribute(&text);
            if let Ok((name, value)) = &read {
                if found.is_none() && name == "version" {
                    check_version(value, line)?;
                    continue;
                }
                if is(name, "changetype") || is(name, "control") && found.is_some() {
                    return Err(format!("line {line} {CHANGES}"));
                }
            }
            if let (Some(_), Ok((name, value))) = (&found, &read)
                && take(name, value)
            {
                continue;
            }
            length += text.len();
            self.check_length(length)?;
            match &mut found {
                Some(found) => found.add(line, read),
                None => found = Some(Found::begin(line, read)),
            }
            if let Some(found) = &mut found {
                found.text.extend_from_slice(&text);
                found.text.push(b'\n');
            }
        }
    }
}

impl Iterator for Ldif {
    type Item = Result<Found, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_without(|_, _| false)
    }
}

/// Marks the number of the search and its result.
const TRAILER: &str = "it is the result of a search";

impl Found {
    fn begin(line: u64, read: Result<(String, Vec<u8>), String>) -> Self {
        let entry = match read {
            Ok((name, value)) if is(&name, "dn") => match String::from_utf8(value) {
                Ok(dn) => Ok(LdifEntry { dn, attributes: Vec::new() }),
                Err(_) => Err("its dn is not UTF-8".to_owned()),
            },
            Ok((name, _)) if name == "search" => Err(TRAILER.to_owned()),
            Ok(_) => Err("it does not begin with `dn:`, as entries of LDIF do".to_owned()),
            Err(problem) => Err(problem),
        };
        Self { line, entry, text: Vec::new() }
    }

    fn add(&mut self, line: u64, read: Result<(String, Vec<u8>), String>) {
        let Ok(entry) = &mut self.entry else { return };
        match read {
            Ok((name, _)) if is(&name, "dn") => {
                let sentence =
                    format!("line {line} begins another entry: put an empty line before it");
                self.entry = Err(sentence);
            }
            Ok(attribute) => entry.attributes.push(attribute),
            Err(problem) => self.entry = Err(format!("in line {line}, {problem}")),
        }
    }
}

/// Whether an attribute has this name: capitals make no difference.
pub(super) fn is(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

fn check_version(value: &[u8], line: u64) -> Result<(), String> {
    if value.trim_ascii() == b"1" {
        return Ok(());
    }
    Err(format!("line {line}: it is of another version of LDIF than 1"))
}

/// The name and the value of a line.
fn attribute(text: &[u8]) -> Result<(String, Vec<u8>), String> {
    let no_line = || "there is no attribute with a colon behind its name".to_owned();
    let colon = text.iter().position(|octet| *octet == b':').ok_or_else(no_line)?;
    let (name, rest) = text.split_at_checked(colon).ok_or_else(no_line)?;
    let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._;".contains(octet);
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.iter().all(is_part) {
        return Err(no_line());
    }
    let name = String::from_utf8_lossy(name).into_owned();
    let value = match rest.get(1) {
        Some(b':') => {
            let text = rest.get(2..).unwrap_or_default().trim_ascii();
            BASE64.decode(text).map_err(|_| format!("{name} is not base64"))?
        }
        Some(b'<') => {
            return Err(format!(
                "{name} is in another file (`<`): export the values in place, as `slapcat` does, and `ldapsearch` \
                 without -t"
            ));
        }
        _ => {
            let value = rest.get(1..).unwrap_or_default();
            let begin = value.iter().position(|octet| *octet != b' ').unwrap_or(value.len());
            value.get(begin..).unwrap_or_default().to_vec()
        }
    };
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &str) -> Vec<Result<Found, String>> {
        Ldif::new(Cursor::new(text.to_owned())).collect()
    }

    fn entry(found: &Result<Found, String>) -> (u64, &str, Vec<(&str, &[u8])>) {
        let found = found.as_ref().expect("to read on");
        let entry = found.entry.as_ref().expect("an entry");
        let attributes = entry.attributes.iter();
        (
            found.line,
            &entry.dn,
            attributes.map(|(name, value)| (name.as_str(), &value[..])).collect(),
        )
    }

    /// RFC 2849: lines are folded, also within base64 and comments; values may be empty.
    #[test]
    fn entries_are_read() {
        let text = "\u{feff}version: 1\r\n# a comment\r\n that goes on\r\n\r\n\r\ndn: cn=a,\r\n dc=x\r\n\
                    cn:a\r\nsn:\r\ncn;lang-de:: w\r\n 7w=\r\n\r\ndn:: Y249YixkYz14\ndescription: a:  b \n\
                    \n# end\n\nsearch: 2\nresult: 0 Success\n";
        let found = read(text);
        assert_eq!(found.len(), 2);
        let attributes: Vec<(&str, &[u8])> =
            vec![("cn", b"a"), ("sn", b""), ("cn;lang-de", "ü".as_bytes())];
        assert_eq!(entry(&found[0]), (6, "cn=a,dc=x", attributes));
        assert_eq!(entry(&found[1]), (13, "cn=b,dc=x", vec![("description", &b"a:  b "[..])]));
    }

    /// One entry that cannot be read ends with its empty line; the next is read.
    #[test]
    fn what_is_no_entry_is_named_and_passed_over() {
        let text = "cn: a\ndn: cn=a\n\ndn: cn=b\nuserPassword:: %%\ncn: b\n\ndn: cn=c\nphoto:< file:///x\n\n\
                    dn: cn=d\ncn: d\ndn: cn=e\ncn: e\n\ndn: cn=f\n no colon\nx\n\ndn: cn=g\ncn: g\n";
        let found = read(text);
        let sentences = [
            "begin with `dn:`",
            "in line 5, userPassword is not base64",
            "another file",
            "line 13 begins",
            "no attribute",
        ];
        for (found, sentence) in found.iter().zip(sentences) {
            let problem = found.as_ref().expect("to read on").entry.as_ref().expect_err(sentence);
            assert!(problem.contains(sentence), "{problem}");
        }
        assert_eq!(entry(&found[5]), (20, "cn=g", vec![("cn", &b"g"[..])]));
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn changes_and_other_versions_are_refused() {
        for (text, sentence) in [
            ("dn: cn=a\nchangetype: add\ncn: a\n", "line 2 lists changes"),
            ("dn: cn=a\ncontrol: 1.2.3 true\nchangetype: delete\n", "line 2 lists changes"),
            ("version: 2\ndn: cn=a\n", "line 1: it is of another version"),
        ] {
            let found = read(text);
            let problem = found[0].as_ref().expect_err("no entries");
            assert!(problem.contains(sentence), "{problem}");
        }
    }
}
