//! One node's uplink, shared by its sessions.
//!
//! Each session has a controller of its own, and would find its share of a common bottleneck by
//! pushing the others: slowly, unfairly, and with everybody's queue. So the sessions share one
//! estimate. It is configured, or measured: packets that wait in one queue wait equally long, so when
//! several sessions see the same queue again and again, it is that of the uplink, and what they
//! send together is what the uplink carries. Queues on lines of their own differ. (A queue that several
//! controllers share comes and goes every other second, for they back off together.) From then on each
//! gets a max-min fair share, the estimate probes upwards slowly, and it is forgotten once it is no
//! limit.
//!
//! **Watchers come last.** Their shares are of what the players leave, and their word can take from watchers alone:
//! where the uplink is known, whoever has a watch link lowers nobody's picture. The least share is theirs all the same.
//!
//! **Who measures.** Several players that see one queue agree on an uplink: it limits all, and the node may be told. A
//! player that is alone and a watcher that sees the same queue agree on one, too, but at the watchers' expense: it
//! lowers no player and is not told. If all watchers hide their queues, the uplink stays unknown, and everybody's
//! congestion control is left to share it.

/// Share of the uplink that is given away: the rest is for feedback, sound and bursts.
const USABLE: f64 = 0.95;
/// Upwards probing of a measured uplink, share per second.
const PROBE: f64 = 0.02;
/// A measured uplink of which less than this share is wanted for so long is forgotten.
const IDLE_SHARE: f64 = 0.7;
const FORGET_AFTER_US: u64 = 30_000_000;
/// One of which watchers would use more, had they pictures that are whole, is forgotten after so long all the same: the
/// line may have become wider. If it has not, the queue says so within some seconds.
const RETRY_AFTER_US: u64 = 120_000_000;
/// Players that must see the same queue for it to be the uplink's: as many, this share of those that
/// are sent something, at so many of the last looks.
const FULL_MIN: usize = 2;
const FULL_SHARE: f64 = 0.6;
const FULL_LOOKS: u32 = 8;
const LOOKS: u32 = 20;
/// Over how long what is sent is averaged, seconds.
const SENT_SECONDS: f64 = 2.5;
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
    measured: Option<Measured>,
    updated_us: u64,
    /// Who saw one queue last, and at which of the last looks: a bit each, the newest lowest.
    witness: Witness,
    sights: u32,
    /// What all are sent, on average over some seconds, kbit/s; `None` before the first look.
    sent: Option<f64>,
    /// Since when a measured uplink has been no limit.
    idle_since_us: Option<u64>,
}

/// What the uplink was measured to carry.
#[derive(Clone, Copy, Debug)]
struct Measured {
    kbps: f64,
    by: Witness,
}

/// Who sees a queue that may be the uplink's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Witness {
    Nobody,
    /// The only player and a watcher.
    OnePlayer,
    /// Several, who see the same one.
    Players,
}

impl Uplink {
    /// An uplink of so many kbit/s, or one to be measured.
    pub fn new(kbps: Option<u32>) -> Self {
        Self {
            configured: kbps,
            measured: None,
            updated_us: 0,
            witness: Witness::Nobody,
            sights: 0,
            sent: None,
            idle_since_us: None,
        }
    }

    /// What it carries, configured or measured by several players; `None` while unknown.
    pub fn kbps(&self) -> Option<u32> {
        let agreed = self.measured.filter(|m| m.by == Witness::Players);
        self.configured.or(agreed.map(|m| m.kbps as u32))
    }

    /// Looks at all of them and writes what each may send into `shares`, in their order; `None` is
    /// no limit. To be called a few times a second.
    pub fn share(&mut self, demands: &[Demand], now_us: u64, shares: &mut Vec<Option<u32>>) {
        shares.clear();
        if self.configured.is_none() {
            self.measure(demands, now_us);
        }
        let suspected = self.measured.map(|m| m.kbps as u32);
        let Some(kbps) = self.configured.or(suspected) else {
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
        let level = self.kbps().map(|_| level);
        let share = |demand: &Demand| match demand.is_watcher {
            true => Some(left),
            false => level,
        };
        shares.extend(demands.iter().map(share));
    }

    /// Notes a look. Looks of one kind say nothing of another; one at which nobody saw a queue is among both.
    fn see(&mut self, witness: Witness) {
        let is_other = witness != Witness::Nobody && witness != self.witness;
        if is_other {
            (self.witness, self.sights) = (witness, 0);
        }
        let seen = u32::from(witness != Witness::Nobody);
        self.sights = (self.sights << 1 | seen) & ((1 << LOOKS) - 1);
    }

    fn measure(&mut self, demands: &[Demand], now_us: u64) {
        let elapsed = now_us.saturating_sub(self.updated_us) as f64 / 1e6;
        let seconds = elapsed.min(1.0);
        self.updated_us = now_us;
        let unseen = self.sights == 0;
        self.see(witness(demands));
        let now: f64 = demands.iter().map(|d| f64::from(d.kbps_sent)).sum();
        let before = self.sent.unwrap_or(now);
        let mut total = before - (now - before) * (-elapsed / SENT_SECONDS).exp_m1();
        if unseen && self.sights != 0 {
            // The first to see a queue: the time before, when less was sent, says nothing of what fits.
            total = total.max(now);
        }
        self.sent = Some(total);
        if self.sights.count_ones() >= FULL_LOOKS {
            // They may be backing off already, so what they send is likely too little.
            let before = self.measured.map_or(total, |m| m.kbps);
            self.measured = Some(Measured {
                kbps: total.max(before * 0.8).min(before.max(1.0)),
                by: self.witness,
            });
            self.idle_since_us = None;
            // What they see next is of the shares that follow.
            self.sights = 0;
            return;
        }
        let Some(measured) = &mut self.measured else {
            return;
        };
        let idle = measured.kbps * IDLE_SHARE;
        if demands.len() < FULL_MIN {
            // Nobody is left to share it with.
            (self.measured, self.idle_since_us) = (None, None);
        } else if total > idle {
            measured.kbps *= 1.0 + PROBE * seconds;
            self.idle_since_us = None;
        } else {
            // What is not used is not known to be there, so it does not grow either.
            let after_us = match used(demands) > idle {
                true => RETRY_AFTER_US,
                false => FORGET_AFTER_US,
            };
            let since_us = *self.idle_since_us.get_or_insert(now_us);
            if now_us.saturating_sub(since_us) > after_us {
                (self.measured, self.idle_since_us) = (None, None);
            }
        }
    }
}

/// What all would use now, kbit/s: a watcher is sent what a player is, were there room, and lacks most of it while its
/// picture is broken.
fn used(demands: &[Demand]) -> f64 {
    let players = demands.iter().filter(|d| !d.is_watcher);
    let picture = players.map(|d| d.kbps_sent).max().unwrap_or(0);
    let used = |d: &Demand| match d.is_watcher {
        true => d.kbps_sent.max(picture.min(d.kbps_wanted)),
        false => d.kbps_sent,
    };
    demands.iter().map(|d| f64::from(used(d))).sum()
}

/// Whether a lone player sees the queue that a watcher sees, or enough of several the same one.
fn witness(demands: &[Demand]) -> Witness {
    let sent = demands.iter().filter(|d| d.kbps_sent > 0);
    let players = sent.clone().filter(|d| !d.is_watcher);
    let queues = || {
        let queues = players.clone().map(|d| d.queue_us);
        queues.filter(|queue| *queue >= QUEUE_US_MIN)
    };
    let (count, all) = (queues().count(), players.clone().count());
    if let (Some(queue), 1, 1) = (queues().next(), count, all) {
        // No queue agrees with a short one: a watcher's jitter is no word.
        let mut watchers = sent.filter(|d| d.is_watcher && d.queue_us >= QUEUE_US_MIN);
        let agrees = watchers.any(|d| is_one(queue.max(d.queue_us), queue.min(d.queue_us)));
        return match agrees {
            true => Witness::OnePlayer,
            false => Witness::Nobody,
        };
    }
    if count < FULL_MIN || (count as f64) < all as f64 * FULL_SHARE {
        return Witness::Nobody;
    }
    let (longest, shortest) = (queues().max().unwrap_or(0), queues().min().unwrap_or(0));
    match is_one(longest, shortest) {
        true => Witness::Players,
        false => Witness::Nobody,
    }
}

/// Whether two queues may be two views of one.
fn is_one(longest: u32, shortest: u32) -> bool {
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

    /// So many looks at the same demands, four a second.
    fn look(
        uplink: &mut Uplink,
        now_us: &mut u64,
        demands: &[Demand],
        times: u32,
    ) -> Vec<Option<u32>> {
        let mut shares = Vec::new();
        for _ in 0..times {
            *now_us += 250_000;
            uplink.share(demands, *now_us, &mut shares);
        }
        shares
    }

    #[test]
    fn a_lone_player_that_sees_a_queue_is_given_way_by_watchers_and_lowered_by_nobody() {
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        let mut all = vec![watcher(4_000, 0); 4];
        all.push(demand(8_000, 4_000, 30_000));
        let shares = look(&mut uplink, &mut now, &all, 4 * LOOKS);
        assert_eq!(
            shares, [None; 5],
            "a queue that no watcher sees is the player's own"
        );
        // A short one beside one of a player that is hardly longer is no queue, but jitter.
        all[4].queue_us = QUEUE_US_MIN;
        all[1].queue_us = QUEUE_US_MIN - 1;
        let shares = look(&mut uplink, &mut now, &all, 4 * LOOKS);
        assert_eq!(shares, [None; 5]);
        all[4].queue_us = 30_000;
        all[1].queue_us = 27_000;
        let shares = look(&mut uplink, &mut now, &all, FULL_LOOKS - 1);
        assert_eq!(shares, [None; 5], "a moment may be chance");
        let shares = look(&mut uplink, &mut now, &all, 1);
        // They send 20 Mbit/s together: what 19 leave beside the player's 8.
        assert_eq!(shares[..4], [Some((19_000 - 8_000) / 4); 4]);
        assert_eq!(shares[4], None, "the line may be its own");
        assert_eq!(uplink.kbps(), None, "one player's word closes no node");
        // They came down and the queue is gone: they stay down while all of it is used.
        all[..4].fill(watcher(2_750, 0));
        all[4] = demand(8_000, 8_000, 0);
        let shares = look(&mut uplink, &mut now, &all, 8);
        assert!(
            shares[0].unwrap() < 4_000 && shares[4].is_none(),
            "{shares:?}"
        );
        // They are sent next to nothing of what the player is, for their pictures are broken: still no room for all.
        all[..4].fill(Demand {
            kbps_sent: 300,
            ..watcher(8_000, 0)
        });
        let shares = look(&mut uplink, &mut now, &all, 400);
        assert!(shares[0].is_some(), "not forgotten");
        let shares = look(&mut uplink, &mut now, &all, 100);
        assert_eq!(shares[0], None, "but tried again now and then");
        // One that is left alone has nothing to share.
        all[1].queue_us = 27_000;
        all[4] = demand(8_000, 4_000, 30_000);
        assert!(look(&mut uplink, &mut now, &all, FULL_LOOKS)[0].is_some());
        assert_eq!(look(&mut uplink, &mut now, &all[4..], 1), [None]);
        all[4].queue_us = 0;
        assert_eq!(look(&mut uplink, &mut now, &all, 1), [None; 5]);
    }

    #[test]
    fn an_uplink_stays_measured_when_the_second_player_leaves_its_watchers() {
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        let mut all = vec![watcher(1_000, 0); 16];
        all.push(demand(8_000, 2_000, 30_000));
        all[0].queue_us = 29_000;
        let one = all.clone();
        all.push(demand(8_000, 2_000, 28_000));
        look(&mut uplink, &mut now, &all, FULL_LOOKS);
        assert_eq!(uplink.kbps(), Some(20_000));
        let shares = look(&mut uplink, &mut now, &one, 1);
        assert!(uplink.kbps().is_some());
        assert!(
            shares[0].unwrap() < 1_000 && shares[16].unwrap() >= 8_000,
            "{shares:?}"
        );
        // What it sees from now on may be its own line's: told no more, and no limit to it.
        let shares = look(&mut uplink, &mut now, &one, FULL_LOOKS);
        assert_eq!((uplink.kbps(), shares[16]), (None, None));
        assert!(shares[0].is_some());
    }

    #[test]
    fn a_queue_that_comes_and_goes_is_one_all_the_same() {
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        let full = [demand(8_000, 5_000, 40_000), demand(8_000, 5_000, 38_000)];
        let gone = [demand(8_000, 5_000, 0), demand(8_000, 5_000, 0)];
        for _ in 0..3 {
            look(&mut uplink, &mut now, &gone, 4);
            assert_eq!(uplink.kbps(), None);
            look(&mut uplink, &mut now, &full, 3);
        }
        assert!(uplink.kbps().is_some_and(|kbps| kbps < 10_100));
        // Seldom is not often enough.
        let mut uplink = Uplink::new(None);
        for _ in 0..20 {
            look(&mut uplink, &mut now, &gone, 6);
            look(&mut uplink, &mut now, &full, 2);
        }
        assert_eq!(uplink.kbps(), None);
    }

    #[test]
    fn players_who_start_at_once_on_an_idle_node_are_measured_by_what_they_send() {
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        look(&mut uplink, &mut now, &[], 40);
        let both = [demand(8_000, 5_000, 40_000), demand(8_000, 5_000, 38_000)];
        look(&mut uplink, &mut now, &both, FULL_LOOKS);
        assert_eq!(uplink.kbps(), Some(10_000));
    }

    #[test]
    fn where_two_play_and_one_sees_a_queue_it_is_that_players_line() {
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        let all = [
            demand(8_000, 4_000, 30_000),
            demand(8_000, 100, 0),
            watcher(4_000, 0),
        ];
        let shares = look(&mut uplink, &mut now, &all, 4 * FULL_LOOKS);
        assert_eq!(shares, [None; 3]);
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
        let (mut uplink, mut now) = (Uplink::new(None), 0);
        let mut look = |uplink: &mut Uplink, demands: &[Demand], times: u32| {
            look(uplink, &mut now, demands, times)
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
        // What they sent on average over the last seconds, when it was more.
        let kbps = uplink.kbps().unwrap();
        assert!((10_000..11_000).contains(&kbps), "{kbps}");
        assert_eq!(shares, [Some((f64::from(kbps) * USABLE) as u32 / 2); 2]);
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
