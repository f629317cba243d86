use super::*;
use proptest::prelude::*;

const FRAME: u64 = 16_666;

/// An app that draws for `draw_us` after each callback, commits, and asks for the next callback.
struct Paced {
    pacer: Pacer,
    draw_us: u64,
    commit_at: Option<u64>,
    wants_callback: bool,
    callbacks: Vec<u64>,
    captures: Vec<(u64, u64)>,
    committed_at: u64,
}

impl Paced {
    fn new(draw_us: u64) -> Self {
        Self {
            pacer: Pacer::new(60),
            draw_us,
            commit_at: Some(0),
            wants_callback: false,
            callbacks: Vec::new(),
            captures: Vec::new(),
            committed_at: 0,
        }
    }

    /// Lets everything happen up to `until`.
    fn run(&mut self, until: u64) {
        loop {
            let deadline = self
                .pacer
                .deadline_us(self.committed_at, self.wants_callback);
            match (self.commit_at, deadline) {
                (Some(at), _) if at <= until && deadline.is_none_or(|d| at <= d) => {
                    self.commit_at = None;
                    self.committed_at = at;
                    self.wants_callback = true;
                    if self.pacer.on_commit(at) == Verdict::Now {
                        self.captures.push((at, at));
                    }
                    if self.pacer.on_round_end(at) {
                        self.captures.push((at, at));
                    }
                }
                (_, Some(at)) if at <= until => self.turn(at.max(self.committed_at)),
                _ => return,
            }
        }
    }

    fn turn(&mut self, at: u64) {
        let turn = self.pacer.on_deadline(at, self.wants_callback);
        if turn.capture {
            self.captures.push((self.committed_at, at));
        }
        if turn.callbacks {
            self.callbacks.push(at);
            self.wants_callback = false;
            self.commit_at = Some(at + self.draw_us);
        }
    }

    fn input(&mut self, at: u64) {
        self.run(at);
        self.pacer.on_input(at, self.wants_callback);
        self.run(at);
    }
}

#[test]
fn an_app_that_waits_for_callbacks_is_captured_on_commit_at_the_full_rate() {
    for draw_us in [0, 200, 5_000, 15_000] {
        let mut app = Paced::new(draw_us);
        app.run(600 * FRAME);
        assert!(
            (598..=601).contains(&app.captures.len()),
            "{draw_us}: {}",
            app.captures.len()
        );
        assert!(
            app.captures.iter().all(|(commit, at)| commit == at),
            "{draw_us}"
        );
    }
}

#[test]
fn an_app_that_draws_for_longer_than_an_interval_is_not_held_for_a_grid() {
    let mut app = Paced::new(20_000);
    app.run(10_000_000);
    assert!(
        (498..=501).contains(&app.captures.len()),
        "{}",
        app.captures.len()
    );
}

#[test]
fn an_input_while_the_app_waits_lets_it_draw_at_once() {
    let mut app = Paced::new(2_000);
    let mut now = 0;
    for n in 1..100 {
        // Uneven, and far enough apart for the payback.
        now += 170_000 + n * 7_919 % FRAME;
        app.run(now);
        if app.wants_callback {
            app.input(now);
            assert_eq!(app.callbacks.last(), Some(&now), "input {n}");
        }
    }
    let frames = now / FRAME;
    let shown = app.captures.len() as u64;
    assert!(
        (frames - 12..=frames + 2).contains(&shown),
        "{shown} of {frames}"
    );
}

#[test]
fn an_input_while_the_app_draws_counts_when_it_is_done() {
    let mut app = Paced::new(9_000);
    app.run(1_000_000);
    let drawing_since = *app.callbacks.last().unwrap();
    let due = drawing_since + FRAME;
    // In the middle of the next frame's drawing.
    app.input(due + 4_000);
    app.run(due + 9_000);
    assert_eq!(app.callbacks.last(), Some(&(due + 9_000)));
}

#[test]
fn steady_input_at_the_displays_rate_locks_the_phase_and_keeps_the_rate() {
    let mut app = Paced::new(2_000);
    app.run(1_000_000);
    app.callbacks.clear();
    for n in 0..120 {
        app.input(1_009_000 + n * FRAME);
    }
    assert_eq!(app.callbacks.len(), 120);
    let waits: Vec<_> = app
        .callbacks
        .iter()
        .map(|at| (at - 1_009_000) % FRAME)
        .collect();
    assert!(waits.iter().all(|wait| *wait == 0), "{waits:?}");
}

#[test]
fn the_phase_moves_by_what_is_asked_and_no_frame_is_lost_or_added() {
    for shift in [-8_000i64, -700, 400, 5_000, 8_300] {
        let mut app = Paced::new(2_000);
        app.run(1_000_000);
        let before = app.callbacks.len() as u64;
        let last = *app.callbacks.last().unwrap();
        app.pacer.shift(shift);
        app.run(2_000_000);
        let frames = app.callbacks.len() as u64 - before;
        let moved = app.callbacks.last().unwrap() - last;
        let expected = (frames * FRAME).saturating_add_signed(shift);
        assert!(
            moved.abs_diff(expected) <= 2,
            "{shift}: {moved}, {expected}"
        );
        let gaps = app.callbacks.windows(2).map(|pair| pair[1] - pair[0]);
        let most = FRAME / 16 + 1;
        assert!(gaps.into_iter().all(|gap| gap.abs_diff(FRAME) <= most));
    }
}

#[test]
fn a_shift_waits_while_inputs_lead_and_does_not_undo_them() {
    let mut app = Paced::new(2_000);
    app.run(1_000_000);
    app.pacer.shift(6_000);
    app.callbacks.clear();
    for n in 0..60 {
        app.input(1_009_000 + n * FRAME);
    }
    let late = app.callbacks.iter().map(|at| (at - 1_009_000) % FRAME);
    assert!(
        late.into_iter().all(|late| late == 0),
        "{:?}",
        app.callbacks
    );
}

#[test]
fn a_free_running_app_is_held_to_the_rate_and_its_newest_frame_is_shown() {
    let mut pacer = Pacer::new(60);
    let (mut shown, mut newest_shown) = (Vec::new(), 0);
    let mut waiting = None;
    for number in 1..=3_000u64 {
        let now = number * 3_333;
        while let Some(at) = pacer.deadline_us(now, false).filter(|at| *at <= now) {
            if pacer.on_deadline(at, false).capture {
                shown.push(at);
                newest_shown = waiting.take().expect("a turn captures what waits");
            }
            pacer.on_round_end(at);
        }
        match pacer.on_commit(now) {
            Verdict::Now => {
                shown.push(now);
                newest_shown = number;
            }
            Verdict::Later => waiting = Some(number),
        }
        assert!(!pacer.on_round_end(now));
    }
    while let Some(at) = pacer.deadline_us(0, false) {
        if pacer.on_deadline(at, false).capture {
            newest_shown = waiting.take().expect("checked above");
        }
    }
    assert_eq!(newest_shown, 3_000);
    let seconds = 3_000 * 3_333 / 1_000_000;
    assert!((60 * seconds - 2..=60 * (seconds + 1) + 2).contains(&(shown.len() as u64)));
    // After the start it is as even as the display's own rate.
    let gaps: Vec<_> = shown[4..].windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|gap| gap.abs_diff(FRAME) <= 1), "{gaps:?}");
}

#[test]
fn callbacks_come_at_least_every_second_turn_and_the_rate_holds() {
    let mut pacer = Pacer::new(60);
    let (mut now, mut frames, mut last_callbacks) = (0, 0, 0);
    while now < 2_000_000 {
        now += 3_000;
        while let Some(at) = pacer.deadline_us(now, true).filter(|at| *at <= now) {
            let turn = pacer.on_deadline(at, true);
            frames += u32::from(turn.capture) + u32::from(turn.callbacks);
            if turn.callbacks {
                assert!(at - last_callbacks <= 3 * FRAME, "{at}");
                last_callbacks = at;
            }
            pacer.on_round_end(at);
        }
        // One that no callback asked for; the answers to the callbacks are counted above.
        let paid = pacer.paid;
        if pacer.on_commit(now) == Verdict::Now && !paid {
            frames += 1;
        }
        pacer.on_round_end(now);
    }
    assert!((118..=124).contains(&frames), "{frames}");
}

#[test]
fn a_round_costs_one_capture_and_ends_with_the_newest() {
    let mut pacer = Pacer::new(60);
    // Each commit comes so late that the rate alone would let it through.
    let verdicts: Vec<_> = (1..=5).map(|n| pacer.on_commit(n * 100 * FRAME)).collect();
    assert_eq!(verdicts[0], Verdict::Now);
    assert!(
        verdicts[1..].iter().all(|v| *v == Verdict::Later),
        "{verdicts:?}"
    );
    assert!(pacer.on_round_end(500 * FRAME));
    assert!(!pacer.on_round_end(501 * FRAME));
    assert_eq!(pacer.on_commit(600 * FRAME), Verdict::Now);
}

#[test]
fn a_cap_drops_evenly_and_shows_the_last_one() {
    for (fps_max, gaps) in [
        (30, &[2][..]),
        (20, &[3]),
        (45, &[1, 2]),
        (60, &[1]),
        (240, &[1]),
    ] {
        let mut app = Paced::new(3_000);
        app.pacer.set_rates(60, fps_max);
        app.run(20_000_000);
        let shown = app.captures.len() as u64;
        let expected = 20 * u64::from(fps_max.min(60));
        assert!(
            shown.abs_diff(expected) <= 3,
            "{fps_max}: {shown} of {expected}"
        );
        assert!(
            app.callbacks.len() >= 1_198,
            "the app goes on at the display's rate"
        );
        for pair in app.captures[4..].windows(2) {
            let gap = (pair[1].1 - pair[0].1 + FRAME / 2) / FRAME;
            assert!(gaps.contains(&gap), "{fps_max}: {gap}");
            assert_eq!(pair[1].0, pair[1].1, "{fps_max}: captured late");
        }
    }
    let mut pacer = Pacer::new(60);
    pacer.set_rates(60, 10);
    assert_eq!(pacer.on_commit(0), Verdict::Now);
    pacer.on_round_end(0);
    assert_eq!(pacer.on_commit(FRAME), Verdict::Later);
    let shown_at = pacer.deadline_us(FRAME, false).unwrap();
    assert!(
        (100_000 - FRAME..=100_000 + FRAME).contains(&shown_at),
        "{shown_at}"
    );
    assert!(pacer.on_deadline(shown_at, false).capture);
    assert_eq!(pacer.deadline_us(shown_at, false), None);
}

#[test]
fn another_rate_takes_over_at_once() {
    let mut app = Paced::new(1_000);
    app.run(1_000_000);
    app.pacer.set_rates(144, 240);
    app.captures.clear();
    app.run(2_000_000);
    assert!(
        (142..=146).contains(&app.captures.len()),
        "{}",
        app.captures.len()
    );
    app.pacer.set_rates(30, 240);
    app.captures.clear();
    app.run(3_000_000);
    assert!(
        (29..=31).contains(&app.captures.len()),
        "{}",
        app.captures.len()
    );
}

proptest! {
    /// Whatever the app and the player do, frames stay within the budget and nothing waits for
    /// longer than two intervals.
    #[test]
    fn the_rate_holds(
        steps in proptest::collection::vec((0..20_000u64, 0..3u8), 1..400),
        fps_max in 10..90u32,
    ) {
        let mut pacer = Pacer::new(60);
        pacer.set_rates(60, fps_max);
        let (mut now, mut frames, mut captures, mut wants) = (1_000_000, 0u64, 0u64, false);
        let start = now;
        let mut waits_since: Option<u64> = None;
        for (gap, what) in steps {
            let next = now + gap;
            while let Some(at) = pacer.deadline_us(now, wants).filter(|at| *at <= next) {
                let at = at.max(now);
                let turn = pacer.on_deadline(at, wants);
                prop_assert!(turn != Turn::default() || pacer.waiting == Waiting::Cap);
                if turn.callbacks {
                    frames += 1;
                    wants = false;
                }
                if turn.capture {
                    captures += 1;
                    let since = waits_since.take().expect("something waited");
                    let cap = u64::from(1_000_000 / fps_max);
                    prop_assert!(at - since <= 3 * FRAME + cap, "{}", at - since);
                }
                pacer.on_round_end(at);
                now = at;
            }
            now = next;
            match what {
                0 => {
                    let paid = pacer.paid;
                    if pacer.on_commit(now) == Verdict::Now {
                        captures += 1;
                        frames += u64::from(!paid);
                        waits_since = None;
                    } else {
                        waits_since.get_or_insert(now);
                    }
                    if pacer.on_round_end(now) {
                        captures += 1;
                        waits_since = None;
                    }
                }
                1 => wants = true,
                _ => pacer.on_input(now, wants),
            }
        }
        let elapsed = now - start;
        prop_assert!(frames <= elapsed / FRAME + 4, "{frames} in {elapsed}");
        let capped = u64::from(fps_max.min(60)) * elapsed / 1_000_000;
        prop_assert!(captures <= capped + 4, "{captures} in {elapsed}");
    }
}
