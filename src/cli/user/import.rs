//! `jeton user import`: users of a file who come with the hashes that they have.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::cli::import::columns::{Column, Columns};
use crate::cli::import::files::Files;
use crate::cli::import::importing::{self, Job};
use crate::cli::import::mapping::Mapping;
use crate::cli::import::open::Progress;
use crate::cli::import::options::Options;
use jeton_oauth::Timestamp;

/// What `jeton user import` takes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// CSV with a header, JSON Lines, a JSON list, or what Django's dumpdata writes; - for standard input
    file: PathBuf,
    /// A column that is not called as `jeton user export` calls it: `username=email`, or
    /// `disabled=!is_active` for one that says the opposite; repeatable
    #[arg(long, value_name = "NAME=COLUMN")]
    column: Vec<Column>,
    #[command(flatten)]
    options: Options,
}

pub(super) async fn run(command: Import, now: Timestamp) -> Result<(), Failure> {
    let Import { file, column, options } = command;
    let mut progress = Progress::default();
    let reader = Box::new(Files::open(&file, &mut progress)?);
    let job = Job {
        source: file.display().to_string(),
        reader,
        progress,
        columns: Columns::new(&column)?,
        mapping: Mapping::default(),
        first_mapping: None,
    };
    importing::run(&options, job, now).await
}
