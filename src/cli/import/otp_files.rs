//! The authenticators of a user as other programs export them: `otpauth` URIs, secrets in base32, credentials of
//! Keycloak, and factors of Supabase.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use jeton_crypto::one_time_password::OtpSecret;
use jeton_oauth::otpauth::{self, OtpParameters};
use jeton_oauth::second_factor::{AUTHENTICATORS_MAX, check_name};

/// An authenticator as a file has it.
#[derive(Debug)]
pub struct ReadAuthenticator {
    /// What the user calls it.
    pub name: String,
    /// Its secret.
    pub secret: OtpSecret,
}

/// What an authenticator without a name is called.
const UNNAMED: &str = "authenticator";

/// Reads the authenticators of a user: one, or a list. What is no one-time password, or was never proved, is passed
/// over.
///
/// # Errors
/// A sentence that repeats nothing of what stands there.
pub(super) fn read(value: &Value) -> Result<Vec<ReadAuthenticator>, String> {
    let read = match value {
        Value::Array(values) => {
            values.iter().filter_map(|value| read_one(value).transpose()).collect()
        }
        // Programs that write CSV put JSON into a cell.
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            let value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
            read(&value)
        }
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        one => read_one(one).transpose().into_iter().collect(),
    };
    let read: Vec<ReadAuthenticator> = without_repeats(read?);
    if read.len() > AUTHENTICATORS_MAX {
        return Err(format!("has more than {AUTHENTICATORS_MAX} authenticators"));
    }
    Ok(read)
}

/// Leaves out authenticators whose secret is that of an earlier one: a code that the one has used up would be good once
/// more at the other.
fn without_repeats(read: Vec<ReadAuthenticator>) -> Vec<ReadAuthenticator> {
    let mut kept: Vec<ReadAuthenticator> = Vec::new();
    for one in read {
        if !kept.iter().any(|own| own.secret.has_secret_of(&one.secret)) {
            kept.push(one);
        }
    }
    kept
}

fn read_one(value: &Value) -> Result<Option<ReadAuthenticator>, String> {
    match value {
        Value::String(text) if text.starts_with("otpauth:") => {
            let (octets, parameters) = otpauth::from_uri(text).map_err(|error| error.to_string())?;
            named(None, octets, parameters).map(Some)
        }
        Value::String(text) => {
            named(None, base32(Some(text))?, OtpParameters::default()).map(Some)
        }
        Value::Object(members) if members.contains_key("secretData") => of_keycloak(members),
        Value::Object(members) if members.contains_key("factor_type") => of_supabase(members),
        _ => Err("is neither an otpauth URI, a secret in base32, a credential of Keycloak, nor a factor of Supabase"
            .to_owned()),
    }
}

/// A credential of Keycloak's export: `secretData` and `credentialData` are texts of JSON. The value is the secret
/// itself, as text, unless `secretEncoding` says that it is base32.
fn of_keycloak(members: &Map<String, Value>) -> Result<Option<ReadAuthenticator>, String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let json = |name: &str| -> Result<Value, String> {
        let text = text(name).ok_or_else(|| format!("has no {name}"))?;
        serde_json::from_str(text).map_err(|_| format!("has a {name} that is no JSON"))
    };
    let data = json("credentialData")?;
    let of = |name: &str| data.get(name);
    if text("type") != Some("otp") || of("subType").and_then(Value::as_str) != Some("totp") {
        return Ok(None);
    }
    let secret = json("secretData")?;
    let value =
        secret.get("value").and_then(Value::as_str).ok_or("has no value in its secretData")?;
    let is_base32 = of("secretEncoding").and_then(Value::as_str) == Some("BASE32");
    let octets =
        if is_base32 { base32(Some(value))? } else { Zeroizing::new(value.as_bytes().to_vec()) };
    let usual = OtpParameters::default();
    let algorithm = of("algorithm").and_then(Value::as_str).map_or(Ok(usual.algorithm), str::parse);
    let digits = of("digits").and_then(Value::as_u64).and_then(|digits| u32::try_from(digits).ok());
    let period = of("period").and_then(Value::as_i64).unwrap_or(usual.period);
    let parameters = algorithm
        .and_then(|algorithm| OtpParameters::new(algorithm, digits.unwrap_or(usual.digits), period))
        .map_err(|error| error.to_string())?;
    named(text("userLabel"), octets, parameters).map(Some)
}

/// A row of Supabase's `auth.mfa_factors`. Its secrets are base32, unless it was told to encrypt them.
fn of_supabase(members: &Map<String, Value>) -> Result<Option<ReadAuthenticator>, String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if text("factor_type") != Some("totp") || text("status") == Some("unverified") {
        return Ok(None);
    }
    named(text("friendly_name"), base32(text("secret"))?, OtpParameters::default()).map(Some)
}

fn base32(text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, String> {
    let octets = text.and_then(otpauth::from_base32);
    octets.ok_or_else(|| "has a secret that is not base32".to_owned())
}

fn named(
    name: Option<&str>,
    octets: Zeroizing<Vec<u8>>,
    parameters: OtpParameters,
) -> Result<ReadAuthenticator, String> {
    let name = name.filter(|name| !name.trim().is_empty()).unwrap_or(UNNAMED);
    check_name(name).map_err(|error| error.to_string())?;
    let secret = OtpSecret::from_octets(octets, parameters).map_err(|error| error.to_string())?;
    Ok(ReadAuthenticator { name: name.to_owned(), secret })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn codes(value: &Value) -> Result<Vec<(String, String)>, String> {
        let read = read(value)?.into_iter();
        Ok(read.map(|own| (own.name, own.secret.code(1).expose().to_owned())).collect())
    }

    /// The secret of RFC 4226 appendix D in each form.
    #[test]
    fn the_forms_of_other_programs_are_read() {
        let base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let credential_data = json!({
            "subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1",
        });
        let keycloak = json!({
            "type": "otp", "userLabel": "phone", "createdDate": 1,
            "secretData": json!({ "value": "12345678901234567890" }).to_string(),
            "credentialData": credential_data.to_string(),
        });
        let supabase = |status: &str| json!({ "factor_type": "totp", "friendly_name": "phone", "status": status, "secret": base32 });
        let uri = format!("otpauth://totp/x?secret={base32}");
        let one = |name: &str| Ok(vec![(name.to_owned(), "287082".to_owned())]);
        assert_eq!(codes(&keycloak), one("phone"));
        assert_eq!(
            codes(
                &json!([keycloak, { "type": "password", "secretData": "{}", "credentialData": "{}" }])
            ),
            one("phone")
        );
        assert_eq!(codes(&json!(keycloak.to_string())), one("phone"));
        assert_eq!(codes(&supabase("verified")), one("phone"));
        assert_eq!(codes(&supabase("unverified")), Ok(Vec::new()));
        assert_eq!(codes(&json!(uri)), one(UNNAMED));
        assert_eq!(codes(&json!(base32)), one(UNNAMED));
        assert_eq!(codes(&json!([base32, uri, keycloak])), one(UNNAMED), "one secret counts once");
        assert_eq!(codes(&json!("")), Ok(Vec::new()));
        let secrets: Vec<String> =
            ('A'..='K').map(|first| format!("{first}{}", &base32[1..])).collect();
        for bad in [json!(7), json!("!"), json!("MY"), json!({}), json!("{"), json!(secrets)] {
            assert!(codes(&bad).is_err(), "{bad}");
        }
    }
}
