//! Where a request came from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use jeton_http::TrustedProxy;
use jeton_http::forwarded::TrustedProxies;
use jeton_service::throttle::origin::Untold;

/// The lines of the input: networks with commas between them, the peer, and then those of
/// `X-Forwarded-For`. The caller is the peer, or was named by a trusted proxy; the end user is whom the
/// caller names last. What stands before both does not matter.
pub(super) fn check(input: &[u8]) {
    let mut lines = input.split(|octet| *octet == b'\n');
    let mut line = || std::str::from_utf8(lines.next()?).ok();
    let (Some(networks), Some(peer)) = (line(), line()) else { return };
    let Ok(peer) = peer.parse::<IpAddr>().map(|peer| peer.to_canonical()) else { return };
    let networks: Vec<&str> = networks.split(',').filter(|text| read_network(text)).collect();
    let is_trusted = |address: IpAddr| networks.iter().any(|network| holds(network, address));

    let mut headers = HeaderMap::new();
    for line in lines.take(8) {
        let Ok(value) = http::HeaderValue::from_bytes(line) else { return };
        headers.append("x-forwarded-for", value);
    }
    // The peer, and whom each says that it stands for, as far as that is an address.
    let hops = hops(&headers);
    let mut chain = vec![peer];
    chain.extend(hops.iter().rev().map_while(|hop| *hop));
    let caller = chain.iter().position(|address| !is_trusted(*address));
    let believed = caller.map_or(chain[chain.len() - 1], |caller| chain[caller]);
    let is_broken = chain.len() <= hops.len();
    let named = |caller: usize| {
        let last = chain.get(caller).filter(|_| caller > 0 && !is_broken);
        chain.get(caller + 1).or(last)
    };

    let proxies = networks.iter().map(|text| text.parse::<TrustedProxy>().expect("a network"));
    let proxies = TrustedProxies::new(proxies.collect());
    let source = proxies.source(peer, &headers);
    let untold = match caller {
        Some(0) => (!hops.is_empty()).then_some(Untold::Untrusted),
        Some(_) => None,
        None if is_broken => Some(Untold::Unreadable),
        None => hops.is_empty().then_some(Untold::Missing),
    };
    assert_eq!(source.untold, untold);
    assert_eq!(source.address, Some(believed));
    assert_eq!(source.end_user.as_ref(), caller.and_then(named));
    if caller.is_some_and(|caller| caller + 1 < chain.len()) {
        let mut longer = HeaderMap::new();
        longer.append("x-forwarded-for", http::HeaderValue::from_static("192.0.2.7, ?, 10.0.0.1"));
        longer.extend(headers);
        let again = proxies.source(peer, &longer);
        assert_eq!(again.address, source.address, "what a caller wrote is not believed of itself");
        assert_eq!(again.end_user, source.end_user, "nor what an end user wrote");
    }
}

/// The addresses that the field names, in their order; nothing where there is no address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|octet| *octet == b','));
    elements.map(|element| Some(read_hop(element)?.to_canonical())).collect()
}

/// The address that an element spells: what is left when quotes, brackets, zone and port are taken away.
fn read_hop(element: &[u8]) -> Option<IpAddr> {
    let mut text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    if text.starts_with('"') {
        let inner = text.len().checked_sub(1).and_then(|end| text.get(1..end));
        text = inner.filter(|_| text.ends_with('"'))?.trim_matches([' ', '\t']);
    }
    let bare = |text: &str| match text.find('%') {
        Some(zone) if zone + 1 < text.len() => text[..zone].parse::<Ipv6Addr>().ok(),
        _ => text.parse().ok(),
    };
    let whole =
        |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4).or(bare(text).map(IpAddr::V6));
    let is_port = |text: &str| {
        text.bytes().all(|octet| octet.is_ascii_digit()) && text.parse::<u16>().is_ok()
    };
    if let Some(inner) = text.strip_prefix('[') {
        let end = inner.find(']')?;
        let rest = &inner[end + 1..];
        let is_whole = rest.is_empty() || rest.starts_with(':') && is_port(&rest[1..]);
        return bare(&inner[..end]).filter(|_| is_whole).map(IpAddr::V6);
    }
    let colon = text.rfind(':');
    whole(text)
        .or_else(|| whole(&text[..colon?]).filter(|_| is_port(&text[colon.unwrap_or(0) + 1..])))
}

/// Whether a network is one: an address, and perhaps the length of its prefix.
fn read_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    let (most, digits) = if address.contains(':') { (128, 3) } else { (32, 2) };
    let is_length = (1..=digits).contains(&length.len())
        && length.bytes().all(|octet| octet.is_ascii_digit())
        && length.parse::<u8>().is_ok_and(|length| length <= most);
    let length: u32 = if text.contains('/') { length.parse().unwrap_or(0) } else { most.into() };
    let expected = is_length && address.parse().is_ok_and(|address| can_match(address, length));
    assert_eq!(text.parse::<TrustedProxy>().is_ok(), expected, "{text:?}");
    expected
}

/// Whether a network says exactly what it is, and somebody can call from there.
fn can_match(address: IpAddr, length: u32) -> bool {
    let (bits, most) = match address {
        IpAddr::V4(own) => (u128::from(own.to_bits()), 32),
        IpAddr::V6(own) => (own.to_bits(), 128),
    };
    let has_host = bits.trailing_zeros() < most - length;
    let is_mapped = most == 128 && length >= 96 && bits >> 32 == 0xffff;
    let is_nowhere = address.is_multicast() || bits == 0 && length == most;
    !has_host && !is_mapped && !is_nowhere
}

/// Whether a network holds an address: both have the same leading bits.
fn holds(network: &str, address: IpAddr) -> bool {
    let (own, length) = network.split_once('/').unwrap_or((network, ""));
    let (own, other) = match (own.parse(), address) {
        (Ok(IpAddr::V4(own)), IpAddr::V4(other)) => {
            (u128::from(own.to_bits()) << 96, u128::from(other.to_bits()) << 96)
        }
        (Ok(IpAddr::V6(own)), IpAddr::V6(other)) => (own.to_bits(), other.to_bits()),
        _ => return false,
    };
    let length = length.parse::<u32>().unwrap_or(128);
    (own ^ other).checked_shr(128 - length).unwrap_or(0) == 0
}
