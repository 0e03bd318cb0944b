//! The issuer identifier (RFC 8414 §2) and the addresses that follow from it.

use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::Invalid;

/// An `https` URL without query and fragment, or `http` on a loopback host. The text is kept as it is, because
/// verifiers compare it code point by code point (RFC 8414 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    text: String,
    /// Scheme and authority.
    origin: String,
    /// The path without a trailing slash: empty, or beginning with a slash.
    path: String,
}

impl Issuer {
    /// The issuer as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of an endpoint. `path` begins with a slash.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.path)
    }

    /// The path at which an endpoint is served: the path of the issuer, then `path`.
    #[must_use]
    pub fn endpoint_path(&self, path: &str) -> String {
        format!("{}{path}", self.path)
    }

    /// The path of a well-known document. The issuer's path comes last (RFC 8414 §3.1).
    #[must_use]
    pub fn well_known_path(&self, name: &str) -> String {
        format!("/.well-known/{name}{}", self.path)
    }
}

impl FromStr for Issuer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The error does not repeat the URL, which may contain a password.
        let refuse = |why: &str| Err(Invalid::new(format!("this cannot be the issuer: {why}")));
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("it is not a URL; write it as https://auth.example.com");
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return refuse("it is not absolute; write it as https://auth.example.com");
        };
        if text.contains(['?', '#', '@']) {
            return refuse("it must have no query, fragment or user (RFC 8414 §2)");
        }
        match scheme {
            "https" => {}
            "http" if is_loopback(authority.host()) => {}
            "http" => return refuse("it must be https, except on a loopback host (RFC 8414 §2)"),
            _ => return refuse("it must be https (RFC 8414 §2)"),
        }
        if uri.path().contains("//") || uri.path().contains("/.well-known") {
            return refuse("its path must not hold empty segments or /.well-known");
        }
        Ok(Self {
            text: text.to_owned(),
            origin: format!("{scheme}://{authority}"),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Whether the host of a URL is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_the_issuer() {
        for (text, endpoint, well_known) in [
            ("https://h", "https://h/token", "/.well-known/x"),
            ("https://h/", "https://h/token", "/.well-known/x"),
            ("https://h/t1", "https://h/t1/token", "/.well-known/x/t1"),
            ("https://h/t1/", "https://h/t1/token", "/.well-known/x/t1"),
            ("http://[::1]:80", "http://[::1]:80/token", "/.well-known/x"),
        ] {
            let issuer: Issuer = text.parse().expect("a valid issuer");
            assert_eq!(issuer.as_str(), text);
            assert_eq!(issuer.endpoint("/token"), endpoint);
            assert_eq!(issuer.well_known_path("x"), well_known);
        }
        for bad in ["", "h", "http://h", "ftp://h", "https://h?x", "https://h#x", "https://u@h"] {
            assert!(bad.parse::<Issuer>().is_err(), "{bad}");
        }
    }
}
