//! The client credentials of a request (RFC 6749 §2.3), read but not verified.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::client::ClientAuthenticationMethod;
use super::error::Reason;
use super::parameter::Parameter;
use super::parameters::{Parameters, decode};
use crate::Secret;

/// What a request says about its client.
#[derive(Debug)]
pub enum ClientCredentials {
    /// No client is named. A lone colon in Basic also means this: API explorers send it when their fields are empty.
    Nobody,
    /// A client is named without a secret (RFC 6749 §3.2.1). An empty secret counts as none (§2.3.1).
    Identified {
        /// The given identifier; it may belong to no client.
        client_id: Secret,
    },
    /// A client is named with a secret.
    Authenticating {
        /// The given identifier; it may belong to no client.
        client_id: Secret,
        /// The given secret.
        client_secret: Secret,
        /// Where identifier and secret were given.
        method: ClientAuthenticationMethod,
    },
}

impl ClientCredentials {
    /// Reads the `Authorization` field lines and the form. The client may use exactly one mechanism.
    ///
    /// # Errors
    /// A reason with the code `invalid_request` for several or contradictory credentials, and one with `invalid_client`
    /// for a malformed Basic header or an unsupported mechanism.
    pub fn read(authorization: &[Secret], form: &Parameters) -> Result<Self, Reason> {
        let from_header = match authorization {
            [] => Self::Nobody,
            [field] => read_basic(field.expose())?,
            // RFC 9110 §11.6.2: the field is not a list.
            _ => return Err(Reason::SeveralClientCredentials),
        };
        let client_id = form.find(Parameter::ClientId);
        let client_secret = form.find(Parameter::ClientSecret);
        let asserts = form.find(Parameter::ClientAssertion).is_some()
            || form.find(Parameter::ClientAssertionType).is_some();

        match (&from_header, client_secret) {
            (Self::Nobody, None) if asserts => Err(Reason::UnsupportedClientAuthentication),
            (_, _) if asserts => Err(Reason::SeveralClientCredentials),
            (Self::Nobody, Some(secret)) => {
                let client_id = client_id.ok_or(Reason::MissingParameter(Parameter::ClientId))?;
                Ok(Self::Authenticating {
                    client_id: client_id.clone(),
                    client_secret: secret.clone(),
                    method: ClientAuthenticationMethod::ClientSecretPost,
                })
            }
            (Self::Nobody, None) => Ok(match client_id {
                Some(client_id) => Self::Identified { client_id: client_id.clone() },
                None => Self::Nobody,
            }),
            // RFC 6749 §2.3: at most one method in each request.
            (_, Some(_)) => Err(Reason::SeveralClientCredentials),
            (
                Self::Identified { client_id: named }
                | Self::Authenticating { client_id: named, .. },
                None,
            ) => match client_id {
                Some(client_id) if client_id != named => Err(Reason::ContradictoryClientId),
                _ => Ok(from_header),
            },
        }
    }
}

/// Reads Basic: decodes base64, splits at the first colon, form-decodes both halves (RFC 7617 §2, RFC 6749 §2.3.1).
fn read_basic(field: &str) -> Result<ClientCredentials, Reason> {
    let (scheme, encoded) = field.trim().split_once(' ').unwrap_or((field.trim(), ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Reason::UnsupportedClientAuthentication);
    }
    let malformed = Reason::MalformedClientCredentials;
    let octets = Zeroizing::new(STANDARD.decode(encoded.trim_matches(' ')).map_err(|_| malformed)?);
    if octets.iter().any(u8::is_ascii_control) {
        return Err(malformed);
    }
    let colon = octets.iter().position(|&octet| octet == b':').ok_or(malformed)?;
    let (user_id, rest) = octets.split_at(colon);
    let client_id = decode(user_id).ok_or(malformed)?;
    let client_secret = decode(rest.get(1..).unwrap_or_default()).ok_or(malformed)?;
    match (client_id.expose().is_empty(), client_secret.expose().is_empty()) {
        (true, true) => Ok(ClientCredentials::Nobody),
        (true, false) => Err(malformed),
        (false, true) => Ok(ClientCredentials::Identified { client_id }),
        (false, false) => Ok(ClientCredentials::Authenticating {
            client_id,
            client_secret,
            method: ClientAuthenticationMethod::ClientSecretBasic,
        }),
    }
}
