//! The whole picture: where its parts are, and how it gets from what a canvas shows to what it is to
//! show by painting only what changed.
//!
//! docs/calibrate.md specifies the places. It knows nothing of Wayland, and not which canvas shows what.

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

/// How models look at one size.
#[derive(Debug)]
pub(crate) struct Picture {
    layout: Layout,
    scene: Scene,
    font: Font,
}

/// What of a picture differs from another one's.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    /// A row of the barcode: the bits of the cells that changed, the leftmost one highest.
    Cells {
        y: usize,
        changed: u32,
    },
    /// The bar, which was where this commit has it.
    Bar {
        before: u32,
    },
    Line(usize),
    Scene,
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
    /// Pictures of this size.
    pub(crate) fn new((width, height): (usize, usize), kind: Kind, seed: u64) -> Self {
        let layout = Layout::new(width, height, kind);
        Self {
            layout,
            scene: Scene::new(kind, seed, layout.scene),
            font: Font::new(),
        }
    }

    /// Width and height, pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.layout.width, self.layout.height)
    }

    /// How many lines of text it shows.
    pub(crate) fn lines(&self) -> usize {
        self.layout.lines
    }

    /// Paints `model` on a canvas that shows `shown`, or anything.
    pub(crate) fn paint(&self, canvas: &mut Canvas<'_>, shown: Option<&Model>, model: &Model) {
        for part in self.parts(shown, model) {
            self.paint_part(canvas, part, model);
        }
    }

    /// Where `model` may differ from `shown`.
    pub(crate) fn damage(&self, shown: Option<&Model>, model: &Model) -> Vec<Rect> {
        let parts = self.parts(shown, model).into_iter();
        parts.flat_map(|part| self.places(part, model)).collect()
    }

    fn parts(&self, shown: Option<&Model>, model: &Model) -> Vec<Part> {
        let Some(shown) = shown.filter(|shown| background(shown) == background(model)) else {
            return vec![Part::Whole];
        };
        let rows = shown.payload.cells().into_iter().zip(model.payload.cells());
        let mut parts: Vec<Part> = (rows.enumerate())
            .map(|(y, (old, new))| (y, old ^ new))
            .filter(|(_, changed)| *changed != 0)
            .map(|(y, changed)| Part::Cells { y, changed })
            .collect();
        let (before, counter) = (shown.payload.counter, model.payload.counter);
        if self.layout.bar(before) != self.layout.bar(counter) {
            parts.push(Part::Bar { before });
        }
        let lines = shown.lines.len().max(model.lines.len());
        let lines = 0..lines.min(self.layout.lines);
        parts.extend(
            lines
                .filter(|number| shown.lines.get(*number) != model.lines.get(*number))
                .map(Part::Line),
        );
        if self.scene.moves() && before != counter {
            parts.push(Part::Scene);
        }
        parts
    }

    fn places(&self, part: Part, model: &Model) -> Vec<Rect> {
        let layout = &self.layout;
        match part {
            Part::Whole => vec![layout.whole()],
            Part::Cells { y, changed } => {
                let cell = layout.cell;
                let first = changed.leading_zeros() as usize;
                let last = barcode::COLUMNS - changed.trailing_zeros() as usize;
                vec![Rect::new(
                    first * cell,
                    y * cell,
                    (last - first) * cell,
                    cell,
                )]
            }
            Part::Bar { before } => vec![layout.bar(before), layout.bar(model.payload.counter)],
            Part::Line(number) => vec![layout.line(number)],
            Part::Scene => vec![layout.scene],
        }
    }

    fn paint_part(&self, canvas: &mut Canvas<'_>, part: Part, model: &Model) {
        let Layout { scene, .. } = self.layout;
        let counter = model.payload.counter;
        match part {
            Part::Whole => {
                canvas.fill(self.layout.whole(), background(model));
                for y in 0..barcode::ROWS {
                    self.cells(canvas, y, u32::MAX, &model.payload.cells());
                }
                canvas.fill(self.layout.bar(counter), BAR);
                for number in 0..model.lines.len().min(self.layout.lines) {
                    self.line(canvas, number, model);
                }
                self.scene.paint(canvas, scene, counter);
            }
            Part::Cells { y, changed } => self.cells(canvas, y, changed, &model.payload.cells()),
            Part::Bar { before } => {
                canvas.fill(self.layout.bar(before), background(model));
                canvas.fill(self.layout.bar(counter), BAR);
            }
            Part::Line(number) => self.line(canvas, number, model),
            Part::Scene => self.scene.paint(canvas, scene, counter),
        }
    }

    fn cells(&self, canvas: &mut Canvas<'_>, y: usize, changed: u32, cells: &Cells) {
        let cell = self.layout.cell;
        for x in (0..barcode::COLUMNS).filter(|x| changed << x >> 31 == 1) {
            let colour = if cells[y] << x >> 31 == 1 {
                WHITE
            } else {
                BLACK
            };
            canvas.fill(Rect::new(x * cell, y * cell, cell, cell), colour);
        }
    }

    fn line(&self, canvas: &mut Canvas<'_>, number: usize, model: &Model) {
        let place = self.layout.line(number);
        canvas.fill(place, background(model));
        let Some(text) = model.lines.get(number) else {
            return;
        };
        let ink = if background(model) == DARK {
            LIGHT
        } else {
            DARK
        };
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
