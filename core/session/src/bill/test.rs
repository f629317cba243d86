use super::*;
use proptest::prelude::*;

fn rates(slot: u64, cpu_core: u64, mem_gib: u64) -> Rates {
    Rates {
        slot,
        cpu_core,
        mem_gib,
        gpu: [("H100".to_owned(), 700), ("H100 PCIe".to_owned(), 500)].into(),
        gpu_other: 90,
        volume_gib_hour: 137,
        by_score: None,
    }
}

fn metered(cpu_milli: u32, mem_mib: u32, gpus: &[&str]) -> Metered {
    Metered {
        cpu_milli,
        mem_mib,
        gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(),
        score_permille: None,
    }
}

fn interval(began_ms: u64, ended_ms: u64) -> Interval {
    Interval { began_ms, ended_ms }
}

#[test]
fn a_claim_costs_what_it_holds() {
    let rates = rates(40, 11, 2);
    // 40 + 1.5 cores of 11 + 0.5 GiB of 2.
    assert_eq!(rates.per_second(&metered(1500, 512, &[])), 58);
    let book = RateBook::new([RateCard { from_ms: 0, rates }]);
    let charge = |metered: &Metered, ended| book.charge(metered, interval(5, ended), Range::ALL);
    let micro = |metered: &Metered, ended| charge(metered, ended).micro;
    assert_eq!(micro(&metered(1500, 512, &[]), 2005), 115, "57.5 twice");
    assert_eq!(micro(&metered(1500, 512, &[]), 1005), 57, "rounded down");
    let gpus = ["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA L4"];
    assert_eq!(micro(&metered(0, 0, &gpus), 1005), 40 + 700 + 500 + 90);
    assert_eq!(charge(&metered(0, 0, &[]), 1004), Charge::default());
}

/// By hand: 40 + 1.5 cores of 11 + 0.5 GiB of 2 are 57.5 a second; an hour of it 207,000.
#[test]
fn a_claim_costs_by_what_its_node_was_measured_to_do() {
    let by = ByScore {
        cap_permille: 1_200,
        unproven_permille: 500,
    };
    let rates = Rates {
        by_score: Some(by),
        ..rates(40, 11, 2)
    };
    let scored = |score_permille| Metered {
        score_permille,
        ..metered(1500, 512, &[])
    };
    let book = RateBook::new([RateCard {
        from_ms: 0,
        rates: rates.clone(),
    }]);
    let hour = |score| {
        book.charge(&scored(score), interval(5, 3_600_005), Range::ALL)
            .micro
    };
    assert_eq!(hour(Some(1_000)), 207_000);
    assert_eq!(hour(Some(870)), 180_090, "207,000 * 0.87");
    assert_eq!(hour(Some(3)), 621);
    assert_eq!(hour(Some(1_200)), 248_400);
    assert_eq!(hour(Some(100_000)), 248_400, "no more than the cap");
    assert_eq!(hour(None), 103_500, "half of it, unproven");
    // 57.5 * 0.87 = 50.025: a second has a part of a micro-unit, and none is lost in the sum.
    let seconds = |s: u64| book.charge(&scored(Some(870)), interval(5, 5 + 1000 * s), Range::ALL);
    assert_eq!(
        (seconds(1).micro, seconds(39).micro, seconds(40).micro),
        (50, 1_950, 2_001)
    );
    // A volume has no score, and a cap on prices holds for any node.
    let day = |rates: &Rates| Kept { mib: 1024 }.parts(rates);
    assert_eq!(
        day(&rates),
        day(&Rates {
            by_score: None,
            ..rates.clone()
        })
    );
    for score in [None, Some(1), Some(999), Some(1_200), Some(9_000)] {
        assert!(rates.per_second(&scored(score)) <= rates.dearest().per_second(&scored(score)));
    }
    assert_eq!(rates.dearest().slot, 48);
}

#[test]
fn a_volume_costs_its_size_by_the_hour() {
    let rates = rates(40, 11, 2);
    let book = RateBook::new([RateCard { from_ms: 0, rates }]);
    let micro = |mib, seconds: u64| {
        let charge = book.charge(&Kept { mib }, interval(5, 5 + 1000 * seconds), Range::ALL);
        (charge.seconds, charge.micro)
    };
    assert_eq!(micro(1024, 3600), (3600, 137), "no slot, no core");
    assert_eq!(micro(4096, 30 * 24 * 3600), (2_592_000, 4 * 720 * 137));
    // 137 * 3 GiB / 3600: a second of it is worth a part of a micro-unit, and none is lost in the sum.
    assert_eq!(
        (micro(3072, 1).1, micro(3072, 8).1, micro(3072, 9).1),
        (0, 0, 1)
    );
    assert_eq!(micro(1, 1024 * 3600), (3_686_400, 137));
}

#[test]
fn a_second_costs_what_holds_at_its_first_instant() {
    let card = |from_ms, slot| RateCard {
        from_ms,
        rates: rates(slot, 0, 0),
    };
    // The third second began at 2500, the fourth begins at 3500.
    let book = RateBook::new([card(2500, 10), card(2501, 100), card(0, 1), card(2501, 200)]);
    let charge = |range| book.charge(&metered(0, 0, &[]), interval(500, 4999), range);
    let of = |seconds, micro| Charge { seconds, micro };
    assert_eq!(charge(Range::ALL), of(4, 1 + 1 + 10 + 200));
    let later = Range {
        from_ms: 1500,
        to_ms: 2501,
    };
    assert_eq!(charge(later), of(2, 1 + 10));
    let free = RateBook::default();
    let charge = free.charge(&metered(1, 1, &[]), interval(0, 9000), Range::ALL);
    assert_eq!(charge, of(9, 0), "it is counted, and free");
}

#[test]
fn the_highest_rates_for_a_century_do_not_overflow() {
    let rates = rates(RATE_MAX, RATE_MAX, RATE_MAX);
    let book = RateBook::new([RateCard { from_ms: 0, rates }]);
    let most = metered(u32::MAX, u32::MAX, &[]);
    let charge = book.charge(&most, interval(0, 100 * 366 * 24 * 3_600_000), Range::ALL);
    assert_eq!(charge.micro, u64::MAX, "capped, and not wrapped around");
}

#[test]
fn months_follow_the_calendar() {
    let range = |year, month| Month { year, month }.range();
    assert_eq!(range(1970, 1).from_ms, 0);
    assert_eq!(range(2024, 2).from_ms, 1_706_745_600_000);
    assert_eq!(range(2024, 2).to_ms, 1_709_251_200_000, "29 days");
    assert_eq!(range(2026, 12).to_ms, range(2027, 1).from_ms);
    for at_ms in [0, 951_782_399_999, 951_782_400_000, 1_795_000_000_000] {
        let month = Month::of(at_ms);
        let Range { from_ms, to_ms } = month.range();
        assert!((from_ms..to_ms).contains(&at_ms), "{month:?}");
    }
    assert_eq!(
        Month::of(951_782_400_000),
        Month {
            year: 2000,
            month: 2
        }
    );
}

fn any_book() -> impl Strategy<Value = RateBook> {
    let card = (0..60_000_u64, 0..50_u64, 0..50_u64, 0..50_u64);
    prop::collection::vec(card, 0..5).prop_map(|cards| {
        RateBook::new(cards.into_iter().map(|(from_ms, slot, cpu, mem)| RateCard {
            from_ms,
            rates: rates(slot, cpu, mem),
        }))
    })
}

fn any_metered() -> impl Strategy<Value = Metered> {
    (0..4000_u32, 0..4000_u32, 0..3_usize)
        .prop_map(|(cpu, mem, gpus)| metered(cpu, mem, &["NVIDIA H100 80GB HBM3"; 3][..gpus]))
}

/// Second by second, each looked up on its own.
fn by_hand(book: &RateBook, metered: &Metered, interval: Interval) -> u128 {
    let seconds = (interval.ended_ms - interval.began_ms) / 1000;
    let parts = (0..seconds).map(|second| {
        let at = interval.began_ms + second * 1000;
        let held = book.cards.iter().rfind(|card| card.from_ms <= at);
        held.map_or(0, |card| metered.parts(&card.rates))
    });
    parts.sum::<u128>() / PARTS
}

proptest! {
    #[test]
    fn an_amount_is_the_sum_over_its_seconds(
        book in any_book(), metered in any_metered(), began in 0..60_000_u64, lasted in 0..60_000_u64,
    ) {
        let interval = interval(began, began + lasted);
        let charge = book.charge(&metered, interval, Range::ALL);
        prop_assert_eq!(u128::from(charge.micro), by_hand(&book, &metered, interval));
        prop_assert_eq!(charge.seconds, lasted / 1000);
    }

    #[test]
    fn ranges_without_a_gap_add_up_to_the_whole(
        book in any_book(), metered in any_metered(), began in 0..60_000_u64, lasted in 0..60_000_u64,
        mut cuts in prop::collection::vec(0..130_000_u64, 0..6),
    ) {
        let interval = interval(began, began + lasted);
        cuts.extend([0, u64::MAX]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|cut| {
            book.charge(&metered, interval, Range { from_ms: cut[0], to_ms: cut[1] })
        });
        let sum = parts.fold(Charge::default(), |sum, part| sum + part);
        prop_assert_eq!(sum, book.charge(&metered, interval, Range::ALL));
    }

    #[test]
    fn a_new_card_changes_nothing_that_began_before_it(
        book in any_book(), metered in any_metered(), began in 0..60_000_u64, lasted in 0..60_000_u64,
        from_ms in 0..130_000_u64,
    ) {
        let interval = interval(began, began + lasted);
        let mut cards = book.cards.clone();
        cards.retain(|card| card.from_ms < from_ms);
        let before = RateBook::new(cards.clone());
        cards.push(RateCard { from_ms, rates: rates(9999, 9999, 9999) });
        let after = RateBook::new(cards);
        let range = Range { from_ms: 0, to_ms: from_ms };
        prop_assert_eq!(
            before.charge(&metered, interval, range),
            after.charge(&metered, interval, range)
        );
    }

    #[test]
    fn a_budget_is_spent_at_the_first_instant_at_which_it_is(
        book in any_book(), budget in 1..20_000_u64, now_ms in 0..70_000_u64, to_ms in 1..130_000_u64,
        lines in prop::collection::vec((any_metered(), 0..60_000_u64, prop::option::of(0..60_000_u64)), 0..4),
    ) {
        let lines: Vec<Line> = lines.into_iter().map(|(metered, began_ms, lasted)| Line {
            held: Held::Claim(metered), began_ms, ended_ms: lasted.map(|ms| began_ms + ms),
        }).collect();
        let range = Range { from_ms: 0, to_ms };
        let spent = |at| spent(&book, &lines, range, at).micro;
        match spent_at(&book, &lines, budget, range, now_ms) {
            Some(at) => {
                prop_assert!(at >= now_ms && spent(at) >= budget);
                prop_assert!(at == now_ms || spent(at - 1) < budget);
            }
            None => prop_assert!(spent(u64::MAX) < budget),
        }
    }
}
