//! What is in the database, as the command line prints it; and what it says of a row that is not valid.

use super::*;
use crate::harness::{Database, run};

/// Runs a command on a database, and returns whether it succeeded and all that it printed.
fn command(database: &Database, arguments: &str) -> (bool, String) {
    let options = ["--database", &database.url];
    let arguments: Vec<&str> = arguments.split_whitespace().chain(options).collect();
    let output = run(&arguments);
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    (output.status.success(), printed)
}

/// The names of all members in a text of JSON with a member a line, in their order.
fn members(json: &str) -> String {
    let name = |line: &str| Some(line.trim().strip_prefix('"')?.split_once("\":")?.0.to_owned());
    json.lines().filter_map(name).collect::<Vec<_>>().join(" ")
}

/// Scripts may go by lines, so the order of members is kept too.
#[tokio::test]
async fn stored_rows_are_printed_in_one_order() {
    let jeton = Jeton::start(ENGINE).await;
    jeton.login_through("web", "").await.access_token();
    let user = "username sub scope roles created_at password_changed_at disabled_at \
                mfa_required_at password_temporary_at last_login_at imported_at second_factors \
                authenticators recovery_codes_left";
    let session = "session_id client_id scope audiences generation auth_time refreshed_at \
                   expires_at ends_at";
    let secrets = "created_at disabled_at last_used_at secrets number stored_as created_at expires_at last_used_at";
    for (arguments, begin, end) in [
        ("user list --json", user, user),
        ("user show alice --json", user, ""),
        ("session list --user alice --json", session, session),
        ("client list --json", "client_id public grants scope", secrets),
        ("client show web --json", "client_id public grants scope", secrets),
    ] {
        let (_, printed) = command(&jeton.database, arguments);
        let names = members(&printed);
        assert!(names.starts_with(begin) && names.ends_with(end), "{arguments}: {names}");
    }
}

/// A value that is not valid is refused where it is read. The error names the row and the column, and does not say
/// what stands there.
#[tokio::test]
async fn a_row_that_is_not_valid_is_named() {
    let jeton = Jeton::start(ENGINE).await;
    jeton.login_through("web", "").await.access_token();
    let database = &jeton.database;
    let of_alice = " of user_id ";
    for (table, column, bad, says, arguments) in [
        ("users", "scope", "\"rubbish", of_alice, "user list"),
        ("users", "roles", "rubbish", of_alice, "user list"),
        ("users", "username", "Rubbish", of_alice, "user list"),
        ("users", "user_id", "rub bish", "", "user list"),
        (
            "clients",
            "settings",
            "{\"session_lifetime\":-1}",
            " of client_id \"web\"",
            "client list",
        ),
        ("sessions", "session_id", "rub bish", "", "session list --user alice"),
        ("sessions", "audiences", "rubbish", " of session_id ", "session list --user alice"),
    ] {
        let whose = match table {
            "users" => "username = 'alice'",
            _ => "client_id = 'web'",
        };
        let select = format!("SELECT {column} FROM {table} WHERE {whose}");
        let good = database.query(&select).await.remove(0).remove(0);
        let good = good.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        database.query(&format!("UPDATE {table} SET {column} = '{bad}' WHERE {whose}")).await;
        let (succeeded, printed) = command(database, arguments);
        assert!(!succeeded && !printed.contains("panicked"), "{table}.{column}: {printed}");
        assert!(printed.contains(&format!("{column}{says}")), "{table}.{column}: {printed}");
        assert!(!printed.contains("bish"), "{table}.{column}: {printed}");
        let restore = format!("UPDATE {table} SET {column} = {good} WHERE {column} = '{bad}'");
        database.query(&restore).await;
        let (succeeded, printed) = command(database, arguments);
        assert!(succeeded, "{table}.{column}: {printed}");
    }
}
