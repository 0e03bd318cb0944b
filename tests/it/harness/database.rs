//! A database for each test: a copy of a template that the real command line filled.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use super::executable::{Executable, run_for_json};

/// The cost of hashes in the tests: the least that the service accepts.
pub(crate) const SCRYPT: &str = "ln=15,r=8,p=3";
/// The password of every user that the template has, but for `zoé`.
pub(crate) const PASSWORD: &str = "tuesday fern lamp";
/// The password of the user `zoé`.
pub(crate) const PASSWORD_OF_ZOE: &str = "p\u{e4}ssw\u{f6}rd \u{20ac}&+% \u{1f511}";

/// An engine under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// What every test finds in its database.
///
/// Users, all with [`PASSWORD`] and without limits unless said: `alice` (roles `user`, `editor`),
/// `zoé` ([`PASSWORD_OF_ZOE`]), `bob` (scope `read` only), `disabled` (disabled), `mfa` (must use a
/// second factor).
///
/// Clients: `web` and `other` (confidential, both grants, scope `read write admin`, default `read`,
/// audiences `https://api1.example` and `https://api2.example`; `admin` is no user limit), `spa`
/// (public, else like `web`), `bff` (like `web`, and forwards its end users' addresses), `nopw` (refresh grant only), `norefresh` (password grant only),
/// `nothing` (no grant), `nodefault` (no default scope), `basic-only`, `post-only`, `bound`
/// (scope `read api1.read api2.read`, bound to the two audiences), `claims` (roles and preferred
/// username, array audience, tokens of 2 minutes). Resource servers: `rs1` (introspects api1, sees
/// user names), `rs2` (introspects api2).
#[derive(Debug)]
pub(crate) struct Fixtures {
    secrets: HashMap<String, String>,
    subs: HashMap<String, String>,
    pub(crate) master_key: PathBuf,
}

impl Fixtures {
    /// The secret of a confidential client.
    pub(crate) fn secret(&self, client_id: &str) -> &str {
        &self.secrets[client_id]
    }

    /// The secret of a client that has one.
    pub(crate) fn find_secret(&self, client_id: &str) -> Option<&str> {
        self.secrets.get(client_id).map(String::as_str)
    }

    /// The `sub` of a user.
    pub(crate) fn sub(&self, username: &str) -> &str {
        &self.subs[username]
    }
}

/// A database of one test; gone when dropped.
#[derive(Debug)]
pub(crate) struct Database {
    /// The value of `--database`.
    pub(crate) url: String,
    /// A folder of the test's own.
    pub(crate) folder: PathBuf,
}

impl Drop for Database {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
        // A test is over, and so are its services.
        super::audit_events::assert_documented();
    }
}

impl Database {
    /// An empty database.
    pub(crate) async fn empty(engine: Engine) -> Self {
        let folder = new_folder();
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}", folder.join("jeton.db").display()),
            Engine::Postgres => create_postgres("template0").await,
        };
        Self { url, folder }
    }

    /// A database with tables and nothing in them.
    pub(crate) async fn migrated(engine: Engine) -> Self {
        let database = Self::empty(engine).await;
        assert!(super::run(&["db", "migrate", "--database", &database.url]).status.success());
        database
    }

    /// A database with tables and nothing in them, and the master key of the template.
    pub(crate) async fn bare(engine: Engine) -> (Self, &'static Fixtures) {
        (Self::migrated(engine).await, &template(engine).await.fixtures)
    }

    /// A copy of the template.
    pub(crate) async fn filled(engine: Engine) -> (Self, &'static Fixtures) {
        let template = template(engine).await;
        let folder = new_folder();
        let url = match engine {
            Engine::Sqlite => {
                let file = folder.join("jeton.db");
                std::fs::copy(&template.place, &file).expect("a copy of the template");
                // What was not yet moved into the file when the last process ended.
                format!("sqlite:{}", file.display())
            }
            Engine::Postgres => create_postgres(&template.place).await,
        };
        (Self { url, folder }, &template.fixtures)
    }

    /// The empty database at this URL, filled like the template.
    pub(crate) async fn fill(url: &str) -> (Self, Fixtures) {
        let database = Self { url: url.to_owned(), folder: new_folder() };
        let (url, folder) = (database.url.clone(), database.folder.clone());
        let filling = tokio::task::spawn_blocking(move || fill(&url, &folder));
        (database, filling.await.expect("it can be filled"))
    }

    /// A path in the test's own folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Runs a statement on the database, past the service, and returns the text of its rows.
    pub(crate) async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            return query_sqlite(path, sql);
        }
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.expect("the server of the test run");
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await.expect("a statement of the test");
        drop(client);
        connection.await.expect("no panic").expect("a clean end");
        let rows = messages.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()).collect()
    }

    /// Runs statements on the database, past the service.
    pub(crate) async fn run_script(&self, script: &str) {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => {
                let connection = rusqlite::Connection::open(path).expect("the file of the test");
                connection.execute_batch(script).expect("statements of the test");
            }
            None => drop(self.query(script).await),
        }
    }

    /// The name of the database on its server.
    fn name(&self) -> &str {
        let name = self.url.rsplit('/').next().and_then(|rest| rest.split('?').next());
        name.expect("a URL with a name")
    }

    /// Makes the database refuse writes and go on with reads, until that is ended: PostgreSQL as a standby does,
    /// SQLite because another process holds its lock.
    pub(crate) async fn refuse_writes(&self) -> Refusal {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let connection = rusqlite::Connection::open(path).expect("the file of the test");
            connection.busy_timeout(std::time::Duration::from_secs(5)).expect("a setting");
            connection.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
            return Refusal::Locked(connection);
        }
        let name = self.name().to_owned();
        set_read_only(&name, "on").await;
        Refusal::ReadOnly(name)
    }

    /// The URL for a new role, which may do nothing yet; on SQLite there is none.
    pub(crate) async fn url_of_another_role(&self) -> Option<String> {
        let (_, address) = self.url.split_once('@')?;
        let role = unique_name();
        self.run_script(&format!("CREATE ROLE {role} LOGIN")).await;
        self.run_script("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
        Some(format!("postgres://{role}@{address}"))
    }

    /// Everything in the database, as text: what a thief of a backup would read. Left out is when clients
    /// and secrets were used last: that is noted in the background, after the answer that a test waits for.
    /// Rows are sorted, since that note moves a row on PostgreSQL.
    pub(crate) async fn dump(&self) -> String {
        let mut dump = String::new();
        for table in ["users", "clients", "client_secrets", "sessions", "keys", "login_throttle"] {
            let columns =
                self.columns(table).await.into_iter().filter(|name| name != "last_used_at");
            let columns = columns.collect::<Vec<_>>().join(", ");
            let rows = self.query(&format!("SELECT {columns} FROM {table}")).await.into_iter();
            let mut rows: Vec<String> = rows
                .map(|row| {
                    row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\t")
                })
                .collect();
            rows.sort_unstable();
            for row in rows {
                dump.push_str(&row);
                dump.push('\n');
            }
        }
        dump
    }

    /// The columns of a table, in their order.
    async fn columns(&self, table: &str) -> Vec<String> {
        let names = if self.url.starts_with("sqlite:") {
            format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid")
        } else {
            format!(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position"
            )
        };
        let names: Vec<String> = self.query(&names).await.into_iter().flatten().flatten().collect();
        assert!(!names.is_empty(), "no table {table}");
        names
    }
}

/// Why a database refuses writes.
pub(crate) enum Refusal {
    /// Another process, which is this one, holds the lock of SQLite.
    Locked(rusqlite::Connection),
    /// The database of this name is read-only.
    ReadOnly(String),
}

impl Refusal {
    /// Ends it.
    pub(crate) async fn end(self) {
        match self {
            Self::Locked(connection) => connection.execute_batch("ROLLBACK").expect("its own lock"),
            Self::ReadOnly(name) => set_read_only(&name, "off").await,
        }
    }
}

/// Lets all sessions of a database begin anew, and take writes or not.
async fn set_read_only(name: &str, value: &str) {
    let server = Database { url: server(), folder: PathBuf::new() };
    let alter = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    server.run_script(&alter).await;
    let others = format!("FROM pg_stat_activity WHERE datname = '{name}'");
    server.run_script(&format!("SELECT pg_terminate_backend(pid) {others}")).await;
}

fn query_sqlite(path: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    use rusqlite::types::ValueRef;
    let connection = rusqlite::Connection::open(path).expect("the file of the test");
    connection.busy_timeout(std::time::Duration::from_secs(5)).expect("a setting");
    let mut statement = connection.prepare(sql).expect("a statement of the test");
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("it runs");
    let mut all = Vec::new();
    while let Some(row) = rows.next().expect("it goes on") {
        let text = |index| match row.get_ref(index).expect("a column") {
            ValueRef::Null => None,
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Real(number) => Some(number.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(octets) => Some(format!("{octets:02x?}")),
        };
        all.push((0..columns).map(text).collect());
    }
    all
}

/// A filled database that is copied and never used itself.
struct Template {
    /// The file, or the name on the server.
    place: String,
    fixtures: Fixtures,
}

async fn template(engine: Engine) -> &'static Template {
    static SQLITE: OnceCell<Template> = OnceCell::const_new();
    static POSTGRES: OnceCell<Template> = OnceCell::const_new();
    let cell = match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    };
    cell.get_or_init(|| async move {
        let folder = new_folder();
        let file = folder.join("template.db");
        let (place, url) = match engine {
            Engine::Sqlite => (file.display().to_string(), format!("sqlite:{}", file.display())),
            Engine::Postgres => {
                let url = create_postgres("template0").await;
                let name = url.rsplit('/').next().and_then(|rest| rest.split('?').next());
                (name.expect("a URL with a name").to_owned(), url)
            }
        };
        let filling = tokio::task::spawn_blocking(move || fill(&url, &folder));
        Template { place, fixtures: filling.await.expect("the template can be filled") }
    })
    .await
}

/// Fills a database through the command line, as an operator would.
fn fill(url: &str, folder: &Path) -> Fixtures {
    let mut fixtures = Fixtures {
        secrets: HashMap::new(),
        subs: HashMap::new(),
        master_key: folder.join("master.jwk"),
    };
    for (name, password, options) in [
        ("alice", PASSWORD, "--role user --role editor"),
        ("zo\u{e9}", PASSWORD_OF_ZOE, ""),
        ("bob", PASSWORD, "--scope read"),
        ("disabled", PASSWORD, ""),
        ("mfa", PASSWORD, "--mfa-required"),
    ] {
        let mut arguments = vec!["user", "add", name, "--database", url, "--json"];
        arguments.extend(["--password-stdin", "--scrypt", SCRYPT]);
        arguments.extend(options.split_whitespace());
        let added = run_for_json(&arguments, &format!("{password}\n"));
        let sub = added["sub"].as_str().expect("a sub").to_owned();
        fixtures.subs.insert(name.to_owned(), sub);
    }
    assert!(super::run(&["user", "disable", "disabled", "--database", url]).status.success());

    let audiences = "--audience https://api1.example --audience https://api2.example";
    let scopes = "--scope read --scope write --scope admin";
    let usual = format!("{scopes} --default-scope read {audiences}");
    let both = format!("--grant password --grant refresh_token {usual}");
    let bound = "--audience-scope https://api1.example=api1.read \
                 --audience-scope https://api2.example=api2.read \
                 --scope read --scope api1.read --scope api2.read --default-scope read";
    for (id, options) in [
        ("web", both.clone()),
        ("other", both.clone()),
        ("spa", format!("--public {both}")),
        ("bff", format!("--forwards-end-user-ip {both}")),
        ("nopw", format!("--grant refresh_token {usual}")),
        ("norefresh", format!("--grant password {usual}")),
        ("nothing", usual.clone()),
        ("nodefault", format!("--grant password {scopes} {audiences}")),
        ("basic-only", format!("{both} --authentication-method client_secret_basic")),
        ("post-only", format!("{both} --authentication-method client_secret_post")),
        ("bound", format!("--grant password {audiences} {bound}")),
        (
            "claims",
            format!(
                "{both} --claim roles --claim preferred_username --audience-array \
                 --access-token-lifetime 2m"
            ),
        ),
        ("rs1", "--introspects https://api1.example --introspects-username".to_owned()),
        ("rs2", "--introspects https://api2.example".to_owned()),
    ] {
        let mut arguments = vec!["client", "add", id, "--database", url, "--json"];
        arguments.extend(options.split_whitespace());
        let added = run_for_json(&arguments, "");
        if let Some(secret) = added["client_secret"].as_str() {
            fixtures.secrets.insert(id.to_owned(), secret.to_owned());
        }
    }
    // The first start makes the signing key.
    let master_key = fixtures.master_key.display().to_string();
    let mut service = Executable::serve(&["--database", url, "--master-key-file", &master_key]);
    service.signal("TERM");
    assert_eq!(service.wait(), Some(0));
    if let Some(path) = url.strip_prefix("sqlite:") {
        // A copy of the file alone must hold everything.
        query_sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    fixtures
}

/// A template can be copied by one session at a time.
static ORDER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The URL of the server that the tests share.
fn server() -> String {
    std::env::var("JETON_TEST_POSTGRES").expect(
        "JETON_TEST_POSTGRES names no PostgreSQL server: run the tests with tests/run, which starts \
         one",
    )
}

/// The URL of a new database on the server that `tests/run` started.
async fn create_postgres(template: &str) -> String {
    let server = server();
    let _turn = ORDER.lock().await;
    let name = unique_name();
    let (client, connection) =
        tokio_postgres::connect(&server, NoTls).await.expect("the server of the test run");
    let connection = tokio::spawn(connection);
    let statement = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log");
    client.batch_execute(&statement).await.expect("a new database");
    if let Ok(level) = std::env::var("JETON_TEST_ISOLATION") {
        let isolate =
            format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'");
        client.batch_execute(&isolate).await.expect("a level of isolation");
    }
    drop(client);
    connection.await.expect("no panic").expect("a clean end");
    let (before, _) = server.rsplit_once('/').expect("a URL that names a database");
    format!("{before}/{name}")
}

fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("jeton_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A new folder below the system's temporary one.
pub(crate) fn new_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(unique_name());
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Whether every user of the machine can get to a file of a test: not if `TMPDIR` is closed to others, which that of
/// `tests/run` is not.
pub(crate) fn is_reachable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let is_open =
        |folder: &Path| folder.metadata().expect("a folder").permissions().mode() & 0o001 != 0;
    path.canonicalize().expect("it is there").ancestors().skip(1).all(is_open)
}
