//! Up to this version and back, and on to a later one and back, stage by stage.

use crate::course::{Course, Program};
use crate::harness::database::new_folder;
use crate::harness::postgres_server::PostgresServer;

/// The newest migration of the version before.
const KNOWN_BEFORE: i64 = 8;
/// What the version before says of tables that it does not know, as docs/operating.md has it.
const REFUSED_BEFORE: &str = "its tables are of version 9 and this jeton knows only up to 8";

/// What brings the version before back: docs/operating.md says when.
fn way_back() -> String {
    format!("DELETE FROM schema_migrations WHERE version > {KNOWN_BEFORE}")
}

/// Three replicas behind a rotation, replaced one by one.
pub(crate) async fn on_postgres(later: &str, seed: u64) -> bool {
    let server = tokio::task::spawn_blocking(PostgresServer::start).await.expect("it starts");
    let mut course = Course::begin("PostgreSQL", &server.url, 3, seed).await;
    course.work("three replicas of the version before").await;
    course.start(3, Program::This).await;
    course.lead_to_all();
    course.work("this version migrates and joins them").await;
    course.refuses(Program::Before, REFUSED_BEFORE).await;
    course.command("key rotate --yes").await;
    course.work("a key of this version, used by both").await;
    for replica in 0..3 {
        course.replace(replica, Program::This).await;
    }
    course.work("the others are replaced one by one").await;

    // Back: none of this version writes any more, then those before start.
    for replica in 0..4 {
        course.stop(replica).await;
    }
    course.query(&way_back()).await;
    for replica in 0..3 {
        course.start(replica, Program::Before).await;
    }
    course.lead_to(0..3);
    course.work("back to the version before").await;
    course.start(3, Program::This).await;
    course.lead_to_all();
    course.work("this version joins again").await;
    for replica in 0..3 {
        course.replace(replica, Program::This).await;
    }
    course.work("the others are replaced again").await;

    course.replace(3, Program::Later(later)).await;
    course.work_closed("a later version contracts the tables beside this one").await;
    course.replace(2, Program::This).await;
    course.work_closed("this version starts on these tables").await;
    for replica in 0..3 {
        course.replace(replica, Program::Later(later)).await;
    }
    course.work("the later version alone").await;
    course.end().await
}

/// One process after the other.
pub(crate) async fn on_sqlite(later: &str, seed: u64) -> bool {
    let url = format!("sqlite:{}", new_folder().join("jeton.db").display());
    let mut course = Course::begin("SQLite", &url, 1, seed).await;
    course.work("the version before").await;
    course.replace(0, Program::This).await;
    course.work("this version").await;
    course.refuses(Program::Before, REFUSED_BEFORE).await;
    course.stop(0).await;
    course.query(&way_back()).await;
    course.start(0, Program::Before).await;
    course.work("back to the version before").await;
    course.replace(0, Program::This).await;
    course.work("this version again").await;
    course.replace(0, Program::Later(later)).await;
    course.work("a later version, which contracts the tables").await;
    course.end().await
}
