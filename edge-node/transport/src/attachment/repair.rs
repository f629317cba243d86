//! How what the path loses is made good: reviews the plan of `core/stream` once a second.
//!
//! Owns the plan in force. Does not know packets: the plan is carried out by the streams (`media`),
//! and retransmission needs no plan.

use crate::counters::FlowGauges;
use crate::sdp::offer::Offer;
use nearlight_protocol::notice::Repair;
use nearlight_stream::repair::{Offered, Path, Plan, choose};

/// The plan of one attachment.
#[derive(Debug)]
pub(crate) struct Repairs {
    offered: Offered,
    plan: Option<Plan>,
}

impl Repairs {
    pub(crate) fn new(offer: &Offer) -> Self {
        let video = offer.video.as_ref();
        let audio = offer.audio.as_ref();
        Self {
            offered: Offered {
                rtx: video.is_some_and(|video| video.rtx.is_some()),
                flexfec: video.is_some_and(|video| video.flexfec.is_some()),
                red: audio.is_some_and(|audio| audio.red.is_some()),
            },
            plan: None,
        }
    }

    /// Reviews the plan, given what the controller believes of the path. Returns it if it is another
    /// one.
    pub(crate) fn review(&mut self, path: &FlowGauges, congested: bool) -> Option<Plan> {
        let path = Path {
            rtt_us: path.rtt_us,
            loss_permille: path.loss_permille,
            congested,
        };
        let plan = choose(path, self.offered, self.plan);
        if self.plan == Some(plan) {
            return None;
        }
        self.plan = Some(plan);
        tracing::debug!(?path, ?plan, "losses are made good another way");
        Some(plan)
    }

    /// What is done about lost packets of the picture.
    pub(crate) fn repair(&self) -> Repair {
        match self.plan {
            Some(plan) => plan.repair,
            None if self.offered.rtx => Repair::Rtx,
            None => Repair::KeyFrame,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn path(loss_permille: u32) -> FlowGauges {
        FlowGauges {
            rtt_us: 60_000,
            loss_permille,
            ..FlowGauges::default()
        }
    }

    #[test]
    fn the_plan_follows_the_path_and_is_news_only_when_it_changes() {
        let offered = Offered {
            rtx: true,
            flexfec: true,
            red: true,
        };
        let mut repairs = Repairs {
            offered,
            plan: None,
        };
        assert_eq!(repairs.repair(), Repair::Rtx);
        let calm = repairs.review(&path(0), false).unwrap();
        assert_eq!((calm.fec_percent, calm.red_depth), (0, 0));
        assert_eq!(repairs.review(&path(0), false), None);
        let lossy = repairs.review(&path(100), false).unwrap();
        assert!(lossy.fec_percent >= 10 && lossy.red_depth > 0);
        assert_eq!(repairs.repair(), Repair::FlexFec);
        // In congestion the losses are the queue's.
        assert!(repairs.review(&path(100), true).is_some());
        assert_eq!(repairs.repair(), Repair::Rtx);
    }
}
