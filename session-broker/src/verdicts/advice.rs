//! What would raise a node, in plain words.

use nearlight_proof::porc::rank::{LAST, Rank};
use nearlight_protocol::placement::ExcludedBy;
use nearlight_protocol::standing::{Lately, NodeGate, NodeVerdict};

/// What is known of a node.
#[derive(Debug)]
pub(crate) struct Advised<'a> {
    /// Whether it has told the key that receipts name it by.
    pub(crate) has_key: bool,
    /// Its gate and rank.
    pub(crate) gate: NodeGate,
    /// Whether somebody could check it.
    pub(crate) has_class: bool,
    /// As of now.
    pub(crate) rank: Rank,
    /// Newest first.
    pub(crate) verdicts: &'a [NodeVerdict],
    /// What became of the last placements.
    pub(crate) lately: &'a Lately,
    /// Checkers that make a verdict.
    pub(crate) checkers: usize,
}

/// As sentences, what matters most first.
pub(crate) fn advice(known: &Advised<'_>) -> Vec<String> {
    let mut said = Vec::new();
    if !known.has_key {
        said.push(
            "The broker knows no receipt key of the node: start its agent with this version, and let it attach once."
                .to_owned(),
        );
    }
    let checkers = known.checkers;
    match known.gate {
        NodeGate::Unchecked if !known.has_class => said.push(
            "Nobody can check it: no checker's table has a class that is called as its GPU. It takes sessions as it says of itself, with a rank of 1 of 1000, behind nodes that were checked. Sign a table with a class for it (`edge-prover --class` measures one, `checker table` signs it), or set `checks.gpu_class`."
                .to_owned(),
        ),
        NodeGate::Unchecked => said.push(format!(
            "Fewer than {checkers} checkers are there, so nobody's rank counts: nothing is to be done here."
        )),
        NodeGate::Unproven => said.push(format!(
            "No verdict says yet that it passed: leave it running and free of sessions until {checkers} checkers have probed it in one round."
        )),
        NodeGate::Failing => said.push(
            "It takes no sessions until it passes a round: find out why it failed, and leave it attached; it is checked again."
                .to_owned(),
        ),
        NodeGate::Proven => {}
    }
    said.extend(known.verdicts.first().and_then(of_newest));
    if known.gate == NodeGate::Proven && known.rank.permille < 1_000 {
        said.push(of_rank(known));
    }
    said.extend(of_placements(known.lately));
    let mut excluded = known.lately.excluded.iter();
    if excluded.any(|of| of.reason == ExcludedBy::GpuMemoryUnproved) {
        said.push(
            "What asks for more GPU memory than receipts stand for goes elsewhere: whoever signs the checkers' table has to give cards of its size a class of their own, which fills 85 % of their memory."
                .to_owned(),
        );
    }
    said
}

fn of_newest(newest: &NodeVerdict) -> Option<String> {
    let receipts: Vec<String> = newest.receipts.iter().map(u64::to_string).collect();
    let receipts = receipts.join(", ");
    match (newest.state.as_str(), newest.finding.as_str()) {
        ("split", _) => Some(format!(
            "Its checkers contradict each other in round {} (receipts {receipts}), which counts neither for nor against it: the referee looks at it once a receipt's evidence is there; if you have the probe, dispute the receipt that is wrong.",
            newest.round
        )),
        ("failed", _) => Some(format!(
            "It failed round {} (receipts {receipts}): `nearlight receipt get` shows why; dispute a receipt that is wrong.",
            newest.round
        )),
        ("open", _) => Some(format!(
            "Too few checkers have said something certain in round {} (receipts {receipts}): a node that refuses a probe gains nothing.",
            newest.round
        )),
        _ => None,
    }
}

fn of_rank(known: &Advised<'_>) -> String {
    let certain = known.verdicts.iter();
    let certain = certain.filter(|verdict| verdict.finding != "inconclusive");
    let counted: Vec<&NodeVerdict> = certain.take(LAST).collect();
    let slow = counted
        .iter()
        .any(|verdict| verdict.finding == "pass" && verdict.score_permille < 1_000);
    let failed = counted.iter().any(|verdict| verdict.finding == "fail");
    let rank = known.rank.permille;
    match (failed, slow, counted.len() < LAST) {
        (true, ..) => {
            format!("Its rank is {rank} of 1000: each pass takes weight from its failure.")
        }
        (_, true, _) => format!(
            "Its rank is {rank} of 1000: it is slower than the reference of its class, so leave more of the machine to it."
        ),
        (.., true) => format!(
            "Its rank is {rank} of 1000: it grows with each of the first {LAST} rounds that it passes."
        ),
        _ => format!("Its rank is {rank} of 1000: newer rounds that it passes renew it."),
    }
}

fn of_placements(lately: &Lately) -> Option<String> {
    let excluded = lately.excluded.iter().max_by_key(|of| of.nodes);
    let behind = lately.behind.iter().max_by_key(|of| of.placements);
    let of = lately.placements;
    match (excluded, behind) {
        (Some(excluded), behind)
            if behind.is_none_or(|behind| behind.placements <= excluded.nodes) =>
        {
            Some(format!(
                "{} of the last {of} placements could not come here: {}.",
                excluded.nodes,
                excluded.reason.words()
            ))
        }
        (_, Some(behind)) if behind.part != "chance" => Some(format!(
            "{} of the last {of} placements went to a node with fewer points for {}.",
            behind.placements, behind.part
        )),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::porc::rank::Gate;
    use nearlight_protocol::placement::Excluded;
    use nearlight_protocol::standing::Behind;

    fn verdict(state: &str, finding: &str, score_permille: u32) -> NodeVerdict {
        NodeVerdict {
            round: 7,
            gpu: "cpu".to_owned(),
            state: state.to_owned(),
            finding: finding.to_owned(),
            score_permille,
            at_s: 1,
            receipts: vec![3, 4],
            liars: Vec::new(),
        }
    }

    fn said(gate: NodeGate, verdicts: &[NodeVerdict], lately: &Lately) -> String {
        let known = Advised {
            has_key: true,
            gate,
            has_class: true,
            rank: Rank {
                permille: 300,
                gate: Gate::Proven,
            },
            verdicts,
            lately,
            checkers: 3,
        };
        advice(&known).join(" ")
    }

    #[test]
    fn each_gate_and_verdict_has_its_words() {
        let none = Lately::default();
        let cases = [
            (NodeGate::Unchecked, None, "Fewer than 3 checkers"),
            (NodeGate::Unproven, None, "until 3 checkers have probed it"),
            (
                NodeGate::Unproven,
                Some(verdict("open", "inconclusive", 0)),
                "round 7 (receipts 3, 4): a node that refuses",
            ),
            (
                NodeGate::Failing,
                Some(verdict("failed", "fail", 0)),
                "It failed round 7 (receipts 3, 4)",
            ),
            (
                NodeGate::Proven,
                Some(verdict("split", "inconclusive", 0)),
                "contradict each other in round 7",
            ),
            (
                NodeGate::Proven,
                Some(verdict("passed", "pass", 900)),
                "slower than the reference",
            ),
            (
                NodeGate::Proven,
                Some(verdict("passed", "pass", 1_000)),
                "grows with each of the first 8",
            ),
        ];
        for (gate, verdict, words) in cases {
            let verdicts: Vec<NodeVerdict> = verdict.into_iter().collect();
            let said = said(gate, &verdicts, &none);
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn the_most_frequent_reason_is_named() {
        let mut lately = Lately {
            placements: 9,
            here: 0,
            excluded: vec![Excluded {
                reason: ExcludedBy::Unproven,
                nodes: 5,
            }],
            behind: vec![Behind {
                part: "image".to_owned(),
                placements: 4,
            }],
        };
        let of = |lately: &Lately| said(NodeGate::Unproven, &[], lately);
        assert!(of(&lately).contains("5 of the last 9 placements could not come here"));
        assert!(!of(&lately).contains("class of their own"));
        lately.behind[0].placements = 6;
        assert!(of(&lately).contains("6 of the last 9 placements went to a node"));
        lately.excluded[0].reason = ExcludedBy::GpuMemoryUnproved;
        assert!(of(&lately).contains("class of their own"));
    }
}
