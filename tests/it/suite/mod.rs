//! The tests, a file an endpoint or a concern. The engine is the including module's.
//!
//! Each test is named by a sentence; its doc line says the rule, its source, and in brackets the
//! requirement rows that it shows.

mod cors;
mod health_and_metrics;
mod http_edge;
mod jwks;
mod metadata;
mod password_grant;
mod tls;

use super::ENGINE;
use crate::harness::database::{PASSWORD, PASSWORD_OF_ZOE};
use crate::harness::service::login_form;
use crate::harness::{Jeton, Reply, percent_encode};

/// A service on a copy of the template.
async fn jeton() -> Jeton {
    Jeton::start(ENGINE).await
}
