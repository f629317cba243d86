use super::*;
use clap::Parser;

fn host() -> Host {
    Host {
        name: "den".to_owned(),
        cores: 8,
        mem_mib: 16 * 1024,
        root: true,
    }
}

fn load(text: &str, flags: &[&str]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    std::fs::write(&file, text).unwrap();
    let mut line = vec!["edge-node", "--config", file.to_str().unwrap()];
    line.extend(flags);
    Config::load(&Args::parse_from(line), &host())
}

fn check_refused(text: &str, flags: &[&str], words: &str) {
    let error = load(text, flags).unwrap_err().to_string();
    assert!(error.contains(words), "{words:?} is not in {error:?}");
}

#[test]
fn what_is_left_to_us_is_derived_from_the_host() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.name, "den");
    assert_eq!(config.slots, 4);
    assert_eq!(config.cpu_milli, 8000);
    assert_eq!(config.mem_mib, 15 * 1024);
    assert_eq!(config.worker_threads, 4);
    assert_eq!((config.prover.threads, config.prover.mem_mib), (8, 2048));
    assert!(config.run.starts_with("/run"));
    assert_eq!(config.worker.file_name().unwrap(), "edge-worker");
}

#[test]
fn flags_win_over_the_file() {
    let config = load(
        "[broker]\naddress = \"a:1\"\n[rtc]\nport = 5\n",
        &["--broker", "b:2", "--rtc-port", "6"],
    )
    .unwrap();
    assert_eq!(config.broker, "b:2");
    assert_eq!(
        config.rtc_bind,
        ["0.0.0.0:6".parse::<SocketAddr>().unwrap()]
    );
}

#[test]
fn an_uplink_is_unknown_until_the_operator_says() {
    assert_eq!(load("", &[]).unwrap().uplink_kbps, None);
    let told = load("[rtc]\nuplink_mbit = 20\n", &[]).unwrap();
    assert_eq!(told.uplink_kbps, Some(20_000));
}

#[test]
fn two_data_directories_have_two_run_directories() {
    let one = default_run(std::path::Path::new("/a"), true);
    let two = default_run(std::path::Path::new("/b"), true);
    assert_ne!(one, two);
}

#[test]
fn a_wrong_configuration_says_what_to_write() {
    check_refused("[slots]\ncount = 257\n", &[], "`slots.count` is 257");
    check_refused("[prover]\nthreads = 257\n", &[], "`prover.threads` is 257");
    check_refused("[prover]\nmem_mib = 63\n", &[], "64 to 1048576");
    check_refused("[rtc]\nkbps_start = 5\n", &[], "100 to 100000");
    check_refused(
        "[rtc]\nkbps_max = 7999\n",
        &[],
        "`rtc.kbps_start` to 100000",
    );
    check_refused("[rtc]\nuplink_mbit = 100001\n", &[], "`rtc.uplink_mbit`");
    check_refused("[broker]\naddress = \"here\"\n", &[], "HOST:PORT");
    check_refused("[admin]\nlisten = \"0.0.0.0:1\"\n", &[], "loopback");
    check_refused("[broker]\nadress = \"a:1\"\n", &[], "`broker.adress`");
    let long = format!("/{}", "x".repeat(80));
    check_refused("", &["--run", &long], "shorter");
}

/// docs/operations.md works a region out with them.
#[test]
fn the_examples_of_a_region_are_configurations() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/examples/region");
    for metro in ["frankfurt", "amsterdam", "paris"] {
        let text = std::fs::read_to_string(format!("{dir}/edge-{metro}.toml")).unwrap();
        let config = load(&text, &[]).unwrap();
        assert_eq!((config.region.as_str(), config.slots), (metro, 4));
        // What four sessions may take fits the line that the broker is told of.
        let most = config.kbps_max * 4;
        assert!(config.uplink_kbps.unwrap() >= most, "{metro}: {most}");
        let beacon = config.beacon.unwrap();
        assert!(beacon.certificate.is_some(), "{metro}: browsers ask https");
    }
}

#[test]
fn a_beacon_listens_where_it_is_told_and_nowhere_else() {
    assert_eq!(load("", &[]).unwrap().beacon, None);
    let of = |text: &str| load(&format!("[beacon]\n{text}"), &[]);
    let plain = of("listen = \"127.0.0.1:7000\"").unwrap().beacon.unwrap();
    assert_eq!((plain.listen.port(), plain.certificate), (7000, None));
    let both = "listen = \"0.0.0.0:443\"\ncert = \"c\"\nkey = \"k\"";
    let pair = Some(("c".into(), "k".into()));
    assert_eq!(of(both).unwrap().beacon.unwrap().certificate, pair);
    check_refused("[beacon]\nlisten = \"443\"", &[], "0.0.0.0:443");
    check_refused("[beacon]\ncert = \"c\"", &[], "both cert and key");
}

/// A broker would refuse the node, and say so to nobody who sits before it.
#[test]
fn a_name_that_a_terminal_would_obey_is_refused() {
    check_refused(
        "name = \"den\\u001b[2J\"\n",
        &[],
        "`name` is \"den\\u{1b}[2J\"",
    );
    check_refused("region = \"a\\nb\"\n", &[], "`region` is");
    let long = format!("region = \"{}\"\n", "a".repeat(65));
    check_refused(&long, &[], "at most 64 bytes");
}

#[test]
fn slots_in_which_nothing_can_run_are_refused() {
    check_refused("[slots]\nmem_mib = 1\n", &[], "`slots.mem_mib` is 1");
    check_refused("[slots]\nmem_mib = 99999999\n", &[], "`slots.mem_mib`");
    check_refused(
        "[slots]\ndisplay_mpixels_s = 27\n",
        &[],
        "`slots.display_mpixels_s` is 27",
    );
    check_refused("[slots]\ncpu_milli = 1\n", &[], "`slots.cpu_milli` is 1");
}
