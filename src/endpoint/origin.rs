//! Where a request comes from, as far as that counts.

use std::net::{IpAddr, Ipv6Addr};

use crate::oauth::Client;

/// Where a request came from, as far as it can be believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// The caller: the other end of the connection, or what a trusted proxy says of it.
    pub address: Option<IpAddr>,
    /// For whom the caller says that it calls.
    pub end_user: Option<IpAddr>,
    /// What is wrong with what was said of the caller.
    pub untold: Option<Untold>,
}

/// What is wrong with what was said of a caller in `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Untold {
    /// A trusted proxy sent no `X-Forwarded-For`.
    Missing,
    /// What a trusted proxy sent there is no address.
    Unreadable,
    /// The caller sent one and is no trusted proxy. That is right for a client that names its end users,
    /// and a mistake of the operator if the caller is a proxy.
    Untrusted,
}

impl Untold {
    /// A stable word for metrics, and for the answer that `jeton doctor` reads.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Untrusted => "untrusted",
        }
    }
}

/// Where a login comes from: a client, and the end user's address where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub(super) client: &'a Client,
    pub(super) address: Option<IpAddr>,
}

impl<'a> Origin<'a> {
    /// The origin of a login. The address of a confidential client is that of one web server with all
    /// its users behind it, so it says nothing; the one it forwards does, if it was registered to.
    #[must_use]
    pub fn new(client: &'a Client, source: Source) -> Self {
        let address = match (client.settings.public, client.settings.forwards_end_user_ip) {
            (true, _) => source.address,
            (false, true) => source.end_user,
            (false, false) => None,
        };
        Self { client, address }
    }

    /// Whether the client was registered to name its end users, and did not name this one.
    #[must_use]
    pub fn lacks_end_user(&self) -> bool {
        let settings = &self.client.settings;
        !settings.public && settings.forwards_end_user_ip && self.address.is_none()
    }
}

/// An address as it counts. A network of IPv6 gives its users 2^64 addresses each.
pub(super) fn network(address: Option<IpAddr>) -> Vec<u8> {
    match address {
        None => Vec::new(),
        Some(IpAddr::V4(address)) => address.octets().to_vec(),
        Some(IpAddr::V6(address)) => {
            let prefix = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(prefix).octets().to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let of = |text: &str| network(Some(text.parse().expect("an address")));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("192.0.2.1"), network(None));
    }
}
