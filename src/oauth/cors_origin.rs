//! The origin of a web page that may call from a browser (RFC 6454).

use std::str::FromStr;

use crate::Invalid;

/// An allowed origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Any scheme and port on a loopback host.
    Loopback,
    /// This origin, compared exactly.
    Exact(String),
}

impl CorsOrigin {
    /// Whether a request with this `Origin` is allowed.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Exact(own) => own == origin,
            Self::Loopback => origin.split_once("://").is_some_and(|(scheme, authority)| {
                let host = match authority.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => host,
                    _ => authority,
                };
                matches!(scheme, "http" | "https")
                    && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
            }),
        }
    }
}

impl FromStr for CorsOrigin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        // Apps that contain web pages have schemes of their own, as capacitor://localhost (RFC 3986 §3.1).
        let is_scheme = |scheme: &str| {
            let of_scheme = |octet: u8| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet);
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(of_scheme)
        };
        match text.split_once("://") {
            Some((scheme, authority))
                if is_scheme(scheme)
                    && !authority.is_empty()
                    && !authority.contains(['/', '?', '#', '*', '@'])
                    && !text
                        .contains(|c: char| c.is_ascii_uppercase() || !c.is_ascii_graphic()) =>
            {
                Ok(Self::Exact(text.to_owned()))
            }
            _ => Err(Invalid::new(format!(
                "{text:?} is not an origin: write it as a browser sends it, in lower case and \
                 without a path, as https://app.example.com"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_exactly() {
        let exact: CorsOrigin = "https://good.example".parse().expect("a valid origin");
        assert!(exact.allows("https://good.example"));
        for other in [
            "http://good.example",
            "https://good.example:8443",
            "https://good.example.evil",
            "null",
        ] {
            assert!(!exact.allows(other), "{other}");
        }
        for own in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"] {
            assert!(CorsOrigin::Loopback.allows(own), "{own}");
        }
        for other in
            ["http://localhost.evil", "http://127.0.0.1.evil:80", "null", "file://localhost"]
        {
            assert!(!CorsOrigin::Loopback.allows(other), "{other}");
        }
        for bad in ["*", "https://", "https://a/", "https://A.example", "a.example", "null"] {
            assert!(bad.parse::<CorsOrigin>().is_err(), "{bad}");
        }
    }
}
