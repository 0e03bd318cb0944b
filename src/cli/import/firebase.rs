//! The accounts of Firebase, as `firebase auth:export` writes them in JSON. Their hashes lack what all of a project have
//! in common, which its console shows.

use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::Failure;
use super::entry::{Entry, Reader, Record};
use super::open::{self, Progress};
use super::streamed::Streamed;
use super::tables::Row;
use jeton_crypto::password::of_parts::{self, FirebaseProject};
use jeton_oauth::Secret;

/// How the hashes of a project are made.
#[derive(Debug)]
struct HashConfig {
    signer_key: Secret,
    salt_separator: String,
    rounds: u32,
    mem_cost: u8,
}

impl HashConfig {
    /// Reads what the console shows: `hash_config { algorithm: SCRYPT, base64_signer_key: …, … }`.
    ///
    /// # Errors
    /// A sentence that names the part that is missing, and repeats nothing.
    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.split(['\n', ',', '{', '}']).filter_map(|line| line.split_once(':'));
        let bare = |text: &str| text.trim().trim_matches('"').to_owned();
        let parts: Vec<(String, String)> =
            lines.map(|(name, value)| (bare(name), bare(value))).collect();
        let part = |name: &str| {
            let mut values =
                parts.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone());
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err(format!("it has no {name}: write into it what the console shows")),
                _ => Err(format!("it has {name} more than once")),
            }
        };
        let number = |name: &str| {
            let number = part(name)?.parse::<u8>();
            number.map_err(|_| format!("its {name} is no number that hashes have"))
        };
        if part("algorithm")? != "SCRYPT" {
            return Err("its algorithm is not SCRYPT, as that of all projects is".to_owned());
        }
        Ok(Self {
            signer_key: Secret::new(part("base64_signer_key")?),
            salt_separator: part("base64_salt_separator")?,
            rounds: number("rounds")?.into(),
            mem_cost: number("mem_cost")?,
        })
    }

    fn project(&self) -> FirebaseProject<'_> {
        FirebaseProject {
            signer_key: self.signer_key.expose(),
            salt_separator: &self.salt_separator,
            rounds: self.rounds,
            mem_cost: self.mem_cost,
        }
    }
}

/// An export that is being read.
struct Firebase {
    config: HashConfig,
    accounts: Streamed,
    /// How many accounts were read.
    read: usize,
    /// What is to be given out before the next account.
    pending: VecDeque<Entry>,
}

/// Opens an export.
///
/// # Errors
/// A file cannot be read, or it is not said how the project hashes.
pub(super) fn open(
    path: &Path,
    config: Option<&Path>,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    let config = config.ok_or_else(|| {
        Failure::usage(
            "the export of Firebase does not say how its project hashes: write what the console shows under \
             Authentication, Users, «Password hash parameters» into a file, and name it with --hash-config",
        )
    })?;
    let failed = |problem: String| {
        Failure::failed(format!("{} (--hash-config): {problem}", config.display()))
    };
    let text = std::fs::read_to_string(config)
        .map_err(|error| failed(format!("cannot read it: {error}")))?;
    let file = open::text(progress.open(path)?)
        .map_err(|problem| Failure::failed(format!("{}: {problem}", path.display())))?;
    read(&Secret::new(text), file).map_err(failed)
}

/// Reads an export, given what the console of its project shows of its hashes.
///
/// # Errors
/// A sentence: that does not say how the project hashes.
pub fn read(config: &Secret, file: impl Read + Send + 'static) -> Result<Box<dyn Reader>, String> {
    let config = HashConfig::parse(config.expose())?;
    let accounts = Streamed::new(Box::new(file), "users");
    Ok(Box::new(Firebase { config, accounts, read: 0, pending: VecDeque::new() }))
}

impl Firebase {
    fn entry(&mut self, values: Map<String, Value>) -> Entry {
        let place = format!("users[{}]", self.read);
        self.read += 1;
        let mut row = Row::new(place, values);
        let (hash, salt) = (row.take_text("passwordHash"), row.take_text("salt"));
        let Some(hash) = hash else {
            return Entry::LeftOut("user without a password".to_owned());
        };
        let text = of_parts::firebase(&self.config.project(), &salt.unwrap_or_default(), &hash);
        let bad_hash = text.as_ref().err().map(ToString::to_string);
        row.set("password_hash", text.ok());
        row.rename("localId", "sub");
        row.rename("emailVerified", "email_verified");
        row.rename("createdAt", "created_at");
        row.rename("lastSignedInAt", "last_login_at");
        let name = row.take("email").or_else(|| row.values.get("phoneNumber").cloned());
        row.set("username", name);
        Self::claims(&mut row);
        self.other_ways(&mut row);
        let mut record = Record::of_values(row.place, row.values);
        record.bad_hash = bad_hash;
        Entry::User(record)
    }

    /// Claims that somebody who administers the project has set; users cannot.
    fn claims(row: &mut Row) {
        let Some(Value::String(text)) = row.take("customAttributes") else { return };
        match serde_json::from_str(&text) {
            Ok(Value::Object(claims)) => row.set("customAttributes", claims),
            _ => return row.set("customAttributes", true),
        }
        row.spread("customAttributes", "customAttributes");
        let list = row.take("customAttributes.roles");
        match (list, row.take("customAttributes.role")) {
            (Some(Value::Array(roles)), other) => {
                row.set("role", roles);
                row.set("customAttributes.role", other);
            }
            (None, Some(Value::String(role))) => row.set("role", vec![Value::from(role)]),
            (list, role) => {
                row.set("customAttributes.roles", list);
                row.set("customAttributes.role", role);
            }
        }
    }

    /// Second factors, whose secrets Firebase gives to nobody, and logins at other providers.
    fn other_ways(&mut self, row: &mut Row) {
        if let Some(Value::Array(factors)) = row.take("mfaInfo") {
            let name = "second factor of a user, whose secret Firebase keeps";
            self.pending.extend(factors.iter().map(|_| Entry::LeftOut(name.to_owned())));
        }
        if let Some(Value::Array(providers)) = row.take("providerUserInfo") {
            let is_other =
                |provider: &&Value| provider.get("providerId").is_none_or(|id| id != "password");
            let others = providers.iter().filter(is_other);
            self.pending.extend(
                others.map(|_| Entry::LeftOut("login of a user at another provider".to_owned())),
            );
        }
    }
}

impl Reader for Firebase {}

impl Iterator for Firebase {
    type Item = Result<Entry, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.pending.pop_front() {
            return Some(Ok(entry));
        }
        Some(match self.accounts.next()? {
            Ok(values) => Ok(self.entry(values)),
            Err(problem) => {
                Err(format!("{problem}; `firebase auth:export FILE.json` writes what is read here"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::json;

    use super::*;

    const CONFIG: &str = "hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: AAAAAAAAAAAAAAAAAAAAAA==,\n  \
                          base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: 14,\n}\n";

    fn entries(accounts: &Value) -> Vec<Entry> {
        let text = json!({ "users": accounts }).to_string();
        let reader = read(&Secret::new(CONFIG.to_owned()), Cursor::new(text)).expect("parameters");
        reader.collect::<Result<_, _>>().expect("entries")
    }

    /// What the console shows, with and without its braces and quotation marks.
    #[test]
    fn the_parameters_of_a_project_are_read() {
        for text in [
            CONFIG.to_owned(),
            CONFIG.replace(": ", ": \"").replace(",\n", "\",\n"),
            CONFIG.replace('\n', ""),
        ] {
            let config = HashConfig::parse(&text).expect("parameters");
            assert_eq!(
                (config.rounds, config.mem_cost, config.salt_separator.as_str()),
                (8, 14, "Bw==")
            );
            assert_eq!(config.signer_key.expose(), "AAAAAAAAAAAAAAAAAAAAAA==");
        }
        for (from, to, sentence) in [
            ("SCRYPT", "BCRYPT", "its algorithm is not SCRYPT"),
            ("rounds: 8", "", "it has no rounds"),
            ("rounds: 8", "rounds: x", "its rounds is no number"),
            ("rounds: 8", "rounds: 8, rounds: 9", "more than once"),
        ] {
            let problem = HashConfig::parse(&CONFIG.replace(from, to)).expect_err(sentence);
            assert!(problem.contains(sentence), "{problem}");
        }
    }

    /// Only claims that somebody who administers the project has set become roles.
    #[test]
    fn claims_become_roles() {
        for (claims, role, others) in [
            (r#"{"role":"a"}"#, json!(["a"]), vec![]),
            (r#"{"roles":["a","b"],"role":"c"}"#, json!(["a", "b"]), vec!["customAttributes.role"]),
            (r#"{"admin":true}"#, Value::Null, vec!["customAttributes.admin"]),
            ("no JSON", Value::Null, vec!["customAttributes"]),
        ] {
            let account = json!({"localId": "1", "email": "a@x", "passwordHash": "AA==", "customAttributes": claims});
            let entries = entries(&json!([account]));
            let Entry::User(record) = &entries[0] else { panic!("a user") };
            let values = record.values.as_ref().expect("values");
            assert_eq!(values.get("role").cloned().unwrap_or_default(), role, "{claims}");
            let said = values
                .iter()
                .filter(|(name, value)| name.starts_with("custom") && !value.is_null());
            assert_eq!(said.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), others);
            // One octet is no hash of Firebase.
            assert!(record.bad_hash.is_some());
        }
    }
}
