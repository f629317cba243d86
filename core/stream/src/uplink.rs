//! One node's uplink, shared by its sessions.
//!
//! Each session has a controller of its own, and would find its share of a common bottleneck by
//! pushing the others: slowly, unfairly, and with everybody's queue. So the sessions share one
//! estimate, which is configured, or measured (`measure`). From it each gets a max-min fair share.
//!
//! **Watchers come last.** Their shares are of what the players leave, and their word can take from watchers alone:
//! where the uplink is known, whoever has a watch link lowers nobody's picture. The least share is theirs all the same.
//!
//! **Suspected only.** What a lone player and a watcher agree on lowers no player and is told to nobody.

mod measure;

use measure::{Measuring, Witness};

/// Share of the uplink that is given away: the rest is for feedback, sound and bursts.
const USABLE: f64 = 0.95;
/// The least share, kbit/s.
const KBPS_LEAST: u32 = 150;

/// Somebody who is sent a picture, as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Whether only watching a session that somebody else plays.
    pub is_watcher: bool,
    /// What it could use, kbit/s, were the uplink no limit.
    pub kbps_wanted: u32,
    /// What it sends, kbit/s.
    pub kbps_sent: u32,
    /// The queue on its path, microseconds.
    pub queue_us: u32,
}

/// The uplink of a node.
#[derive(Clone, Debug)]
pub struct Uplink {
    configured: Option<u32>,
    measuring: Measuring,
}

impl Uplink {
    /// An uplink of so many kbit/s, or one to be measured.
    pub fn new(kbps: Option<u32>) -> Self {
        Self {
            configured: kbps,
            measuring: Measuring::default(),
        }
    }

    /// What it carries, configured or measured by several players; `None` while unknown.
    pub fn kbps(&self) -> Option<u32> {
        self.configured.or(self.measuring.kbps(Witness::Players))
    }

    /// Looks at all of them and writes what each may send into `shares`, in their order; `None` is
    /// no limit. To be called a few times a second.
    pub fn share(&mut self, demands: &[Demand], now_us: u64, shares: &mut Vec<Option<u32>>) {
        shares.clear();
        if self.configured.is_none() {
            self.measuring.look(demands, now_us);
        }
        let (known, suspected) = (self.kbps(), self.measuring.kbps(Witness::OnePlayer));
        let Some(kbps) = known.or(suspected) else {
            shares.resize(demands.len(), None);
            return;
        };
        let usable = (f64::from(kbps) * USABLE) as u32;
        let of = |is_watcher| move |demand: &&Demand| demand.is_watcher == is_watcher;
        let players = demands.iter().filter(of(false));
        let level = fair_level(players.clone(), usable).max(KBPS_LEAST);
        let count = players.clone().count();
        let own = |player: &Demand| match self.configured {
            Some(_) => level,
            None => level.max(self.measuring.kept(player, count)),
        };
        let takes = |player: &Demand| match known {
            Some(_) => player.kbps_wanted.min(own(player)),
            None => {
                let wanted = player.kbps_wanted.min(level);
                self.measuring.left_to_player(wanted, player.kbps_sent)
            }
        };
        let taken: u32 = players.map(takes).sum();
        let watchers = demands.iter().filter(of(true));
        let left = fair_level(watchers, usable.saturating_sub(taken)).max(KBPS_LEAST);
        let share = |demand: &Demand| match demand.is_watcher {
            true => Some(left),
            false => known.map(|_| own(demand)),
        };
        shares.extend(demands.iter().map(share));
    }
}

/// The level of max-min fairness: who wants less gets that, and all others get as much as each
/// other.
fn fair_level<'a>(demands: impl Iterator<Item = &'a Demand>, usable: u32) -> u32 {
    let mut wanted: Vec<u32> = demands.map(|d| d.kbps_wanted).collect();
    wanted.sort_unstable();
    let mut left = usable;
    for (i, want) in wanted.iter().enumerate() {
        let sharers = u32::try_from(wanted.len() - i).unwrap_or(u32::MAX);
        let level = left / sharers;
        if *want > level {
            return level;
        }
        left -= *want;
    }
    // Everybody gets what they want; what is left is nobody's limit.
    wanted.last().copied().unwrap_or(0).saturating_add(left)
}

#[cfg(test)]
#[path = "uplink/test.rs"]
mod test;
