//! The suite on the embedded engine.

use crate::harness::Engine;

pub(crate) const ENGINE: Engine = Engine::Sqlite;

#[path = "suite/mod.rs"]
mod suite;
