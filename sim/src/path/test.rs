use super::*;
use proptest::prelude::*;

/// Packets as (time since the one before, bytes).
fn packets() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((0u64..3000, 40u32..1400), 1..400)
}

fn rough() -> impl Strategy<Value = Conditions> {
    (
        (0.0..0.3f64, 0u64..50_000, 0u64..20_000, 0.0..0.2f64),
        (
            prop::option::of(500u32..20_000),
            0u64..200_000,
            any::<bool>(),
        ),
        prop::option::of((1u32..20, 1u64..1_000_000)),
        any::<bool>(),
    )
        .prop_map(
            |((loss, delay_us, jitter_us, reorder), (rate, room, bytes), runs, tail)| Conditions {
                loss,
                burst: Some(runs.map_or(
                    Burst::Chain {
                        enter: 0.02,
                        leave: 0.3,
                        loss: 0.9,
                    },
                    |(packets, every_us)| Burst::Runs { packets, every_us },
                )),
                delay_us,
                jitter_us,
                jitter_shape: if tail {
                    JitterShape::Exponential
                } else {
                    JitterShape::Uniform
                },
                reorder,
                reorder_us: 7000,
                rate_kbps: rate,
                queue: if bytes {
                    Queue::Bytes(room)
                } else {
                    Queue::Span { us: room }
                },
            },
        )
}

/// Offers the packets one after the other: when each came, and its fate.
fn fates(path: &mut Path, packets: &[(u64, u32)]) -> Vec<(u64, Fate)> {
    let mut now_us = 0;
    let mut offered = Vec::new();
    for (gap_us, bytes) in packets {
        now_us += gap_us;
        offered.push((now_us, path.offer(now_us, *bytes)));
    }
    offered
}

fn arrivals(fates: &[(u64, Fate)]) -> Vec<u64> {
    let at = |fate: &(u64, Fate)| match fate.1 {
        Fate::Deliver { at_us, .. } => Some(at_us),
        Fate::Lost(_) => None,
    };
    fates.iter().filter_map(at).collect()
}

proptest! {
    #[test]
    fn order_is_kept_without_reorder(conditions in rough(), packets in packets(), seed: u64) {
        let conditions = Conditions { reorder: 0.0, ..conditions };
        let fates = fates(&mut Path::new(conditions, seed), &packets);
        prop_assert!(arrivals(&fates).is_sorted());
    }

    #[test]
    fn nothing_arrives_before_its_delay(conditions in rough(), packets in packets(), seed: u64) {
        for (came_us, fate) in fates(&mut Path::new(conditions, seed), &packets) {
            if let Fate::Deliver { at_us, queued_us } = fate {
                prop_assert!(at_us >= came_us + queued_us + conditions.delay_us);
            }
        }
    }

    #[test]
    fn the_rate_is_never_exceeded(kbps in 500u32..20_000, packets in packets(), seed: u64) {
        let conditions = Conditions { rate_kbps: Some(kbps), ..Conditions::CLEAN };
        let fates = fates(&mut Path::new(conditions, seed), &packets);
        let mut arrived: Vec<(u64, u64)> = Vec::new();
        for ((_, fate), (_, bytes)) in fates.iter().zip(&packets) {
            if let Fate::Deliver { at_us, .. } = fate {
                arrived.push((*at_us, u64::from(*bytes)));
            }
        }
        // Between any two arrivals no more bits than the rate carries in that time.
        for first in 0..arrived.len() {
            let mut bits = 0;
            for (at_us, bytes) in &arrived[first + 1..] {
                bits += bytes * 8;
                let span_us = at_us - arrived[first].0;
                // Both ends are rounded to a microsecond.
                prop_assert!(bits * 1000 <= u64::from(kbps) * (span_us + 1));
            }
        }
    }

    #[test]
    fn no_packet_waits_longer_than_the_queue(
        kbps in 500u32..20_000,
        room_us in 0u64..200_000,
        packets in packets(),
    ) {
        let queue = Queue::Span { us: room_us };
        let conditions = Conditions { rate_kbps: Some(kbps), queue, ..Conditions::CLEAN };
        for (_, fate) in fates(&mut Path::new(conditions, 1), &packets) {
            if let Fate::Deliver { queued_us, .. } = fate {
                prop_assert!(queued_us <= room_us);
            }
        }
    }

    #[test]
    fn a_queue_in_bytes_holds_no_more(
        kbps in 500u32..20_000,
        room in 2000u64..100_000,
        packets in packets(),
    ) {
        let conditions =
            Conditions { rate_kbps: Some(kbps), queue: Queue::Bytes(room), ..Conditions::CLEAN };
        let mut path = Path::new(conditions, 1);
        let mut now_us = 0;
        for (gap_us, bytes) in packets {
            now_us += gap_us;
            path.offer(now_us, bytes);
            // What is left of the packet on the link counts as a part, and each packet is rounded up.
            let bits = path.backlog_us(now_us) * u64::from(kbps) / 1000;
            prop_assert!(bits / 8 <= room + 100);
        }
    }

    #[test]
    fn the_same_seed_means_the_same_fate(conditions in rough(), packets in packets(), seed: u64) {
        let run = || fates(&mut Path::new(conditions, seed), &packets);
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn every_packet_is_counted_once(conditions in rough(), packets in packets(), seed: u64) {
        let mut path = Path::new(conditions, seed);
        let delivered = arrivals(&fates(&mut path, &packets)).len() as u64;
        let counters = path.counters();
        prop_assert_eq!(counters.offered, packets.len() as u64);
        prop_assert_eq!(counters.delivered, delivered);
        prop_assert_eq!(counters.offered, counters.delivered + counters.lost());
    }

    #[test]
    fn jitter_and_reorder_lose_no_other_packets(packets in packets(), seed: u64) {
        let plain = Conditions { loss: 0.1, ..Conditions::CLEAN };
        let moved = Conditions { jitter_us: 3000, reorder: 0.1, reorder_us: 9000, ..plain };
        let lost = |conditions| -> Vec<bool> {
            let fates = fates(&mut Path::new(conditions, seed), &packets);
            fates.iter().map(|(_, fate)| matches!(fate, Fate::Lost(_))).collect()
        };
        prop_assert_eq!(lost(plain), lost(moved));
    }
}

/// So many packets of 1000 bytes, a millisecond apart.
fn steady(conditions: Conditions, packets: usize) -> (Path, Vec<(u64, Fate)>) {
    let mut path = Path::new(conditions, 7);
    let fates = fates(&mut path, &vec![(1000, 1000); packets]);
    (path, fates)
}

#[test]
fn a_clean_path_changes_nothing() {
    let (_, fates) = steady(Conditions::CLEAN, 10);
    for (came_us, fate) in fates {
        let at_once = Fate::Deliver {
            at_us: came_us,
            queued_us: 0,
        };
        assert_eq!(fate, at_once);
    }
}

#[test]
fn random_loss_is_near_its_share() {
    let (path, _) = steady(
        Conditions {
            loss: 0.02,
            ..Conditions::CLEAN
        },
        50_000,
    );
    // Four standard deviations of 1,000 are 125.
    assert!(
        (875..=1125).contains(&path.counters().lost_random),
        "{:?}",
        path.counters()
    );
}

#[test]
fn runs_take_so_many_in_a_row() {
    let burst = Some(Burst::Runs {
        packets: 10,
        every_us: 500_000,
    });
    let (path, fates) = steady(
        Conditions {
            burst,
            ..Conditions::CLEAN
        },
        20_000,
    );
    let mut runs = Vec::new();
    let mut current = 0;
    for (_, fate) in fates {
        match fate {
            Fate::Lost(cause) => {
                assert_eq!(cause, Cause::Burst);
                current += 1;
            }
            Fate::Deliver { .. } if current > 0 => runs.push(std::mem::take(&mut current)),
            Fate::Deliver { .. } => {}
        }
    }
    assert!(runs.iter().all(|run| *run == 10), "{runs:?}");
    // 20 s with one in half a second: 40, give or take.
    assert!((30..=50).contains(&runs.len()), "{}", runs.len());
    assert_eq!(path.counters().lost_random, 0);
}

#[test]
fn the_chain_is_bad_for_its_share_of_the_time() {
    let burst = Some(Burst::Chain {
        enter: 0.01,
        leave: 0.19,
        loss: 1.0,
    });
    let (path, _) = steady(
        Conditions {
            burst,
            ..Conditions::CLEAN
        },
        100_000,
    );
    // enter / (enter + leave) = 5% of the packets.
    assert!(
        (4000..=6000).contains(&path.counters().lost_burst),
        "{:?}",
        path.counters()
    );
}

#[test]
fn reorder_lets_later_packets_pass() {
    let conditions = Conditions {
        reorder: 0.1,
        reorder_us: 5000,
        ..Conditions::CLEAN
    };
    let (path, fates) = steady(conditions, 1000);
    assert!(!arrivals(&fates).is_sorted());
    assert!(
        (50..=150).contains(&path.counters().reordered),
        "{:?}",
        path.counters()
    );
    for (came_us, fate) in fates {
        assert!(matches!(fate, Fate::Deliver { at_us, .. } if at_us <= came_us + 5000));
    }
}

#[test]
fn overload_fills_the_queue_and_then_loses_the_tail() {
    // 8 Mbit/s into 4.
    let queue = Queue::Span { us: 100_000 };
    let conditions = Conditions {
        rate_kbps: Some(4000),
        queue,
        ..Conditions::CLEAN
    };
    let (path, fates) = steady(conditions, 2000);
    let Some((_, Fate::Deliver { queued_us, .. })) = fates
        .iter()
        .rfind(|(_, fate)| matches!(fate, Fate::Deliver { .. }))
    else {
        panic!("something passes");
    };
    assert!((98_000..=100_000).contains(queued_us), "{queued_us}");
    let delivered = path.counters().delivered;
    // Two seconds of 500 packets, and what the queue still holds.
    assert!((1000..=1055).contains(&delivered), "{delivered}");
}

#[test]
fn a_higher_rate_keeps_the_order() {
    let mut path = Path::new(
        Conditions {
            rate_kbps: Some(100),
            ..Conditions::CLEAN
        },
        1,
    );
    let Fate::Deliver { at_us: slow_us, .. } = path.offer(0, 1000) else {
        panic!("an empty queue takes a packet");
    };
    path.set(Conditions::CLEAN);
    let Fate::Deliver { at_us, .. } = path.offer(1000, 1000) else {
        panic!("no limit takes a packet");
    };
    assert!(at_us >= slow_us);
}

const PROFILE: &str = r#"
seed = 7
[down]
rate = "4.8mbit"
queue = "100ms"
delay = "20ms"
jitter = "1500us"
jitter_shape = "exponential"
loss = "2%"
burst = "10 every 2s"
reorder = 0.01
reorder_by = "5ms"
[up]
queue = "64kB"
burst = "enter 1% leave 20%"
[[step]]
at = "30s"
down = { rate = "unlimited", burst = "none" }
[[step]]
at = "1min"
up = { delay = "1.5s" }
"#;

#[test]
fn a_profile_says_everything() {
    let mut profile = Profile::from_toml(PROFILE).unwrap();
    let down = Conditions {
        loss: 0.02,
        burst: Some(Burst::Runs {
            packets: 10,
            every_us: 2_000_000,
        }),
        delay_us: 20_000,
        jitter_us: 1500,
        jitter_shape: JitterShape::Exponential,
        reorder: 0.01,
        reorder_us: 5000,
        rate_kbps: Some(4800),
        queue: Queue::Span { us: 100_000 },
    };
    assert_eq!((profile.seed, profile.down), (7, down));
    let chain = Burst::Chain {
        enter: 0.01,
        leave: 0.2,
        loss: 1.0,
    };
    let up = Conditions {
        queue: Queue::Bytes(64_000),
        burst: Some(chain),
        ..Conditions::CLEAN
    };
    assert_eq!(profile.up, up);

    let schedule = &mut profile.schedule;
    assert_eq!(schedule.next_us(), Some(30_000_000));
    assert_eq!(schedule.take_due(29_999_999), None);
    let after = schedule.take_due(31_000_000).unwrap().down.applied(&down);
    assert_eq!(
        after,
        Conditions {
            rate_kbps: None,
            burst: None,
            ..down
        }
    );
    assert_eq!(schedule.take_due(31_000_000), None);
    let after = schedule.take_due(60_000_000).unwrap().up.applied(&up);
    assert_eq!(
        after,
        Conditions {
            delay_us: 1_500_000,
            ..up
        }
    );
    assert_eq!(schedule.next_us(), None);
}

#[test]
fn a_profile_that_is_wrong_says_where_and_how_to_write_it() {
    for (text, says) in [
        ("[down]\nrate = 8", "\"8\" is no rate: write bits a second"),
        ("[down]\nrate = \"0mbit\"", "at least 1kbit"),
        ("[down]\nloss = \"200%\"", "is no share"),
        ("[down]\nloss = -0.1", "is no share"),
        ("[down]\ndelay = \"20\"", "is no length of time"),
        ("[down]\ndelay = \"3e99s\"", "is no length of time"),
        ("[down]\nqueue = \"deep\"", "is no queue"),
        ("[down]\nqueue = []", "a quantity with its unit in quotes"),
        (
            "[down]\nburst = \"0 every 2s\"",
            "is no description of bursts",
        ),
        (
            "[down]\nburst = \"10 every 0s\"",
            "is no description of bursts",
        ),
        ("[down]\nspeed = \"8mbit\"", "unknown field `speed`"),
        ("[[step]]\ndown = {}", "missing field `at`"),
        (
            "[[step]]\nat = \"2s\"\n[[step]]\nat = \"1s\"",
            "step 2 of the profile is earlier",
        ),
    ] {
        let error = Profile::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let error = Profile::from_toml("\n\n[down]\nloss = \"much\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 4"), "{error}");
}
