//! How fast users move in, and what memory that takes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use super::load::Rate;
use super::process::{Engine, Place, Taken, connect, watch};
use super::{ROUNDS, Rounds, median};

/// How many users there are.
const MANY: usize = 200_000;
/// How many there are where memory is compared.
const FEWER: usize = 50_000;

/// Imports many users into a new database, against the driver alone that writes the same rows into the
/// same table; then the same file again, of which nothing is new.
pub(crate) async fn import(engine: Engine) {
    let Some(of_files) = Place::new(engine).await else { return };
    let file = write_users(&of_files.folder, MANY, "user");
    let (mut first, mut again) = (Rounds::default(), Rounds::default());
    let mut peaks = Vec::new();
    for _ in 0..ROUNDS {
        let limit = driver_alone(engine, &file).await;
        let place = Place::new(engine).await.expect("it was there");
        for (rounds, what) in [(&mut first, "added"), (&mut again, "unchanged")] {
            let taken = import_into(&place, &file).await;
            assert_eq!(taken.said[what], MANY, "{}", taken.said);
            rounds.push(&rate(MANY as f64 / taken.time.as_secs_f64()), limit);
            peaks.push(taken.peak_mib);
        }
    }
    let name = format!("{MANY} users are imported to {engine} / one transaction of the driver");
    first.print(&name, "users/s", "users/s");
    again.print("  the same file again / the same", "users/s", "users/s");

    let file = write_users(&of_files.folder, FEWER, "user");
    let mut peaks_of_fewer = Vec::new();
    for _ in 0..ROUNDS {
        let place = Place::new(engine).await.expect("it was there");
        peaks_of_fewer.push(import_into(&place, &file).await.peak_mib);
    }
    let [many, fewer] = [peaks, peaks_of_fewer].map(median);
    println!(
        "  most memory with {MANY} users / with {FEWER}: {:.2} ({many:.1} MiB / {fewer:.1} MiB)",
        many / fewer
    );
}

fn rate(per_second: f64) -> Rate {
    Rate { per_second, ..Rate::default() }
}

/// `jeton user import`
async fn import_into(place: &Place, file: &Path) -> Taken {
    let file = file.display().to_string();
    watch(&["user", "import", &file, "--database", &place.database, "--json"]).await
}

/// A file of users with hashes that look like bcrypt's.
pub(crate) fn write_users(folder: &Path, users: usize, names: &str) -> PathBuf {
    let path = folder.join(format!("{users}.csv"));
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    writeln!(file, "username,password_hash,scope").expect("space");
    for number in 0..users {
        // 53 characters of salt and output.
        let random: [u8; 40] = rand::random();
        let random = URL_SAFE_NO_PAD.encode(random).replace('-', ".").replace('_', "/");
        writeln!(file, "{names}{number},$2b$12${},read write", &random[..53]).expect("space");
    }
    file.flush().expect("space");
    path
}

/// What each row has in these columns, beside what is in the file.
const COLUMNS: &str =
    "user_id, username, password_hash, scope, roles, lot, password_changed_at, created_at";

/// A user of the file, with what is made up for each.
struct User {
    id: String,
    username: String,
    password_hash: String,
    scope: String,
    lot: i64,
}

/// The users of the file.
fn read_users(file: &Path) -> impl Iterator<Item = User> {
    let records = csv::Reader::from_path(file).expect("a file").into_records();
    records.map(|record| {
        let record = record.expect("a line");
        let id: [u8; 16] = rand::random();
        User {
            id: URL_SAFE_NO_PAD.encode(id),
            username: record[0].to_owned(),
            password_hash: record[1].to_owned(),
            scope: record[2].to_owned(),
            lot: rand::random::<i64>() & i64::MAX,
        }
    })
}

/// How many users a second the driver writes, from its connection to the end of its transaction.
async fn driver_alone(engine: Engine, file: &Path) -> f64 {
    let place = Place::new(engine).await.expect("it was there");
    // The tables, and nothing in them.
    import_into(&place, &write_users(&place.folder, 0, "user")).await;
    let started = Instant::now();
    if let Some(path) = place.database.strip_prefix("sqlite:") {
        insert_into_sqlite(path, file).expect("SQLite takes it");
    } else {
        copy_to_postgres(&place.database, file).await.expect("PostgreSQL takes it");
    }
    MANY as f64 / started.elapsed().as_secs_f64()
}

fn insert_into_sqlite(path: &str, file: &Path) -> rusqlite::Result<()> {
    let mut connection = rusqlite::Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    {
        let statement =
            format!("INSERT INTO users ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, '[]', ?5, 1, 1)");
        let mut insert = transaction.prepare(&statement)?;
        for User { id, username, password_hash, scope, lot } in read_users(file) {
            insert.execute((id, username, password_hash, scope, lot))?;
        }
    }
    transaction.commit()
}

async fn copy_to_postgres(database: &str, file: &Path) -> Result<(), tokio_postgres::Error> {
    let mut connection = connect(database).await;
    let transaction = connection.transaction().await?;
    let statement = format!("COPY users ({COLUMNS}) FROM STDIN BINARY");
    let sink = transaction.copy_in(&statement).await?;
    let types = [&[Type::TEXT; 5][..], &[Type::INT8; 3]].concat();
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for User { id, username, password_hash, scope, lot } in read_users(file) {
        let row = writer.as_mut();
        row.write(&[&id, &username, &password_hash, &scope, &"[]", &lot, &1_i64, &1_i64]).await?;
    }
    writer.finish().await?;
    transaction.commit().await
}
