//! What is counted as it happens.

use super::demand::{TENANTS, Wants};
use super::node::Node;
use super::session::Session;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::unit::MonoTime;
use std::collections::BTreeMap;

/// From so much VRAM on a GPU counts as rare, MiB.
const RARE_VRAM_MIB: u32 = 20 * 1024;

/// Classes of nodes, as the report names them.
pub(crate) const CLASSES: [&str; 4] = ["no-gpu", "render", "encode", "encode-20-gib"];

/// Counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) came: u64,
    pub(crate) decisions: u64,
    pub(crate) updates: u64,
    pub(crate) pulls: u64,
    pub(crate) starts_denied: u64,
    pub(crate) crashes: u64,
    pub(crate) unplugged: u64,
    pub(crate) drains: u64,
    pub(crate) restarts: u64,
    pub(crate) queue_max: usize,
    /// By what was wanted and why not.
    pub(crate) refused: BTreeMap<(Wants, &'static str), u64>,
    /// By how it ended.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Waits of placed sessions by what was wanted, milliseconds.
    pub(crate) waits_ms: BTreeMap<Wants, Vec<u32>>,
    pub(crate) gave_up: BTreeMap<Wants, u64>,
    /// Round trips of placed sessions, milliseconds.
    pub(crate) rtt_ms: Vec<u32>,
    /// How much nearer another node was that could have run it, milliseconds.
    pub(crate) regret_ms: Vec<u32>,
    pub(crate) eta: Eta,
    /// Waits of each tenant's sessions: number and sum, milliseconds.
    pub(crate) tenants: [(u64, u64); TENANTS],
    /// Sessions placed on each operator's nodes, and slot time: taken and there, seconds.
    pub(crate) operators: BTreeMap<usize, [f64; 3]>,
    /// The same times of each class of node.
    pub(crate) classes: [[f64; 2]; CLASSES.len()],
}

/// Whether what was told came true.
#[derive(Debug, Default)]
pub(crate) struct Eta {
    /// Told that nobody knows.
    pub(crate) unknown: u64,
    /// Told a time.
    pub(crate) told: u64,
    /// Placed, or given up, after the time was over.
    pub(crate) late: u64,
    /// Told a time that half of the waits do not exceed, and waited longer.
    pub(crate) told_half: u64,
    pub(crate) late_half: u64,
    /// Time waited over time told, in hundredths.
    pub(crate) over_percent: Vec<u32>,
}

impl Tally {
    pub(crate) fn refuse(&mut self, wants: Wants, reason: &'static str) {
        *self.refused.entry((wants, reason)).or_default() += 1;
    }

    pub(crate) fn placed(&mut self, node: &Node) {
        self.operators.entry(node.machine.operator).or_default()[0] += 1.0;
    }

    /// A session has its first slot.
    pub(crate) fn waited(&mut self, one: &Session, now: MonoTime) {
        let ms = now.millis_since(one.came_at);
        let wants = one.visit.wants;
        self.waits_ms.entry(wants).or_default().push(count(ms));
        let (sessions, sum) = &mut self.tenants[one.visit.tenant];
        (*sessions, *sum) = (*sessions + 1, *sum + ms);
        self.kept_word(one, now);
    }

    fn kept_word(&mut self, one: &Session, now: MonoTime) {
        let Some((at, eta)) = one.told else { return };
        let waited_ms = now.millis_since(at);
        let is_over = |s: u32| waited_ms > u64::from(s) * 1000;
        match (eta.half_s, eta.most_s) {
            (half, Some(most)) => {
                self.eta.told += 1;
                self.eta.late += u64::from(is_over(most));
                let percent = waited_ms / (u64::from(most) * 10).max(10);
                self.eta.over_percent.push(count(percent));
                self.eta.told_half += u64::from(half.is_some());
                self.eta.late_half += u64::from(half.is_some_and(is_over));
            }
            (_, None) => self.eta.unknown += 1,
        }
    }

    pub(crate) fn ended(&mut self, one: &Session, reason: EndReason, now: MonoTime) {
        if !one.placed_before {
            if reason == EndReason::Internal {
                // Refused, and counted there.
                return;
            }
            *self.gave_up.entry(one.visit.wants).or_default() += 1;
            let told = one.told.and_then(|(at, eta)| Some((at, eta.most_s?)));
            // Who leaves before the time is over says nothing of its truth.
            if told.is_some_and(|(at, s)| now.millis_since(at) > u64::from(s) * 1000) {
                self.kept_word(one, now);
            }
        }
        let reason = format!("{reason:?}");
        *self.ended.entry(reason).or_default() += 1;
    }

    pub(crate) fn ended_count(&self) -> u64 {
        self.ended.values().sum()
    }

    /// A slot was held for so long.
    pub(crate) fn released(&mut self, node: &Node, us: u64) {
        let s = us as f64 / 1e6;
        self.operators.entry(node.machine.operator).or_default()[1] += s;
        self.classes[class(node)][0] += s;
    }

    /// A node was attached for so long.
    pub(crate) fn was_up(&mut self, node: &Node, us: u64) {
        let s = us as f64 / 1e6 * f64::from(node.view().slots_total);
        self.operators.entry(node.machine.operator).or_default()[2] += s;
        self.classes[class(node)][1] += s;
    }
}

fn class(node: &Node) -> usize {
    match node.view().gpu {
        GpuClass::None => 0,
        GpuClass::Render => 1,
        GpuClass::RenderEncode if node.view().vram_mib < RARE_VRAM_MIB => 2,
        GpuClass::RenderEncode => 3,
    }
}

fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
