use super::*;
use nearlight_proof::porc::commit::Commitment;
use std::sync::mpsc::sync_channel;

const SIZES: Sizes = Sizes {
    rows: 33,
    blocks: 9,
    lanes: 5,
    reads: 1_700,
    frames: 2,
    tiles: 3,
    steps: 96,
};

fn effort(threads: u32) -> Effort {
    Effort {
        threads,
        cancel: CancellationToken::new(),
    }
}

/// However many threads there are, what they make is what the seed asks for.
#[test]
fn what_is_opened_is_right() {
    for (threads, seed) in [(1, [1; 32]), (3, [2; 32])] {
        let (told, roots) = watch::channel(Roots::default());
        let (orders, ordered) = sync_channel(2);
        let reads = Reads::new(&seed, &[3; 32], SIZES.blocks);
        let (root, rooted) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        let proving = std::thread::spawn(move || prove(&SIZES, &effort(threads), &told, &ordered));
        orders.send(Order::Start(seed)).unwrap();
        orders.send(Order::Read(reads, root)).unwrap();
        let read_root = rooted.blocking_recv().unwrap();
        let of = roots.borrow().clone();
        assert!(of.ready && of.failed.is_none());
        let commitment = Commitment {
            matrix: of.matrix.unwrap(),
            fill: of.fill.unwrap(),
            reads: read_root,
            frames: of.frames.unwrap(),
        };
        let key = commitment.open_key(&[4; 32]);
        let plan = Plan::draw(&SIZES, &key);
        orders.send(Order::Open(plan.clone(), reads, open)).unwrap();
        let opening = opened.blocking_recv().unwrap();
        let checked = plan.check(
            &opening,
            (&seed, &key),
            (&reads, &Fill::new(&seed)),
            &commitment,
        );
        assert_eq!(checked, Ok(()));
        assert_eq!(proving.join().unwrap(), Some(()));
    }
}

#[test]
fn it_stops_when_it_is_to() {
    let all: Vec<u32> = (0..100).collect();
    assert_eq!(effort(3).each(100, |index| index), Some(all));
    let effort = effort(2);
    let cancel = effort.cancel.clone();
    let stops = |index: u32| {
        if index == 40 {
            cancel.cancel();
        }
        index
    };
    assert_eq!(effort.each(1_000_000, stops), None);
    let (_orders, ordered) = sync_channel(1);
    assert!(next(&ordered, &effort).is_none());
}
