use std::io::Cursor;

use serde_json::json;

use super::*;

const HASH: &str = "{CRYPT}$2y$04$bMCxY/mNzJbBjiqPVvOnx.ENvA1IFAhoHpHBqs3tHdVuPOFdT8VHS";

fn read_with(text: &str, mapping: &Mapping) -> (Vec<Entry>, Option<String>) {
    let ldif = || Ldif::new(Cursor::new(text.to_owned()));
    let mut reader = Ldap::new(ldif(), Groups::read(ldif()).expect("groups"), mapping);
    let entries = reader.by_ref().collect::<Result<_, _>>().expect("entries");
    (entries, reader.remark())
}

fn read(text: &str) -> Vec<Entry> {
    read_with(text, &Mapping::default()).0
}

fn values(entry: &Entry) -> &Map<String, Value> {
    let Entry::User(record) = entry else { panic!("a user: {entry:?}") };
    record.values.as_ref().expect("values")
}

fn left_out(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::LeftOut(name) => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

/// Whatever a directory has is a user, a group, or named in the report.
#[test]
fn people_groups_and_the_rest_are_told_apart() {
    let text = format!(
        "dn: dc=x\nobjectClass: dcObject\n\ndn: uid=anna,dc=x\nobjectClass: person\nuid: anna\nsn: A\n\
         entryUUID: 1-2\ncreateTimestamp: 20260131120000Z\nmemberOf: CN=Staff, dc=x\nuserPassword: {HASH}\n\n\
         dn: uid=bert,dc=x\nobjectClass: person\nuid: bert\n\n\
         dn: cn=admins,dc=x\nobjectClass: groupOfNames\nmember: UID=Anna,dc=x\nmember: cn=staff,dc=x\n\n\
         dn: cn=staff,dc=x\nobjectClass: posixGroup\nmemberUid: ANNA\nuserPassword: x\n"
    );
    let entries = read(&text);
    let expected = [
        "group within a group",
        "entry of the class dcObject without a password",
        "entry of the class person without a password",
        "password of a group",
    ];
    assert_eq!(left_out(&entries), expected);
    let anna = json!({
        "username": "anna", "sub": "1-2", "disabled": false, "created_at": "20260131120000Z", "last_login_at": null,
        "password_hash": HASH, "group": ["cn=admins,dc=x", "cn=staff,dc=x"], "sn": "A"
    });
    assert_eq!(Value::Object(values(&entries[2]).clone()), anna);
}

/// The name is `uid`, else `sAMAccountName`, `cn`, `mail`; of several values the one in the name of the entry.
#[test]
fn the_name_is_the_one_by_which_the_entry_is_called() {
    for (text, name) in [
        ("dn: uid=b,dc=x\nuid: a\nuid: b\nmail: c@x", Some("b")),
        ("dn: cn=a,dc=x\nsAMAccountName: b\ncn: a", Some("b")),
        ("dn: cn=a+uid=c,dc=x\ncn: b\nCN: a", Some("a")),
        ("dn: ou=a,dc=x\nmail: m@x", Some("m@x")),
        ("dn: ou=a,dc=x\nuid: a\nuid: b", None),
    ] {
        let entries = read(&format!("{text}\nuserPassword: {HASH}\n"));
        let Entry::User(record) = &entries[0] else { panic!("a user") };
        let found = record.values.as_ref().ok().and_then(|values| values["username"].as_str());
        assert_eq!(found, name, "{text}");
    }
    let mapping = toml::from_str::<Mapping>("[columns]\nusername = \"mail\"\nsub = \"uidNumber\"")
        .expect("a mapping");
    let text = format!("dn: uid=a\nuid: a\nmail: m@x\nuidNumber: 7\nuserPassword: {HASH}\n");
    let (entries, remark) = read_with(&text, &mapping);
    assert_eq!(
        (values(&entries[0])["mail"].as_str(), values(&entries[0]).get("username")),
        (Some("m@x"), None)
    );
    assert_eq!(remark, None);
    let (_, remark) = read_with(&text, &Mapping::default());
    assert!(remark.expect("a remark").starts_with("1 users have no entryUUID"));
}

/// A user has one password here: nobody is let in with another than the one that was meant.
#[test]
fn one_password_is_taken_or_none() {
    for (passwords, bad, left) in [
        (vec![HASH], None, 0),
        (vec!["{SMD5}abc", HASH], None, 1),
        (vec![HASH, HASH], Some("one of several"), 0),
        (vec!["{SASL}anna@X"], Some("another program"), 0),
        (vec!["{SMD5}abc"], None, 0),
    ] {
        let lines: String =
            passwords.iter().flat_map(|text| ["userPassword: ", text, "\n"]).collect();
        let entries = read(&format!("dn: uid=a\nuid: a\n{lines}"));
        let Entry::User(record) = &entries[0] else { panic!("a user") };
        let said = record.bad_hash.as_deref();
        assert_eq!(said.is_some(), bad.is_some(), "{said:?}");
        assert!(bad.is_none_or(|bad| said.is_some_and(|said| said.contains(bad))), "{said:?}");
        assert_eq!(left_out(&entries).len(), left);
    }
}

/// Whoever a directory refuses is refused here.
#[test]
fn locked_accounts_are_disabled() {
    for (line, disabled) in [
        ("pwdAccountLockedTime: 000001010000Z", true),
        ("nsAccountLock: TRUE", true),
        ("nsaccountlock: false", false),
        ("userAccountControl: 514", true),
        ("userAccountControl: 512", false),
        ("loginDisabled: TRUE", true),
    ] {
        let entries = read(&format!("dn: uid=a\nuid: a\n{line}\nuserPassword: {HASH}\n"));
        assert_eq!(values(&entries[0])["disabled"], disabled, "{line}");
    }
}

#[test]
fn the_guid_of_a_directory_of_windows_is_written_as_there() {
    let text = "objectGUID:: AQIDBAUGBwgJCgsMDQ4PEA==";
    let entries = read(&format!("dn: cn=a\ncn: a\n{text}\nuserPassword: {HASH}\n"));
    assert_eq!(values(&entries[0])["sub"], "04030201-0605-0807-090a-0b0c0d0e0f10");
}
