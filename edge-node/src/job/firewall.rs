//! Rules of the host's packet filter that hold a job, and how they are taken away.
//!
//! From a job's bridge nothing reaches the host but answers to what the host began (`INPUT`), and nothing goes
//! further but what its other chain lets pass (`DOCKER-USER`, which engines leave to others and pass everything
//! through first). Rules are in place before the bridge is.
//!
//! **Invariants.** Every rule of ours says whose it is: `nearlight:<node>:<session>`; no other is touched, but those
//! that an engine which was killed has left beside the bridge of a network that it has no more. Rules of one job change in one transaction.
//!
//! **What it does not know:** what a job may reach ([`super::egress`]).

use super::network;
use crate::limits::COMMAND_DEADLINE;
use nearlight_protocol::id::{NodeId, SessionId};
use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Seconds that iptables waits for others who change rules.
const LOCK_WAIT_S: &str = "10";

/// What the comments of our rules begin with.
const OURS: &str = "nearlight:";

/// The packet filter, and the node whose rules in it are ours.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    node: NodeId,
}

impl Firewall {
    /// Whether this host's filter can be used.
    pub(crate) async fn open(node: &NodeId) -> io::Result<Self> {
        let firewall = Self { node: node.clone() };
        iptables(&["-S", "DOCKER-USER"]).await?;
        Ok(firewall)
    }

    /// Whose a rule is.
    pub(crate) fn label(&self, session: &SessionId) -> String {
        format!("{OURS}{}:{session}", self.node)
    }

    /// Puts a job's rules in place, or in order again if somebody has removed some. `chain` is the text of its
    /// own chain for what goes further.
    ///
    /// `mesh` is the bridge of its cluster, if it has one: what is on that reaches what is on it, and no more.
    pub(crate) async fn hold(
        &self,
        session: &SessionId,
        chain: &str,
        mesh: Option<&str>,
    ) -> io::Result<()> {
        // Whole, before anything leads to them.
        restore(&format!("{}{chain}", self.inward(session))).await?;
        let of_mesh = mesh.map(|bridge| self.jumps_of_mesh(session, bridge));
        let of_mesh = of_mesh.into_iter().flatten();
        let jumps: Vec<_> = self.jumps(session).into_iter().chain(of_mesh).collect();
        let looks = jumps.iter().map(|jump| is_in_place(jump));
        let in_place = futures_util::future::join_all(looks).await;
        let missing = jumps.iter().zip(in_place).filter(|(_, is)| !is);
        let missing: String = missing
            .map(|(jump, _)| format!("-I {}\n", jump.join(" ")))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => restore(&format!("*filter\n{missing}COMMIT\n")).await,
        }
    }

    /// The chain for what goes to the host itself: answers to it, which its other rules judge as any, and
    /// nothing else.
    fn inward(&self, session: &SessionId) -> String {
        let (chain, label) = (network::chain_inward(session), self.label(session));
        format!(
            "*filter\n:{chain} - [0:0]\n\
             -A {chain} -m conntrack --ctstate ESTABLISHED -j RETURN\n\
             -A {chain} -m comment --comment {label} -j DROP\nCOMMIT\n"
        )
    }

    /// The rules outside of its chains.
    fn jumps(&self, session: &SessionId) -> [Vec<String>; 2] {
        let (bridge, label) = (network::bridge(session), self.label(session));
        let rule = |place: &str, chain: &str| {
            let rule = [
                place,
                "-i",
                &bridge,
                "-m",
                "comment",
                "--comment",
                &label,
                "-j",
                chain,
            ];
            rule.map(str::to_owned).to_vec()
        };
        [
            rule("INPUT", &network::chain_inward(session)),
            rule("DOCKER-USER", &network::chain(session)),
        ]
    }

    /// The rules for what comes from its cluster's network.
    fn jumps_of_mesh(&self, session: &SessionId, bridge: &str) -> [Vec<String>; 2] {
        let (label, inward) = (self.label(session), network::chain_inward(session));
        let comment = ["-m", "comment", "--comment", &label, "-j"];
        let to_host = [&["INPUT", "-i", bridge], comment.as_slice(), &[&inward]].concat();
        let further = ["DOCKER-USER", "-i", bridge, "!", "-o", bridge];
        let further = [further.as_slice(), comment.as_slice(), &["DROP"]].concat();
        [to_host, further].map(|rule| rule.into_iter().map(str::to_owned).collect())
    }

    /// Takes a job's rules away, once its engine has no network for it; and what a killed engine may have left of that.
    pub(crate) async fn release(&self, session: &SessionId) -> io::Result<()> {
        let label = self.label(session);
        self.remove(session, |of| of == label).await
    }

    /// Takes away the rules that another node's agent of this host has for a session that is this node's now.
    pub(crate) async fn take_over(&self, session: &SessionId) -> io::Result<()> {
        let (label, end) = (self.label(session), format!(":{session}"));
        let is_anothers = |of: &str| of != label && of.ends_with(&end);
        let rules = iptables(&["-S"]).await?;
        match rules.lines().filter_map(label_of).any(is_anothers) {
            true => self.remove(session, is_anothers).await,
            false => Ok(()),
        }
    }

    /// Takes away the rules with such labels, and the session's chains unless they have others.
    async fn remove(&self, session: &SessionId, which: impl Fn(&str) -> bool) -> io::Result<()> {
        let rules = iptables(&["-S"]).await?;
        let mut rest = Vec::new();
        for line in rules.lines() {
            match (line.strip_prefix("-A "), label_of(line)) {
                (Some(rule), Some(label)) if which(label) => {
                    let parts: Vec<_> =
                        rule.split(' ').map(|part| part.trim_matches('"')).collect();
                    iptables(&[&["-D"], parts.as_slice()].concat()).await?;
                }
                _ => rest.push(line),
            }
        }
        for chain in [network::chain(session), network::chain_inward(session)] {
            let is_made = rest.contains(&format!("-N {chain}").as_str());
            // Every chain has a rule that says whose it is, and so has every jump to it.
            let is_anothers =
                |line: &&str| label_of(line).is_some() && line.split(' ').any(|part| part == chain);
            if is_made && !rest.iter().any(is_anothers) {
                iptables(&["-F", &chain]).await?;
                iptables(&["-X", &chain]).await?;
            }
        }
        // The job may be another node's of this host by now, and its bridge.
        let end = format!(":{session}");
        let is_held = |line: &&str| {
            label_of(line).is_some_and(|of| of.starts_with(OURS) && of.ends_with(&end))
        };
        match rest.iter().any(is_held) {
            true => Ok(()),
            false => release_bridge(&network::bridge(session)).await,
        }
    }

    /// Sessions that have rules of ours.
    pub(crate) async fn held(&self) -> io::Result<BTreeSet<SessionId>> {
        let rules = iptables(&["-S"]).await?;
        let prefix = format!("{OURS}{}:", self.node);
        let sessions = rules
            .lines()
            .filter_map(|line| label_of(line)?.strip_prefix(&prefix)?.parse().ok());
        Ok(sessions.collect())
    }
}

/// Whether this network namespace has an interface of this name. `/sys` may be another one's.
fn is_there(interface: &str) -> bool {
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let mut names = devices.lines().filter_map(|line| line.split_once(':'));
    names.any(|(name, _)| name.trim() == interface)
}

/// Takes away the bridge of a network that its engine has no more, and what names it. An engine makes the bridge, puts
/// rules beside it and then writes the network down; one that is killed at it knows nothing of them when it comes back.
/// No other bridge ever has the name.
async fn release_bridge(bridge: &str) -> io::Result<()> {
    if is_there(bridge) {
        // Whatever is on it goes on without.
        let deleted = Command::new("ip")
            .args(["link", "delete", "dev", bridge])
            .output();
        let why = match deleted.await {
            Ok(said) if said.status.success() => None,
            Ok(said) => Some(String::from_utf8_lossy(&said.stderr).trim().to_owned()),
            Err(error) => Some(format!("ip (iproute2): {error}")),
        };
        if let Some(why) = why {
            tracing::warn!(bridge, why, "a bridge that an engine has left stays");
        }
    }
    for table in ["filter", "nat"] {
        let rules = iptables(&["-t", table, "-S"]).await?;
        // Rules of ours are there before the bridge is.
        let is_engines = |line: &&str| !label_of(line).is_some_and(|of| of.starts_with(OURS));
        let rules = rules.lines().filter(is_engines);
        for rule in rules.filter_map(|line| line.strip_prefix("-A ")) {
            let parts: Vec<_> = rule.split(' ').map(|part| part.trim_matches('"')).collect();
            let names = parts
                .windows(2)
                .any(|pair| matches!(pair[0], "-i" | "-o") && pair[1] == bridge);
            if names
                // The engine may just have found it itself.
                && let Err(error) = iptables(&[&["-t", table, "-D"], parts.as_slice()].concat()).await
            {
                tracing::debug!(%error, bridge, "a rule of an engine for a bridge that is gone stays");
            }
        }
    }
    Ok(())
}

/// The comment of a rule, as `iptables -S` prints it.
fn label_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" --comment ")?;
    Some(rest.split(' ').next()?.trim_matches('"'))
}

async fn is_in_place(rule: &[String]) -> bool {
    let parts = rule.iter().map(String::as_str);
    let args: Vec<_> = ["-C"].into_iter().chain(parts).collect();
    iptables(&args).await.is_ok()
}

async fn iptables(args: &[&str]) -> io::Result<String> {
    let mut command = command("iptables");
    command
        .arg("-w")
        .arg(LOCK_WAIT_S)
        .args(args)
        .stdin(Stdio::null());
    finish("iptables", command.output()).await
}

async fn restore(text: &str) -> io::Result<()> {
    let mut command = command("iptables-restore");
    command
        .args(["-w", LOCK_WAIT_S, "--noflush"])
        .stdin(Stdio::piped());
    let run = async {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    finish("iptables-restore", run).await?;
    Ok(())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .kill_on_drop(true);
    command
}

async fn finish(
    program: &str,
    run: impl Future<Output = io::Result<std::process::Output>>,
) -> io::Result<String> {
    let output = tokio::time::timeout(COMMAND_DEADLINE, run)
        .await
        .map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{program} did not end in time"),
            )
        })?
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if !output.status.success() {
        let words = crate::runtime::last_words(&output.stderr);
        return Err(io::Error::other(format!("{program} failed: {words}")));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::job::egress::Reach;
    use nearlight_protocol::job::Egress;

    #[test]
    fn a_rule_says_whose_it_is() {
        let line = r#"-A INPUT -i nl-x -m comment --comment "nearlight:nod:ses" -j DROP"#;
        assert_eq!(label_of(line), Some("nearlight:nod:ses"));
        assert_eq!(
            label_of("-A INPUT -m comment --comment plain"),
            Some("plain")
        );
        assert_eq!(label_of("-A INPUT -j DROP"), None);
    }

    #[tokio::test]
    async fn rules_are_put_once_mended_and_taken_away_alone() {
        let node = nearlight_kit::ids::node();
        let Ok(firewall) = Firewall::open(&node).await else {
            return;
        };
        let (one, two) = (nearlight_kit::ids::session(), nearlight_kit::ids::session());
        let hold = async |session: &SessionId, egress: &Egress| {
            let text = Reach::new(egress).rules(&network::chain(session), &firewall.label(session));
            firewall.hold(session, &text, None).await.unwrap();
        };
        let ours = async || {
            let rules = iptables(&["-S"]).await.unwrap();
            let is_ours = |line: &&str| line.contains(node.as_str());
            rules.lines().filter(is_ours).count()
        };
        hold(&one, &Egress::default()).await;
        hold(&two, &Egress::default()).await;
        assert_eq!(ours().await, 8);
        // Somebody has removed one, and what the job may reach has changed.
        let jump = firewall.jumps(&one);
        let parts: Vec<&str> = jump[0].iter().map(String::as_str).collect();
        iptables(&[&["-D"], parts.as_slice()].concat())
            .await
            .unwrap();
        let internet = Egress {
            internet: true,
            ..Egress::default()
        };
        hold(&one, &internet).await;
        assert_eq!(ours().await, 8);
        let held = firewall.held().await.unwrap();
        assert_eq!(held, [one.clone(), two.clone()].into());
        firewall.release(&one).await.unwrap();
        assert_eq!(ours().await, 4);
        // As an engine leaves them that is killed while it makes a network.
        let bridge = network::bridge(&two);
        let left = ["FORWARD", "-i", &bridge, "!", "-o", &bridge, "-j", "ACCEPT"];
        iptables(&[&["-A"], left.as_slice()].concat())
            .await
            .unwrap();
        firewall.release(&one).await.unwrap();
        assert!(iptables(&["-S"]).await.unwrap().contains(&bridge));
        let mut ip = Command::new("ip");
        let made = ip.args(["link", "add", &bridge, "type", "bridge"]).status();
        assert!(made.await.unwrap().success());
        assert!(is_there(&bridge));
        // What moved to another node of this host is that one's: the first one's end touches nothing of it.
        let other = Firewall {
            node: nearlight_kit::ids::node(),
        };
        other.take_over(&two).await.unwrap();
        assert_eq!(ours().await, 0);
        assert!(!is_there(&bridge));
        let text = Reach::new(&Egress::default()).rules(&network::chain(&two), &other.label(&two));
        other.hold(&two, &text, None).await.unwrap();
        let of_other = || async {
            iptables(&["-S"])
                .await
                .unwrap()
                .matches(&other.label(&two))
                .count()
        };
        let held = of_other().await;
        assert_eq!(held, 4);
        firewall.release(&two).await.unwrap();
        assert_eq!(of_other().await, held);
        other.take_over(&two).await.unwrap();
        assert_eq!(of_other().await, held, "its own");
        other.release(&two).await.unwrap();
        other.release(&two).await.unwrap();
        assert!(!iptables(&["-S"]).await.unwrap().contains(&bridge));
        assert_eq!(ours().await, 0);
        let rules = iptables(&["-S"]).await.unwrap();
        assert!(!rules.contains(&network::chain(&one)) && !rules.contains(&network::chain(&two)));
    }
}
