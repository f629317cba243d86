use super::*;

fn session(n: u64) -> SessionId {
    SessionId::from_parts(n, [0; 10])
}

fn user(n: u64) -> UserId {
    UserId::from_parts(n, [0; 10])
}

fn queue(arrivals: &[(u64, u64)]) -> Queue {
    let mut queue = Queue::default();
    for (s, u) in arrivals {
        queue.push(session(*s), user(*u), MonoTime(*s));
    }
    queue
}

#[test]
fn everyones_first_comes_before_anyones_second() {
    let mut q = queue(&[(1, 1), (2, 1), (3, 2), (4, 1), (5, 2)]);
    let order = |q: &Queue| q.order();
    assert_eq!(order(&q), [1, 3, 2, 5, 4].map(session));
    let before = |one, other| q.is_before(&session(one), &session(other));
    assert!(before(3, 2) && !before(2, 3) && !before(2, 2));
    assert!(before(4, 9), "who does not wait yet comes last");
    assert!(!before(9, 1));
    q.remove(&session(1));
    assert_eq!(order(&q), [2, 3, 4, 5].map(session));
    let revision = q.revision();
    q.remove(&session(1));
    assert_eq!((q.len(), q.revision()), (4, revision));
}

#[test]
fn one_that_lost_its_slot_is_next_again() {
    let mut q = queue(&[(1, 1), (2, 2)]);
    q.push_front(session(3), user(3));
    q.push_front(session(4), user(4));
    q.push(session(1), user(1), MonoTime(9));
    assert_eq!(q.order(), [4, 3, 1, 2].map(session));
}

#[test]
fn whoever_was_told_first_of_it_the_first_to_come_is_next() {
    let mut q = queue(&[(2, 2), (4, 4)]);
    q.push(session(3), user(3), MonoTime(3));
    q.push(session(1), user(1), MonoTime(1));
    q.push(session(5), user(5), MonoTime(1));
    assert_eq!(q.order(), [1, 5, 2, 3, 4].map(session));
}

#[test]
fn a_second_session_is_put_back_and_not_for_ever() {
    let at_s = |s: u64| MonoTime(s * 1_000_000);
    let mut q = Queue::default();
    q.push(session(1), user(1), at_s(0));
    q.push(session(2), user(1), at_s(0));
    q.push(session(3), user(2), at_s(119));
    q.push(session(4), user(3), at_s(121));
    assert_eq!(q.order(), [1, 3, 2, 4].map(session));
    q.remove(&session(1));
    assert_eq!(q.order(), [2, 3, 4].map(session), "it is the first now");
}

#[test]
fn a_priority_is_a_head_start_and_nobody_starves() {
    let minute = |n: u64| MonoTime(n * 60_000_000);
    let mut q = Queue::default();
    let as_of = |q: &mut Queue, n: u64, at: u64, priority| {
        q.push_as(session(n), user(n), minute(at), priority);
    };
    as_of(&mut q, 1, 60, Priority::Normal);
    as_of(&mut q, 2, 60, Priority::Low);
    as_of(&mut q, 3, 69, Priority::High);
    assert_eq!(q.order(), [3, 1, 2].map(session));
    // From ten minutes on nobody who comes overtakes the normal one, from twenty on the low one.
    as_of(&mut q, 4, 71, Priority::High);
    as_of(&mut q, 5, 82, Priority::High);
    as_of(&mut q, 6, 71, Priority::Normal);
    assert_eq!(q.order(), [3, 1, 4, 2, 6, 5].map(session));
}

#[test]
fn those_in_front_who_wait_for_what_is_not_there_hold_up_nobody() {
    let mut q = queue(&[(1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(q.due(MonoTime(9), 2), [1, 2].map(session));
    q.in_vain(&session(1), None);
    q.in_vain(&session(2), Some(MonoTime(50)));
    assert_eq!(q.due(MonoTime(9), 2), [3, 4].map(session));
    assert_eq!(q.due(MonoTime(50), 9), [2, 3, 4].map(session));
    q.in_vain(&session(3), None);
    q.remove(&session(4));
    assert_eq!(
        (q.due(MonoTime(9), 9), q.next_due()),
        (vec![], Some(MonoTime(50)))
    );
    assert_eq!(q.iter().count(), 3, "they stand in the queue all the same");
    q.try_again(&session(1));
    q.try_again(&session(2));
    assert_eq!(
        q.due(MonoTime(9), 9),
        [session(1)],
        "the other one has its time"
    );
    q.try_all();
    assert_eq!(q.due(MonoTime(0), 9), [1, 2, 3].map(session));
}
