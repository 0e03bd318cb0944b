//! Whether the time of an answer tells what the answer itself does not: which users and clients there are,
//! what state they are in, and whether a password was right.
//!
//! The service runs in this process, as the library that it is, so that hashes may be cheaper than its
//! settings allow: beside a hash of the usual cost nobody sees the microseconds that are looked for here.
//! The database is in memory for the same reason, and the clock stands still, so that a wait never ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use jeton::cli::serve::Service;
use jeton::config::ServeSettings;
use jeton_crypto::password;
use jeton_oauth::{ScryptCost, Secret, Timestamp};
use jeton_runtime::clock::Clock;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::load;
use super::process::{AUDIENCE, new_folder, run};
use super::samples::{compare, least_visible_delay, median, shuffled};

/// How many requests there are of a kind, where hashes are cheap.
const MANY: usize = 4_000;
/// How many where each takes as long as it must.
const DEAR: usize = 500;
/// How many where others log in meanwhile; how many others there are; and the cost of the hashes, each of which takes
/// some ten milliseconds, so that the others are computed at once.
const BESIDE: usize = 1_000;
const OTHERS: usize = 12;
const IN_COMPANY: ScryptCost = ScryptCost { ln: 12, r: 8, p: 1 };
/// The cheapest cost that the settings allow, and one that they do not.
const COST: ScryptCost = ScryptCost { ln: 15, r: 8, p: 3 };
const CHEAP: ScryptCost = ScryptCost { ln: 4, r: 8, p: 1 };
/// Hashes of other libraries, cheap too, which no password matches.
const BCRYPT: &str = "$2b$04$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PBKDF2: &str =
    "$pbkdf2-sha256$1000$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// What hashes imported users have by turns.
const IMPORTED: [(&str, &[&str]); 2] =
    [("bcrypt", &[BCRYPT]), ("bcrypt or PBKDF2", &[BCRYPT, PBKDF2])];
/// The formats that are measured each alone, as the vectors call them: each function, and each text that is rewritten.
const FORMATS: [&str; 20] = [
    "bcrypt $2b$",
    "bcrypt-sha256 v2",
    "WordPress 6.8 $wp$",
    "pbkdf2-sha1",
    "pbkdf2-sha256",
    "pbkdf2-sha512",
    "scrypt",
    "argon2id",
    "sha256crypt",
    "sha512crypt",
    "phpass $P$",
    "Drupal 7 $S$",
    "$fbscrypt$",
    "{SHA}",
    "{SSHA}",
    "{SSHA256}",
    "{SSHA512}",
    "{PBKDF2}",
    "389 Directory Server {PBKDF2_SHA256}",
    "ASP.NET Identity 2",
];
/// How many requests there are of a kind for each of them.
const EACH_FORMAT: usize = 1_000;
/// The secret of every authenticator. The clock stands still, so one code is wrong for all of them or for none.
const AUTHENTICATOR: &str = "JBSWY3DPEHPK3PXP";
/// Users with an authenticator.
const WITH_CODES: &str = "code";
/// How many accounts of a kind wait.
const WAITING: usize = 100;
/// How often one may fail without waiting.
const FREE: usize = 5;

const PASSWORD: &str = "tuesday fern lamp";
const WRONG_PASSWORD: &str = "tuesday fern lump";

/// The errors that tell nothing.
const GRANT: &str = r#"{"error":"invalid_grant","#;
const CLIENT: &str = r#"{"error":"invalid_client","#;

/// A kind of request: its name, and the form of the one of a number.
type Kind<'a> = (&'a str, Box<dyn Fn(usize) -> Ask + 'a>);

/// A hash as a library made it.
#[derive(Deserialize)]
struct Vector {
    format: String,
    hash: String,
}

/// Who asks what.
struct Ask {
    path: &'static str,
    client: (String, String),
    form: String,
}

/// The kinds of users: all names of one length, and what is true of each.
const USERS: [(&str, &str); 5] = [
    ("user", "NULL, NULL"),
    ("more", "NULL, NULL"),
    ("gone", "1, NULL"),
    ("lost", "1, NULL"),
    ("twos", "NULL, 1"),
];
/// Those whose stored hash is in no format that is known.
const UNUSABLE: &str = "hurt";

/// Writes the log as the service does, to nowhere.
fn log_to_nowhere() {
    let subscriber = tracing_subscriber::fmt().json().with_writer(std::io::sink);
    // It is set already if something else was measured before.
    subscriber.with_max_level(tracing::Level::INFO).try_init().ok();
}

/// Each format alone: all users have a hash of it.
pub(crate) async fn timing_of_formats() {
    log_to_nowhere();
    let text = include_str!("../../tests/vectors/password-hashes.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).expect("a list of vectors");
    for format in FORMATS {
        let found = vectors.iter().find(|vector| vector.format == format);
        let hash = found.unwrap_or_else(|| panic!("no vector of {format}")).hash.clone();
        import_and_compare(format, &[&hash], EACH_FORMAT).await;
    }
}

async fn import_and_compare(functions: &'static str, hashes: &[&str], number: usize) {
    let target = Target::start(CHEAP).await;
    target.import(hashes, number);
    let measured = tokio::task::spawn_blocking(move || {
        target.imported(functions, number);
        target
    });
    measured.await.expect("no panic").stop().await;
}

pub(crate) async fn timing() {
    log_to_nowhere();
    for (functions, hashes) in IMPORTED {
        import_and_compare(functions, hashes, MANY).await;
    }
    let target = Target::start_on(IN_COMPANY, Some(1)).await;
    fill(&target.database(), IN_COMPANY, BESIDE + warm_up(BESIDE)).expect("SQLite takes it");
    let measured = tokio::task::spawn_blocking(move || {
        target.beside_others();
        target
    });
    let target = measured.await.expect("no panic");
    let metrics = load::get(target.service.management, "/metrics");
    let page = load::fetch(target.service.management, &metrics).await;
    let page = String::from_utf8(page).expect("text");
    let sizes = page.lines().filter(|line| line.starts_with("jeton_hashing_batch_size_"));
    sizes.for_each(|line| println!("  {line}"));
    target.stop().await;
    let target = Target::start(CHEAP).await;
    target.import_authenticators();
    fill(&target.database(), CHEAP, MANY + warm_up(MANY)).expect("SQLite takes it");
    let measured = tokio::task::spawn_blocking(move || {
        target.codes();
        target
    });
    measured.await.expect("no panic").stop().await;
    for (cost, number) in [(CHEAP, MANY), (COST, DEAR)] {
        let target = Target::start(cost).await;
        fill(&target.database(), cost, number + warm_up(number)).expect("SQLite takes it");
        let measured = tokio::task::spawn_blocking(move || {
            target.passwords(cost, number);
            if number == MANY {
                target.throttled_accounts(number);
                target.clients(number);
            }
            target
        });
        measured.await.expect("no panic").stop().await;
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    settings: ServeSettings,
}

/// The service that is measured.
struct Target {
    service: Service,
    folder: PathBuf,
    secret: String,
}

impl Target {
    /// Starts it with hashes of this cost, and no users.
    async fn start(cost: ScryptCost) -> Self {
        Self::start_on(cost, None).await
    }

    /// Starts it with so many hashing threads.
    async fn start_on(cost: ScryptCost, threads: Option<usize>) -> Self {
        // In memory, where there is such a folder.
        let memory = Path::new("/dev/shm");
        let parent = if memory.exists() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = new_folder(&parent);
        let database = format!("sqlite:{}", folder.join("jeton.db").display());
        let master_key = folder.join("master.jwk").display().to_string();
        let mut arguments = vec!["jeton", "--database", &database];
        arguments.extend(["--master-key-file", &master_key, "--trusted-proxy", "127.0.0.0/8"]);
        arguments.extend(["--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"]);
        let mut settings = Arguments::try_parse_from(arguments).expect("valid settings").settings;
        settings.hashing.scrypt = cost;
        settings.hashing.hash_threads = threads;
        let clock = Clock::settable(Timestamp(Clock::System.now().0));
        let service = Service::start(settings, clock).await.expect("it starts");

        let web = ["client", "add", "web", "--grant", "password", "--forwards-end-user-ip"];
        let further = ["--scope", "read", "--default-scope", "read", "--audience", AUDIENCE];
        let further = [&further[..], &["--database", &database, "--json"]].concat();
        let added = run(&[&web[..], &further].concat(), "");
        let secret = added["client_secret"].as_str().expect("a secret").to_owned();
        let shut = ["client", "add", "off", "--grant", "password"];
        run(&[&shut[..], &further].concat(), "");
        Self { service, folder, secret }
    }

    /// Has users imported who have an authenticator. `fill` gives them the password of the others.
    fn import_authenticators(&self) {
        let path = self.folder.join("codes.csv").display().to_string();
        let mut text = "username,password_hash,otp\n".to_owned();
        for number in 0..MANY + warm_up(MANY) {
            text.extend([&username(WITH_CODES, number), ",", BCRYPT, ",", AUTHENTICATOR, "\n"]);
        }
        std::fs::write(&path, text).expect("space");
        let database = format!("sqlite:{}", self.database().display());
        let master_key = self.folder.join("master.jwk").display().to_string();
        let place = ["--database", &database, "--master-key-file", &master_key, "--json"];
        run(&[&["user", "import", &path][..], &place].concat(), "");
    }

    fn database(&self) -> PathBuf {
        self.folder.join("jeton.db")
    }

    /// Has users imported who have these hashes by turns.
    fn import(&self, hashes: &[&str], number: usize) {
        let path = self.folder.join("users.csv").display().to_string();
        let mut text = "username,password_hash\n".to_owned();
        for (number, hash) in (0..number + warm_up(number)).zip(hashes.iter().cycle()) {
            for of in ["user", "more"] {
                text.extend([&username(of, number), ",\"", hash, "\"\n"]);
            }
        }
        std::fs::write(&path, text).expect("space");
        let database = format!("sqlite:{}", self.database().display());
        // What is fast stays so: a cover would be as slow as scrypt.
        let kept = ["--keep-fast", "--database", &database, "--json"];
        run(&[&["user", "import", &path][..], &kept].concat(), "");
    }

    /// Failed logins where all users were imported.
    fn imported(&self, functions: &str, number: usize) {
        let of = |name: &'static str, of: &'static str| -> Kind {
            (name, Box::new(move |n| self.login(&username(of, n), WRONG_PASSWORD)))
        };
        let kinds = [
            of("a wrong password", "user"),
            of("a wrong password again", "more"),
            of("an unknown user", "none"),
        ];
        println!("logins where all users were imported with {functions}:");
        self.compare(&kinds, number, GRANT);
    }

    /// Failed logins, while others log in all the time: hashes of strangers are computed at once.
    fn beside_others(&self) {
        let of = |name: &'static str, of: &'static str, password: &'static str| -> Kind {
            (name, Box::new(move |n| self.login(&username(of, n), password)))
        };
        let kinds = [
            of("a wrong password", "user", WRONG_PASSWORD),
            of("a wrong password again", "more", WRONG_PASSWORD),
            of("an unknown user", "none", WRONG_PASSWORD),
            of("a disabled user, right password", "gone", PASSWORD),
        ];
        println!("logins beside {OTHERS} others at any time, one hashing thread:");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for other in 0..OTHERS {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut caller = Caller::connect(self.service.public);
                    let names = (0..).map(|number| username("co", other * 1_000_000 + number));
                    for name in names.take_while(|_| !is_over.load(Ordering::Relaxed)) {
                        caller.ask(&self.login(&name, WRONG_PASSWORD), GRANT);
                    }
                });
            }
            self.compare(&kinds, BESIDE, GRANT);
            is_over.store(true, Ordering::Relaxed);
        });
    }

    async fn stop(self) {
        self.service.stop().await;
        std::fs::remove_dir_all(&self.folder).ok();
    }

    fn login(&self, username: &str, password: &str) -> Ask {
        let password = password.replace(' ', "+");
        Ask {
            path: "/token",
            client: ("web".to_owned(), self.secret.clone()),
            form: format!("grant_type=password&username={username}&password={password}"),
        }
    }

    /// Failed logins, each of another account from another address.
    fn passwords(&self, cost: ScryptCost, number: usize) {
        let of = |name: &'static str, password: &'static str| -> Kind {
            (name, Box::new(move |n| self.login(&username(name, n), password)))
        };
        let mut kinds = [
            of("user", WRONG_PASSWORD),
            of("more", WRONG_PASSWORD),
            of("none", WRONG_PASSWORD),
            of("gone", PASSWORD),
            of("lost", WRONG_PASSWORD),
            of("twos", PASSWORD),
            of(UNUSABLE, PASSWORD),
            (
                "",
                // What RFC 8265 allows in no name.
                Box::new(|n| self.login(&username("%20", n), WRONG_PASSWORD)),
            ),
        ];
        let names = [
            "a wrong password",
            "a wrong password again",
            "an unknown user",
            "a disabled user, right password",
            "a disabled user, wrong password",
            "a second factor is required, right password",
            "a stored hash that cannot be used",
            "what is no name of a user",
        ];
        kinds.iter_mut().zip(names).for_each(|(kind, name)| kind.0 = name);
        if number == DEAR {
            kinds.swap(1, 2);
        }
        let kinds = if number == MANY { &kinds[..] } else { &kinds[..2] };
        println!("logins with hashes of {cost}:");
        self.compare(kinds, number, GRANT);
    }

    /// Failed logins of users with an authenticator and of others. Whoever sends no code sends another field instead,
    /// which counts for nothing.
    fn codes(&self) {
        let of = |name: &'static str,
                  of: &'static str,
                  password: &'static str,
                  field: &'static str|
         -> Kind {
            let ask = move |n| {
                let mut ask = self.login(&username(of, n), password);
                ask.form += field;
                ask
            };
            (name, Box::new(ask))
        };
        for (field, sent) in [("&otq=000000", "no code"), ("&otp=000000", "a wrong code")] {
            let kinds = [
                of("a wrong password", WITH_CODES, WRONG_PASSWORD, field),
                of("the right password", WITH_CODES, PASSWORD, field),
                of("an unknown user", "none", WRONG_PASSWORD, field),
                of(
                    "a user without a second factor, a wrong password",
                    "user",
                    WRONG_PASSWORD,
                    field,
                ),
            ];
            println!("logins of users with a second factor, with {sent}:");
            self.compare(&kinds, MANY, GRANT);
        }
    }

    /// Logins of accounts that failed too often.
    fn throttled_accounts(&self, number: usize) {
        // Of all accounts a few, as far from each other as others are.
        let waiting = |of: &str, n: usize| username(of, n % WAITING * (MANY / WAITING));
        let of = |name: &'static str, of: &'static str, password: &'static str| -> Kind {
            (name, Box::new(move |n| self.login(&waiting(of, n), password)))
        };
        let kinds = [
            of("a wrong password", "user", WRONG_PASSWORD),
            of("the right password", "more", PASSWORD),
            of("an unknown user", "none", WRONG_PASSWORD),
            of("a disabled user, right password", "gone", PASSWORD),
            of("a stored hash that cannot be used", UNUSABLE, PASSWORD),
        ];
        let mut caller = Caller::connect(self.service.public);
        for n in 0..WAITING {
            for (name, _) in USERS.iter().chain([&("none", ""), &(UNUSABLE, "")]) {
                for _ in 0..FREE {
                    caller.ask(&self.login(&waiting(name, n), WRONG_PASSWORD), GRANT);
                }
            }
        }
        println!("logins of accounts that must wait:");
        self.compare(&kinds, number, GRANT);
    }

    /// Clients that fail to authenticate, each time from another address.
    fn clients(&self, number: usize) {
        let of = |name: &'static str, id: &'static str, secret: String| -> Kind {
            let client = (id.to_owned(), secret);
            let form = "token=unknown".to_owned();
            let ask =
                move |_| Ask { path: "/introspect", client: client.clone(), form: form.clone() };
            (name, Box::new(ask))
        };
        let wrong = |n: u64| format!("{n:043}");
        let stored = Sha256::digest(&self.secret);
        let alike =
            (0..u64::MAX).map(wrong).find(|secret| Sha256::digest(secret)[..3] == stored[..3]);
        let kinds = [
            of("a wrong secret", "web", wrong(0)),
            of("a wrong secret again", "web", wrong(1)),
            of("its digest begins with the same 24 bits", "web", alike.expect("enough secrets")),
            of("another client's secret", "off", self.secret.clone()),
            of("an unknown client", "wex", wrong(0)),
            of("what is no name of a client", "w~b", wrong(0)),
        ];
        println!("client authentication:");
        self.compare(&kinds, number, CLIENT);
    }

    /// Sends so many of each kind, in an order of chance, and compares each with the first.
    fn compare(&self, kinds: &[Kind], number: usize, error: &str) {
        let mut caller = Caller::connect(self.service.public);
        // Caches, statements and pages.
        for (kind, n) in shuffled(kinds.len(), warm_up(number)) {
            caller.ask(&kinds[kind].1(number + n), error);
        }
        let mut times = vec![Vec::with_capacity(number); kinds.len()];
        for (kind, n) in shuffled(kinds.len(), number) {
            times[kind].push(caller.ask(&kinds[kind].1(n), error));
        }
        let visible = least_visible_delay(&times[0]);
        println!(
            "  {number} of each; median {:.1} µs; the least delay that would be found in 8 of 10 trials: {}",
            median(&times[0]),
            visible.map_or("beyond 5 ms".to_owned(), |delay| format!("{delay} µs")),
        );
        for ((name, _), own) in kinds.iter().zip(&times).skip(1) {
            let found = compare(own, &times[0]);
            println!(
                "  {name} / {}: {}p = {:.3}, medians {:+.1} µs ({:+.2} %), Cliff's delta {:+.3}",
                kinds[0].0,
                if found.is_found() { "DIFFERENT, " } else { "" },
                found.p,
                found.shift,
                100.0 * found.shift / median(&times[0]),
                found.delta,
            );
        }
    }
}

/// How many requests of a kind come before so many that count.
fn warm_up(number: usize) -> usize {
    number / 20
}

/// A name of a user; all are equally long.
fn username(of: &str, number: usize) -> String {
    format!("{of}{number:0width$}", width = 16 - of.len())
}

/// Adds so many users of each kind. They are mixed, so that the rows of no kind are closer to each other
/// than those of all, and no page of the database is needed more often than another.
fn fill(database: &Path, cost: ScryptCost, users: usize) -> rusqlite::Result<()> {
    let hash = password::hash(&Secret::new(PASSWORD.to_owned()), cost).expect("memory");
    let mut connection = rusqlite::Connection::open(database)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let unusable = hash.replace("$scrypt$", "$crypts$");
    let mut kinds = USERS.map(|(name, state)| (name, state, &hash)).to_vec();
    kinds.push((UNUSABLE, "NULL, NULL", &unusable));
    let transaction = connection.transaction()?;
    // A sealed secret opens only for its user. They are put between the others.
    transaction.execute_batch(&format!(
        "CREATE TEMP TABLE with_codes AS SELECT * FROM users WHERE username LIKE '{WITH_CODES}%'; \
         DELETE FROM users WHERE username LIKE '{WITH_CODES}%'"
    ))?;
    for (number, (name, state, hash)) in
        (0..users).flat_map(|number| kinds.iter().map(move |kind| (number, kind)))
    {
        let mut insert = transaction.prepare_cached(&format!(
            "INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, \
             created_at, lot, disabled_at, mfa_required_at) \
             VALUES (lower(hex(randomblob(11))), ?1, ?2, 0, '[]', 0, ?3, {state})"
        ))?;
        let lot = rand::random::<i64>() & i64::MAX;
        insert.execute(rusqlite::params![username(name, number), hash, lot])?;
        if *name == USERS[0].0 {
            let mut again = transaction.prepare_cached(
                "INSERT INTO users (user_id, username, password_hash, password_changed_at, roles, created_at, lot, \
                 second_factors) SELECT user_id, username, ?2, 0, '[]', 0, ?3, second_factors FROM with_codes \
                 WHERE username = ?1",
            )?;
            again.execute(rusqlite::params![
                username(WITH_CODES, number),
                hash,
                !lot & i64::MAX
            ])?;
        }
    }
    transaction.commit()
}

/// One connection, and a thread that does nothing but wait for its answers.
struct Caller {
    stream: TcpStream,
    address: SocketAddr,
    /// How many requests there were. Each says that it comes from another address.
    count: u32,
}

impl Caller {
    fn connect(address: SocketAddr) -> Self {
        // Each caller has a quarter of a million addresses for itself.
        static CALLERS: AtomicU32 = AtomicU32::new(0);
        let count = CALLERS.fetch_add(1, Ordering::Relaxed) << 18;
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, address, count }
    }

    /// Sends a request, and returns how many microseconds it took to be answered with this error.
    fn ask(&mut self, ask: &Ask, error: &str) -> f64 {
        self.count += 1;
        // 16 million addresses, of which none is anybody's.
        let from = Ipv4Addr::from(0x0a00_0000 | self.count);
        let (id, secret) = &ask.client;
        let credentials = STANDARD.encode(format!("{id}:{secret}"));
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {credentials}\r\nX-Forwarded-For: \
             {from}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{}",
            ask.path,
            self.address,
            ask.form.len(),
            ask.form
        );
        let started = Instant::now();
        self.stream.write_all(request.as_bytes()).expect("it reads");
        let mut received = [0; 4_096];
        let mut length = 0;
        while length == 0 || !received[..length].ends_with(b"}") {
            length += self.stream.read(&mut received[length..]).expect("it answers");
        }
        let time = started.elapsed();
        let text = String::from_utf8_lossy(&received[..length]);
        assert!(text.contains(error), "{request}\n{text}");
        time.as_secs_f64() * 1e6
    }
}
