//! How far regions are from a player. It estimates; `core/placement` decides.
//!
//! ```text
//!   what the browser timed --------> the best source counts:   measured
//!   round trips of streams --------> by the player's network:  sessions     (streams, kept by lately)
//!     as both of their ends say
//!   where the address is said to be -> as far as light goes:   distance     (geo)
//!                                                              unknown: the policy says what that counts as
//! ```
//!
//! **Invariants.** Every source is bounded: what a browser says changes its own sessions alone; a stream counts where its
//! node and its player say the same of it, so that neither makes a region nearer by itself; what they
//! and peers say is kept by network (/24, /48), never by address, in memory alone, and for a month; a file of
//! places is a prior and outranked by everything measured. Nothing here waits for anything.
//!
//! **What it does not know:** sessions' lives, the ledger, HTTP.

use crate::config::RegionSettings;
use crate::ledger::Estimate;
use crate::time::Clock;
use nearlight_proof::receipt::session::round_trips_differ;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::RTT_MS_MAX;
use nearlight_protocol::region::{RegionRtt, RttFrom};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    players: Lately<SessionId, Player>,
}

/// Who plays a session.
#[derive(Clone, Debug)]
struct Player {
    network: Network,
    /// The round trip that the player's program measured last, microseconds.
    rtt_us: Option<u32>,
    /// What the node said last, milliseconds, and of which region it is.
    nodes: Option<(Arc<str>, u32)>,
}

impl Player {
    /// The longer of what both sides said last; none where they differ by more than two who measure one stream do, or
    /// one has said nothing.
    fn agreed(&self) -> Option<(Arc<str>, u32)> {
        let (region, ms) = self.nodes.as_ref()?;
        let (nodes, players) = (ms * 1000, self.rtt_us?);
        let ms = (nodes.max(players) / 1000).clamp(1, RTT_MS_MAX);
        (!round_trips_differ(nodes, players)).then(|| (region.clone(), ms))
    }
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
        let player = Player {
            network: Network::of(player),
            rtt_us: None,
            nodes: None,
        };
        self.heard().players.put(session.clone(), player);
    }

    /// The player of a session says what its stream's round trip is.
    pub(crate) fn player_took(&self, session: &SessionId, rtt_us: u32) {
        self.said(session, |player| {
            player.rtt_us = Some(rtt_us).filter(|us| *us > 0);
        });
    }

    /// The node of a session says what its stream's round trip is.
    pub(crate) fn took(&self, session: &SessionId, region: &str, ms: u32) {
        let ms = ms.clamp(1, RTT_MS_MAX);
        self.said(session, |player| player.nodes = Some((region.into(), ms)));
    }

    /// One side has said something. What both agree on is one more sample.
    fn said(&self, session: &SessionId, what: impl FnOnce(&mut Player)) {
        let now = self.clock.now();
        let mut heard = self.heard();
        let Some(player) = heard.players.get(session) else {
            return;
        };
        what(player);
        let (network, agreed) = (player.network, player.agreed());
        if let Some((region, ms)) = agreed {
            heard.streams.note(network, &region, ms, now);
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
        for (region, ms) in [("fra", 30), ("sin", 180)] {
            nearness.player_took(&session, ms * 1000);
            nearness.took(&session, region, ms);
        }
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
        for session in [&theirs, &unknown] {
            nearness.player_took(session, 30_000);
            nearness.took(session, "fra", 30);
        }
        assert_eq!(shown(&nearness, &[]), []);
    }

    #[test]
    fn the_longer_of_both_sides_counts_and_none_that_the_other_contradicts() {
        let nearness = nearness();
        let session = nearlight_kit::ids::session();
        nearness.plays(&session, player());
        let says = |node_ms, player_ms: u32| {
            nearness.player_took(&session, 0);
            nearness.took(&session, "fra", node_ms);
            nearness.player_took(&session, player_ms * 1000);
            let seen = shown(&nearness, &[]).pop();
            seen.map(|(_, ms, _)| ms)
        };
        nearness.took(&session, "fra", 1);
        assert_eq!(shown(&nearness, &[]), [], "the player has said nothing");
        assert_eq!(says(1, 0), None, "nor measured anything");
        assert_eq!(says(1, 90), None, "a node that makes itself look near");
        assert_eq!(says(90, 1), None, "a player that makes it look near");
        assert_eq!(says(30, 40), Some(40));
        assert_eq!(says(1, 90), Some(40), "what was agreed on stays");
    }

    #[test]
    fn nothing_counts_for_longer_than_a_second() {
        let seen = shown(&nearness(), &[measured("fra", u32::MAX)]);
        assert_eq!(seen, [("fra".to_owned(), 1000, RttFrom::Measured)]);
    }
}
