//! Files of users, in all forms that are read.

use std::io::Cursor;

use jeton::cli::import::columns::Columns;
use jeton::cli::import::entry::{Place, Source};
use jeton::cli::import::lines::Records;
use jeton::cli::import::record::{ReadUser, read_user};
use jeton_crypto::password::PasswordHash;
use jeton_oauth::resource_owner::Username;
use serde_json::Value;

/// What a thread may take.
const MEMORY_MAX: u64 = 1 << 20;

/// Lines follow each other; a user that is taken can be stored as it is; a line that is not taken is there
/// whole, and what is said of it does not repeat its hash.
pub(super) fn check(input: &[u8]) {
    let Ok(records) = Records::new(Cursor::new(input.to_vec())) else { return };
    let columns = Columns::new(&[]).expect("no names");
    let is_list = matches!(records, Records::JsonList(_));
    let mut before = 0;
    for record in records {
        // A list may end before its last entry does; all else in memory can be read.
        let record = match record {
            Ok(record) => record,
            Err(sentence) => return assert!(is_list, "{sentence}"),
        };
        // A list may have several entries on a line.
        let Place::Line(line) = record.place else { panic!("{} is no line", record.place) };
        let is_next = if is_list { line >= before } else { line > before };
        assert!(is_next, "line {line} after {before}");
        before = line;
        if let Source::Json(text) = &record.source {
            let is_part = |text: &[u8]| input.windows(text.len()).any(|window| window == text);
            assert!(text.is_empty() || is_part(text));
        }
        let value = |name: &str| record.values.as_ref().ok()?.get(name).filter(|v| !v.is_null());
        match read_user(&record, &columns, MEMORY_MAX) {
            Ok(ReadUser { user, hash, .. }) => {
                let name = user.username.as_str();
                assert_eq!(Username::parse(name).as_ref(), Some(&user.username));
                let stored = PasswordHash::parse(user.password_hash.expose(), MEMORY_MAX);
                assert!(stored.is_ok_and(|stored| stored == hash));
                assert_eq!(
                    Some(user.password_hash.expose()),
                    value("password_hash").and_then(Value::as_str)
                );
                assert_eq!(user.has_own_id, value("sub").is_some());
                let sub = user.id.as_str();
                assert!(
                    (1..=255).contains(&sub.len()) && sub.bytes().all(|o| o.is_ascii_graphic())
                );
                assert!(user.scope.is_none_or(|scope| !scope.is_empty()) && user.decoy_number > 0);
                let is_word = |role: &String| !role.is_empty();
                assert!(
                    user.roles.iter().all(is_word) || value("role").is_some_and(Value::is_array)
                );
            }
            Err(problem) => {
                let hash = value("password_hash").and_then(Value::as_str).unwrap_or_default();
                let is_told = hash.len() > 20 && problem.sentence.contains(hash);
                assert!(!is_told, "{}", problem.sentence);
            }
        }
    }
}
