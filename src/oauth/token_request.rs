//! The supported grants of `/token` (RFC 6749 §4.3, §6).

use super::client::GrantType;
use super::error::Reason;
use super::parameter::Parameter;
use super::parameters::Parameters;
use crate::Secret;

/// The grants that this service supports.
pub const SUPPORTED_GRANTS: [GrantType; 2] = [GrantType::Password, GrantType::RefreshToken];

/// Reads `grant_type`, which is compared exactly.
///
/// # Errors
/// [`Reason::MissingParameter`] if it is absent, [`Reason::UnsupportedGrantType`] if this service does not have it.
pub fn read_grant_type(form: &Parameters) -> Result<GrantType, Reason> {
    let text = form.require(Parameter::GrantType)?;
    SUPPORTED_GRANTS
        .into_iter()
        .find(|grant| grant.as_str() == text.expose())
        .ok_or(Reason::UnsupportedGrantType)
}

/// The parameters of the password grant (RFC 6749 §4.3.2).
#[derive(Debug)]
pub struct PasswordGrant<'a> {
    /// As presented: not yet mapped.
    pub username: &'a Secret,
    /// As presented: not yet normalised.
    pub password: &'a Secret,
    /// A one-time password or a recovery code, if one was sent: something beside blanks and hyphens, which do not matter.
    pub otp: Option<&'a Secret>,
}

impl<'a> PasswordGrant<'a> {
    /// Reads user name and password, which are required, and the code.
    ///
    /// # Errors
    /// [`Reason::MissingParameter`] for the first that is absent or empty.
    pub fn read(form: &'a Parameters) -> Result<Self, Reason> {
        let is_code =
            |sent: &&Secret| sent.expose().chars().any(|typed| !matches!(typed, ' ' | '-'));
        Ok(Self {
            username: form.require(Parameter::Username)?,
            password: form.require(Parameter::Password)?,
            otp: form.find(Parameter::Otp).filter(is_code),
        })
    }
}
