//! What the tests stand on: databases, a service, a client that sends what it likes.

pub(crate) mod audit_events;
pub(crate) mod chance;
pub(crate) mod chaos_proxy;
pub(crate) mod client;
pub(crate) mod conflict_proxy;
pub(crate) mod database;
pub(crate) mod executable;
pub(crate) mod faulty_proxy;
pub(crate) mod forge;
pub(crate) mod http2;
pub(crate) mod keys;
pub(crate) mod leaks;
pub(crate) mod otp;
pub(crate) mod pooler;
#[expect(dead_code, reason = "each test program uses a part of it")]
pub(crate) mod postgres_server;
pub(crate) mod refresh_token;
pub(crate) mod service;
pub(crate) mod session_model;
pub(crate) mod sessions;
pub(crate) mod terminal;
pub(crate) mod tls;

pub(crate) use client::{Reply, Request, percent_encode};
pub(crate) use database::{Database, Engine, Fixtures};
pub(crate) use executable::{Executable, run, run_with_input};
pub(crate) use refresh_token::{RefreshToken, refresh_form};
pub(crate) use service::Jeton;
