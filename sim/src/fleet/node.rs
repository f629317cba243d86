//! A node: what the ledger says of it, and what really runs on it.

use super::clock::{NodeNo, SessionNo};
use super::machines::Machine;
use nearlight_placement::{NodeState, NodeView};
use nearlight_protocol::id::{SessionId, SlotId};
use nearlight_session::{Admission, Claim, Epoch, EpochJournal};

/// What a claim takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takes {
    pub(crate) cpu_milli: u32,
    pub(crate) mem_mib: u32,
    pub(crate) kbps: u32,
}

/// The ledger's row of a slot.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) id: SlotId,
    pub(crate) epoch: Epoch,
    pub(crate) held_by: Option<(SessionNo, Takes)>,
}

/// What runs on the node, whatever the broker thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) session: SessionNo,
    pub(crate) epoch: Epoch,
    pub(crate) slot: usize,
    pub(crate) ready: bool,
    pub(crate) attached: bool,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) slots: Vec<Slot>,
    /// What the edge wrote to its disk.
    pub(crate) journal: EpochJournal,
    /// What the index has of it.
    pub(crate) shown: NodeState,
    pub(crate) running: Vec<Running>,
    /// It has power.
    pub(crate) is_on: bool,
    /// It reaches the broker.
    pub(crate) is_plugged: bool,
    pub(crate) draining: bool,
    /// Counts boots and links: what was entered for an earlier one is void.
    pub(crate) life: u32,
    /// Since when it has been attached, for the report.
    pub(crate) up_since_us: u64,
}

impl Node {
    pub(crate) fn new(number: NodeNo, machine: Machine, rank: u32) -> Self {
        let slots = (0..machine.view.slots_total).map(|slot| Slot {
            id: SlotId::from_parts(u64::from(number) * 64 + u64::from(slot), [0; 10]),
            epoch: Epoch(0),
            held_by: None,
        });
        let slots: Vec<Slot> = slots.collect();
        let mut journal = EpochJournal::default();
        for slot in &slots {
            journal.add_slot(slot.id.clone());
        }
        let mut node = Self {
            machine,
            slots,
            journal,
            shown: NodeState::default(),
            running: Vec::new(),
            is_on: false,
            is_plugged: true,
            draining: false,
            life: 0,
            up_since_us: 0,
        };
        node.machine.view.state.rank = Some(rank);
        node.recount();
        node
    }

    pub(crate) const fn view(&self) -> &NodeView {
        &self.machine.view
    }

    pub(crate) const fn state(&self) -> &NodeState {
        &self.machine.view.state
    }

    /// Whether its control stream is up, as the broker sees it.
    pub(crate) const fn is_attached(&self) -> bool {
        self.machine.view.state.attached
    }

    pub(crate) fn set_attached(&mut self, attached: bool) {
        self.machine.view.state.attached = attached;
        self.machine.view.state.draining = self.draining;
    }

    /// Takes a free slot.
    ///
    /// # Errors
    /// What placement promised and is not so.
    pub(crate) fn claim(&mut self, session: SessionNo, takes: Takes) -> Result<Claim, String> {
        let node = self.machine.view.id.clone();
        let free = self.slots.iter_mut().find(|slot| slot.held_by.is_none());
        let slot = free.ok_or_else(|| format!("{node} was placed on and has no free slot"))?;
        slot.epoch = slot.epoch.next().ok_or("the epochs are used up")?;
        slot.held_by = Some((session, takes));
        let claim = Claim {
            node,
            slot: slot.id.clone(),
            epoch: slot.epoch,
        };
        self.take(takes)?;
        Ok(claim)
    }

    /// Lets a claim go. Returns what it took.
    ///
    /// # Errors
    /// The claim is not held, or by another session (I1).
    pub(crate) fn release(&mut self, session: SessionNo, claim: &Claim) -> Result<(), String> {
        let slot = self.slots.iter_mut().find(|slot| slot.id == claim.slot);
        let slot = slot.ok_or("a slot that the node never had was released")?;
        match slot.held_by.take() {
            Some((holder, _)) if holder == session && slot.epoch == claim.epoch => {
                self.recount();
                Ok(())
            }
            held => Err(format!(
                "session {session} released {} that {held:?} holds under {:?}",
                claim.slot, slot.epoch
            )),
        }
    }

    /// Whether the edge takes an order to start.
    pub(crate) fn admit(&mut self, session: SessionNo, id: &SessionId, claim: &Claim) -> Admission {
        let admission = self.journal.admit(&claim.slot, claim.epoch, id);
        let slot = self.slots.iter().position(|slot| slot.id == claim.slot);
        if let (Admission::Admit, Some(slot)) = (admission, slot) {
            self.running.push(Running {
                session,
                epoch: claim.epoch,
                slot,
                ready: false,
                attached: false,
            });
        }
        admission
    }

    /// Ends what runs. Returns whether it ran.
    pub(crate) fn end(&mut self, session: SessionNo, id: &SessionId, epoch: Epoch) -> bool {
        let of = |run: &Running| run.session == session && run.epoch == epoch;
        let Some(at) = self.running.iter().position(of) else {
            return false;
        };
        self.running.swap_remove(at);
        self.journal.release(id);
        true
    }

    pub(crate) fn running(&mut self, session: SessionNo, epoch: Epoch) -> Option<&mut Running> {
        let of = |run: &&mut Running| run.session == session && run.epoch == epoch;
        self.running.iter_mut().find(of)
    }

    fn take(&mut self, takes: Takes) -> Result<(), String> {
        let state = &mut self.machine.view.state;
        let less = |free: u32, needs: u32, what: &str| {
            let message = || format!("claims exceed the node's {what}: {needs} of {free}");
            free.checked_sub(needs).ok_or_else(message)
        };
        state.cpu_milli_free = less(state.cpu_milli_free, takes.cpu_milli, "CPU")?;
        state.mem_mib_free = less(state.mem_mib_free, takes.mem_mib, "memory")?;
        if let Some(kbps) = state.uplink_kbps_free {
            state.uplink_kbps_free = Some(less(kbps, takes.kbps, "uplink")?);
        }
        state.slots_free = less(state.slots_free, 1, "slots")?;
        state.sessions += 1;
        Ok(())
    }

    /// What no claim holds, from the claims.
    pub(crate) fn recount(&mut self) {
        let view = &mut self.machine.view;
        let held = self.slots.iter().filter_map(|slot| slot.held_by.as_ref());
        let state = &mut view.state;
        (state.sessions, state.slots_free) = (0, view.slots_total);
        state.cpu_milli_free = view.cpu_milli_total;
        state.mem_mib_free = view.mem_mib_total;
        state.uplink_kbps_free = view.uplink_kbps_total;
        for (_, takes) in held {
            state.sessions += 1;
            state.slots_free -= 1;
            state.cpu_milli_free -= takes.cpu_milli;
            state.mem_mib_free -= takes.mem_mib;
            state.uplink_kbps_free = state.uplink_kbps_free.map(|kbps| kbps - takes.kbps);
        }
    }
}
