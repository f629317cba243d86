use super::*;

fn due(n: usize, is_failing: bool) -> Due {
    let user = nearlight_kit::ids::user();
    let row = DeliveryRow {
        id: format!("msg_{n}_{is_failing}"),
        owner: OwnerId::of(None, &user),
        session: None,
        kind: "session.ready".to_owned(),
        body: "{}".to_owned(),
        state: DeliveryState::Waiting,
        attempts: 0,
        next_ms: 0,
        created_ms: 0,
        problem: String::new(),
    };
    Due { row, is_failing }
}

fn many(is_failing: bool) -> Vec<Due> {
    (0..UNDER_WAY_MAX).map(|n| due(n, is_failing)).collect()
}

fn counts(due: &[Due]) -> (usize, usize) {
    let failing = due.iter().filter(|due| due.is_failing).count();
    (due.len() - failing, failing)
}

#[test]
fn dead_endpoints_never_have_all_turns_and_neither_do_the_others() {
    let none = HashMap::new();
    assert_eq!(counts(&with_turns(many(true), &none)), (0, FAILING_MAX));
    assert_eq!(counts(&with_turns(many(false), &none)), (WELL_MAX, 0));
    let both = [many(false), many(true)].concat();
    let both = with_turns(both, &none);
    assert_eq!(counts(&both), (WELL_MAX, UNDER_WAY_MAX - WELL_MAX));
}

#[tokio::test]
async fn what_is_under_way_has_its_turn_and_is_not_begun_again() {
    let mut tasks = JoinSet::new();
    let mut under_way = HashMap::new();
    for dead in many(true).into_iter().take(FAILING_MAX) {
        let task = tasks.spawn(std::future::pending::<()>());
        let of = UnderWay {
            id: dead.row.id,
            is_failing: true,
        };
        under_way.insert(task.id(), of);
    }
    let more = [many(false), many(true)].concat();
    let more = with_turns(more, &under_way);
    assert_eq!(counts(&more), (UNDER_WAY_MAX - FAILING_MAX, 0));
    assert_eq!(counts(&with_turns(many(true), &under_way)), (0, 0));
}

#[test]
fn a_former_secret_that_does_not_open_keeps_no_notice_back() {
    let sealer = |key: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.key.pem"), key).unwrap();
        Sealer::open_in(dir.path()).unwrap()
    };
    let (before, now) = (sealer("before"), sealer("now"));
    let owner = due(1, false).row.owner;
    let seal = |by: &Sealer| by.seal_for(&sealed_for(&owner), vec![7; 32]).unwrap();
    let webhook = |sealed, former| WebhookRow {
        url: "https://example.net".to_owned(),
        sealed,
        former: Some((former, 99)),
        created_ms: 1,
        waiting: 0,
        lost: 0,
    };
    let of = |webhook: &WebhookRow, at_ms| {
        secrets(&now, (&owner, webhook), at_ms).map(|secrets| secrets.len())
    };
    assert_eq!(of(&webhook(seal(&now), seal(&now)), 1), Ok(2));
    assert_eq!(of(&webhook(seal(&now), seal(&now)), 99), Ok(1), "over");
    assert_eq!(of(&webhook(seal(&now), seal(&before)), 1), Ok(1));
    let without = of(&webhook(seal(&before), seal(&now)), 1);
    assert_eq!(without, Err(OpenError::Key));
}
