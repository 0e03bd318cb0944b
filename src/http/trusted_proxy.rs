//! Networks of proxies: the values of `--trusted-proxy`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use jeton_oauth::Invalid;

/// A network of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl TrustedProxy {
    /// Whether this address belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether a connection from the network can reach a listener at this address.
    #[must_use]
    pub fn may_reach(&self, listener: IpAddr) -> bool {
        let of = |text: &str| text.parse::<IpNet>().expect("a network");
        let peers = match listener {
            IpAddr::V4(own) if own.is_loopback() => vec![of("127.0.0.0/8")],
            IpAddr::V6(own) if own.is_loopback() => vec![of("::1/128")],
            IpAddr::V4(_) => vec![of("0.0.0.0/0")],
            IpAddr::V6(own) if own.is_unspecified() => vec![of("0.0.0.0/0"), of("::/0")],
            IpAddr::V6(_) => vec![of("::/0")],
        };
        peers.iter().any(|peers| peers.contains(&self.0) || self.0.contains(peers))
    }

    /// Refuses a network that can never match, or that would match more than it seems to.
    fn check(network: IpNet) -> Result<Self, Invalid> {
        if network.addr() != network.network() {
            return Err(Invalid::new(format!(
                "{network} has bits beyond its prefix: write {} for the network, or {} for the one address",
                network.trunc(),
                network.addr()
            )));
        }
        if let IpNet::V6(v6) = network
            && let (96.., Some(v4)) = (v6.prefix_len(), v6.addr().to_ipv4_mapped())
        {
            let length = v6.prefix_len() - 96;
            return Err(Invalid::new(format!(
                "{network} can never match, for it is IPv4: write {v4}/{length}"
            )));
        }
        let address = network.addr();
        if address.is_multicast()
            || (address.is_unspecified() && network.prefix_len() == network.max_prefix_len())
        {
            return Err(Invalid::new(format!(
                "{network} can never match, for nobody calls from there: name the addresses that the \
                 proxies connect from"
            )));
        }
        Ok(Self(network))
    }
}

impl FromStr for TrustedProxy {
    type Err = Invalid;

    /// Reads an address or a network. IPv4 addresses of callers are compared as IPv4 only.
    ///
    /// # Errors
    /// What is wrong with the text, also if the network can never match.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        // ipnet reads 010.0.0.0 as 10.0.0.0, other parsers as 8.0.0.0. The standard library refuses it.
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        address
            .parse::<IpAddr>()
            .map(IpNet::from)
            .ok()
            .and_then(|host| if address == text { Some(host) } else { text.parse().ok() })
            .ok_or_else(|| {
                Invalid::new(format!("{text:?} is not a network: write it as 10.0.0.0/8"))
            })
            .and_then(Self::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_spelling() {
        for good in ["10.0.0.0/8", "10.0.0.1", "2001:db8::/32", "::1"] {
            assert!(good.parse::<TrustedProxy>().is_ok(), "{good}");
        }
        for bad in ["", "10.0.0.0/", "10.0.0.0/33", "010.0.0.0/8", "10.0.0/8", "a", "10.0.0.1/+8"] {
            assert!(bad.parse::<TrustedProxy>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_that_can_never_match_are_refused_with_the_remedy() {
        for (bad, remedy) in [
            ("10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3"),
            ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1"),
            ("::ffff:10.0.0.1", "write 10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "write 10.0.0.0/8"),
            ("::ffff:0.0.0.0/96", "write 0.0.0.0/0"),
            ("0.0.0.0", "name the addresses"),
            ("::", "name the addresses"),
            ("224.0.0.0/4", "name the addresses"),
            ("ff02::1", "name the addresses"),
        ] {
            let refused = bad.parse::<TrustedProxy>().expect_err(bad);
            assert!(refused.to_string().contains(remedy), "{bad}: {refused}");
        }
        for good in ["0.0.0.0/0", "::/0", "::fffe:0:0/95", "255.0.0.0/8"] {
            assert!(good.parse::<TrustedProxy>().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_network_reaches_listeners_of_its_family_and_loopback_only_from_loopback() {
        for (network, listener, may) in [
            ("10.0.0.0/8", "0.0.0.0", true),
            ("10.0.0.0/8", "192.0.2.1", true),
            ("10.0.0.0/8", "::", true),
            ("10.0.0.0/8", "2001:db8::1", false),
            ("10.0.0.0/8", "127.0.0.1", false),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "127.0.0.1", false),
            ("::1", "::1", true),
            ("fd00::/8", "::1", false),
            ("fd00::/8", "0.0.0.0", false),
            ("fd00::/8", "::", true),
        ] {
            let parsed: TrustedProxy = network.parse().expect("a network");
            let listener = listener.parse().expect("an address");
            assert_eq!(parsed.may_reach(listener), may, "{network} {listener}");
        }
    }
}
