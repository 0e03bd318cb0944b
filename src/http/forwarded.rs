//! Where a request came from, as far as that can be believed.

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::TrustedProxy;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Default)]
pub struct TrustedProxies(
    /// Their networks.
    pub Vec<TrustedProxy>,
);

impl TrustedProxies {
    /// The address of the caller: the peer of the connection or, if that is a trusted proxy, the
    /// last address of `X-Forwarded-For` that is none. What stands before it was written by
    /// someone unknown.
    #[must_use]
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let is_trusted = |address: IpAddr| self.0.iter().any(|network| network.contains(address));
        if !is_trusted(peer) {
            return peer;
        }
        let mut source = peer;
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        for line in lines {
            for hop in line.to_str().unwrap_or_default().rsplit(',') {
                let Ok(address) = hop.trim().parse::<IpAddr>() else { return source };
                source = address.to_canonical();
                if !is_trusted(source) {
                    return source;
                }
            }
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, lines: &[&str]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().expect("a header value"));
        }
        proxies.source(peer.parse().expect("an address"), &headers).to_string()
    }

    /// RFC 9700 §4.13. [H-06]
    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(source("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(source("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(source("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(source("10.0.0.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(source("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(source("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(source("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }
}
