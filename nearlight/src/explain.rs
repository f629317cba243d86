//! `nearlight session explain`: what came of a session's placement, in words.

use crate::table;
use nearlight_protocol::api::SessionState;
use nearlight_protocol::placement::{ClusterLack, LatencyStep, Placement, Points};
use nearlight_protocol::region::RttFrom;

/// Why a session has ended, if it has, and what came of the last attempt to place it.
pub(crate) fn explain(state: &SessionState, placement: &Placement) -> String {
    let placed = placed(placement);
    let Some(over) = over(state) else {
        return placed;
    };
    match placed.strip_prefix("it waits: ") {
        Some(rest) => format!("{over}it waited: {rest}"),
        None => over + &placed,
    }
}

/// Why a session has ended, if it has.
pub(crate) fn over(state: &SessionState) -> Option<String> {
    match state {
        SessionState::Ended { detail, .. } => Some(format!("it is over: {detail}\n")),
        SessionState::Queued { .. }
        | SessionState::Placing
        | SessionState::Starting { .. }
        | SessionState::Ready
        | SessionState::Playing
        | SessionState::Detached
        | SessionState::Ending { .. } => None,
    }
}

fn placed(placement: &Placement) -> String {
    match placement {
        Placement::Unknown => {
            "no node was looked for yet, or by a broker that has started again since\n".to_owned()
        }
        Placement::Waits {
            excluded,
            step,
            cluster,
            detail,
        } => {
            let nodes: u32 = excluded.iter().map(|by| by.nodes).sum();
            let rows: Vec<_> = excluded
                .iter()
                .map(|by| [by.nodes.to_string(), by.reason.words().to_owned()])
                .collect();
            let excluded = table::lay_out(["NODES", "EXCLUDED BY"], &rows);
            let step = in_force(step.as_ref());
            match (cluster, detail) {
                (Some(lack), _) => {
                    let excluded = match nodes {
                        0 => String::new(),
                        _ => excluded,
                    };
                    format!("it waits: {}\n{step}{excluded}", too_few(*lack))
                }
                (None, Some(detail)) if nodes == 0 => format!("it waits: {detail}\n"),
                (None, Some(detail)) => format!("it waits: {detail}\n{excluded}"),
                (None, None) => {
                    format!("it waits: none of {nodes} nodes can run it now\n{step}{excluded}")
                }
            }
        }
        Placement::Placed {
            node,
            rtt_ms,
            rtt_from,
            chosen,
            points,
            waited_ms,
            step,
        } => {
            let by = rtt_from.map_or("", source);
            let away = rtt_ms.map_or_else(String::new, |ms| format!(", {ms} ms away{by}"));
            let choice = if *chosen {
                "in the region that the player chose: no latency step holds\n"
            } else {
                ""
            };
            let waited = f64::from(*waited_ms) / 1000.0;
            let step = in_force(step.as_ref());
            let points = table::lay_out(["POINTS", "FOR"], &parts(points, *rtt_ms));
            format!("placed on {node}{away}, after {waited:.1} s\n{choice}{step}{points}")
        }
    }
}

/// What a cluster lacks, and whether that can come free.
fn too_few(lack: ClusterLack) -> String {
    let ClusterLack {
        replicas,
        best,
        most,
    } = lack;
    match most {
        Some(most) if most < replicas => format!(
            "no site of the fleet has room for {replicas} at one time; the largest has room for {most} if nothing else runs there"
        ),
        _ => format!("it needs {replicas} slots at one site, the best site has {best}"),
    }
}

/// Who says how far it is.
const fn source(from: RttFrom) -> &'static str {
    match from {
        RttFrom::Measured => " as the player measured",
        RttFrom::Sessions => " as streams to the player's network showed",
        RttFrom::Distance => " by the distance, which is a guess",
    }
}

fn in_force(step: Option<&LatencyStep>) -> String {
    let Some(step) = step else {
        return String::new();
    };
    let (number, of, ms) = (step.number, step.of, step.rtt_ms_max);
    let until = step.until_ms.map_or_else(String::new, |until| {
        format!(", until it has waited {:.0} s", f64::from(until) / 1000.0)
    });
    format!("latency step {number} of {of}: nodes up to {ms} ms away{until}\n")
}

/// The parts of a score that weigh anything, and the sum.
fn parts(points: &Points, rtt: Option<u32>) -> Vec<[String; 2]> {
    let round_trip = match rtt {
        Some(_) => "round trip",
        None => "round trip, which is not known",
    };
    let parts = [
        (points.rtt, round_trip),
        (points.image, "an image to fetch"),
        (points.desktop, "a desktop to start"),
        (points.gpu, "a GPU that it does not need"),
        (points.load, "load"),
        (points.uplink, "uplink"),
        (points.receipts, "a rank by receipts that is not full"),
        (points.price, "price"),
        (points.spread, "sessions with the same operator"),
    ];
    let weighs = parts.into_iter().filter(|(points, _)| *points > 0);
    let rows = weighs.chain([(points.total, "all together; fewest is best")]);
    rows.map(|(points, what)| [points.to_string(), what.to_owned()])
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::EndReason;
    use nearlight_protocol::placement::{Excluded, ExcludedBy};

    #[test]
    fn who_asks_about_a_job_that_failed_reads_why() {
        let ended = SessionState::Ended {
            reason: EndReason::QueueTimeout,
            detail: "No node had room in time.".to_owned(),
        };
        let waits = Placement::Waits {
            excluded: Vec::new(),
            step: None,
            cluster: None,
            detail: Some("no node of the fleet can run it".to_owned()),
        };
        let words =
            "it is over: No node had room in time.\nit waited: no node of the fleet can run it\n";
        assert_eq!(explain(&ended, &waits), words);
        assert!(explain(&SessionState::Placing, &waits).starts_with("it waits: "));
    }

    #[test]
    fn who_waits_reads_what_excludes_how_many() {
        let by = |reason, nodes| Excluded { reason, nodes };
        let step = LatencyStep {
            number: 1,
            of: 3,
            rtt_ms_max: 20,
            from_ms: 0,
            until_ms: Some(3_000),
        };
        let waits = Placement::Waits {
            excluded: vec![by(ExcludedBy::Offline, 12), by(ExcludedBy::SlotsTaken, 3)],
            step: Some(step),
            cluster: None,
            detail: None,
        };
        let words = "it waits: none of 15 nodes can run it now\n\
                     latency step 1 of 3: nodes up to 20 ms away, until it has waited 3 s\n\
                     NODES  EXCLUDED BY\n12     offline\n3      every slot taken\n";
        assert_eq!(placed(&waits), words);
        let detail = "its volume `cache` is on node attic, which is full (slots taken)";
        let waits = Placement::Waits {
            excluded: vec![by(ExcludedBy::SlotsTaken, 1)],
            step: None,
            cluster: None,
            detail: Some(detail.to_owned()),
        };
        let table = "NODES  EXCLUDED BY\n1      every slot taken\n";
        assert_eq!(placed(&waits), format!("it waits: {detail}\n{table}"));
    }

    #[test]
    fn who_is_placed_reads_where_and_who_says_how_far_that_is() {
        let points = Points {
            total: 1200,
            rtt: 1200,
            image: 0,
            desktop: 0,
            gpu: 0,
            load: 0,
            uplink: 0,
            receipts: 0,
            price: 0,
            spread: 0,
        };
        let node: nearlight_protocol::id::NodeId =
            "nod_00000000000000000000000000".parse().unwrap();
        let placed = Placement::Placed {
            node,
            rtt_ms: Some(12),
            rtt_from: Some(RttFrom::Measured),
            chosen: true,
            points,
            waited_ms: 0,
            step: None,
        };
        let words = "placed on nod_00000000000000000000000000, 12 ms away as the player measured, \
                     after 0.0 s\nin the region that the player chose: no latency step holds\n\
                     POINTS  FOR\n1200    round trip\n1200    all together; fewest is best\n";
        assert_eq!(super::placed(&placed), words);
    }
}
