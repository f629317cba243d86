use super::measure::{FULL_LOOKS, LOOKS, QUEUE_US_MIN};
use super::*;
use proptest::prelude::*;

fn demand(kbps_wanted: u32, kbps_sent: u32, queue_us: u32) -> Demand {
    Demand {
        is_watcher: false,
        kbps_wanted,
        kbps_sent,
        queue_us,
    }
}

fn watcher(kbps_wanted: u32, queue_us: u32) -> Demand {
    Demand {
        is_watcher: true,
        ..demand(kbps_wanted, kbps_wanted, queue_us)
    }
}

#[test]
fn watchers_have_what_the_players_leave_and_lower_nobody() {
    let mut uplink = Uplink::new(Some(20_000));
    let mut shares = Vec::new();
    let player = demand(8_000, 8_000, 0);
    let mut all = vec![watcher(8_000, 0); 16];
    all.push(player);
    uplink.share(&all, 0, &mut shares);
    assert!(shares[16].unwrap() >= 8_000, "{shares:?}");
    assert_eq!(shares[0], Some((19_000 - 8_000) / 16));
    uplink.share(
        &[demand(30_000, 19_000, 0), watcher(8_000, 0)],
        0,
        &mut shares,
    );
    assert_eq!(shares, [Some(19_000), Some(KBPS_LEAST)]);
    // Their word on queues is none.
    let mut uplink = Uplink::new(None);
    let liars = [watcher(100, 30_000), watcher(100, 30_000), player];
    for look in 1..4 * FULL_LOOKS as u64 {
        uplink.share(&liars, look * 250_000, &mut shares);
    }
    assert_eq!((uplink.kbps(), &shares[..]), (None, &[None; 3][..]));
}

/// So many looks at the same demands, four a second.
fn look(
    uplink: &mut Uplink,
    now_us: &mut u64,
    demands: &[Demand],
    times: usize,
) -> Vec<Option<u32>> {
    let mut shares = Vec::new();
    for _ in 0..times {
        *now_us += 250_000;
        uplink.share(demands, *now_us, &mut shares);
    }
    shares
}

#[test]
fn a_lone_player_that_sees_a_queue_is_given_way_by_watchers_and_lowered_by_nobody() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut all = vec![watcher(4_000, 0); 4];
    all.push(demand(8_000, 4_000, 30_000));
    let shares = look(&mut uplink, &mut now, &all, 4 * LOOKS);
    assert_eq!(
        shares, [None; 5],
        "a queue that no watcher sees is the player's own"
    );
    // A short one beside one of a player that is hardly longer is no queue, but jitter.
    all[4].queue_us = QUEUE_US_MIN;
    all[1].queue_us = QUEUE_US_MIN - 1;
    let shares = look(&mut uplink, &mut now, &all, 4 * LOOKS);
    assert_eq!(shares, [None; 5]);
    all[4].queue_us = 30_000;
    all[1].queue_us = 27_000;
    let shares = look(&mut uplink, &mut now, &all, FULL_LOOKS - 1);
    assert_eq!(shares, [None; 5], "a moment may be chance");
    let shares = look(&mut uplink, &mut now, &all, 1);
    // They send 20 Mbit/s together: what 19 leave beside the player's 8.
    assert_eq!(shares[..4], [Some((19_000 - 8_000) / 4); 4]);
    assert_eq!(shares[4], None, "the line may be its own");
    assert_eq!(uplink.kbps(), None, "one player's word closes no node");
    // They came down and the queue is gone: they stay down while all of it is used.
    all[..4].fill(watcher(2_750, 0));
    all[4] = demand(8_000, 8_000, 0);
    let shares = look(&mut uplink, &mut now, &all, 8);
    assert!(
        shares[0].unwrap() < 4_000 && shares[4].is_none(),
        "{shares:?}"
    );
    // They are sent next to nothing of what the player is, for their pictures are broken: still no room for all.
    all[..4].fill(Demand {
        kbps_sent: 300,
        ..watcher(8_000, 0)
    });
    let shares = look(&mut uplink, &mut now, &all, 400);
    assert!(shares[0].is_some(), "not forgotten");
    let shares = look(&mut uplink, &mut now, &all, 100);
    assert_eq!(shares[0], None, "but tried again now and then");
    // One that is left alone has nothing to share.
    all[1].queue_us = 27_000;
    all[4] = demand(8_000, 4_000, 30_000);
    assert!(look(&mut uplink, &mut now, &all, FULL_LOOKS)[0].is_some());
    assert_eq!(look(&mut uplink, &mut now, &all[4..], 1), [None]);
    all[4].queue_us = 0;
    assert_eq!(look(&mut uplink, &mut now, &all, 1), [None; 5]);
}

#[test]
fn an_uplink_stays_measured_when_the_second_player_leaves_its_watchers() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut all = vec![watcher(1_000, 0); 16];
    all.push(demand(8_000, 2_000, 30_000));
    all[0].queue_us = 29_000;
    let one = all.clone();
    all.push(demand(8_000, 2_000, 28_000));
    look(&mut uplink, &mut now, &all, FULL_LOOKS);
    assert_eq!(uplink.kbps(), Some(20_000));
    let shares = look(&mut uplink, &mut now, &one, 1);
    assert!(uplink.kbps().is_some());
    assert!(
        shares[0].unwrap() < 1_000 && shares[16].unwrap() >= 8_000,
        "{shares:?}"
    );
    // What it sees from now on may be its own line's: told no more, and no limit to it.
    let shares = look(&mut uplink, &mut now, &one, FULL_LOOKS);
    assert_eq!((uplink.kbps(), shares[16]), (None, None));
    assert!(shares[0].is_some());
}

#[test]
fn a_queue_that_comes_and_goes_is_one_all_the_same() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let full = [demand(8_000, 5_000, 40_000), demand(8_000, 5_000, 38_000)];
    let gone = [demand(8_000, 5_000, 0), demand(8_000, 5_000, 0)];
    for _ in 0..3 {
        look(&mut uplink, &mut now, &gone, 4);
        assert_eq!(uplink.kbps(), None);
        look(&mut uplink, &mut now, &full, 3);
    }
    assert!(uplink.kbps().is_some_and(|kbps| kbps < 10_100));
    // Seldom is not often enough.
    let mut uplink = Uplink::new(None);
    for _ in 0..20 {
        look(&mut uplink, &mut now, &gone, 6);
        look(&mut uplink, &mut now, &full, 2);
    }
    assert_eq!(uplink.kbps(), None);
}

#[test]
fn players_who_start_at_once_on_an_idle_node_are_measured_by_what_they_send() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    look(&mut uplink, &mut now, &[], 40);
    let both = [demand(8_000, 5_000, 40_000), demand(8_000, 5_000, 38_000)];
    look(&mut uplink, &mut now, &both, FULL_LOOKS);
    assert_eq!(uplink.kbps(), Some(10_000));
}

#[test]
fn where_two_play_and_one_sees_a_queue_it_is_that_players_line() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let all = [
        demand(8_000, 4_000, 30_000),
        demand(8_000, 100, 0),
        watcher(4_000, 0),
    ];
    let shares = look(&mut uplink, &mut now, &all, 4 * FULL_LOOKS);
    assert_eq!(shares, [None; 3]);
}

#[test]
fn a_third_session_on_twenty_megabits_lowers_all_fairly() {
    let mut uplink = Uplink::new(Some(20_000));
    let mut shares = Vec::new();
    uplink.share(&[demand(8_000, 8_000, 0); 2], 0, &mut shares);
    assert!(shares.iter().all(|share| share.unwrap() >= 8_000));
    uplink.share(&[demand(8_000, 8_000, 0); 3], 0, &mut shares);
    assert_eq!(shares, [Some(6_333); 3]);
    // Who wants little leaves the rest to the others.
    let mixed = [demand(1_000, 1_000, 0), demand(20_000, 9_000, 0)];
    uplink.share(&mixed, 0, &mut shares);
    assert_eq!(shares[1], Some(18_000));
}

#[test]
fn an_uplink_is_measured_when_several_are_full_and_forgotten_when_none_is() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut look = |uplink: &mut Uplink, demands: &[Demand], times: usize| {
        look(uplink, &mut now, demands, times)
    };
    let one = [demand(8_000, 4_000, 30_000), demand(8_000, 8_000, 0)];
    look(&mut uplink, &one, 50);
    assert_eq!(uplink.kbps(), None, "one full path is that path's matter");
    let two = [demand(8_000, 4_000, 30_000), demand(8_000, 8_000, 15_000)];
    look(&mut uplink, &two, 50);
    assert_eq!(uplink.kbps(), None, "two queues are two lines");
    let same = [demand(8_000, 4_000, 30_000), demand(8_000, 6_000, 27_000)];
    look(&mut uplink, &same, FULL_LOOKS - 1);
    assert_eq!(uplink.kbps(), None, "a moment may be chance");
    let shares = look(&mut uplink, &same, 1);
    // What they sent on average over the last seconds, when it was more.
    let kbps = uplink.kbps().unwrap();
    assert!((10_000..11_000).contains(&kbps), "{kbps}");
    assert_eq!(shares, [Some((f64::from(kbps) * USABLE) as u32 / 2); 2]);
    let shares = look(&mut uplink, &[demand(8_000, 2_000, 0); 2], 200);
    assert_eq!(uplink.kbps(), None);
    assert_eq!(shares, [None; 2]);
}

#[test]
fn a_queue_that_stays_however_little_is_sent_is_that_of_others() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut shares = vec![None; 2];
    // A download leaves them 6 Mbit/s each, for minutes.
    for second in 0..300 {
        let each = shares[0].unwrap_or(8_000).min(6_000);
        let both = [demand(8_000, each, 60_000), demand(8_000, each, 58_000)];
        shares = look(&mut uplink, &mut now, &both, 4);
        let share = shares[0].unwrap_or(8_000);
        assert!(share >= 5_000, "{share} after {second} s");
    }
}

#[test]
fn two_who_make_up_a_queue_leave_the_third_its_part() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut honest_sent = 8_000;
    // For ten minutes, again and again: a queue of seconds that is always somewhat shorter.
    let mut told_us = 5_000_000;
    for _ in 0..300 {
        let liar = demand(12_000, 200, told_us);
        let all = [liar, liar, demand(12_000, honest_sent, 0)];
        let shares = look(&mut uplink, &mut now, &all, FULL_LOOKS);
        let share = shares[2].unwrap_or(u32::MAX);
        honest_sent = share.min(8_000);
        // A third of the 8,400 that they were sent together, but for what is not given away.
        assert!(honest_sent >= 2_600, "{honest_sent}");
        told_us = told_us * 70 / 100;
        if told_us < QUEUE_US_MIN {
            told_us = 5_000_000;
        }
    }
    // One that hides the queue that all see has no more of it than they.
    let seen = demand(12_000, 4_000, 30_000);
    let all = [seen, seen, demand(12_000, 12_000, 0)];
    let mut uplink = Uplink::new(None);
    let shares = look(&mut uplink, &mut now, &all, FULL_LOOKS);
    let (theirs, hides) = (shares[0].unwrap(), shares[2].unwrap());
    assert!(
        (6_300..6_400).contains(&theirs) && hides <= theirs + 1,
        "{shares:?}"
    );
}

#[test]
fn downloads_that_come_and_go_do_not_wear_it_down() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let mut shares = vec![None; 2];
    // Two seconds of a download, which leaves them six tenths of what they had, and four without.
    for round in 0..60 {
        for looks in 0..6 * 4 {
            let each = shares[0].unwrap_or(8_000).min(8_000);
            let (each, queue_us) = match looks < 2 * 4 {
                true => (each * 6 / 10, 60_000),
                false => (each, 0),
            };
            let both = [demand(8_000, each, queue_us); 2];
            shares = look(&mut uplink, &mut now, &both, 1);
        }
        let share = shares[0].unwrap_or(8_000);
        assert!(round < 5 || share >= 6_000, "{share} after {round} rounds");
    }
}

#[test]
fn one_that_others_have_left_is_found_again_within_seconds() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    let beside = [demand(8_000, 3_000, 60_000), demand(8_000, 3_000, 58_000)];
    look(&mut uplink, &mut now, &beside, 2 * FULL_LOOKS);
    let mut shares = look(&mut uplink, &mut now, &beside, 1);
    assert!(shares[0].unwrap() < 3_300, "{shares:?}");
    let mut looks = 0;
    while shares[0].is_some_and(|share| share < 8_000) {
        let each = shares[0].unwrap();
        shares = look(&mut uplink, &mut now, &[demand(8_000, each, 0); 2], 1);
        looks += 1;
        assert!(looks < 60, "{shares:?}");
    }
}

#[test]
fn watchers_of_a_player_with_a_poor_line_are_not_left_without_a_picture() {
    let (mut uplink, mut now) = (Uplink::new(None), 0);
    // It could use 8.6 Mbit/s, and its line takes 3; a watcher's radio is as slow at times.
    let all = [
        demand(8_600, 3_000, 11_000),
        Demand {
            kbps_sent: 3_000,
            ..watcher(8_600, 9_000)
        },
    ];
    for round in 0..20 {
        let shares = look(&mut uplink, &mut now, &all, FULL_LOOKS);
        assert_eq!(shares[0], None);
        // For some seconds it makes room, which the player shows not to take.
        let least = if round < 5 { KBPS_LEAST } else { 1_500 };
        assert!(shares[1].is_none_or(|share| share >= least), "{shares:?}");
    }
}

proptest! {
    #[test]
    fn shares_never_exceed_the_uplink_and_nobody_is_starved(
        uplink in 1_000_u32..100_000,
        wanted in proptest::collection::vec(0_u32..20_000, 1..6),
    ) {
        let demands: Vec<Demand> = wanted.iter().map(|w| demand(*w, *w, 0)).collect();
        let level = fair_level(demands.iter(), uplink);
        let used: u64 = wanted.iter().map(|w| u64::from((*w).min(level))).sum();
        prop_assert!(used <= u64::from(uplink));
        let everybody = wanted.iter().all(|w| *w <= level);
        let sharers = wanted.len() as u64;
        prop_assert!(everybody || used + sharers >= u64::from(uplink));
    }
}
