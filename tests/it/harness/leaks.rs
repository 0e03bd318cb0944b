//! Looks for secrets where none may be, in whatever spelling they may have got there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::{Database, percent_encode};

/// Secrets that were used in a test, by the names that a failure tells.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds a secret, which must be long enough not to be found by chance.
    pub(crate) fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref().to_vec();
        assert!(secret.len() >= 12, "{name} is too short to look for");
        self.0.push((name.to_owned(), secret));
    }

    /// Makes a secret of a kind that nobody issued, and adds it.
    pub(crate) fn make(&mut self, name: &str) -> String {
        let secret = format!("Zq{:016x}+\u{e9} /", rand::random::<u64>());
        self.add(name, &secret);
        secret
    }

    /// Asserts that no secret is in any of these places, which have a name and octets.
    #[track_caller]
    pub(crate) fn assert_absent(&self, places: &[(&str, Vec<u8>)]) {
        let mut found = Vec::new();
        for (place, octets) in places {
            let text = one_char_an_octet(octets);
            for (name, secret) in &self.0 {
                for spelling in spellings(secret) {
                    if let Some(at) = text.find(&spelling) {
                        let before: String = text[..at].chars().rev().take(300).collect();
                        let before: String = before.chars().rev().collect();
                        found.push(format!("{name} in {place} as {spelling:?} after {before:?}"));
                    }
                }
            }
        }
        assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
    }
}

/// The octets of a part of a token.
pub(crate) fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).expect("base64url")
}

/// Octets as text that can be searched, whatever they are.
fn one_char_an_octet(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// The ways in which a program may write a text.
fn texts(secret: &[u8]) -> Vec<String> {
    let mut all = vec![secret.escape_ascii().to_string()];
    if let Ok(text) = std::str::from_utf8(secret) {
        let escaped = percent_encode(text);
        let json = serde_json::to_string(text).expect("text");
        all.extend([
            escaped.replace("%20", "+"),
            escaped.to_lowercase(),
            text.replace(' ', "+"),
            text.replace(' ', "%20"),
            json.trim_matches('"').to_owned(),
            format!("{text:?}").trim_matches('"').to_owned(),
            text.escape_default().to_string(),
            escaped,
        ]);
    }
    all
}

/// The ways in which a program may write octets, themselves or in one of the ways of texts.
fn spellings(secret: &[u8]) -> Vec<String> {
    let mut forms: Vec<Vec<u8>> = texts(secret).into_iter().map(String::into_bytes).collect();
    forms.push(secret.to_vec());
    forms.sort_unstable();
    forms.dedup();
    let mut all = Vec::new();
    for octets in forms {
        all.push(one_char_an_octet(&octets));
        let listed = format!("{octets:02x?}").trim_matches(['[', ']']).to_owned();
        let hexadecimal = listed.replace(", ", "");
        all.extend([format!("{octets:?}").trim_matches(['[', ']']).to_owned(), listed]);
        all.extend([hexadecimal.to_uppercase(), hexadecimal]);
        // Base64 of something that has it in it: it may begin at any of three places in a group.
        for offset in 0..3 {
            let octets = [&vec![0; offset], &octets[..]].concat();
            let (first, last) = ((offset * 8).div_ceil(6), octets.len() * 8 / 6);
            for text in [STANDARD_NO_PAD.encode(&octets), URL_SAFE_NO_PAD.encode(&octets)] {
                all.push(text[first..last].to_owned());
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Everything that a database has, octet by octet where it is a file.
pub(crate) async fn everything_in(database: &Database) -> Vec<u8> {
    let mut everything = Vec::new();
    let tables = if let Some(path) = database.url.strip_prefix("sqlite:") {
        for end in ["", "-wal"] {
            everything.extend(std::fs::read(format!("{path}{end}")).unwrap_or_default());
        }
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    } else {
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    };
    for table in database.query(tables).await {
        let table = table[0].as_deref().expect("a name");
        for row in database.query(&format!("SELECT * FROM {table}")).await {
            everything.extend(format!("{table}: {row:?}\n").into_bytes());
        }
    }
    everything
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked for is found: a search that finds nothing would prove nothing.
    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let secret = "p\u{e4}ss w\u{f6}rd+\"\\ of mine";
        for text in [
            secret.to_owned(),
            percent_encode(secret),
            percent_encode(secret).replace("%20", "+"),
            serde_json::json!({ "password": secret }).to_string(),
            format!("{:?} {:?}", Some(secret), secret.as_bytes()),
            format!("{:?}", secret.as_bytes()),
            format!("{:02x?}", percent_encode(secret).as_bytes()),
            STANDARD_NO_PAD.encode(format!("web:{secret}")),
            URL_SAFE_NO_PAD.encode(format!("clients:{secret}.")),
            STANDARD_NO_PAD.encode(format!("{secret}!")),
        ] {
            let text = one_char_an_octet(text.as_bytes());
            let is_found = spellings(secret.as_bytes()).iter().any(|one| text.contains(one));
            assert!(is_found, "{text}");
        }
        let mut secrets = Secrets::default();
        secrets.add("another", "nothing of this kind");
        secrets.assert_absent(&[("the log", secret.as_bytes().to_vec())]);
    }
}
