//! A region's day on a virtual clock: `cargo run --release -p nearlight-sim --example day -- NODES HOURS SEED`
#![allow(clippy::print_stdout, reason = "its report is what it is for")]
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<f64>().unwrap());
    let (nodes, hours, seed) = (
        args.next().unwrap_or(2000.0),
        args.next().unwrap_or(6.0),
        args.next().unwrap_or(1.0),
    );
    let mut config = nearlight_sim::fleet::Config::day(nodes as usize, hours, seed as u64);
    if let Some(s) = args.next() {
        config.sessions_a_node_day = s;
    }
    let from = std::time::Instant::now();
    match config.run() {
        Ok(report) => println!("{}", serde_json::to_string_pretty(&report).unwrap()),
        Err(broken) => println!("{broken}"),
    }
    println!("{:.1} s", from.elapsed().as_secs_f64());
}
