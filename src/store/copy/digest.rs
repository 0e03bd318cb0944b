//! What a table holds, in two numbers: how many rows, and a digest that does not depend on their order.
//!
//! Each row is encoded in the same way whichever engine it came from. The digest is the sum of the SHA-256 of all rows,
//! cut to 128 bits. It finds faults of programs and disks, not somebody who chooses the rows.

use std::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::super::value::Value;

/// How many rows, and their digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// How many rows.
    pub rows: u64,
    sum: u128,
}

impl TableDigest {
    pub(super) fn add(&mut self, rows: &[Vec<Value>]) {
        for row in rows {
            self.add_row(row);
        }
    }

    fn add_row(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            // The kind and the length go first, so that no two rows are encoded alike.
            let mut part = |kind: u8, octets: &[u8]| {
                hash.update([kind]);
                hash.update((octets.len() as u64).to_be_bytes());
                hash.update(octets);
            };
            match value {
                Value::Integer(number) => part(1, &number.to_be_bytes()),
                Value::Text(text) => part(2, text.as_bytes()),
                Value::Octets(octets) => part(3, octets),
                // No column holds a list.
                Value::Null | Value::Integers(_) | Value::Texts(_) => part(0, &[]),
            }
        }
        let octets: [u8; 32] = hash.finalize().into();
        let (first, _) = octets.split_first_chunk().expect("16 of 32 octets");
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*first));
        self.rows += 1;
    }
}

impl fmt::Display for TableDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.sum)
    }
}

impl Serialize for TableDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&[Value]]) -> TableDigest {
        let mut digest = TableDigest::default();
        for row in rows {
            digest.add_row(row);
        }
        digest
    }

    #[test]
    fn order_of_rows_does_not_matter_and_everything_else_does() {
        let one: &[Value] = &["a".into(), "bc".into()];
        let other: &[Value] = &["ab".into(), "c".into()];
        assert_eq!(digest(&[one, other]), digest(&[other, one]));
        let all = [
            digest(&[]),
            digest(&[one]),
            digest(&[other]),
            digest(&[one, one]),
            digest(&[one, other]),
            digest(&[&["a".into(), Value::Null]]),
            digest(&[&["a".into(), "".into()]]),
            digest(&[&[1.into()]]),
            digest(&[&[Value::Octets(1_i64.to_be_bytes().to_vec())]]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all.iter().skip(place + 1).all(|other| other != one), "{place}");
        }
        assert_eq!(all[4].rows, 2);
    }
}
