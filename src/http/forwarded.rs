//! The addresses that a request came from, as far as they can be trusted.
//!
//! Only `X-Forwarded-For` is read: a proxy that sets it may pass on a forged `Forwarded`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName};

use crate::TrustedProxy;
use jeton_service::throttle::origin::{Source, Untold};

const FIELD: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A response header that tells `jeton doctor` what is wrong with `X-Forwarded-For`. It contains no address.
pub(super) const UNTOLD_FIELD: HeaderName = HeaderName::from_static("x-jeton-forwarded");

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<TrustedProxy>,
    warned_of_missing: AtomicBool,
    warned_of_unreadable: AtomicBool,
}

impl TrustedProxies {
    /// Trusts the proxies in these networks.
    #[must_use]
    pub fn new(networks: Vec<TrustedProxy>) -> Self {
        Self { networks, ..Self::default() }
    }

    /// Finds the caller: the peer of the connection or, if that is a trusted proxy, the last address of
    /// `X-Forwarded-For` that is not one. What stands before it was written by the caller, and is used only for a
    /// client that may name its end users.
    #[must_use]
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let is_trusted =
            |address: IpAddr| self.networks.iter().any(|network| network.contains(address));
        // Parsed as octets: what a caller wrote at the beginning of a line must not make the rest unreadable.
        let lines = headers.get_all(FIELD).iter().rev();
        let mut hops =
            lines.flat_map(|line| line.as_bytes().rsplit(|octet| *octet == b',')).map(address_of);
        let (mut address, mut forwarded) = (peer, None);
        while is_trusted(address) {
            match hops.next() {
                Some(Some(hop)) => (address, forwarded) = (hop, Some(hop)),
                nothing => {
                    let untold = match nothing {
                        Some(_) => Some(Untold::Unreadable),
                        // A proxy that names another proxy has called for itself.
                        None => forwarded.is_none().then_some(Untold::Missing),
                    };
                    return Source { address: Some(address), end_user: None, untold };
                }
            }
        }
        let is_read = is_trusted(peer);
        let untold = (!is_read && headers.contains_key(FIELD)).then_some(Untold::Untrusted);
        // A client that is itself a trusted proxy has put its end user last.
        let end_user = hops.next().unwrap_or(forwarded);
        Source { address: Some(address), end_user, untold }
    }

    /// Logs the first time that a trusted proxy sends no header, and the first time that it sends an unreadable one.
    pub(super) fn warn_once(&self, untold: Untold, peer: IpAddr, request_id: &str) {
        let (warned, what) = match untold {
            Untold::Missing => (&self.warned_of_missing, "sends no X-Forwarded-For"),
            Untold::Unreadable => {
                (&self.warned_of_unreadable, "sends an X-Forwarded-For that ends with no address")
            }
            Untold::Untrusted => return,
        };
        if !warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                request_id, %peer,
                "the trusted proxy {what}, so all its callers count as one address: let it end \
                 X-Forwarded-For with the address that it sees, or name fewer addresses by \
                 --trusted-proxy. This is said once; jeton_unnamed_callers_total counts on"
            );
        }
    }
}

/// Parses one element of the header. Some proxies write ports, brackets and quotes (Azure Application Gateway, IIS), or
/// the zone of a link-local address.
fn address_of(element: &[u8]) -> Option<IpAddr> {
    let blank = [' ', '\t'];
    let text = std::str::from_utf8(element).ok()?.trim_matches(blank);
    let text = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?.trim_matches(blank),
        None => text,
    };
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            is_whole.then(|| ipv6(address))??
        }
        // Without brackets, text that is an address as it stands has no port.
        None => plain(text).or_else(|| {
            let (address, port) = text.rsplit_once(':')?;
            is_port(port).then(|| plain(address))?
        })?,
    };
    Some(address.to_canonical())
}

fn plain(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().map(IpAddr::V4).ok().or_else(|| ipv6(text))
}

/// Parses an IPv6 address without its zone, which has no meaning on another machine (RFC 4007 §11).
fn ipv6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    address.parse::<Ipv6Addr>().map(IpAddr::V6).ok()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, lines: &[&[u8]]) -> Source {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = http::HeaderValue::from_bytes(line).expect("a header value");
            headers.append(FIELD, value);
        }
        proxies.source(peer.parse().expect("an address"), &headers)
    }

    fn text(address: Option<IpAddr>) -> String {
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// RFC 9700 §4.13. [H-06]
    #[test]
    fn only_trusted_proxies_are_believed() {
        let (missing, unreadable) = (Some(Untold::Missing), Some(Untold::Unreadable));
        for (peer, lines, caller, untold) in [
            ("192.0.2.1", &["198.51.100.1"][..], "192.0.2.1", Some(Untold::Untrusted)),
            ("192.0.2.1", &[], "192.0.2.1", None),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1", None),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1", None),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], "198.51.100.1", None),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2", unreadable),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1", unreadable),
            ("10.0.0.1", &["203.0.113.9", ""], "10.0.0.1", unreadable),
            ("10.0.0.1", &[], "10.0.0.1", missing),
            // A proxy that calls for itself.
            ("10.0.0.1", &["10.0.0.3"], "10.0.0.3", None),
            // What the caller wrote does not matter.
            ("10.0.0.1", &["\u{fc}\", [, 198.51.100.1"], "198.51.100.1", None),
        ] {
            let octets: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let source = source(peer, &octets);
            assert_eq!(
                (text(source.address).as_str(), source.untold),
                (caller, untold),
                "{lines:?}"
            );
        }
        assert_eq!(text(source("10.0.0.1", &[b"\xff, 198.51.100.1"]).address), "198.51.100.1");
    }

    #[test]
    fn every_spelling_of_an_address_is_understood() {
        for (spelling, address) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            (" \t203.0.113.7 ", "203.0.113.7"),
            ("\"203.0.113.7:51234\"", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("2001:db8:0:0:0:0:0:1:51234", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:cb00:7107", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
            ("::ffff:203.0.113.7:51234", "203.0.113.7"),
        ] {
            let source = source("10.0.0.1", &[b"192.0.2.1", spelling.as_bytes()]);
            assert_eq!(
                (text(source.address).as_str(), source.untold),
                (address, None),
                "{spelling}"
            );
        }
        for nothing in [
            "unknown",
            "_hidden",
            "_hidden:80",
            "unknown:80",
            "",
            "unix:",
            "203.0.113",
            "203.0.113.007",
            "203.0.113.7:",
            "203.0.113.7:99999",
            "203.0.113.7:x",
            "203.0.113.7:80:80",
            "203.0.113.7/32",
            "for=203.0.113.7",
            "[203.0.113.7]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "fe80::1%",
            "\"203.0.113.7",
            "'203.0.113.7'",
            "localhost",
        ] {
            let source = source("10.0.0.1", &[b"192.0.2.1", nothing.as_bytes()]);
            let expected = ("10.0.0.1", Some(Untold::Unreadable));
            assert_eq!((text(source.address).as_str(), source.untold), expected, "{nothing}");
        }
    }

    #[test]
    fn the_end_user_is_whom_the_caller_names_last() {
        for (peer, lines, end_user) in [
            ("192.0.2.1", &["203.0.113.9, 198.51.100.1"][..], "198.51.100.1"),
            ("192.0.2.1", &["203.0.113.9, [2001:db8::1]:443"], "2001:db8::1"),
            ("192.0.2.1", &[], ""),
            ("192.0.2.1", &["198.51.100.1, nonsense"], ""),
            // Through a proxy, which puts the client last.
            ("10.0.0.1", &["198.51.100.1, 192.0.2.1"], "198.51.100.1"),
            ("10.0.0.1", &["unknown, 192.0.2.1"], ""),
            // The client is a trusted proxy.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[], ""),
        ] {
            let octets: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(text(source(peer, &octets).end_user), end_user, "{peer} {lines:?}");
        }
    }
}
