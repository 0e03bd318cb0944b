//! How passwords and user names are compared, and hashes kept (RFC 8265, NIST SP 800-63B-4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::forge::claims;
use crate::harness::{Database, run_with_input};

/// Whether a user can log in with a password; anything but yes must be `invalid_grant`.
async fn can_log_in(jeton: &Jeton, user: &str, password: &str) -> bool {
    let reply = jeton.token(&login_form(user, password)).await;
    if reply.status != 200 {
        reply.assert_error(400, "invalid_grant");
    }
    reply.status == 200
}

/// The stored hash of alice.
async fn stored_hash(jeton: &Jeton) -> String {
    let rows = jeton.database.query("SELECT password_hash FROM users WHERE username = 'alice'");
    rows.await[0][0].clone().expect("a hash")
}

/// Puts a hash in the place of alice's, past the service.
async fn store_hash(jeton: &Jeton, hash: &str) {
    let statement = format!("UPDATE users SET password_hash = '{hash}' WHERE username = 'alice'");
    jeton.database.query(&statement).await;
}

/// A hash of alice's password that costs next to nothing.
fn cheap_hash() -> String {
    let parameters = scrypt::Params::new(14, 8, 1).expect("valid parameters");
    let mut output = [0; 32];
    scrypt::scrypt(PASSWORD.as_bytes(), &[7; 16], &parameters, &mut output).expect("32 octets");
    let encode = |octets: &[u8]| STANDARD_NO_PAD.encode(octets);
    format!("$scrypt$ln=14,r=8,p=1${}${}", encode(&[7; 16]), encode(&output))
}

/// NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.8: all of the password counts, to the letter; nothing is
/// trimmed, cut or folded, and no mistyping is forgiven. [TG-14] [W-21] [W-40]
#[tokio::test]
async fn a_password_is_verified_exactly_as_sent() {
    let jeton = jeton().await;
    let long = "correct Horse battery Staple 0123456789 ".repeat(4) + "end";
    assert!(jeton.try_add_user("long", &long, &[]).await);
    assert!(can_log_in(&jeton, "long", &long).await);
    for (case, other) in [
        ("what bcrypt would keep", long[..72].to_owned()),
        ("the last letter is missing", long[..long.len() - 1].to_owned()),
        ("a letter more", long.clone() + "x"),
        ("a blank behind", long.clone() + " "),
        ("a blank before", " ".to_owned() + &long),
        ("a blank doubled", long.replacen(' ', "  ", 1)),
        ("lower case", long.to_lowercase()),
        ("first letter in upper case", long.replacen('c', "C", 1)),
        ("case swapped", long.to_uppercase()),
    ] {
        assert!(!can_log_in(&jeton, "long", &other).await, "{case}");
    }
}

/// RFC 8265 §4.2, NIST SP 800-63B-4 §3.1.1.2: a password is the same however its letters are
/// composed and whichever space it has, when it is set and when it is sent; compatibility variants
/// are others. [TG-15] [W-24] [W-25]
#[tokio::test]
async fn a_password_is_the_same_however_it_is_composed() {
    let jeton = jeton().await;
    let decomposed = PASSWORD_OF_ZOE.replace('\u{e4}', "a\u{308}").replace('\u{f6}', "o\u{308}");
    assert_ne!(decomposed, PASSWORD_OF_ZOE);
    for password in [PASSWORD_OF_ZOE, &decomposed, &decomposed.replace(' ', "\u{a0}")] {
        assert!(can_log_in(&jeton, "zo\u{e9}", password).await, "{password:?}");
    }
    assert!(!can_log_in(&jeton, "zo\u{e9}", &PASSWORD_OF_ZOE.replace('\u{e4}', "a")).await);

    let set = "cafe\u{301}\u{3000}\u{fb01}ltre \u{ff21}lice";
    assert!(jeton.try_add_user("eve", set, &[]).await);
    let composed = "caf\u{e9} \u{fb01}ltre \u{ff21}lice";
    for password in [set, composed] {
        assert!(can_log_in(&jeton, "eve", password).await, "{password:?}");
    }
    for other in [composed.replace('\u{fb01}', "fi"), composed.replace('\u{ff21}', "A")] {
        assert!(!can_log_in(&jeton, "eve", &other).await, "{other:?}");
    }
}

/// RFC 8265 §3.3 (`UsernameCaseMapped`): a name is the same in either case, in wide letters and
/// however it is composed; so a twin cannot be added, and different letters are different users.
/// [TG-16]
#[tokio::test]
async fn names_that_are_the_same_are_one_user() {
    let jeton = jeton().await;
    for (user, password, name) in [
        ("ALICE", PASSWORD, "alice"),
        ("\u{ff21}lice", PASSWORD, "alice"),
        ("\u{ff41}\u{ff4c}\u{ff49}\u{ff43}\u{ff45}", PASSWORD, "alice"),
        ("zoe\u{301}", PASSWORD_OF_ZOE, "zo\u{e9}"),
        ("ZO\u{c9}", PASSWORD_OF_ZOE, "zo\u{e9}"),
        ("ZOE\u{301}", PASSWORD_OF_ZOE, "zo\u{e9}"),
    ] {
        let reply = jeton.token(&login_form(user, password)).await;
        assert_eq!(claims(&reply.access_token())["sub"], jeton.fixtures.sub(name), "{user}");
        assert!(!jeton.try_add_user(user, "winter moth kettle", &[]).await, "{user} is taken");
    }
    for user in ["zoe", " alice", "alice ", "a\u{200b}lice", "\u{430}lice"] {
        assert!(!can_log_in(&jeton, user, PASSWORD).await, "{user:?}");
        assert!(!can_log_in(&jeton, user, PASSWORD_OF_ZOE).await, "{user:?}");
    }
    assert_eq!(
        jeton.database.query("SELECT count(*) FROM users").await[0][0].as_deref(),
        Some("5")
    );
}

/// OWASP Password Storage: a hash of another cost is replaced once its password was right, and only
/// then. Logins that meet in doing so all succeed. [TG-23]
#[tokio::test]
async fn an_outdated_hash_is_replaced_by_a_right_password() {
    let jeton = jeton().await;
    let old = cheap_hash();
    store_hash(&jeton, &old).await;
    assert!(!can_log_in(&jeton, "alice", "tuesday fern lamb").await);
    assert_eq!(stored_hash(&jeton).await, old);
    assert!(can_log_in(&jeton, "alice", PASSWORD).await);
    let new = stored_hash(&jeton).await;
    assert!(new.starts_with(&format!("$scrypt${SCRYPT}$")), "{new}");
    assert!(can_log_in(&jeton, "alice", PASSWORD).await);
    assert!(!can_log_in(&jeton, "alice", "tuesday fern lamb").await);
    assert_eq!(stored_hash(&jeton).await, new);

    store_hash(&jeton, &old).await;
    let together = tokio::join!(
        can_log_in(&jeton, "alice", PASSWORD),
        can_log_in(&jeton, "alice", PASSWORD),
        can_log_in(&jeton, "alice", PASSWORD),
    );
    assert_eq!(together, (true, true, true));
    assert_ne!(stored_hash(&jeton).await, old);
}

/// RFC 7914 §2: a row that asks for absurd work, or is no hash, lets nobody in and harms nobody
/// else. [W-03] [W-13]
#[tokio::test]
async fn a_poisoned_row_harms_nobody() {
    let jeton = jeton().await;
    let wrong = jeton.token(&login_form("alice", "tuesday fern lamb")).await;
    let tail = "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for hash in [
        format!("$scrypt$ln=40,r=8,p=1{tail}"),
        format!("$scrypt$ln=24,r=8,p=1{tail}"),
        format!("$scrypt$ln=17,r=8,p=1073741823{tail}"),
        format!("$scrypt$ln=17,r=4294967295,p=4294967295{tail}"),
        format!("$scrypt$ln=0,r=8,p=1{tail}"),
        "$scrypt$ln=17,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$".to_owned(),
        format!("plain:{PASSWORD}"),
        PASSWORD.to_owned(),
        String::new(),
    ] {
        store_hash(&jeton, &hash).await;
        let reply = jeton.token(&login_form("alice", PASSWORD)).await;
        assert_eq!(reply.comparable(), wrong.comparable(), "{hash}");
        assert_eq!(stored_hash(&jeton).await, hash);
    }
    assert!(can_log_in(&jeton, "bob", PASSWORD).await);
}

/// OWASP Password Storage, RFC 7914, NIST SP 800-63B-4 §3.1.1.2: a new hash says function, cost and salt;
/// 128 MiB, 128 bits of salt of its own, 256 bits of output. [W-01] [W-04] [W-05] [W-06]
#[tokio::test]
async fn new_hashes_have_the_recommended_cost_and_a_salt_of_their_own() {
    let database = Database::empty(ENGINE).await;
    for name in ["anna", "bert"] {
        let add = ["user", "add", name, "--password-stdin", "--database", &database.url];
        assert!(run_with_input(&add, "quill lamp tern 5\n").status.success());
    }
    let hashes = database.query("SELECT password_hash FROM users").await;
    let parts = hashes.iter().map(|row| {
        let hash = row[0].as_deref().expect("a hash");
        let rest = hash.strip_prefix("$scrypt$ln=17,r=8,p=1$").expect("the recommended cost");
        let (salt, output) = rest.split_once('$').expect("salt and output");
        let octets = |text| STANDARD_NO_PAD.decode(text).expect("base64");
        assert_eq!((octets(salt).len(), octets(output).len()), (16, 32));
        (salt.to_owned(), output.to_owned())
    });
    let [anna, bert] = &parts.collect::<Vec<_>>()[..] else { panic!("two users") };
    assert!(anna.0 != bert.0 && anna.1 != bert.1, "the password is the same, and nothing else");
}
