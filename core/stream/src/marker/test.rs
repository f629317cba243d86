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
fn found(drawn: Option<Key>, read: Key, pictures: u64) -> [u32; 2] {
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
    reader.chips()
}

#[test]
fn the_right_key_finds_what_was_drawn_and_another_finds_chance() {
    let [agree, looked] = found(Some(key(1)), key(1), 900);
    assert!(looked > 400, "{looked}");
    assert!(agree * 10 > looked * 9, "{agree} of {looked}");
    for [agree, looked] in [found(Some(key(1)), key(2), 900), found(None, key(1), 900)] {
        assert!(looked > 400, "{looked}");
        assert!(agree * 10 < looked * 6, "{agree} of {looked}");
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
        assert_eq!(reader.chips(), [0, 0]);
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
        let [agree, looked] = reader.chips();
        assert_eq!(agree, looked, "{level}");
        assert!(looked > 200);
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
fn pictures_of_two_sizes_are_not_compared() {
    let mut reader = Reader::new(key(1));
    for n in 0..40 {
        let height = 128 + 16 * (n as usize % 2);
        let shape = Shape { height, ..SHAPE };
        reader.picture(
            &scene(0, shape),
            shape,
            n * SLOT_TICKS,
            u64::from(n) * 250_000,
        );
    }
    assert_eq!(reader.chips(), [0, 0]);
}

/// Whoever streams a recording to a session whose id it knows cannot change the pictures, and can say any time of them.
#[test]
fn a_recording_whose_timestamps_are_chosen_to_fit_the_signs_agrees_with_nothing() {
    let ours = key(1);
    let mut reader = Reader::new(ours);
    let places = || Places::of(SHAPE, SHAPE.height * SHAPE.stride).unwrap();
    let value = |luma: &[u8]| -> Vec<i64> {
        let sum = |x: usize, y: usize| -> i64 {
            let row = |row: &[u8]| row.iter().copied().map(i64::from).sum::<i64>();
            rows(luma, SHAPE.stride, (x, y)).map(row).sum()
        };
        let less = |(x, y)| 2 * sum(x, y) - sum(x - SIDE, y) - sum(x + SIDE, y);
        places().iter().map(less).collect()
    };
    let (mut slot, mut shown) = (0, value(&scene(0, SHAPE)));
    for n in 0..120_u64 {
        let luma = scene(n * 15, SHAPE);
        let next = value(&luma);
        let lead = |to: &u32| -> i32 {
            let (signs, changed) = (ours.signs(*to), ours.signs(slot) ^ ours.signs(*to));
            let each = (0..next.len()).filter(|n| changed >> n & 1 == 1);
            each.map(|n| signed(1, signs, n) * (next[n] - shown[n]).signum() as i32)
                .sum()
        };
        let best = (slot..slot + 1_000).max_by_key(lead).unwrap();
        reader.picture(&luma, SHAPE, best * SLOT_TICKS, n * 250_000);
        (slot, shown) = (best, next);
    }
    let [agree, looked] = reader.chips();
    assert!(looked > 400, "{looked}");
    assert!(agree * 10 < looked, "{agree} of {looked}");
}

#[test]
fn a_path_that_is_late_by_a_second_costs_nothing() {
    let mut pen = Pen::new(key(1));
    let mut reader = Reader::new(key(1));
    for n in 0..40 {
        let mut luma = vec![90; SHAPE.height * SHAPE.stride];
        pen.draw(&mut luma, SHAPE, n * 250_000).unwrap();
        let late_us = n % 4 * 400_000;
        reader.picture(&luma, SHAPE, rtp(n * 250_000), n * 250_000 + late_us);
    }
    let [agree, looked] = reader.chips();
    assert_eq!(agree, looked);
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
