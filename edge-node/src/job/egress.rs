//! What a job may reach, as rules of its chain; and the names in it, looked up here.
//!
//! A job that may reach a list of names gets their addresses in its /etc/hosts, so that it needs no resolver,
//! and none is reached. The same addresses are in its rules. Names are looked up again now and then: new
//! addresses are added, old ones stay for connections that use them, up to a bound. The next agent takes them up from
//! that file: while no resolver answers it, the job keeps what it had.
//!
//! **Invariant.** No rule lets anything pass to a private, shared, link-local, loopback, multicast or reserved
//! address (RFC 6890), whatever a list, or a resolver that lies, says. Whatever no rule lets pass is dropped.

use crate::limits::{EGRESS_ADDRESSES_MAX, RESOLVE_DEADLINE};
use nearlight_protocol::job::Egress;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Where nothing of a job's ever goes.
const NEVER: [&str; 12] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
];

/// What one job may reach, as far as is known by now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    internet: bool,
    networks: Vec<String>,
    /// Ports of a name, and its addresses, the newest first.
    names: BTreeMap<String, (Vec<u16>, Vec<Ipv4Addr>)>,
}

impl Reach {
    /// What a spec asks for; no name is looked up yet.
    pub(crate) fn new(egress: &Egress) -> Self {
        let mut reach = Self {
            internet: egress.internet,
            ..Self::default()
        };
        for entry in &egress.allow {
            if let Some((network, bits)) = entry.split_once('/') {
                // A job's network has no IPv6.
                if network.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok() {
                    reach.networks.push(entry.clone());
                }
            } else if let Some((name, port)) = entry.rsplit_once(':')
                && let Ok(port) = port.parse()
            {
                reach
                    .names
                    .entry(name.to_ascii_lowercase())
                    .or_default()
                    .0
                    .push(port);
            }
        }
        reach
    }

    /// Whether it may reach anything at all.
    pub(crate) fn is_none(&self) -> bool {
        !self.internet && self.networks.is_empty() && self.names.is_empty()
    }

    /// Whether it resolves names by itself.
    pub(crate) fn is_internet(&self) -> bool {
        self.internet
    }

    /// Whether there are names to look up.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// Looks every name up; whether any address is new.
    pub(crate) async fn resolve(&mut self) -> bool {
        let mut is_new = false;
        for (name, (_, addresses)) in &mut self.names {
            let look = tokio::net::lookup_host((name.as_str(), 0));
            match tokio::time::timeout(RESOLVE_DEADLINE, look).await {
                Ok(Ok(found)) => is_new |= add(addresses, found.map(|at| at.ip())),
                Ok(Err(error)) => {
                    tracing::warn!(name, %error, "cannot look up a name that a job may reach")
                }
                Err(_elapsed) => {
                    tracing::warn!(name, "looking up a name that a job may reach took too long")
                }
            }
        }
        is_new
    }

    /// Takes up the addresses that an earlier agent has found, from the /etc/hosts that it has given the job.
    pub(crate) fn recall(&mut self, hosts: &str) {
        // The newest are its first.
        for line in hosts.lines().rev() {
            if let Some((address, name)) = line.split_once('\t')
                && let (Ok(address), Some((_, known))) = (address.parse(), self.names.get_mut(name))
            {
                add(known, std::iter::once(IpAddr::V4(address)));
            }
        }
    }

    /// The job's /etc/hosts.
    pub(crate) fn hosts(&self, container: Ipv4Addr, host_name: &str) -> String {
        let mut text = format!("127.0.0.1\tlocalhost\n{container}\t{host_name}\n");
        for (name, (_, addresses)) in &self.names {
            for address in addresses {
                let _ = writeln!(text, "{address}\t{name}");
            }
        }
        text
    }

    /// The rules of its chain, as iptables-restore takes them, for what comes from its bridge. `label` says
    /// whose they are.
    pub(crate) fn rules(&self, chain: &str, label: &str) -> String {
        let mut text = format!("*filter\n:{chain} - [0:0]\n");
        let mut rule = |what: &str| {
            let _ = writeln!(text, "-A {chain} {what}");
        };
        if !self.is_none() {
            for network in NEVER {
                rule(&format!("-d {network} -j DROP"));
            }
        }
        for network in &self.networks {
            rule(&format!("-d {network} -j RETURN"));
        }
        for (ports, addresses) in self.names.values() {
            for (address, port) in addresses
                .iter()
                .flat_map(|a| ports.iter().map(move |p| (a, p)))
            {
                rule(&format!("-p tcp -d {address} --dport {port} -j RETURN"));
            }
        }
        let rest = if self.internet { "RETURN" } else { "DROP" };
        rule(&format!("-m comment --comment {label} -j {rest}"));
        text.push_str("COMMIT\n");
        text
    }
}

/// Adds what is new to the front; whether there was any.
fn add(known: &mut Vec<Ipv4Addr>, found: impl Iterator<Item = IpAddr>) -> bool {
    let mut is_new = false;
    for address in found {
        let IpAddr::V4(address) = address else {
            continue;
        };
        if is_public(address) && !known.contains(&address) {
            known.insert(0, address);
            is_new = true;
        }
    }
    known.truncate(EGRESS_ADDRESSES_MAX);
    is_new
}

/// Whether no rule of [`NEVER`] has it.
fn is_public(address: Ipv4Addr) -> bool {
    let is_in = |network: &str| {
        let (first, bits) = network.split_once('/')?;
        let (first, bits): (Ipv4Addr, u32) = (first.parse().ok()?, bits.parse().ok()?);
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Some(u32::from(address) & mask == u32::from(first))
    };
    !NEVER.iter().any(|network| is_in(network) == Some(true))
}

#[cfg(test)]
mod test {
    use super::*;

    fn allow(entries: &[&str]) -> Reach {
        Reach::new(&Egress {
            allow: entries.iter().map(|e| (*e).to_owned()).collect(),
            internet: false,
        })
    }

    #[test]
    fn nothing_is_reached_unless_it_is_asked_for() {
        let reach = Reach::new(&Egress::default());
        assert!(reach.is_none());
        let rules = reach.rules("NL-X", "nearlight:nod:ses");
        assert_eq!(
            rules,
            "*filter\n:NL-X - [0:0]\n-A NL-X -m comment --comment nearlight:nod:ses -j DROP\nCOMMIT\n"
        );
    }

    #[test]
    fn private_ranges_are_dropped_before_anything_is_let_pass() {
        let internet = Reach::new(&Egress {
            allow: Vec::new(),
            internet: true,
        });
        for reach in [internet, allow(&["10.0.0.0/8", "203.0.113.0/24"])] {
            let rules = reach.rules("NL-X", "l");
            let first_pass = rules.find("RETURN").unwrap();
            for network in NEVER {
                let dropped = rules.find(&format!("-d {network} -j DROP"));
                assert!(
                    dropped.is_some_and(|at| at < first_pass),
                    "{network}: {rules}"
                );
            }
        }
    }

    #[test]
    fn a_name_is_its_public_addresses_at_its_ports() {
        let mut reach = allow(&["Pypi.org:443", "pypi.org:80"]);
        assert!(reach.has_names() && !reach.is_none());
        let found = [
            "203.0.113.9",
            "169.254.169.254",
            "192.168.0.1",
            "::1",
            "127.0.0.1",
        ];
        let found = || found.iter().map(|a| a.parse().unwrap());
        let (_, addresses) = reach.names.get_mut("pypi.org").unwrap();
        assert!(add(addresses, found()));
        assert!(!add(addresses, found()), "none of them is new");
        let rules = reach.rules("NL-X", "l");
        let passes: Vec<_> = rules
            .lines()
            .filter(|line| line.ends_with("RETURN"))
            .collect();
        let expected = [
            "-A NL-X -p tcp -d 203.0.113.9 --dport 443 -j RETURN",
            "-A NL-X -p tcp -d 203.0.113.9 --dport 80 -j RETURN",
        ];
        assert_eq!(passes, expected);
        let hosts = reach.hosts(Ipv4Addr::new(10, 231, 0, 2), "job");
        assert!(
            hosts.ends_with("10.231.0.2\tjob\n203.0.113.9\tpypi.org\n"),
            "{hosts}"
        );
    }

    #[test]
    fn old_addresses_stay_up_to_a_bound() {
        let mut known = Vec::new();
        for n in 0..u8::MAX {
            add(&mut known, std::iter::once(IpAddr::from([203, 0, 113, n])));
        }
        assert_eq!(known.len(), EGRESS_ADDRESSES_MAX);
        assert_eq!(known[0], Ipv4Addr::new(203, 0, 113, 254));
    }

    #[test]
    fn what_an_agent_has_found_the_next_one_takes_up_and_no_more() {
        let container = Ipv4Addr::new(10, 231, 0, 2);
        let entries = ["pypi.org:443", "quay.io:443", "r0:80"];
        let mut reach = allow(&entries);
        for (name, address) in [("pypi.org", 9), ("quay.io", 7), ("pypi.org", 8)] {
            let (_, addresses) = reach.names.get_mut(name).unwrap();
            add(
                addresses,
                std::iter::once(IpAddr::from([203, 0, 113, address])),
            );
        }
        let hosts = reach.hosts(container, "job");
        let mut next = allow(&entries);
        next.recall(&format!(
            "{hosts}10.231.0.3\tr0\n203.0.113.1\tother.org\n?\n"
        ));
        assert_eq!(next, reach);
        assert_eq!(next.hosts(container, "job"), hosts);
    }

    #[tokio::test]
    async fn a_name_of_this_host_leads_nowhere() {
        let mut reach = allow(&["localhost:80"]);
        assert!(!reach.resolve().await);
        assert!(!reach.rules("NL-X", "l").contains("RETURN"));
    }
}
