//! What is read, verified, replaced and refused.

use serde::Deserialize;

use super::*;

const CHEAP: ScryptCost = ScryptCost { ln: 4, r: 8, p: 1 };

/// A hash that a library made.
#[derive(Deserialize)]
struct Vector {
    made_by: String,
    format: String,
    password: String,
    hash: String,
    also: Vec<String>,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/vectors/password-hashes.json");
    serde_json::from_str(text).expect("a list of vectors")
}

fn password(text: &str) -> Password {
    Password::new(Secret::new(text.to_owned()))
}

fn memory() -> HashingMemory {
    HashingMemory::reserve(128 << 20).expect("memory")
}

fn parse(text: &str) -> PasswordHash {
    let text = &PasswordHash::adopt(text);
    PasswordHash::parse(text, 128 << 20).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_hash_verifies_its_own_password_only() {
    let memory = &mut memory();
    let stored = parse(&memory.hash(&Secret::new("fern lamp".to_owned()), CHEAP));
    for right in ["fern lamp", "fern\u{a0}lamp"] {
        assert_eq!(stored.verify(&password(right), memory), Some(Form::Prepared), "{right:?}");
    }
    for other in ["fern", "fern lam", "fern lamp ", "Fern lamp", "fern\tlamp", ""] {
        assert_eq!(stored.verify(&password(other), memory), None, "{other:?}");
    }
    assert!(stored.is_current(CHEAP) && !stored.is_current(ScryptCost::RECOMMENDED));
    // [W-41] A NUL, which no request can carry, does not end a password.
    let mut compute = |octets: &[u8]| stored.scheme.compute(octets, 32, memory);
    assert_ne!(compute(b"a\0b"), compute(b"a"));
    assert_ne!(compute(b"a\0b"), compute(b"a\0c"));
}

/// passlib, bcrypt, Django, Werkzeug, argon2-cffi, pwdlib, bcrypt of Node, PHP, slapd, and the layouts that 389 Directory
/// Server, ASP.NET Identity and Supabase publish. [W-13]
#[test]
fn hashes_of_other_libraries_are_verified() {
    let memory = &mut memory();
    for Vector { made_by, format, password: right, hash, also } in vectors() {
        let case = format!("{made_by}, {format}: {right:?} {hash}");
        let stored = parse(&hash);
        let prepared = password(&right).prepared().cloned();
        let is_prepared = prepared.is_some_and(|form| form.expose() == right);
        let form = if is_prepared { Form::Prepared } else { Form::Presented };
        assert_eq!(stored.verify(&password(&right), memory), Some(form), "{case}");
        for also in &also {
            assert!(stored.verify(&password(also), memory).is_some(), "{case}: {also:?}");
        }
        let wrong = format!("!{right}");
        assert_eq!(stored.verify(&password(&wrong), memory), None, "{case}: {wrong:?}");
        let shown = format!("{stored:?}");
        let mut secret = hash.rsplit('$').take(2).filter(|part| part.len() > 15);
        assert!(secret.all(|part| !shown.contains(part)), "{shown}");
    }
}

/// What is stored instead verifies exactly what the old hash verified.
#[test]
fn hashes_of_other_libraries_are_replaced() {
    let memory = &mut memory();
    let cheap =
        |vector: &Vector| !vector.format.ends_with("default") && !vector.password.is_empty();
    for Vector { made_by, format, password: right, hash, also } in
        vectors().into_iter().filter(cheap)
    {
        let case = format!("{made_by}, {format}: {right:?}");
        let stored = parse(&hash);
        let presented = password(&right);
        let form = stored.verify(&presented, memory).expect("the right one");
        let replacement = stored.replacement(&presented, form, CHEAP);
        // passlib's scrypt is like ours, unless the password has another form here, or none.
        if stored.is_current(CHEAP) && presented.other_form().is_none() {
            assert!(replacement.is_none(), "{case}");
            continue;
        }
        let replacement = replacement.expect("a replacement").make(CHEAP, memory);
        let replaced = parse(&replacement);
        assert!(replaced.verify(&presented, memory).is_some(), "{case}");
        assert_eq!(replaced.verify(&password("wrong"), memory), None, "{case}");
        // bcrypt never read the end of this password. It may be mistyped, so it must not be required from now on.
        let is_bcrypt = stored.to_string().starts_with("bcrypt cost");
        let kept = is_bcrypt && right.len() > 72 || presented.prepared().is_none();
        assert_eq!(replacement.starts_with(WRAPPER), kept, "{case} {replacement}");
        for also in &also {
            let verified = replaced.verify(&password(also), memory).is_some();
            assert_eq!(verified, kept, "{case}: {also:?}");
        }
    }
}

#[test]
fn a_wrapper_hides_the_hash_and_verifies_the_same() {
    let memory = &mut memory();
    let cheap = |vector: &Vector| !vector.format.ends_with("default");
    for Vector { password: right, hash, also, .. } in vectors().into_iter().filter(cheap) {
        let stored = parse(&hash);
        let text = stored.wrapped(CHEAP).expect("a wrapper").make(CHEAP, memory);
        let wrapped = parse(&text);
        let output = hash.rsplit('$').next().expect("a last part");
        assert!(!text.contains(&output[output.len() - 20..]), "{text}");
        assert_eq!(
            wrapped.verify(&password(&right), memory),
            stored.verify(&password(&right), memory)
        );
        for also in &also {
            assert!(wrapped.verify(&password(also), memory).is_some(), "{text}");
        }
        assert_eq!(wrapped.verify(&password("wrong"), memory), None, "{text}");
        assert!(wrapped.wrapped(CHEAP).is_none(), "one wrapper is enough");
        let dear = ScryptCost { ln: 17, r: 8, p: 17 };
        assert!(stored.wrapped(dear).is_none(), "it could not be verified");
        assert_eq!(wrapped.without_output(), stored.without_output());
        assert_eq!(wrapped.is_made_of(&stored), !stored.scheme.is_unsalted(), "{text}");
        assert!(stored.is_made_of(&stored) && !stored.is_made_of(&wrapped));
        assert!(!wrapped.is_weak() && !wrapped.is_current(CHEAP));
    }
}

/// What is stored instead of such a hash is strong at once only if it is wrapped.
#[test]
fn hashes_that_are_no_obstacle_are_called_fast() {
    let of = |beginning: &str, length: usize| parse(&(beginning.to_owned() + &"A".repeat(length)));
    let salt = "A".repeat(22);
    for (is_fast, hash) in [
        (true, of("$digest$h=sha512,salt=before$AAAA$", 86)),
        (true, of("$P$Bsaltsalt", 22)),
        (true, of("$S$Dsaltsalt", 43)),
        (true, of("$5$salt$", 43)),
        (true, of("$6$rounds=99999$salt$", 86)),
        (false, of("$6$rounds=100000$salt$", 86)),
        (true, of(&format!("$pbkdf2-sha256$9999${salt}$"), 43)),
        (false, of(&format!("$pbkdf2-sha256$10000${salt}$"), 43)),
        (false, of("$2b$04$", 53)),
        (false, of(&format!("$scrypt-over$ln=4,r=8,p=1${salt}${}$$5$salt$", "A".repeat(43)), 43)),
    ] {
        assert_eq!(hash.is_fast(), is_fast, "{hash}");
        assert!(hash.is_weak() || !is_fast, "{hash}");
        assert!(PasswordHash::FUNCTIONS.contains(&hash.function()));
    }
}

#[test]
fn absurd_rows_are_refused_before_they_cost_anything() {
    let refusal = |text: &str| PasswordHash::parse(text, 128 << 20).err();
    let (salt, output) = ("A".repeat(22), "A".repeat(43));
    let scrypt = |cost: &str| format!("$scrypt${cost}${salt}${output}");
    assert_eq!(refusal(&scrypt("ln=17,r=8,p=1")), None);
    let wrapper = format!("$scrypt-over$ln=17,r=8,p=1${salt}${output}$");
    let bcrypt = |cost: &str| format!("$2b${cost}${salt}{}", "A".repeat(31));
    for good in [bcrypt("12"), bcrypt("04"), wrapper.clone() + &bcrypt("10")] {
        assert_eq!(refusal(&good), None, "{good}");
    }
    for dear in [
        scrypt("ln=40,r=8,p=1"),
        scrypt("ln=18,r=8,p=1"),
        scrypt("ln=17,r=9,p=1"),
        scrypt("ln=17,r=8,p=1000"),
        scrypt("ln=40,r=1024,p=1024"),
        bcrypt("16"),
        bcrypt("31"),
        format!("$pbkdf2-sha256$4294967295${salt}${output}"),
        format!("pbkdf2_sha256$4294967295$salt${output}="),
        format!("$argon2id$v=19$m=131073,t=1,p=1${salt}${output}"),
        format!("$argon2id$v=19$m=4194304,t=4294967295,p=4${salt}${output}"),
        format!("scrypt:1099511627776:8:1$salt${}", "a".repeat(128)),
        wrapper.clone() + &bcrypt("16"),
    ] {
        assert_eq!(refusal(&dear), Some(PasswordHashError::TooExpensive), "{dear}");
    }
    let mut odd: Vec<String> =
        ["", "secret", "plain:secret", "$scrypt$", "$", "{bcrypt}", "argon2$"]
            .map(str::to_owned)
            .into();
    odd.extend(
        [
            "ln=0,r=8,p=1",
            "ln=41,r=8,p=1",
            "ln=300,r=8,p=1",
            "ln=17,r=0,p=1",
            "ln=17,r=8",
            "ln=017,r=8,p=1",
            "ln=17,r=+8,p=1",
            "ln=17,r=8,p=1,",
        ]
        .map(scrypt),
    );
    odd.extend(["3", "03", "32", "1", "012", "+9"].map(bcrypt));
    odd.extend([
        bcrypt("12").replace("2b", "2x"),
        bcrypt("12") + "A",
        bcrypt("12").replace("$12$", ":12$"),
        wrapper.clone(),
        format!("{wrapper}{wrapper}{}", bcrypt("12")),
        wrapper.clone() + &bcrypt("12").replace("AAAA", "AAAB"),
        format!("$argon2d$v=19$m=64,t=1,p=1${salt}${output}"),
        format!("$argon2id$v=18$m=64,t=1,p=1${salt}${output}"),
        format!("$argon2id$v=19$m=64,t=0,p=1${salt}${output}"),
        format!("$argon2id$v=19$m=7,t=1,p=1${salt}${output}"),
        format!("scrypt:17:8:1$salt${}", "a".repeat(128)),
        format!("pbkdf2:md5:1000$salt${}", "a".repeat(32)),
        format!("$pbkdf2-sha256$0${salt}${output}"),
    ]);
    for odd in odd {
        assert_eq!(refusal(&odd), Some(PasswordHashError::Unknown), "{odd}");
    }
}

#[test]
fn absurd_rows_of_what_users_bring_are_refused_too() {
    let refusal = |text: &str| PasswordHash::parse(text, 128 << 20).err();
    let (salt, output) = ("A".repeat(22), "A".repeat(43));
    let wrapper = format!("$scrypt-over$ln=17,r=8,p=1${salt}${output}$");
    let firebase = |parameters: &str| {
        let key = "A".repeat(86);
        format!("$fbscrypt${parameters},sk={key}==$AAAAAA==${key}==")
    };
    let digest =
        |parameters: &str, length: usize| format!("$digest${parameters}$${}", "A".repeat(length));
    for good in [
        // The defaults of passlib, and the most that Drupal takes.
        format!("$5$rounds=535000$salt${}", "A".repeat(43)),
        format!("$6$rounds=656000$salt${}", "A".repeat(86)),
        format!("$P$Hsaltsalt{}", "A".repeat(22)),
        format!("$S$Dsaltsalt{}", "A".repeat(43)),
        format!("$pbkdf2$2000000${salt}${}", "A".repeat(27)),
        firebase("v=1,n=14,r=8,p=1"),
        digest("h=sha1,salt=after", 27),
        wrapper.clone() + &digest("h=sha512,salt=key", 86),
    ] {
        assert_eq!(refusal(&good), None, "{good}");
    }
    for dear in [
        format!("$5$rounds=999999999$salt${}", "A".repeat(43)),
        format!("$6$rounds=900000$salt${}", "A".repeat(86)),
        format!("$P$Ssaltsalt{}", "A".repeat(22)),
        format!("$S$Ssaltsalt{}", "A".repeat(43)),
        format!("$wp$2y$16${salt}{}", "A".repeat(31)),
        // PBKDF2 of several blocks takes several times as long.
        format!("$pbkdf2$2000000${salt}${}", "A".repeat(86)),
        format!("pbkdf2:sha1:4294967295$salt${}", "a".repeat(40)),
        firebase("v=1,n=18,r=8,p=1"),
        firebase("v=1,n=40,r=1024,p=1024"),
    ] {
        assert_eq!(refusal(&dear), Some(PasswordHashError::TooExpensive), "{dear}");
    }
    for odd in [
        format!("$5$rounds=999$salt${}", "A".repeat(43)),
        format!("$5$rounds=01000$salt${}", "A".repeat(43)),
        format!("$5$rounds=1000$seventeen-letters${}", "A".repeat(43)),
        format!("$5$salt${}", "A".repeat(42)),
        format!("$5$salt${}", "A".repeat(86)),
        format!("$5$salt$+{}", "A".repeat(42)),
        format!("$6$salt${}", "A".repeat(43)),
        format!("$P$4saltsalt{}", "A".repeat(22)),
        format!("$P$zsaltsalt{}", "A".repeat(22)),
        format!("$P$5saltsalt{}", "A".repeat(21)),
        format!("$wp$2b$12${salt}{}", "A".repeat(31)),
        firebase("v=2,n=14,r=8,p=1"),
        firebase("v=1,n=0,r=8,p=1"),
        firebase("v=1,n=14,r=8"),
        firebase("v=1,n=14,r=8,p=1,ss=*"),
        firebase("v=1,n=14,r=8,p=1").replace("AA==$", "$"),
        digest("h=md5,salt=after", 22),
        digest("h=sha1,salt=behind", 27),
        digest("h=sha1", 27),
        digest("h=sha256,salt=after", 27),
    ] {
        assert_eq!(refusal(&odd), Some(PasswordHashError::Unknown), "{odd}");
    }
}
