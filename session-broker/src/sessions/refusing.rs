//! Which nodes refused a session, or failed to start it, and who is kept off them.
//!
//! ```text
//!   well --a start fails--> kept off: by whose it was --one of somebody else fails--> by everybody
//!    ^                          |  for 5 s, twice as long after each failure, 5 minutes at most
//!    '---- a start works -------+---- the time is over: offered again, and the next failure counts on
//! ```
//!
//! A refusal keeps off the one session that was refused, for as long: why it was may be over as soon as it was said.
//!
//! **Invariants.** A session is not placed where it was refused, or where starts fail, until that time is over or no
//! other node that is there could run it, now or once something is free; a cluster, no other site all of it. Where none
//! could, nothing is kept off: whoever has one node alone learns at once what it says. One owner's starts, which may
//! fail for what they start, keep nobody else off.
//!
//! All of it is in the memory of one broker. What one knows of its nodes another one does not: a session that it gave away
//! for a node, and that comes back, was refused there for [`BOUNCED_MS`], so that none goes to and fro.
//!
//! **What it does not know:** why a start failed.

use super::owner::Owner;
use crate::ledger::SessionRow;
use nearlight_placement::SessionRequest;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::volume::owner;
use nearlight_session::Epoch;
use nearlight_session::lifecycle::Phase;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// For how long a node is left alone after the first failure or refusal, and at most.
const FIRST_MS: u64 = 5_000;
const LONGEST_MS: u64 = 300_000;
/// Owners whose starts have to fail so that the node is what fails.
const OWNERS: usize = 2;

/// For how long it is after one that came after so many.
fn left_alone_ms(times: u32) -> u64 {
    (FIRST_MS << times.min(10)).min(LONGEST_MS)
}

/// For how long a session that comes back from another broker is not given to it for the same node.
const BOUNCED_MS: u64 = 10_000;
/// Sessions of which it is known where they were refused. Of more, the first are forgotten.
const REFUSALS_MAX: usize = 4096;

/// The nodes that refused sessions, or failed to start them. A session that is given away and comes back is here still.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    of: HashMap<SessionId, BTreeMap<NodeId, Refused>>,
    /// In the order in which they came.
    order: VecDeque<SessionId>,
    /// When it was last looked whose time is over.
    looked_at: MonoTime,
}

/// What one node said to one session.
#[derive(Debug, Default)]
struct Refused {
    times: u32,
    /// Until when it counts.
    until: MonoTime,
}

impl Refusals {
    fn said(&mut self, session: &SessionId, node: &NodeId) -> &mut Refused {
        if !self.of.contains_key(session) {
            if self.order.len() >= REFUSALS_MAX
                && let Some(first) = self.order.pop_front()
            {
                self.of.remove(&first);
            }
            self.order.push_back(session.clone());
        }
        let nodes = self.of.entry(session.clone()).or_default();
        nodes.entry(node.clone()).or_default()
    }

    /// A node refused a session.
    fn refused(&mut self, session: &SessionId, node: &NodeId, now: MonoTime) {
        let said = self.said(session, node);
        said.until = (said.until).max(now.plus_millis(left_alone_ms(said.times)));
        said.times += 1;
    }

    /// A session is given to another broker, for a node of its.
    pub(super) fn given(&mut self, session: &SessionId, node: &NodeId, now: MonoTime) {
        let said = self.said(session, node);
        said.until = said.until.max(now.plus_millis(BOUNCED_MS));
    }

    fn of(&self, session: &SessionId, now: MonoTime) -> impl Iterator<Item = &NodeId> {
        let nodes = self.of.get(session).into_iter().flatten();
        let still = nodes.filter(move |(_, said)| said.until > now);
        still.map(|(node, _)| node)
    }

    /// The nodes with a refusal whose time is over since the last look.
    fn over(&mut self, now: MonoTime) -> BTreeSet<NodeId> {
        let before = std::mem::replace(&mut self.looked_at, now);
        let said = self.of.values().flatten();
        let over = said.filter(|(_, said)| before < said.until && said.until <= now);
        over.map(|(node, _)| node.clone()).collect()
    }
}

/// Nodes on which starts fail.
#[derive(Debug, Default)]
pub(super) struct Failing(HashMap<NodeId, Failures>);

/// Starts that failed since one worked.
#[derive(Debug, Default)]
struct Failures {
    times: u32,
    /// Whose they were; as many as count.
    owners: BTreeSet<String>,
    until: MonoTime,
    /// Whether it was offered again since then.
    is_offered: bool,
}

impl Failing {
    /// A start of this owner's failed there.
    fn failed(&mut self, node: &NodeId, owner: String, now: MonoTime) {
        let failures = self.0.entry(node.clone()).or_default();
        failures.until = now.plus_millis(left_alone_ms(failures.times));
        failures.times += 1;
        failures.is_offered = false;
        if failures.owners.len() < OWNERS {
            failures.owners.insert(owner);
        }
    }

    /// A start worked there. Whether others had failed before.
    pub(super) fn started(&mut self, node: &NodeId) -> bool {
        self.0.remove(node).is_some()
    }

    /// The nodes that an owner is kept off.
    fn for_owner<'a>(&'a self, owner: &'a str, now: MonoTime) -> impl Iterator<Item = &'a NodeId> {
        let kept = self.0.iter().filter(move |(_, failures)| {
            let counts = failures.owners.len() >= OWNERS || failures.owners.contains(owner);
            counts && failures.until > now
        });
        kept.map(|(node, _)| node)
    }

    /// Nodes whose time is over since the last look. Those that are not heard of any more are forgotten.
    pub(super) fn over(&mut self, now: MonoTime) -> Vec<NodeId> {
        self.0
            .retain(|_, failures| failures.until.plus_millis(LONGEST_MS) > now);
        let over = self.0.iter_mut();
        let over = over.filter(|(_, failures)| failures.until <= now && !failures.is_offered);
        over.map(|(node, failures)| {
            failures.is_offered = true;
            node.clone()
        })
        .collect()
    }
}

impl Owner {
    /// A node refused a session: it, or its cluster, is placed elsewhere, if there is an elsewhere.
    pub(super) fn refused_by(&mut self, node: &NodeId, session: &SessionId, now: MonoTime) {
        let cluster = self.cluster_of(session);
        let whose = cluster.as_ref().unwrap_or(session);
        self.refusals.refused(whose, node, now);
    }

    /// Whether an end that a node reports is that of a start which another node may do better. It is then to be
    /// tried there.
    pub(super) fn fails_to_start(
        &mut self,
        (node, session): (&NodeId, &SessionId),
        (epoch, reason): (Epoch, EndReason),
        now: MonoTime,
    ) -> bool {
        let Some(entry) = self.sessions.get(session) else {
            return false;
        };
        let is_its = entry.life.held().is_some_and(|h| h.claim.epoch == epoch);
        let starts = matches!(
            entry.life.phase(),
            Phase::Placing { .. } | Phase::Starting { .. }
        );
        if !is_its || !starts || !is_the_nodes(reason) {
            return false;
        }
        let row = entry.row.clone();
        let whose = owner(row.tenant.as_ref(), &row.user);
        self.failing.failed(node, whose, now);
        tracing::warn!(node_id = %node, session_id = %session, ?reason, "a start failed on the node");
        if row.replica.is_some() {
            return false;
        }
        self.refused_by(node, session, now);
        // Whoever is kept off nothing has no other node.
        let request = self.asked_for(&row, now);
        !self.kept_off(&row, &request).is_empty()
    }

    /// The nodes that refused a session, or that its owner is kept off, whether there is another one or not.
    fn avoided(&self, row: &SessionRow) -> BTreeSet<NodeId> {
        let now = self.clock.now();
        let refused = self.refusals.of(&row.id, now);
        let mut all: BTreeSet<NodeId> = refused.cloned().collect();
        if !self.failing.0.is_empty() {
            let whose = owner(row.tenant.as_ref(), &row.user);
            let failing = self.failing.for_owner(&whose, now);
            all.extend(failing.cloned());
        }
        all
    }

    /// The nodes that a session is not placed on.
    pub(super) fn kept_off(&self, row: &SessionRow, request: &SessionRequest) -> BTreeSet<NodeId> {
        let refused = self.avoided(row);
        if refused.is_empty() || self.is_tied(row) {
            return BTreeSet::new();
        }
        let beside = SessionRequest {
            refused,
            ..request.clone()
        };
        let cluster = row.work.job().filter(|_| row.is_cluster());
        let has_another = match cluster {
            Some(spec) => self.has_another_site(&beside, spec.replicas()),
            None => (self.fleet.index()).has_another(&beside, self.policy_for(row)),
        };
        match has_another {
            true => beside.refused,
            false => BTreeSet::new(),
        }
    }

    /// The same of one node that is offered to it: it, or none.
    pub(super) fn kept_off_one(
        &self,
        node: &NodeId,
        row: &SessionRow,
        request: &SessionRequest,
    ) -> BTreeSet<NodeId> {
        // Of a long queue few avoid it.
        match self.avoided(row).contains(node) {
            true => self.kept_off(row, request),
            false => BTreeSet::new(),
        }
    }

    /// Whether one node alone may run it.
    fn is_tied(&self, row: &SessionRow) -> bool {
        let plan = self.volume_plan(row);
        row.wish.node().is_some() || plan.is_ok_and(|plan| plan.on.is_some())
    }

    /// Offers nodes again that were left alone for long enough.
    pub(super) fn offer_again(&mut self, now: MonoTime) {
        let refused = self.refusals.over(now);
        for node in self.failing.over(now).into_iter().chain(refused) {
            self.fleet.reopen(node);
        }
    }
}

/// Whether a start that ends so may well work on another node.
const fn is_the_nodes(reason: EndReason) -> bool {
    matches!(reason, EndReason::RuntimeFailed | EndReason::EncoderFailed)
}

#[cfg(test)]
mod test {
    use super::*;

    const fn at(ms: u64) -> MonoTime {
        MonoTime(ms * 1000)
    }

    fn is_kept_off(failing: &Failing, owner: &str, ms: u64) -> bool {
        failing.for_owner(owner, at(ms)).next().is_some()
    }

    #[test]
    fn one_owner_keeps_itself_off_and_two_keep_everybody_off() {
        let node = nearlight_kit::ids::node();
        let mut failing = Failing::default();
        failing.failed(&node, "a".to_owned(), at(0));
        failing.failed(&node, "a".to_owned(), at(0));
        assert!(is_kept_off(&failing, "a", 0) && !is_kept_off(&failing, "b", 0));
        failing.failed(&node, "b".to_owned(), at(0));
        assert!(is_kept_off(&failing, "c", 0));
        assert!(failing.started(&node) && !failing.started(&node));
        assert!(!is_kept_off(&failing, "a", 0));
    }

    #[test]
    fn who_comes_back_is_not_given_away_again_at_once_and_who_was_refused_for_longer_each_time() {
        let [given, refused] = [(); 2].map(|()| nearlight_kit::ids::session());
        let node = nearlight_kit::ids::node();
        let mut refusals = Refusals::default();
        refusals.given(&given, &node, at(0));
        for _ in 0..3 {
            refusals.refused(&refused, &node, at(0));
        }
        refusals.given(&refused, &node, at(0));
        let is_refused = |session, ms| refusals.of(session, at(ms)).next().is_some();
        assert!(is_refused(&given, BOUNCED_MS - 1) && !is_refused(&given, BOUNCED_MS));
        assert!(is_refused(&refused, 4 * FIRST_MS - 1) && !is_refused(&refused, 4 * FIRST_MS));
        for _ in 0..REFUSALS_MAX {
            refusals.given(&nearlight_kit::ids::session(), &node, at(0));
        }
        assert_eq!(refusals.of.len(), REFUSALS_MAX);
        assert!(refusals.of(&refused, at(0)).next().is_none(), "long ago");
    }

    #[test]
    fn a_node_is_offered_again_when_a_refusal_is_over() {
        let [one, two] = [(); 2].map(|()| nearlight_kit::ids::session());
        let node = nearlight_kit::ids::node();
        let mut refusals = Refusals::default();
        refusals.refused(&one, &node, at(0));
        refusals.refused(&two, &node, at(1));
        assert!(refusals.over(at(FIRST_MS - 1)).is_empty());
        assert_eq!(refusals.over(at(FIRST_MS)), [node.clone()].into());
        assert_eq!(refusals.over(at(FIRST_MS + 1)), [node].into());
        assert!(refusals.over(at(FIRST_MS + 2)).is_empty());
    }

    #[test]
    fn each_failure_doubles_the_time_up_to_the_longest() {
        let node = nearlight_kit::ids::node();
        let mut failing = Failing::default();
        for for_ms in [5_000, 10_000, 20_000] {
            failing.failed(&node, "a".to_owned(), at(0));
            assert!(is_kept_off(&failing, "a", for_ms - 1));
            assert!(!is_kept_off(&failing, "a", for_ms));
        }
        for _ in 0..40 {
            failing.failed(&node, "a".to_owned(), at(0));
        }
        assert!(is_kept_off(&failing, "a", LONGEST_MS - 1));
        assert!(!is_kept_off(&failing, "a", LONGEST_MS));
    }

    #[test]
    fn a_node_is_offered_again_once_after_each_time() {
        let node = nearlight_kit::ids::node();
        let mut failing = Failing::default();
        failing.failed(&node, "a".to_owned(), at(0));
        assert_eq!(failing.over(at(4_999)), []);
        assert_eq!(failing.over(at(5_000)), std::slice::from_ref(&node));
        assert_eq!(failing.over(at(5_001)), []);
        failing.failed(&node, "a".to_owned(), at(6_000));
        assert_eq!(failing.over(at(16_000)), [node]);
        failing.over(at(16_000 + LONGEST_MS));
        assert!(failing.0.is_empty());
    }
}
