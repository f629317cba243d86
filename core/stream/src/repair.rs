//! How lost packets are made good, by what the path is like.
//!
//! Asking again costs a round trip and only the bytes that were lost; sending repair packets ahead
//! costs bytes all the time and no wait. So: ask again where a round trip is short against what a
//! viewer notices or losses are rare, and send ahead, in proportion to the losses, where it is not.

use nearlight_protocol::notice::Repair;

/// What the viewer takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Retransmissions (RFC 4588).
    pub rtx: bool,
    /// Repair packets (FlexFEC).
    pub flexfec: bool,
    /// Redundant sound (RFC 2198).
    pub red: bool,
}

/// What the path is like, over the last seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Round trip, microseconds.
    pub rtt_us: u32,
    /// Packets lost, per mille.
    pub loss_permille: u32,
    /// Whether the path is full: then losses are the queue's, and more packets make more of them.
    pub congested: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For the picture.
    pub repair: Repair,
    /// Repair packets, percent of the picture's.
    pub fec_percent: u8,
    /// How often a packet that is asked for again is sent.
    pub copies: u8,
    /// Earlier Opus packets that each packet carries along.
    pub red_depth: u8,
}

/// A round trip that hides within the time a frame is late unnoticed: two frames at 60 Hz and what
/// the viewer waits before it asks.
const RTT_SHORT_US: u32 = 25_000;
/// Beyond this an answer comes too late for a game.
const RTT_LONG_US: u32 = 150_000;
/// Loss that is an accident, per mille.
const LOSS_RARE: u32 = 3;
/// Loss from which the sound carries one packet along, and two.
const RED_ONE: u32 = 10;
const RED_TWO: u32 = 80;
/// The share of repair packets at hardly any loss, and what each per cent lost adds to it. A frame of
/// 15 packets then has four of them at 2 % loss and six at 5 %, which leaves about one in
/// 200 of either broken; the mean of the losses alone would leave one in 20.
const FEC_PERCENT_MIN: u32 = 16;
const FEC_PERCENT_PER_PERCENT: u32 = 5;
/// Loss from which what is asked for again is sent twice, and three times. A browser that only receives
/// knows no round trip and asks a second time after 100 ms (libwebrtc's `NackRequester`), so an
/// answer that is lost, too, is a freeze; and so rarely is anything asked for again that another copy
/// costs about what the losses are.
const COPIES_TWO: u32 = 8;
const COPIES_THREE: u32 = 120;
/// More than one in two costs more picture than the losses do.
const FEC_PERCENT_MAX: u32 = 50;
/// Loss under which a change of plan back is made, as a share of that over which it was made, so
/// that it does not swing.
const BACK_SHARE: u32 = 2;

/// The plan for a path, given the one in force.
pub fn choose(path: Path, offered: Offered, before: Option<Plan>) -> Plan {
    let was_fec = before.is_some_and(|plan| plan.repair == Repair::FlexFec);
    let rare = if was_fec {
        LOSS_RARE / BACK_SHARE
    } else {
        LOSS_RARE
    };
    let lossy = path.loss_permille > rare;
    let far = path.rtt_us > RTT_SHORT_US;
    let repair = if offered.flexfec && lossy && far && !path.congested {
        Repair::FlexFec
    } else if offered.rtx {
        Repair::Rtx
    } else {
        Repair::KeyFrame
    };
    let fec_percent = match repair {
        Repair::FlexFec => fec_percent(path),
        Repair::Rtx | Repair::KeyFrame => 0,
    };
    let red = before.map_or(0, |plan| plan.red_depth);
    let copies = before.map_or(1, |plan| plan.copies);
    Plan {
        repair,
        fec_percent,
        copies: if path.congested {
            1
        } else {
            1 + steps(path.loss_permille, [COPIES_TWO, COPIES_THREE], copies - 1)
        },
        red_depth: if offered.red {
            steps(path.loss_permille, [RED_ONE, RED_TWO], red)
        } else {
            0
        },
    }
}

/// Far more than what is lost on average, more for distance: a group that loses more than
/// its repair packets give back is as good as unprotected.
fn fec_percent(path: Path) -> u8 {
    let losses = path.loss_permille.min(1000) * FEC_PERCENT_PER_PERCENT / 10;
    let far = if path.rtt_us > RTT_LONG_US { 10 } else { 0 };
    let percent = (FEC_PERCENT_MIN + losses + far).min(FEC_PERCENT_MAX);
    u8::try_from(percent).unwrap_or(0)
}

/// How many of the limits the loss reaches; a step that was taken `before` is kept down to a share of
/// its limit.
fn steps(loss_permille: u32, limits: [u32; 2], before: u8) -> u8 {
    let reached = (1_u8..).zip(limits).filter(|(step, limit)| {
        let kept = before >= *step;
        loss_permille >= if kept { limit / BACK_SHARE } else { *limit }
    });
    reached.map(|(step, _)| step).max().unwrap_or(0)
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const ALL: Offered = Offered {
        rtx: true,
        flexfec: true,
        red: true,
    };

    fn path(rtt_us: u32, loss_permille: u32) -> Path {
        Path {
            rtt_us,
            loss_permille,
            congested: false,
        }
    }

    #[test]
    fn a_short_round_trip_or_a_rare_loss_is_asked_again() {
        for path in [path(10_000, 50), path(200_000, 2)] {
            let plan = choose(path, ALL, None);
            assert_eq!(
                (plan.repair, plan.fec_percent),
                (Repair::Rtx, 0),
                "{path:?}"
            );
        }
    }

    #[test]
    fn repair_packets_grow_with_loss_and_distance_and_stop_in_congestion() {
        let percent = |path| choose(path, ALL, None).fec_percent;
        let near = percent(path(60_000, 60));
        assert!(percent(path(60_000, 150)) > near);
        assert!(percent(path(200_000, 60)) > near);
        let full = Path {
            congested: true,
            ..path(60_000, 60)
        };
        assert_eq!(choose(full, ALL, None).repair, Repair::Rtx);
    }

    #[test]
    fn an_answer_is_sent_more_than_once_where_it_may_be_lost_too() {
        let copies = |loss| choose(path(60_000, loss), ALL, None).copies;
        assert_eq!([0, 3, 20, 50, 200].map(copies), [1, 1, 2, 2, 3]);
        let full = Path {
            congested: true,
            ..path(60_000, 50)
        };
        assert_eq!(choose(full, ALL, None).copies, 1);
    }

    #[test]
    fn what_is_not_offered_is_not_used() {
        let none = Offered::default();
        let plan = choose(path(60_000, 100), none, None);
        assert_eq!(plan.repair, Repair::KeyFrame);
        assert_eq!((plan.fec_percent, plan.red_depth), (0, 0));
    }

    #[test]
    fn it_does_not_swing() {
        let plan = choose(path(60_000, 12), ALL, None);
        assert_eq!((plan.repair, plan.red_depth), (Repair::FlexFec, 1));
        let after = choose(path(60_000, 6), ALL, Some(plan));
        assert_eq!((after.repair, after.red_depth), (Repair::FlexFec, 1));
        let over = choose(path(60_000, 0), ALL, Some(plan));
        assert_eq!((over.repair, over.red_depth), (Repair::Rtx, 0));
    }

    proptest! {
        #[test]
        fn any_path_has_a_plan_within_bounds(
            rtt_us: u32, loss_permille: u32, congested: bool,
        ) {
            let path = Path { rtt_us, loss_permille, congested };
            let plan = choose(path, ALL, None);
            prop_assert!(u32::from(plan.fec_percent) <= FEC_PERCENT_MAX && plan.red_depth <= 2);
            prop_assert!((1..=3).contains(&plan.copies));
        }
    }
}
