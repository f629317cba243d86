//! One viewer's visit: attach, wait for a picture, stay a while, leave.

use super::Run;
use anyhow::{Context, Result, bail};
use nearlight_player::clock;
use nearlight_player::frames::{Assembler, Out};
use nearlight_player::viewer::{Arrival, Codec, Options, Viewer};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::input::Event;
use nearlight_protocol::notice::Notice;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::time::Duration;

/// The first picture, on a machine that is busy with connections.
const PICTURE_DEADLINE_US: u64 = 20_000_000;
const TURN: Duration = Duration::from_millis(5);
/// KeyA, as evdev numbers it.
const KEY_A: u16 = 30;
/// Requests for a key frame while none comes.
const KEY_FRAME_EVERY_US: u64 = 500_000;

/// How viewers left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ways {
    /// By WHEP's DELETE.
    pub deleted: u64,
    /// By closing the connection.
    pub closed: u64,
    /// Without a word.
    pub vanished: u64,
}

impl Ways {
    pub(super) fn total(&self) -> u64 {
        self.deleted + self.closed + self.vanished
    }
}

#[derive(Clone, Copy)]
enum Way {
    Delete,
    Close,
    Vanish,
}

/// Visits `session` until enough visits are done.
pub(super) fn repeat(run: &Run<'_>, thread: u64, session: &SessionId) {
    let mut random = StdRng::seed_from_u64(run.args.seed ^ thread << 32);
    while let Some(number) = run.next() {
        // A vanished viewer costs the node a deadline, so there are few.
        let way = match random.random_range(0..10) {
            0..6 => Way::Delete,
            6..9 => Way::Close,
            _ => Way::Vanish,
        };
        let stay_us = random.random_range(0..=run.args.stay_max.us);
        let visited = visit(run, session, way, stay_us);
        let mut seen = run.seen();
        match visited {
            Ok(first_frame_us) => {
                seen.first_frame_us.saturating_record(first_frame_us);
                let ways = &mut seen.ways;
                *match way {
                    Way::Delete => &mut ways.deleted,
                    Way::Close => &mut ways.closed,
                    Way::Vanish => &mut ways.vanished,
                } += 1;
            }
            Err(error) => seen.faults.push(format!("visit {number}: {error:#}")),
        }
        drop(seen);
        run.progress();
    }
}

/// One visit; how long the first picture took.
fn visit(run: &Run<'_>, session: &SessionId, way: Way, stay_us: u64) -> Result<u64> {
    let viewer = Viewer::new(Options {
        codec: run.args.codec,
        channels: true,
        bind: run.args.bind,
        as_browser: false,
    })?;
    let began_us = clock::micros();
    let whep = run.broker.attach(session, viewer.offer())?;
    viewer.connect(&whep.answer)?;
    let shown_us = first_picture(run.args.codec, &viewer)?;
    // Who plays is not idle.
    for pressed in [true, false] {
        viewer.send(Event::Key {
            code: KEY_A,
            pressed,
        })?;
    }
    let leave_us = shown_us + stay_us;
    while clock::micros() < leave_us {
        viewer.next(TURN)?;
    }
    match way {
        Way::Delete => run.broker.detach(&whep)?,
        Way::Close => viewer.leave()?,
        Way::Vanish => drop(viewer),
    }
    Ok(shown_us - began_us)
}

fn first_picture(codec: Codec, viewer: &Viewer) -> Result<u64> {
    let mut assembler = Assembler::new(codec.into());
    let began_us = clock::micros();
    let mut asked_us = began_us;
    loop {
        match viewer.next(TURN)? {
            Some(Arrival::Video { packet, at_us }) => assembler.push(packet, at_us),
            Some(Arrival::Notice(Notice::Ended { reason })) => bail!("ended: {reason:?}"),
            _ => {}
        }
        let now_us = clock::micros();
        while let Some(out) = assembler.pull(now_us) {
            if let Out::Frame(frame) = out {
                return Ok(frame.at_us.max(began_us));
            }
        }
        if now_us > asked_us + KEY_FRAME_EVERY_US {
            asked_us = now_us;
            // What was sent before the track was known is gone: as a browser, ask again.
            drop(viewer.ask_for_key_frame());
        }
        if now_us > began_us + PICTURE_DEADLINE_US {
            let tally = assembler.tally();
            return Err(anyhow::anyhow!("no picture in 20 s"))
                .with_context(|| format!("{} packets came", tally.packets));
        }
    }
}
