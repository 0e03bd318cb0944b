//! Text that says on a terminal what it says, and nothing to the terminal.
//!
//! Names, roles and headers come from files, databases and servers of others. Among their characters may be
//! escape sequences, ends of lines, and those that turn the direction of writing round.

use std::fmt::Write;

/// The text with every character that is not printed as itself written as `\u{…}`; so it is one line.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

/// JSON of the same meaning in which all that is not printed as itself is escaped. Ends of lines stay: they
/// stand between values, because a JSON string has none.
pub(super) fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_printable(character) || character == '\n' {
            shown.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(shown, "\\u{unit:04x}").ok();
        }
    }
    shown
}

/// Whether a character is seen as itself: it controls nothing, ends no line and is not invisible.
pub(super) fn is_printable(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

/// What Unicode lets a screen ignore (`Default_Ignorable_Code_Point`), and its ends of lines.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_says_nothing_to_the_terminal() {
        for (text, shown) in [
            (
                "Zoë \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{928}\u{93f} \\ \"",
                "Zoë \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{928}\u{93f} \\ \"",
            ),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("a\r\nb\tc\u{85}\u{2028}", "a\\u{d}\\u{a}b\\u{9}c\\u{85}\\u{2028}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}", "a\\u{202e}b\\u{2066}c\\u{200b}d\\u{feff}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"a\u{1b}\u{9b}": ["\u{202e}\u{7f}", "\u{e0001}", "é\n"]});
        let json = serde_json::to_string_pretty(&value).expect("JSON");
        let shown = printable_json(&json);
        assert!(shown.chars().all(|character| is_printable(character) || character == '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }
}
