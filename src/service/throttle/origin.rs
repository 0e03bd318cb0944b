//! Where a request comes from, as far as that counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jeton_oauth::Client;
use jeton_oauth::throttle::Counted;

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
    /// Nothing for a command that does not say through which client the user came.
    client: Option<&'a Client>,
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
        Self { client: Some(client), address }
    }

    /// The origin of a command that does not say where the user is.
    #[must_use]
    pub fn of_command() -> Self {
        Self { client: None, address: None }
    }

    /// The name of the client. No client has the empty one.
    pub(super) fn client_id(&self) -> &'a [u8] {
        self.client.map_or(b"", |client| client.id.as_str().as_bytes())
    }

    /// Whether the client was registered to name its end users, and did not name this one.
    #[must_use]
    pub fn lacks_end_user(&self) -> bool {
        self.client.is_some_and(|Client { settings, .. }| {
            !settings.public && settings.forwards_end_user_ip && self.address.is_none()
        })
    }
}

/// A group of accounts in which failures count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// All that log in through one client which does not say from where.
    UnknownCallers,
    /// Those at an IPv4 address, or in a /64 of IPv6: a network gives its users 2^64 addresses each.
    Network(IpAddr),
    /// Those in a /48, which one site has (RFC 6177): 65,536 networks.
    Site(IpAddr),
}

impl Group {
    /// What is counted in it.
    pub(super) fn counted(self) -> Counted {
        match self {
            Self::UnknownCallers => Counted::UnknownCallers,
            Self::Network(_) => Counted::Origin,
            Self::Site(_) => Counted::Neighbours,
        }
    }

    /// What it is told from others by.
    pub(super) fn octets(self) -> Vec<u8> {
        match self {
            Self::UnknownCallers => Vec::new(),
            Self::Network(address) => prefix(address, 64),
            Self::Site(address) => prefix(address, 48),
        }
    }
}

impl Origin<'_> {
    /// The narrowest group that it belongs to, and a wider one if there is one.
    pub(super) fn groups(&self) -> (Group, Option<Group>) {
        match self.address.map(translated) {
            None => (Group::UnknownCallers, None),
            Some(address @ IpAddr::V4(_)) => (Group::Network(address), None),
            Some(address @ IpAddr::V6(_)) => (Group::Network(address), Some(Group::Site(address))),
        }
    }
}

/// An address as it counts where what is right is never refused: the whole site.
pub(super) fn site(address: Option<IpAddr>) -> Vec<u8> {
    address.map(|address| prefix(translated(address), 48)).unwrap_or_default()
}

/// The IPv4 address of a caller behind a translator, where all callers share one network of IPv6 (RFC 6052
/// §2.1).
fn translated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// An IPv4 address, or an IPv6 address as far as its prefix of this length.
fn prefix(address: IpAddr, length: u32) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => {
            let host = 128 - length;
            Ipv6Addr::from(u128::from(address) >> host << host).octets().to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let at = |text: &str, length| prefix(text.parse().expect("an address"), length);
        assert_eq!(at("2001:db8:1:2::1", 64), at("2001:db8:1:2:ffff::9", 64));
        assert_ne!(at("2001:db8:1:2::1", 64), at("2001:db8:1:3::1", 64));
        assert_eq!(at("2001:db8:1:2::1", 48), at("2001:db8:1:ffff::1", 48));
        assert_ne!(at("2001:db8:1:2::1", 48), at("2001:db8:2:2::1", 48));
        assert_ne!(at("192.0.2.1", 48), at("192.0.2.2", 48));
        assert_ne!(at("192.0.2.1", 48), site(None));
    }

    #[test]
    fn callers_behind_a_translator_are_told_apart() {
        let of = |text: &str| translated(text.parse().expect("an address")).to_string();
        assert_eq!(of("64:ff9b::192.0.2.1"), "192.0.2.1");
        assert_eq!(of("64:ff9b:1::192.0.2.1"), "64:ff9b:1::c000:201");
        assert_eq!(of("2001:db8::1"), "2001:db8::1");
    }
}
