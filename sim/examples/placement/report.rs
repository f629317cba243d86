//! The report.

use crate::Measured;
use crate::fleet::Fleet;
use crate::requests::Class;
use nearlight_protocol::app::GpuClass;
use serde_json::{Value, json};
use std::hash::Hasher;
use std::time::Duration;

const CLASSES: [(Class, &str, u32); 3] = [
    (Class::Easy, "easy", 80),
    (Class::Rare, "rare", 15),
    (Class::Unsatisfiable, "unsatisfiable", 5),
];

pub(crate) fn render(fleet: &Fleet, measured: &Measured, (seed, built): (u64, Duration)) -> Value {
    let mut report = json!({
        "seed": seed,
        "requests": measured.decisions.len(),
        "fleet": describe(fleet),
        "built_ms": built.as_millis() as u64,
        "broker.index_update_ns": mean(&measured.heartbeats),
        "index_update_ns_p99": quantile(measured.heartbeats.clone(), 0.99),
        "claim_ns": mean(&measured.claims),
        "digest": format!("{:016x}", measured.digest.finish()),
        "faults": measured.faults,
    });
    let mut mix = serde_json::Map::new();
    let all = measured.decisions.iter().map(|(_, ns)| *ns).collect();
    quantiles(&mut report, "broker.decide_us", all);
    for (class, name, percent) in CLASSES {
        let of_class = measured.decisions.iter().filter(|(c, _)| *c == class);
        let times: Vec<u64> = of_class.map(|(_, ns)| *ns).collect();
        let placed = measured.placed[class as usize] as f64 / times.len().max(1) as f64;
        let share = json!({ "percent": percent, "requests": times.len(), "placed": placed });
        mix.insert(name.to_owned(), share);
        quantiles(&mut report, &format!("broker.decide_{name}_us"), times);
    }
    report["mix"] = Value::Object(mix);
    report
}

fn describe(fleet: &Fleet) -> Value {
    let count = |of: &dyn Fn(&nearlight_placement::NodeView) -> bool| {
        fleet.nodes.iter().filter(|node| of(node)).count()
    };
    let mut metros: Vec<&str> = fleet
        .nodes
        .iter()
        .map(|node| node.region.as_str())
        .collect();
    metros.sort_unstable();
    let sizes: Vec<usize> = metros.chunk_by(|a, b| a == b).map(<[&str]>::len).collect();
    json!({
        "nodes": fleet.nodes.len(),
        "metros": sizes.len(),
        "largest_metro": sizes.iter().max(),
        "no_gpu": count(&|n| n.gpu == GpuClass::None),
        "render": count(&|n| n.gpu == GpuClass::Render),
        "render_encode": count(&|n| n.gpu == GpuClass::RenderEncode),
        "vram_24_gib": count(&|n| n.vram_mib >= 24 * 1024),
        "offline": count(&|n| !n.state.attached),
        "draining": count(&|n| n.state.draining),
        "full": count(&|n| n.state.slots_free == 0),
        "unproven": count(&|n| n.state.rank == Some(0)),
    })
}

fn quantiles(report: &mut Value, name: &str, nanoseconds: Vec<u64>) {
    for (label, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        let ns = quantile(nanoseconds.clone(), q);
        report[format!("{name}_{label}")] = json!(ns as f64 / 1e3);
    }
}

fn quantile(mut values: Vec<u64>, q: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or(0)
}

fn mean(values: &[u64]) -> f64 {
    let sum: u64 = values.iter().sum();
    (sum as f64 / values.len().max(1) as f64).round()
}
