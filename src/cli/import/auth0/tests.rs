use std::io::Cursor;

use serde_json::json;

use super::*;

fn entries(text: &str) -> (Vec<Entry>, Option<String>) {
    let mut reader = read(Cursor::new(text.to_owned())).expect("a file");
    let entries = reader.by_ref().collect::<Result<_, _>>().expect("entries");
    (entries, reader.remark())
}

fn user(entry: &Entry) -> Value {
    let Entry::User(record) = entry else { panic!("a user: {entry:?}") };
    Value::Object(record.values.clone().expect("values"))
}

/// The export of hashes says who somebody is in another way than the other one.
#[test]
fn the_sub_is_the_user_id_of_auth0() {
    for (members, sub) in [
        (json!({"_id": {"$oid": "5d"}, "email": "a@x"}), "auth0|5d"),
        (json!({"_id": {"$oid": "5d"}, "alt_id": "euclid", "email": "a@x"}), "auth0|euclid"),
        (json!({"_id": "5d", "email": "a@x"}), "auth0|5d"),
        (json!({"user_id": "auth0|5d", "email": "a@x"}), "auth0|5d"),
        (json!({"user_id": "5d", "email": "a@x"}), "auth0|5d"),
    ] {
        let mut members = members;
        members["passwordHash"] = "$2b$".into();
        let (entries, _) = entries(&members.to_string());
        assert_eq!(user(&entries[0])["sub"], sub, "{members}");
    }
}

#[test]
fn the_name_is_the_address_wherever_it_stands() {
    let identifiers =
        json!([{"type": "phone"}, {"type": "email", "value": "a@x", "verified": true}]);
    for (members, name, verified) in [
        (json!({"email": "a@x", "username": "a", "email_verified": false}), "a@x", Value::Null),
        (json!({"username": "a"}), "a", Value::Null),
        (json!({"identifiers": identifiers}), "a@x", json!(true)),
        (json!({"phone_number": "+1"}), "+1", Value::Null),
    ] {
        let mut members = members;
        members["_id"] = "1".into();
        members["passwordHash"] = "$2b$".into();
        let (entries, remark) = entries(&members.to_string());
        let user = user(&entries[0]);
        assert_eq!((&user["username"], &user["email_verified"]), (&json!(name), &verified));
        assert!(remark.is_some_and(|remark| remark.starts_with("Nothing says of 1 users")));
    }
}

/// Whatever a line is, it is one entry; what can be neither is said, and nothing of it is repeated.
#[test]
fn lines_are_users_clients_or_wrong() {
    let text = "{\"user_id\": \"auth0|1\", \"email\": \"a@x\"}\n\n{\"client_id\": \"a\", \"global\": true}\n\
                {\"word\": \"hidden\"}\nhidden\n{\"_id\": \"1\", \"passwordHash\": \"a\", \"custom_password_hash\": {}}\n";
    let (entries, _) = entries(text);
    let [
        Entry::LeftOut(first),
        Entry::LeftOut(second),
        Entry::User(other),
        Entry::User(text),
        Entry::User(twice),
    ] = &entries[..]
    else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("user without a password", "client of Auth0 itself")
    );
    for (record, place, sentence) in
        [(other, "line 4", "neither a user of Auth0"), (text, "line 5", "not JSON")]
    {
        let problem = record.values.as_ref().expect_err("no values");
        assert!(problem.contains(sentence) && !problem.contains("hidden"), "{problem}");
        assert_eq!(record.place.to_string(), place);
    }
    assert!(twice.bad_hash.as_ref().is_some_and(|problem| problem.contains("is there twice")));
}

#[test]
fn hashes_that_are_not_read_say_why() {
    let digest = |more: Value| {
        let mut custom =
            json!({"algorithm": "sha256", "hash": {"value": "ab".repeat(32), "encoding": "hex"}});
        custom
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        custom
    };
    for (custom, sentence) in [
        (
            json!({"algorithm": "md5", "hash": {"value": "00"}}),
            "of an algorithm that is not read here",
        ),
        (digest(json!({"password": {"encoding": "utf16le"}})), "in another encoding than UTF-8"),
        (digest(json!({"salt": {"value": "x", "position": "middle"}})), "no position of the salt"),
        (digest(json!({"salt": {"value": "x", "encoding": "hex"}})), "no salt that can be read"),
        (json!({"algorithm": "scrypt", "hash": {"value": "00"}, "cost": 3}), "no cost"),
        (json!({"algorithm": "scrypt", "hash": {"value": "00"}}), "no salt"),
        (
            json!({"algorithm": "pbkdf2", "hash": {"value": "$pbkdf2-sha512$x=1$YQ$YQ"}}),
            "no parameters",
        ),
        (json!({"algorithm": "hmac", "hash": {"value": "00", "digest": "sha1"}}), "no key"),
        (json!({"algorithm": 7}), "is no custom_password_hash"),
    ] {
        let problem = hashes::text(custom).expect_err(sentence);
        assert!(problem.contains(sentence), "{problem}");
    }
    let text = hashes::text(digest(json!({"salt": {"value": "x", "position": "suffix"}})));
    assert!(text.is_ok_and(|text| text.starts_with("$digest$h=sha256,salt=after$")));
}

/// What an application can do here, and that its secret must be there.
#[test]
fn applications_are_clients_if_they_use_the_password_grant() {
    let app = |more: Value| {
        let mut app = json!({"client_id": "a", "client_secret": "s", "grant_types": ["password"]});
        app.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let (mut entries, _) = entries(&format!("[{app}]"));
        entries.remove(0)
    };
    for (more, problem) in [
        (json!({"client_secret": null}), "--reveal-secrets"),
        (json!({"client_authentication_methods": {"private_key_jwt": {}}}), "by a key"),
        (json!({"grant_types": "password"}), "a member of it is not as"),
    ] {
        let Entry::Client(client) = app(more) else { panic!("a client") };
        assert!(client.settings.as_ref().is_err_and(|said| said.contains(problem)), "{client:?}");
    }
    let refresh = json!({"token_lifetime": 60, "idle_token_lifetime": 50, "infinite_idle_token_lifetime": true});
    let Entry::Client(client) =
        app(json!({"token_endpoint_auth_method": "none", "refresh_token": refresh}))
    else {
        panic!("a client")
    };
    let settings = client.settings.expect("settings");
    assert!(settings.public && client.secrets.is_empty());
    assert_eq!(settings.session_lifetime, Some(jeton_oauth::Seconds::new(60)));
    assert_eq!(settings.refresh_token_idle, None);
    // With a secret it may introspect, if a mapping says so; without one it can do nothing here.
    let Entry::Client(client) = app(json!({"grant_types": ["implicit"]})) else {
        panic!("a client")
    };
    assert!(client.unused.is_some() && client.settings.is_ok_and(|own| own.grants.is_empty()));
    let page = json!({"grant_types": ["implicit"], "token_endpoint_auth_method": "none"});
    assert!(matches!(app(page), Entry::LeftOut(_)));
}
