//! Clients whose secrets came from another service as hashes: right as they were, bounded as passwords are until the
//! first use, and digests from then on. The hashes are those of `tests/vectors/password-hashes.json`.

use jeton_oauth::{Client, ClientSettings, Secret, Timestamp};
use jeton_store::client_import::{ImportClients, ImportedClient, ImportedSecret, SecretForm};
use jeton_store::clients::NewClient;
use jeton_store::data_keys::StoredUnder;
use serde_json::Value;
use tokio::task::JoinSet;

use super::foreign_hashes::{RIGHT, hashes_of};
use super::imported_rows::open;
use super::*;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, Engine, Executable, Request, run};

/// A wrong secret.
const WRONG: &str = "correct horse battery stapler";
/// The hash of `secret`, which takes a fifth of a second.
const SLOW: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";

fn hashed(hash: &str) -> ImportedSecret {
    let stored_as = SecretForm::Hash(Secret::new(hash.to_owned()));
    ImportedSecret { stored_as, created_at: None, expires_at: None }
}

/// Adds clients with these secrets that may all that `web` and `rs1` may.
async fn add(database: &Database, clients: Vec<(&str, Vec<ImportedSecret>)>, now: Timestamp) {
    let store = open(database).await;
    let mut settings = ClientSettings::default();
    for name in ["web", "rs1"] {
        let id = name.parse().expect("a name");
        let own = store.find_client(id).await.expect("a row").expect("a client").client.settings;
        settings = ClientSettings { introspects: own.introspects.clone(), ..settings };
        if name == "web" {
            settings = own;
        }
    }
    let count = clients.len();
    let client = |(name, secrets): (&str, _)| {
        let client = Client { id: name.parse().expect("a name"), settings: settings.clone() };
        ImportedClient { client, disabled: false, secrets }
    };
    let clients = clients.into_iter().map(client).collect();
    let clients = StoredUnder { hashes: clients, data_key: None };
    let outcomes = store.perform(ImportClients { clients, now }).await.expect("they are added");
    assert_eq!(outcomes, vec![NewClient::Added; count]);
}

/// A hash of [`RIGHT`] that begins so.
fn hash(begin: &str) -> String {
    let found = hashes_of(RIGHT).into_iter().find(|(_, hash)| hash.starts_with(begin));
    found.expect("a vector").1
}

/// What is stored of a client's secrets: how long the digest is, and the hash.
async fn stored(database: &Database, client: &str) -> Vec<(String, Option<String>)> {
    let select = format!(
        "SELECT LENGTH(secret_digest), secret_hash FROM client_secrets WHERE client_id = '{client}' ORDER BY \
         secret_number"
    );
    let rows = database.query(&select).await.into_iter();
    rows.map(|row| (row[0].clone().expect("a length"), row[1].clone())).collect()
}

fn digest() -> (String, Option<String>) {
    ("32".to_owned(), None)
}

/// A request that authenticates by Basic, or in the form.
fn request(
    address: std::net::SocketAddr,
    target: &str,
    form: &str,
    basic: bool,
    [client, secret]: [&str; 2],
) -> Request {
    let request = Request::new(address, "POST", target);
    let secret = percent_encode(secret);
    if basic {
        return request.form(form).basic(client, &secret);
    }
    request.form(&format!("{form}&client_id={client}&client_secret={secret}"))
}

/// RFC 6749 §2.3.1: at each endpoint and in either form, the secret of another service is right and a wrong one is
/// refused as any other. The first use replaces the hash by the digest, which costs no hash any more. [TC-20] [TC-27]
#[tokio::test]
async fn a_secret_that_came_as_a_hash_becomes_a_digest_at_its_first_use() {
    let jeton = jeton().await;
    let login = login_form("alice", PASSWORD);
    let targets = [
        ("/token", login.as_str(), 200),
        ("/token", "grant_type=refresh_token&refresh_token=invented", 400),
        ("/introspect", "token=invented", 200),
        ("/revoke", "token=invented", 200),
    ];
    let begins = ["$2b$", "$2y$", "pbkdf2_sha256$", "argon2$", "$scrypt$"];
    let hashes = begins.map(hash);
    for (number, (target, form, status)) in targets.into_iter().enumerate() {
        for basic in [true, false] {
            let hash = &hashes[(2 * number + usize::from(basic)) % hashes.len()];
            let client = format!("from-{number}-{basic}");
            add(&jeton.database, vec![(&client, vec![hashed(hash)])], jeton.clock.now()).await;
            let send = async |client: &str, secret: &str| {
                let request = request(jeton.service.public, target, form, basic, [client, secret]);
                request.send().await
            };
            let wrong = send(&client, WRONG).await;
            wrong.assert_error(401, "invalid_client");
            assert_eq!(wrong.comparable(), send("nobody", WRONG).await.comparable(), "{hash}");
            let as_it_came = [("0".to_owned(), Some(hash.clone()))];
            assert_eq!(stored(&jeton.database, &client).await, as_it_came, "{hash}");

            assert_eq!(send(&client, RIGHT).await.status, status, "{target} {hash}");
            assert_eq!(stored(&jeton.database, &client).await, [digest()], "{target} {hash}");
            // A login hashes the password of the user, and nothing hashes the secret.
            let verified = jeton.passwords_verified().await;
            assert_eq!(send(&client, RIGHT).await.status, status, "{target} {hash}");
            send(&client, WRONG).await.assert_error(401, "invalid_client");
            let own = u64::from(form == login);
            assert_eq!(jeton.passwords_verified().await, verified + own, "{target} {hash}");
            jeton.forget_failures().await;
        }
    }
}

/// RFC 6749 §2.3.1: a secret is compared octet by octet. A password may be typed in another form, a secret is sent by a
/// program. What bcrypt does not read of a secret is part of the digest.
#[tokio::test]
async fn only_the_octets_that_were_hashed_are_the_secret() {
    let jeton = jeton().await;
    let [composed, decomposed] = ["p\u{e4}ssw\u{f6}rd", "pa\u{308}sswo\u{308}rd"];
    let long = "0123456789".repeat(10);
    let find = |secret: &str| {
        let found = hashes_of(secret).into_iter().find(|(_, hash)| hash.starts_with("$2b$"));
        vec![hashed(&found.expect("a vector").1)]
    };
    let clients =
        vec![("composed", find(composed)), ("decomposed", find(decomposed)), ("long", find(&long))];
    add(&jeton.database, clients, jeton.clock.now()).await;
    let answer = async |client: &str, secret: &str| {
        let secret = [client, secret];
        request(jeton.service.public, "/introspect", "token=x", true, secret).send().await.status
    };
    assert_eq!(answer("composed", decomposed).await, 401);
    assert_eq!(answer("decomposed", composed).await, 401);
    assert_eq!(answer("composed", composed).await, 200);
    assert_eq!(answer("decomposed", decomposed).await, 200);
    assert_eq!(answer("long", &long).await, 200);
    assert_eq!(answer("long", &long[..72]).await, 401, "from the first use on, all of it counts");
    assert_eq!(answer("long", &long).await, 200);
}

/// RFC 6749 §2.3.1, RFC 6819 §4.3.5: guesses at a secret of which there is a hash are slowed wherever they come from, and
/// what is refused looks like a wrong secret. Another secret of the client, of which there is a digest, is not held up.
/// One more secret is a new beginning. [TC-25]
#[tokio::test]
async fn guesses_at_a_hashed_secret_are_throttled_and_a_digest_is_not() {
    let jeton = Jeton::start_with(ENGINE, &["--trusted-proxy", "127.0.0.0/8"]).await;
    let now = jeton.clock.now();
    add(&jeton.database, vec![("app", vec![hashed(&hash("$2b$"))])], now).await;
    let printed = jeton.run(&["client", "secret", "add", "app", "--json"], "").await;
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let own = printed["client_secret"].as_str().expect("a secret");
    let date =
        |at: i64| format!("UPDATE client_secrets SET created_at = {at} WHERE client_id = 'app'");
    jeton.database.query(&date(now.0)).await;
    let send = async |number: usize, secret: &str| {
        let request =
            request(jeton.service.public, "/introspect", "token=x", true, ["app", secret]);
        request.header("X-Forwarded-For", &format!("203.0.113.{number}")).send().await
    };
    let before = jeton.passwords_verified().await;
    let first = send(1, "guess").await;
    for number in 2..=50 {
        let reply = send(number, &format!("guess{number}")).await;
        assert_eq!(reply.comparable(), first.comparable());
    }
    let hashed = jeton.passwords_verified().await - before;
    assert!((5..=7).contains(&hashed), "{hashed} guesses were hashed");
    assert_eq!(send(51, RIGHT).await.comparable(), first.comparable());
    assert_eq!(send(51, own).await.status, 200);
    let outcomes = jeton.manage("/metrics").send().await;
    assert!(outcomes.text().contains("throttled_client"), "{}", outcomes.text());

    // The hundredth failure in a row locks it, as an account.
    jeton.clock.advance(60);
    jeton.database.query("UPDATE login_throttle SET failures = 99 WHERE failures > 1").await;
    assert_eq!(send(51, "guess").await.comparable(), first.comparable());
    assert_eq!(jeton.metric("jeton_accounts_locked_total").await, 1);
    jeton.clock.advance(3_600);
    assert_eq!(send(52, RIGHT).await.comparable(), first.comparable());
    let outcomes = jeton.manage("/metrics").send().await;
    assert!(outcomes.text().contains("locked_client"), "{}", outcomes.text());
    jeton.database.query(&date(jeton.clock.now().0)).await;
    assert_eq!(send(53, RIGHT).await.status, 200);
    assert_eq!(stored(&jeton.database, "app").await, [digest(), digest()]);
}

/// Of two replicas that verify a secret at the same moment, one replaces the hash. Both serve.
#[tokio::test]
async fn a_first_use_on_two_replicas_at_once_succeeds_on_both() {
    let jeton = jeton().await;
    let other = jeton.replica().await;
    let names: Vec<String> = (0..5).map(|number| format!("app{number}")).collect();
    let hash = hash("$2b$");
    let clients = names.iter().map(|name| (name.as_str(), vec![hashed(&hash)])).collect();
    add(&jeton.database, clients, jeton.clock.now()).await;
    for name in &names {
        let mut both = JoinSet::new();
        for address in [jeton.service.public, other.public] {
            let request = request(address, "/introspect", "token=x", true, [name, RIGHT]);
            both.spawn(async move { request.send().await.status });
        }
        assert_eq!(both.join_all().await, [200, 200], "{name}");
        assert_eq!(stored(&jeton.database, name).await, [digest()]);
    }
}

/// A right secret is served although the database takes no writes, and its next use replaces the hash.
#[tokio::test]
async fn a_database_that_refuses_the_digest_refuses_no_secret() {
    let jeton = jeton().await;
    let hash = hash("$2b$");
    add(&jeton.database, vec![("app", vec![hashed(&hash)])], jeton.clock.now()).await;
    let right = || request(jeton.service.public, "/introspect", "token=x", true, ["app", RIGHT]);
    let close = "INSERT INTO write_gate (gate_id, reason, closed_below, closed_at, run, peer) VALUES \
                 (2, 'outdated', 99, 1700000000, 'run', '')";
    jeton.database.query(close).await;
    for _ in 0..2 {
        assert_eq!(right().send().await.status, 200);
        assert_eq!(stored(&jeton.database, "app").await, [("0".to_owned(), Some(hash.clone()))]);
    }
    jeton.database.query("DELETE FROM write_gate").await;
    assert_eq!(right().send().await.status, 200);
    assert_eq!(stored(&jeton.database, "app").await, [digest()]);
}

/// What bars a client or a secret bars one that came as a hash, and no hash is computed for it. One that is too dear or
/// damaged looks like a wrong secret.
#[tokio::test]
async fn a_hash_that_may_not_be_used_is_not_computed() {
    let jeton = jeton().await;
    let now = jeton.clock.now();
    let expired = ImportedSecret { expires_at: Some(now), ..hashed(&hash("$2b$")) };
    let clients = vec![
        ("disabled-app", vec![hashed(&hash("$2b$"))]),
        ("expired", vec![expired]),
        ("dear", vec![hashed(&hash("$2b$").replace("$04$", "$31$"))]),
        ("damaged", vec![hashed("$2b$04$short")]),
    ];
    add(&jeton.database, clients, now).await;
    jeton.command("client disable disabled-app").await;
    let before = jeton.passwords_verified().await;
    let send = async |client: &str| {
        request(jeton.service.public, "/token", "grant_type=password", true, [client, RIGHT])
            .send()
            .await
    };
    let nobody = send("nobody").await;
    nobody.assert_error(401, "invalid_client");
    for client in ["disabled-app", "expired", "dear", "damaged"] {
        assert_eq!(send(client).await.comparable(), nobody.comparable(), "{client}");
    }
    // A program of before sees an empty digest and no hash.
    let forget = "UPDATE client_secrets SET secret_hash = NULL WHERE client_id = 'dear'";
    jeton.database.query(forget).await;
    assert_eq!(send("dear").await.comparable(), nobody.comparable());
    assert_eq!(jeton.passwords_verified().await, before);
    jeton.forget_failures().await;
    // A usable secret beside an unusable one is right.
    add(&jeton.database, vec![("two", vec![hashed("damaged"), hashed(&hash("$2y$"))])], now).await;
    assert_eq!(send("two").await.status, 400);
    assert_eq!(stored(&jeton.database, "two").await[1], digest());
}

/// OWASP Password Storage, ASVS 15.2.2: secrets that cannot be verified in time are refused with the time to come back.
#[tokio::test]
async fn more_secrets_than_can_be_hashed_are_shed() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let limits = ["--login-deadline", "1s", "--hash-threads", "1", "--hash-memory", "128MiB"];
    let names: Vec<String> = (0..40).map(|number| format!("app{number}")).collect();
    let clients = names.iter().map(|name| (name.as_str(), vec![hashed(SLOW)])).collect();
    add(&database, clients, Timestamp(1_700_000_000)).await;
    let all = [&limits[..], &["--trusted-proxy", "127.0.0.0/8"]].concat();
    let service = Executable::serve_on(&database, fixtures, &all);
    let mut requests = JoinSet::new();
    for (number, name) in names.iter().enumerate() {
        let request = request(service.public, "/introspect", "token=x", true, [name, WRONG]);
        let request = request.header("X-Forwarded-For", &format!("203.0.113.{number}"));
        requests.spawn(async move { request.send().await });
    }
    let replies = requests.join_all().await;
    let (shed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 503);
    assert!(!shed.is_empty() && !refused.is_empty(), "{} of 40 were shed", shed.len());
    for reply in refused {
        reply.assert_error(401, "invalid_client");
    }
    for reply in shed {
        reply.assert_error(503, "temporarily_unavailable");
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    }
}

/// ASVS 16.3.1: the log says when a secret became ours, once, and of each refusal why. It warns of a secret whose digest
/// could be guessed from. [S-20]
#[tokio::test]
async fn the_first_use_of_a_hashed_secret_leaves_an_event() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    let clients = vec![("app", vec![hashed(&hash("$2b$"))]), ("weak", vec![hashed(SLOW)])];
    add(&database, clients, Timestamp(1_700_000_000)).await;
    let mut service = Executable::serve_on(&database, fixtures, &[]);
    let address = service.public;
    let send = async |secret: &str| {
        request(address, "/introspect", "token=x", true, ["app", secret]).send().await
    };
    assert_eq!(send(WRONG).await.status, 401);
    let first = send(RIGHT).await;
    assert_eq!((first.status, send(RIGHT).await.status), (200, 200));
    let weak = request(address, "/introspect", "token=x", true, ["weak", "secret"]);
    assert_eq!(weak.send().await.status, 200);
    let log = service.stop_and_read_log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.filter(|line| line["client_id"] == "app").collect();
    let events = lines.iter().filter(|line| line["event"] == "client_secret_replaced");
    let [event] = &events.collect::<Vec<_>>()[..] else { panic!("one event: {log}") };
    assert_eq!((&event["client_id"], &event["secret_number"]), (&"app".into(), &1.into()));
    assert_eq!(event["request_id"], first.header("x-request-id"));
    assert!(log.contains("wrong_client_secret") && !log.contains(RIGHT), "{log}");
    let warnings = log.lines().filter(|line| line.contains("secret is so short"));
    assert!(warnings.count() == 1 && !lines.iter().any(|line| line["level"] == "WARN"), "{log}");
}

/// A copy and a backup have the hashes as they are.
#[tokio::test]
async fn hashes_of_secrets_are_copied_and_backed_up() {
    let (database, _) = Database::filled(ENGINE).await;
    let hash = hash("$2b$");
    add(&database, vec![("app", vec![hashed(&hash)])], Timestamp(1_700_000_000)).await;
    let expected = [("0".to_owned(), Some(hash))];
    if ENGINE == Engine::Sqlite {
        let (file, folder) = (database.path("copy.db"), crate::harness::database::new_folder());
        let output = run(&["db", "backup", &file, "--database", &database.url]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let backup = Database { url: format!("sqlite:{file}"), folder };
        assert_eq!(stored(&backup, "app").await, expected);
    }
    let target = Database::empty(Engine::Sqlite).await;
    let copy = ["db", "copy", "--from", &database.url, "--to", &target.url, "--yes", "--json"];
    run_for_json(&copy, "");
    assert_eq!(stored(&target, "app").await, expected);
}
