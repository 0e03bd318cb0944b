//! Where a request came from, as far as that can be believed.

use std::net::IpAddr;

use http::HeaderMap;

use crate::config::TrustedProxy;
use crate::endpoint::throttle::Source;

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Default)]
pub struct TrustedProxies(
    /// Their networks.
    pub Vec<TrustedProxy>,
);

impl TrustedProxies {
    /// The address of the caller: the peer of the connection or, if that is a trusted proxy, the
    /// last address of `X-Forwarded-For` that is none. What stands before it was written by the
    /// caller, and is of use only if that is a client that is believed.
    #[must_use]
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let is_trusted = |address: IpAddr| self.0.iter().any(|network| network.contains(address));
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let mut hops = lines
            .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
            .map_while(|hop| hop.trim().parse::<IpAddr>().ok())
            .map(|address| address.to_canonical());
        let (mut address, mut forwarded) = (peer, None);
        while is_trusted(address) {
            let Some(hop) = hops.next() else {
                return Source { address: Some(address), end_user: None };
            };
            (address, forwarded) = (hop, Some(hop));
        }
        // A client that is a trusted proxy itself has named its end user last.
        Source { address: Some(address), end_user: hops.next().or(forwarded) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, lines: &[&str]) -> (String, String) {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().expect("a header value"));
        }
        let source = proxies.source(peer.parse().expect("an address"), &headers);
        let text = |address: Option<IpAddr>| address.map(|a| a.to_string()).unwrap_or_default();
        (text(source.address), text(source.end_user))
    }

    /// RFC 9700 §4.13. [H-06]
    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, lines, caller) in [
            ("192.0.2.1", &["198.51.100.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ] {
            assert_eq!(source(peer, lines).0, caller, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_end_user_is_whom_the_caller_names_last() {
        for (peer, lines, end_user) in [
            ("192.0.2.1", &["203.0.113.9, 198.51.100.1"][..], "198.51.100.1"),
            ("192.0.2.1", &[], ""),
            ("192.0.2.1", &["198.51.100.1, nonsense"], ""),
            // Through a proxy, which names the client last.
            ("10.0.0.1", &["198.51.100.1, 192.0.2.1"], "198.51.100.1"),
            // The client is a trusted proxy.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[], ""),
        ] {
            assert_eq!(source(peer, lines).1, end_user, "{peer} {lines:?}");
        }
    }
}
