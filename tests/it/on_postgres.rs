//! The suite on PostgreSQL.

use crate::harness::Engine;

pub(crate) const ENGINE: Engine = Engine::Postgres;

#[path = "suite/mod.rs"]
mod suite;
