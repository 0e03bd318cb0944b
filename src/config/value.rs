//! The values of settings, as types that cannot hold a wrong one.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock::Seconds;
use crate::secret::Secret;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// The embedded store: the path of its file.
    Sqlite(PathBuf),
    /// PostgreSQL: the URL, which may hold a password.
    Postgres(Secret),
}

impl FromStr for DatabaseLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text.to_owned())));
        }
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            _ => Err("write it as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME".to_owned()),
        }
    }
}

impl fmt::Display for DatabaseLocation {
    /// The location without its password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => formatter
                .write_str(&without_password(url.expose()).unwrap_or("postgres://…".into())),
        }
    }
}

/// A URL without its password and options; `None` where nobody can tell what of it is the password.
fn without_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    // The question mark may be one of the password.
    if options.contains('@') || rest.contains('#') {
        return None;
    }
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let name = user.split_once(':').map_or(user, |(name, _)| name);
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    // Without a host, user and password stand in its place.
    let is_host = |host: &str| {
        let within = host.rfind(']').map_or(0, |at| at + 1);
        let port = host.get(within..)?.rsplit_once(':').map(|(_, port)| port);
        let is_number = |port: &str| port.len() <= 5 && port.bytes().all(|o| o.is_ascii_digit());
        let allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"._-:[]%".contains(&octet);
        (host.bytes().all(allowed) && port.is_none_or(is_number)).then_some(())
    };
    hosts.split(',').all(|host| is_host(host).is_some()).then_some(())?;
    let at = if name.is_empty() { "" } else { "@" };
    let slash = if place.contains('/') { "/" } else { "" };
    Some(format!("{scheme}://{name}{at}{hosts}{slash}{database}"))
}

/// The cost of a scrypt hash (RFC 7914 §2): `N = 2^ln`, block size `r`, parallelisation `p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    /// The binary logarithm of `N`.
    pub ln: u8,
    /// The block size.
    pub r: u32,
    /// How many times the memory is filled.
    pub p: u32,
}

impl ScryptCost {
    /// The recommendation of the OWASP Password Storage Cheat Sheet: 128 MiB.
    pub const RECOMMENDED: Self = Self { ln: 17, r: 8, p: 1 };

    /// The most work that a hash may take, in octets that are filled: 16 times that of the recommendation.
    pub const WORK_MAX: u64 = 16 * ((128 * 8) << 17);

    /// The memory that one hash takes, in octets: `128 · N · r`, with `r` rounded up to a multiple of 8.
    #[must_use]
    pub fn memory(self) -> u64 {
        (1_024 * u64::from(self.r.div_ceil(8))) << self.ln.min(40)
    }

    /// The work that one hash takes, in octets that are filled.
    #[must_use]
    pub fn work(self) -> u64 {
        self.memory().saturating_mul(self.p.into())
    }

    /// Whether new hashes may cost this: at least what OWASP ASVS 5.0 approves, and what can be verified.
    fn is_approved(self) -> bool {
        let least_ln = match self.p {
            0 => return false,
            1 => 17,
            2 => 16,
            _ => 15,
        };
        self.ln >= least_ln && (8..=32).contains(&self.r) && self.work() <= Self::WORK_MAX
    }
}

impl fmt::Display for ScryptCost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ln={},r={},p={}", self.ln, self.r, self.p)
    }
}

impl FromStr for ScryptCost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(',');
            let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse::<u32>().ok();
            let (ln, r, p) = (number("ln=")?, number("r=")?, number("p=")?);
            let cost = Self { ln: u8::try_from(ln).ok()?, r, p };
            (parts.next().is_none() && cost.is_approved()).then_some(cost)
        };
        parse().ok_or_else(|| {
            "write it as ln=17,r=8,p=1, with r of 8 to 32 and ln of at least 17 (16 with p=2, 15 with p \
             of 3 or more), and at most 16 times the work of that"
                .to_owned()
        })
    }
}

/// For how long an exchanged refresh token is answered with the same successor again, while that was not
/// used. On the command line and in the database `2m` or `until-used`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetryWindow {
    /// For so long after the exchange.
    For(Seconds),
    /// Until the successor is used, or the session ends.
    UntilUsed,
}

impl RetryWindow {
    /// Where neither the service nor a confidential client says otherwise: the client's secret
    /// constrains the token (RFC 9700 §4.14.2).
    pub const OF_CONFIDENTIAL_CLIENTS: Self = Self::UntilUsed;
    /// The same of a public client, whose thief is noticed by the end of the window. The number is
    /// chosen in `docs/retry-window.md`.
    pub const OF_PUBLIC_CLIENTS: Self = Self::For(Seconds::new(120));
    /// The longest window that ends. As long as access tokens usually live: a longer one notices a thief
    /// who refreshes as often as the client no sooner than `until-used` (`docs/retry-window.md`).
    pub const LENGTH_MAX: Seconds = Seconds::new(600);

    const UNTIL_USED: &'static str = "until-used";

    /// Whether so much time after the exchange is within the window.
    #[must_use]
    pub fn holds(self, elapsed: Seconds) -> bool {
        match self {
            Self::For(length) => elapsed < length,
            Self::UntilUsed => true,
        }
    }
}

impl FromStr for RetryWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Self::UNTIL_USED {
            return Ok(Self::UntilUsed);
        }
        match text.parse() {
            Ok(length) if length <= Self::LENGTH_MAX => Ok(Self::For(length)),
            _ => Err(format!("it must be 0s to {}, or until-used", Self::LENGTH_MAX)),
        }
    }
}

impl TryFrom<String> for RetryWindow {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RetryWindow> for String {
    fn from(window: RetryWindow) -> Self {
        window.to_string()
    }
}

impl fmt::Display for RetryWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(length) => length.fmt(formatter),
            Self::UntilUsed => formatter.write_str(Self::UNTIL_USED),
        }
    }
}

/// An amount of memory. On the command line `512MiB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [("GiB", 30), ("MiB", 20), ("KiB", 10)]
            .iter()
            .find_map(|(unit, shift)| {
                text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(1 << shift)
            })
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size: write it as 512MiB or 2GiB"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}MiB", self.0 >> 20)
    }
}

/// An origin that may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Any scheme and port on a loopback host.
    Loopback,
    /// This one, compared exactly.
    Exact(String),
}

impl CorsOrigin {
    /// Whether this lets in the origin that a request names.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        // Apps that are pages inside have schemes of their own, as capacitor://localhost. (RFC 3986 §3.1.)
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
            _ => Err(format!(
                "{text:?} is not an origin: write it as a browser sends it, in lower case and \
                 without a path, as https://app.example.com"
            )),
        }
    }
}

/// A network of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl TrustedProxy {
    /// Whether this address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether a connection to a listener at this address can come from one of them.
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

    /// Refuses what can never match, or would match more than it seems to.
    fn check(network: IpNet) -> Result<Self, String> {
        if network.addr() != network.network() {
            return Err(format!(
                "{network} has bits beyond its prefix: write {} for the network, or {} for the one address",
                network.trunc(),
                network.addr()
            ));
        }
        if let IpNet::V6(v6) = network
            && let (96.., Some(v4)) = (v6.prefix_len(), v6.addr().to_ipv4_mapped())
        {
            let length = v6.prefix_len() - 96;
            return Err(format!("{network} can never match, for it is IPv4: write {v4}/{length}"));
        }
        let address = network.addr();
        if address.is_multicast()
            || (address.is_unspecified() && network.prefix_len() == network.max_prefix_len())
        {
            return Err(format!(
                "{network} can never match, for nobody calls from there: name the addresses that the \
                 proxies connect from"
            ));
        }
        Ok(Self(network))
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    /// Reads an address or a network.
    ///
    /// # Errors
    /// What is wrong with the text, also if it is a network that can never match. Addresses of callers are
    /// compared in their own family: IPv4 is never compared as IPv6.
    fn from_str(text: &str) -> Result<Self, String> {
        // ipnet reads 010.0.0.0 as 10.0.0.0, others as 8.0.0.0; the standard library refuses it.
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        address
            .parse::<IpAddr>()
            .map(IpNet::from)
            .ok()
            .and_then(|host| if address == text { Some(host) } else { text.parse().ok() })
            .ok_or_else(|| format!("{text:?} is not a network: write it as 10.0.0.0/8"))
            .and_then(Self::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("postgres://u:p@ss@h:1,h2/db?sslmode=x", "postgres://u@h:1,h2/db"),
            ("postgres://h/db?password=p", "postgres://h/db"),
            ("postgres://u:p@s?s@h/db", "postgres://…"),
            ("postgres://u:p?p@ss@h/db?sslmode=x", "postgres://…"),
            ("postgres://h/db?user=u&password=p@ss", "postgres://…"),
            ("postgres://u:p@ss", "postgres://u@ss"),
            ("postgres://u:p-s/db", "postgres://…"),
            ("postgres://u:p-s", "postgres://…"),
            ("postgres://u:p?s", "postgres://…"),
            ("postgres://u:p#s@h/db", "postgres://…"),
            ("postgres://[::1]:5432,h:1/db", "postgres://[::1]:5432,h:1/db"),
            ("postgres://u@/db?host=/run/postgresql", "postgres://u@/db"),
        ] {
            let location: DatabaseLocation = url.parse().expect("a valid location");
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("p@ss"));
        }
    }

    #[test]
    fn weak_and_absurd_costs_are_refused() {
        for good in [
            "ln=21,r=8,p=1",
            "ln=17,r=8,p=16",
            "ln=17,r=8,p=1",
            "ln=16,r=8,p=2",
            "ln=15,r=8,p=3",
            "ln=18,r=16,p=1",
        ] {
            assert_eq!(good.parse::<ScryptCost>().map(|cost| cost.to_string()), Ok(good.into()));
        }
        for bad in [
            "",
            "ln=10,r=8,p=1",
            "ln=16,r=8,p=1",
            "ln=17,r=1,p=1",
            "ln=17,r=8",
            "ln=40,r=8,p=1",
            "ln=22,r=8,p=1",
            "ln=17,r=8,p=17",
        ] {
            assert!(bad.parse::<ScryptCost>().is_err(), "{bad}");
        }
    }

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
            assert!(refused.contains(remedy), "{bad}: {refused}");
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
