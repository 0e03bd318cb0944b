//! What must hold of whatever a reader of another service's export gives.

use jeton::cli::import::columns::Columns;
use jeton::cli::import::entry::{Entry, Reader};
use jeton::cli::import::record::{ReadUser, read_user};
use jeton_crypto::password::PasswordHash;
use jeton_oauth::resource_owner::Username;
use serde_json::Value;

/// What a thread may take.
const MEMORY_MAX: u64 = 1 << 20;

/// How many entries of each kind there were.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) users: usize,
    pub(super) clients: usize,
    pub(super) left_out: Vec<String>,
}

impl Counts {
    /// How many were left out under a name.
    pub(super) fn named(&self, is_it: impl Fn(&str) -> bool) -> usize {
        self.left_out.iter().filter(|name| is_it(name)).count()
    }
}

/// A user that is taken can be stored as it is; of one that is not, nothing of its values is repeated that could be a
/// hash or a password. What comes before the end of a file that cannot be read on is counted; `None` says so.
pub(super) fn check(reader: Box<dyn Reader>) -> (Counts, Option<()>) {
    let columns = Columns::new(&[]).expect("no names");
    let mut counts = Counts::default();
    for entry in reader {
        match entry {
            Err(sentence) => {
                assert!(!sentence.is_empty());
                return (counts, None);
            }
            Ok(Entry::LeftOut(name)) => counts.left_out.push(name),
            Ok(Entry::Client(client)) => {
                counts.clients += 1;
                assert!(!client.place.to_string().is_empty());
            }
            Ok(Entry::User(record)) => {
                counts.users += 1;
                assert!(!record.place.to_string().is_empty());
                match read_user(&record, &columns, MEMORY_MAX) {
                    Ok(user) => check_user(&user),
                    Err(problem) => {
                        let values = record.values.iter().flatten().map(|(_, value)| value);
                        let texts = values.filter_map(Value::as_str).filter(|text| text.len() > 20);
                        for text in texts {
                            assert!(!problem.sentence.contains(text), "{}", problem.sentence);
                        }
                    }
                }
            }
        }
    }
    (counts, Some(()))
}

fn check_user(ReadUser { user, hash, .. }: &ReadUser) {
    let name = user.username.as_str();
    assert_eq!(Username::parse(name).as_ref(), Some(&user.username));
    let stored = PasswordHash::parse(user.password_hash.expose(), MEMORY_MAX);
    assert!(stored.is_ok_and(|stored| stored == *hash));
    assert!(user.decoy_number > 0);
}
