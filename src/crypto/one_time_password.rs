//! One-time passwords: HOTP (RFC 4226) over time steps (RFC 6238), and recovery codes.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::random;
use jeton_oauth::otpauth::{self, OtpAlgorithm, OtpParameters};
use jeton_oauth::{Invalid, Secret};

/// The shortest secret in octets that is taken from elsewhere (RFC 4226 §4 R6 asks for 16; many services make 10).
const SECRET_LENGTH_MIN: usize = 10;
/// The longest.
const SECRET_LENGTH_MAX: usize = 128;

/// The secret of an authenticator, with what its codes are like.
#[derive(Clone)]
pub struct OtpSecret {
    octets: Zeroizing<Vec<u8>>,
    parameters: OtpParameters,
}

/// A secret as it is sealed.
#[derive(Serialize, Deserialize)]
struct Opened {
    /// In base32.
    secret: String,
    #[serde(flatten)]
    parameters: OtpParameters,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl std::fmt::Debug for OtpSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OtpSecret")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

impl OtpSecret {
    /// Makes a random secret, as long as the output of its hash function (RFC 4226 §4, RFC 6238 §5.1).
    #[must_use]
    pub fn random(parameters: OtpParameters) -> Self {
        let octets = match parameters.algorithm {
            OtpAlgorithm::Sha1 => random::octets::<20>().to_vec(),
            OtpAlgorithm::Sha256 => random::octets::<32>().to_vec(),
            OtpAlgorithm::Sha512 => random::octets::<64>().to_vec(),
        };
        Self { octets: Zeroizing::new(octets), parameters }
    }

    /// Takes a secret that was made elsewhere.
    ///
    /// # Errors
    /// A sentence: it is shorter than 80 bits, or longer than any.
    pub fn from_octets(
        octets: Zeroizing<Vec<u8>>,
        parameters: OtpParameters,
    ) -> Result<Self, Invalid> {
        if !(SECRET_LENGTH_MIN..=SECRET_LENGTH_MAX).contains(&octets.len()) {
            return Err(Invalid::new(format!(
                "the secret of an authenticator has {SECRET_LENGTH_MIN} to {SECRET_LENGTH_MAX} octets"
            )));
        }
        Ok(Self { octets, parameters })
    }

    /// What its codes are like.
    #[must_use]
    pub fn parameters(&self) -> OtpParameters {
        self.parameters
    }

    /// The `otpauth` URI, which holds the secret.
    #[must_use]
    pub fn uri(&self, issuer: &str, account: &str) -> Secret {
        otpauth::to_uri(issuer, account, &otpauth::to_base32(&self.octets), self.parameters)
    }

    /// Whether both make their codes from one secret.
    #[must_use]
    pub fn has_secret_of(&self, other: &Self) -> bool {
        self.octets.ct_eq(&other.octets).into()
    }

    /// The code of a time step.
    #[must_use]
    pub fn code(&self, step: i64) -> Secret {
        let code = hotp(&self.octets, self.parameters.algorithm, step.cast_unsigned());
        let digits = self.parameters.digits;
        let width = usize::try_from(digits).unwrap_or_default();
        Secret::new(format!("{:0width$}", code % 10_u32.pow(digits)))
    }

    /// The first of these time steps that has this code. All are computed, and compared in constant time.
    #[must_use]
    pub fn find_step(&self, code: &str, steps: impl Iterator<Item = i64>) -> Option<i64> {
        steps.fold(None, |found, step| {
            let same = bool::from(self.code(step).expose().as_bytes().ct_eq(code.as_bytes()));
            found.or(same.then_some(step))
        })
    }

    /// The form that is sealed.
    #[must_use]
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let secret = otpauth::to_base32(&self.octets).expose().to_owned();
        let opened = Opened { secret, parameters: self.parameters };
        Zeroizing::new(serde_json::to_vec(&opened).expect("texts and numbers are JSON"))
    }

    /// Reads that form; `None` for anything else.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let opened: Opened = serde_json::from_slice(json).ok()?;
        let OtpParameters { algorithm, digits, period } = opened.parameters;
        let parameters = OtpParameters::new(algorithm, digits, period).ok()?;
        Self::from_octets(otpauth::from_base32(&opened.secret)?, parameters).ok()
    }
}

/// A code before it is cut to its digits (RFC 4226 §5.3).
fn hotp(key: &[u8], algorithm: OtpAlgorithm, counter: u64) -> u32 {
    let message = counter.to_be_bytes();
    macro_rules! mac {
        ($hash:ty) => {{
            let mut mac =
                Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(&message);
            mac.finalize().into_bytes().to_vec()
        }};
    }
    let mac = Zeroizing::new(match algorithm {
        OtpAlgorithm::Sha1 => mac!(Sha1),
        OtpAlgorithm::Sha256 => mac!(Sha256),
        OtpAlgorithm::Sha512 => mac!(Sha512),
    });
    let offset = usize::from(mac.last().copied().unwrap_or_default() & 0xf);
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(mac.iter().skip(offset)) {
        *to = *from;
    }
    u32::from_be_bytes(four) & 0x7fff_ffff
}

/// Makes a recovery code: 80 random bits as `xxxx-xxxx-xxxx-xxxx`.
#[must_use]
pub fn recovery_code() -> Secret {
    let text = otpauth::to_base32(&random::octets::<10>());
    let parts = text.expose().as_bytes().chunks(4).map(String::from_utf8_lossy);
    Secret::new(parts.collect::<Vec<_>>().join("-").to_ascii_lowercase())
}

/// What was sent as a one-time password, as it is compared: without blanks and hyphens, in lower case.
#[must_use]
pub fn prepare_code(sent: &Secret) -> Secret {
    let kept = sent.expose().chars().filter(|character| !matches!(character, ' ' | '-'));
    Secret::new(kept.map(|character| character.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(octets: &[u8], algorithm: OtpAlgorithm, digits: u32) -> OtpSecret {
        let parameters = OtpParameters::new(algorithm, digits, 30).expect("good ones");
        OtpSecret::from_octets(Zeroizing::new(octets.to_vec()), parameters).expect("long enough")
    }

    /// RFC 4226 appendix D. [O-01]
    #[test]
    fn codes_are_those_of_rfc_4226() {
        let secret = secret(b"12345678901234567890", OtpAlgorithm::Sha1, 6);
        let codes = (0..10).map(|counter| secret.code(counter).expose().to_owned());
        let expected = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        assert!(codes.eq(expected));
    }

    /// RFC 6238 appendix B, with the seeds of its erratum 2866. [O-01]
    #[test]
    fn codes_are_those_of_rfc_6238() {
        use OtpAlgorithm::{Sha1, Sha256, Sha512};
        let seed: Vec<u8> = b"1234567890".iter().copied().cycle().take(64).collect();
        for (time, codes) in [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ] {
            for ((algorithm, length), code) in
                [(Sha1, 20), (Sha256, 32), (Sha512, 64)].into_iter().zip(codes)
            {
                let secret = secret(&seed[..length], algorithm, 8);
                let step = secret.parameters().step(jeton_oauth::Timestamp(time));
                assert_eq!(secret.code(step).expose(), code, "{algorithm} at {time}");
                assert_eq!(secret.find_step(code, step - 1..=step + 1), Some(step));
            }
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_sealed_form() {
        let parameters = OtpParameters::new(OtpAlgorithm::Sha512, 8, 60).expect("good ones");
        let secret = OtpSecret::random(parameters);
        let back = OtpSecret::from_json(&secret.to_json()).expect("its own");
        assert_eq!((&back.octets, back.parameters), (&secret.octets, parameters));
        assert!(OtpSecret::from_json(b"{}").is_none());
        assert!(!format!("{secret:?}").contains("octets"));
    }

    #[test]
    fn a_recovery_code_is_four_groups_and_is_read_however_it_is_typed() {
        let code = recovery_code();
        assert_eq!(code.expose().len(), 19);
        assert_ne!(code, recovery_code());
        let typed = Secret::new(code.expose().to_uppercase().replace('-', " "));
        assert_eq!(prepare_code(&typed), prepare_code(&code));
    }
}
