//! Our own candidates: which addresses of this host an answer names, and in what order.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::{IpAddr, SocketAddr};

/// Candidates named in one answer; more only slow the browser's checks down.
const CANDIDATES_MAX: usize = 12;
/// Type preference of host and of server-reflexive candidates (RFC 8445 section 5.1.2.2).
const PREFERENCE_HOST: u32 = 126;
const PREFERENCE_REFLEXIVE: u32 = 100;

/// The addresses to name: those of the configuration, else those that `bound` listens on.
pub(crate) fn addresses(advertise: &[IpAddr], bound: &[SocketAddr]) -> Vec<IpAddr> {
    let served = |ip: &IpAddr| bound.iter().any(|b| b.is_ipv4() == ip.is_ipv4());
    let mut found: Vec<IpAddr> = if advertise.is_empty() {
        let mut of_host = of_this_host();
        of_host.retain(|ip| {
            bound
                .iter()
                .any(|b| b.ip() == *ip || (b.ip().is_unspecified() && b.is_ipv4() == ip.is_ipv4()))
        });
        of_host
    } else {
        advertise.iter().copied().filter(served).collect()
    };
    // Loopback last: only a browser on this host can use it.
    found.sort_by_key(IpAddr::is_loopback);
    found.dedup();
    found.truncate(CANDIDATES_MAX);
    found
}

/// SDP lines for `hosts` and, behind NAT, for the `reflexive` address.
pub(crate) fn lines(hosts: &[IpAddr], port: u16, reflexive: Option<SocketAddr>) -> Vec<String> {
    let mut lines: Vec<String> = hosts
        .iter()
        .enumerate()
        .map(|(i, ip)| {
            let priority = priority(PREFERENCE_HOST, i);
            format!(
                "a=candidate:{} 1 udp {priority} {ip} {port} typ host",
                i + 1
            )
        })
        .collect();
    if let Some(mapped) = reflexive.filter(|mapped| !hosts.contains(&mapped.ip())) {
        let priority = priority(PREFERENCE_REFLEXIVE, 0);
        // raddr would tell the viewer our inside address, which it has no use for.
        let any = if mapped.is_ipv4() { "0.0.0.0" } else { "::" };
        lines.push(format!(
            "a=candidate:{} 1 udp {priority} {} {} typ srflx raddr {any} rport 0",
            hosts.len() + 1,
            mapped.ip(),
            mapped.port(),
        ));
    }
    lines
}

fn priority(kind: u32, index: usize) -> u32 {
    let local = 65_535 - u32::try_from(index).unwrap_or(65_535).min(65_535);
    (kind << 24) | (local << 8) | 255
}

fn of_this_host() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else {
        tracing::warn!("the addresses of this host cannot be listed; set `rtc.advertise`");
        return Vec::new();
    };
    interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(v4) => !v4.is_link_local(),
            // A link-local address needs a scope, which SDP cannot carry.
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn only_addresses_that_are_served_are_named_and_loopback_comes_last() {
        let bound = ["0.0.0.0:9".parse().unwrap()];
        let advertise = ips(&["127.0.0.1", "203.0.113.1", "2001:db8::1"]);
        assert_eq!(
            addresses(&advertise, &bound),
            ips(&["203.0.113.1", "127.0.0.1"])
        );
        let bound = ["127.0.0.1:9".parse().unwrap()];
        assert_eq!(addresses(&[], &bound), ips(&["127.0.0.1"]));
    }

    #[test]
    fn lines_fall_in_priority_and_hide_the_inside_address() {
        let lines = lines(
            &ips(&["10.0.0.2", "127.0.0.1"]),
            4000,
            Some("203.0.113.9:4100".parse().unwrap()),
        );
        assert_eq!(
            lines,
            [
                "a=candidate:1 1 udp 2130706431 10.0.0.2 4000 typ host",
                "a=candidate:2 1 udp 2130706175 127.0.0.1 4000 typ host",
                "a=candidate:3 1 udp 1694498815 203.0.113.9 4100 typ srflx raddr 0.0.0.0 rport 0",
            ]
        );
    }
}
