//! The form that every endpoint takes, read strictly (RFC 6749 Appendix B).
//!
//! Many decoders keep a broken percent escape as text, and replace octets that are not UTF-8. This one refuses both,
//! because two readers of one request must never disagree.

use zeroize::Zeroizing;

use super::error::Reason;
use super::parameter::Parameter;
use crate::Secret;

/// More pairs than any honest request has.
const PAIRS_MAX: usize = 64;
/// More `resource` values than any honest request has (RFC 8707 §2 lets it repeat).
const RESOURCES_MAX: usize = 16;

/// The parameters of one request. An empty value counts as absent (RFC 6749 §3.2).
#[derive(Debug, Default)]
pub struct Parameters {
    /// Every parameter that was sent, with its value unless that is empty.
    single: Vec<(Parameter, Option<Secret>)>,
    resources: Vec<Secret>,
}

impl Parameters {
    /// Reads a form.
    ///
    /// # Errors
    /// A reason with the code `invalid_request` if the form is ambiguous, malformed or larger than documented.
    pub fn read(content: &[u8]) -> Result<Self, Reason> {
        let parts = || content.split(|&octet| octet == b'&');
        let pairs: Option<Vec<_>> =
            parts().filter(|part| !part.is_empty()).map(read_pair).collect();
        let pairs = pairs.ok_or(Reason::MalformedForm)?;
        if parts().count() > PAIRS_MAX {
            return Err(Reason::TooManyParameters);
        }
        let mut parameters = Self::default();
        for (name, value) in pairs {
            // RFC 6749 §3.2: unrecognised parameters are ignored.
            let Some(parameter) = Parameter::find(name.expose()) else { continue };
            if value.expose().len() > parameter.length_max() {
                return Err(Reason::OverlongParameter(parameter));
            }
            if !value.expose().chars().all(|character| parameter.allows(character)) {
                return Err(Reason::MalformedParameter(parameter));
            }
            if parameter == Parameter::Resource {
                if parameters.resources.len() == RESOURCES_MAX {
                    return Err(Reason::TooManyParameters);
                }
                if !value.expose().is_empty() {
                    parameters.resources.push(value);
                }
                continue;
            }
            // Sending a parameter once empty and once with a value repeats it too.
            if parameters.single.iter().any(|(sent, _)| *sent == parameter) {
                return Err(Reason::RepeatedParameter(parameter));
            }
            parameters.single.push((parameter, Some(value).filter(|v| !v.expose().is_empty())));
        }
        Ok(parameters)
    }

    /// The value of a parameter, if it was sent and is not empty.
    #[must_use]
    pub fn find(&self, parameter: Parameter) -> Option<&Secret> {
        let (_, value) = self.single.iter().find(|(sent, _)| *sent == parameter)?;
        value.as_ref()
    }

    /// The value of a required parameter.
    ///
    /// # Errors
    /// [`Reason::MissingParameter`] if it is absent or empty.
    pub fn require(&self, parameter: Parameter) -> Result<&Secret, Reason> {
        self.find(parameter).ok_or(Reason::MissingParameter(parameter))
    }

    /// The values of `resource`, in order (RFC 8707 §2).
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(Secret::expose)
    }
}

/// Reads a name and its value. Without `=` the value is empty.
fn read_pair(pair: &[u8]) -> Option<(Secret, Secret)> {
    let end = pair.iter().position(|&octet| octet == b'=').unwrap_or(pair.len());
    let (name, rest) = pair.split_at(end);
    Some((decode(name)?, decode(rest.get(1..).unwrap_or_default())?))
}

/// Decodes `application/x-www-form-urlencoded` octets once and leaves no copy behind. `None` for a broken escape, or
/// for octets that are not UTF-8. The separators are ASCII, so a whole form is UTF-8 exactly if each name and value is.
pub(super) fn decode(content: &[u8]) -> Option<Secret> {
    if !content.iter().any(|octet| matches!(octet, b'+' | b'%')) {
        return std::str::from_utf8(content).ok().map(|text| Secret::new(text.to_owned()));
    }
    let mut decoded = Zeroizing::new(Vec::with_capacity(content.len()));
    let mut rest = content.iter();
    while let Some(&octet) = rest.next() {
        decoded.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*rest.next()?).to_digit(16);
                let value = digit()? << 4 | digit()?;
                u8::try_from(value).ok()?
            }
            plain => plain,
        });
    }
    std::str::from_utf8(&decoded).ok()?;
    String::from_utf8(std::mem::take(&mut *decoded)).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(form: &str) -> Result<Option<String>, Reason> {
        Parameters::read(form.as_bytes())
            .map(|read| read.find(Parameter::Password).map(|value| value.expose().to_owned()))
    }

    #[test]
    fn decoding_happens_exactly_once_and_strictly() {
        for (form, value) in [
            ("password=a+b%2Bc", "a b+c"),
            ("password=%2541bc", "%41bc"),
            ("password=a=b", "a=b"),
            ("password=x;y", "x;y"),
            ("&&password=x&", "x"),
            ("pass%77ord=x", "x"),
            ("password=+%25%26%2B%C2%A3%E2%82%AC", " %&+£€"),
        ] {
            assert_eq!(password(form), Ok(Some(value.to_owned())), "{form}");
        }
        for form in ["password=100%", "password=%zz", "password=%4", "password=%FF", "%=x"] {
            assert_eq!(password(form), Err(Reason::MalformedForm), "{form}");
        }
    }
}
