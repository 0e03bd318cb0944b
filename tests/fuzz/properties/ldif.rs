//! LDIF, as directories export it.

use std::io::Cursor;

use jeton::cli::import::ldap::{
    self, dn,
    ldif::{Ldif, LdifEntry},
};
use jeton::cli::import::mapping::Mapping;

use super::entries;

/// What stands between empty lines is found once, in its order, in the line where it begins; and each is a user, a group,
/// or named. A distinguished name has one spelling.
pub(super) fn check(input: &[u8]) {
    let blocks = blocks(input);
    let mut found = Vec::new();
    let mut is_whole = true;
    for entry in Ldif::new(Cursor::new(input.to_vec())) {
        match entry {
            Ok(entry) => found.push(entry),
            Err(sentence) => {
                assert!(sentence.starts_with("line "), "{sentence}");
                is_whole = false;
            }
        }
    }
    let lines: Vec<u64> = found.iter().map(|found| found.line).collect();
    // A file of changes ends where the first change stands.
    let expected = blocks.get(..lines.len()).expect("no more than there are");
    assert_eq!(lines, expected);
    assert!(!is_whole || blocks.len() == lines.len());
    for entry in found.iter().filter_map(|found| found.entry.as_ref().ok()) {
        let normal = dn::normal(&entry.dn);
        assert_eq!(dn::normal(&normal), normal);
        assert!(!dn::first_name(&entry.dn).is_empty());
    }

    let file = || Cursor::new(input.to_vec());
    let Ok(reader) = ldap::read(file(), file(), &Mapping::default()) else {
        assert!(!is_whole);
        return;
    };
    assert!(is_whole);
    let (counts, end) = entries::check(reader);
    end.expect("what can be read once can be read twice");
    let whole = counts.users + counts.named(|name| name.starts_with("entry "));
    let groups = found.len().checked_sub(whole).expect("no entry is given twice");
    let is_group = |entry: &LdifEntry| {
        let classes =
            entry.attributes.iter().filter(|(name, _)| name.eq_ignore_ascii_case("objectClass"));
        classes
            .into_iter()
            .any(|(_, class)| class.to_ascii_lowercase().windows(5).any(|part| part == b"group"))
    };
    let perhaps = found.iter().filter(|found| found.entry.as_ref().is_ok_and(is_group)).count();
    assert!(groups <= perhaps, "{groups} entries were lost");
    assert_eq!(counts.clients, 0);
}

/// Where each entry begins, read another way: the file is cut into lines, which are joined where they are folded.
fn blocks(input: &[u8]) -> Vec<u64> {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let mut begins = Vec::new();
    let mut in_entry = false;
    // The kind of the line that a folded one continues.
    let mut before_was_empty = true;
    let mut logical: Vec<(u64, Vec<u8>)> = Vec::new();
    let ended = input.strip_suffix(b"\n").unwrap_or(input);
    let mut lines = ended.split(|octet| *octet == b'\n').zip(1..).peekable();
    while let Some((line, number)) = lines.next().filter(|_| !input.is_empty()) {
        let has_end = lines.peek().is_some() || ended.len() < input.len();
        let line = if has_end { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        match logical.last_mut() {
            Some((_, text)) if line.first() == Some(&b' ') && !before_was_empty => {
                text.extend_from_slice(&line[1..]);
            }
            _ => logical.push((number, line.to_vec())),
        }
        before_was_empty = logical.last().is_some_and(|(_, text)| text.is_empty());
    }
    let mut trailer = false;
    for (line, text) in logical {
        if text.is_empty() {
            (in_entry, trailer) = (false, false);
            continue;
        }
        let is_comment = text.starts_with(b"#") || trailer;
        if !is_comment && !in_entry && !is_version(&text) {
            in_entry = true;
            trailer = text.starts_with(b"search:") && value_is_read(&text);
            if !trailer {
                begins.push(line);
            }
        }
    }
    begins
}

fn is_version(text: &[u8]) -> bool {
    text.starts_with(b"version:") && value_is_read(text)
}

/// Whether what follows the colon is no base64 that is damaged, and no file.
fn value_is_read(text: &[u8]) -> bool {
    let colon = text.iter().position(|octet| *octet == b':').expect("a colon");
    match text.get(colon + 1) {
        Some(b'<') => false,
        Some(b':') => {
            let entry = [b"dn: x\nx", &text[colon..]].concat();
            let found = Ldif::new(Cursor::new(entry)).next();
            found.is_some_and(|found| found.is_ok_and(|found| found.entry.is_ok()))
        }
        _ => true,
    }
}
