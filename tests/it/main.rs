//! The black-box tests: over real sockets, each on both engines.
//!
//! `suite/` holds the tests, a file an endpoint. It is compiled twice, once for each engine, so
//! that no test can run on one only. `tests/run` starts the PostgreSQL that they need.

#![expect(clippy::duplicate_mod, reason = "the suite runs once on each engine")]
#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]

mod architecture;
mod attack_simulation;
mod bench_hash;
mod cancellation;
mod cgroup;
mod conflicts;
mod copy_interrupted;
mod crash;
mod database_connections;
mod demo;
mod documents;
#[path = "../fuzz/properties/mod.rs"]
mod fuzz_properties;
mod fuzzing;
mod harness;
mod key_simulation;
mod observed;
mod on_postgres;
mod on_sqlite;
mod postgres_gate;
mod postgres_hosts;
mod postgres_tls;
mod postgres_waits;
mod prepared_statements;
mod requirements;
mod shell_and_man;
mod slow_clients;
mod sqlite;
mod window_simulation;
