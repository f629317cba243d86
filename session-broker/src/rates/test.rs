use super::*;
use nearlight_session::bill::{Interval, Range};

fn of(card: &str) -> Result<Vec<Declared>, String> {
    parse(&format!("currency = \"EUR\"\n{card}"))
}

#[test]
fn the_example_of_the_defaults_is_one() {
    let text = include_str!("../../../configs/examples/rates.toml");
    let cards = parse(text).unwrap();
    assert_eq!(cards[0].declared_ms, 1_767_225_600_000);
    assert_eq!(cards[0].card.gpu["H100"], 700);
}

#[test]
fn instants_are_read_with_their_offset() {
    let from = |text: &str| of(&format!("[[card]]\nvalid_from = {text}")).map(|c| c[0].declared_ms);
    assert_eq!(from("2024-03-01T01:00:00.9+01:00"), Ok(1_709_251_200_900));
    assert_eq!(from("2024-02-29T23:59:59-00:30"), Ok(1_709_252_999_000));
    for text in ["2024-03-01", "2024-03-01T00:00:00", "1969-12-31T00:00:00Z"] {
        assert!(from(text).unwrap_err().contains("valid_from"), "{text}");
    }
}

#[test]
fn people_ask_for_days_instants_and_milliseconds() {
    for (text, at_ms) in [
        ("2024-03-01", Some(1_709_251_200_000)),
        ("2024-03-01T00:00:01", Some(1_709_251_201_000)),
        ("2024-03-01T01:00:00+01:00", Some(1_709_251_200_000)),
        ("1709251200000", Some(1_709_251_200_000)),
        ("12:00:00", None),
        ("2024-02-30", None),
        ("-1", None),
    ] {
        assert_eq!(instant(text), at_ms, "{text}");
    }
}

#[test]
fn a_cap_leaves_for_gpus_what_the_rest_does_not_take() {
    let rates = Rates {
        slot: 10,
        cpu_core: 4,
        mem_gib: 2,
        gpu_other: 9,
        ..Rates::default()
    };
    let mut needs = Resources {
        cpu_milli: 1500,
        mem_mib: 2048,
        ..Resources::default()
    };
    let left = |needs: &Resources, max| cap_of(Some(&rates), needs, max).gpu_max;
    assert_eq!(without_gpus(&rates, &needs), 20);
    assert_eq!((left(&needs, 19), left(&needs, 20)), (None, Some(0)));
    let by_score = Some(ByScore {
        cap_permille: 1_500,
        unproven_permille: 500,
    });
    let scored = Rates {
        by_score,
        ..rates.clone()
    };
    let cap = cap_of(Some(&scored), &needs, 40);
    // 10, 1.5 cores of 4 and 2 GiB of 2 at the highest factor: 15 + 9 + 6.
    assert_eq!((cap.gpu_max, cap.gpu_other), (Some(10), 14));
    needs.gpu = Some(nearlight_protocol::job::GpuNeed {
        count: 2,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    assert_eq!(left(&needs, 39), Some(9));
    assert_eq!(cap_of(None, &needs, 1000).gpu_max, None);
}

/// Placement weighs what is billed: an hour of it is the same sum.
#[test]
fn what_a_session_costs_an_hour_is_what_an_hour_of_it_is_billed() {
    let card = Rates {
        slot: 10,
        cpu_core: 7,
        mem_gib: 3,
        gpu: [("H100".to_owned(), 700)].into(),
        gpu_other: 9,
        by_score: Some(ByScore {
            cap_permille: 1_500,
            unproven_permille: 500,
        }),
        ..Rates::default()
    };
    let mut request = SessionRequest {
        cpu_milli: 1_234,
        mem_mib: 777,
        ..SessionRequest::default()
    };
    let metered = Metered {
        cpu_milli: request.cpu_milli,
        mem_mib: request.mem_mib,
        gpus: Vec::new(),
        score_permille: Some(1_000),
    };
    let book = RateBook::new([RateCard {
        from_ms: 0,
        rates: card.clone(),
    }]);
    let hour = Interval {
        began_ms: 0,
        ended_ms: 3_600_000,
    };
    let billed = book.charge(&metered, hour, Range::ALL).micro;
    let costs = hourly(&card, &request);
    assert_eq!((costs.own, costs.cpu_core), (billed, 7 * 3_600));
    assert!(costs.gpus.is_empty(), "of who has no GPU for itself");
    request.job = Some(placement::JobNeed {
        gpu: Some(nearlight_protocol::job::GpuNeed {
            count: 1,
            model: None,
            vram_mib: 0,
            compute_capability: 0,
        }),
        ..placement::JobNeed::default()
    });
    let costs = hourly(&card, &request);
    assert_eq!(costs.gpus["H100"], 700 * 3_600);
    assert_eq!(costs.gpu_other, 9 * 3_600);
}

#[test]
fn a_file_that_is_wrong_says_what_to_do() {
    let says = |text: &str, word: &str| {
        let problem = of(text).unwrap_err();
        assert!(problem.contains(word), "`{problem}` does not say `{word}`");
    };
    let card = "[[card]]\nvalid_from = 2026-01-01T00:00:00Z\n";
    says(&format!("{card}{card}"), "oldest first");
    says(&format!("{card}slot = 1000000000001"), "above");
    says(&format!("{card}slot = 1.5"), "slot");
    says(&format!("{card}colour = 1"), "colour");
    says(&format!("{card}gpu = {{ \"\" = 1 }}"), "GPU");
    assert!(parse("currency = \"\"").unwrap_err().contains("currency"));
}
