//! The access token (RFC 9068): its claims and their encoding. `crypto/` signs and verifies it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::client::{AccessTokenType, Audience};
use super::identifier::{ClientId, KeyId, SessionId, UserId};
use super::scope::Scope;
use crate::Timestamp;

/// The claims of RFC 9068 §2.2, the session, and the optional claims that the client is configured to get.
///
/// Reading is strict: a token with a repeated member or a member of another type is refused (RFC 8725 §3.7). Unknown
/// members are ignored, because a newer version may have added them.
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
    /// When it expires: from this second on it is not valid.
    pub exp: Timestamp,
    /// The token's identifier: 128 random bits.
    pub jti: String,
    /// When the user's password, and one-time password if there was one, were last checked (RFC 9068 §2.2.1).
    pub auth_time: Timestamp,
    /// How the user authenticated (RFC 9068 §2.2.1, RFC 8176). Absent from tokens of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// What that is worth (RFC 9068 §2.2.1); absent without a second factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// The granted scope.
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
    /// A string.
    One(Audience),
    /// An array.
    Several(Vec<Audience>),
}

impl AudienceClaim {
    /// The claim for these audiences. If `array` is true, even one audience is in an array.
    #[must_use]
    pub fn new(audiences: Vec<Audience>, array: bool) -> Self {
        match <[Audience; 1]>::try_from(audiences) {
            Ok([one]) if !array => Self::One(one),
            Ok(one) => Self::Several(one.into()),
            Err(several) => Self::Several(several),
        }
    }

    /// The audiences of either form.
    #[must_use]
    pub fn audiences(&self) -> &[Audience] {
        match self {
            Self::One(audience) => std::slice::from_ref(audience),
            Self::Several(audiences) => audiences,
        }
    }
}

/// The JOSE header. Other members are refused, so that a token cannot choose a key or algorithm (RFC 8725 §3.10).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

/// The encoded header of the tokens of this type that this key signs.
#[must_use]
pub fn encode_header(key: &KeyId, typ: AccessTokenType) -> String {
    let header = Header { alg: "RS256", kid: key.as_str(), typ: typ.as_str() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).expect("a struct of strings is JSON"))
}

/// A presented token, decoded but not verified.
#[derive(Debug)]
pub struct UnverifiedToken<'a> {
    /// The `kid` in the header. It is unverified: use it only to look up the key.
    pub key: KeyId,
    /// The octets that the signature is over (RFC 7515 §5.2).
    pub signing_input: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
    typ: AccessTokenType,
    claims: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Decodes a compact serialisation. `None` for what this service cannot have made: wrong number of parts, padding,
    /// white space, non-canonical base64url, other header members or values (RFC 7515 §5.2, RFC 9068 §4).
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

    /// The claims, or `None` if they are malformed. Verify the signature first (RFC 8725 §3.3).
    #[must_use]
    pub fn claims(&self) -> Option<AccessTokenClaims> {
        let claims = serde_json::from_str(&decode_object(self.claims)?).ok()?;
        Some(AccessTokenClaims { typ: self.typ, ..claims })
    }
}

/// Decodes a part that must be a JSON object in UTF-8, unknown members included (RFC 7515 §4, RFC 7519 §7.2). It
/// refuses an array, whose elements serde would take for the members in order.
fn decode_object(part: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    text.starts_with('{').then_some(text)
}

/// The text to sign: the encoded header and the encoded claims.
#[must_use]
pub fn signing_input(encoded_header: &str, claims: &AccessTokenClaims) -> String {
    let claims = serde_json::to_vec(claims).expect("claims of strings and numbers are JSON");
    let mut input = String::with_capacity(encoded_header.len() + claims.len() * 4 / 3 + 360);
    input.push_str(encoded_header);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut input);
    input
}

/// Appends the signature, which completes the compact serialisation.
#[must_use]
pub fn attach_signature(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signing_input);
    signing_input
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515 §4, RFC 7519 §7.2: an array with the values of the members is neither header nor claims.
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
