use super::*;
use nearlight_placement::{NodeState, Trust};
use nearlight_protocol::app::GpuClass;
use std::collections::BTreeSet;

/// A node that lists so many images of so many bytes.
fn node(images: usize, bytes: usize) -> Changed {
    let id = nearlight_kit::ids::node();
    let shown = serde_json::json!({
        "id": id, "name": "n", "region": "here", "status": "online", "slots_total": 1, "slots_free": 1,
        "gpu": "none", "gpu_models": [], "encoders": [], "runtime": "docker", "build": "b",
        "uplink_kbps": null,
    });
    let view = NodeView {
        id,
        region: "here".to_owned(),
        operator: String::new(),
        trust: Trust::Open,
        runtime: String::new(),
        gpu: GpuClass::None,
        vram_mib: 0,
        vram_mib_proved: None,
        encodes: true,
        slots_total: 1,
        cpu_milli_total: 1_000,
        encode_cpu_milli: 0,
        mem_mib_total: 1_024,
        uplink_kbps_total: None,
        price_permille: 1000,
        images: (0..images).map(|n| format!("{n:0bytes$}")).collect(),
        jobs: None,
        desktops: BTreeSet::new(),
        state: NodeState::default(),
    };
    Changed {
        node: Arc::new(serde_json::from_value(shown).unwrap()),
        view: ChangedView::Whole(Box::new(view)),
    }
}

/// The lines that a peer is told from the beginning, and the nodes in them.
fn told(hub: &Hub) -> (usize, BTreeSet<NodeId>) {
    let (mut lines, mut nodes, mut seen) = (0, BTreeSet::new(), 0);
    loop {
        let (line, next) = hub.since(seen).line();
        assert!(line.len() < LINE_BYTES_MAX, "{} bytes", line.len());
        let line: Line<Item> = serde_json::from_slice(&line).unwrap();
        if line.nodes.is_empty() {
            return (lines, nodes);
        }
        for item in line.nodes {
            let Item::Is(shared) = item else {
                panic!("none has left");
            };
            nodes.insert(shared.node.id);
        }
        (lines, seen) = (lines + 1, next);
    }
}

#[test]
fn nodes_with_all_the_images_that_they_may_list_are_told_line_by_line() {
    let hub = Hub::default();
    // As much as a message on a control channel holds.
    let full: Vec<Changed> = (0..100).map(|_| node(1_000, 250)).collect();
    hub.publish(&full, 0);
    let (lines, nodes) = told(&hub);
    assert_eq!(nodes.len(), full.len());
    assert!(lines > 10, "{lines} lines");
}

#[test]
fn a_node_that_fills_a_line_alone_is_told_and_so_is_the_next() {
    let hub = Hub::default();
    hub.publish(&[node(1_000, 2_000), node(1, 9), node(1_000, 2_000)], 0);
    assert_eq!(
        hub.since(0)
            .line()
            .0
            .iter()
            .filter(|b| **b == b'\n')
            .count(),
        1
    );
    let (lines, nodes) = told(&hub);
    assert_eq!((lines, nodes.len()), (2, 3));
}

/// Brokers of before say what a node costs in a field that is none any more, and mean nothing by it.
#[test]
fn a_node_of_an_older_broker_costs_what_the_card_says() {
    let ChangedView::Whole(view) = node(1, 9).view else {
        panic!("it is told whole");
    };
    let mut told = serde_json::to_value(&*view).unwrap();
    let fields = told.as_object_mut().unwrap();
    assert_eq!(fields.remove("price_permille"), Some(1000.into()));
    fields.insert("price_milli_h".to_owned(), serde_json::Value::Null);
    let read: NodeView = serde_json::from_value(told).unwrap();
    assert_eq!(read, *view);
}

#[test]
fn what_runs_comes_with_the_last_line() {
    let hub = Hub::default();
    let many: Vec<Changed> = (0..=LINE_NODES).map(|_| node(1, 9)).collect();
    hub.publish(&many, 3);
    let busy = r#"{"total":1,"sample":[],"durations":[]}"#;
    hub.publish_busy(serde_json::from_str(busy).unwrap());
    let (first, seen) = hub.since(0).line();
    let first: Line<Item> = serde_json::from_slice(&first).unwrap();
    assert_eq!(
        (first.nodes.len(), first.busy.is_none()),
        (LINE_NODES, true)
    );
    let (last, _) = hub.since(seen).line();
    let last: Line<Item> = serde_json::from_slice(&last).unwrap();
    assert_eq!((last.nodes.len(), last.busy.is_some()), (1, true));
}
