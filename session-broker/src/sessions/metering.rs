//! What is billed of a session: what its claim holds, for whom, and until when.
//!
//! The rule (docs/adr/0026): from the acked start to the acked stop. Where no node has confirmed the
//! stop, until the node was heard of last while it ran the session, and no longer than the order to stop.

use super::owner::Owner;
use crate::ledger::{Bill, Item, SessionRow};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Claim;
use nearlight_session::bill::Metered;
use nearlight_session::lifecycle::Stopped;
use std::collections::BTreeMap;

impl Owner {
    /// What the bill needs of a session whose usage begins.
    pub(super) fn bill_of(&self, row: &SessionRow, claim: &Claim) -> Bill {
        let node = self.fleet.get(&claim.node);
        let slot = node.and_then(|node| node.row.slots.get(&claim.slot));
        let held = slot.and_then(|slot| slot.held_by.as_ref());
        Bill {
            user: row.user.clone(),
            tenant: row.tenant.clone(),
            item: Item::App(row.app.id.clone()),
            region: node.map_or_else(String::new, |node| node.row.region.clone()),
            metered: Metered {
                cpu_milli: held.map_or(0, |held| held.cpu_milli),
                mem_mib: held.map_or(0, |held| held.mem_mib),
                gpus: Vec::new(),
            },
            labels: BTreeMap::new(),
        }
    }

    /// The end of a claim's usage.
    pub(super) fn billed_until(&self, claim: &Claim, stopped: Stopped, now: MonoTime) -> MonoTime {
        match stopped {
            Stopped::Confirmed => now,
            Stopped::Unconfirmed { ordered_at } => {
                let heard = self.fleet.get(&claim.node).map(|node| node.heard_at);
                let known = [heard, ordered_at].into_iter().flatten().min();
                known.map_or(now, |known| known.min(now))
            }
        }
    }
}
