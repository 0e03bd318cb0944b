//! What an import stores of clients and users: their dates, their secrets, and nothing of those that are there.

use std::sync::Arc;

use jeton_oauth::{Client, ClientId, ClientSettings, Secret, Timestamp};
use jeton_store::Store;
use jeton_store::client_import::{
    ImportClients, ImportedClient, ImportedSecret, LookAtNewClients, SecretForm,
};
use jeton_store::clients::NewClient;
use jeton_store::data_keys::StoredUnder;
use jeton_store::import::{ImportUsers, StagedUser, Staging, Taken};
use jeton_store::second_factors::StoredSecondFactors;

use super::*;
use crate::harness::Database;
use crate::harness::executable::run_for_json;

/// The hash of `secret` in the tutorial of FastAPI.
const TUTORIAL: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
/// Another hash.
const OTHER: &str = "$2b$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";
/// When the imports of these tests take place.
const NOW: Timestamp = Timestamp(1_800_000_000);
/// Long before that.
const THEN: Timestamp = Timestamp(1_500_000_000);

pub(super) async fn open(database: &Database) -> Store {
    Store::open(&database.url.parse().expect("a location")).await.expect("it opens")
}

fn id(name: &str) -> ClientId {
    name.parse().expect("the name of a client")
}

fn secret(stored_as: SecretForm, created_at: Option<Timestamp>) -> ImportedSecret {
    ImportedSecret { stored_as, created_at, expires_at: None }
}

fn client(name: &str, secrets: Vec<ImportedSecret>) -> ImportedClient {
    let client = Client { id: id(name), settings: ClientSettings::default() };
    ImportedClient { client, disabled: name == "off", secrets }
}

/// Imports clients where hashes are stored as they are.
fn plain(clients: Vec<ImportedClient>) -> ImportClients {
    ImportClients { clients: StoredUnder { hashes: clients, data_key: None }, now: NOW }
}

async fn stored(database: &Database, sql: &str) -> Vec<String> {
    let text = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or("NULL".to_owned())).collect::<Vec<_>>().join(" ")
    };
    database.query(sql).await.into_iter().map(text).collect()
}

/// Clients come with their secrets, as digests or as hashes of which older programs see an empty digest. Repeating it
/// changes nothing, also where a client was changed meanwhile.
#[tokio::test]
async fn clients_are_added_with_their_secrets_and_then_left_alone() {
    let database = Database::migrated(ENGINE).await;
    let store = open(&database).await;
    let hash = || SecretForm::Hash(Secret::new(TUTORIAL.to_owned()));
    let clients = || {
        let future = Some(NOW.after(jeton_oauth::Seconds::new(5)));
        vec![
            client(
                "both",
                vec![secret(hash(), Some(THEN)), secret(SecretForm::Digest([7; 32]), None)],
            ),
            client("off", vec![secret(hash(), future)]),
            client("public", Vec::new()),
        ]
    };
    let ids = || ["both", "off", "public"].map(id).to_vec();
    let look = || store.perform(LookAtNewClients { ids: ids() });
    assert_eq!(look().await, Ok(vec![NewClient::Added; 3]));
    let import = || store.perform(plain(clients()));
    assert_eq!(import().await, Ok(vec![NewClient::Added; 3]));
    let secrets = "SELECT client_id, secret_number, LENGTH(secret_digest), secret_hash, created_at FROM client_secrets \
                   ORDER BY client_id, secret_number";
    let expected = [
        format!("both 1 0 {TUTORIAL} 1500000000"),
        "both 2 32 NULL 1800000000".to_owned(),
        format!("off 1 0 {TUTORIAL} 1800000000"),
    ];
    assert_eq!(stored(&database, secrets).await, expected);
    let rows = "SELECT client_id, created_at, disabled_at FROM clients ORDER BY client_id";
    let expected_rows =
        ["both 1800000000 NULL", "off 1800000000 1800000000", "public 1800000000 NULL"];
    assert_eq!(stored(&database, rows).await, expected_rows);

    database.query("DELETE FROM client_secrets WHERE client_id = 'both'").await;
    database.query("UPDATE clients SET disabled_at = NULL WHERE client_id = 'off'").await;
    let changed = database.dump().await;
    assert_eq!(look().await, Ok(vec![NewClient::Taken; 3]));
    assert_eq!(import().await, Ok(vec![NewClient::Taken; 3]));
    assert_eq!(database.dump().await, changed);
}

/// RFC 9068 §5: a client that is named like a user keeps all of them out, and so does one that is listed twice.
#[tokio::test]
async fn one_client_that_cannot_be_added_keeps_the_others_out() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let store = open(&database).await;
    let before = database.dump().await;
    let names = ["new", fixtures.sub("alice"), "web"];
    let outcomes = vec![NewClient::Added, NewClient::IsUser, NewClient::Taken];
    let look = LookAtNewClients { ids: names.map(id).to_vec() };
    assert_eq!(store.perform(look).await.as_ref(), Ok(&outcomes));
    let clients = names.map(|name| client(name, Vec::new())).to_vec();
    assert_eq!(store.perform(plain(clients)).await, Ok(outcomes));
    let clients = ["new", "new"].map(|name| client(name, Vec::new())).to_vec();
    assert!(store.perform(plain(clients)).await.is_err());
    assert_eq!(database.dump().await, before);
}

fn user(name: &str, hash: &str, dates: [Option<Timestamp>; 2]) -> StagedUser {
    let [created_at, last_login_at] = dates;
    StagedUser {
        place: format!("users[{name}] of a file"),
        username: name.parse().expect("a user name"),
        id: format!("sub-{name}").parse().expect("a sub"),
        has_own_id: true,
        password_hash: Secret::new(hash.to_owned()),
        scope: None,
        roles: Vec::new(),
        second_factors: StoredSecondFactors::default(),
        disabled: false,
        mfa_required: false,
        decoy_number: 7,
        created_at,
        last_login_at,
    }
}

async fn import(store: &Store, users: Vec<StagedUser>, now: Timestamp) -> u64 {
    let users = StoredUnder { hashes: Arc::from(users), data_key: None };
    store.perform(ImportUsers { users, now }).await.expect("they are stored")
}

/// What is staged comes back as it was, with its place, and another user of the name learns that place.
#[test]
fn a_staged_user_keeps_place_and_dates() {
    let staging = Staging::new().expect("a temporary file");
    let anna = user("anna", TUTORIAL, [Some(THEN), Some(NOW)]);
    assert_eq!(staging.add(&anna, true), Ok(None));
    let (_, staged) = staging.page(0, 10).expect("a page").remove(0);
    assert_eq!((staged.created_at, staged.last_login_at), (Some(THEN), Some(NOW)));
    let taken = Some(Taken::Name("users[anna] of a file".to_owned()));
    assert_eq!(staging.add(&anna, true), Ok(taken));
}

/// A user comes with the dates of the other service, as far as these are before the import. Since failures before a
/// change of the password do not count, none of them is in the future.
#[tokio::test]
async fn users_keep_their_dates() {
    let database = Database::migrated(ENGINE).await;
    let store = open(&database).await;
    let second = jeton_oauth::Seconds::new(1);
    let future = Some(NOW.after(second));
    let users = [
        user("both", TUTORIAL, [Some(THEN), Some(THEN.after(second))]),
        user("future", TUTORIAL, [future, future]),
        user("none", TUTORIAL, [None, None]),
    ];
    // Enough for PostgreSQL's lists and SQLite's batches.
    let many = (0..60).map(|number| user(&format!("u{number}"), OTHER, [Some(THEN), None]));
    let all: Vec<StagedUser> = users.into_iter().chain(many).collect();
    assert_eq!(import(&store, all, NOW).await, 63);
    let dates = "SELECT username, created_at, password_changed_at, last_login_at, imported_at FROM users \
                 WHERE username NOT LIKE 'u%' ORDER BY username";
    let expected = [
        "both 1500000000 1500000000 1500000001 1800000000",
        "future 1800000000 1800000000 1799999999 1800000000",
        "none 1800000000 1800000000 NULL 1800000000",
    ];
    assert_eq!(stored(&database, dates).await, expected);
    let many = "SELECT COUNT(*) FROM users WHERE created_at = 1500000000 AND username LIKE 'u%' AND \
                last_login_at IS NULL";
    assert_eq!(stored(&database, many).await, ["60"]);
}

/// Whoever has logged in here, or got a password here, keeps it; a login elsewhere before the import does not matter.
#[tokio::test]
async fn only_a_user_who_was_not_here_gets_the_hash_of_a_later_file() {
    let database = Database::migrated(ENGINE).await;
    let store = open(&database).await;
    let names = ["elsewhere", "here", "older", "password"];
    let users =
        |hash: &'static str| names.map(|name| user(name, hash, [Some(THEN), Some(THEN)])).to_vec();
    import(&store, users(TUTORIAL), NOW).await;
    for change in [
        "last_login_at = 1800000000 WHERE username = 'here'",
        "password_changed_at = 1800000000 WHERE username = 'password'",
        "imported_at = NULL WHERE username = 'older'",
    ] {
        database.query(&format!("UPDATE users SET {change}")).await;
    }
    import(&store, users(OTHER), NOW.after(jeton_oauth::Seconds::new(9))).await;
    let hashes = "SELECT password_hash, imported_at FROM users ORDER BY username";
    let expected = [
        format!("{OTHER} 1800000000"),
        format!("{TUTORIAL} 1800000000"),
        format!("{TUTORIAL} NULL"),
        format!("{TUTORIAL} 1800000000"),
    ];
    assert_eq!(stored(&database, hashes).await, expected);
}

/// The lists tell what was here from what was elsewhere: nobody is called inactive since before the import.
#[tokio::test]
async fn lists_tell_logins_here_from_logins_elsewhere() {
    let database = Database::migrated(ENGINE).await;
    let store = open(&database).await;
    let now = jeton_runtime::clock::Clock::System.now();
    let long_ago = Timestamp(now.0 - 200 * 86_400);
    let day = jeton_oauth::Seconds::new(86_400);
    import(&store, vec![user("earlier", TUTORIAL, [Some(THEN), None])], long_ago).await;
    import(&store, vec![user("lately", TUTORIAL, [Some(THEN), Some(THEN.after(day))])], now).await;
    let list = |options: &[&str]| {
        let database = ["--database", &database.url, "--json"];
        run_for_json(&[&["user", "list"], options, &database].concat(), "")
    };
    let inactive = list(&["--inactive-since", "90d"]);
    assert_eq!(inactive.as_array().map(Vec::len), Some(1), "{inactive}");
    assert_eq!(inactive[0]["username"], "earlier");
    assert_eq!(list(&["--stats"])[0]["never_logged_in"], 2);
    database.query("UPDATE users SET last_login_at = imported_at").await;
    assert_eq!(list(&["--stats"])[0]["never_logged_in"], 0);
}
