//! From what the path carries to what the encoder is to make: bit rate, size, frame rate.
//!
//! Games want their frame rate first, so the picture gets smaller before it gets rarer, and either
//! only when the bits for each pixel have been too few for seconds: a dip of a moment is answered by
//! coarser pixels, which nobody remembers, not by a change of size, which everybody sees. The
//! encoder is reconfigured seldom: a change of bit rate must be worth it and be some time after the
//! one before, the more so upwards.
//!
//! **Invariant:** a picture that was made smaller gets larger again on the path and within the bounds
//! on which it would never have been made smaller.

use nearlight_protocol::worker::Target;

/// The rungs: size in percent of the display's sides, and whether frames are rare. Half the side is
/// as small as a game can be played in, so then frames go first, and the rest of the size last.
const RUNGS: [(u8, bool); 5] = [
    (100, false),
    (75, false),
    (50, false),
    (50, true),
    (25, true),
];
/// Bits for each pixel of a frame under which the next smaller size looks better (x264 ultrafast on
/// game scenes), and over which the next larger one does. Between them nothing changes.
const BITS_FEW: f64 = 0.022;
const BITS_MANY: f64 = 0.034;
/// Where the stream may never have so many, this share of what it may have is enough for the larger
/// size, as long as that is distinctly more than too few.
const NEAR_MOST: f64 = 0.97;
const OVER_FEW: f64 = 1.02;
/// For how long they must be too few or enough.
const SMALLER_AFTER_US: u64 = 2_500_000;
const LARGER_AFTER_US: u64 = 6_000_000;
/// Frames per second where they are rare.
const FPS_LOW: u32 = 30;
/// More bits than that for each pixel show nothing more.
const BITS_USEFUL: f64 = 0.30;
/// A change of bit rate that is worth it.
const WORTH: f64 = 0.04;
/// Between a change and the next one down or up.
const DOWN_AFTER_US: u64 = 200_000;
const UP_AFTER_US: u64 = 500_000;
/// A fall of this share does not wait.
const FALL: f64 = 0.25;

/// What there is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub hz: u32,
}

/// What the player allows; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Height of the encoded picture, pixels.
    pub height_max: Option<u32>,
    /// Frames per second.
    pub fps_max: Option<u32>,
}

/// The ladder of one stream.
#[derive(Clone, Debug)]
pub struct Ladder {
    display: Display,
    wish: Wish,
    /// Index into [`RUNGS`].
    rung: usize,
    /// The most that there will ever be, kbit/s of media.
    kbps_most: u32,
    /// The picture does not use what it may have.
    idle: bool,
    few_since_us: Option<u64>,
    many_since_us: Option<u64>,
    given: Option<(Target, u64)>,
}

impl Ladder {
    /// A ladder that begins with the whole display.
    pub fn new(display: Display) -> Self {
        Self {
            display,
            wish: Wish::default(),
            rung: 0,
            kbps_most: u32::MAX,
            idle: false,
            few_since_us: None,
            many_since_us: None,
            given: None,
        }
    }

    /// The display changed.
    pub fn set_display(&mut self, display: Display) {
        self.display = display;
    }

    /// The player changed the settings.
    pub fn set_wish(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// What bounds the stream on any path, kbit/s of media, and whether it makes so little of what it
    /// may have now that its bits are not too few, however few they are.
    pub fn set_bounds(&mut self, kbps_most: u32, idle: bool) {
        (self.kbps_most, self.idle) = (kbps_most, idle);
    }

    /// The most that the display can make use of, kbit/s of media.
    pub fn kbps_useful(&self) -> u32 {
        let rung = self.rung_least();
        (self.pixels(rung) * f64::from(self.fps(rung)) * BITS_USEFUL / 1000.0).max(500.0) as u32
    }

    /// The target for a path that carries `kbps` of media, to begin with or whatever was before.
    pub fn first(&mut self, kbps: u32, now_us: u64) -> Target {
        self.rung = self.rung.max(self.rung_least());
        let target = self.target(kbps);
        self.given = Some((target, now_us));
        target
    }

    /// The next target for a path that carries `kbps` of media, if it is worth a change.
    pub fn next(&mut self, kbps: u32, now_us: u64) -> Option<Target> {
        self.step(f64::from(kbps.min(self.kbps_useful())), now_us);
        let target = self.target(kbps);
        let Some((given, at_us)) = self.given else {
            return Some(self.first(kbps, now_us));
        };
        let passed = now_us.saturating_sub(at_us);
        let (new, old) = (f64::from(target.kbps), f64::from(given.kbps));
        let rung_changed = Target {
            kbps: given.kbps,
            ..target
        } != given;
        let due = if new < old * (1.0 - FALL) {
            true
        } else if new < old * (1.0 - WORTH) {
            passed >= DOWN_AFTER_US
        } else {
            new > old * (1.0 + WORTH) && passed >= UP_AFTER_US
        };
        if !due && !rung_changed {
            return None;
        }
        self.given = Some((target, now_us));
        Some(target)
    }

    /// The last target given.
    pub fn given(&self) -> Option<Target> {
        self.given.map(|(target, _)| target)
    }

    /// The encoded picture's sides under `target`.
    pub fn sides(&self, target: &Target) -> (u32, u32) {
        let side = |pixels: u32| {
            let scaled = pixels * u32::from(target.scale_percent) / 100;
            (scaled & !1).max(2)
        };
        (side(self.display.width), side(self.display.height))
    }

    fn target(&self, kbps: u32) -> Target {
        let rung = self.rung.max(self.rung_least());
        Target {
            kbps: kbps.min(self.kbps_useful()).max(1),
            scale_percent: RUNGS[rung].0,
            fps_max: self.fps(rung),
        }
    }

    fn fps(&self, rung: usize) -> u32 {
        let most = self.display.hz.max(1);
        let wished = self.wish.fps_max.map_or(most, |fps| fps.clamp(1, most));
        let (_, rare) = RUNGS[rung];
        if rare { wished.min(FPS_LOW) } else { wished }
    }

    fn pixels(&self, rung: usize) -> f64 {
        let share = f64::from(RUNGS[rung].0) / 100.0;
        f64::from(self.display.width.max(1)) * f64::from(self.display.height.max(1)) * share * share
    }

    /// The largest size that the player allows.
    fn rung_least(&self) -> usize {
        let Some(most) = self.wish.height_max else {
            return 0;
        };
        let fits = |(scale, _): &(u8, bool)| self.display.height * u32::from(*scale) / 100 <= most;
        RUNGS.iter().position(fits).unwrap_or(RUNGS.len() - 1)
    }

    /// Bits for each pixel of a frame on a rung.
    fn bits(&self, kbps: f64, rung: usize) -> f64 {
        kbps * 1000.0 / (self.pixels(rung) * f64::from(self.fps(rung)))
    }

    /// Bits for each pixel over which a rung is worth having.
    fn bits_enough(&self, rung: usize) -> f64 {
        let most = f64::from(self.kbps_most.min(self.kbps_useful()));
        let near = self.bits(most, rung) * NEAR_MOST;
        BITS_MANY.min(near.max(BITS_FEW * OVER_FEW))
    }

    fn step(&mut self, kbps: f64, now_us: u64) {
        self.rung = self.rung.max(self.rung_least());
        let smallest = self.rung + 1 == RUNGS.len();
        let few = !smallest && !self.idle && self.bits(kbps, self.rung) < BITS_FEW;
        let many = self.rung > self.rung_least()
            && self.bits(kbps, self.rung - 1) > self.bits_enough(self.rung - 1);
        let lasts = |since: &mut Option<u64>, holds: bool, long: u64| {
            if !holds {
                *since = None;
                return false;
            }
            let over = now_us.saturating_sub(*since.get_or_insert(now_us)) >= long;
            if over {
                *since = None;
            }
            over
        };
        if lasts(&mut self.few_since_us, few, SMALLER_AFTER_US) {
            self.rung += 1;
        } else if lasts(&mut self.many_since_us, many, LARGER_AFTER_US) {
            self.rung -= 1;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    const HD: Display = Display {
        width: 1280,
        height: 720,
        hz: 60,
    };

    /// Feeds `kbps` for `seconds`, ten times a second; returns the target and the changes.
    fn run(ladder: &mut Ladder, now_us: &mut u64, kbps: u32, seconds: u64) -> (Target, u32) {
        let mut changes = 0;
        for _ in 0..seconds * 10 {
            *now_us += 100_000;
            changes += u32::from(ladder.next(kbps, *now_us).is_some());
        }
        (ladder.given().unwrap(), changes)
    }

    #[test]
    fn a_poor_path_takes_size_before_frames_and_a_dip_takes_neither() {
        let mut ladder = Ladder::new(HD);
        let mut now = 0;
        ladder.first(8_000, now);
        let (target, _) = run(&mut ladder, &mut now, 800, 2);
        assert_eq!((target.scale_percent, target.fps_max), (100, 60));
        let (target, _) = run(&mut ladder, &mut now, 8_000, 10);
        assert_eq!((target.scale_percent, target.fps_max), (100, 60));
        let (target, _) = run(&mut ladder, &mut now, 800, 20);
        assert_eq!((target.scale_percent, target.fps_max), (75, 60));
        let (target, _) = run(&mut ladder, &mut now, 200, 20);
        assert_eq!((target.scale_percent, target.fps_max), (50, 30));
        let (target, _) = run(&mut ladder, &mut now, 8_000, 60);
        assert_eq!((target.scale_percent, target.fps_max), (100, 60));
    }

    #[test]
    fn no_rate_makes_it_swing() {
        for (kbps, most) in (100..4_000).step_by(50).flat_map(|kbps| {
            let bounds = [u32::MAX, kbps, kbps + kbps / 50, kbps + kbps / 20];
            bounds.map(|most| (kbps, most))
        }) {
            let mut ladder = Ladder::new(HD);
            let mut now = 0;
            ladder.set_bounds(most, false);
            ladder.first(4_000, now);
            run(&mut ladder, &mut now, kbps, 60);
            let (_, changes) = run(&mut ladder, &mut now, kbps, 120);
            assert_eq!(changes, 0, "at {kbps} of {most} kbit/s");
        }
    }

    #[test]
    fn a_path_that_saws_by_a_tenth_does_not_make_it_swing() {
        for (kbps, most) in (100..4_000)
            .step_by(50)
            .flat_map(|kbps| [(kbps, u32::MAX), (kbps, 12_000)])
        {
            let mut ladder = Ladder::new(HD);
            let mut now = 0;
            ladder.set_bounds(most, false);
            ladder.first(4_000, now);
            let mut changes = 0;
            // Ten seconds up, ten down; it has found its size after a while.
            for second in 0..240 {
                let saw = (second % 20_u32).abs_diff(10);
                let size = |ladder: &Ladder| {
                    let given = ladder.given().unwrap();
                    (given.scale_percent, given.fps_max)
                };
                let before = size(&ladder);
                run(&mut ladder, &mut now, kbps - kbps * saw / 100, 1);
                changes += u32::from(second >= 120 && size(&ladder) != before);
            }
            assert_eq!(changes, 0, "at {kbps} of {most} kbit/s");
        }
    }

    #[test]
    fn a_dip_leaves_no_mark_where_the_bounds_never_give_many_bits() {
        // The default bound for large displays, and a player's own cap.
        for (width, height, hz, most) in [
            (2560, 1440, 144, 12_000),
            (2560, 1440, 120, 12_000),
            (3840, 2160, 60, 12_000),
            (1920, 1080, 144, 8_000),
            (1280, 720, 60, 1_300),
        ] {
            let mut ladder = Ladder::new(Display { width, height, hz });
            let mut now = 0;
            ladder.set_bounds(most, false);
            ladder.first(most, now);
            let (target, _) = run(&mut ladder, &mut now, most, 30);
            assert_eq!(target.scale_percent, 100, "{width} at {hz}, from the start");
            let (target, _) = run(&mut ladder, &mut now, most / 2, 5);
            assert_eq!(target.scale_percent, 75, "{width} at {hz}, in the dip");
            let (target, _) = run(&mut ladder, &mut now, most, 30);
            assert_eq!(target.scale_percent, 100, "{width} at {hz}, after it");
            let (_, changes) = run(&mut ladder, &mut now, most, 120);
            assert_eq!(changes, 0, "{width} at {hz}");
        }
    }

    #[test]
    fn a_picture_that_uses_little_stays_as_large_as_it_is() {
        let mut ladder = Ladder::new(Display {
            width: 2560,
            height: 1440,
            hz: 144,
        });
        let mut now = 0;
        ladder.set_bounds(12_000, true);
        ladder.first(8_000, now);
        let (target, _) = run(&mut ladder, &mut now, 8_000, 60);
        assert_eq!(target.scale_percent, 100);
        ladder.set_bounds(12_000, false);
        let (target, _) = run(&mut ladder, &mut now, 8_000, 5);
        assert_eq!(target.scale_percent, 75);
    }

    #[test]
    fn small_changes_are_not_worth_one_and_falls_do_not_wait() {
        let mut ladder = Ladder::new(HD);
        ladder.first(5_000, 0);
        assert_eq!(ladder.next(5_100, 5_000_000), None);
        assert_eq!(ladder.next(4_900, 5_000_000), None);
        assert_eq!(ladder.next(4_500, 5_000_000).unwrap().kbps, 4_500);
        assert_eq!(ladder.next(4_000, 5_100_000), None);
        assert_eq!(ladder.next(2_000, 5_100_000).unwrap().kbps, 2_000);
        assert_eq!(ladder.next(4_000, 5_300_000), None);
        assert_eq!(ladder.next(4_000, 5_600_000).unwrap().kbps, 4_000);
    }

    #[test]
    fn the_players_wish_bounds_size_and_frames() {
        let mut ladder = Ladder::new(HD);
        ladder.set_wish(Wish {
            height_max: Some(540),
            fps_max: Some(30),
        });
        let target = ladder.first(8_000, 0);
        assert_eq!((target.scale_percent, target.fps_max), (75, 30));
        assert_eq!(ladder.sides(&target), (960, 540));
        assert!(target.kbps < 8_000, "no more than the pixels can use");
        ladder.set_wish(Wish::default());
        let target = run(&mut ladder, &mut 0, 8_000, 30).0;
        assert_eq!((target.scale_percent, target.fps_max), (100, 60));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_targets_are_positive(
            steps in proptest::collection::vec((any::<u32>(), any::<u64>()), 1..100),
            width in 0_u32..5_000, height in 0_u32..5_000, hz in 0_u32..300,
        ) {
            let mut ladder = Ladder::new(Display { width, height, hz });
            for (kbps, now) in steps {
                if let Some(target) = ladder.next(kbps, now) {
                    prop_assert!(target.kbps > 0 && target.fps_max > 0);
                    prop_assert!(ladder.sides(&target).0 >= 2);
                }
            }
        }
    }
}
