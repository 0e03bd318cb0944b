//! Where a request comes from, as far as throttling needs to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jeton_oauth::Client;
use jeton_oauth::throttle::Counted;

/// The addresses that a request came from, as far as they can be trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// The caller's: the other end of the connection, or what a trusted proxy says.
    pub address: Option<IpAddr>,
    /// The end user's, as the caller says.
    pub end_user: Option<IpAddr>,
    /// What is wrong with `X-Forwarded-For`, if anything.
    pub untold: Option<Untold>,
}

/// What is wrong with a request's `X-Forwarded-For`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Untold {
    /// A trusted proxy did not send it.
    Missing,
    /// A trusted proxy sent something that is no address.
    Unreadable,
    /// A caller that is no trusted proxy sent it. This is right for a client that sends its end users' addresses, and a
    /// mistake of the operator if the caller is a proxy.
    Untrusted,
}

impl Untold {
    /// The stable word for metrics, and for the answer that `jeton doctor` reads.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Untrusted => "untrusted",
        }
    }
}

/// The origin of an attempt: its client, with the end user's address if that is known.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    through: Through<'a>,
    pub(super) address: Option<IpAddr>,
}

/// Through what an attempt came.
#[derive(Clone, Copy, Debug)]
enum Through<'a> {
    /// A login through a client.
    Client(&'a Client),
    /// A command that does not say through which client the user came.
    Command,
    /// Nothing, because a client itself tries to authenticate.
    Nothing,
}

impl<'a> Origin<'a> {
    /// The origin of a login. All users of a confidential client come from its web server's address, which therefore
    /// says nothing. The address that such a client forwards counts if it is registered to do so.
    #[must_use]
    pub fn new(client: &'a Client, source: Source) -> Self {
        let address = match (client.settings.public, client.settings.forwards_end_user_ip) {
            (true, _) => source.address,
            (false, true) => source.end_user,
            (false, false) => None,
        };
        Self { through: Through::Client(client), address }
    }

    /// The origin of a command that does not say where the user is.
    #[must_use]
    pub fn of_command() -> Self {
        Self { through: Through::Command, address: None }
    }

    /// The origin of a client's own secret, which its web server sends.
    #[must_use]
    pub fn of_client(source: Source) -> Self {
        Self { through: Through::Nothing, address: source.address }
    }

    /// The name of the client. No client has one of the others.
    pub(super) fn client_id(&self) -> &'a [u8] {
        match self.through {
            Through::Client(client) => client.id.as_str().as_bytes(),
            Through::Command => b"",
            Through::Nothing => b"client secrets",
        }
    }

    /// Whether the client is registered to send its end users' addresses and did not send this one.
    #[must_use]
    pub fn lacks_end_user(&self) -> bool {
        let Through::Client(Client { settings, .. }) = self.through else { return false };
        !settings.public && settings.forwards_end_user_ip && self.address.is_none()
    }
}

/// A group of accounts whose failures count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// All callers of one client that does not say where they are.
    UnknownCallers,
    /// An IPv4 address, or a /64 of IPv6: one subscriber has 2^64 addresses there.
    Network(IpAddr),
    /// A /48 of IPv6, which one site may have (RFC 6177): 65,536 networks.
    Site(IpAddr),
}

impl Group {
    pub(super) fn counted(self) -> Counted {
        match self {
            Self::UnknownCallers => Counted::UnknownCallers,
            Self::Network(_) => Counted::Origin,
            Self::Site(_) => Counted::Neighbours,
        }
    }

    /// The part of the address that names the counter.
    pub(super) fn octets(self) -> Vec<u8> {
        match self {
            Self::UnknownCallers => Vec::new(),
            Self::Network(address) => prefix(address, 64),
            Self::Site(address) => prefix(address, 48),
        }
    }
}

impl Origin<'_> {
    /// The smallest group that the origin belongs to, and the larger one if there is one.
    pub(super) fn groups(&self) -> (Group, Option<Group>) {
        match self.address.map(translated) {
            None => (Group::UnknownCallers, None),
            Some(address @ IpAddr::V4(_)) => (Group::Network(address), None),
            Some(address @ IpAddr::V6(_)) => (Group::Network(address), Some(Group::Site(address))),
        }
    }
}

/// The part of an address that counts where a correct secret or token is never refused: the whole site.
pub(super) fn site(address: Option<IpAddr>) -> Vec<u8> {
    address.map(|address| prefix(translated(address), 48)).unwrap_or_default()
}

/// The IPv4 address of a caller behind a translator; all such callers share one IPv6 network (RFC 6052 §2.1).
fn translated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// An IPv4 address, or the prefix of this length of an IPv6 address.
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
