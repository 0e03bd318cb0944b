//! The users of Supabase: its table `auth.users`, and `auth.mfa_factors` where there is one.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use serde_json::Value;

use super::Failure;
use super::entry::{Entry, Reader};
use super::lines::Records;
use super::mapping::Mapping;
use super::open::Progress;
use super::tables::{Row, Rows, TableReader, Tables, rows_of, text_of};
use super::time::read_time;
use jeton_oauth::Timestamp;
use jeton_runtime::clock::Clock;

/// What says nothing beside what is read: one-time tokens, and states of its own.
const SILENT: [&str; 21] = [
    "aud",
    "confirmation_sent_at",
    "confirmation_token",
    "confirmed_at",
    "email_change",
    "email_change_confirm_status",
    "email_change_sent_at",
    "email_change_token_current",
    "email_change_token_new",
    "instance_id",
    "invited_at",
    "is_sso_user",
    "phone_change",
    "phone_change_sent_at",
    "phone_change_token",
    "reauthentication_sent_at",
    "reauthentication_token",
    "recovery_sent_at",
    "recovery_token",
    "role",
    "updated_at",
];

/// What decides who somebody is, and who may log in.
const NEEDED: [&str; 5] =
    ["id", "email", "encrypted_password", "email_confirmed_at", "banned_until"];

/// What is read of a second factor.
const OF_FACTOR: [&str; 4] = ["factor_type", "friendly_name", "secret", "status"];

/// Opens the database, a folder with its tables, or a file with its users.
///
/// # Errors
/// There is no table of users, or it cannot be read.
pub(super) fn open(
    source: &str,
    mapping: &Mapping,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    let tables = Tables::open(source, mapping)?;
    let mut factors: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut before = VecDeque::new();
    let table = ("auth.mfa_factors", "second factors");
    for row in tables.rows(table, &["user_id", "secret"], &mut before, progress)? {
        let Row { mut values, .. } = row.map_err(Failure::failed)?;
        let user = values.get("user_id").and_then(text_of).unwrap_or_default();
        // What else a row has would take memory for each.
        values.retain(|name, _| OF_FACTOR.contains(&name.as_str()));
        factors.entry(user).or_default().push(Value::Object(values));
    }
    Ok(reader(before, tables.users("auth.users", &NEEDED, progress)?, factors))
}

/// Reads users alone, from a file.
///
/// # Errors
/// A sentence: it cannot be read.
pub fn read(file: impl Read + 'static) -> Result<Box<dyn Reader>, String> {
    Ok(reader(VecDeque::new(), rows_of(Records::new(file)?, "users".to_owned()), BTreeMap::new()))
}

fn reader(
    before: VecDeque<Entry>,
    users: Rows,
    factors: BTreeMap<String, Vec<Value>>,
) -> Box<dyn Reader> {
    let now = Clock::System.now();
    let entry =
        Box::new(move |row, left_out: &mut VecDeque<Entry>| entry(row, &factors, now, left_out));
    Box::new(TableReader { before, users, entry })
}

fn entry(
    mut row: Row,
    factors: &BTreeMap<String, Vec<Value>>,
    now: Timestamp,
    left_out: &mut VecDeque<Entry>,
) -> Entry {
    let Some(hash) = row.take("encrypted_password") else {
        return Entry::LeftOut("user without a password".to_owned());
    };
    if row.take("deleted_at").is_some() {
        return Entry::LeftOut("user who was deleted".to_owned());
    }
    row.set("password_hash", hash);
    let email_confirmed = row.take("email_confirmed_at").is_some();
    let phone_confirmed = row.take("phone_confirmed_at").is_some();
    let email = row.values.get("email").filter(|email| email.as_str() != Some("")).cloned();
    let email = email.filter(|email| !email.is_null());
    // Nobody logs in there by what is not confirmed.
    let confirmed = if email.is_some() { email_confirmed } else { phone_confirmed };
    let name = email.or(row.values.get("phone").cloned());
    row.set("username", name);
    row.rename("id", "sub");
    row.rename("last_sign_in_at", "last_login_at");
    row.set("email_verified", email_confirmed);
    // Whoever is banned for a time is disabled for good: somebody has to look.
    let banned = row.take("banned_until");
    let banned = banned.is_some_and(|until| read_time(&until).map_or(true, |until| until > now));
    row.set("disabled", banned || !confirmed);
    let own = row.values.get("sub").and_then(text_of).and_then(|sub| factors.get(&sub));
    let is_other = |factor: &&Value| {
        let says = |name: &str, text: &str| factor.get(name).is_some_and(|value| value == text);
        !says("factor_type", "totp") && !says("status", "unverified")
    };
    let others = own.into_iter().flatten().filter(is_other).count();
    left_out.extend((0..others).map(|_| Entry::of_other_factor()));
    row.set("otp", own.cloned().unwrap_or_default());
    // Which providers a user has is no claim of the application.
    if let Some(Value::Object(metadata)) = row.values.get_mut("raw_app_meta_data") {
        metadata.remove("provider");
        metadata.remove("providers");
    }
    row.spread("raw_app_meta_data", "app_metadata");
    row.spread("raw_user_meta_data", "user_metadata");
    for name in SILENT {
        row.values.remove(name);
    }
    row.into_user()
}
