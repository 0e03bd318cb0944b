//! HKDF with SHA-256 (RFC 5869), for keys of 256 bits.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The length of what is derived, in octets. It is that of one SHA-256 output, so that one round of «expand» is enough.
const LENGTH: usize = 32;

/// HMAC-SHA-256 of `parts`, one after the other.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; LENGTH]> {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Derives a key of 256 bits from `secret`. Without a salt, pass an empty one (§2.2). `info` says what the key is for.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; LENGTH]> {
    let extracted = hmac_sha256(salt, &[secret]);
    hmac_sha256(&*extracted, &[info, &[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendices A.1 and A.3: the first 256 bits.
    #[test]
    fn the_vectors_of_the_rfc_are_derived() {
        let secret = [0x0b; 22];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let hex = |octets: &[u8]| base16ct::lower::encode_string(octets);
        assert_eq!(
            hex(&*derive(&secret, &salt, &info)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
        assert_eq!(
            hex(&*derive(&secret, &[], &[])),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }
}
