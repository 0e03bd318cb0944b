//! Where a request came from.

use std::net::IpAddr;

use http::HeaderMap;
use jeton::config::TrustedProxy;
use jeton::http::forwarded::TrustedProxies;

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
    let mut chain = vec![peer];
    chain.extend(hops(&headers).iter().rev().map_while(|hop| *hop));
    let caller = chain.iter().position(|address| !is_trusted(*address));
    let believed = caller.map_or(chain[chain.len() - 1], |caller| chain[caller]);
    let named = |caller: usize| chain.get(caller + 1).or(chain.get(caller).filter(|_| caller > 0));

    let proxies = networks.iter().map(|text| text.parse::<TrustedProxy>().expect("a network"));
    let proxies = TrustedProxies(proxies.collect());
    let source = proxies.source(peer, &headers);
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
    let lines = lines.map(|line| line.to_str().unwrap_or_default());
    let addresses = lines.flat_map(|line| line.split(','));
    addresses.map(|text| Some(text.trim().parse::<IpAddr>().ok()?.to_canonical())).collect()
}

/// Whether a network is one: an address, and perhaps the length of its prefix.
fn read_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    let (most, digits) = if address.contains(':') { (128, 3) } else { (32, 2) };
    let is_length = (1..=digits).contains(&length.len())
        && length.bytes().all(|octet| octet.is_ascii_digit())
        && length.parse::<u8>().is_ok_and(|length| length <= most);
    let expected = address.parse::<IpAddr>().is_ok() && is_length;
    assert_eq!(text.parse::<TrustedProxy>().is_ok(), expected, "{text:?}");
    expected
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
