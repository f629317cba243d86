//! A network of the process's own, in which a packet filter drops what the plan says.
//!
//! A line that is a proxy ([`super::proxy`]) holds back what two ends say to each other, and still acks it to both.
//! A network that loses packets of one way is worse: a connection that was there stands still with its acks, new ones
//! are half open, and whoever waits learns nothing at all. So with `--faults partitions` everything speaks
//! TCP in a namespace, where each broker has an address of its own for each of its lines:
//!
//! ```text
//!   broker n --to 127.0.1.n--> PostgreSQL        peers --to 127.0.2.n--> broker n
//! ```
//!
//! A packet of such a connection has the address at one of its ends, and there as its source or its destination:
//! that tells whose it is, and which way it goes.
//!
//! **What it does not know:** who is cut off, and for how long.

use super::plan::Way;
use anyhow::{Context, Result, bail, ensure};
use nix::sched::CloneFlags;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::process::Command;

/// Where PostgreSQL listens in such a network.
const LEDGER_PORT: u16 = 5432;
/// Where brokers listen for their peers.
const PEER_PORT: u16 = 8444;

/// A line of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// To PostgreSQL.
    Ledger,
    /// To and from its peers.
    Peers,
}

/// The network that this process is in, and what its brokers are called there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    brokers: usize,
}

/// Puts this thread, and every one that it starts, into a network of their own. It goes with the process.
///
/// # Errors
/// It takes root, `ip` and `iptables`.
pub(super) fn enter() -> Result<()> {
    const NEEDS: &str = "a network whose packets can be dropped takes root, ip and iptables";
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).context(NEEDS)?;
    for words in ["ip link set lo up", "iptables -w -S"] {
        let mut words = words.split(' ');
        let program = words.next().unwrap_or_default();
        let done = std::process::Command::new(program).args(words).output();
        let done = done.context(NEEDS)?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{NEEDS}: {program}: {said}");
    }
    Ok(())
}

impl Network {
    /// Of so many brokers, numbered from 0.
    pub(super) const fn of(brokers: usize) -> Self {
        Self { brokers }
    }

    /// What a broker is given for its ledger.
    pub(super) fn ledger_url(broker: usize) -> String {
        let at = address(Line::Ledger, broker);
        format!("postgres://nearlight@{at}:{LEDGER_PORT}/postgres")
    }

    /// Where a broker listens for its peers.
    pub(super) fn peer_address(broker: usize) -> std::net::SocketAddr {
        (address(Line::Peers, broker), PEER_PORT).into()
    }

    /// Drops every packet of a broker's line, one way or both, for a while. Several such cuts may overlap.
    pub(super) async fn cut_for(
        &self,
        line: Line,
        broker: usize,
        way: Way,
        time: Duration,
    ) -> Result<()> {
        self.filter("-A", line, broker, way).await?;
        tokio::time::sleep(time).await;
        self.filter("-D", line, broker, way).await
    }

    async fn filter(&self, what: &str, line: Line, broker: usize, way: Way) -> Result<()> {
        for rule in self.rules(line, broker, way) {
            let said = Command::new("iptables")
                .args(["-w", what, "INPUT", "-p", "tcp"])
                .args(rule.split(' '))
                .args(["-j", "DROP"])
                .output()
                .await?;
            if !said.status.success() {
                bail!("iptables: {}", String::from_utf8_lossy(&said.stderr));
            }
        }
        Ok(())
    }

    /// What is dropped: of a line to PostgreSQL the broker asks, of one to peers they do.
    fn rules(&self, line: Line, broker: usize, way: Way) -> Vec<String> {
        let at = address(line, broker);
        let (port, others) = match line {
            Line::Ledger => (LEDGER_PORT, 0),
            Line::Peers => (PEER_PORT, self.brokers),
        };
        let others = (0..others).filter(|other| *other != broker);
        let others: Vec<Ipv4Addr> = others.map(|other| address(line, other)).collect();
        let mut rules = Vec::new();
        if way != Way::Answering {
            rules.push(format!("-d {at} --dport {port}"));
            // What peers answer goes the same way as what they ask.
            rules.extend(others.iter().map(|at| format!("-s {at} --sport {port}")));
        }
        if way != Way::Asking {
            rules.push(format!("-s {at} --sport {port}"));
            rules.extend(others.iter().map(|at| format!("-d {at} --dport {port}")));
        }
        rules
    }
}

fn address(line: Line, broker: usize) -> Ipv4Addr {
    let number = u8::try_from(broker + 1).unwrap_or(u8::MAX);
    match line {
        Line::Ledger => Ipv4Addr::new(127, 0, 1, number),
        Line::Peers => Ipv4Addr::new(127, 0, 2, number),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_way_drops_what_goes_that_way_and_both_are_all_of_it() {
        let network = Network::of(2);
        let rules = |line, way| network.rules(line, 0, way);
        assert_eq!(
            rules(Line::Ledger, Way::Asking),
            ["-d 127.0.1.1 --dport 5432"]
        );
        assert_eq!(
            rules(Line::Ledger, Way::Answering),
            ["-s 127.0.1.1 --sport 5432"]
        );
        let to_it = ["-d 127.0.2.1 --dport 8444", "-s 127.0.2.2 --sport 8444"];
        assert_eq!(rules(Line::Peers, Way::Asking), to_it);
        for line in [Line::Ledger, Line::Peers] {
            let both = [rules(line, Way::Asking), rules(line, Way::Answering)].concat();
            assert_eq!(rules(line, Way::Both), both);
        }
    }
}
