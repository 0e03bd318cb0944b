//! The access token: a JWT of the RFC 9068 profile. Here are its claims and their exact form;
//! `crypto/` signs and verifies.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::client::{AccessTokenType, Audience};
use super::identifier::{ClientId, KeyId, SessionId, UserId};
use super::scope::Scope;
use crate::Timestamp;

/// The claims of RFC 9068 §2.2, with the session and what the client is configured to get.
///
/// Read back strictly: a member that occurs twice or has another type makes the whole token
/// unacceptable (RFC 8725 §3.7). Members of a newer version are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// `typ` of the header.
    #[serde(skip)]
    pub typ: AccessTokenType,
    /// The issuer, exactly as configured.
    pub iss: String,
    /// The user.
    pub sub: UserId,
    /// The resource servers it is for.
    pub aud: AudienceClaim,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it stops being valid, to the second.
    pub exp: Timestamp,
    /// Its own name: 128 random bits.
    pub jti: String,
    /// When the user's password was last checked (RFC 9068 §2.2.1).
    pub auth_time: Timestamp,
    /// What was granted.
    pub scope: Scope,
    /// The session it belongs to.
    pub sid: SessionId,
    /// The user's roles, for clients configured to get them (RFC 9068 §2.2.3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The user's name, for clients configured to get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
}

/// `aud`: one string, or several in an array (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AudienceClaim {
    /// One audience.
    One(Audience),
    /// An array.
    Several(Vec<Audience>),
}

impl AudienceClaim {
    /// Spells the audiences; `array` asks for an array even of one.
    #[must_use]
    pub fn new(audiences: Vec<Audience>, array: bool) -> Self {
        match <[Audience; 1]>::try_from(audiences) {
            Ok([one]) if !array => Self::One(one),
            Ok(one) => Self::Several(one.into()),
            Err(several) => Self::Several(several),
        }
    }

    /// The audiences, however they are spelled.
    #[must_use]
    pub fn audiences(&self) -> &[Audience] {
        match self {
            Self::One(audience) => std::slice::from_ref(audience),
            Self::Several(audiences) => audiences,
        }
    }
}

/// The JOSE header. No member beside these three is accepted back, so that nothing a token
/// carries can choose a key or an algorithm (RFC 8725 §3.10).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

/// The encoded header of all tokens of this type that one key signs.
#[must_use]
pub fn encode_header(key: &KeyId, typ: AccessTokenType) -> String {
    let header = Header { alg: "RS256", kid: key.as_str(), typ: typ.as_str() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).expect("a struct of strings is JSON"))
}

/// A presented token, taken apart but not yet verified.
#[derive(Debug)]
pub struct UnverifiedToken<'a> {
    /// The key it claims to be signed with: a name to look up, nothing else.
    pub key: KeyId,
    /// The octets that the signature is over (RFC 7515 §5.2).
    pub signing_input: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    typ: AccessTokenType,
    claims: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes a compact serialisation apart; `None` for anything that this service cannot have
    /// made: another part count, padding, white space, non-canonical base64url, a header with any
    /// other member or value (RFC 7515 §5.2, RFC 9068 §4).
    #[must_use]
    pub fn read(token: &'a str) -> Option<Self> {
        let (signing_input, signature) = token.rsplit_once('.')?;
        let (header, claims) = signing_input.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let header = decode_object(header)?;
        let header: Header<'_> = serde_json::from_str(&header).ok()?;
        if header.alg != "RS256" {
            return None;
        }
        let typ = match header.typ {
            "application/at+jwt" => AccessTokenType::AccessToken,
            typ => typ.parse().ok()?,
        };
        Some(Self {
            key: header.kid.parse().ok()?,
            signing_input: signing_input.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            typ,
            claims,
        })
    }

    /// The claims; to be looked at only after the signature was verified (RFC 8725 §3.3).
    #[must_use]
    pub fn claims(&self) -> Option<AccessTokenClaims> {
        let claims = serde_json::from_str(&decode_object(self.claims)?).ok()?;
        Some(AccessTokenClaims { typ: self.typ, ..claims })
    }
}

/// Decodes a part that must be a JSON object (RFC 7515 §4, RFC 7519 §7.2): UTF-8 as a whole, what is
/// not known here included, and no array, which serde would take for the members in their order.
fn decode_object(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    text.starts_with('{').then_some(text)
}

/// Encodes the claims and joins them to a header: what is to be signed.
#[must_use]
pub fn signing_input(encoded_header: &str, claims: &AccessTokenClaims) -> String {
    let claims = serde_json::to_vec(claims).expect("claims of strings and numbers are JSON");
    let mut input = String::with_capacity(encoded_header.len() + claims.len() * 4 / 3 + 360);
    input.push_str(encoded_header);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut input);
    input
}

/// Appends the signature: the compact serialisation.
#[must_use]
pub fn attach_signature(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signing_input);
    signing_input
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515 §4, RFC 7519 §7.2: an array with the values of the members is no header, and no claims.
    #[test]
    fn header_and_claims_are_objects() {
        let header = encode_header(&KeyId::from_octets(&[1]), AccessTokenType::default());
        let claims = r#"{"iss":"i","sub":"s","aud":"a","client_id":"c","iat":1,"exp":2,"jti":"j",
            "auth_time":1,"scope":"read","sid":"d"}"#;
        let list = r#"["i","s","a","c",1,2,"j",1,"read","d",null,null]"#;
        let token = |header: &str, claims: &str| {
            format!("{header}.{}.AAAA", URL_SAFE_NO_PAD.encode(claims))
        };
        let says = |claims: &str| {
            UnverifiedToken::read(&token(&header, claims)).expect("a header").claims().is_some()
        };
        assert!(says(claims) && !says(list) && !says("null") && !says(""));
        let list = URL_SAFE_NO_PAD.encode(r#"["RS256","k","at+jwt"]"#);
        assert!(UnverifiedToken::read(&token(&list, claims)).is_none());
    }
}
