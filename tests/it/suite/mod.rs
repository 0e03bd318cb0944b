//! The tests, a file an endpoint or a concern. The engine is the including module's.
//!
//! Each test is named by a sentence; its doc line says the rule, its source, and in brackets the
//! requirement rows that it shows.

mod access_token;
mod administration;
mod audit_log;
mod changes;
mod check;
mod client_authentication;
mod client_basic;
mod client_commands;
mod client_names;
mod client_registration;
mod client_use;
mod clock;
mod command_line;
mod confirmation;
mod connections;
mod cors;
mod doctor;
mod doctor_proxies;
mod exit_codes;
mod exposure;
mod failures;
mod foreign_hashes;
mod foreign_keys;
mod forged_signature;
mod forged_token;
mod forwarded;
mod health_and_metrics;
mod http2;
mod http_edge;
mod import;
mod import_files;
mod import_interrupted;
mod introspection;
mod introspection_refresh;
mod jwks;
mod key_clocks;
mod key_commands;
mod key_conversions;
mod key_import;
mod key_outage;
mod key_rotation;
mod log_outage;
mod long_session;
mod many_sessions;
mod master_keys;
mod messages;
mod metadata;
mod migrations;
mod migrations_interrupted;
mod odd_token;
mod operator_acts;
mod operator_secrets;
mod other_replicas;
mod overload;
mod password_grant;
mod passwords;
mod printable;
mod public_halves;
mod readiness;
mod refresh_client;
mod refresh_forged;
mod refresh_grant;
mod refresh_races;
mod refresh_reuse;
mod refresh_scope;
mod refusals;
mod remembered_signatures;
mod replicas;
mod resource;
mod reuse_verdict;
mod revocation;
mod revocation_form;
mod scope;
mod sealed_hashes;
mod secret_files;
mod secrets;
mod security;
mod service_commands;
mod service_manager;
mod session_commands;
mod session_ends;
mod session_limit;
mod session_model;
mod settings;
mod shut_down;
mod smuggling;
mod start_up;
mod store;
mod stored_rows;
mod throttle;
mod throttle_clients;
mod throttle_groups;
mod throttle_repeats;
mod throttle_storage;
mod tls;
mod token_errors;
mod token_form;
mod token_form_encoding;
mod token_response;
mod user_apply;
mod user_changes;

use super::ENGINE;
use crate::harness::database::{PASSWORD, PASSWORD_OF_ZOE};
use crate::harness::service::{login_form, readiness};
use crate::harness::{Jeton, Reply, percent_encode};

/// A service on a copy of the template.
async fn jeton() -> Jeton {
    Jeton::start(ENGINE).await
}
