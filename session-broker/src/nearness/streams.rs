//! Round trips that streams showed, by the player's network and the region: a moving average.

use super::lately::Lately;
use nearlight_protocol::unit::MonoTime;
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

/// A player's network: what an address is kept as. 24 bits of IPv4, 48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
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

/// What streams showed.
#[derive(Debug)]
pub(super) struct StreamRtts(Lately<Network, Vec<Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    region: Arc<str>,
    /// Microseconds, for an average of whole milliseconds would not move.
    us: i64,
    at: MonoTime,
}

impl Default for StreamRtts {
    fn default() -> Self {
        Self(Lately::new(NETWORKS_MAX))
    }
}

impl StreamRtts {
    /// One more sample.
    pub(super) fn note(&mut self, network: Network, region: &str, ms: u32, now: MonoTime) {
        let us = i64::from(ms) * 1000;
        let Some(seen) = self.0.get(&network) else {
            self.0.put(network, vec![Seen::new(region, us, now)]);
            return;
        };
        match seen.iter_mut().find(|seen| *seen.region == *region) {
            Some(seen) if is_fresh(seen, now) => {
                seen.us += (us - seen.us) / WEIGHT;
                seen.at = now;
            }
            Some(seen) => *seen = Seen::new(region, us, now),
            None => {
                if seen.len() >= REGIONS_MAX {
                    let oldest = (0..seen.len()).min_by_key(|i| seen[*i].at);
                    oldest.map(|i| seen.swap_remove(i));
                }
                seen.push(Seen::new(region, us, now));
            }
        }
    }

    /// Milliseconds to each region that a network's streams came from.
    pub(super) fn of(&mut self, network: Network, now: MonoTime) -> Vec<(Arc<str>, u32)> {
        let Some(seen) = self.0.get(&network) else {
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
}
