//! A reader of the picture, written from docs/calibrate.md, and what it must find.

use super::*;
use barcode::{COLUMNS, ROWS};

/// A canvas of its own, and what it shows.
struct Shown {
    picture: Picture,
    bytes: Vec<u8>,
    model: Option<Model>,
}

impl Shown {
    fn new(width: usize, height: usize, kind: Kind) -> Self {
        Self {
            picture: Picture::new((width, height), kind, 1),
            bytes: vec![0; width * height * 4],
            model: None,
        }
    }

    /// Shows `next`, and says what differs from what it showed.
    fn show(&mut self, next: Model) -> Vec<Rect> {
        let Self {
            picture,
            bytes,
            model,
        } = self;
        let mut canvas = Canvas::over(bytes, picture.size());
        picture.paint(&mut canvas, model.as_ref(), &next);
        let damage = picture.damage(model.as_ref(), &next);
        *model = Some(next);
        damage
    }
}

fn luma(shown: &Shown, x: usize, y: usize) -> u32 {
    let (width, _) = shown.picture.size();
    let pixel = &shown.bytes[(y * width + x) * 4..][..4];
    let [blue, green, red] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    (red * 299 + green * 587 + blue * 114) / 1000
}

fn read(shown: &Shown) -> Option<Payload> {
    let (width, _) = shown.picture.size();
    let cell = [16, 8, 4, 2]
        .into_iter()
        .find(|cell| cell * COLUMNS <= width)?;
    let mut cells = [0; ROWS];
    for (y, row) in cells.iter_mut().enumerate() {
        for x in 0..COLUMNS {
            let light = luma(shown, x * cell + cell / 2, y * cell + cell / 2) > 128;
            *row = *row << 1 | u32::from(light);
        }
    }
    barcode::decode(&cells)
}

fn model(counter: u32, inputs: u8) -> Model {
    Model {
        payload: Payload {
            counter,
            inputs,
            flags: inputs & flag::LIGHT,
            ..barcode::example()
        },
        lines: vec!["state".into(), format!("frame {counter}")],
    }
}

#[test]
fn every_display_size_can_be_read() {
    for (width, height) in [(64, 64), (320, 200), (640, 480), (1280, 720), (4096, 2160)] {
        for kind in [Kind::Plain, Kind::Noise, Kind::Game] {
            let mut picture = Shown::new(width, height, kind);
            picture.show(model(7, 1));
            assert_eq!(
                read(&picture),
                Some(model(7, 1).payload),
                "{width}x{height}"
            );
        }
    }
}

#[test]
fn painting_what_changed_makes_the_picture_that_painting_all_makes() {
    for kind in [Kind::Plain, Kind::Noise, Kind::Game] {
        let mut changed = Shown::new(320, 240, kind);
        for counter in 1..80 {
            let next = model(counter, (counter / 20) as u8);
            changed.show(next.clone());
            let mut painted = Shown::new(320, 240, kind);
            painted.show(next);
            assert!(
                changed.bytes == painted.bytes,
                "commit {counter} of {kind:?}"
            );
        }
    }
}

#[test]
fn what_differs_is_inside_the_damage() {
    let mut picture = Shown::new(640, 480, Kind::Plain);
    picture.show(model(1, 0));
    let before = picture.bytes.clone();
    let damage = picture.show(model(2, 0));
    let after = &picture.bytes;
    for (place, (old, new)) in before.chunks(4).zip(after.chunks(4)).enumerate() {
        let (x, y) = (place % 640, place / 640);
        let inside =
            |r: &Rect| (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y);
        assert!(old == new || damage.iter().any(inside), "({x}, {y})");
    }
}

#[test]
fn a_press_flips_the_probe() {
    let mut picture = Shown::new(1280, 720, Kind::Noise);
    picture.show(model(1, 0));
    assert!(luma(&picture, 640, 712) < 64);
    picture.show(model(2, 1));
    assert!(luma(&picture, 640, 712) > 192);
}
