//! What the octets of a form mean (RFC 6749 Appendix B), and that none of them reaches a place
//! where it would mean something else.

use super::*;
use crate::harness::Executable;
use crate::harness::forge::claims;

/// A password that one decoding too many, too few or too kind would change: it begins with the
/// example of RFC 6749 Appendix B.
const PASSWORD_OF_VERA: &str = " %&+\u{a3}\u{20ac} a=b;c %41 \u{fffd}\u{1f511}";

fn form_of_vera(password: &str) -> String {
    format!("grant_type=password&username=vera&password={password}")
}

/// A form means one text only: plus and `%20` are blanks, escapes are undone once and make UTF-8,
/// of separators there is `&` and the first `=`. RFC 6749 Appendix B, Appendix A.16.
/// [TP-21] [TP-22] [TP-23] [TP-29] [TP-30] [TP-31]
#[tokio::test]
async fn a_form_is_decoded_exactly_once() {
    let jeton = jeton().await;
    jeton.add_user("vera", PASSWORD_OF_VERA).await;
    let start = "+%25%26%2B%C2%A3%E2%82%AC";
    let end = "%EF%BF%BD%F0%9F%94%91";
    for (case, password, status) in [
        ("plus and escapes", format!("{start}+a%3Db%3Bc+%2541+{end}"), 200),
        ("two blanks for one", format!("%20{start}%20a=b;c%20%2541%20{end}"), 400),
        ("%20", format!("%20%25%26%2B%C2%A3%E2%82%AC%20a=b;c%20%2541%20{end}"), 200),
        ("small hexadecimal digits", format!("+%25%26%2b%c2%a3%e2%82%ac+a=b;c+%2541+{end}"), 200),
        ("UTF-8 without escapes", "+%25%26%2B£€+a=b;c+%2541+\u{fffd}\u{1f511}".to_owned(), 200),
        ("a plus for a plus", format!("+%25%26+%C2%A3%E2%82%AC+a=b;c+%2541+{end}"), 400),
        ("decoded twice", format!("{start}+a=b;c+%41+{end}"), 400),
        ("decoded half", format!("{start}+a=b;c+%252541+{end}"), 400),
        ("cut at the second =", format!("{start}+a"), 400),
        ("cut at the ;", format!("{start}+a=b"), 400),
        ("no character beyond the BMP", format!("{start}+a=b;c+%2541+%EF%BF%BD"), 400),
    ] {
        let reply = jeton.token(&form_of_vera(&password)).await;
        assert_eq!(reply.status, status, "{case}: {}", reply.text());
        if status == 400 {
            reply.assert_error(400, "invalid_grant");
        }
    }
    let zoe = login_form("zo\u{e9}", PASSWORD_OF_ZOE);
    let reply = jeton.token(&zoe).await;
    assert_eq!(claims(&reply.access_token())["sub"], jeton.fixtures.sub("zo\u{e9}"));

    // With `;` as a separator this would be a whole request.
    let password = percent_encode(PASSWORD);
    let form = format!("username=alice;grant_type=password&password={password}");
    let reply = jeton.token(&form).await;
    reply.assert_error(400, "invalid_request");
    assert!(reply.member("error_description").contains("grant_type"));
}

/// A form is UTF-8, whatever its media type says of another charset. RFC 6749 Appendix B. [TP-05]
#[tokio::test]
async fn a_charset_is_not_honoured() {
    let jeton = jeton().await;
    jeton.add_user("vera", "p\u{e4}nsy lantern mile").await;
    for charset in ["ISO-8859-1", "windows-1252", "UTF-16"] {
        for (password, status) in [("p%E4nsy+lantern+mile", 400), ("p%C3%A4nsy+lantern+mile", 200)]
        {
            let form = form_of_vera(password);
            let request = jeton.post_as("web", "/token", &form).without("Content-Type");
            let media_type = format!("application/x-www-form-urlencoded; charset={charset}");
            let reply = request.header("Content-Type", &media_type).send().await;
            assert_eq!(reply.status, status, "{charset}, {password}: {}", reply.text());
            if status == 400 {
                reply.assert_error(400, "invalid_request");
            }
        }
    }
}

/// What is not UTF-8, or not an escape, is refused. Were it replaced or kept, two readers of one
/// request could disagree, and a password made of U+FFFD would open for any octet. RFC 6749
/// Appendix B, RFC 3629 §3, X-03. [TP-24] [TP-25]
#[tokio::test]
async fn octets_that_mean_nothing_are_refused() {
    let jeton = jeton().await;
    jeton.add_user("vera", "lantern miles \u{fffd}").await;
    let octets: [&[u8]; 19] = [
        b"%FF",
        b"%C0%AF",
        b"%ED%A0%80",
        b"%E2%82",
        b"%F4%90%80%80",
        b"%F8%88%80%80%80",
        b"%80",
        b"\xff",
        b"\xc0\xaf",
        b"\xe2\x82",
        b"%E2\x82",
        b"%",
        b"%4",
        b"%zz",
        b"100%",
        b"%%34",
        b"%u0041",
        b"% 4",
        b"%+4",
    ];
    for octets in octets {
        let bad = [b"lantern+miles+".as_slice(), octets].concat();
        let vera = form_of_vera("").into_bytes();
        let alice = login_form("alice", PASSWORD).into_bytes();
        for form in [
            [vera.as_slice(), &bad].concat(),
            [alice.as_slice(), b"&scope=", octets].concat(),
            [alice.as_slice(), b"&unknown=", octets].concat(),
            [alice.as_slice(), b"&", octets, b"=x"].concat(),
        ] {
            let case = String::from_utf8_lossy(&form).into_owned();
            let reply = jeton.post_as("web", "/token", "").content(form).send().await;
            assert_eq!(reply.status, 400, "{case}");
            reply.assert_error(400, "invalid_request");
        }
    }
    assert_eq!(jeton.passwords_verified().await, 0);
    // The character itself is one like any other.
    jeton.token(&form_of_vera("lantern+miles+%EF%BF%BD")).await.access_token();
}

/// User name and password have no control characters, line ends or noncharacters, and nothing that
/// gets to the database has NUL, which it could not store. Nothing is trimmed either, so an accidental line end is
/// refused as well. RFC 6749 Appendix A. [TP-26] [TP-27] [TP-28] [TP-33]
#[tokio::test]
async fn characters_outside_the_grammar_are_refused() {
    let jeton = jeton().await;
    let alice = login_form("alice", PASSWORD);
    let mut forms: Vec<String> = Vec::new();
    for (name, value) in [("username", "alice"), ("password", "tuesday+fern+lamp")] {
        let other =
            if name == "username" { "password=tuesday+fern+lamp" } else { "username=alice" };
        let controls = (0x01..=0x1f).filter(|&octet| octet != 0x09).chain([0x00, 0x7f]);
        let mut bad: Vec<String> = controls.map(|octet: u8| format!("%{octet:02X}")).collect();
        for text in ["%0D%0A", "%EF%BF%BE", "%EF%BF%BF", "%ED%A0%81%ED%B0%80", "\r\n", "\n"] {
            bad.push(text.to_owned());
        }
        for bad in bad {
            let start = format!("grant_type=password&{other}&{name}=");
            forms.push(format!("{start}{value}{bad}"));
            forms.push(format!("{start}{bad}{value}"));
        }
    }
    for name in ["client_id", "client_secret", "scope", "refresh_token", "resource"] {
        forms.push(format!("{alice}&{name}=x%00x"));
    }
    forms.push(alice.replacen("=password", "=pass%00word", 1));
    for form in forms {
        let reply = jeton.token(&form).await;
        assert_eq!(reply.status, 400, "{form:?}");
        reply.assert_error(400, "invalid_request");
    }
    assert_eq!(jeton.passwords_verified().await, 0);
    // A tab has its place in the grammar; it is just not in the password.
    jeton.token(&format!("{alice}%09")).await.assert_error(400, "invalid_grant");
    jeton.token(&alice.replace("=alice", "=alice%09")).await.assert_error(400, "invalid_grant");
    // Basic carries a name and a secret too.
    for (id, secret) in [("web%00", "x"), ("web", "x%00")] {
        let reply = jeton.post("/token", &alice).basic(id, secret).send().await;
        reply.assert_error(401, "invalid_client");
    }
}

/// What was sent is compared and never interpreted: by the database, by the log, or by who reads
/// the headers of the answer. A secret in the URI is refused and not noted anywhere. RFC 6749
/// §2.3.1, §10.14. [TP-18] [TP-43]
#[tokio::test]
async fn what_was_sent_reaches_neither_sql_nor_log_nor_headers() {
    let jeton = jeton().await;
    let master_key = jeton.fixtures.master_key.display().to_string();
    let arguments = ["--database", &jeton.database.url, "--master-key-file", &master_key];
    let quiet = ["--scrypt", crate::harness::database::SCRYPT, "--log", "trace"];
    let mut service = Executable::serve(&[arguments.as_slice(), &quiet].concat());
    let secret = jeton.fixtures.secret("web");
    let post = |target: &str, form: &str| {
        crate::harness::Request::new(service.public, "POST", target).form(form)
    };
    let before = jeton.database.dump().await;

    for (username, code) in [
        ("marker' OR 1=1--", "invalid_grant"),
        ("marker'; DROP TABLE users; --", "invalid_grant"),
        ("marker\\\"}", "invalid_grant"),
        ("marker${jndi:x}%s{}", "invalid_grant"),
        ("marker\u{1b}[31m", "invalid_request"),
        ("marker\r\nX-Marker: 1", "invalid_request"),
    ] {
        for form in [
            login_form(username, PASSWORD),
            login_form("alice", username),
            login_form("alice", PASSWORD) + "&scope=" + &percent_encode(username),
            login_form("alice", PASSWORD) + "&resource=" + &percent_encode(username),
        ] {
            let reply = post("/token", &form).basic("web", secret).send().await;
            let codes = [code, "invalid_scope", "invalid_target"];
            assert!(codes.contains(&reply.error().as_str()), "{form}: {}", reply.text());
            reply.assert_error(400, &reply.error());
            assert!(!format!("{reply:?}").to_lowercase().contains("marker"), "{form}: {reply:?}");
        }
        let form = login_form("alice", PASSWORD) + "&client_id=" + &percent_encode(username);
        post("/token", &form).send().await.assert_error(401, "invalid_client");
    }
    let target = format!("/token?client_id=web&client_secret={secret}");
    let in_uri = post(&target, &login_form("alice", PASSWORD)).send().await;
    in_uri.assert_error(401, "invalid_client");
    let issued = post("/token", &login_form("alice", PASSWORD)).basic("web", secret).send().await;
    let token = issued.access_token();

    let log = tokio::task::spawn_blocking(move || service.stop_and_read_log());
    let log = log.await.expect("it stops");
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
        assert!(line.chars().all(|character| !character.is_control()), "{line:?}");
    }
    assert!(log.contains("token_refused") && log.contains("token_issued"), "{log}");
    let encoded = percent_encode(PASSWORD);
    for absent in ["marker", "MARKER", secret, PASSWORD, &encoded, &token] {
        assert!(!log.contains(absent), "{absent} is in the log");
    }
    let users = |dump: &str| dump.lines().filter(|line| line.contains("$scrypt$")).count();
    assert_eq!(users(&jeton.database.dump().await), users(&before));
}
