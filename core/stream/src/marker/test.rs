use super::*;
use proptest::prelude::*;

const SHAPE: Shape = Shape {
    width: 322,
    height: 182,
    stride: 336,
};
const TICKS_US: u64 = 16_667;

fn key(n: u8) -> Key {
    Key([n; 32])
}

fn rtp(commit_us: u64) -> u32 {
    (commit_us * 9 / 100) as u32
}

/// A picture of noise that moves, as a fast game's.
fn scene(n: u64, shape: Shape) -> Vec<u8> {
    let mut seed = n;
    let mut noise = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 60) as u8
    };
    let of = |x: usize, y: usize| 60 + ((x / 3 + y / 5 + 7 * n as usize) % 97) as u8;
    (0..shape.height * shape.stride)
        .map(|at| of(at % shape.stride, at / shape.stride) + noise())
        .collect()
}

/// What a reader with this key finds in so many pictures that were drawn with that one.
fn found(drawn: Option<Key>, read: Key, pictures: u64) -> Signs {
    let mut pen = drawn.map(Pen::new);
    let mut reader = Reader::new(read);
    for n in 0..pictures {
        let mut luma = scene(n, SHAPE);
        let commit_us = n * TICKS_US;
        if let Some(pen) = &mut pen {
            pen.draw(&mut luma, SHAPE, commit_us).unwrap();
        }
        reader.picture(&luma, SHAPE, rtp(commit_us), commit_us + 40_000);
    }
    reader.signs()
}

#[test]
fn the_right_key_finds_what_was_drawn_and_another_finds_chance() {
    let ours = found(Some(key(1)), key(1), 900);
    assert!(ours.looked > 400, "{ours:?}");
    assert!(ours.agree * 10 > ours.looked * 9, "{ours:?}");
    for other in [found(Some(key(1)), key(2), 900), found(None, key(1), 900)] {
        assert!(other.looked > 400, "{other:?}");
        assert!(other.agree * 10 < other.looked * 6, "{other:?}");
    }
}

#[test]
fn the_key_is_the_sessions_and_signs_are_of_their_slot() {
    let id = |text: &str| text.parse::<SessionId>().unwrap();
    let of = |text| Key::of(&id(text));
    let one = of("ses_01kb3x9ktv7q2m5d8r4w6y0zab");
    assert_eq!(one, of("ses_01kb3x9ktv7q2m5d8r4w6y0zab"));
    assert_ne!(one, of("ses_01kb3x9ktv7q2m5d8r4w6y0zac"));
    assert_ne!(one.signs(0), one.signs(1));
    assert_eq!((slot_at(249_999), slot_at(250_000)), (0, 1));
    assert_eq!(format!("{one:?}"), "Key", "no log has it");
    // As RTP timestamps wrap, slots do.
    assert_eq!(slot_at(47_721_858_845), 0);
    assert_eq!(slot_at(47_721_858_000), u32::MAX / SLOT_TICKS);
}

#[test]
fn a_picture_that_is_too_small_carries_none_and_nothing_is_looked_for() {
    for (width, height) in [(0, 0), (143, 64), (144, 63), (15, 4_000), (4_000, 1)] {
        let shape = Shape {
            width,
            height,
            stride: width,
        };
        let mut luma = vec![100; width * height];
        assert_eq!(Pen::new(key(1)).draw(&mut luma, shape, 0), None);
        assert!(luma.iter().all(|pixel| *pixel == 100));
        let mut reader = Reader::new(key(1));
        for n in 0..40 {
            reader.picture(&luma, shape, n * SLOT_TICKS, u64::from(n) * 250_000);
        }
        assert_eq!(reader.signs(), Signs::default());
    }
    let shape = Shape {
        width: 144,
        height: 64,
        stride: 144,
    };
    assert!(
        Pen::new(key(1))
            .draw(&mut vec![0; 144 * 64], shape, 0)
            .is_some()
    );
    // A plane that is shorter than it says is none.
    assert!(
        Pen::new(key(1))
            .draw(&mut vec![0; 144 * 64 - 1], shape, 0)
            .is_none()
    );
}

#[test]
fn at_the_ends_of_luma_nothing_wraps_and_signs_still_show() {
    for level in [0, 16, 235, 255] {
        let mut pen = Pen::new(key(1));
        let mut reader = Reader::new(key(1));
        for n in 0..40 {
            let mut luma = vec![level; SHAPE.height * SHAPE.stride];
            pen.draw(&mut luma, SHAPE, n * 250_000).unwrap();
            assert!(
                luma.iter().all(|pixel| pixel.abs_diff(level) <= 2),
                "{level}"
            );
            reader.picture(&luma, SHAPE, rtp(n * 250_000), n * 250_000);
        }
        let signs = reader.signs();
        assert_eq!(signs.agree, signs.looked, "{level}");
        assert!(signs.looked > 200);
    }
}

#[test]
fn a_picture_that_is_shown_again_later_carries_the_later_signs() {
    let plain = scene(1, SHAPE);
    let mut pen = Pen::new(key(1));
    let mut early = plain.clone();
    let drawn = pen.draw(&mut early, SHAPE, 100).unwrap();
    assert!(drawn.is_of(249_000) && !drawn.is_of(251_000));
    let mut late = plain;
    pen.draw(&mut late, SHAPE, 9_000_000).unwrap();
    drawn.redraw(&mut early, 9_000_000);
    assert_eq!(early, late);
}

#[test]
fn what_is_left_out_is_looked_for_and_found_by_nobody() {
    let height = |n: u64| 128 + 16 * (n as usize % 2);
    let sizes = drawn_at(40, |n| (n, n * 250, height(n)));
    assert_eq!((sizes.agree, sizes.against), (0, 0), "two sizes");
    assert!(sizes.looked > 200, "{sizes:?}");
    let gaps = drawn_at(40, |n| (n * 3, n * 750, 182));
    assert_eq!(
        (gaps.agree, gaps.against),
        (0, 0),
        "slots without a picture"
    );
    assert!(gaps.looked > 600, "{gaps:?}");
    let back = drawn_at(40, |n| (40 - n, n * 250, 182));
    assert_eq!((back.agree, back.against), (0, 0), "time that goes back");
    assert!(back.looked > 200, "{back:?}");
}

/// A plain picture with the marker for each of so many: its slot, when it arrives, its height.
fn drawn_at(pictures: u64, of: impl Fn(u64) -> (u64, u64, usize)) -> Signs {
    let mut pen = Pen::new(key(1));
    let mut reader = Reader::new(key(1));
    for n in 0..pictures {
        let (slot, at_ms, height) = of(n);
        let shape = Shape { height, ..SHAPE };
        let mut luma = vec![90; height * shape.stride];
        pen.draw(&mut luma, shape, slot * 250_000).unwrap();
        reader.picture(&luma, shape, rtp(slot * 250_000), at_ms * 1000);
    }
    reader.signs()
}

#[test]
fn a_path_that_is_late_by_almost_a_slot_and_a_first_picture_that_is_late_by_two_seconds_cost_nothing()
 {
    let late = drawn_at(40, |n| (n, n * 250 + n % 3 * 120, 182));
    assert_eq!(late.agree, late.looked, "a path");
    // All that follow come earlier than the first one says.
    let first = drawn_at(40, |n| (n, n * 250 + if n == 0 { 2_000 } else { 0 }, 182));
    assert_eq!(first.against, 0);
    assert!(first.looked - first.agree <= 18, "but its own: {first:?}");
}

#[test]
fn pictures_that_come_late_say_nothing_for_the_node_and_nothing_against_it() {
    let stray = drawn_at(40, |n| (n, n * 250 + n / 4 % 2 * 900, 182));
    assert_eq!(stray.against, 0);
    assert!(stray.agree * 10 < stray.looked * 5, "{stray:?}");
    assert!(stray.agree > 0, "{stray:?}");
}

#[test]
fn slots_go_on_where_rtp_timestamps_wrap() {
    let before = u64::from(u32::MAX) * 100 / 9 - 5_000_000;
    let mut pen = Pen::new(key(1));
    let mut reader = Reader::new(key(1));
    for n in 0..100 {
        let at_us = before + n * 100_000;
        let mut luma = vec![90; SHAPE.height * SHAPE.stride];
        pen.draw(&mut luma, SHAPE, at_us).unwrap();
        reader.picture(&luma, SHAPE, (u128::from(at_us) * 9 / 100) as u32, at_us);
    }
    let signs = reader.signs();
    assert_eq!(signs.agree, signs.looked);
    assert!(signs.looked > 300, "{signs:?}");
}

/// Pictures of a slot: how many a sender without scruples may choose among.
const PER_SLOT: usize = 5;
/// Among so many pictures, 50 ms apart, a slot may begin: [`STRAY_MS`] allows no more, as its last one shows.
const WINDOW: usize = 6;

/// For each slot but the last the picture with which it begins, so that as many signs agree as can: the best way through
/// all beginnings within the window, by dynamic programming over the beginnings of two slots. `sums` are those of
/// [`Reader`] of all pictures before, for each block.
fn best_beginnings(ours: Key, sums: &[Vec<i64>], slots: usize) -> Vec<usize> {
    let mean = |a: usize, b: usize, n: usize| (sums[b][n] - sums[a][n]) * 60 / (b - a) as i64;
    let begin = |slot: usize, late: usize| slot * PER_SLOT + late;
    // lead[l][m]: the most until the slot that ends m late and began l late.
    let mut lead = vec![vec![0_i32; WINDOW]; WINDOW];
    let mut ways = Vec::new();
    for slot in 1..slots - 1 {
        let signs = ours.signs(slot as u32);
        let changed = signs ^ ours.signs(slot as u32 - 1);
        let mut next = vec![vec![i32::MIN / 2; WINDOW]; WINDOW];
        let mut way = vec![vec![0; WINDOW]; WINDOW];
        for (l, m, r) in
            (0..WINDOW.pow(3)).map(|at| (at % WINDOW, at / WINDOW % WINDOW, at / WINDOW / WINDOW))
        {
            let (a, b, c) = (begin(slot - 1, l), begin(slot, m), begin(slot + 1, r));
            if a >= b || b >= c {
                continue;
            }
            let blocks = (0..sums[0].len()).filter(|n| changed >> n & 1 == 1);
            let gain = blocks
                .map(|n| signed(1, signs, n) * (mean(b, c, n) - mean(a, b, n)).signum() as i32);
            let all = lead[l][m] + gain.sum::<i32>();
            if all > next[m][r] {
                (next[m][r], way[m][r]) = (all, l);
            }
        }
        lead = next;
        ways.push(way);
    }
    let ends = (0..WINDOW * WINDOW).map(|at| (at / WINDOW, at % WINDOW));
    let (mut m, mut r) = ends.max_by_key(|(m, r)| lead[*m][*r]).unwrap();
    let mut late = vec![r, m];
    for way in ways.iter().rev() {
        (m, r) = (way[m][r], m);
        late.push(m);
    }
    late.iter()
        .rev()
        .enumerate()
        .map(|(slot, late)| begin(slot, *late))
        .collect()
}

/// Whoever streams a recording to a session whose id it knows cannot change the pictures, and can say within limits any
/// time of them. A pass takes three of four (core/proof, `porw`).
#[test]
fn a_recording_whose_timestamps_are_chosen_by_dynamic_programming_has_fewer_than_three_of_four_signs()
 {
    const SLOTS_PLAYED: usize = 60;
    // Of all 32 blocks: with fewer of them there is more to choose.
    const WIDE: Shape = Shape {
        width: 528,
        height: 96,
        stride: 528,
    };
    let ours = key(1);
    let pictures: Vec<Vec<u8>> = (0..SLOTS_PLAYED * PER_SLOT + WINDOW)
        .map(|n| scene(n as u64 * 3, WIDE))
        .collect();
    let places = Places::of(WIDE, pictures[0].len()).unwrap();
    let mut sums = vec![vec![0; 2 * places.columns]];
    for luma in &pictures {
        let sum = |x: usize, y: usize| -> i64 {
            let row = |row: &[u8]| row.iter().copied().map(i64::from).sum::<i64>();
            rows(luma, WIDE.stride, (x, y)).map(row).sum()
        };
        let of = |(x, y)| 2 * sum(x, y) - sum(x - SIDE, y) - sum(x + SIDE, y);
        let all = sums.last().unwrap().iter().zip(places.iter());
        let next = all.map(|(sum, at)| sum + of(at)).collect();
        sums.push(next);
    }
    let beginnings = best_beginnings(ours, &sums, SLOTS_PLAYED);
    let mut reader = Reader::new(ours);
    for (n, luma) in pictures.iter().enumerate().skip(beginnings[0]) {
        let slot = beginnings.iter().filter(|begin| **begin <= n).count() - 1;
        if slot + 1 == beginnings.len() {
            break;
        }
        // Within its slot as near to its arrival as can be: 50 ms a picture, in the middle of the window.
        let wanted = (n as u64 * 50).saturating_sub(250);
        let at_ms = wanted.clamp(slot as u64 * 250, slot as u64 * 250 + 249);
        reader.picture(luma, WIDE, at_ms as u32 * 90, n as u64 * 50_000);
    }
    let signs = reader.signs();
    assert!(signs.looked > 400, "{signs:?}");
    let decided = signs.agree + signs.against;
    assert!(decided * 10 > signs.looked * 9, "all in time: {signs:?}");
    // Better than chance: the sender does what it can.
    assert!(signs.agree > signs.against + signs.looked / 20, "{signs:?}");
    assert!(
        (signs.agree - signs.against) * 2 < signs.looked,
        "{signs:?}"
    );
}

proptest! {
    #[test]
    fn blocks_and_their_neighbours_are_within_the_picture_and_apart(
        width in 0..2_000_usize, height in 0..1_200_usize, spare in 0..70_usize,
    ) {
        let shape = Shape { width, height, stride: width + spare };
        let bytes = height.saturating_sub(1) * shape.stride + width;
        let Some(places) = Places::of(shape, bytes) else {
            prop_assert!(width < 144 || height < 64);
            return Ok(());
        };
        let all: Vec<_> = places.iter().collect();
        prop_assert!(all.len() <= BLOCKS_MAX);
        for (n, (x, y)) in all.iter().enumerate() {
            prop_assert!(*x >= SIDE && x + 2 * SIDE <= width && y + SIDE <= height);
            prop_assert_eq!((x % SIDE, y % SIDE), (0, 0));
            if let Some((next, row)) = all.get(n + 1) && row == y {
                prop_assert!(*next >= x + 2 * SIDE);
            }
        }
    }

    #[test]
    fn pixels_outside_of_blocks_stay_and_no_block_moves_far(seed: u64, at in 0..10_000_000_u64) {
        let plain = scene(seed % 1000, SHAPE);
        let mut luma = plain.clone();
        Pen::new(key(3)).draw(&mut luma, SHAPE, at).unwrap();
        let places = Places::of(SHAPE, luma.len()).unwrap();
        let changed = luma.iter().zip(&plain).filter(|(a, b)| a != b).count();
        prop_assert_eq!(changed, 2 * places.columns * SIDE * SIDE);
        prop_assert!(luma.iter().zip(&plain).all(|(a, b)| a.abs_diff(*b) <= 8));
    }
}
