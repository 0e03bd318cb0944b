//! Cells of CSV that a spreadsheet takes for text, and never for a formula.
//!
//! A spreadsheet computes a cell that begins with one of a few characters, whoever wrote it: OWASP, «CSV
//! Injection». Such a value has an apostrophe before it, which spreadsheets take for «this is text»; and so has
//! one that would be taken for that. The apostrophe goes when the file is read, so the value stays what it is.

use std::borrow::Cow;

/// What a formula begins with, also in its full-width forms.
const FORMULA: [char; 10] =
    ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// The value as a cell.
pub(in crate::cli) fn to_cell(value: &str) -> String {
    if begins_formula(value) { format!("'{value}") } else { value.to_owned() }
}

/// The value of a cell.
pub(super) fn from_cell(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|value| begins_formula(value)).unwrap_or(cell)
}

/// Whether there is a formula in a value where a program that divides lines at semicolons or bars sees a cell begin.
pub(in crate::cli) fn hides_formula(value: &str) -> bool {
    let mut parts = value.split([';', '|']).skip(1);
    parts.any(|part| part.trim_start_matches([' ', '"']).starts_with(FORMULA))
}

/// A cell as it stood in a file, of the same value, and no formula.
pub(super) fn defused(cell: &[u8]) -> Cow<'_, [u8]> {
    if String::from_utf8_lossy(cell).starts_with(FORMULA) {
        [b"'", cell].concat().into()
    } else {
        cell.into()
    }
}

/// Whether a value is a formula, perhaps behind apostrophes.
fn begins_formula(value: &str) -> bool {
    value.trim_start_matches('\'').starts_with(FORMULA)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_could_be_a_formula_gets_an_apostrophe() {
        for (value, cell) in [
            ("", ""),
            ("anna", "anna"),
            ("'s-gravenhage", "'s-gravenhage"),
            ("a=1", "a=1"),
            ("=1+1", "'=1+1"),
            ("'=1+1", "''=1+1"),
            ("+49 30 1", "'+49 30 1"),
            ("-x", "'-x"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
        ] {
            assert_eq!((to_cell(value).as_str(), from_cell(cell)), (cell, value));
        }
        for (stood, cell) in
            [(&b"=1\xff"[..], &b"'=1\xff"[..]), (b"'=1", b"'=1"), (b"\xff=1", b"\xff=1")]
        {
            assert_eq!(defused(stood), cell);
        }
    }

    proptest! {
        #[test]
        fn a_value_comes_back(value in "['=+@\t\r-]{0,3}\\PC{0,4}") {
            let cell = to_cell(&value);
            prop_assert!(!cell.starts_with(FORMULA));
            prop_assert_eq!(from_cell(&cell), value);
        }
    }
}
