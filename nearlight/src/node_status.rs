//! `nearlight node status`: how a node stands, for whoever runs it.

use crate::cli::Broker;
use crate::client::{Client, ClientError, DEFAULT_DATA};
use crate::table;
use nearlight_kit::pki::certified_node;
use nearlight_protocol::id::NodeId;
use nearlight_protocol::standing::{GpuMemory, Lately, NodeGate, NodeStanding, NodeVerdict};
use nearlight_protocol::unit::rfc3339;
use std::path::{Path, PathBuf};

/// The node that this machine is, by the certificate under --data.
pub(crate) fn of_this_machine(broker: &Broker) -> Option<NodeId> {
    let data = broker.data.clone();
    let data = data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA));
    certified_node(&Path::new(&data).join("pki").join("node.pem"))
}

/// How the broker says that it stands.
///
/// # Errors
/// If the broker does not answer, or knows no such node.
pub(crate) fn ask(client: &Client, node: &NodeId) -> Result<NodeStanding, ClientError> {
    client.get(&format!("/v1/nodes/{node}/standing"))
}

/// For people.
pub(crate) fn lines(standing: &NodeStanding) -> String {
    let gate = match standing.gate {
        NodeGate::Unchecked => {
            "nobody checks it: too few checkers are there, or none has a class for it"
        }
        NodeGate::Unproven => "not proven: it takes few sessions at a time",
        NodeGate::Proven => "proven",
        NodeGate::Failing => "failing its checks: it takes no sessions until it passes",
    };
    let rank = standing.rank_permille;
    let mut out = format!("{}  rank {rank} of 1000, {gate}\n", standing.node);
    if !standing.receipt_key_id.is_empty() {
        out += &format!("receipts name it {}\n", standing.receipt_key_id);
    }
    for GpuMemory { gpu, proved_mib } in &standing.gpu_memory {
        let gpu = table::cell_of(gpu);
        out += &format!("receipts stand for {proved_mib} MiB of the memory of {gpu}\n");
    }
    if standing.verdicts.is_empty() {
        out += "no verdict yet\n";
    } else {
        let rows: Vec<_> = standing.verdicts.iter().map(row).collect();
        out += &table::lay_out(
            ["ROUND", "WHEN", "GPU", "STATE", "SCORE", "RECEIPTS"],
            &rows,
        );
    }
    out += &placements(&standing.lately);
    for sentence in &standing.advice {
        out += &format!("- {}\n", table::cell_of(sentence));
    }
    out
}

fn row(verdict: &NodeVerdict) -> [String; 6] {
    let receipts: Vec<String> = verdict.receipts.iter().map(u64::to_string).collect();
    let liars = match verdict.liars.len() {
        0 => String::new(),
        liars => format!(", {liars} refuted"),
    };
    [
        verdict.round.to_string(),
        rfc3339(verdict.at_s.saturating_mul(1_000)),
        table::cell_of(&verdict.gpu),
        format!("{} ({}{liars})", verdict.state, verdict.finding),
        verdict.score_permille.to_string(),
        receipts.join(" "),
    ]
}

fn placements(lately: &Lately) -> String {
    if lately.placements == 0 {
        return "this broker has placed nothing since it started\n".to_owned();
    }
    let (of, here) = (lately.placements, lately.here);
    let mut out = format!("of the last {of} placements {here} came here\n");
    let excluded = lately.excluded.iter();
    let excluded = excluded.map(|of| [of.nodes.to_string(), of.reason.words().to_owned()]);
    let behind = lately.behind.iter().map(|of| {
        let why = match of.part.as_str() {
            "chance" => "another one was as good".to_owned(),
            part => format!("another one had fewer points for {part}"),
        };
        [of.placements.to_string(), why]
    });
    let rows: Vec<[String; 2]> = excluded.chain(behind).collect();
    if !rows.is_empty() {
        out += &table::lay_out(["PASSED OVER", "BECAUSE, AS IT IS NOW"], &rows);
    }
    out
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::placement::{Excluded, ExcludedBy};
    use nearlight_protocol::standing::Behind;

    #[test]
    fn a_host_reads_where_it_stands_and_why() {
        let verdict = NodeVerdict {
            round: 7,
            gpu: "cpu".to_owned(),
            state: "settled".to_owned(),
            finding: "pass".to_owned(),
            score_permille: 980,
            at_s: 1_800_000_000,
            receipts: vec![3, 4, 9],
            liars: vec!["a".repeat(64)],
        };
        let standing = NodeStanding {
            node: "nod_00000000000000000000000000".parse().unwrap(),
            receipt_key_id: "b".repeat(64),
            gate: NodeGate::Proven,
            rank_permille: 217,
            gpu_memory: vec![GpuMemory {
                gpu: "GPU-1".to_owned(),
                proved_mib: 1_204,
            }],
            verdicts: vec![verdict],
            lately: Lately {
                placements: 9,
                here: 2,
                excluded: vec![Excluded {
                    reason: ExcludedBy::SlotsTaken,
                    nodes: 4,
                }],
                behind: vec![Behind {
                    part: "receipts".to_owned(),
                    placements: 3,
                }],
            },
            advice: vec!["Leave it running.".to_owned()],
        };
        let said = lines(&standing);
        for words in [
            "rank 217 of 1000, proven",
            "receipts stand for 1204 MiB of the memory of GPU-1",
            "settled (pass, 1 refuted)",
            "3 4 9",
            "2027-01-15",
            "of the last 9 placements 2 came here",
            "every slot taken",
            "fewer points for receipts",
            "- Leave it running.",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
