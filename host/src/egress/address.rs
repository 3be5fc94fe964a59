//! What kind of address an address is. Pure tables from the IANA special-purpose registries (RFC 6890) and the clouds' documentation; what is done
//! about a kind is decided in `allow`.
//!
//! An IPv6 address that carries an IPv4 address (mapped, translated, tunnelled) is judged as both, since which one the packets reach depends on
//! the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that answer to any program on a machine of that cloud with its credentials. Those that are link-local are caught as such.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's wire server.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud, classic.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// As above: Google Cloud and Scaleway. All of Amazon's are in `fd00:ec2::/32`.
const METADATA_V6: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)];

/// The same address in the family whose sockets reach it: `::ffff:1.2.3.4` is 1.2.3.4.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Why nothing may ever be sent to this address, whatever the settings.
pub(super) fn never(address: IpAddr) -> Option<&'static str> {
    both(address, never_v4, never_v6)
}

/// Why this address is not on the public internet.
pub(super) fn private(address: IpAddr) -> Option<&'static str> {
    both(address, private_v4, private_v6)
}

/// The address itself and the IPv4 address inside.
pub(super) fn faces(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inside = match canonical(address) {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => inside(v6).map(IpAddr::V4),
    };
    std::iter::once(canonical(address)).chain(inside)
}

fn both(address: IpAddr, v4: fn(Ipv4Addr) -> Option<&'static str>, v6: fn(Ipv6Addr) -> Option<&'static str>) -> Option<&'static str> {
    faces(address).find_map(|face| match face {
        IpAddr::V4(face) => v4(face),
        IpAddr::V6(face) => v6(face),
    })
}

/// The IPv4 address that an IPv6 address is translated or tunnelled to.
fn inside(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = v6.octets();
    let at = |from: usize| Some(Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3]));
    match v6.segments() {
        // `::` and `::1` are themselves; the other IPv4-compatible ones (RFC 4291, 2.5.5.1) are not.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, ..] => at(12),
        // SIIT (RFC 2765), NAT64 (RFC 6052), NAT64 of a site (RFC 8215).
        [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => at(12),
        // 6to4 (RFC 3056).
        [0x2002, ..] => at(2),
        // Teredo (RFC 4380): the client's address, inverted.
        [0x2001, 0, ..] => at(12).map(|client| Ipv4Addr::from_bits(!client.to_bits())),
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => at(12),
        _ => None,
    }
}

fn never_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        // Linux takes 0.0.0.0 for this machine; the rest of the network has no meaning as a destination.
        [0, ..] => Some("an unspecified address"),
        [169, 254, ..] => Some("a link-local or cloud metadata address"),
        [224..=239, ..] => Some("a multicast address"),
        [255, 255, 255, 255] => Some("the broadcast address"),
        _ if METADATA_V4.contains(&address) => Some("a cloud metadata address"),
        _ => None,
    }
}

fn never_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0xfd00, 0xec2, ..] => Some("a cloud metadata address"),
        _ if METADATA_V6.contains(&address) => Some("a cloud metadata address"),
        _ => None,
    }
}

fn private_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("an address of a private network"),
        [100, 64..=127, ..] => Some("an address behind carrier-grade NAT"),
        [192, 0, 0, _] | [192, 0, 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
            Some("a reserved address")
        }
        _ => None,
    }
}

fn private_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some("an address of a private network"),
        [0x64, 0xff9b, 1, ..] | [0x100, 0, 0, 0, ..] | [0x2001, 0xdb8, ..] => Some("a reserved address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn link_local_metadata_unspecified_multicast_and_broadcast_are_never_reached_in_any_spelling() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "2001:db8::5efe:169.254.169.254",
        ] {
            assert!(never(ip(text)).is_some(), "{text} must never be reached");
        }
    }

    #[test]
    fn private_addresses_are_known_in_any_spelling_and_may_be_allowed() {
        for text in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "240.0.0.1",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "64:ff9b:1::808:808",
        ] {
            assert!(private(ip(text)).is_some(), "{text} is private");
            assert_eq!(never(ip(text)), None, "{text} may be allowed");
        }
    }

    #[test]
    fn public_addresses_are_neither() {
        for text in [
            "1.1.1.1",
            "172.32.0.1",
            "172.15.0.1",
            "100.128.0.1",
            "169.253.1.1",
            "192.0.1.1",
            "2606:4700::1111",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!((never(ip(text)), private(ip(text))), (None, None), "{text} is public");
        }
    }
}
