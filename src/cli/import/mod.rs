//! `jeton import`: users, clients and their secrets from another service.
//!
//! A reader for each kind of source gives its users with the columns that a file of users has here, and its clients
//! ([`entry`]). All else is the same for all: names are mapped, everything is looked at before anything is stored, and a
//! second run changes nothing (`importing`).

pub mod aspnet;
pub mod auth0;
mod clients;
pub mod columns;
mod digests;
pub mod django;
pub mod entry;
pub(super) mod files;
pub mod firebase;
pub(super) mod importing;
pub(super) mod json;
pub mod keycloak;
pub mod ldap;
pub mod lines;
pub mod mapping;
mod names;
pub(super) mod open;
pub(super) mod options;
mod other_files;
pub mod otp_files;
pub(super) mod otp_sealer;
pub mod passport;
pub mod record;
mod report;
mod skipped;
pub(super) mod spreadsheet;
mod streamed;
pub mod supabase;
mod tables;
pub mod time;
mod wrap;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, output};
use columns::Columns;
use entry::Reader;
use importing::Job;
use jeton_runtime::clock::Clock;
use jeton_store::DatabaseLocation;
use mapping::{Mapping, NamedTable};
use open::Progress;
use options::Options;

/// What `jeton import` takes.
#[derive(Args, Debug)]
pub(super) struct Import {
    /// What wrote the source
    #[arg(value_enum)]
    kind: Kind,
    /// The file, folder or database: docs/moving.md says how each is exported
    #[arg(value_name = "FILE|URL")]
    source: String,
    /// What roles, groups, scopes and clients are called here, in TOML. A dry run writes a first one if there is
    /// none
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// A table of the source that is not called as usual, as `auth_user=accounts_user`; repeatable. It comes before
    /// `[tables]` of the mapping
    #[arg(long, value_name = "NAME=TABLE")]
    table: Vec<NamedTable>,
    /// How a project of Firebase hashes: what its console shows under Authentication, Users, «Password hash
    /// parameters». There is a secret in it
    #[arg(long, value_name = "FILE")]
    hash_config: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// What writes sources that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A realm export of Keycloak: a file, or a folder
    Keycloak,
    /// Django with django-oauth-toolkit: its database, or what dumpdata writes
    DjangoOauthToolkit,
    /// Laravel with Passport: its database, or a folder with its tables
    LaravelPassport,
    /// Supabase: its database, a folder with its tables, or auth.users as CSV
    Supabase,
    /// ASP.NET Identity: a folder with its tables, its database, or its table of users as CSV
    AspnetIdentity,
    /// Auth0: the export of password hashes, or a folder with it, the export of users and the applications
    Auth0,
    /// Firebase: what `firebase auth:export` writes as JSON, with --hash-config
    Firebase,
    /// A directory of LDAP: LDIF as slapcat and ldapsearch -LLL write it
    Ldap,
    /// CSV with a header, as for `jeton user import`
    Csv,
    /// JSON Lines: users as for `jeton user import`, and clients as `jeton client export` writes them
    Jsonl,
    /// A JSON list of the same, or what Django's dumpdata writes
    Json,
}

pub(super) async fn run(command: Import) -> Result<(), Failure> {
    let Import { kind, source, mapping: mapping_file, table, hash_config, options } = command;
    let is_first = |path: &&Path| options.dry_run && !path.exists();
    let first_mapping = mapping_file.as_deref().filter(is_first);
    let mut mapping = match mapping_file.as_deref().filter(|_| first_mapping.is_none()) {
        Some(path) => Mapping::read(path)?,
        None => Mapping::default(),
    };
    mapping.add_tables(table);
    let mut progress = Progress::default();
    let reader = open(kind, &source, &mapping, hash_config.as_deref(), &mut progress)?;
    let columns = Columns::new(&mapping.columns()?)?;
    // As errors name it: without the password of a URL.
    let source = source.parse().map_or(source, |location: DatabaseLocation| location.to_string());
    let job = Job { source, reader, progress, columns, mapping, first_mapping };
    importing::run(&options, job, Clock::System.now()).await
}

/// Sees that a source which is no file is a database, and that the kind has one. The source is not repeated: there may be
/// a password in it.
fn check_place(kind: Kind, source: &str) -> Result<(), Failure> {
    let has_tables = matches!(
        kind,
        Kind::DjangoOauthToolkit | Kind::LaravelPassport | Kind::Supabase | Kind::AspnetIdentity
    );
    let is_database = source.parse::<DatabaseLocation>().is_ok();
    let is_elsewhere = is_database || source.contains("://") || source.contains("password=");
    if !is_elsewhere || is_database && has_tables || Path::new(source).exists() {
        return Ok(());
    }
    Err(Failure::usage(if has_tables {
        "the source is no database that is read here: write it as postgres://USER@HOST/NAME or sqlite:PATH, or name a file \
         or a folder with its tables"
    } else {
        "this kind is read from a file, and not from a database: docs/moving.md says how it is exported"
    }))
}

/// Opens a source.
fn open(
    kind: Kind,
    source: &str,
    mapping: &Mapping,
    hash_config: Option<&Path>,
    progress: &mut Progress,
) -> Result<Box<dyn Reader>, Failure> {
    let path = Path::new(source);
    if hash_config.is_some() && kind != Kind::Firebase {
        return Err(Failure::usage(
            "--hash-config is for firebase: the hashes of all others say it themselves",
        ));
    }
    check_place(kind, source)?;
    match kind {
        Kind::Keycloak => keycloak::open(path, progress),
        Kind::AspnetIdentity => aspnet::open(source, mapping, progress),
        Kind::Auth0 => auth0::open(path, progress),
        Kind::Firebase => firebase::open(path, hash_config, progress),
        Kind::Ldap => ldap::open(path, mapping, progress),
        Kind::DjangoOauthToolkit => django::open(source, mapping, progress),
        Kind::LaravelPassport => passport::open(source, mapping, progress),
        Kind::Supabase => supabase::open(source, mapping, progress),
        Kind::Csv | Kind::Jsonl | Kind::Json => {
            let reader = files::Files::open(path, progress)?;
            reader.require(match kind {
                Kind::Csv => files::Form::Csv,
                Kind::Jsonl => files::Form::JsonLines,
                _ => files::Form::JsonList,
            })?;
            Ok(Box::new(reader))
        }
    }
}
