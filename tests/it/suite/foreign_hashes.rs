//! Users who come with hashes that other libraries made keep their passwords. The vectors are those of
//! `tests/vectors/password-hashes.json`.

use std::collections::BTreeSet;

use jeton_crypto::password::PasswordHash;

use super::*;
use crate::harness::database::SCRYPT;
use crate::harness::executable::run_for_json;
use crate::harness::{Database, Executable, run_with_input};

pub(super) const RIGHT: &str = "correct horse battery staple";

/// Hashes of one password, one of each format, with the format's name.
pub(super) fn hashes_of(password: &str) -> Vec<(String, String)> {
    let text = include_str!("../../vectors/password-hashes.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).expect("a list of vectors");
    let text = |vector: &serde_json::Value, name| vector[name].as_str().expect("text").to_owned();
    let of_password = vectors.iter().filter(|vector| vector["password"] == password);
    of_password.map(|vector| (text(vector, "format"), text(vector, "hash"))).collect()
}

/// The same of a few formats, one of each function: scrypt that looks like that of this service among them.
fn some_hashes_of(password: &str) -> Vec<(String, String)> {
    let mut hashes = hashes_of(password);
    let begin = ["$scrypt$", "$2b$", "pbkdf2_sha256$", "$argon2id$v=19$"];
    let mut met = BTreeSet::new();
    hashes.retain(|(_, hash)| {
        begin.iter().find(|begin| hash.starts_with(**begin)).is_some_and(|begin| met.insert(*begin))
    });
    assert_eq!(hashes.len(), begin.len(), "{password:?}");
    hashes
}

/// Imports users of these names and hashes, with nothing else.
fn import(jeton: &Jeton, users: &[(&str, &str)], options: &[&str]) {
    let lines = users.iter().map(|(name, hash)| format!("{name},{hash:?}\n"));
    let file = "username,password_hash\n".to_owned() + &lines.collect::<String>();
    let arguments = [&["user", "import", "-", "--database", &jeton.database.url], options].concat();
    let output = run_with_input(&arguments, &file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A login counts from the import on.
    jeton.catch_up();
}

/// Whether a user can log in with a password; anything but yes must be `invalid_grant`.
async fn can_log_in(jeton: &Jeton, user: &str, password: &str) -> bool {
    let reply = jeton.token(&login_form(user, password)).await;
    if reply.status != 200 {
        reply.assert_error(400, "invalid_grant");
    }
    reply.status == 200
}

async fn stored_hash(jeton: &Jeton, user: &str) -> String {
    let statement = format!("SELECT password_hash FROM users WHERE username = '{user}'");
    jeton.database.query(&statement).await[0][0].clone().expect("a hash")
}

/// OWASP Password Storage («upgrading legacy hashes»): each format is verified by its own rules, and is
/// replaced by scrypt at the first login, once. [W-07] [W-13]
#[tokio::test]
async fn users_keep_their_passwords_whatever_hashed_them() {
    let jeton = jeton().await;
    let hashes = hashes_of(RIGHT);
    let formats: BTreeSet<_> = hashes.iter().map(|(format, _)| format).collect();
    assert!(hashes.len() > 20 && formats.len() > 15, "{formats:?}");
    let names: Vec<String> = (0..hashes.len()).map(|number| format!("user{number}")).collect();
    let users: Vec<_> =
        names.iter().zip(&hashes).map(|(name, (_, hash))| (name.as_str(), hash.as_str())).collect();
    import(&jeton, &users, &["--keep-fast"]);
    for (name, (format, hash)) in names.iter().zip(&hashes) {
        assert!(!can_log_in(&jeton, name, "correct horse battery stapler").await, "{format}");
        assert_eq!(stored_hash(&jeton, name).await, PasswordHash::adopt(hash), "{format}");
        assert!(can_log_in(&jeton, name, RIGHT).await, "{format}");
        let replaced = stored_hash(&jeton, name).await;
        assert!(replaced.starts_with(&format!("$scrypt${SCRYPT}$")), "{format}: {replaced}");
        assert!(can_log_in(&jeton, name, RIGHT).await, "{format}, again");
        assert_eq!(stored_hash(&jeton, name).await, replaced, "{format}: it is replaced once");
        jeton.forget_failures().await;
    }
    let stats = ["user", "list", "--stats", "--json", "--database", &jeton.database.url];
    let stats = run_for_json(&stats, "");
    let of_format = stats.as_array().expect("a list");
    assert_eq!(of_format.len(), 1, "{stats}");
    assert_eq!(of_format[0]["format"], format!("scrypt {SCRYPT}"));
    assert!(of_format[0]["last_login_at"].is_i64(), "{stats}");
    assert_eq!(
        of_format[0]["users"]
            .as_u64()
            .zip(of_format[0]["never_logged_in"].as_u64())
            .map(|(all, never)| all - never),
        Some(hashes.len() as u64)
    );
}

/// NIST SP 800-63B-4 §3.1.1.2: whether a password is long enough and on no list is asked when it is set, never
/// at a login: `secret`, of the tutorial of FastAPI, goes on. [W-23]
#[tokio::test]
async fn a_password_that_could_not_be_set_here_still_logs_in() {
    let jeton = jeton().await;
    let tutorial = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    import(&jeton, &[("johndoe", tutorial)], &[]);
    for attempt in ["with the hash that came", "with the hash that replaced it"] {
        assert!(can_log_in(&jeton, "johndoe", "secret").await, "{attempt}");
    }
    assert!(!jeton.try_change_password("johndoe", "secret").await);
}

/// Elsewhere passwords were hashed as they came: in no normal form, with characters that no password has
/// that is set here. They are right as they were, whatever hashed them, scrypt of passlib too, which looks like
/// that of this service. Where such a password has a form of this service, that is right from the first login on.
#[tokio::test]
async fn a_password_that_came_in_no_normal_form_is_right_as_it_was() {
    let jeton = jeton().await;
    let as_others_type = [
        ("pa\u{308}sswo\u{308}rd", Some("p\u{e4}ssw\u{f6}rd")),
        ("fern\u{a0}lamp", Some("fern lamp")),
        ("fern\tlamp", None),
        ("\u{1f469}\u{200d}\u{1f4bb} fern", None),
    ];
    for (own, prepared) in as_others_type {
        let hashes = some_hashes_of(own);
        let names: Vec<String> = (0..hashes.len()).map(|n| format!("{n}-{}", own.len())).collect();
        let users: Vec<_> = names
            .iter()
            .zip(&hashes)
            .map(|(name, (_, hash))| (name.as_str(), hash.as_str()))
            .collect();
        import(&jeton, &users, &[]);
        for (name, (format, _)) in names.iter().zip(&hashes) {
            let case = format!("{format}: {own:?}");
            if let Some(prepared) = prepared {
                assert!(!can_log_in(&jeton, name, prepared).await, "{case}: nobody knows it yet");
            }
            for attempt in ["with the hash that came", "with the hash that replaced it"] {
                assert!(can_log_in(&jeton, name, own).await, "{case} {attempt}");
            }
            if let Some(prepared) = prepared {
                assert!(can_log_in(&jeton, name, prepared).await, "{case}: either form is right");
            }
            assert!(!can_log_in(&jeton, name, &format!("{own}!")).await, "{case}");
            jeton.forget_failures().await;
        }
    }
}

/// Where passwords were normalised before they were hashed, it does not matter how a keyboard composes them.
#[tokio::test]
async fn a_password_that_was_normalised_elsewhere_is_right_in_either_form() {
    let jeton = jeton().await;
    let (composed, decomposed) = ("p\u{e4}ssw\u{f6}rd", "pa\u{308}sswo\u{308}rd");
    let hashes = some_hashes_of(composed);
    let names: Vec<String> = (0..hashes.len()).map(|number| format!("user{number}")).collect();
    let users: Vec<_> =
        names.iter().zip(&hashes).map(|(name, (_, hash))| (name.as_str(), hash.as_str())).collect();
    import(&jeton, &users, &[]);
    for (name, (format, _)) in names.iter().zip(&hashes) {
        for form in [decomposed, composed, decomposed] {
            assert!(can_log_in(&jeton, name, form).await, "{format}: {form:?}");
        }
    }
}

/// bcrypt reads 72 octets. Whoever has a longer password and mistypes its end is let in there, and must
/// not have that taken for the password: what is stored then verifies what was verified before.
#[tokio::test]
async fn the_end_of_a_password_that_bcrypt_never_read_is_not_invented() {
    let jeton = jeton().await;
    let right = "0123456789".repeat(10);
    let of_bcrypt = |(format, _): &(String, String)| format == "bcrypt $2b$";
    let hash = hashes_of(&right).into_iter().find(of_bcrypt).expect("one").1;
    import(&jeton, &[("long", &hash)], &[]);
    let mistyped = right[..72].to_owned() + "what bcrypt does not see";
    assert!(can_log_in(&jeton, "long", &mistyped).await);
    let stored = stored_hash(&jeton, "long").await;
    assert!(stored.starts_with("$scrypt-over$") && !stored.contains(&hash[29..]), "{stored}");
    for password in [&right, &mistyped] {
        assert!(can_log_in(&jeton, "long", password).await, "{password}");
        assert_eq!(stored_hash(&jeton, "long").await, stored, "and it stays so");
    }
    assert!(!can_log_in(&jeton, "long", &right[..71]).await);
}

/// A weak hash can be covered without its password, so that it is never stored; at the login the cover goes
/// with it.
#[tokio::test]
async fn a_weak_hash_is_covered_before_it_is_stored() {
    let jeton = jeton().await;
    let hashes = hashes_of(RIGHT);
    let chosen: Vec<_> = ["bcrypt $2b$", "pbkdf2_sha256", "argon2id version 19", "scrypt"]
        .iter()
        .map(|format| hashes.iter().find(|(own, _)| own == format).expect("a hash"))
        .collect();
    let names: Vec<String> = (0..chosen.len()).map(|number| format!("user{number}")).collect();
    let users: Vec<_> =
        names.iter().zip(&chosen).map(|(name, (_, hash))| (name.as_str(), hash.as_str())).collect();
    import(&jeton, &users, &["--wrap", "--scrypt", SCRYPT]);
    for (name, (format, hash)) in names.iter().zip(&chosen) {
        let covered = stored_hash(&jeton, name).await;
        assert!(covered.starts_with(&format!("$scrypt-over${SCRYPT}$")), "{format}: {covered}");
        let output = hash.rsplit('$').next().expect("the output");
        assert!(!covered.contains(&output[output.len() - 24..]), "{format}: {covered}");
        assert!(!can_log_in(&jeton, name, "correct horse battery stapler").await, "{format}");
        assert!(can_log_in(&jeton, name, RIGHT).await, "{format}");
        assert!(stored_hash(&jeton, name).await.starts_with("$scrypt$"), "{format}");
        assert!(can_log_in(&jeton, name, RIGHT).await, "{format}, again");
    }
    // The same file again changes nothing, wrapped or not.
    let before = stored_hash(&jeton, "user0").await;
    import(&jeton, &users, &[]);
    assert_eq!(stored_hash(&jeton, "user0").await, before);
}

/// How many hashes of each function were computed.
async fn computed(jeton: &Jeton) -> [u64; 4] {
    let page = jeton.manage("/metrics").send().await.text().to_owned();
    ["scrypt", "bcrypt", "pbkdf2", "argon2"].map(|function| {
        let metric = format!("jeton_hashing_verified_total{{function=\"{function}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(metric.as_str()));
        value.map_or(0, |number| number.parse().expect("a number"))
    })
}

/// RFC 6749 §10.10: a name that nobody has costs what users cost, whatever their hashes are. A name is
/// given the hash of one user, always the same, so that asking again tells nothing; and all formats are met
/// as often as users have them.
#[tokio::test]
async fn a_name_that_nobody_has_costs_what_users_cost() {
    let jeton = jeton().await;
    let hashes = hashes_of(RIGHT);
    let of = |format| &hashes.iter().find(|(own, _)| own == format).expect("a hash").1;
    let (bcrypt, pbkdf2) = (of("bcrypt $2b$"), of("pbkdf2_sha256"));
    let names: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
    let hash = |number| if number % 3 == 0 { pbkdf2 } else { bcrypt };
    let users: Vec<_> =
        names.iter().enumerate().map(|(n, name)| (name.as_str(), hash(n).as_str())).collect();
    import(&jeton, &users, &[]);
    // The users of the fixtures have hashes of this service.
    jeton.database.query("DELETE FROM users WHERE username NOT LIKE 'user%'").await;

    let mut met = [0; 4];
    for number in 0..40 {
        // What nobody can have costs the same as what nobody has.
        let name = format!("{}{number}", ["nobody", "no body"][number % 2]);
        let mut functions = BTreeSet::new();
        for _ in 0..2 {
            let before = computed(&jeton).await;
            // It is the password of every user, and lets nobody in.
            assert!(!can_log_in(&jeton, &name, RIGHT).await);
            let after = computed(&jeton).await;
            let function = (0..4).find(|function| after[*function] > before[*function]);
            functions.insert(function.expect("one hash was computed"));
            jeton.forget_failures().await;
        }
        assert_eq!(functions.len(), 1, "{name} costs the same each time");
        met[*functions.first().expect("one")] += 1;
    }
    let [scrypt, bcrypt, pbkdf2, argon2] = met;
    assert!(scrypt == 0 && argon2 == 0 && bcrypt > 0 && pbkdf2 > 0, "{met:?}");
}

/// A user whom a version added that knew of no lots gets one from a running service, and so is as likely as
/// others to stand in for a name that nobody has.
#[tokio::test]
async fn users_of_earlier_versions_are_given_lots() {
    let (database, fixtures) = Database::filled(ENGINE).await;
    database.query("UPDATE users SET lot = 0").await;
    let executable = Executable::serve_on(&database, fixtures, &[]);
    let without = "SELECT COUNT(*) FROM users WHERE lot = 0";
    for _ in 0..600 {
        if database.query(without).await[0][0].as_deref() == Some("0") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let lots =
        database.query("SELECT COUNT(*) - COUNT(DISTINCT lot), MIN(lot) > 0 FROM users").await;
    let [same, positive] = &lots[0][..] else { panic!("two columns") };
    assert_eq!(same.as_deref(), Some("0"), "{lots:?}");
    assert!(matches!(positive.as_deref(), Some("1" | "t" | "true")), "{lots:?}");
    drop(executable);
}

/// Hashes that are fast to guess are wrapped before they are stored, at the cost that ships, and what that costs is said
/// first; not so if they are to be kept, or if all hashes are sealed. Others are stored as they are.
#[tokio::test]
async fn fast_hashes_are_wrapped_unless_told_otherwise() {
    // Of «secret», as directories have it and by the tutorial of FastAPI.
    let fast = "{SSHA}6aIx5kJ5vtOtntdY5eEqPUloNJJclpxbRykBAg==";
    let slow = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    let file = format!("username,password_hash\nfast,{fast}\nslow,{slow}\n");
    for (sealed, options, wrapped) in
        [(false, &[][..], 1), (false, &["--keep-fast"], 0), (true, &[], 0)]
    {
        let jeton = jeton().await;
        let master = jeton.fixtures.master_key.display().to_string();
        if sealed {
            let seal = ["user", "seal", "--yes", "--no-recovery", "--master-key-file", &master];
            jeton.run(&seal, "").await;
        }
        let place = ["--database", &jeton.database.url, "--master-key-file", &master];
        let arguments = [&["user", "import", "-"][..], &place, options].concat();
        let dry = run_with_input(&[&arguments[..], &["--dry-run"]].concat(), &file);
        let output = run_with_input(&arguments, &file);
        for (output, begin) in [(dry, "would be wrapped"), (output, "wrapped")] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert_eq!(said.contains("Wrapping 1 hash in scrypt"), wrapped == 1, "{said}");
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(printed.contains(&format!("hashes {begin}: {wrapped}.")), "{printed}");
        }
        let stored = stored_hash(&jeton, "fast").await;
        assert_eq!(stored.starts_with("$scrypt-over$ln=17,r=8,p=1$"), wrapped == 1, "{stored}");
        let kept = stored_hash(&jeton, "slow").await;
        assert_eq!(kept == slow, !sealed, "{kept}");
        for name in ["fast", "slow"] {
            assert!(!can_log_in(&jeton, name, "secret!").await, "{name}");
            assert!(can_log_in(&jeton, name, "secret").await, "{name}");
        }
    }
}
