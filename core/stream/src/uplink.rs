//! One node's uplink, shared by its sessions.
//!
//! Each session has a controller of its own, and would find its share of a common bottleneck by
//! pushing the others: slowly, unfairly, and with everybody's queue. So the sessions share one
//! estimate. It is configured, or measured: packets that wait in one queue wait equally long, so when
//! several sessions see the same queue for seconds on end, it is that of the uplink, and what they
//! send together is what the uplink carries. Queues on lines of their own differ. From then on each
//! gets a max-min fair share, the estimate probes upwards slowly, and it is forgotten once it is no
//! limit.
//!
//! **Watchers come last.** Their shares are of what the players leave, and what they say of their queues counts for
//! nothing: where the uplink is known, whoever has a watch link lowers nobody's picture. The least share is theirs all
//! the same. The uplink of a lone player is not measured.

/// Share of the uplink that is given away: the rest is for feedback, sound and bursts.
const USABLE: f64 = 0.95;
/// Upwards probing of a measured uplink, share per second.
const PROBE: f64 = 0.02;
/// A measured uplink of which less than this share is wanted for so long is forgotten.
const IDLE_SHARE: f64 = 0.7;
const FORGET_AFTER_US: u64 = 30_000_000;
/// Sessions that must see the same queue for it to be the uplink's: as many, this share of those that
/// send, for so many looks in a row.
const FULL_MIN: usize = 2;
const FULL_SHARE: f64 = 0.6;
const FULL_LOOKS: u32 = 8;
/// A queue that says something, and how far two views of one may be apart: by so much, or by this
/// share of the longer.
const QUEUE_US_MIN: u32 = 8_000;
const QUEUE_APART_US: u32 = 5_000;
const QUEUE_APART_SHARE: u32 = 4;
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
    measured: Option<f64>,
    updated_us: u64,
    /// Looks in a row at which the sessions saw the same queue.
    looks: u32,
    /// Since when a measured uplink has been no limit.
    idle_since_us: Option<u64>,
}

impl Uplink {
    /// An uplink of so many kbit/s, or one to be measured.
    pub fn new(kbps: Option<u32>) -> Self {
        Self {
            configured: kbps,
            measured: None,
            updated_us: 0,
            looks: 0,
            idle_since_us: None,
        }
    }

    /// What it carries, configured or measured; `None` while unknown.
    pub fn kbps(&self) -> Option<u32> {
        self.configured.or(self.measured.map(|kbps| kbps as u32))
    }

    /// Looks at all of them and writes what each may send into `shares`, in their order; `None` is
    /// no limit. To be called a few times a second.
    pub fn share(&mut self, demands: &[Demand], now_us: u64, shares: &mut Vec<Option<u32>>) {
        shares.clear();
        if self.configured.is_none() {
            self.measure(demands, now_us);
        }
        let Some(kbps) = self.kbps() else {
            shares.resize(demands.len(), None);
            return;
        };
        let usable = (f64::from(kbps) * USABLE) as u32;
        let of = |is_watcher| move |demand: &&Demand| demand.is_watcher == is_watcher;
        let players = demands.iter().filter(of(false));
        let level = fair_level(players.clone(), usable).max(KBPS_LEAST);
        let taken: u32 = players.map(|player| player.kbps_wanted.min(level)).sum();
        let watchers = demands.iter().filter(of(true));
        let left = fair_level(watchers, usable.saturating_sub(taken)).max(KBPS_LEAST);
        let share = |demand: &Demand| Some(if demand.is_watcher { left } else { level });
        shares.extend(demands.iter().map(share));
    }

    fn measure(&mut self, demands: &[Demand], now_us: u64) {
        let seconds = now_us.saturating_sub(self.updated_us).min(1_000_000) as f64 / 1e6;
        self.updated_us = now_us;
        self.looks = if is_one_queue(demands) {
            self.looks.saturating_add(1)
        } else {
            0
        };
        let total: f64 = demands.iter().map(|d| f64::from(d.kbps_sent)).sum();
        if self.looks >= FULL_LOOKS {
            // They may be backing off already, so what they send now is likely too little.
            let before = self.measured.unwrap_or(total);
            self.measured = Some(total.max(before * 0.8).min(before.max(1.0)));
            self.idle_since_us = None;
            return;
        }
        let Some(measured) = &mut self.measured else {
            return;
        };
        *measured *= 1.0 + PROBE * seconds;
        let players = demands.iter().filter(|demand| !demand.is_watcher).count();
        if total > *measured * IDLE_SHARE && players >= FULL_MIN {
            self.idle_since_us = None;
        } else if now_us.saturating_sub(*self.idle_since_us.get_or_insert(now_us)) > FORGET_AFTER_US
            || players < FULL_MIN
        {
            self.measured = None;
            self.idle_since_us = None;
        }
    }
}

/// Whether enough of the players who are sent something see the same queue.
fn is_one_queue(demands: &[Demand]) -> bool {
    let sending = (demands.iter()).filter(|d| d.kbps_sent > 0 && !d.is_watcher);
    let queues = || {
        let queues = sending.clone().map(|d| d.queue_us);
        queues.filter(|queue| *queue >= QUEUE_US_MIN)
    };
    let (count, all) = (queues().count(), sending.clone().count());
    if count < FULL_MIN || (count as f64) < all as f64 * FULL_SHARE {
        return false;
    }
    let (longest, shortest) = (queues().max().unwrap_or(0), queues().min().unwrap_or(0));
    longest - shortest <= QUEUE_APART_US.max(longest / QUEUE_APART_SHARE)
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
mod test {
    use super::*;
    use proptest::prelude::*;

    fn demand(kbps_wanted: u32, kbps_sent: u32, queue_us: u32) -> Demand {
        Demand {
            is_watcher: false,
            kbps_wanted,
            kbps_sent,
            queue_us,
        }
    }

    fn watcher(kbps_wanted: u32, queue_us: u32) -> Demand {
        Demand {
            is_watcher: true,
            ..demand(kbps_wanted, kbps_wanted, queue_us)
        }
    }

    #[test]
    fn watchers_have_what_the_players_leave_and_lower_nobody() {
        let mut uplink = Uplink::new(Some(20_000));
        let mut shares = Vec::new();
        let player = demand(8_000, 8_000, 0);
        let mut all = vec![watcher(8_000, 0); 16];
        all.push(player);
        uplink.share(&all, 0, &mut shares);
        assert!(shares[16].unwrap() >= 8_000, "{shares:?}");
        assert_eq!(shares[0], Some((19_000 - 8_000) / 16));
        uplink.share(
            &[demand(30_000, 19_000, 0), watcher(8_000, 0)],
            0,
            &mut shares,
        );
        assert_eq!(shares, [Some(19_000), Some(KBPS_LEAST)]);
        // Their word on queues is none.
        let mut uplink = Uplink::new(None);
        let liars = [watcher(100, 30_000), watcher(100, 30_000), player];
        for look in 1..4 * u64::from(FULL_LOOKS) {
            uplink.share(&liars, look * 250_000, &mut shares);
        }
        assert_eq!((uplink.kbps(), &shares[..]), (None, &[None; 3][..]));
    }

    #[test]
    fn a_third_session_on_twenty_megabits_lowers_all_fairly() {
        let mut uplink = Uplink::new(Some(20_000));
        let mut shares = Vec::new();
        uplink.share(&[demand(8_000, 8_000, 0); 2], 0, &mut shares);
        assert!(shares.iter().all(|share| share.unwrap() >= 8_000));
        uplink.share(&[demand(8_000, 8_000, 0); 3], 0, &mut shares);
        assert_eq!(shares, [Some(6_333); 3]);
        // Who wants little leaves the rest to the others.
        let mixed = [demand(1_000, 1_000, 0), demand(20_000, 9_000, 0)];
        uplink.share(&mixed, 0, &mut shares);
        assert_eq!(shares[1], Some(18_000));
    }

    #[test]
    fn an_uplink_is_measured_when_several_are_full_and_forgotten_when_none_is() {
        let mut uplink = Uplink::new(None);
        let mut shares = Vec::new();
        let mut now = 0;
        let mut look = |uplink: &mut Uplink, demands: &[Demand], times: u32| {
            for _ in 0..times {
                now += 250_000;
                uplink.share(demands, now, &mut shares);
            }
            shares.clone()
        };
        let one = [demand(8_000, 4_000, 30_000), demand(8_000, 8_000, 0)];
        look(&mut uplink, &one, 50);
        assert_eq!(uplink.kbps(), None, "one full path is that path's matter");
        let two = [demand(8_000, 4_000, 30_000), demand(8_000, 8_000, 15_000)];
        look(&mut uplink, &two, 50);
        assert_eq!(uplink.kbps(), None, "two queues are two lines");
        let same = [demand(8_000, 4_000, 30_000), demand(8_000, 6_000, 27_000)];
        look(&mut uplink, &same, FULL_LOOKS - 1);
        assert_eq!(uplink.kbps(), None, "a moment may be chance");
        let shares = look(&mut uplink, &same, 1);
        assert_eq!(uplink.kbps(), Some(10_000));
        assert_eq!(shares, [Some(4_750); 2]);
        let shares = look(&mut uplink, &[demand(8_000, 2_000, 0); 2], 200);
        assert_eq!(uplink.kbps(), None);
        assert_eq!(shares, [None; 2]);
    }

    proptest! {
        #[test]
        fn shares_never_exceed_the_uplink_and_nobody_is_starved(
            uplink in 1_000_u32..100_000,
            wanted in proptest::collection::vec(0_u32..20_000, 1..6),
        ) {
            let demands: Vec<Demand> = wanted.iter().map(|w| demand(*w, *w, 0)).collect();
            let level = fair_level(demands.iter(), uplink);
            let used: u64 = wanted.iter().map(|w| u64::from((*w).min(level))).sum();
            prop_assert!(used <= u64::from(uplink));
            let everybody = wanted.iter().all(|w| *w <= level);
            let sharers = wanted.len() as u64;
            prop_assert!(everybody || used + sharers >= u64::from(uplink));
        }
    }
}
