//! The whole picture: where its parts are, and how it gets from one commit to the next by painting
//! only what changed.
//!
//! docs/calibrate.md specifies the places. It knows nothing of Wayland.

use crate::barcode::{self, Cells, Payload, flag};
use crate::canvas::{Canvas, Colour, Rect, rgb};
use crate::font::{self, Font};
use crate::scene::{Kind, Scene};

const DARK: Colour = rgb(16, 20, 24);
const LIGHT: Colour = rgb(232, 236, 240);
const BLACK: Colour = rgb(0, 0, 0);
const WHITE: Colour = rgb(255, 255, 255);
const BAR: Colour = rgb(255, 140, 0);

/// Lines of text above a scene, and where there is none.
const LINES_WITH_SCENE: usize = 8;
const LINES_PLAIN: usize = 16;

/// What a commit shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// The barcode, and with it the bar and the background.
    pub(crate) payload: Payload,
    /// The text, from the top.
    pub(crate) lines: Vec<String>,
}

/// The picture as it was shown last.
#[derive(Debug)]
pub(crate) struct Picture {
    layout: Layout,
    canvas: Canvas,
    scene: Scene,
    font: Font,
    shown: Option<Model>,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    width: usize,
    height: usize,
    /// Side of a barcode cell.
    cell: usize,
    /// Lines of text that there is room for.
    lines: usize,
    scene: Rect,
}

impl Layout {
    fn new(width: usize, height: usize, kind: Kind) -> Self {
        let cell = [16, 8, 4, 2]
            .into_iter()
            .find(|cell| cell * barcode::COLUMNS <= width)
            .unwrap_or(2);
        let text = 11 * cell;
        let room = height.saturating_sub(text + cell);
        let wanted = match kind {
            Kind::Plain => LINES_PLAIN,
            Kind::Noise | Kind::Game => LINES_WITH_SCENE,
        };
        let lines = wanted.min(room / font::LINE);
        let top = text + lines * font::LINE;
        Self {
            width,
            height,
            cell,
            lines,
            scene: Rect::new(0, top, width, height.saturating_sub(top + cell)),
        }
    }

    fn bar(&self, counter: u32) -> Rect {
        let wide = 2 * self.cell;
        let path = self.width.saturating_sub(wide).max(1) as u64;
        let x = u64::from(counter) * (self.cell as u64 / 2) % path;
        Rect::new(x as usize, 8 * self.cell, wide, 2 * self.cell)
    }

    fn line(&self, number: usize) -> Rect {
        let y = 11 * self.cell + number * font::LINE;
        Rect::new(0, y, self.width, font::LINE)
    }

    fn whole(&self) -> Rect {
        Rect::new(0, 0, self.width, self.height)
    }
}

impl Picture {
    /// A picture of this size that shows nothing yet.
    pub(crate) fn new(width: usize, height: usize, kind: Kind, seed: u64) -> Self {
        let layout = Layout::new(width, height, kind);
        Self {
            layout,
            canvas: Canvas::new(width, height),
            scene: Scene::new(kind, seed, layout.scene),
            font: Font::new(),
            shown: None,
        }
    }

    /// Paints `model`, and says what differs from the commit before.
    pub(crate) fn show(&mut self, mut model: Model) -> Vec<Rect> {
        model.lines.truncate(self.layout.lines);
        let light = model.payload.flags & flag::LIGHT;
        let before = self
            .shown
            .take()
            .filter(|shown| shown.payload.flags & flag::LIGHT == light);
        let damage = match before {
            Some(shown) => self.change(&shown, &model),
            None => self.repaint(&model),
        };
        self.shown = Some(model);
        damage
    }

    /// The pixels.
    pub(crate) fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// How many lines of text it shows.
    pub(crate) fn lines(&self) -> usize {
        self.layout.lines
    }

    fn repaint(&mut self, model: &Model) -> Vec<Rect> {
        let whole = self.layout.whole();
        self.canvas.fill(whole, background(model));
        let cells = model.payload.cells();
        self.cells(&cells.map(|row| !row), &cells);
        self.canvas
            .fill(self.layout.bar(model.payload.counter), BAR);
        for number in 0..model.lines.len() {
            self.line(number, model);
        }
        let place = self.layout.scene;
        self.scene
            .paint(&mut self.canvas, place, model.payload.counter);
        vec![whole]
    }

    fn change(&mut self, old: &Model, new: &Model) -> Vec<Rect> {
        let mut damage = self.cells(&old.payload.cells(), &new.payload.cells());
        let bars = [old, new].map(|model| self.layout.bar(model.payload.counter));
        if bars[0] != bars[1] {
            self.canvas.fill(bars[0], background(new));
            self.canvas.fill(bars[1], BAR);
            damage.extend(bars);
        }
        for number in 0..old.lines.len().max(new.lines.len()) {
            if old.lines.get(number) != new.lines.get(number) {
                self.line(number, new);
                damage.push(self.layout.line(number));
            }
        }
        let place = self.layout.scene;
        if self.scene.moves() && old.payload.counter != new.payload.counter {
            self.scene
                .paint(&mut self.canvas, place, new.payload.counter);
            damage.push(place);
        }
        damage
    }

    fn cells(&mut self, old: &Cells, new: &Cells) -> Vec<Rect> {
        let cell = self.layout.cell;
        let mut damage = Vec::new();
        for (y, (old, new)) in old.iter().zip(new).enumerate() {
            let changed = old ^ new;
            for x in (0..barcode::COLUMNS).filter(|x| changed << x >> 31 == 1) {
                let colour = if new << x >> 31 == 1 { WHITE } else { BLACK };
                let place = Rect::new(x * cell, y * cell, cell, cell);
                self.canvas.fill(place, colour);
            }
            if changed != 0 {
                let first = changed.leading_zeros() as usize;
                let last = barcode::COLUMNS - changed.trailing_zeros() as usize;
                damage.push(Rect::new(
                    first * cell,
                    y * cell,
                    (last - first) * cell,
                    cell,
                ));
            }
        }
        damage
    }

    fn line(&mut self, number: usize, model: &Model) {
        let place = self.layout.line(number);
        self.canvas.fill(place, background(model));
        let Some(text) = model.lines.get(number) else {
            return;
        };
        let ink = if background(model) == DARK {
            LIGHT
        } else {
            DARK
        };
        let canvas = &mut self.canvas;
        let left = self.layout.cell;
        self.font.each_dot(text, |x, y, side| {
            canvas.fill(Rect::new(left + x, place.y + y, side, side), ink);
        });
    }
}

fn background(model: &Model) -> Colour {
    match model.payload.flags & flag::LIGHT {
        0 => DARK,
        _ => LIGHT,
    }
}

#[cfg(test)]
#[path = "picture/test.rs"]
mod test;
