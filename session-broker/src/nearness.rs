//! How far regions are from a player. It estimates; `core/placement` decides.
//!
//! ```text
//!   what the browser timed --------> the best source counts:   measured
//!   round trips of streams --------> by the player's network:  sessions     (streams, kept by lately)
//!   where the address is said to be -> as far as light goes:   distance     (geo)
//!                                                              unknown: the policy says what that counts as
//! ```
//!
//! **Invariants.** Every source is bounded: what a browser says changes its own sessions alone; what nodes
//! and peers say is kept by network (/24, /48), never by address, in memory alone, and for a month; a file of
//! places is a prior and outranked by everything measured. Nothing here waits for anything.
//!
//! **What it does not know:** sessions' lives, the ledger, HTTP.

use crate::config::RegionSettings;
use crate::ledger::Estimate;
use crate::time::Clock;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::RTT_MS_MAX;
use nearlight_protocol::region::{RegionRtt, RttFrom};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod geo;
mod lately;
mod streams;

pub(crate) use geo::Geo;
use lately::Lately;
pub(crate) use streams::Shown;
use streams::{Network, StreamRtts};

/// Sessions of which we know from where they are played.
const PLAYERS_MAX: usize = 65_536;

/// What is known of distances.
#[derive(Debug)]
pub(crate) struct Nearness {
    regions: Vec<RegionSettings>,
    geo: Option<Geo>,
    clock: Clock,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    streams: StreamRtts,
    players: Lately<SessionId, Network>,
}

impl Nearness {
    pub(crate) fn new(regions: Vec<RegionSettings>, geo: Option<Geo>, clock: Clock) -> Self {
        Self {
            regions,
            geo,
            clock,
            heard: Mutex::new(Heard {
                streams: StreamRtts::default(),
                players: Lately::new(PLAYERS_MAX),
            }),
        }
    }

    /// The regions that the operator described, in the operator's order.
    pub(crate) fn regions(&self) -> &[RegionSettings] {
        &self.regions
    }

    pub(crate) fn geo(&self) -> Option<&Geo> {
        self.geo.as_ref()
    }

    /// Round trips from a player to every region of which something is known, by name.
    pub(crate) fn estimates(&self, player: IpAddr, measured: &[RegionRtt]) -> Vec<Estimate> {
        let mut best: BTreeMap<String, (u32, RttFrom)> = BTreeMap::new();
        // The best source comes last, and stays.
        if let Some(at) = self.geo.as_ref().and_then(|geo| geo.place(player)) {
            for region in &self.regions {
                if let Some(place) = region.place {
                    let ms = geo::rtt_ms(at, place);
                    best.insert(region.name.clone(), (ms, RttFrom::Distance));
                }
            }
        }
        let now = self.clock.now();
        for (region, ms) in self.heard().streams.of(Network::of(player), now) {
            best.insert(region.to_string(), (ms, RttFrom::Sessions));
        }
        for RegionRtt { region, ms } in measured {
            let ms = (*ms).clamp(1, RTT_MS_MAX);
            best.insert(region.clone(), (ms, RttFrom::Measured));
        }
        let estimates = best.into_iter();
        estimates
            .map(|(region, (ms, from))| Estimate { region, ms, from })
            .collect()
    }

    /// Somebody attaches to a session from there.
    pub(crate) fn plays(&self, session: &SessionId, player: IpAddr) {
        let network = Network::of(player);
        self.heard().players.put(session.clone(), network);
    }

    /// The node of a session says what its stream's round trip is.
    pub(crate) fn took(&self, session: &SessionId, region: &str, ms: u32) {
        let now = self.clock.now();
        let mut heard = self.heard();
        if let Some(network) = heard.players.get(session).copied() {
            let ms = ms.clamp(1, RTT_MS_MAX);
            heard.streams.note(network, region, ms, now);
        }
    }

    /// What streams of this broker's nodes showed since the last time, for its peers.
    pub(crate) fn news(&self) -> Vec<Shown> {
        self.heard().streams.news()
    }

    /// What streams of a peer's nodes showed.
    pub(crate) fn learn(&self, shown: Vec<Shown>) {
        let now = self.clock.now();
        self.heard().streams.learn(shown, now);
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn player() -> IpAddr {
        "203.0.113.7".parse().unwrap()
    }

    fn nearness() -> Nearness {
        Nearness::new(Vec::new(), None, Clock::start())
    }

    fn shown(nearness: &Nearness, measured: &[RegionRtt]) -> Vec<(String, u32, RttFrom)> {
        let estimates = nearness.estimates(player(), measured).into_iter();
        estimates.map(|e| (e.region, e.ms, e.from)).collect()
    }

    fn measured(region: &str, ms: u32) -> RegionRtt {
        RegionRtt {
            region: region.to_owned(),
            ms,
        }
    }

    #[test]
    fn what_the_player_measured_outranks_what_streams_showed() {
        let nearness = nearness();
        let session = nearlight_kit::ids::session();
        nearness.plays(&session, "203.0.113.99".parse().unwrap());
        nearness.took(&session, "fra", 30);
        nearness.took(&session, "sin", 180);
        let of = |region: &str, ms, from| (region.to_owned(), ms, from);
        let seen = shown(&nearness, &[measured("fra", 12), measured("ams", 0)]);
        let expected = [
            of("ams", 1, RttFrom::Measured),
            of("fra", 12, RttFrom::Measured),
            of("sin", 180, RttFrom::Sessions),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_stream_says_something_of_its_own_players_network_alone() {
        let nearness = nearness();
        let [theirs, unknown] = [(); 2].map(|()| nearlight_kit::ids::session());
        nearness.plays(&theirs, "198.51.100.1".parse().unwrap());
        nearness.took(&theirs, "fra", 30);
        nearness.took(&unknown, "fra", 30);
        assert_eq!(shown(&nearness, &[]), []);
    }

    #[test]
    fn nothing_counts_for_longer_than_a_second() {
        let seen = shown(&nearness(), &[measured("fra", u32::MAX)]);
        assert_eq!(seen, [("fra".to_owned(), 1000, RttFrom::Measured)]);
    }
}
