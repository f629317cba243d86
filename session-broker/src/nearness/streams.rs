//! Round trips that streams showed, by the player's network and the region: a moving average.
//!
//! Brokers that share a ledger tell each other what their own nodes' streams showed since they told last.
//! What a peer says is never passed on, so nothing goes around in circles.

use super::lately::Lately;
use nearlight_protocol::limits::RTT_MS_MAX;
use nearlight_protocol::unit::MonoTime;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Networks that are remembered: some 20 MiB.
const NETWORKS_MAX: usize = 65_536;
/// Regions of one network.
const REGIONS_MAX: usize = 16;
/// What is older than this is forgotten, milliseconds: a month.
const KEPT_MS: u64 = 30 * 24 * 3600 * 1000;
/// The weight of one more sample: an eighth, as TCP's smoothed round trip has it (RFC 6298).
const WEIGHT: i64 = 8;

/// Averages that are told to peers at a time, and taken from one: of more, the first.
const NEWS_MAX: usize = 1024;

/// A player's network: what an address is kept as. 24 bits of IPv4, 48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

/// One average, for peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    network: Network,
    region: String,
    us: u32,
}

/// What streams showed.
#[derive(Debug)]
pub(super) struct StreamRtts {
    seen: Lately<Network, Vec<Seen>>,
    /// Of what peers have not heard yet.
    news: HashSet<(Network, Arc<str>)>,
}

#[derive(Clone, Debug)]
struct Seen {
    region: Arc<str>,
    /// Microseconds, for an average of whole milliseconds would not move.
    us: i64,
    at: MonoTime,
}

impl Default for StreamRtts {
    fn default() -> Self {
        Self {
            seen: Lately::new(NETWORKS_MAX),
            news: HashSet::new(),
        }
    }
}

impl StreamRtts {
    /// One more sample.
    pub(super) fn note(&mut self, network: Network, region: &str, ms: u32, now: MonoTime) {
        let seen = self.take(network, region, i64::from(ms) * 1000, WEIGHT, now);
        if self.news.len() < NEWS_MAX {
            self.news.insert((network, seen));
        }
    }

    /// A peer's average counts as much as the one that is here.
    pub(super) fn learn(&mut self, shown: Vec<Shown>, now: MonoTime) {
        for Shown {
            network,
            region,
            us,
        } in shown.into_iter().take(NEWS_MAX)
        {
            let us = us.clamp(1000, RTT_MS_MAX * 1000);
            self.take(network, &region, i64::from(us), 2, now);
        }
    }

    /// What is new since the last time.
    pub(super) fn news(&mut self) -> Vec<Shown> {
        let news = std::mem::take(&mut self.news).into_iter();
        let shown = news.filter_map(|(network, region)| {
            let seen = self.seen.get(&network)?;
            let us = seen.iter().find(|seen| seen.region == region)?.us;
            Some(Shown {
                network,
                region: region.to_string(),
                us: u32::try_from(us).ok()?,
            })
        });
        shown.collect()
    }

    /// Brings an average nearer to `us`, or begins one. Returns the region's name.
    fn take(
        &mut self,
        network: Network,
        region: &str,
        us: i64,
        weight: i64,
        now: MonoTime,
    ) -> Arc<str> {
        let Some(seen) = self.seen.get(&network) else {
            let new = Seen::new(region, us, now);
            let name = new.region.clone();
            self.seen.put(network, vec![new]);
            return name;
        };
        if let Some(seen) = seen.iter_mut().find(|seen| *seen.region == *region) {
            if is_fresh(seen, now) {
                seen.us += (us - seen.us) / weight;
                seen.at = now;
            } else {
                *seen = Seen::new(region, us, now);
            }
            return seen.region.clone();
        }
        if seen.len() >= REGIONS_MAX {
            let oldest = (0..seen.len()).min_by_key(|i| seen[*i].at);
            oldest.map(|i| seen.swap_remove(i));
        }
        let new = Seen::new(region, us, now);
        let name = new.region.clone();
        seen.push(new);
        name
    }

    /// Milliseconds to each region that a network's streams came from.
    pub(super) fn of(&mut self, network: Network, now: MonoTime) -> Vec<(Arc<str>, u32)> {
        let Some(seen) = self.seen.get(&network) else {
            return Vec::new();
        };
        seen.retain(|seen| is_fresh(seen, now));
        let ms = |us: i64| u32::try_from((us + 500) / 1000).unwrap_or(0).max(1);
        seen.iter()
            .map(|seen| (seen.region.clone(), ms(seen.us)))
            .collect()
    }
}

impl Seen {
    fn new(region: &str, us: i64, at: MonoTime) -> Self {
        Self {
            region: region.into(),
            us,
            at,
        }
    }
}

fn is_fresh(seen: &Seen, now: MonoTime) -> bool {
    now.millis_since(seen.at) < KEPT_MS
}

#[cfg(test)]
mod test {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn shown(rtts: &mut StreamRtts, now: MonoTime) -> Vec<(String, u32)> {
        let of = rtts.of(network("192.0.2.1"), now).into_iter();
        of.map(|(region, ms)| (region.to_string(), ms)).collect()
    }

    #[test]
    fn neighbours_share_what_is_known_and_others_do_not() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.9"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::9"));
        assert_ne!(network("2001:db8:1::"), network("2001:db8:2::"));
    }

    #[test]
    fn the_average_follows_slowly() {
        let mut rtts = StreamRtts::default();
        let now = MonoTime(1);
        let note = |rtts: &mut StreamRtts, ms| rtts.note(network("192.0.2.7"), "fra", ms, now);
        note(&mut rtts, 40);
        assert_eq!(shown(&mut rtts, now), [("fra".to_owned(), 40)]);
        note(&mut rtts, 120);
        assert_eq!(shown(&mut rtts, now), [("fra".to_owned(), 50)], "one spike");
        for _ in 0..100 {
            note(&mut rtts, 120);
        }
        assert_eq!(shown(&mut rtts, now), [("fra".to_owned(), 120)]);
    }

    #[test]
    fn after_a_month_it_is_forgotten() {
        let mut rtts = StreamRtts::default();
        rtts.note(network("192.0.2.7"), "fra", 40, MonoTime(1));
        let later = MonoTime(1).plus_millis(KEPT_MS - 1);
        assert_eq!(shown(&mut rtts, later), [("fra".to_owned(), 40)]);
        assert_eq!(shown(&mut rtts, later.plus_millis(1)), []);
        rtts.note(network("192.0.2.7"), "fra", 90, later.plus_millis(1));
        assert_eq!(
            shown(&mut rtts, later.plus_millis(1)),
            [("fra".to_owned(), 90)]
        );
    }

    #[test]
    fn a_network_has_no_more_than_some_regions() {
        let mut rtts = StreamRtts::default();
        for n in 0..100 {
            rtts.note(network("192.0.2.7"), &format!("r{n}"), 1, MonoTime(n));
        }
        let left = shown(&mut rtts, MonoTime(100));
        assert_eq!(left.len(), REGIONS_MAX);
        assert!(left.iter().any(|(region, _)| region == "r99"));
        assert!(left.iter().all(|(region, _)| region != "r0"));
    }

    #[test]
    fn what_one_brokers_streams_showed_the_others_know_and_none_passes_it_on() {
        let (mut here, mut there) = (StreamRtts::default(), StreamRtts::default());
        let now = MonoTime(1);
        here.note(network("192.0.2.7"), "fra", 40, now);
        here.note(network("192.0.2.8"), "sin", 200, now);
        there.note(network("192.0.2.9"), "sin", 100, now);
        let told = serde_json::to_string(&here.news()).unwrap();
        there.learn(serde_json::from_str(&told).unwrap(), now);
        let mut known = shown(&mut there, now);
        known.sort();
        let expected = [("fra".to_owned(), 40), ("sin".to_owned(), 150)];
        assert_eq!(known, expected, "both count alike");
        assert_eq!(here.news(), [], "it was told");
        let own = there.news();
        assert_eq!(own.len(), 1, "its own alone: {own:?}");
    }

    #[test]
    fn a_peer_is_told_and_believed_no_more_than_so_much() {
        let (mut here, mut there) = (StreamRtts::default(), StreamRtts::default());
        let now = MonoTime(1);
        let many = |n: usize| Network::V4([1, (n >> 8) as u8, n as u8]);
        for n in 0..2 * NEWS_MAX {
            here.note(many(n), "fra", 40, now);
        }
        let news = here.news();
        assert_eq!(news.len(), NEWS_MAX);
        let mut lies: Vec<Shown> = (0..2 * NEWS_MAX)
            .map(|n| Shown {
                network: many(n),
                region: "fra".to_owned(),
                us: u32::MAX,
            })
            .collect();
        lies[0].us = 0;
        there.learn(lies, now);
        let of = |there: &mut StreamRtts, n| there.of(many(n), now);
        assert_eq!(of(&mut there, 0), [("fra".into(), 1)]);
        assert_eq!(of(&mut there, 1), [("fra".into(), RTT_MS_MAX)]);
        assert_eq!(of(&mut there, NEWS_MAX), []);
    }
}
