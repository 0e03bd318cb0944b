//! Distinguished names (RFC 4514), as far as two spellings of one must be known as the same.

use std::fmt::Write as _;

/// What separates the relative names of a name, and the parts of a relative name.
const NAMES: &[char] = &[',', ';'];
const PARTS: &[char] = &['+'];

/// The one spelling of a name here: small letters, no blanks around its parts, and a backslash before what separates
/// parts. Two names that a directory takes for the same are the same in it, if their values ignore capitals, as those by
/// which people and groups are named do.
#[must_use]
pub fn normal(dn: &str) -> String {
    let names = split(dn, NAMES).into_iter().map(|name| {
        let mut parts: Vec<String> = split(name, PARTS).into_iter().map(normal_part).collect();
        parts.sort();
        parts.join("+")
    });
    names.collect::<Vec<_>>().join(",")
}

/// The attributes and values of the first relative name, with what was escaped as it is.
#[must_use]
pub fn first_name(dn: &str) -> Vec<(String, String)> {
    let first = split(dn, NAMES).into_iter().next().unwrap_or_default();
    split(first, PARTS).into_iter().map(part).collect()
}

fn part(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim().to_ascii_lowercase(), unescape(value))
}

fn normal_part(text: &str) -> String {
    let (mut normal, value) = part(text);
    normal.push('=');
    let value = value.to_lowercase();
    for (at, word) in value.split_whitespace().enumerate() {
        if at > 0 {
            normal.push(' ');
        }
        for character in word.chars() {
            if "\\\",;+=<>#".contains(character) || character.is_control() {
                write!(normal, "\\{:02x}", u32::from(character)).ok();
            } else {
                normal.push(character);
            }
        }
    }
    normal
}

/// Splits at separators that are neither escaped nor between quotation marks (as RFC 2253 §4 still reads).
fn split<'a>(text: &'a str, separators: &[char]) -> Vec<&'a str> {
    let (mut parts, mut begin, mut escaped, mut quoted) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && separators.contains(&character) => {
                parts.push(text.get(begin..at).unwrap_or_default());
                begin = at + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(begin..).unwrap_or_default());
    parts
}

/// What a value says: `\2C` and `\,` are a comma, and blanks around it are none of it.
fn unescape(text: &str) -> String {
    let text = text.trim_start();
    let mut end = text.trim_end();
    if end.len() < text.len() && end.ends_with('\\') && !end.ends_with("\\\\") {
        // The blank is escaped.
        end = text.get(..=end.len()).unwrap_or(end);
    }
    let quoted = end.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let text = quoted.unwrap_or(end).as_bytes();
    let (mut octets, mut at) = (Vec::new(), 0);
    let digit = |at: usize| text.get(at).and_then(|octet| char::from(*octet).to_digit(16));
    while let Some(octet) = text.get(at) {
        match (octet, digit(at + 1), digit(at + 2)) {
            (b'\\', Some(high), Some(low)) => {
                octets.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            (b'\\', ..) => {
                octets.extend(text.get(at + 1));
                at += 2;
            }
            _ => {
                octets.push(*octet);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_the_same() {
        for (one, other) in [
            ("cn=Comma\\2C Anna,dc=x", "CN = comma\\, anna , DC=X"),
            ("uid=j\\C3\\BCrgen,dc=x", "uid=JÜRGEN,dc=x"),
            ("cn=a+uid=b,dc=x", "uid=B+CN=A;dc=x"),
            ("cn=\"a, b\",dc=x", "cn=a\\,  b,dc=x"),
            ("cn=a\\ ,dc=x", "cn=a,dc=x"),
        ] {
            assert_eq!(normal(one), normal(other));
            assert_eq!(normal(&normal(one)), normal(one));
        }
        for (one, other) in
            [("cn=a\\,dc=x", "cn=a,dc=x"), ("cn=a\\+b=c", "cn=a+b=c"), ("cn=a", "cn=a,")]
        {
            assert_ne!(normal(one), normal(other));
        }
        assert_eq!(normal("CN=Readers of Reports,ou=Groups"), "cn=readers of reports,ou=groups");
    }

    #[test]
    fn the_first_name_is_what_an_entry_is_called() {
        let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(first_name("uid=second,ou=people"), [named("uid", "second")]);
        assert_eq!(
            first_name("CN=Comma\\2C Anna+uid=x,dc=x"),
            [named("cn", "Comma, Anna"), named("uid", "x")]
        );
    }
}
